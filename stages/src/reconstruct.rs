//! Sends each vertebra of a case through the pool of models.

use std::time::Instant;

use futures::future::join_all;
use models::seed::derive;
use schemas::payload::{CroppedVertebra, ReconstructedVertebra};
use schemas::{Cropped, Fault, Reconstructed};

use crate::pool::{Done, EVERY_WORKER_GONE, Pool};
use crate::stage::Stage;

/// The stage.
#[derive(Debug, Clone)]
pub struct Reconstruct {
    /// Workers that hold the models.
    pub pool: Pool,
}

impl Stage for Reconstruct {
    type In = Cropped;
    type Out = Reconstructed;
    const NAME: &'static str = "reconstruct";

    async fn run(&self, cropped: Cropped) -> Result<Reconstructed, Fault> {
        let case_seed = cropped.origin.seed;
        let vertebrae = cropped
            .vertebrae
            .into_iter()
            .map(|vertebra| self.vertebra(vertebra, case_seed));
        let vertebrae = join_all(vertebrae).await;
        let gone = |vertebra: &ReconstructedVertebra| matches!(&vertebra.reconstruction, Err(fault) if fault.reason == EVERY_WORKER_GONE);
        // without a worker the case is not done at all: it stays for the next start
        if let Some(Err(fault)) = vertebrae
            .iter()
            .find(|vertebra| gone(vertebra))
            .map(|lost| &lost.reconstruction)
        {
            return Err(fault.clone());
        }
        Ok(Reconstructed {
            origin: cropped.origin,
            grid: cropped.grid,
            vertebrae,
            model: self.pool.identity(),
        })
    }
}

/// A label thinner than the cube's voxels can fall between them.
fn nothing_left() -> Fault {
    let message = "expected a label that fills voxels of the cube, found one too thin for any";
    Fault::unsuitable("empty_patch", message)
}

impl Reconstruct {
    async fn vertebra(&self, cropped: CroppedVertebra, case_seed: u64) -> ReconstructedVertebra {
        let seed = derive(case_seed, cropped.level.as_str());
        let start = Instant::now();
        let done = if cropped.input.mask.iter().any(|voxel| *voxel != 0) {
            self.pool.reconstruct(cropped.input.clone(), seed).await
        } else {
            Done {
                result: Err(nothing_left()),
                batch: 0,
            }
        };
        ReconstructedVertebra {
            cropped,
            seed,
            reconstruction: done.result,
            elapsed: start.elapsed(),
            batch: done.batch,
        }
    }
}
