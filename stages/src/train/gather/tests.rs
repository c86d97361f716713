use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ndarray::{Array3, ShapeBuilder as _, s};
use schemas::{Affine, Level};
use url::Url;

use super::*;
use crate::decode::nifti::write_mask;
use crate::manifest::{Context, Manifest};

/// A cohort in a folder of its own: cases a and b of person p, c of person q, each of L1 and L2.
struct Cohort {
    folder: tempfile::TempDir,
    stores: Arc<Stores>,
    crop: CropConf,
}

impl Cohort {
    fn new() -> Self {
        let cohort = Self {
            folder: tempfile::tempdir().unwrap(),
            stores: Arc::default(),
            crop: CropConf {
                size: 24,
                ..CropConf::default()
            },
        };
        for (case, offset) in [("a", 0), ("b", 2), ("c", 4)] {
            fs::write(cohort.mask(case), scan(offset)).unwrap();
        }
        cohort
    }

    fn mask(&self, case: &str) -> PathBuf {
        self.folder.path().join(format!("{case}.nii.gz"))
    }

    fn cases(&self) -> Vec<Outcome<Listed>> {
        let rows = "case_id,mask,labels,person\n\
            a,a.nii.gz,verse,p\n\
            none,none.nii.gz,verse,p\n\
            b,b.nii.gz,verse,p\n\
            bad,,verse,q\n\
            c,c.nii.gz,verse,q\n";
        let context = Context {
            base: Url::from_directory_path(self.folder.path()).unwrap(),
            labels: BTreeMap::new(),
            seed: 0,
        };
        let manifest = Manifest::of_bytes("m.csv", rows.as_bytes(), context);
        manifest.read().unwrap().map(Result::unwrap).collect()
    }

    fn output(&self) -> Place {
        let url = Url::from_directory_path(self.folder.path().join("out")).unwrap();
        self.stores.place(&schemas::ObjectUrl::new(url)).unwrap()
    }

    async fn gather(&self, conf: &TrainConf) -> Split {
        let gather = Gather::of_any_cube(&self.stores, &self.crop, 1 << 20, &self.output());
        gather.gather(self.cases(), conf).await.unwrap()
    }

    fn kept(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder.path().join("out/patches")).unwrap();
        let mut kept: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        kept.sort();
        kept
    }
}

/// Two blocks, L1 above L2, whose size follows from `offset`.
fn scan(offset: usize) -> Vec<u8> {
    let mut map = Array3::<u16>::zeros((20, 20, 40).f());
    map.slice_mut(s![4..12 + offset, 5..15, 22..34]).fill(20);
    map.slice_mut(s![4..15, 5..12 + offset, 4..16]).fill(21);
    write_mask(map.view(), &Affine::axis_aligned([1.0; 3], [0.0; 3])).unwrap()
}

fn held_out() -> TrainConf {
    TrainConf {
        validation: vec!["q".to_owned()],
        ..TrainConf::default()
    }
}

fn told(split: &Split) -> Vec<(String, Level, Array3<u8>)> {
    let masks = split.train.iter().chain(&split.validation);
    masks
        .map(|mask| (mask.person.clone(), mask.level, mask.mask.clone()))
        .collect()
}

/// Writes over a file in place, so that its store sees no change: neither size nor time nor inode.
fn overwrite_unseen(path: &Path, bytes: &[u8]) {
    let before = fs::metadata(path).unwrap();
    assert_eq!(before.len(), bytes.len() as u64);
    fs::write(path, bytes).unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(before.modified().unwrap()).unwrap();
}

