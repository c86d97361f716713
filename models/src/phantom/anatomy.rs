//! One vertebra as a smooth union of its parts, in its own frame.
//!
//! The frame's origin is the middle of the vertebral body; axes right, anterior, superior *of the body*.

use std::f64::consts::TAU;

use rand::{Rng, RngExt as _};
use schemas::Level;

use super::measures::Measures;
use super::shape::{Bar, Body, Canal, Vector, dot, intersection, union};

/// Fillet between the parts, in mm.
const FILLET: f64 = 3.0;
/// Rounding of the edges that the canal cuts, in mm.
const CANAL_EDGE: f64 = 1.5;
/// Largest bump or dent of the surface, in mm, and the number of waves that make it.
const ROUGHNESS_MM: f64 = 0.5;
const WAVES: usize = 3;
/// Room around the parts for fillets and roughness in the bounding box, in mm.
const ROOM_MM: f64 = 2.5;

/// The signed function of one vertebra.
#[derive(Debug, Clone)]
pub(super) struct Bone {
    body: Body,
    arch: Vec<Bar>,
    canal: Canal,
    waves: [(Vector, f64); WAVES],
    /// Corners of a box that holds the vertebra.
    pub(super) bounds: [Vector; 2],
}

impl Bone {
    /// Puts a vertebra of these sizes together.
    pub(super) fn new(level: Level, measures: &Measures, rng: &mut impl Rng) -> Self {
        let half_height = (measures.height_in_front + measures.height_behind) / 4.0;
        let body = Body {
            half_widths: [measures.lower_width / 2.0, measures.upper_width / 2.0],
            half_depth: measures.depth / 2.0,
            half_height,
            wedge: (measures.height_in_front - measures.height_behind) / (2.0 * measures.depth),
            waist: measures.waist,
            hollow: 2.0,
            dish: 1.8,
        };
        let back_wall = -measures.depth / 2.0;
        let canal = Canal {
            half_width: measures.canal_width / 2.0,
            half_depth: measures.canal_depth / 2.0 + 1.0,
            middle: back_wall - measures.canal_depth / 2.0 + 1.0,
        };
        let mut arch = vec![spinous_process(measures, back_wall)];
        for side in [0, 1] {
            arch.extend(half_arch(level, measures, half_height, side));
        }
        let most = body.half_widths[0].max(body.half_widths[1]);
        let tall = half_height + body.wedge.abs() * body.half_depth;
        let mut bounds = [[-most, -body.half_depth, -tall], [most, body.half_depth, tall]];
        for bar in &arch {
            let [low, high] = bar.bounds();
            for axis in 0..3 {
                bounds[0][axis] = bounds[0][axis].min(low[axis]);
                bounds[1][axis] = bounds[1][axis].max(high[axis]);
            }
        }
        bounds = [
            bounds[0].map(|corner| corner - ROOM_MM),
            bounds[1].map(|corner| corner + ROOM_MM),
        ];
        Self {
            body,
            arch,
            canal,
            waves: waves(rng),
            bounds,
        }
    }

    /// Returns the signed function at a point of the vertebra's own frame.
    pub(super) fn at(&self, point: Vector) -> f64 {
        let mut arch = f64::MAX;
        for bar in &self.arch {
            arch = union(arch, bar.at(point), FILLET);
        }
        let arch = intersection(arch, -self.canal.at(point), CANAL_EDGE);
        let mut roughness = 0.0;
        for (wave, phase) in &self.waves {
            roughness += (dot(*wave, point) + phase).sin();
        }
        union(self.body.at(point), arch, FILLET) + roughness * ROUGHNESS_MM / WAVES as f64
    }
}

/// Draws waves of 14 to 30 mm in any direction.
fn waves(rng: &mut impl Rng) -> [(Vector, f64); WAVES] {
    std::array::from_fn(|_| {
        let length_mm = 14.0 + 16.0 * rng.random::<f64>();
        let height = 2.0 * rng.random::<f64>() - 1.0;
        let around = TAU * rng.random::<f64>();
        let flat = (1.0 - height * height).sqrt();
        let number = TAU / length_mm;
        (
            [
                number * flat * around.cos(),
                number * flat * around.sin(),
                number * height,
            ],
            TAU * rng.random::<f64>(),
        )
    })
}

