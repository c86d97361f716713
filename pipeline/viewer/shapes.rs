//! Masks and surfaces of single vertebrae as files that NiiVue reads. A few vertebrae are kept: each is asked for several
//! times, and whoever looks at one looks at its neighbours.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ndarray::{Array3, Zip};
use stages::blocking;
use stages::decode::nifti::write_mask;
use stages::results::{CaseSeen, VertebraSeen};
use stages::surface::{ply::ply, stl::stl, surface};
use tokio::sync::{OnceCell, Semaphore};

use crate::masks::{MaskSource, VertebraMasks};

/// Vertebrae whose masks are kept: a spine and a half, of 6 MiB each.
const KEPT: usize = 9;

/// How long masks are kept that are not all there: what a store did not give may come the next time.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Vertebrae that are read or made into files at once: each takes tens of MiB while it lasts.
const AT_ONCE: usize = 2;

/// What a voxel of the errors is: in both masks, in the reconstruction alone, in the reference alone.
const BOTH: u8 = 1;
const ADDED: u8 = 2;
const MISSED: u8 = 3;

/// Which mask of a vertebra.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mask {
    Input,
    Recon,
    Reference,
    Errors,
}

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Nifti,
    Stl,
    Ply,
}

impl Mask {
    pub(super) fn of(name: &str) -> Option<Self> {
        match name {
            "input" => Some(Self::Input),
            "recon" => Some(Self::Recon),
            "reference" => Some(Self::Reference),
            "errors" => Some(Self::Errors),
            _ => None,
        }
    }
}

/// Names a state of a vertebra: case, level, attempt.
type Key = (String, String, u32);

/// Masks that are being read, or that were.
type Cell = Arc<OnceCell<Arc<VertebraMasks>>>;

/// Gives out masks and surfaces.
#[derive(Debug)]
pub(super) struct Shapes {
    source: MaskSource,
    /// Those asked for last stand last.
    kept: Mutex<VecDeque<(Key, Instant, Cell)>>,
    turns: Semaphore,
}

impl Shapes {
    pub(super) fn new(source: MaskSource) -> Self {
        Self {
            source,
            kept: Mutex::default(),
            turns: Semaphore::new(AT_ONCE),
        }
    }

    /// Returns a file of a vertebra, or in words why there is none.
    pub(super) async fn file(
        &self,
        case: &CaseSeen,
        vertebra: &VertebraSeen,
        mask: Mask,
        form: Form,
    ) -> Result<Vec<u8>, String> {
        let masks = self.masks(case, vertebra).await;
        let _turn = self.turns.acquire().await;
        blocking(move || file(&masks, mask, form)).await
    }

    async fn masks(&self, case: &CaseSeen, vertebra: &VertebraSeen) -> Arc<VertebraMasks> {
        let cell = self.cell(key(vertebra));
        // all who ask for the same wait for the one who reads
        let read = || async {
            let _turn = self.turns.acquire().await;
            Arc::new(self.source.masks(case, vertebra).await)
        };
        Arc::clone(cell.get_or_init(read).await)
    }

    fn cell(&self, key: Key) -> Cell {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().position(|(known, _, _)| *known == key);
        let (since, cell) = match found.and_then(|index| kept.remove(index)) {
            Some((_, since, cell)) if !is_stale(since, &cell) => (since, cell),
            _ => (Instant::now(), Cell::default()),
        };
        kept.push_back((key, since, Arc::clone(&cell)));
        if kept.len() > KEPT {
            kept.pop_front();
        }
        cell
    }

    /// Keeps masks as if they had been read.
    #[cfg(test)]
    pub(super) fn keep(&self, vertebra: &VertebraSeen, masks: VertebraMasks) {
        let cell = self.cell(key(vertebra));
        assert!(cell.set(Arc::new(masks)).is_ok(), "kept for the first time");
    }
}

fn key(vertebra: &VertebraSeen) -> Key {
    (
        vertebra.case_id.clone(),
        vertebra.level.clone(),
        vertebra.attempt,
    )
}

fn is_stale(since: Instant, cell: &Cell) -> bool {
    let lacks = |masks: &Arc<VertebraMasks>| {
        masks.input.is_err() || masks.recon.is_err() || masks.reference.is_err()
    };
    since.elapsed() > RETRY_AFTER && cell.get().is_some_and(lacks)
}

