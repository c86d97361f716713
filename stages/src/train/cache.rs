//! Cubes that were cut before: one small file a case, named after everything that its content follows from.
//!
//! The file is an ordinary NIfTI label map, so that any viewer shows what was learnt from: a case's cubes stacked
//! along the third axis, from the head down, each vertebra with VerSe's number of its level. It holds no place of
//! the scan, which training has no use for.

use std::ops::Range;

use ndarray::{Array3, Axis, Slice, concatenate};
use object_store::ObjectMeta;
use schemas::payload::Named;
use schemas::{Affine, Fault, LabelScheme, Level};
use sha2::{Digest as _, Sha256};

use crate::crop::CropConf;
use crate::decode::label_map;
use crate::decode::nifti::write_mask;

/// Raise it whenever a cube comes out differently for an equal mask and configuration, or the file changes.
const FORMAT: u32 = 1;

/// Bytes of the key that the name shows.
const KEY_BYTES: usize = 16;

/// A case's vertebrae, from the head down: 0 or 1 per voxel.
pub type Cubes = Vec<(Level, Array3<u8>)>;

/// Returns the name of the file with a mask's cubes.
///
/// `stamps` is what the store says of the mask's objects: a mask that was written anew has other cubes.
pub fn name(mask: &Named, stamps: &[ObjectMeta], crop: &CropConf) -> String {
    let objects: Vec<_> = stamps
        .iter()
        .map(|object| {
            (
                object.location.as_ref(),
                object.size,
                object.last_modified.timestamp_micros(),
                object.e_tag.as_deref(),
                object.version.as_deref(),
            )
        })
        .collect();
    let table: Vec<_> = mask.scheme.table().into_iter().collect();
    let decides = (
        FORMAT,
        mask.url.expose(),
        mask.scheme.to_string(),
        table,
        crop,
        objects,
    );
    let text = serde_json::to_string(&decides).expect("texts and numbers are JSON");
    let digest = Sha256::digest(text.as_bytes());
    let key: String = digest
        .iter()
        .take(KEY_BYTES)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("patches/{key}.nii.gz")
}

/// Returns the file that holds the cubes.
///
/// # Errors
/// More voxels along an axis than NIfTI-1 can say.
pub fn write(cubes: &Cubes, crop: &CropConf) -> Result<Vec<u8>, Fault> {
    let numbered: Vec<Array3<u8>> = cubes
        .iter()
        .map(|(level, cube)| cube.mapv(|voxel| if voxel == 0 { 0 } else { number(*level) }))
        .collect();
    let views: Vec<_> = numbered.iter().map(|cube| cube.view()).collect();
    let stack = concatenate(Axis(2), &views)
        .map_err(|error| Fault::bug("cubes", format!("expected cubes of one size, found {error}")))?;
    write_mask(
        stack.view(),
        &Affine::axis_aligned([crop.spacing_mm; 3], [0.0; 3]),
    )
}

/// Reads the cubes back.
///
/// # Errors
/// What is no such file: damaged, of cubes of another size, of labels that are none.
pub fn read(bytes: &[u8], crop: &CropConf) -> Result<Cubes, Fault> {
    let side = crop.size;
    // labels of 16 bits for every level there is
    let most = (2 * side * side * side * Level::ALL.len()) as u64 + (1 << 10);
    let stack = label_map(bytes, None, most)?.data;
    let (ni, nj, nk) = stack.dim();
    if (ni, nj) != (side, side) || nk == 0 || !nk.is_multiple_of(side) {
        let message = format!("expected cubes of {side} voxels, found a volume of {ni} × {nj} × {nk}");
        return Err(unreadable(message));
    }
    let mut cubes = Cubes::new();
    for first in (0..nk).step_by(side) {
        let slab: Range<usize> = first..first + side;
        let slab = stack.slice_axis(Axis(2), Slice::from(slab));
        let numbers = slab.iter().copied().filter(|label| *label != 0);
        let number = numbers.clone().next().unwrap_or_default();
        let level = LabelScheme::Classes.table().get(&number).copied();
        let Some(level) = level.filter(|_| numbers.clone().all(|other| other == number)) else {
            return Err(unreadable(
                "expected one lumbar label a cube, found another".to_owned(),
            ));
        };
        if cubes.last().is_some_and(|(above, _)| *above >= level) {
            return Err(unreadable(
                "expected levels from the head down, found others".to_owned(),
            ));
        }
        let cube = slab.map(|label| u8::from(*label != 0));
        cubes.push((level, cube.as_standard_layout().into_owned()));
    }
    Ok(cubes)
}

