//! The masks of a vertebra for those who look at it: from the run's own files, or cut again from the manifest's masks.
//!
//! A run keeps its reconstructions; inputs and references it keeps only where `write.volumes` asks for them, since the
//! manifest names them. What is cut again is held against the row: a mask that has changed since is not shown as the one
//! that was restored.

mod cutter;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt as _, Shared};
use ndarray::{Array3, Zip};
use schemas::payload::CroppedVertebra;
use schemas::{Affine, Patch};
use tokio::sync::Mutex;

use crate::crop::linear::CUT;
use crate::decode::label_map;
use crate::decode::nifti::write_mask;
use crate::report::picture::{Column, panel};
use crate::results::{CaseSeen, VertebraSeen};
use crate::stage::blocking;
use crate::store::StoreError;
use crate::surface::{Mesh, ply::ply, stl::stl, surface};
use crate::tables::RunTables;
use crate::write::patch_file;

pub use cutter::Cutter;

/// Most bytes of the file of one patch: 128³ voxels take 2 MiB where nothing is packed.
const PATCH_MOST: u64 = 64 << 20;

/// Farthest, in mm³ and mm, that volume and place of a mask that is cut again may be from what its row says.
const EQUAL: f64 = 1e-3;

/// A voxel of [`What::Errors`] that reconstruction and reference share.
const BOTH: u8 = 1;
/// One that only the reconstruction has.
const FALSE_POSITIVE: u8 = 2;
/// One that only the reference has.
const FALSE_NEGATIVE: u8 = 3;

/// Which mask of a vertebra.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum What {
    /// The mask that was restored.
    Input,
    /// What the model made of it.
    Recon,
    /// The paired CT mask.
    Reference,
    /// Where reconstruction and reference differ: 1 both, 2 the reconstruction alone, 3 the reference alone.
    Errors,
}

impl What {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Input, Self::Recon, Self::Reference, Self::Errors];

    /// Returns its name in files and addresses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Recon => "recon",
            Self::Reference => "reference",
            Self::Errors => "errors",
        }
    }
}

impl FromStr for What {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|what| what.as_str() == text);
        found.ok_or_else(|| "expected input, recon, reference or errors, found another word".to_owned())
    }
}

/// A mask, or in words why there is none.
pub type Shown = Result<Arc<Array3<u8>>, String>;

/// The masks of one vertebra on the grid of its patch, C-contiguous, 1 = vertebra.
#[derive(Debug, Clone)]
pub struct VertebraMasks {
    /// Voxel index → RAS mm.
    pub affine: Affine,
    /// The mask that was restored.
    pub input: Shown,
    /// What the model made of it.
    pub recon: Shown,
    /// The paired CT mask.
    pub reference: Shown,
}

impl VertebraMasks {
    /// Returns a mask as a packed NIfTI file on the patch's grid.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub fn nifti(&self, what: What) -> Result<Vec<u8>, String> {
        let mask = self.mask(what)?;
        write_mask(mask.view(), &self.affine).map_err(|fault| fault.to_string())
    }

    /// Returns the surface of a mask as a binary STL file in RAS mm.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub fn stl(&self, what: What) -> Result<Vec<u8>, String> {
        Ok(stl(&self.surface(what)?))
    }

    /// Returns the surface of a mask as a binary PLY file in RAS mm, some two fifths of the bytes.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub fn ply(&self, what: What) -> Result<Vec<u8>, String> {
        Ok(ply(&self.surface(what)?))
    }

    fn surface(&self, what: What) -> Result<Mesh, String> {
        if what == What::Errors {
            return Err("expected a mask with a surface, found the map of errors".to_owned());
        }
        let mask = self.mask(what)?;
        let field = mask.mapv(|value| f32::from(u8::from(value != 0)));
        let mesh = surface(field.view(), CUT as f32, &self.affine);
        if mesh.is_empty() {
            return Err("the mask is empty: it has no surface".to_owned());
        }
        Ok(mesh)
    }

    /// Returns a picture of input and reconstruction, against the reference where there is one: slices and surfaces.
    ///
    /// # Errors
    /// There is nothing to show, in words.
    pub fn panel(&self, title: &str) -> Result<String, String> {
        let named = [("input", &self.input), ("reconstruction", &self.recon)];
        let columns: Vec<_> = named
            .into_iter()
            .filter_map(|(title, mask)| {
                let mask = mask.as_ref().ok()?;
                Some(Column {
                    title: title.to_owned(),
                    mask: mask.view(),
                })
            })
            .collect();
        if columns.is_empty() {
            // the more important of the two reasons
            return Err(self.recon.as_ref().err().cloned().unwrap_or_default());
        }
        let reference = self.reference.as_ref().ok().map(|mask| mask.view());
        Ok(panel(title, &columns, reference))
    }

    fn mask(&self, what: What) -> Shown {
        match what {
            What::Input => self.input.clone(),
            What::Recon => self.recon.clone(),
            What::Reference => self.reference.clone(),
            What::Errors => self.errors().map(Arc::new),
        }
    }

    fn errors(&self) -> Result<Array3<u8>, String> {
        let (recon, reference) = (self.mask(What::Recon)?, self.mask(What::Reference)?);
        if recon.dim() != reference.dim() {
            return Err(format!(
                "expected reconstruction and reference on one grid, found {:?} and {:?} voxels",
                recon.dim(),
                reference.dim()
            ));
        }
        let errors = Zip::from(&*recon)
            .and(&*reference)
            .map_collect(|recon, reference| match (*recon != 0, *reference != 0) {
                (true, true) => BOTH,
                (true, false) => FALSE_POSITIVE,
                (false, true) => FALSE_NEGATIVE,
                (false, false) => 0,
            });
        Ok(errors)
    }
}

