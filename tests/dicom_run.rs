//! A DICOM study, as a hospital exports it, from a bucket to rows: the same rows as those of its label maps as NIfTI, and
//! nothing of its patient.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use schemas::ObjectUrl;
use serde_json::Value;
use stages::store::{Place, Stores};

use crate::support::dicom::{Study, study};
use crate::support::s3;
use crate::support::{Cohort, Row, rows_of, unpacked, without_circumstances};

/// What a site would keep in its secret store.
const SITE_KEY: &str = "a key that only the tests of this project know";

/// A study in a bucket, beside its label maps.
struct Export {
    endpoint: String,
    stores: Arc<Stores>,
    base: String,
    study: Study,
    folder: tempfile::TempDir,
}

impl Export {
    /// Puts a study, made with these options, into the bucket that is lent.
    async fn put(name: &str, options: &[&str]) -> Option<Self> {
        let endpoint = s3::lent()?;
        let folder = tempfile::tempdir().expect("folder");
        let study = study(folder.path(), options)?;
        let export = Self {
            stores: s3::stores(&endpoint),
            base: format!("s3://{}/{name}-{}", s3::BUCKET, std::process::id()),
            endpoint,
            study,
            folder,
        };
        for path in files_below(&export.study.folder) {
            let key = path
                .strip_prefix(&export.study.folder)
                .expect("below")
                .to_string_lossy()
                .replace('\\', "/");
            export.put_file(&format!("dump/{key}"), &path).await;
        }
        export.put_file("nifti/mask.nii.gz", &export.study.mask).await;
        export
            .put_file("nifti/reference.nii.gz", &export.study.reference)
            .await;
        Some(export)
    }

    async fn put_file(&self, key: &str, path: &Path) {
        let bytes = std::fs::read(path).expect("file");
        self.place(key).put(bytes.into()).await.expect("put");
    }

    fn place(&self, key: &str) -> Place {
        let url = format!("{}/{key}", self.base);
        self.stores.place(&ObjectUrl::new(url)).expect("place")
    }

    /// Runs the program; everything that it says comes back.
    fn spinestream(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_spinestream"));
        command.args(arguments).env("SPINESTREAM_SITE_KEY", SITE_KEY);
        s3::lend(&mut command, &self.endpoint)
            .output()
            .expect("spinestream runs")
    }

    /// Indexes the dump and returns the manifest's rows.
    fn index(&self) -> (Vec<BTreeMap<String, String>>, Output) {
        let manifest = self.folder.path().join("manifest.csv");
        let told = self.spinestream(&[
            "manifest",
            &format!("{}/dump", self.base),
            "--dicom",
            "-o",
            manifest.to_str().expect("text"),
            "--log",
            "json",
            "-vvv",
        ]);
        assert_eq!(
            told.status.code(),
            Some(0),
            "{}",
            String::from_utf8_lossy(&told.stderr)
        );
        let text = std::fs::read_to_string(&manifest).expect("manifest");
        let mut lines = text.lines();
        let columns: Vec<&str> = lines.next().expect("a header").split(',').collect();
        let row = |line: &str| {
            columns
                .iter()
                .map(|name| (*name).to_owned())
                .zip(line.split(',').map(str::to_owned))
                .collect()
        };
        (lines.map(row).collect(), told)
    }

    /// Runs a manifest into a folder of the bucket.
    fn run(&self, manifest: &Path, out: &str, settings: &[&str]) -> Output {
        let all = [
            format!("run.manifest={}", manifest.display()),
            format!("run.output={}/{out}", self.base),
            "run.id=test".to_owned(),
        ];
        let mut arguments = vec!["run", "--log", "json", "-vvv"];
        for setting in all.iter().map(String::as_str).chain(settings.iter().copied()) {
            arguments.extend(["--set", setting]);
        }
        self.spinestream(&arguments)
    }

    async fn table(&self, out: &str, table: &str) -> Vec<Row> {
        let cohort = Cohort::with(Arc::clone(&self.stores));
        cohort
            .rows_in(self.place(&format!("{out}/tables/{table}/run=test")))
            .await
    }