fn unreadable(message: String) -> Fault {
    Fault::unreadable("no_cubes", message)
}

/// VerSe's number of a level: 20 for L1.
fn number(level: Level) -> u8 {
    20 + level as u8
}

#[cfg(test)]
mod tests {
    use object_store::path::Path;
    use schemas::ObjectUrl;

    use super::*;

    fn crop() -> CropConf {
        CropConf {
            size: 16,
            ..CropConf::default()
        }
    }

    fn cubes() -> Cubes {
        let cube = |level, from: usize| {
            let inside = |(i, j, k)| u8::from(i >= from && j < 9 && k < 2 * from);
            (level, Array3::from_shape_fn((16, 16, 16), inside))
        };
        vec![cube(Level::L1, 3), cube(Level::L3, 5), cube(Level::L6, 7)]
    }

    #[test]
    fn cubes_come_back_as_they_were() {
        let bytes = write(&cubes(), &crop()).unwrap();
        let back = read(&bytes, &crop()).unwrap();
        assert_eq!(back, cubes());
        assert!(back.iter().all(|(_, cube)| cube.is_standard_layout()));
        for level in Level::ALL {
            let known = LabelScheme::Classes.table();
            assert_eq!(known.get(&u16::from(number(level))), Some(&level));
        }
    }

    #[test]
    fn what_is_damaged_or_of_other_cubes_is_no_cubes() {
        let sound = write(&cubes(), &crop()).unwrap();
        for length in [0, 1, 40, sound.len() / 2, sound.len() - 1] {
            assert!(read(&sound[..length], &crop()).is_err(), "cut to {length} bytes");
        }
        let mut flipped = sound.clone();
        let last = flipped.len() - 6;
        flipped[last] ^= 1;
        assert!(read(&flipped, &crop()).is_err(), "a checksum that does not fit");
        let other = CropConf { size: 8, ..crop() };
        assert!(read(&sound, &other).is_err(), "another size");
        let mut order = cubes();
        order.swap(0, 1);
        assert!(read(&write(&order, &crop()).unwrap(), &crop()).is_err());
        let empty = vec![(Level::L1, Array3::zeros((16, 16, 16)))];
        assert!(read(&write(&empty, &crop()).unwrap(), &crop()).is_err());
    }

    #[test]
    fn the_name_follows_from_mask_scheme_and_crop() {
        let mask = |url: &str, scheme: LabelScheme| Named {
            url: ObjectUrl::new(url),
            scheme,
        };
        let stamp = |size, e_tag: &str| {
            vec![ObjectMeta {
                location: Path::from("m.nii.gz"),
                last_modified: Default::default(),
                size,
                e_tag: Some(e_tag.to_owned()),
                version: None,
            }]
        };
        let l1 = || mask("s3://b/m.nii.gz", LabelScheme::Binary(Level::L1));
        let finer = CropConf {
            spacing_mm: 0.5,
            ..crop()
        };
        let names = [
            name(&l1(), &stamp(7, "a"), &crop()),
            name(&l1(), &stamp(8, "a"), &crop()),
            name(&l1(), &stamp(7, "b"), &crop()),
            name(&l1(), &stamp(7, "a"), &finer),
            name(&mask("s3://c/m.nii.gz", l1().scheme), &stamp(7, "a"), &crop()),
            name(
                &mask(l1().url.expose(), LabelScheme::Binary(Level::L2)),
                &stamp(7, "a"),
                &crop(),
            ),
        ];
        for (index, one) in names.iter().enumerate() {
            assert!(names[..index].iter().all(|other| other != one), "{index}");
        }
        assert_eq!(names[0], name(&l1(), &stamp(7, "a"), &crop()));
    }
}
