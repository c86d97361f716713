//! Pattern search (Hooke and Jeeves, JACM 8:212, 1961): one parameter at a time, then once more the same way.

use super::RegisterConf;
use super::pose::Pose;

/// A pose and the Dice coefficient that it gives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scored {
    pub(super) pose: Pose,
    pub(super) dsc: f64,
}

impl Scored {
    /// Returns the better of both; of equals this one.
    pub(super) fn better(self, other: Self) -> Self {
        if other.dsc > self.dsc { other } else { self }
    }
}

/// Returns the best pose found from `start` with steps, in degrees and in mm, halved from the first to the last.
///
/// A step of 1° moves the tip of a process, some 50 mm from the centroid, by 0.9 mm: one number does for both.
pub(super) fn climb(
    start: Scored,
    score: impl Fn(Pose) -> Scored,
    [first, last]: [f64; 2],
    conf: &RegisterConf,
) -> Scored {
    let try_pose = |best: Scored, pose: Pose| {
        if pose == best.pose {
            best
        } else {
            best.better(score(pose))
        }
    };
    let mut best = start;
    let mut step = first;
    while step >= last {
        let before = best;
        for number in 0..6 {
            let here = best;
            for way in [step, -step] {
                if best == here {
                    best = try_pose(best, here.pose.stepped(number, way, conf));
                }
            }
        }
        if best == before {
            step /= 2.0;
        } else {
            best = try_pose(best, best.pose.beyond(&before.pose, conf));
        }
    }
    best
}
