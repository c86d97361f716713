//! Coarse shapes of masks, and whose are so alike that one vertebra must have been brought twice.
//!
//! Only shapes of one level are compared, and of those only such as are about as large: a difference in size is one in
//! shape as well.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use schemas::Level;

/// Bytes that are compared before the next look at whether the rest still matters.
const PIECE: usize = 64;

/// Shapes of many persons.
#[derive(Debug, Clone, Default)]
pub struct Shapes {
    /// Number of each person.
    persons: HashMap<String, usize>,
    /// The levels of each person that there are shapes of, a bit a level.
    levels: Vec<u8>,
    /// By size, and by when they came.
    by_level: BTreeMap<Level, BTreeMap<(u32, usize), Shape>>,
}

#[derive(Debug, Clone)]
struct Shape {
    person: usize,
    /// Shared, so that a copy of all shapes costs little.
    filled: Arc<[u8]>,
}

/// What is alike in one other person.
struct Alike {
    levels: u8,
    nearest: f64,
}

impl Shapes {
    /// Adds one.
    pub fn add(&mut self, person: &str, level: Level, shape: &[u8]) {
        let next = self.levels.len();
        let person = *self.persons.entry(person.to_owned()).or_insert(next);
        if person == next {
            self.levels.push(0);
        }
        self.levels[person] |= bit(level);
        let shapes = self.by_level.entry(level).or_default();
        let number = shapes.len();
        let filled = Arc::from(shape);
        shapes.insert((size(shape), number), Shape { person, filled });
    }

    /// Returns how many shapes there are.
    pub fn len(&self) -> usize {
        self.by_level.values().map(BTreeMap::len).sum()
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_level.is_empty()
    }

    /// Returns whether somebody else has the shapes of this case: at least two levels that are less than `most` apart, or
    /// the only one that both have, less than four fifths as much.
    pub fn has_twin(&self, person: &str, case: &[(Level, &[u8])], most: f64) -> bool {
        let own = self.persons.get(person).copied();
        let mut alike: BTreeMap<usize, Alike> = BTreeMap::new();
        for (level, shape) in case {
            for (other, distance) in self.near(*level, shape, most) {
                if Some(other) == own {
                    continue;
                }
                let alike = alike.entry(other).or_insert(Alike {
                    levels: 0,
                    nearest: f64::INFINITY,
                });
                alike.levels |= bit(*level);
                alike.nearest = alike.nearest.min(distance);
            }
        }
        let asked = case.iter().fold(0, |all, (level, _)| all | bit(*level));
        alike.iter().any(|(other, alike)| {
            let is_only_one = (self.levels[*other] & asked).count_ones() == 1;
            alike.levels.count_ones() >= 2 || is_only_one && alike.nearest < most * 0.8
        })
    }

    /// Returns the persons with a shape of this level less than `most` (less than 1) away, and how far it is.
    fn near(&self, level: Level, shape: &[u8], most: f64) -> impl Iterator<Item = (usize, f64)> {
        let here = size(shape);
        // sizes a and b are at least |a − b| / (a + b) apart
        let ratio = (1.0 - most) / (1.0 + most);
        let smallest = (f64::from(here) * ratio).floor() as u32;
        let largest = (f64::from(here) / ratio).ceil() as u32;
        let about_as_large = self
            .by_level
            .get(&level)
            .into_iter()
            .flat_map(move |shapes| shapes.range((smallest, 0)..=(largest, usize::MAX)));
        about_as_large.filter_map(move |((there, _), other)| {
            let both = f64::from(here) + f64::from(*there);
            let apart = apart(shape, &other.filled, most * both)?;
            Some((other.person, f64::from(apart) / both))
        })
    }
}

/// Returns how far two shapes are apart, from 0 for the same to 1 for two that do not meet: what only one of them fills, as
/// a share of what both fill. It is 1 less Dice's coefficient, of blocks that may be filled in part.
pub fn distance(one: &[u8], other: &[u8]) -> f64 {
    let both = f64::from(size(one)) + f64::from(size(other));
    if both <= 0.0 {
        return 0.0;
    }
    apart(one, other, f64::INFINITY).map_or(1.0, |apart| f64::from(apart) / both)
}

fn size(shape: &[u8]) -> u32 {
    shape.iter().map(|filled| u32::from(*filled)).sum()
}