/// What cuts cases again, or in words why that is not possible; asked for when it is first needed.
type Opening = Shared<BoxFuture<'static, Result<Arc<Mutex<Cutter>>, String>>>;

/// Where the masks of a run come from.
#[derive(Clone)]
pub struct MaskSource {
    tables: RunTables,
    cutter: Opening,
}

impl fmt::Debug for MaskSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tables, .. } = self;
        f.debug_struct("MaskSource")
            .field("tables", tables)
            .finish_non_exhaustive()
    }
}

impl MaskSource {
    /// Will read masks of this run; `cutter` is awaited once a mask is asked for that the run did not write.
    pub fn new(
        tables: RunTables,
        cutter: impl Future<Output = Result<Cutter, String>> + Send + 'static,
    ) -> Self {
        let shared = async move { Ok(Arc::new(Mutex::new(cutter.await?))) };
        Self {
            tables,
            cutter: shared.boxed().shared(),
        }
    }

    /// Returns the masks of a vertebra of that case. Nothing is an error: what there is not has its reason.
    pub async fn masks(&self, case: &CaseSeen, vertebra: &VertebraSeen) -> VertebraMasks {
        let recon = match self.written(case, vertebra, What::Recon).await {
            Some(recon) => recon,
            None if vertebra.status == "done" => {
                Err("the run wrote no patch of it: write.volumes did not ask for \"patch\"".to_owned())
            }
            None => Err("the vertebra failed: there is no reconstruction".to_owned()),
        };
        let mut input = self.written(case, vertebra, What::Input).await;
        let mut reference = self.written(case, vertebra, What::Reference).await;
        if vertebra.reference_volume_mm3.is_none() {
            reference.get_or_insert_with(|| Err("the vertebra has no reference".to_owned()));
        }
        if input.is_none() || reference.is_none() {
            let cut = self.cut_again(vertebra).await;
            let again = |of: fn(&CroppedVertebra) -> Option<&Patch>, expected: Option<f64>| {
                checked(of(cut.as_ref().map_err(Clone::clone)?), vertebra, expected)
            };
            input.get_or_insert_with(|| again(|cut| Some(&cut.input), vertebra.input_volume_mm3));
            reference
                .get_or_insert_with(|| again(|cut| cut.reference.as_ref(), vertebra.reference_volume_mm3));
        }
        let none = || Err("there is none".to_owned());
        VertebraMasks {
            affine: affine_of(vertebra),
            input: input.unwrap_or_else(none),
            recon,
            reference: reference.unwrap_or_else(none),
        }
    }

    /// Reads a patch that the run wrote, if it did.
    async fn written(&self, case: &CaseSeen, vertebra: &VertebraSeen, what: What) -> Option<Shown> {
        let name = patch_file(&vertebra.case_id, &vertebra.level, what.as_str());
        if !case.files.contains(&name) {
            return None;
        }
        let place = self.tables.volumes().join(&vertebra.case_id).join(&name);
        let read = async {
            let bytes = place.read(PATCH_MOST).await.map_err(StoreError::into_fault)?;
            blocking(move || label_map(&bytes, None, PATCH_MOST)).await
        };
        let mask = read
            .await
            .map(|map| standard(&map.data.mapv(|label| u8::from(label != 0))));
        Some(mask.map_err(|fault| format!("the run's file cannot be read: {fault}")))
    }

    /// Cuts the vertebra again out of what the manifest names.
    async fn cut_again(&self, vertebra: &VertebraSeen) -> Result<CroppedVertebra, String> {
        let cutter = self.cutter.clone().await?;
        let case = cutter.lock().await.case(&vertebra.case_id).await?;
        let found = case
            .vertebrae
            .iter()
            .find(|cut| cut.level.as_str() == vertebra.level && u32::from(cut.label) == vertebra.label);
        let gone = || "the mask that the manifest names has no such vertebra any more".to_owned();
        found.cloned().ok_or_else(gone)
    }
}

/// Returns the mask that was cut again, if it is the one that the row tells of.
fn checked(patch: Option<&Patch>, vertebra: &VertebraSeen, expected_mm3: Option<f64>) -> Shown {
    let is_the_same = |patch: &&Patch| {
        let lies = patch.affine.to_rows();
        let is_there = vertebra.affine.is_none_or(|affine| {
            let mut pairs = affine.iter().zip(&lies);
            pairs.all(|(one, other)| (one - other).abs() < EQUAL)
        });
        let is_as_large = expected_mm3.is_none_or(|expected| (patch.volume_mm3() - expected).abs() < EQUAL);
        is_there && is_as_large
    };
    let changed =
        || "the manifest names another mask than the one of the run: it has changed since".to_owned();
    let patch = patch.filter(is_the_same).ok_or_else(changed)?;
    Ok(standard(&patch.mask))
}

/// Returns the mask in C order.
fn standard(mask: &Array3<u8>) -> Arc<Array3<u8>> {
    Arc::new(mask.as_standard_layout().into_owned())
}

/// Returns where the patch lies by its row; of a row without, a grid of 1 mm about the origin.
fn affine_of(vertebra: &VertebraSeen) -> Affine {
    let Some(rows) = vertebra.affine else {
        return Affine::axis_aligned([1.0; 3], [0.0; 3]);
    };
    let mut matrix = [[0.0; 4]; 4];
    for (slot, value) in matrix.iter_mut().flatten().zip(rows) {
        *slot = value;
    }
    Affine(matrix)
}
