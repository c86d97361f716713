//! What method, preset and size decide.

use super::{EnergyConf, Fit, LossConf, Rate, Recipe, Size};
use crate::augment::AugmentConf;
use crate::description::{Method, Preset};
use crate::lebm::{Likelihood, Short};
use crate::lsd_ebm::schedule::Levels;
use crate::lsd_ebm::walk::Walk;
use crate::networks::{CompactSize, Heads, Network, PaperSize, Time};

/// Levels of `corrected`, `compact`: standard deviation of the noise at each, from 0 up.
const COMPACT_LEVELS: [f64; 7] = [0.0, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95];
/// T of the paper's Table 1.
const PAPER_LEVELS: usize = 20;
/// T of the schedule that the authors' evaluation walks, whatever was trained.
pub(super) const PAPER_LEVELS_WALKED: usize = 30;
/// Masks that the authors train on, and how often.
const PAPER_MASKS: u64 = 446;
const PAPER_EPOCHS: u64 = 201;

impl Recipe {
    /// Returns the recipe of a method under a preset at a size.
    pub fn of(method: Method, preset: Preset, size: Size) -> Self {
        let paper_code = preset == Preset::PaperCode;
        let network = network(method, preset, size);
        let by_sums = LossConf {
            cross_entropy: 1.0,
            dice: 0.0,
            divergence: 1.0,
        };
        let divergence = if method == Method::Vae { 1.0 } else { 0.3 };
        let size_name = if size == Size::Paper { "paper" } else { "compact" };
        let version = match preset {
            Preset::PaperCode => format!("paper-code-{size_name}-1"),
            Preset::Corrected => format!("{size_name}-2"),
        };
        Self {
            method,
            preset,
            size,
            version,
            seed: 0,
            device: "cpu".to_owned(),
            threads: 2,
            half: !paper_code && size == Size::Compact,
            store_half: !paper_code,
            checkpoint_minutes: 5.0,
            validate_every: 200,
            network,
            levels: match (paper_code, size) {
                (false, Size::Compact) => Levels::Noise(COMPACT_LEVELS.to_vec()),
                _ => Levels::Paper(PAPER_LEVELS),
            },
            walk: if paper_code {
                Walk::paper()
            } else {
                Walk::corrected(15)
            },
            short: match (paper_code, size) {
                (true, _) => Short::paper(30),
                (false, _) => Short {
                    posterior_steps: 10,
                    posterior_step: 0.2,
                    prior_steps: 20,
                    prior_step: 0.1,
                    likelihood: Likelihood::Bernoulli(4.0),
                    temperature: 0.3,
                },
            },
            // the authors' VAE, LEBM and LSD-EBM see clean masks only; to restore degraded ones is ReconNet's whole purpose
            degraded: if paper_code && method != Method::ReconNet {
                0.0
            } else {
                0.85
            },
            informed: 0.0,
            restored: 0.0,
            phantoms: if paper_code { 0.0 } else { 0.2 },
            reuse: if paper_code { 1 } else { 2 },
            augment: if paper_code {
                paper_augmentation()
            } else {
                AugmentConf::default()
            },
            latent_noise: if method == Method::LsdEbm && !paper_code {
                [0.0, 1.0]
            } else {
                [1.0, 1.0]
            },
            loss: if paper_code {
                by_sums
            } else {
                LossConf {
                    cross_entropy: 5.0,
                    dice: 1.0,
                    divergence,
                }
            },
            fit: if paper_code {
                Fit::paper(method)
            } else {
                Fit {
                    steps: 3000,
                    minutes: 45.0,
                    batch: 4,
                    accumulate: 1,
                    learning_rate: 2e-3,
                    schedule: Rate::Cosine,
                    warm_up: 50,
                    betas: [0.9, 0.99],
                    weight_decay: 1e-2,
                    clip: 1.0,
                    ema: 0.995,
                }
            },
            energy: EnergyConf {
                fit: if paper_code {
                    Fit::paper(method)
                } else {
                    Fit {
                        steps: 1200,
                        minutes: 10.0,
                        batch: 8,
                        accumulate: 1,
                        learning_rate: 3e-4,
                        schedule: Rate::Linear,
                        warm_up: 0,
                        betas: [0.9, 0.99],
                        weight_decay: 0.0,
                        clip: 1.0,
                        ema: 0.98,
                    }
                },
                latents: 480,
                regularisation: 0.0,
            },
        }
    }
}

/// The networks of `paper-code` at size `compact` are the authors', with fewer channels.
fn network(method: Method, preset: Preset, size: Size) -> Network {
    let paper_code = preset == Preset::PaperCode;
    if !paper_code && size == Size::Compact {
        return Network::Compact(CompactSize::default());
    }
    let (channels, latents, shrink) = match size {
        Size::Paper => (16, 100, 1),
        Size::Compact => (4, 32, 8),
    };
    let wide = method != Method::LsdEbm;
    Network::Paper(PaperSize {
        // ReconNet's own default is twice as wide
        channels: if method == Method::ReconNet {
            2 * channels
        } else {
            channels
        },
        wide,
        latents,
        heads: if paper_code {
            Heads::Shared
        } else {
            Heads::Separate
        },
        energy_width: if method == Method::Lebm { 300 } else { 1000 } / shrink,
        time: if paper_code { Time::Raw } else { Time::Embedded },
        energy_batch_norm: paper_code && method == Method::Lebm,
    })
}

/// Zoom by up to a tenth and whole shifts of up to 7 voxels; nothing else (MODEL.md §4).
fn paper_augmentation() -> AugmentConf {
    AugmentConf {
        rotation_deg: 0.0,
        scale: [0.9, 1.1],
        axis_scale: 0.0,
        translation_mm: 7.0,
        elastic_sd_mm: 0.0,
        flip: 0.0,
        ..AugmentConf::default()
    }
}

impl Fit {
    /// Returns how the authors train.
    fn paper(method: Method) -> Self {
        let is_lebm = method == Method::Lebm;
        let batch = if is_lebm { 2 } else { 4 };
        Self {
            steps: PAPER_EPOCHS * (PAPER_MASKS / batch as u64),
            minutes: 0.0,
            batch,
            accumulate: 1,
            learning_rate: if is_lebm { 1e-4 } else { 2e-5 },
            schedule: Rate::Constant,
            warm_up: 0,
            betas: [0.9, 0.999],
            weight_decay: 0.0,
            clip: 0.0,
            ema: 0.0,
        }
    }
}