fn spinous_process(measures: &Measures, back_wall: f64) -> Bar {
    let stout = measures.stoutness;
    let start = [0.0, back_wall - measures.canal_depth - 2.5 * stout, -2.0];
    let reach = back_wall - measures.spinous_reach + 5.5 * stout;
    let fall = (start[1] - reach) * measures.spinous_fall_deg.to_radians().tan();
    let end = [measures.spinous_aside, reach, start[2] - fall];
    let half = measures.spinous_height / 2.0;
    Bar::new(
        start,
        end,
        [1.0, 0.0, 0.0],
        [[2.6 * stout, 0.9 * half], [3.6 * stout, 0.95 * half]],
    )
}

/// Returns the parts of one side of the arch; side 0 is left.
fn half_arch(level: Level, measures: &Measures, half_height: f64, side: usize) -> Vec<Bar> {
    let stout = measures.stoutness;
    let back_wall = -measures.depth / 2.0;
    // 0 at L1 to L3, 1 at L5: how far the level has the broad, splayed arch that meets the sacrum
    let lowest = [0.0, 0.0, 0.0, 0.3, 1.0, 1.0][level.index()];
    let sign = if side == 0 { -1.0 } else { 1.0 };
    let at = |x: f64, y: f64, z: f64| [sign * x, y, z];

    let pedicle_x = measures.canal_width / 2.0 + measures.pedicle_width / 2.0 - 0.5;
    let pedicle_z = half_height - measures.pedicle_height / 2.0 - 0.5;
    let half_pedicle = [measures.pedicle_width / 2.0, measures.pedicle_height / 2.0];
    let pillar_y = back_wall - 13.0 * stout;
    let superior_x = measures.superior_facet[side];
    let inferior_x = measures.inferior_facet[side];
    let lamina_y = back_wall - measures.canal_depth - 3.0 * stout;

    let pedicle = Bar::new(
        at(pedicle_x - 1.0 - 2.0 * lowest, back_wall + 6.0, pedicle_z),
        at(pedicle_x + 1.0 + 2.0 * lowest, back_wall - 9.0, pedicle_z - 1.0),
        at(1.0, 0.0, 0.0),
        [half_pedicle, half_pedicle],
    );
    let superior = Bar::new(
        at(superior_x - 0.5, pillar_y + 0.5, pedicle_z - 1.0),
        at(superior_x + 1.5, pillar_y - 3.0, half_height + 3.0),
        at(0.5 + 0.25 * lowest, -0.86 + 0.2 * lowest, 0.0),
        [[8.0 * stout, 4.4 * stout], [9.0 * stout, 4.2 * stout]],
    );
    let pars = Bar::new(
        at(superior_x - 2.0, pillar_y + 2.0, pedicle_z - 2.0),
        at(inferior_x + 2.0, pillar_y - 2.5, -5.0),
        at(1.0, 0.0, 0.0),
        [[4.0 * stout, 4.0 * stout], [4.8 * stout, 4.2 * stout]],
    );
    let inferior = Bar::new(
        at(inferior_x + 1.0, pillar_y - 3.0, -5.0),
        at(
            inferior_x + 0.5,
            pillar_y - 6.5,
            -half_height - 6.0 + 4.0 * lowest,
        ),
        at(1.0, 0.0, 0.0),
        [[6.2 * stout, 4.8 * stout], [5.6 * stout, 4.6 * stout]],
    );
    let lamina = Bar::new(
        at(inferior_x + 3.0, pillar_y + 3.5, 1.0 + 2.0 * lowest),
        at(1.0, lamina_y, -4.0 + 3.0 * lowest),
        at(0.0, -0.5, -0.87),
        [
            [(8.5 - 1.5 * lowest) * stout, 3.4 * stout],
            [(10.5 - 3.0 * lowest) * stout, 3.8 * stout],
        ],
    );
    let slight = [0.8, 0.9, 1.0, 0.9, 1.0, 1.0][level.index()] * stout;
    let transverse = Bar::new(
        at(
            pedicle_x + half_pedicle[0] - 2.0,
            back_wall - 7.5 + 3.0 * lowest,
            pedicle_z - 1.0,
        ),
        at(
            measures.transverse_reach[side] - 2.5,
            back_wall - 18.0 + 4.0 * lowest,
            pedicle_z - 1.0 + measures.transverse_rise[side],
        ),
        at(0.0, 0.0, 1.0),
        [
            [(6.5 + 0.5 * lowest) * slight, (4.2 + 1.8 * lowest) * slight],
            [(4.8 + 0.5 * lowest) * slight, (2.3 + 1.5 * lowest) * slight],
        ],
    );
    vec![pedicle, superior, pars, inferior, lamina, transverse]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phantom::measures::Person;
    use crate::phantom::shape::{STEEPEST, minus};
    use crate::seed::generator;

    fn bones() -> impl Iterator<Item = (Level, Measures, Bone)> {
        (0..4).flat_map(|seed| {
            let mut rng = generator(seed);
            let person = Person::draw(&mut rng);
            Level::ALL.map(|level| {
                let measures = person.measures(level, &mut rng);
                let bone = Bone::new(level, &measures, &mut rng);
                (level, measures, bone)
            })
        })
    }

    #[test]
    fn the_canal_is_open_and_closed_all_around() {
        for (level, measures, bone) in bones() {
            let middle = -measures.depth / 2.0 - measures.canal_depth / 2.0;
            for z in -40..40 {
                assert!(
                    bone.at([0.0, middle, f64::from(z)]) > 0.0,
                    "{level}: bone in the canal at {z} mm"
                );
            }
            // at some height each way out of the canal is barred: body, pedicles, spinous process
            let barred = |direction: Vector| {
                (-20..20).any(|z| {
                    let bone_at = |step: i32| {
                        let [right, front, _] = direction.map(|part| part * f64::from(step) / 2.0);
                        bone.at([right, middle + front, f64::from(z)]) < 0.0
                    };
                    (0..60).any(bone_at)
                })
            };
            for direction in [
                [1.0, 0.0, 0.0],
                [-1.0, 0.0, 0.0],
                [0.0, 1.0, 0.0],
                [0.0, -1.0, 0.0],
            ] {
                assert!(barred(direction), "{level}: open towards {direction:?}");
            }
        }
    }

    #[test]
    fn the_function_is_nowhere_steeper_than_stated() {
        let mut rng = generator(9);
        for (level, _, bone) in bones() {
            let [low, high] = bone.bounds;
            for _ in 0..2000 {
                let from =
                    [0, 1, 2].map(|axis: usize| low[axis] + (high[axis] - low[axis]) * rng.random::<f64>());
                let to = from.map(|place| place + 2.0 * rng.random::<f64>() - 1.0);
                let step = minus(to, from);
                let slope = (bone.at(to) - bone.at(from)).abs() / dot(step, step).sqrt();
                assert!(slope <= STEEPEST, "{level}: {slope} at {from:?}");
            }
        }
    }

    #[test]
    fn nothing_reaches_out_of_the_bounds() {
        for (level, _, bone) in bones() {
            let [low, high] = bone.bounds;
            for axis in 0..3 {
                for (face, step) in [(low[axis], -1.0), (high[axis], 1.0)] {
                    for (u, v) in (0..30).flat_map(|u| (0..30).map(move |v| (u, v))) {
                        let (first, second) = ((axis + 1) % 3, (axis + 2) % 3);
                        let mut point = [0.0; 3];
                        point[axis] = face + 0.01 * step;
                        point[first] = low[first] + (high[first] - low[first]) * f64::from(u) / 29.0;
                        point[second] = low[second] + (high[second] - low[second]) * f64::from(v) / 29.0;
                        assert!(bone.at(point) > 0.0, "{level}: bone at {point:?}");
                    }
                }
            }
        }
    }
}
