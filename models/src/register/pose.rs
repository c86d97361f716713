//! Where a rigid motion brings a mask.

use schemas::Affine;

use super::RegisterConf;
use crate::phantom::turn_about;

pub(super) type Vector = [f64; 3];

/// A rotation about a centre, then a shift; the default moves nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Pose {
    /// About the first, second and third axis, in this order.
    pub(super) rotation_degrees: Vector,
    pub(super) shift_mm: Vector,
}

impl Pose {
    /// Returns the motion of points in mm.
    pub(super) fn forward(&self, centre_mm: Vector) -> Affine {
        let [x, y, z] = self.rotation_degrees;
        let turn = turn_about(2, z).after(&turn_about(1, y)).after(&turn_about(0, x));
        let end = [0, 1, 2].map(|axis: usize| centre_mm[axis] + self.shift_mm[axis]);
        moved_by(end)
            .after(&turn)
            .after(&moved_by(centre_mm.map(|mm| -mm)))
    }

    /// Returns the motion's inverse.
    pub(super) fn backward(&self, centre_mm: Vector) -> Affine {
        let [x, y, z] = self.rotation_degrees.map(|degrees| -degrees);
        let turn = turn_about(0, x).after(&turn_about(1, y)).after(&turn_about(2, z));
        let end = [0, 1, 2].map(|axis: usize| -centre_mm[axis] - self.shift_mm[axis]);
        moved_by(centre_mm).after(&turn).after(&moved_by(end))
    }

    /// Returns the pose with one of its six numbers changed, degrees first, as far as the range goes.
    pub(super) fn stepped(mut self, number: usize, step: f64, conf: &RegisterConf) -> Self {
        if number < 3 {
            self.rotation_degrees[number] += step;
        } else {
            self.shift_mm[number - 3] += step;
        }
        self.within(conf)
    }

    /// Returns the pose as far from `other` as this one, on the other side of this one.
    pub(super) fn beyond(&self, other: &Self, conf: &RegisterConf) -> Self {
        let mirrored =
            |here: Vector, there: Vector| [0, 1, 2].map(|axis: usize| 2.0 * here[axis] - there[axis]);
        Self {
            rotation_degrees: mirrored(self.rotation_degrees, other.rotation_degrees),
            shift_mm: mirrored(self.shift_mm, other.shift_mm),
        }
        .within(conf)
    }

    /// Returns the nearest pose within the range.
    pub(super) fn within(self, conf: &RegisterConf) -> Self {
        let clamped = |value: f64, most: f64| value.max(-most).min(most);
        Self {
            rotation_degrees: self
                .rotation_degrees
                .map(|degrees| clamped(degrees, conf.most_degrees)),
            shift_mm: self.shift_mm.map(|mm| clamped(mm, conf.most_mm)),
        }
    }

    /// Returns whether one of the numbers is less than `step` from its limit; a range of 0 has none.
    pub(super) fn is_at_limit(&self, conf: &RegisterConf, step: f64) -> bool {
        let at = |value: &f64, most: f64| most > 0.0 && value.abs() > most - step;
        self.rotation_degrees
            .iter()
            .any(|degrees| at(degrees, conf.most_degrees))
            || self.shift_mm.iter().any(|mm| at(mm, conf.most_mm))
    }
}

fn moved_by(mm: Vector) -> Affine {
    Affine::axis_aligned([1.0; 3], mm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_turn_about_each_axis_is_right_handed_and_the_first_axis_comes_first() {
        let pose = Pose {
            rotation_degrees: [90.0, 0.0, 90.0],
            shift_mm: [1.0, 2.0, 3.0],
        };
        let centre = [10.0, 20.0, 30.0];
        // second axis → third (about the first), which stays where it is (about the third)
        let found = pose.forward(centre).apply([10.0, 21.0, 30.0]);
        // first axis stays (about the first) → second (about the third)
        let other = pose.forward(centre).apply([11.0, 20.0, 30.0]);
        for (found, expected) in [(found, [11.0, 22.0, 34.0]), (other, [11.0, 23.0, 33.0])] {
            for axis in 0..3 {
                assert!((found[axis] - expected[axis]).abs() < 1e-12, "{found:?}");
            }
        }
    }

    #[test]
    fn backward_undoes_forward() {
        let pose = Pose {
            rotation_degrees: [5.0, -3.0, 6.5],
            shift_mm: [-9.0, 0.5, 12.0],
        };
        let centre = [60.0, 55.5, 70.25];
        let unit = pose.backward(centre).after(&pose.forward(centre));
        for row in 0..4 {
            for column in 0..4 {
                let expected = f64::from(u8::from(row == column));
                assert!((unit.0[row][column] - expected).abs() < 1e-12, "{unit:?}");
            }
        }
    }

    #[test]
    fn a_pose_stays_within_its_range_and_says_when_it_meets_the_limit() {
        let conf = RegisterConf::default();
        let pose = Pose::default().stepped(1, 9.0, &conf).stepped(5, -3.0, &conf);
        assert_eq!(pose.rotation_degrees, [0.0, 7.0, 0.0]);
        assert_eq!(pose.shift_mm, [0.0, 0.0, -3.0]);
        assert!(pose.is_at_limit(&conf, 0.0625));
        assert!(!Pose::default().is_at_limit(&conf, 0.0625));
        let fixed = RegisterConf {
            most_degrees: 0.0,
            most_mm: 0.0,
        };
        assert!(!Pose::default().is_at_limit(&fixed, 0.0625));
    }
}
