//! Random variants of a vertebra's mask for training: turned, scaled, bent a little, mirrored.

mod warp;

use ndarray::{Array3, ArrayView3};
use rand::{Rng, RngExt as _};
use serde::{Deserialize, Serialize};

use crate::seed::generator;
use warp::{Bone, Elastic, Field, Matrix, extent_of, place, product};

/// How far augmentation goes. Voxels count as 1 mm, as those of a patch are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentConf {
    /// Largest rotation about each axis, in degrees.
    pub rotation_deg: f64,
    /// Least and largest scale of the whole; less where the vertebra would leave the cube.
    pub scale: [f64; 2],
    /// Largest share by which each axis is stretched or shrunk on top of that.
    pub axis_scale: f64,
    /// Largest shift of the bounding box off the cube's middle along each axis, in whole mm; 0 keeps it centred.
    pub translation_mm: f64,
    /// Standard deviation of the elastic displacement along each axis, in mm.
    pub elastic_sd_mm: f64,
    /// Distance between the nodes at which the displacement is drawn, in mm.
    pub elastic_spacing_mm: f64,
    /// Probability of a left–right flip.
    pub flip: f64,
}

impl Default for AugmentConf {
    fn default() -> Self {
        Self {
            rotation_deg: 10.0,
            scale: [0.85, 1.2],
            axis_scale: 0.05,
            translation_mm: 4.0,
            elastic_sd_mm: 2.0,
            elastic_spacing_mm: 32.0,
            flip: 0.5,
        }
    }
}

/// Voxels that are kept free at each side of the cube when the scale is drawn.
const FREE: f64 = 2.0;

/// Returns a random variant of the mask (0 or 1) on a grid of the same shape; axis 0 runs left–right.
///
/// Affine map and elastic displacement are resampled linearly in one step and cut at one half; then the bounding box is
/// put into the middle of the grid, give or take the translation. The same number of draws whatever the mask.
pub fn augment(mask: ArrayView3<'_, u8>, conf: &AugmentConf, rng: &mut impl Rng) -> Array3<u8> {
    let draw = Draw::new(conf, rng);
    let mut augmented = Array3::zeros(mask.raw_dim());
    let Some(bone) = Bone::of(mask) else {
        return augmented;
    };
    let side = [mask.dim().0, mask.dim().1, mask.dim().2];

    let mut forward = draw.forward;
    let span = bone.span(&forward);
    let room = (0..3)
        .map(|axis| (side[axis] as f64 - 2.0 * FREE) / (2.0 * span[axis]))
        .fold(1.0, f64::min);
    if room > 0.0 && room < 1.0 {
        forward = forward.map(|row| row.map(|entry| entry * room));
    }
    let elastic = Elastic {
        sd: conf.elastic_sd_mm,
        spacing: conf.elastic_spacing_mm,
    };
    let nodes = &mut generator(draw.nodes_seed);
    let Some(field) = Field::new(&bone, &forward, elastic, side, nodes) else {
        return augmented;
    };
    let warped = field.warp(&bone);

    let Some(extent) = extent_of(warped.view()) else {
        return augmented;
    };
    let mut start = [0; 3];
    for axis in 0..3 {
        let range = &extent.0[axis];
        let slack = side[axis] as i64 - range.len() as i64;
        let shift = draw.translation[axis].clamp(-(slack / 2).max(0), (slack / 2).max(0));
        start[axis] = slack.div_euclid(2) + shift - range.start as i64;
    }
    place(warped.view(), start, &mut augmented);
    augmented
}

