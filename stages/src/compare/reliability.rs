//! Whether the samples' agreement means what it says: of the voxels that k of N samples claim, the reference should
//! have k/N.

use ndarray::{ArrayView3, Zip};

/// Voxels by how many samples claim them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reliability {
    /// Bin k: voxels that k samples claim, k = 0 to the number of samples.
    pub bins: Vec<Bin>,
}

/// The voxels of one vote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bin {
    /// All of them.
    pub voxels: u64,
    /// Those that the reference has.
    pub in_reference: u64,
}

/// Counts the voxels that any sample claims or the reference has, by the number of samples that claim them.
///
/// The background that all leave alone is left out: it would swamp everything with perfect agreement. So bin 0 holds
/// the reference's voxels that no sample found and nothing else: its share in the reference is 1 wherever it has any.
///
/// # Panics
/// If the two differ in shape.
pub fn reliability(votes: ArrayView3<'_, u8>, samples: u32, reference: ArrayView3<'_, u8>) -> Reliability {
    assert_eq!(votes.dim(), reference.dim(), "votes and reference of one grid");
    let mut bins = vec![Bin::default(); samples as usize + 1];
    Zip::from(votes).and(reference).for_each(|votes, reference| {
        let is_reference = *reference != 0;
        if *votes == 0 && !is_reference {
            return;
        }
        // more votes than samples cannot be; were there any, they would count as all
        let bin = &mut bins[usize::from(*votes).min(samples as usize)];
        bin.voxels += 1;
        bin.in_reference += u64::from(is_reference);
    });
    Reliability { bins }
}

impl Reliability {
    /// Adds another vertebra's voxels. Votes of another number of samples are not comparable: they are left out, and
    /// false is returned.
    pub fn add(&mut self, other: &Self) -> bool {
        if self.bins.len() != other.bins.len() {
            return false;
        }
        for (bin, other) in self.bins.iter_mut().zip(&other.bins) {
            bin.voxels += other.voxels;
            bin.in_reference += other.in_reference;
        }
        true
    }

    /// Returns (share of samples, share of the reference) of every bin of claimed voxels that has one. Bin 0 is not among
    /// them: its share is 1 by construction.
    pub fn curve(&self) -> Vec<(f64, f64)> {
        self.claims().map(|(share, bin)| (share, observed(bin))).collect()
    }

    /// Returns the share of the reference's voxels that no sample claims; `None` without a voxel.
    pub fn missed(&self) -> Option<f64> {
        let all: u64 = self.bins.iter().map(|bin| bin.in_reference).sum();
        let missed = self.bins.first()?.in_reference;
        (all > 0).then(|| missed as f64 / all as f64)
    }

    /// Returns the expected calibration error: the mean of |share of the reference − share of samples| over the bins,
    /// weighted by their voxels (Guo et al. 2017, Eq. 3, with one bin for each number of votes). `None` without a voxel.
    pub fn expected_calibration_error(&self) -> Option<f64> {
        error(self.shares())
    }

    /// Returns the same over the voxels that at least one sample claims: how far a claim can be believed, without the
    /// voxels that all samples missed.
    pub fn error_of_claims(&self) -> Option<f64> {
        error(self.claims())
    }

    fn claims(&self) -> impl Iterator<Item = (f64, &Bin)> {
        self.shares().filter(|(share, _)| *share > 0.0)
    }

    fn shares(&self) -> impl Iterator<Item = (f64, &Bin)> {
        let samples = (self.bins.len() - 1) as f64;
        let bins = self.bins.iter().enumerate();
        bins.filter(|(_, bin)| bin.voxels > 0)
            .map(move |(votes, bin)| (votes as f64 / samples, bin))
    }
}

fn observed(bin: &Bin) -> f64 {
    bin.in_reference as f64 / bin.voxels as f64
}

fn error<'a>(bins: impl Iterator<Item = (f64, &'a Bin)>) -> Option<f64> {
    let (mut sum, mut voxels) = (0.0, 0);
    for (share, bin) in bins {
        sum += bin.voxels as f64 * (observed(bin) - share).abs();
        voxels += bin.voxels;
    }
    (voxels > 0).then(|| sum / voxels as f64)
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;

    fn row(voxels: &[u8]) -> Array3<u8> {
        Array3::from_shape_vec((1, 1, voxels.len()), voxels.to_vec()).expect("a row")
    }

    #[test]
    fn the_error_is_that_of_a_hand_count() {
        // of 4 samples:     background  missed  one claim     two claims  all claim
        let votes = row(&[0, 0, 0, 1, 1, 1, 1, 2, 2, 4, 4, 4, 4, 4]);
        let truth = row(&[0, 0, 1, 0, 1, 0, 0, 1, 1, 1, 1, 1, 1, 0]);
        let found = reliability(votes.view(), 4, truth.view());
        let bins: Vec<_> = found
            .bins
            .iter()
            .map(|bin| (bin.voxels, bin.in_reference))
            .collect();
        assert_eq!(bins, [(1, 1), (4, 1), (2, 2), (0, 0), (5, 4)]);
        assert_eq!(found.curve(), [(0.25, 0.25), (0.5, 1.0), (1.0, 0.8)]);
        assert_eq!(found.missed(), Some(1.0 / 8.0));
        // (1·1 + 4·0 + 2·0.5 + 5·0.2)/12 = 3/12; without the missed voxel 2/11
        let error = found.expected_calibration_error().expect("voxels");
        assert!((error - 0.25).abs() < 1e-12, "{error}");
        let claims = found.error_of_claims().expect("voxels");
        assert!((claims - 2.0 / 11.0).abs() < 1e-12, "{claims}");
    }

    #[test]
    fn vertebrae_add_up_voxel_by_voxel() {
        let (votes, truth) = (row(&[0, 1, 2]), row(&[1, 0, 1]));
        let mut sum = reliability(votes.view(), 2, truth.view());
        assert!(sum.add(&sum.clone()));
        assert_eq!(sum.bins.iter().map(|bin| bin.voxels).sum::<u64>(), 6);
        assert!(!sum.add(&reliability(votes.view(), 3, truth.view())));
    }

    #[test]
    fn nothing_claimed_and_nothing_to_find_has_no_error() {
        let empty = row(&[0, 0]);
        let found = reliability(empty.view(), 2, empty.view());
        assert_eq!(
            (found.curve().len(), found.expected_calibration_error()),
            (0, None)
        );
    }
}