#[tokio::test]
async fn a_second_start_reads_no_mask() {
    let cohort = Cohort::new();
    let first = cohort.gather(&held_out()).await;
    let names: Vec<_> = told(&first)
        .into_iter()
        .map(|(person, level, mask)| (person, level, mask.iter().map(|v| u32::from(*v)).sum()))
        .collect();
    let expected = [
        ("p", Level::L1, 8 * 10 * 12),
        ("p", Level::L2, 11 * 7 * 12),
        ("p", Level::L1, 10 * 10 * 12),
        ("p", Level::L2, 11 * 9 * 12),
        ("q", Level::L1, 12 * 10 * 12),
        ("q", Level::L2, 11 * 11 * 12),
    ];
    assert_eq!(
        names,
        expected.map(|(p, level, voxels)| (p.to_owned(), level, voxels))
    );
    assert_eq!((first.train.len(), first.validation.len()), (4, 2));
    assert_eq!((first.cases, first.cached), (3, 0));
    let failed: Vec<_> = first
        .failed
        .iter()
        .map(|(id, fault)| (id.as_str(), fault.reason))
        .collect();
    assert_eq!(failed, [("none", "object_not_found"), ("bad", "no_mask")]);

    // what lies there now is no mask, and nobody notices
    for case in ["a", "b", "c"] {
        let path = cohort.mask(case);
        let length = fs::metadata(&path).unwrap().len();
        overwrite_unseen(&path, &vec![0; usize::try_from(length).unwrap()]);
    }
    let second = cohort.gather(&held_out()).await;
    assert_eq!(told(&second), told(&first));
    assert_eq!((second.cases, second.cached), (3, 3));
    assert_eq!(second.failed, first.failed);
}

#[tokio::test]
async fn a_changed_mask_or_crop_is_cut_anew() {
    let mut cohort = Cohort::new();
    let first = cohort.gather(&held_out()).await;
    fs::write(cohort.mask("b"), scan(5)).unwrap();
    let second = cohort.gather(&held_out()).await;
    assert_eq!((second.cases, second.cached), (3, 2));
    assert_eq!(told(&second)[..2], told(&first)[..2]);
    assert_ne!(told(&second)[2..4], told(&first)[2..4]);
    cohort.crop.levels = vec![Level::L2];
    let third = cohort.gather(&held_out()).await;
    assert_eq!((third.cases, third.cached), (3, 0));
    assert_eq!(third.train.len(), 2);
}

#[tokio::test]
async fn damaged_cubes_are_cut_anew() {
    let cohort = Cohort::new();
    let first = cohort.gather(&held_out()).await;
    let kept = cohort.kept();
    assert_eq!(kept.len(), 3);
    let sound = fs::read(&kept[1]).unwrap();
    fs::write(&kept[1], &sound[..sound.len() / 2]).unwrap();
    fs::write(&kept[2], "").unwrap();
    let second = cohort.gather(&held_out()).await;
    assert_eq!((second.cases, second.cached), (3, 1));
    assert_eq!(told(&second), told(&first));
    assert_eq!(fs::read(&kept[1]).unwrap(), sound, "and are whole again");
}

#[tokio::test]
async fn cubes_that_cannot_be_kept_are_learnt_from_all_the_same() {
    let cohort = Cohort::new();
    // a file in the place of the folder
    fs::create_dir(cohort.folder.path().join("out")).unwrap();
    fs::write(cohort.folder.path().join("out/patches"), "").unwrap();
    let split = cohort.gather(&held_out()).await;
    assert_eq!((split.train.len(), split.validation.len()), (4, 2));
    let gather = Gather::of_any_cube(&cohort.stores, &cohort.crop, 1 << 20, &cohort.output());
    let listed = cohort.cases().remove(0).unwrap().body;
    assert!(!gather.cubes(listed).await.unwrap().kept, "and told");
}