    /// Every object below a folder of the bucket.
    async fn objects(&self, out: &str) -> Vec<(String, Vec<u8>)> {
        let folder = self.place(out);
        let mut found = Vec::new();
        for object in folder.list().await.expect("list") {
            let place = Place {
                store: Arc::clone(&folder.store),
                path: object.location.clone(),
            };
            let bytes = place.read(u64::MAX).await.expect("read").to_vec();
            found.push((object.location.to_string(), bytes));
        }
        found
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// Returns a number as the tables print it, or what is none.
fn number(cell: &str) -> Result<f64, &str> {
    cell.parse().map_err(|_| cell)
}

/// Holds two cells against each other: floats within 1e-6, lists member by member, the scan's own axes in any order.
fn assert_same_cell(column: &str, one: &str, other: &str) {
    let members = |cell: &str| -> Vec<String> {
        let mut parts: Vec<String> = cell
            .trim_matches(['[', ']'])
            .split(", ")
            .map(str::to_owned)
            .collect();
        if column == "source_spacing_mm" {
            parts.sort();
        }
        parts
    };
    let (one, other) = (members(one), members(other));
    assert_eq!(one.len(), other.len(), "{column}");
    for (one, other) in one.iter().zip(&other) {
        match (number(one), number(other)) {
            (Ok(a), Ok(b)) => assert!((a - b).abs() <= 1e-6 * a.abs().max(1.0), "{column}: {a} {b}"),
            (a, b) => assert_eq!(a, b, "{column}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_in_a_bucket_gives_the_rows_of_the_same_study_as_nifti() {
    let options = ["--ct", "same-study", "--traps", "all"];
    let Some(export) = Export::put("dicom-rows", &options).await else {
        return;
    };
    let (rows, _) = export.index();
    let [row] = rows.as_slice() else {
        panic!("one case of one study: {rows:?}");
    };
    assert_eq!(
        (row["labels"].as_str(), row["reference_labels"].as_str()),
        ("snomed", "snomed")
    );
    let images: Vec<&str> = row["image"].split(' ').collect();
    assert_eq!(
        images.len(),
        export.study.files("mr").len(),
        "the T2 series, slice by slice"
    );
    // in positional order, either way round
    let ends: Vec<&str> = images
        .iter()
        .map(|url| url.rsplit('/').next().expect("a name"))
        .collect();
    let mut expected: Vec<String> = export
        .study
        .files("mr")
        .iter()
        .map(|path| path.file_name().expect("a name").to_string_lossy().into_owned())
        .collect();
    if expected[0] != ends[0] {
        expected.reverse();
    }
    assert_eq!(ends, expected);

    // the same study as NIfTI, under the same names
    let nifti = export.folder.path().join("nifti.csv");
    let cells = ["mask.nii.gz", "reference.nii.gz"].map(|name| format!("{}/nifti/{name}", export.base));
    let text = format!(
        "case_id,mask,labels,reference,reference_labels,person\n{},{},verse,{},verse,{}\n",
        row["case_id"], cells[0], cells[1], row["person"]
    );
    std::fs::write(&nifti, text).expect("write");
    for chain in ["identity", "interpolate"] {
        let chain_setting = format!("model.chain=[\"{chain}\"]");
        let settings = [chain_setting.as_str(), "write.volumes=[\"patch\"]"];
        let (of_dicom, of_nifti) = (format!("dicom-{chain}"), format!("nifti-{chain}"));
        for (manifest, out) in [
            (export.folder.path().join("manifest.csv"), &of_dicom),
            (nifti.clone(), &of_nifti),
        ] {
            let ran = export.run(&manifest, out, &settings);
            assert_eq!(
                ran.status.code(),
                Some(0),
                "{}",
                String::from_utf8_lossy(&ran.stderr)
            );
        }
        for table in ["cases", "vertebrae"] {
            let one = without_circumstances(&export.table(&of_dicom, table).await);
            let other = without_circumstances(&export.table(&of_nifti, table).await);
            assert_eq!(one.len(), if table == "cases" { 1 } else { 5 });
            assert_eq!(one.len(), other.len());
            for (one, other) in one.iter().zip(&other) {
                for (column, cell) in one {
                    // they did read other bytes
                    if column != "bytes_read" {
                        assert_same_cell(column, cell, &other[column]);
                    }
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_patient_is_in_what_comes_out() {
    let options = ["--ct", "same-study", "--traps", "all"];
    let Some(export) = Export::put("dicom-privacy", &options).await else {
        return;
    };
    let (rows, indexed) = export.index();
    let settings = [
        "model.chain=[\"identity\"]",
        "write.volumes=[\"patch\", \"scan\", \"seg\", \"stl\", \"ply\"]",
    ];
    let ran = export.run(&export.folder.path().join("manifest.csv"), "out", &settings);
    assert_eq!(
        ran.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );

    let identifying: Vec<String> = export.study.told["identifying"]
        .as_array()
        .expect("texts")
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_lowercase)
        .collect();
    assert!(identifying.len() > 10, "{identifying:?}");
    let mut places = vec![
        ("stdout of manifest".to_owned(), indexed.stdout),
        ("stderr of manifest".to_owned(), indexed.stderr),
        ("stdout of run".to_owned(), ran.stdout),
        ("stderr of run".to_owned(), ran.stderr),
    ];
    places.extend(export.objects("out").await);
    let objects = export.folder.path().join("manifest.objects.parquet");
    places.push((
        "objects table".to_owned(),
        std::fs::read(objects).expect("objects table"),
    ));
    let case = &rows[0]["case_id"];
    for kind in ["_seg.dcm", ".stl", ".ply", ".nii.gz", ".parquet", ".json"] {
        assert!(
            places.iter().any(|(name, _)| name.ends_with(kind)),
            "there is no {kind} of {case}"
        );
    }
    let mut looked_at = 0;
    for (name, bytes) in places {
        let mut forms = vec![name.clone().into_bytes(), bytes.clone()];
        if name.ends_with(".gz") {
            forms.push(unpacked(&bytes));
        }
        if name.ends_with(".parquet") || name == "objects table" {
            forms.push(format!("{:?}", rows_of(bytes.into())).into_bytes());
        }
        for form in forms {
            looked_at += 1;
            let text = String::from_utf8_lossy(&form).to_lowercase();
            let found = identifying.iter().find(|needle| text.contains(needle.as_str()));
            assert_eq!(found, None, "in {name}");
        }
    }
    assert!(looked_at > 20, "{looked_at}");
}
