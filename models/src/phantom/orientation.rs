//! Where the axes of a grid point, in three letters.

use std::fmt;
use std::str::FromStr;

use schemas::Affine;
use serde::{Deserialize, Serialize};

/// Where one axis of a grid points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "right, left, anterior, posterior, superior, inferior")]
pub enum Direction {
    R,
    L,
    A,
    P,
    S,
    I,
}

impl Direction {
    /// Returns the world axis, and whether the direction runs against it.
    fn world(self) -> (usize, f64) {
        match self {
            Self::R => (0, 1.0),
            Self::L => (0, -1.0),
            Self::A => (1, 1.0),
            Self::P => (1, -1.0),
            Self::S => (2, 1.0),
            Self::I => (2, -1.0),
        }
    }
}

/// Where the three axes of a grid point, as nibabel's `aff2axcodes` writes it: `RAS`, `LPI`, `PIR`, ….
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Orientation([Direction; 3]);

impl Orientation {
    /// Right, anterior, superior: the orientation of the world and of patches.
    pub const RAS: Self = Self([Direction::R, Direction::A, Direction::S]);

    /// Returns where each axis points.
    pub fn directions(self) -> [Direction; 3] {
        self.0
    }

    /// Returns the affine of a grid of that orientation with its first voxel at the origin.
    pub(super) fn affine(self, spacing_mm: [f64; 3]) -> Affine {
        let mut affine = Affine([[0.0; 4]; 4]);
        for (axis, direction) in self.0.into_iter().enumerate() {
            let (world, sign) = direction.world();
            affine.0[world][axis] = sign * spacing_mm[axis];
        }
        affine.0[3][3] = 1.0;
        affine
    }
}

impl FromStr for Orientation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let problem = || format!("expected three letters of R/L, A/P and S/I such as RAS, found {text:?}");
        let mut directions = Vec::with_capacity(3);
        for letter in text.chars() {
            directions.push(match letter.to_ascii_uppercase() {
                'R' => Direction::R,
                'L' => Direction::L,
                'A' => Direction::A,
                'P' => Direction::P,
                'S' => Direction::S,
                'I' => Direction::I,
                _ => return Err(problem()),
            });
        }
        let directions: [Direction; 3] = directions.try_into().map_err(|_| problem())?;
        let mut worlds = directions.map(|direction| direction.world().0);
        worlds.sort_unstable();
        if worlds == [0, 1, 2] {
            Ok(Self(directions))
        } else {
            Err(problem())
        }
    }
}

impl TryFrom<String> for Orientation {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Orientation> for String {
    fn from(orientation: Orientation) -> Self {
        orientation.to_string()
    }
}

impl fmt::Display for Orientation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for direction in self.0 {
            write!(f, "{direction:?}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_orientation_is_three_letters_one_for_each_axis_of_the_world() {
        for good in ["RAS", "LPS", "PIR", "IRP"] {
            assert_eq!(good.parse::<Orientation>().expect("good").to_string(), good);
        }
        for bad in ["", "RA", "RAL", "RASR", "XYZ", "RÄS"] {
            assert!(bad.parse::<Orientation>().is_err(), "{bad}");
        }
        let affine = "PIR"
            .parse::<Orientation>()
            .expect("good")
            .affine([0.6, 0.7, 4.0]);
        assert_eq!(affine.apply([1.0, 0.0, 0.0]), [0.0, -0.6, 0.0]);
        assert_eq!(affine.apply([0.0, 1.0, 0.0]), [0.0, 0.0, -0.7]);
        assert_eq!(affine.apply([0.0, 0.0, 1.0]), [4.0, 0.0, 0.0]);
    }
}