/// Returns both masks shifted by whole voxels so that the bounding box of `input` has its middle in the grid's middle,
/// as the crop centres a vertebra by what it is given; what leaves the grid is lost.
pub fn centre_on_input(input: ArrayView3<'_, u8>, target: ArrayView3<'_, u8>) -> (Array3<u8>, Array3<u8>) {
    let Some(extent) = extent_of(input) else {
        return (input.to_owned(), target.to_owned());
    };
    let side = [input.dim().0, input.dim().1, input.dim().2];
    let mut start = [0; 3];
    for axis in 0..3 {
        let range = &extent.0[axis];
        start[axis] = (side[axis] as i64 - range.len() as i64).div_euclid(2) - range.start as i64;
    }
    let shifted = |mask: ArrayView3<'_, u8>| {
        let mut shifted = Array3::zeros(mask.raw_dim());
        place(mask, start, &mut shifted);
        shifted
    };
    (shifted(input), shifted(target))
}

/// Everything random about one variant but the displacement's nodes, whose number depends on the mask.
struct Draw {
    forward: Matrix,
    translation: [i64; 3],
    nodes_seed: u64,
}

impl Draw {
    fn new(conf: &AugmentConf, rng: &mut impl Rng) -> Self {
        let mut between = |low: f64, high: f64| low + (high - low) * rng.random::<f64>();
        let scale = between(conf.scale[0], conf.scale[1]);
        let flip = if between(0.0, 1.0) < conf.flip { -1.0 } else { 1.0 };
        let mut forward = [[0.0; 3]; 3];
        for (axis, row) in forward.iter_mut().enumerate() {
            row[axis] = scale * (1.0 + between(-conf.axis_scale, conf.axis_scale));
        }
        forward[0][0] *= flip;
        for axis in 0..3 {
            let (sin, cos) = between(-conf.rotation_deg, conf.rotation_deg)
                .to_radians()
                .sin_cos();
            let (first, second) = ((axis + 1) % 3, (axis + 2) % 3);
            let mut turn = [[0.0; 3]; 3];
            turn[axis][axis] = 1.0;
            turn[first][first] = cos;
            turn[second][second] = cos;
            turn[first][second] = -sin;
            turn[second][first] = sin;
            forward = product(&turn, &forward);
        }
        let translation =
            [0; 3].map(|_: i64| between(-conf.translation_mm, conf.translation_mm).round() as i64);
        Self {
            forward,
            translation,
            nodes_seed: rng.random(),
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Axis;

    use super::*;
    use crate::degrade::frame::pieces;

    /// Nothing but a flip.
    fn flip_only() -> AugmentConf {
        AugmentConf {
            rotation_deg: 0.0,
            scale: [1.0, 1.0],
            axis_scale: 0.0,
            translation_mm: 0.0,
            elastic_sd_mm: 0.0,
            flip: 1.0,
            ..AugmentConf::default()
        }
    }

    /// A body with one long process to the right and one to the back: no symmetry.
    fn solid() -> Array3<u8> {
        Array3::from_shape_fn((128, 128, 128), |(i, j, k)| {
            let at = [i as f64 - 60.0, j as f64 - 80.0, k as f64 - 64.0];
            let inside = |middle: [f64; 3], radii: [f64; 3]| {
                (0..3)
                    .map(|axis| ((at[axis] - middle[axis]) / radii[axis]).powi(2))
                    .sum::<f64>()
                    <= 1.0
            };
            let body = inside([0.0; 3], [24.0, 17.0, 14.0]);
            u8::from(
                body || inside([30.0, -10.0, 2.0], [20.0, 5.0, 6.0])
                    || inside([0.0, -40.0, -4.0], [5.0, 28.0, 10.0]),
            )
        })
    }

    fn volume(mask: &Array3<u8>) -> f64 {
        mask.iter().map(|value| f64::from(*value)).sum()
    }

    #[test]
    fn a_flip_twice_changes_nothing_but_the_place() {
        let (centred, _) = centre_on_input(solid().view(), solid().view());
        let once = augment(centred.view(), &flip_only(), &mut generator(0));
        let mut mirrored = centred.clone();
        mirrored.invert_axis(Axis(0));
        assert_eq!(once, centre_on_input(mirrored.view(), mirrored.view()).0);
        assert_eq!(augment(once.view(), &flip_only(), &mut generator(1)), centred);
    }

    #[test]
    fn the_bounding_box_stays_in_the_middle_and_away_from_it_by_the_translation_at_most() {
        for (translation_mm, most) in [(0.0, 0), (4.0, 4)] {
            let conf = AugmentConf {
                translation_mm,
                ..AugmentConf::default()
            };
            for seed in 0..10 {
                let augmented = augment(solid().view(), &conf, &mut generator(seed));
                for range in extent_of(augmented.view()).expect("not empty").0 {
                    let off = range.start as i64 - (128 - range.end as i64);
                    assert!(
                        (-2 * most - 1..=2 * most).contains(&off),
                        "seed {seed}: {range:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_volume_stays_within_the_scales_and_the_shape_in_one_piece() {
        let conf = AugmentConf::default();
        let before = volume(&solid());
        let mut ratios = Vec::new();
        for seed in 0..20 {
            let augmented = augment(solid().view(), &conf, &mut generator(seed));
            ratios.push(volume(&augmented) / before);
            assert_eq!(pieces(augmented.view()), 1, "seed {seed}");
        }
        // 0.85³ · 0.95³ to 1.2³ · 1.05³, and a tenth for the elastic part
        assert!(
            ratios.iter().all(|ratio| (0.47..2.2).contains(ratio)),
            "{ratios:?}"
        );
        let (least, most) = (
            ratios.iter().copied().fold(9.0, f64::min),
            ratios.iter().copied().fold(0.0, f64::max),
        );
        assert!(least < 0.85 && most > 1.2, "{least} {most}");
    }

    #[test]
    fn a_scale_alone_scales_the_volume_by_its_cube() {
        for factor in [0.9, 1.15] {
            let conf = AugmentConf {
                scale: [factor, factor],
                flip: 0.0,
                ..flip_only()
            };
            let ratio = volume(&augment(solid().view(), &conf, &mut generator(0))) / volume(&solid());
            assert!((ratio / factor.powi(3) - 1.0).abs() < 0.01, "{factor}: {ratio}");
        }
    }

    #[test]
    fn a_vertebra_too_wide_for_the_cube_is_scaled_to_fit() {
        let mut wide = Array3::zeros((128, 128, 128));
        for i in 4..124 {
            for j in 60..70 {
                for k in 60..70 {
                    wide[[i, j, k]] = 1;
                }
            }
        }
        let conf = AugmentConf {
            scale: [1.2, 1.2],
            ..flip_only()
        };
        let augmented = augment(wide.view(), &conf, &mut generator(0));
        let extent = extent_of(augmented.view()).expect("not empty");
        assert!((122..=125).contains(&extent.0[0].len()), "{extent:?}");
    }

    #[test]
    fn equal_generators_give_equal_variants_and_empty_or_odd_masks_are_no_reason_to_panic() {
        let conf = AugmentConf::default();
        let mask = solid();
        let variant = |seed| augment(mask.view(), &conf, &mut generator(seed));
        assert_eq!(variant(5), variant(5));
        assert_ne!(variant(5), variant(6));
        let odd = [
            AugmentConf {
                scale: [0.0, 0.0],
                ..AugmentConf::default()
            },
            AugmentConf {
                scale: [f64::NAN, 1e9],
                elastic_spacing_mm: 0.0,
                ..AugmentConf::default()
            },
            AugmentConf {
                elastic_sd_mm: 1e9,
                elastic_spacing_mm: f64::NAN,
                ..AugmentConf::default()
            },
        ];
        for shape in [(0, 0, 0), (1, 1, 1), (3, 1, 40), (0, 5, 5)] {
            for conf in odd.iter().chain([&conf]) {
                let full = Array3::<u8>::ones(shape);
                assert_eq!(augment(full.view(), conf, &mut generator(1)).dim(), shape);
                let empty = Array3::<u8>::zeros(shape);
                assert_eq!(augment(empty.view(), conf, &mut generator(1)), empty);
            }
        }
    }
}
