//! How wide the gates stand.

use serde::{Deserialize, Serialize};

/// Which masks may teach: section `[nightly.gates]` of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GateConf {
    /// Least and largest volume, in cm³. Of 54 masks from CT, MRI and meshes of 12 persons and a mean of 87 (the shared
    /// data's README) the smallest has 35 and the largest 80; half of that and not quite twice that are the defaults.
    pub volume_cm3: [f64; 2],
    /// Least share of the voxels in the largest piece.
    pub largest_piece_least: f64,
    /// Most enclosed background, as a share of the mask.
    pub cavities_most: f64,
    /// Whether masks that touch the border of their scan may teach.
    pub allow_border: bool,
    /// Whether masks that reach the border of their cube may teach.
    pub allow_cube: bool,
    /// Least and largest distance between the middles of neighbours, in mm; of levels with others between them, for each
    /// step.
    pub level_spacing_mm: [f64; 2],
    /// Least volume of the smaller of two neighbours, as a share of the larger one's.
    pub neighbour_ratio_least: f64,
    /// Most robust deviations from the usual of the level, in volume, extents and fill. 3.5 is what Iglewicz and Hoaglin
    /// ("How to Detect and Handle Outliers", 1993) advise for such scores.
    pub deviations_most: f64,
    /// Accepted masks of a level from which on it is known what is usual. Where earlier nights have fewer, those of the
    /// night itself that pass every other gate count beside them.
    pub least_known: usize,
    /// Distance of coarse shapes (1 less Dice's coefficient) below which two levels of two persons are too alike to be of
    /// two persons; four fifths of it, where they have one level in common. 0 to let doublets in. Of the 12 persons of
    /// the shared data, one scan that is there under two names lies 0.045 from itself, and the nearest two persons 0.104.
    pub duplicate_distance: f64,
}

impl Default for GateConf {
    fn default() -> Self {
        Self {
            volume_cm3: [17.0, 140.0],
            largest_piece_least: 0.95,
            cavities_most: 0.02,
            allow_border: false,
            allow_cube: false,
            level_spacing_mm: [18.0, 60.0],
            neighbour_ratio_least: 0.6,
            deviations_most: 3.5,
            least_known: 20,
            duplicate_distance: 0.06,
        }
    }
}

impl GateConf {
    /// Checks what the types do not say.
    ///
    /// # Errors
    /// A message that names the key, what was expected and what was found.
    pub fn check(&self) -> Result<(), String> {
        for (key, [least, most]) in [
            ("volume_cm3", self.volume_cm3),
            ("level_spacing_mm", self.level_spacing_mm),
        ] {
            if !(least >= 0.0 && most > least) {
                return Err(format!(
                    "nightly.gates.{key}: expected a least number from 0 on and a larger one, found {least} and {most}"
                ));
            }
        }
        for (key, share) in [
            ("largest_piece_least", self.largest_piece_least),
            ("cavities_most", self.cavities_most),
            ("neighbour_ratio_least", self.neighbour_ratio_least),
        ] {
            if !(0.0..=1.0).contains(&share) {
                return Err(format!(
                    "nightly.gates.{key}: expected a share from 0 to 1, found {share}"
                ));
            }
        }
        if !(0.0..1.0).contains(&self.duplicate_distance) {
            return Err(format!(
                "nightly.gates.duplicate_distance: expected a distance from 0 to below 1, found {}",
                self.duplicate_distance
            ));
        }
        // a twentieth of the median is a deviation at least: less than one would turn away what is usual
        if !(self.deviations_most.is_finite() && self.deviations_most >= 1.0) {
            return Err(format!(
                "nightly.gates.deviations_most: expected at least 1 deviation, found {}",
                self.deviations_most
            ));
        }
        if self.least_known == 0 {
            return Err("nightly.gates.least_known: expected at least 1 mask, found 0".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = fn(&mut GateConf);

    #[test]
    fn the_default_is_sound_and_what_is_not_names_its_key() {
        let check = |change: fn(&mut GateConf)| {
            let mut conf = GateConf::default();
            change(&mut conf);
            conf.check()
        };
        assert_eq!(check(|_| {}), Ok(()));
        let changes: [(&str, Change); 8] = [
            ("volume_cm3", |conf| conf.volume_cm3 = [50.0, 50.0]),
            ("level_spacing_mm", |conf| conf.level_spacing_mm[1] = f64::NAN),
            ("largest_piece_least", |conf| conf.largest_piece_least = 95.0),
            ("cavities_most", |conf| conf.cavities_most = -0.1),
            ("neighbour_ratio_least", |conf| conf.neighbour_ratio_least = 1.6),
            ("duplicate_distance", |conf| conf.duplicate_distance = 1.0),
            ("deviations_most", |conf| conf.deviations_most = 0.5),
            ("least_known", |conf| conf.least_known = 0),
        ];
        for (key, change) in changes {
            let message = check(change).expect_err(key);
            assert!(
                message.starts_with(&format!("nightly.gates.{key}: expected")),
                "{message}"
            );
        }
        let json = serde_json::from_str::<GateConf>("{\"volume_ccm\": [1, 2]}");
        assert!(json.is_err(), "an unknown key");
        assert_eq!(
            serde_json::from_str::<GateConf>("{}").expect("defaults"),
            GateConf::default()
        );
    }
}