/// Returns the sum of all differences, if it is less than `most`.
fn apart(one: &[u8], other: &[u8], most: f64) -> Option<u32> {
    let mut sum = 0;
    for (one, other) in one.chunks(PIECE).zip(other.chunks(PIECE)) {
        let pairs = one.iter().zip(other);
        sum += pairs
            .map(|(one, other)| u32::from(one.abs_diff(*other)))
            .sum::<u32>();
        if f64::from(sum) >= most {
            return None;
        }
    }
    Some(sum)
}

fn bit(level: Level) -> u8 {
    1 << level.index()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crop::testing::Numbers;

    #[test]
    fn the_distance_is_one_less_dice() {
        let one = [255, 255, 0, 0];
        let other = [0, 255, 255, 255];
        // in both 1 of 2 and 3: Dice 2 / 5
        assert!((distance(&one, &other) - 0.6).abs() < 1e-12);
        assert_eq!(distance(&one, &one), 0.0);
        assert_eq!(distance(&one, &[0, 0, 9, 0]), 1.0);
        assert_eq!(distance(&[0; 4], &[0; 4]), 0.0);
        // half-full blocks: 128 of 255 and 128
        assert!((distance(&[255], &[128]) - 127.0 / 383.0).abs() < 1e-12);
    }

    #[test]
    fn those_near_are_found_as_by_looking_at_all() {
        let mut numbers = Numbers(23);
        let mut all: Vec<(usize, Vec<u8>)> = Vec::new();
        let mut shapes = Shapes::default();
        for person in 0..300 {
            // variants of a few shapes, some of them larger, so that there are near and far ones
            let mut shape: Vec<u8> = (0..512)
                .map(|block| ((block * (person % 7 + 3)) % 251) as u8)
                .collect();
            let (blocks, less) = (numbers.next() * 60.0, numbers.next());
            for filled in shape.iter_mut().take(blocks as usize) {
                *filled = (f64::from(*filled) * less) as u8;
            }
            shapes.add(&person.to_string(), Level::L3, &shape);
            all.push((person, shape));
        }
        let mut pairs = 0;
        for (_, shape) in &all {
            for most in [0.0, 0.01, 0.05, 0.3] {
                let mut found: Vec<usize> = shapes
                    .near(Level::L3, shape, most)
                    .map(|(person, _)| person)
                    .collect();
                found.sort_unstable();
                let is_near = |other: &&(usize, Vec<u8>)| distance(shape, &other.1) < most;
                let expected: Vec<usize> = all.iter().filter(is_near).map(|(person, _)| *person).collect();
                assert_eq!(found, expected, "{most}");
                pairs += found.len();
            }
            assert_eq!(shapes.near(Level::L4, shape, 0.3).count(), 0, "another level");
        }
        assert!(pairs > 1000, "{pairs}");
        assert_eq!((shapes.len(), shapes.is_empty()), (300, false));
    }

    #[test]
    fn a_twin_is_another_person_with_two_levels_alike_or_the_only_one_very_much_so() {
        let (upper, lower) = ([200_u8; 512], [100_u8; 512]);
        let mut near = upper;
        near[..12].fill(100);
        // 1200 of 203 600 apart: between four fifths and the whole of what is allowed below
        let most = 0.007;
        let mut shapes = Shapes::default();
        shapes.add("a", Level::L2, &upper);
        shapes.add("a", Level::L3, &lower);
        shapes.add("b", Level::L4, &upper);
        let twin = |person: &str, case: &[(Level, &[u8])]| shapes.has_twin(person, case, most);

        assert!(twin("x", &[(Level::L2, &near), (Level::L3, &lower)]));
        assert!(
            !twin("a", &[(Level::L2, &upper), (Level::L3, &lower)]),
            "the same person"
        );
        assert!(
            !twin("x", &[(Level::L2, &upper), (Level::L3, &upper)]),
            "one of two levels"
        );
        assert!(twin("x", &[(Level::L4, &upper)]), "the only level");
        assert!(
            !twin("x", &[(Level::L4, &near)]),
            "the only level, and not so near"
        );
        assert!(twin("x", &[(Level::L2, &upper)]), "the only one of the case");
        assert!(!twin("x", &[(Level::L5, &upper)]), "no level of both");
    }
}
