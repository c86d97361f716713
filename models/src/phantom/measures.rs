//! Sizes of lumbar vertebrae: what is usual at each level, and one individual's own.
//!
//! Widths and depths of the end plates, the canal's width and the span of the transverse processes are the means of
//! Panjabi et al. 1992 ("Human lumbar vertebrae: quantitative three-dimensional anatomy", Spine 17:299). Heights, the
//! canal's depth and the places of pedicles and processes were read off masks from CT, above all the mean shapes of
//! Clouthier et al. 2023 ("Morphable models of the lumbar spine"), where they differ from calipers' measures.

use rand::{Rng, RngExt as _};
use rand_distr::StandardNormal;
use schemas::Level;

/// Sizes of one vertebra, in mm but where said otherwise; pairs are left and right.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measures {
    pub(super) upper_width: f64,
    pub(super) lower_width: f64,
    pub(super) depth: f64,
    pub(super) height_in_front: f64,
    pub(super) height_behind: f64,
    pub(super) canal_width: f64,
    pub(super) canal_depth: f64,
    pub(super) pedicle_width: f64,
    pub(super) pedicle_height: f64,
    /// From the midline to the tip of each transverse process.
    pub(super) transverse_reach: [f64; 2],
    /// How much higher the tip of each transverse process lies than its root.
    pub(super) transverse_rise: [f64; 2],
    /// From the midline to the middle of each superior articular process.
    pub(super) superior_facet: [f64; 2],
    /// From the midline to the tip of each inferior articular process.
    pub(super) inferior_facet: [f64; 2],
    /// From the back wall of the body to the tip of the spinous process.
    pub(super) spinous_reach: f64,
    pub(super) spinous_height: f64,
    /// How far the spinous process points downwards, in degrees.
    pub(super) spinous_fall_deg: f64,
    /// How far the tip of the spinous process lies to the right.
    pub(super) spinous_aside: f64,
    /// Share by which the body is waisted.
    pub(super) waist: f64,
    /// Height of the disc below.
    pub(super) disc: f64,
    /// Thickness of laminae and processes against the usual.
    pub(super) stoutness: f64,
}

/// Usual sizes of L1 to L5, in mm.
struct Usual {
    upper_width: [f64; 5],
    lower_width: [f64; 5],
    depth: [f64; 5],
    height_in_front: [f64; 5],
    height_behind: [f64; 5],
    canal_width: [f64; 5],
    canal_depth: [f64; 5],
    pedicle_width: [f64; 5],
    pedicle_height: [f64; 5],
    transverse_span: [f64; 5],
    superior_facet: [f64; 5],
    inferior_facet: [f64; 5],
    spinous_reach: [f64; 5],
    spinous_height: [f64; 5],
    disc: [f64; 5],
}

const USUAL: Usual = Usual {
    upper_width: [41.2, 42.6, 44.1, 46.6, 47.3],
    lower_width: [43.3, 45.5, 48.0, 49.5, 49.4],
    depth: [34.7, 34.8, 35.0, 34.7, 34.0],
    height_in_front: [25.5, 26.5, 27.0, 27.0, 28.0],
    height_behind: [26.5, 26.5, 26.5, 26.0, 23.5],
    canal_width: [23.7, 23.8, 24.3, 25.4, 27.1],
    canal_depth: [16.5, 15.5, 15.5, 16.5, 17.5],
    pedicle_width: [7.5, 8.0, 9.5, 12.0, 15.0],
    pedicle_height: [15.0, 14.8, 14.5, 15.0, 15.5],
    transverse_span: [71.2, 76.1, 85.7, 79.4, 92.5],
    superior_facet: [14.5, 15.0, 16.0, 18.5, 23.5],
    inferior_facet: [9.5, 10.0, 11.5, 14.5, 20.0],
    spinous_reach: [47.0, 49.0, 49.0, 47.0, 43.0],
    spinous_height: [20.0, 22.0, 23.0, 20.0, 15.0],
    disc: [8.5, 9.5, 10.5, 11.0, 10.0],
};

