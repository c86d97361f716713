//! Pairs of what the encoder sees and what it is to give, made ahead on one background thread.
//!
//! Sample i is a function of the seed and i alone, whatever was made before it.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

use ndarray::{Array3, s};
use rand::RngExt as _;
use rand::seq::SliceRandom as _;
use schemas::{Affine, Level};

use crate::augment::augment;
use crate::degrade::degrade;
use crate::networks::SIDE;
use crate::phantom::vertebra;
use crate::reconstructor::ModelError;
use crate::seed::{derive, generator};
use crate::train::{Recipe, TrainingMask};

/// A mask as the encoder sees it, and as it was.
pub struct Pair {
    /// What the encoder sees: degraded, or clean for a share of the pairs.
    pub seen: Array3<u8>,
    /// What the generator's detail sees: degraded for an informed pair, else what the encoder sees.
    pub observed: Array3<u8>,
    /// What was seen is to go through the restorer first.
    pub restored: bool,
    /// The clean mask.
    pub clean: Array3<u8>,
}

/// Levels that phantoms have: L1 to L5.
const PHANTOM_LEVELS: usize = 5;
/// Batches that wait ready.
const AHEAD: usize = 2;

/// What to make.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    /// Masks to make it from.
    pub masks: &'a [TrainingMask],
    /// How to train.
    pub recipe: &'a Recipe,
    /// Seed of this plan.
    pub seed: u64,
    /// Pairs a batch.
    pub batch: usize,
    /// Share of pairs whose seen mask is degraded.
    pub degraded: f64,
    /// Consecutive batches that show the same augmented masks.
    pub reuse: u64,
    /// There is a restorer for the share of pairs that the recipe names.
    pub restores: bool,
}

/// Returns batches `first`, `first` + 1, … for as long as the receiver is held.
pub fn ahead<'scope>(
    scope: &'scope Scope<'scope, '_>,
    plan: Plan<'scope>,
    first: u64,
) -> Receiver<Vec<Pair>> {
    let (sender, receiver) = sync_channel(AHEAD);
    scope.spawn(move || {
        let mut clean: Option<(u64, Vec<Array3<u8>>)> = None;
        for number in first.. {
            let group = number / plan.reuse;
            let masks = match clean.take() {
                Some((held, masks)) if held == group => masks,
                _ => (0..plan.batch).map(|slot| plan.augmented(group, slot)).collect(),
            };
            let batch = masks
                .iter()
                .enumerate()
                .map(|(slot, mask)| plan.pair(number, slot, mask))
                .collect();
            clean = Some((group, masks));
            if sender.send(batch).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Returns the next batch.
pub fn next(batches: &Receiver<Vec<Pair>>) -> Result<Vec<Pair>, ModelError> {
    batches
        .recv()
        .map_err(|_| ModelError::Conf("the thread that makes samples ended early".to_owned()))
}

impl Plan<'_> {
    /// Returns the deformed mask in a slot of a group of batches. Every mask comes once before any comes again.
    fn augmented(&self, group: u64, slot: usize) -> Array3<u8> {
        let number = group * self.batch as u64 + slot as u64;
        let count = self.masks.len() as u64;
        let mut order: Vec<usize> = (0..self.masks.len()).collect();
        order.shuffle(&mut generator(derive(
            self.seed,
            &format!("round {}", number / count),
        )));
        let mut rng = generator(derive(self.seed, &format!("mask {number}")));
        let position = order[usize::try_from(number % count).unwrap_or_default()];
        let phantom = rng.random_bool(self.recipe.phantoms).then(|| {
            let level = Level::ALL[rng.random_range(0..PHANTOM_LEVELS)];
            vertebra(level, rng.random())
        });
        let mask = phantom.as_ref().unwrap_or(&self.masks[position].mask);
        let deformed = augment(mask.view(), &self.recipe.augment, &mut rng);
        deformed.as_standard_layout().to_owned()
    }

    fn pair(&self, number: u64, slot: usize, clean: &Array3<u8>) -> Pair {
        let seed = derive(self.seed, &format!("batch {number} slot {slot}"));
        let clean_window = self.window(clean);
        if !generator(seed).random_bool(self.degraded) {
            return Pair {
                seen: clean_window.clone(),
                observed: clean_window.clone(),
                restored: false,
                clean: clean_window,
            };
        }
        let degraded = self.window(&degrade(clean.view(), &MILLIMETRES, seed));
        let kind: f64 = generator(derive(seed, "kind")).random();
        let informed = kind < self.recipe.informed;
        let restored = self.restores && !informed && kind < self.recipe.informed + self.recipe.restored;
        Pair {
            seen: if informed {
                clean_window.clone()
            } else {
                degraded.clone()
            },
            observed: degraded,
            restored,
            clean: clean_window,
        }
    }

    fn window(&self, mask: &Array3<u8>) -> Array3<u8> {
        let [x, y, z] = self.recipe.network.window().map(|length| {
            let margin = (SIDE - length) / 2;
            margin as isize..(margin + length) as isize
        });
        mask.slice(s![x, y, z]).as_standard_layout().to_owned()
    }
}

/// The grid of a training mask: 1 mm, with the origin in its first voxel.
pub const MILLIMETRES: Affine = Affine([
    [1.0, 0.0, 0.0, 0.0],
    [0.0, 1.0, 0.0, 0.0],
    [0.0, 0.0, 1.0, 0.0],
    [0.0, 0.0, 0.0, 1.0],
]);
