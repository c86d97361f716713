//! What a night learns from: the masks that no champion has learnt from yet, and some of the others once more.

use hmac::{Hmac, KeyInit as _, Mac as _};
use schemas::Level;
use schemas::rows::{LineageRow, Split, Verdict};
use sha2::{Digest as _, Sha256};

use super::conf::NightlyConf;
use crate::compare::key::hex;

/// Rows of the lineage to train on, by their places in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selected {
    /// Masks that are new to the champion.
    pub new: Vec<usize>,
    /// Masks that it knows, shown again.
    pub replayed: Vec<usize>,
}

impl Selected {
    /// Returns all of them, in the lineage's order.
    pub fn all(&self) -> Vec<usize> {
        let mut all = [self.new.as_slice(), &self.replayed].concat();
        all.sort_unstable();
        all
    }
}

/// Returns whether a mask may be trained on.
pub fn may_teach(row: &LineageRow) -> bool {
    row.verdict == Verdict::Accepted
        && row.split == Some(Split::Train)
        && row.patches.is_some()
        && row.level.is_some()
}

/// Draws what `night` learns from, a pure function of lineage, configuration and night.
pub fn select(lineage: &[LineageRow], conf: &NightlyConf, night: u32) -> Selected {
    let draw = |learnt: bool| {
        let wanted = lineage
            .iter()
            .enumerate()
            .filter(|(_, row)| may_teach(row) && row.learnt == learnt);
        let mut drawn: Vec<([u8; 32], usize)> = wanted
            .map(|(index, row)| (lot(row, conf.seed, night), index))
            .collect();
        drawn.sort_unstable();
        drawn.into_iter().map(|(_, index)| index)
    };
    let mut new: Vec<usize> = draw(false).take(conf.most).collect();
    let replay = new.len().saturating_mul(conf.replay).min(conf.most - new.len());
    let mut replayed: Vec<usize> = draw(true).take(replay).collect();
    new.sort_unstable();
    replayed.sort_unstable();
    Selected { new, replayed }
}

/// Returns a row's lot: other rows neither change it nor are changed by it.
fn lot(row: &LineageRow, seed: u64, night: u32) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(&seed.to_le_bytes()).expect("HMAC takes keys of any length");
    let level = row.level.map_or("", Level::as_str);
    mac.update(format!("night {night} {} {level}", row.case_id).as_bytes());
    mac.finalize().into_bytes().into()
}

/// Returns eight hex digits that follow from everything that the weights follow from: `decides` is the recipe, the
/// weights begun with and the cubes' form, as JSON.
pub fn fingerprint(lineage: &[LineageRow], selected: &Selected, decides: &serde_json::Value) -> String {
    let masks: Vec<_> = selected
        .all()
        .into_iter()
        .filter_map(|index| lineage.get(index))
        .map(|row| (&row.person, &row.level, &row.patches))
        .collect();
    let text = serde_json::json!({ "masks": masks, "decides": decides }).to_string();
    hex(&Sha256::digest(text.as_bytes())[..4])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nightly::testing::row;

    fn lineage(count: usize, learnt: usize) -> Vec<LineageRow> {
        let rows = (0..count).map(|number| {
            let mut row = row(&format!("c{number:02}"), Level::L3);
            row.learnt = number < learnt;
            row
        });
        rows.collect()
    }

    #[test]
    fn every_new_mask_is_shown_and_some_known_ones_for_each() {
        let conf = NightlyConf {
            replay: 2,
            ..NightlyConf::default()
        };
        let selected = select(&lineage(20, 15), &conf, 1);
        assert_eq!(selected.new, [15, 16, 17, 18, 19]);
        assert_eq!(selected.replayed.len(), 10);
        assert!(selected.replayed.iter().all(|index| *index < 15));
        let few = select(
            &lineage(20, 15),
            &NightlyConf {
                most: 7,
                ..conf.clone()
            },
            1,
        );
        assert_eq!((few.new.len(), few.replayed.len()), (5, 2), "memory holds seven");
        let other = select(&lineage(20, 15), &conf, 2);
        assert_ne!(other.replayed, selected.replayed, "another night shows others");
        assert_eq!(select(&lineage(20, 15), &conf, 1), selected);
    }

    #[test]
    fn held_out_and_rejected_masks_never_teach() {
        let mut rows = lineage(4, 0);
        rows[0].split = Some(Split::HeldOut);
        rows[1].verdict = Verdict::Rejected;
        rows[2].patches = None;
        let selected = select(&rows, &NightlyConf::default(), 1);
        assert_eq!(selected.all(), [3]);
    }

    #[test]
    fn the_fingerprint_follows_from_masks_and_recipe() {
        let rows = lineage(6, 3);
        let selected = select(&rows, &NightlyConf::default(), 1);
        let decides = serde_json::json!({ "seed": 1 });
        let first = fingerprint(&rows, &selected, &decides);
        assert_eq!(first.len(), 8);
        assert_eq!(fingerprint(&rows, &selected, &decides), first);
        assert_ne!(
            fingerprint(&rows, &selected, &serde_json::json!({ "seed": 2 })),
            first
        );
        let mut others = rows;
        others[5].patches = Some("patches/other.nii.gz".to_owned());
        assert_ne!(fingerprint(&others, &selected, &decides), first);
    }
}