/// What masks are larger than calipers' measures: rims and cartilage count as bone at a millimetre's resolution.
const MASK: f64 = 1.07;

/// What the rims of the end plates add to their width, on top of that.
const RIMS: f64 = 1.07;

/// How one person differs from the usual at all levels, as factors and in mm or degrees.
#[derive(Debug, Clone, Copy)]
pub(super) struct Person {
    size: f64,
    width: f64,
    height: f64,
    canal: f64,
    transverse: f64,
    spinous: f64,
    spinous_fall_deg: f64,
    stoutness: f64,
    disc: f64,
    waist: f64,
}

/// Draws from a normal distribution that is cut at two standard deviations.
pub(super) fn normal(rng: &mut impl Rng, mean: f64, sd: f64) -> f64 {
    let deviation: f64 = rng.sample(StandardNormal);
    mean + sd * deviation.clamp(-2.0, 2.0)
}

impl Person {
    pub(super) fn draw(rng: &mut impl Rng) -> Self {
        Self {
            size: normal(rng, MASK, 0.03),
            width: normal(rng, RIMS, 0.03),
            height: normal(rng, 1.0, 0.03),
            canal: normal(rng, 1.0, 0.05),
            transverse: normal(rng, 1.0, 0.04),
            spinous: normal(rng, 1.0, 0.05),
            spinous_fall_deg: normal(rng, 9.0, 4.0),
            stoutness: normal(rng, 1.0, 0.05),
            disc: normal(rng, 1.0, 0.12),
            waist: normal(rng, 0.13, 0.02),
        }
    }

    /// Draws the sizes of this person's vertebra of a level; L6 is sized as another L5.
    pub(super) fn measures(&self, level: Level, rng: &mut impl Rng) -> Measures {
        let index = level.index().min(4);
        let mut own =
            |usual: [f64; 5], factor: f64, sd: f64| usual[index] * self.size * factor * normal(rng, 1.0, sd);
        let upper_width = own(USUAL.upper_width, self.width, 0.02);
        let lower_width = own(USUAL.lower_width, self.width, 0.02);
        let depth = own(USUAL.depth, 1.0, 0.02);
        let height_in_front = own(USUAL.height_in_front, self.height, 0.02);
        let height_behind = own(USUAL.height_behind, self.height, 0.02);
        let canal_width = own(USUAL.canal_width, self.canal, 0.02);
        let canal_depth = own(USUAL.canal_depth, self.canal, 0.03);
        let pedicle_width = own(USUAL.pedicle_width, self.stoutness, 0.05);
        let pedicle_height = own(USUAL.pedicle_height, self.stoutness, 0.03);
        let half_span = own(USUAL.transverse_span, self.transverse, 0.03) / 2.0;
        let superior_facet = own(USUAL.superior_facet, 1.0, 0.02);
        let inferior_facet = own(USUAL.inferior_facet, 1.0, 0.02);
        let spinous_reach = own(USUAL.spinous_reach, self.spinous, 0.03);
        let spinous_height = own(USUAL.spinous_height, self.stoutness, 0.05);
        let disc = own(USUAL.disc, self.disc, 0.05);
        let mut pair = |mean: f64, sd: f64| [normal(rng, mean, sd), normal(rng, mean, sd)];
        Measures {
            upper_width,
            lower_width,
            depth,
            height_in_front,
            height_behind,
            canal_width,
            canal_depth,
            pedicle_width,
            pedicle_height,
            transverse_reach: pair(half_span, 1.2),
            transverse_rise: pair(2.0, 2.0),
            superior_facet: pair(superior_facet, 0.5),
            inferior_facet: pair(inferior_facet, 0.5),
            spinous_reach,
            spinous_height,
            spinous_fall_deg: normal(rng, self.spinous_fall_deg, 2.0),
            spinous_aside: normal(rng, 0.0, 1.2),
            waist: normal(rng, self.waist, 0.01),
            disc,
            stoutness: self.stoutness * self.size,
        }
    }
}