#[tokio::test]
async fn a_case_s_cubes_are_found_again_by_their_name() {
    let cohort = Cohort::new();
    let gather = Gather::of_any_cube(&cohort.stores, &cohort.crop, 1 << 20, &cohort.output());
    let listed = || cohort.cases().remove(0).unwrap().body;
    let first = gather.cubes(listed()).await.unwrap();
    assert_eq!((first.cached, first.kept), (false, true));
    assert_eq!(gather.name(&listed()).await.unwrap(), first.name);
    let levels: Vec<_> = first.cubes.iter().map(|(level, _)| *level).collect();
    assert_eq!(levels, [Level::L1, Level::L2]);

    let again = gather.cubes(listed()).await.unwrap();
    assert!(again.cached && again.kept && again.cubes == first.cubes);
    let at = |name: &str| cohort.output().join(name);
    let there = cubes_at(&at(&first.name), &cohort.crop, 1 << 20).await.unwrap();
    assert!(there == first.cubes);
    let error = cubes_at(&at(&first.name), &cohort.crop, 10).await.unwrap_err();
    assert_eq!(error.reason, "too_large");
    let error = cubes_at(&at("patches/none.nii.gz"), &cohort.crop, 1 << 20).await;
    assert_eq!(error.unwrap_err().reason, "object_not_found");
}

#[tokio::test]
async fn only_persons_who_are_asked_for_are_read() {
    let cohort = Cohort::new();
    let conf = TrainConf {
        persons: vec!["q".to_owned()],
        ..TrainConf::default()
    };
    let split = cohort.gather(&conf).await;
    assert_eq!(
        (split.train.len(), split.validation.len(), split.cases),
        (2, 0, 1)
    );
    assert_eq!(split.failed.len(), 1, "of q, not of p");
    assert_eq!(cohort.kept().len(), 1);
}

#[tokio::test]
async fn an_object_beyond_the_budget_fails_its_case() {
    let cohort = Cohort::new();
    let gather = Gather::of_any_cube(&cohort.stores, &cohort.crop, 100, &cohort.output());
    let split = gather.gather(cohort.cases(), &held_out()).await.unwrap();
    assert_eq!(split.cases, 0);
    let too_large = split
        .failed
        .iter()
        .filter(|(_, fault)| fault.reason == "too_large");
    assert_eq!(too_large.count(), 3);
    let error = split.check(&held_out()).unwrap_err();
    assert!(
        matches!(error, TrainError::NoMask { cases: 5, failed: 5 }),
        "{error}"
    );
}

#[test]
fn persons_are_checked_before_anything_is_read() {
    let cohort = Cohort::new();
    let conf = |persons: &[&str], validation: &[&str]| TrainConf {
        persons: persons.iter().map(|person| (*person).to_owned()).collect(),
        validation: validation.iter().map(|person| (*person).to_owned()).collect(),
        ..TrainConf::default()
    };
    let told = |conf: TrainConf| {
        conf.check_persons(&cohort.cases())
            .map_err(|error| error.to_string())
    };
    assert_eq!(told(conf(&["p"], &["q"])), Ok(()));
    assert_eq!(told(conf(&[], &[])), Ok(()));
    let both = told(conf(&["p", "q"], &["q"])).unwrap_err();
    assert!(both.ends_with("found q in both"), "{both}");
    let unknown = told(conf(&[], &["r"])).unwrap_err();
    assert!(
        unknown.starts_with("train.validation: ") && unknown.contains("found r,"),
        "{unknown}"
    );
    let unknown = told(conf(&["P"], &[])).unwrap_err();
    assert!(
        unknown.starts_with("train.persons: ") && unknown.contains("found P,"),
        "{unknown}"
    );
}

#[tokio::test]
async fn a_listed_person_without_a_mask_is_named() {
    let cohort = Cohort::new();
    fs::remove_file(cohort.mask("c")).unwrap();
    let split = cohort.gather(&held_out()).await;
    let error = split.check(&held_out()).unwrap_err();
    assert!(
        matches!(&error, TrainError::NoMaskOf(person) if person == "q"),
        "{error}"
    );
}

#[test]
fn cubes_that_no_network_is_built_for_are_refused() {
    let cohort = Cohort::new();
    let gather = |crop: &CropConf| Gather::new(&cohort.stores, crop, 1 << 20, &cohort.output());
    assert!(gather(&CropConf::default()).is_ok());
    let error = gather(&cohort.crop).unwrap_err();
    assert!(error.to_string().contains("found 24 of 1 mm"), "{error}");
}