fn file(masks: &VertebraMasks, mask: Mask, form: Form) -> Result<Vec<u8>, String> {
    let errors;
    let voxels = match mask {
        Mask::Input => masks.input.as_ref(),
        Mask::Recon => masks.recon.as_ref(),
        Mask::Reference => masks.reference.as_ref(),
        Mask::Errors => {
            errors = compared(masks);
            errors.as_ref()
        }
    };
    let voxels = voxels.map_err(Clone::clone)?;
    if form == Form::Nifti {
        return write_mask(voxels.view(), &masks.affine).map_err(|fault| fault.to_string());
    }
    let field = voxels.mapv(|voxel| f32::from(u8::from(voxel != 0)));
    let mesh = surface(field.view(), 0.5, &masks.affine);
    if mesh.is_empty() {
        return Err("the mask is empty: it has no surface".to_owned());
    }
    Ok(if form == Form::Stl { stl(&mesh) } else { ply(&mesh) })
}

/// Returns where reconstruction and reference agree, and where they do not.
fn compared(masks: &VertebraMasks) -> Result<Array3<u8>, String> {
    let (recon, reference) = (masks.recon.as_ref(), masks.reference.as_ref());
    let (recon, reference) = (
        recon.map_err(Clone::clone)?,
        reference.map_err(Clone::clone)?,
    );
    if recon.dim() != reference.dim() {
        let (found, expected) = (recon.dim(), reference.dim());
        return Err(format!(
            "expected a reconstruction of {expected:?} voxels as the reference has, found {found:?}"
        ));
    }
    let compared = Zip::from(recon).and(reference).map_collect(|recon, reference| {
        match (*recon != 0, *reference != 0) {
            (true, true) => BOTH,
            (true, false) => ADDED,
            (false, true) => MISSED,
            (false, false) => 0,
        }
    });
    Ok(compared)
}

#[cfg(test)]
mod tests {
    use schemas::Affine;
    use stages::decode::label_map;

    use super::*;

    fn masks() -> VertebraMasks {
        let mut recon = Array3::zeros((4, 4, 4));
        recon[[1, 1, 1]] = 1;
        recon[[1, 1, 2]] = 1;
        let mut reference = Array3::zeros((4, 4, 4));
        reference[[1, 1, 2]] = 1;
        reference[[2, 1, 2]] = 1;
        VertebraMasks {
            affine: Affine::axis_aligned([1.0; 3], [-2.0, 3.0, 10.0]),
            input: Err("none kept".to_owned()),
            recon: Ok(recon),
            reference: Ok(reference),
        }
    }

    #[test]
    fn errors_tell_what_was_added_from_what_was_missed() {
        let bytes = file(&masks(), Mask::Errors, Form::Nifti).expect("errors");
        let map = label_map(&bytes, None, 1 << 20).expect("readable");
        let at = |i: usize, j: usize, k: usize| map.data[[i, j, k]];
        assert_eq!(at(1, 1, 1), 2);
        assert_eq!(at(1, 1, 2), 1);
        assert_eq!(at(2, 1, 2), 3);
        assert_eq!(map.data.iter().filter(|voxel| **voxel != 0).count(), 3);
        assert_eq!(map.affine.apply([1.0, 1.0, 1.0]), [-1.0, 4.0, 11.0]);
    }

    #[test]
    fn what_is_not_there_says_why() {
        let mut masks = masks();
        let why = file(&masks, Mask::Input, Form::Ply).expect_err("no input");
        assert_eq!(why, "none kept");
        masks.reference = Err("no reference".to_owned());
        let why = file(&masks, Mask::Errors, Form::Nifti).expect_err("no errors");
        assert_eq!(why, "no reference");
        masks.recon = Ok(Array3::zeros((4, 4, 4)));
        let why = file(&masks, Mask::Recon, Form::Stl).expect_err("no surface");
        assert!(why.contains("empty"), "{why}");
    }

    #[test]
    fn a_surface_has_as_many_triangles_as_its_file_says() {
        let bytes = file(&masks(), Mask::Recon, Form::Stl).expect("surface");
        let count = u32::from_le_bytes(bytes[80..84].try_into().expect("four bytes"));
        assert!(count > 0);
        assert_eq!(bytes.len(), 84 + 50 * count as usize);
        let bytes = file(&masks(), Mask::Recon, Form::Ply).expect("surface");
        assert!(bytes.starts_with(b"ply\n"));
    }
}
