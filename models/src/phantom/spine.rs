//! Five vertebrae on a curved spine.

use rand::Rng;
use schemas::{Affine, Level};

use super::anatomy::Bone;
use super::measures::{Person, normal};
use super::shape::Vector;
use crate::seed::{derive, generator};

/// How far each body's front points down, L1 to L5, in degrees: about 38 between L1 and L5 lying on the back.
const TILT_DEG: [f64; 5] = [-13.0, -7.0, 0.0, 9.0, 25.0];
/// Least room between neighbours, in mm: a joint's space.
const JOINT_MM: f64 = 1.2;
/// How far outside a neighbour's box a point may lie and the neighbour still be looked at, in mm.
const NEAR_MM: f64 = 8.0;

/// A vertebra in its place.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    bone: Bone,
    /// Own frame → world.
    to_world: Affine,
    from_world: Affine,
}

impl Placed {
    fn at(&self, world: Vector) -> f64 {
        self.bone.at(self.from_world.apply(world))
    }

    /// Returns the signed function where it can matter to a neighbour.
    fn near(&self, world: Vector) -> Option<f64> {
        let own = self.from_world.apply(world);
        let [low, high] = self.bone.bounds;
        let near = (0..3).all(|axis| own[axis] > low[axis] - NEAR_MM && own[axis] < high[axis] + NEAR_MM);
        near.then(|| self.bone.at(own))
    }

    /// Returns the eight corners, in world mm, of a box that holds the vertebra.
    pub(super) fn corners(&self) -> [Vector; 8] {
        let bounds = self.bone.bounds;
        std::array::from_fn(|corner| {
            self.to_world.apply([
                bounds[corner & 1][0],
                bounds[corner >> 1 & 1][1],
                bounds[corner >> 2 & 1][2],
            ])
        })
    }
}

/// Draws the five vertebrae of the person that a seed stands for; the middle of L3's body lies near the origin.
pub(super) fn placed(seed: u64) -> Vec<Placed> {
    let mut rng = generator(derive(seed, "person"));
    let person = Person::draw(&mut rng);
    let pose = Pose::draw(&mut rng);
    let levels = &Level::ALL[..5];
    let mut measures = Vec::with_capacity(5);
    let mut bones = Vec::with_capacity(5);
    for level in levels {
        // a level's own generator, so that one level can be changed without the others
        let mut rng = generator(derive(seed, level.as_str()));
        let sizes = person.measures(*level, &mut rng);
        bones.push(Bone::new(*level, &sizes, &mut rng));
        measures.push(sizes);
    }

    let turns: Vec<Affine> = (0..5).map(|index| pose.turn(index)).collect();
    let up = |index: usize| [0, 1, 2].map(|row: usize| turns[index].0[row][2]);
    let half = |index: usize| (measures[index].height_in_front + measures[index].height_behind) / 4.0;
    let mut centres = vec![pose.offset_mm];
    for index in 1..5 {
        let disc = measures[index - 1].disc / 2.0;
        let (above, below) = (half(index - 1) + disc, half(index) + disc);
        let last = centres[index - 1];
        let step = |row: usize| last[row] - above * up(index - 1)[row] - below * up(index)[row];
        centres.push([0, 1, 2].map(step));
    }
    let middle = centres[2];
    let mut placed = Vec::with_capacity(5);
    for (index, bone) in bones.into_iter().enumerate() {
        let mut to_world = turns[index];
        for row in 0..3 {
            to_world.0[row][3] = centres[index][row] - middle[row] + pose.offset_mm[row];
        }
        let from_world = to_world.inverse().expect("a rotation has an inverse");
        placed.push(Placed {
            bone,
            to_world,
            from_world,
        });
    }
    placed
}

/// Returns the signed function of one vertebra of a spine, its neighbours' room taken away.
pub(super) fn signed(spine: &[Placed], index: usize, world: Vector) -> f64 {
    let own = spine[index].at(world);
    let mut signed = own;
    let neighbours = [index.checked_sub(1), Some(index + 1)];
    for neighbour in neighbours
        .into_iter()
        .flatten()
        .filter_map(|neighbour| spine.get(neighbour))
    {
        if let Some(other) = neighbour.near(world) {
            // the surface half-way between both, moved back by half a joint
            signed = signed.max((own - other + JOINT_MM) / 2.0);
        }
    }
    signed
}

/// How a spine lies: lordosis, a mild scoliosis and its rotation.
struct Pose {
    offset_mm: Vector,
    lean_deg: f64,
    lordosis: f64,
    side_deg: f64,
    axial_deg: f64,
    phase: f64,
    own_deg: [[f64; 3]; 5],
}

impl Pose {
    fn draw(rng: &mut impl Rng) -> Self {
        Self {
            offset_mm: [0; 3].map(|_| normal(rng, 0.0, 4.0)),
            lean_deg: normal(rng, 0.0, 3.0),
            lordosis: normal(rng, 1.0, 0.15),
            side_deg: normal(rng, 0.0, 3.0),
            axial_deg: normal(rng, 0.0, 2.0),
            phase: normal(rng, 0.0, 0.6),
            own_deg: [(); 5].map(|()| {
                [
                    normal(rng, 0.0, 1.0),
                    normal(rng, 0.0, 0.7),
                    normal(rng, 0.0, 0.7),
                ]
            }),
        }
    }

    /// Returns the rotation of a vertebra's own frame into the world.
    fn turn(&self, index: usize) -> Affine {
        let along = (index as f64 - 2.0) / 2.0 + self.phase;
        let [tilt, side, axial] = self.own_deg[index];
        let tilt = self.lean_deg + self.lordosis * TILT_DEG[index] + tilt;
        let side = self.side_deg * along.cos() + side;
        let axial = self.axial_deg * along.sin() + axial;
        // a front that points down is a turn about right by a negative angle
        turn_about(2, axial)
            .after(&turn_about(1, side))
            .after(&turn_about(0, -tilt))
    }
}

/// Returns the right-handed rotation about a world axis.
pub(crate) fn turn_about(axis: usize, degrees: f64) -> Affine {
    let (sin, cos) = degrees.to_radians().sin_cos();
    let mut turn = Affine::axis_aligned([1.0; 3], [0.0; 3]);
    let (first, second) = ((axis + 1) % 3, (axis + 2) % 3);
    turn.0[first][first] = cos;
    turn.0[second][second] = cos;
    turn.0[first][second] = -sin;
    turn.0[second][first] = sin;
    turn
}
