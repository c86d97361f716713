//! The authors' search, the yardstick: all whole shifts, then all whole degrees, on a grid of 150³.
//!
//! Their script registers one vertebra against its CT: shifts x −14 to 14, y −10 to 16, z −14 to 13 voxels; with the
//! best of them turns of −7 to 6° in the plane xy, −7 to 6° in yz and −7 to 7° in xz, one after the other, each by
//! nearest neighbours about the grid's middle. Here a plane's turn is kept for all that follow it.

use ndarray::{Array3, s};

use super::bone::dice;
use super::tests::Moved;
use super::*;

const SIDE: usize = 150;

/// Returns the best Dice coefficient after the shifts and after the turns.
fn exhaustive(moving: &Array3<u8>, fixed: &Array3<u8>) -> (f64, f64) {
    let (moving, fixed) = (padded(moving), padded(fixed));
    let sum = voxels(&moving) + voxels(&fixed);
    let places: Vec<isize> = (0_isize..)
        .zip(&moving)
        .filter_map(|(place, value)| (*value != 0).then_some(place))
        .collect();
    let overlap = |by: isize| -> u64 {
        let at = |place: &isize| fixed.get((place + by) as usize).copied().unwrap_or(0);
        places.iter().map(|place| u64::from(at(place))).sum()
    };
    let mut shifted = (0, 0);
    for x in -14..=14 {
        for y in -10..=16 {
            for z in -14..=13 {
                let by = (x * SIDE as isize + y) * SIDE as isize + z;
                shifted = shifted.max((overlap(by), by));
            }
        }
    }
    let mut best = vec![0; moving.len()];
    for place in &places {
        best[(place + shifted.1) as usize] = 1;
    }
    let mut turned_dice = 0.0_f64;
    for xy in -7..=6 {
        let once = turned(&best, [0, 1], xy);
        for yz in -7..=6 {
            let twice = turned(&once, [1, 2], yz);
            for xz in -7..=7 {
                let thrice = turned(&twice, [0, 2], xz);
                let both = thrice
                    .iter()
                    .zip(&fixed)
                    .map(|(one, other)| u64::from(one & other))
                    .sum();
                turned_dice = turned_dice.max(dice(both, voxels(&thrice) + voxels(&fixed)));
            }
        }
    }
    (dice(shifted.0, sum), turned_dice)
}

fn padded(mask: &Array3<u8>) -> Vec<u8> {
    let mut padded = Array3::zeros((SIDE, SIDE, SIDE));
    padded.slice_mut(s![11..139, 11..139, 11..139]).assign(mask);
    padded.into_raw_vec_and_offset().0
}

fn voxels(mask: &[u8]) -> u64 {
    mask.iter().map(|value| u64::from(*value)).sum()
}

/// Returns the mask turned in the plane of two axes, by nearest neighbours.
fn turned(mask: &[u8], [one, other]: [usize; 2], degrees: i32) -> Vec<u8> {
    let stride = [SIDE * SIDE, SIDE, 1];
    let along = 3 - one - other;
    let (sin, cos) = f64::from(degrees).to_radians().sin_cos();
    let middle = (SIDE as f64 - 1.0) / 2.0;
    let mut turned = vec![0; mask.len()];
    for a in 0..SIDE {
        for b in 0..SIDE {
            let (x, y) = (a as f64 - middle, b as f64 - middle);
            let source_a = (cos * x + sin * y + middle).round() as i32 as usize;
            let source_b = (cos * y - sin * x + middle).round() as i32 as usize;
            if source_a >= SIDE || source_b >= SIDE {
                continue;
            }
            let target = a * stride[one] + b * stride[other];
            let source = source_a * stride[one] + source_b * stride[other];
            for c in 0..SIDE {
                turned[target + c * stride[along]] = mask[source + c * stride[along]];
            }
        }
    }
    turned
}

/// Returns the CPU seconds that this process has used.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .expect("after the name")
        .split_whitespace()
        .collect();
    // user and system time, in ticks of 1/100 s
    [11, 12]
        .map(|field| fields[field].parse::<f64>().expect("ticks"))
        .iter()
        .sum::<f64>()
        / 100.0
}

#[test]
#[ignore = "measurement: minutes"]
fn the_search_against_the_exhaustive_one() {
    for seed in 0..10 {
        let moved = Moved::phantom(seed, [1.0; 3]);
        let start = cpu_seconds();
        let found = moved.register(&RegisterConf::default());
        let seconds = cpu_seconds() - start;
        println!(
            "{seed}: DSC {:.4} → {:.4} in {seconds:.2} CPU seconds",
            found.dsc_before, found.dsc_after
        );
        if seed == 0 {
            let start = cpu_seconds();
            let (shifted, turned) = exhaustive(&moved.moving, &moved.fixed);
            let seconds = cpu_seconds() - start;
            println!("   exhaustive: shifts {shifted:.4}, turns {turned:.4} in {seconds:.1} CPU seconds");
            assert!(found.dsc_after >= turned);
        }
    }
}
