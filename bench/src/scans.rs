//! Label maps as large as those of a CT: 512 × 512 × 300 voxels around a phantom spine.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use models::phantom::{PhantomConf, Spine};
use ndarray::{Array3, ShapeBuilder as _};
use schemas::volume::Grid;
use schemas::{Affine, LabelMap};
use stages::decode::nifti::write_label_map;

/// Voxels along each axis.
const SHAPE: [usize; 3] = [512, 512, 300];

/// Between them, in mm.
const SPACING_MM: [f64; 3] = [0.7, 0.7, 1.0];

/// How the grid lies to the body.
#[derive(Debug, Clone, Copy)]
pub enum Lie {
    /// Along its axes.
    Aligned,
    /// Turned about all three.
    Oblique,
}

impl Lie {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Aligned, Self::Oblique];

    /// Returns the name in what is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Aligned => "aligned",
            Self::Oblique => "oblique",
        }
    }

    /// Returns the file of the scan.
    pub fn file(self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.nii.gz", self.as_str()))
    }
}

/// Returns a scan of the person that `seed` stands for.
///
/// # Errors
/// The phantom's.
pub fn scan(seed: u64, lie: Lie) -> Result<LabelMap> {
    let spine = Spine::new(seed);
    let conf = PhantomConf {
        spacing_mm: SPACING_MM,
        oblique_deg: match lie {
            Lie::Aligned => [0.0; 3],
            Lie::Oblique => [12.0, -7.0, 9.0],
        },
        ..PhantomConf::default()
    };
    let tight = spine.grid(&conf)?;
    // the same step and turn, with the spine in the middle of the larger grid
    let before: [f64; 3] = std::array::from_fn(|axis| (tight.shape[axis] as f64 - SHAPE[axis] as f64) / 2.0);
    let affine = tight
        .affine
        .after(&Affine::axis_aligned([1.0; 3], before.map(f64::round)));
    let map = spine.label_map(&Grid { shape: SHAPE, affine });
    // the first axis fastest, as a decoded file has it
    let mut data = Array3::zeros(SHAPE.f());
    data.assign(&map.data);
    Ok(LabelMap { data, affine })
}

/// Writes a scan as files in the field are written.
///
/// # Errors
/// The phantom's, or the folder takes no file.
pub fn write(folder: &Path, seed: u64, lie: Lie) -> Result<()> {
    let path = lie.file(folder);
    fs::write(&path, write_label_map(&scan(seed, lie)?)?)
        .with_context(|| format!("cannot write {}", path.display()))
}
