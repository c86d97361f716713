//! Several samples of one vertebra: what most of them say, and how far they agree.

use ndarray::{Array3, Zip};
use schemas::Reconstruction;
use schemas::vertebra::SampleSpread;

/// Returns the voxels that at least half of the samples claim (as the crop cuts at 0.5), how the samples spread, and
/// how many of them claim each voxel; of fewer than two samples neither spread nor votes are known. The latent is the
/// caller's to add.
///
/// `voxel_mm3` is the volume of one voxel. All samples lie on one grid; `None` without a sample. More than 255 of them
/// leave no votes: a voxel's count is one byte.
pub fn vote(samples: &[Array3<u8>], voxel_mm3: f64) -> Option<Reconstruction> {
    if let [only] = samples {
        return Some(Reconstruction::of_mask(only.mapv(|voxel| u8::from(voxel != 0))));
    }
    let mut claims = Array3::<u16>::zeros(samples.first()?.dim());
    for sample in samples {
        Zip::from(&mut claims)
            .and(sample)
            .for_each(|claims, voxel| *claims += u16::from(*voxel != 0));
    }
    let count = samples.len();
    let mask = claims.mapv(|claims| u8::from(2 * usize::from(claims) >= count));
    let spread = SampleSpread {
        agreement: agreement(&claims, count),
        volume_sd_mm3: standard_deviation(samples) * voxel_mm3,
        pairwise_dsc: pairwise_dsc(samples),
    };
    let votes = (count <= usize::from(u8::MAX)).then(|| claims.mapv(|claims| claims as u8));
    Some(Reconstruction {
        mask,
        latent: None,
        spread: Some(spread),
        votes,
    })
}

/// Mean share of samples on the winning side, over the voxels that any sample claims; 1 where none claims any.
fn agreement(claims: &Array3<u16>, count: usize) -> f64 {
    let (mut agreeing, mut voxels) = (0_usize, 0_usize);
    for claims in claims
        .iter()
        .map(|claims| usize::from(*claims))
        .filter(|claims| *claims > 0)
    {
        agreeing += claims.max(count - claims);
        voxels += 1;
    }
    if voxels == 0 {
        1.0
    } else {
        agreeing as f64 / (voxels * count) as f64
    }
}

/// Standard deviation of the samples' volumes, in voxels, with n − 1 in the denominator.
fn standard_deviation(samples: &[Array3<u8>]) -> f64 {
    let volumes: Vec<f64> = samples.iter().map(|sample| voxels(sample) as f64).collect();
    let mean = volumes.iter().sum::<f64>() / volumes.len() as f64;
    let squares: f64 = volumes.iter().map(|volume| (volume - mean).powi(2)).sum();
    (squares / (volumes.len() - 1) as f64).sqrt()
}

/// Mean Dice coefficient over all pairs of samples; two empty ones count as equal.
fn pairwise_dsc(samples: &[Array3<u8>]) -> f64 {
    let volumes: Vec<usize> = samples.iter().map(voxels).collect();
    let (mut sum, mut pairs) = (0.0, 0_usize);
    for (first, one) in samples.iter().enumerate() {
        for (second, other) in samples.iter().enumerate().skip(first + 1) {
            let both = one
                .iter()
                .zip(other)
                .filter(|(a, b)| **a != 0 && **b != 0)
                .count();
            let all = volumes[first] + volumes[second];
            sum += if all == 0 {
                1.0
            } else {
                2.0 * both as f64 / all as f64
            };
            pairs += 1;
        }
    }
    sum / pairs as f64
}

fn voxels(sample: &Array3<u8>) -> usize {
    sample.iter().filter(|voxel| **voxel != 0).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(voxels: [u8; 4]) -> Array3<u8> {
        Array3::from_shape_vec((1, 1, 4), voxels.to_vec()).expect("four voxels")
    }

    #[test]
    fn half_of_the_samples_carry_a_voxel_and_the_spread_is_that_of_the_closed_form() {
        let samples = [
            row([1, 1, 0, 0]),
            row([1, 1, 1, 0]),
            row([1, 0, 1, 0]),
            row([1, 0, 0, 0]),
        ];
        let voted = vote(&samples, 2.0).expect("samples");
        assert_eq!(voted.mask, row([1, 1, 1, 0]));
        let spread = voted.spread.expect("four samples");
        // claims 4, 2, 2 of 4 on three voxels
        assert!((spread.agreement - (4.0 + 2.0 + 2.0) / 12.0).abs() < 1e-12);
        // volumes 2, 3, 2, 1: variance 2/3, times 2 mm³ a voxel
        assert!((spread.volume_sd_mm3 - 2.0 * (2.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        // pairs: 4/5, 2/4, 2/3, 4/5, 2/4, 2/3
        let expected = (0.8 + 0.5 + 2.0 / 3.0 + 0.8 + 0.5 + 2.0 / 3.0) / 6.0;
        assert!((spread.pairwise_dsc - expected).abs() < 1e-12);
    }

    #[test]
    fn one_sample_is_its_own_vote_and_none_is_nothing() {
        let voted = vote(&[row([0, 1, 0, 1])], 1.0).expect("a sample");
        assert_eq!(voted, Reconstruction::of_mask(row([0, 1, 0, 1])));
        assert_eq!(vote(&[], 1.0), None);
    }

    #[test]
    fn the_votes_are_the_number_of_samples_that_claim_a_voxel() {
        // any value but 0 claims
        let samples = [row([1, 1, 0, 0]), row([1, 0, 2, 0]), row([255, 1, 0, 0])];
        let voted = vote(&samples, 1.0).expect("samples");
        assert_eq!(voted.votes, Some(row([3, 2, 1, 0])));
        assert_eq!(voted.mask, row([1, 1, 0, 0]));
    }

    #[test]
    fn more_samples_than_a_byte_counts_leave_the_vote_and_no_votes() {
        let samples = vec![row([1, 0, 0, 1]); 256];
        let voted = vote(&samples, 1.0).expect("samples");
        assert_eq!((voted.mask, voted.votes), (row([1, 0, 0, 1]), None));
    }

    #[test]
    fn equal_samples_agree_wholly() {
        for sample in [row([1, 0, 1, 0]), row([0; 4])] {
            let voted = vote(&[sample.clone(), sample], 1.0).expect("samples");
            let spread = voted.spread.expect("two samples");
            assert_eq!(
                (spread.agreement, spread.volume_sd_mm3, spread.pairwise_dsc),
                (1.0, 0.0, 1.0)
            );
        }
    }
}
