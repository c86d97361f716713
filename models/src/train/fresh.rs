//! Weights as training starts from.

use crate::description::{Description, Method};
use crate::lebm::energy::PriorEnergy;
use crate::lsd_ebm::energy::Energy;
use crate::networks::encoder::Encoder;
use crate::networks::generator::Generator;
use crate::networks::layers::Made;
use crate::networks::unet::Unet;
use crate::networks::{ENCODER, ENERGY, GENERATOR, UNET};
use crate::reconstructor::ModelError;
use crate::seed::generator;
use crate::weights::Tensors;

/// Returns fresh weights for a description: PyTorch's own start, drawn from the seed in the order of asking.
///
/// # Errors
/// A description of sizes that make no network.
pub fn fresh(description: &Description, seed: u64) -> Result<Tensors, ModelError> {
    let mut tensors = Tensors::new();
    let network = &description.network;
    let mut made = Made {
        tensors: &mut tensors,
        prefix: ENCODER,
        rng: &mut generator(seed),
    };
    if matches!(description.method, Method::LsdEbm | Method::Vae) {
        Encoder::new(&mut made, network)?;
    }
    if description.method == Method::ReconNet {
        made.prefix = UNET;
        Unet::new(&mut made, network)?;
    } else {
        made.prefix = GENERATOR;
        Generator::new(&mut made, network)?;
    }
    made.prefix = ENERGY;
    match description.method {
        Method::LsdEbm => {
            Energy::new(&mut made, network, description.schedule()?.levels())?;
        }
        Method::Lebm => {
            PriorEnergy::new(&mut made, network)?;
        }
        Method::Vae | Method::ReconNet => {}
    }
    Ok(tensors)
}
