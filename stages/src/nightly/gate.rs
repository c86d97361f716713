//! Which masks may teach: each by itself, against its case, against what is known, and against everybody else's.
//!
//! Dirty masks are common: TotalSegmentator's own issues tell of neighbours mixed up in a hundredth of the scans and more.
//! A gate that closes too early costs a mask of many; one that lets an error in teaches it.

mod conf;
mod reason;

use schemas::Level;

use super::known::Known;
use super::measure::Measured;

pub use conf::GateConf;
pub use reason::Reason;

/// A case whose masks ask to be let in.
#[derive(Debug, Clone, PartialEq)]
pub struct GatedCase {
    /// Pseudonym of the case.
    pub case_id: String,
    /// Pseudonym of the person.
    pub person: String,
    /// Its masks, in any order, one a level.
    pub vertebrae: Vec<(Level, Measured)>,
}

/// Returns, for each case and each of its masks, why it may not teach; nothing if it may.
///
/// What is usual of a level is told from the masks known of it or, as long as these are few, from the night's own beside
/// them. Of two persons of one night who are too alike, the one whose case comes first by its id stays, in whatever order
/// they are given.
pub fn gate(cases: &[GatedCase], known: &Known, conf: &GateConf) -> Vec<Vec<Vec<Reason>>> {
    let mut reasons: Vec<Vec<Vec<Reason>>> = cases.iter().map(|case| of_case(case, conf)).collect();
    against_the_usual(cases, &mut reasons, known, conf);
    let mut order: Vec<usize> = (0..cases.len()).collect();
    order.sort_by_cached_key(|index| {
        let id = &cases[*index].case_id;
        (id.to_ascii_lowercase(), id.clone())
    });
    let mut shapes = known.shapes().clone();
    for index in order {
        let (case, reasons) = (&cases[index], &mut reasons[index]);
        let full = case.vertebrae.iter().filter(|(_, measured)| !measured.is_empty());
        let full: Vec<(Level, &[u8])> = full
            .map(|(level, measured)| (*level, measured.shape.as_slice()))
            .collect();
        let is_twin = shapes.has_twin(&case.person, &full, conf.duplicate_distance);
        for ((level, measured), reasons) in case.vertebrae.iter().zip(reasons.iter_mut()) {
            if is_twin && !measured.is_empty() {
                reasons.push(Reason::NearDuplicate);
            } else if reasons.is_empty() {
                shapes.add(&case.person, *level, &measured.shape);
            }
        }
    }
    reasons
}

/// Turns away what is not as masks of its level usually are. Of the night's own, only those count that nothing else speaks
/// against.
fn against_the_usual(cases: &[GatedCase], reasons: &mut [Vec<Vec<Reason>>], known: &Known, conf: &GateConf) {
    let sound = cases.iter().zip(reasons.iter()).flat_map(|(case, reasons)| {
        let masks = case.vertebrae.iter().zip(reasons);
        masks
            .filter(|(_, reasons)| reasons.is_empty())
            .map(|(mask, _)| mask)
    });
    let usual = known.usual_beside(sound, conf.least_known);
    for (case, reasons) in cases.iter().zip(reasons) {
        for ((level, measured), reasons) in case.vertebrae.iter().zip(reasons) {
            let usual = usual.get(level).filter(|usual| usual.masks >= conf.least_known);
            let is_unlike = usual.is_some_and(|usual| usual.deviations(measured) > conf.deviations_most);
            if is_unlike && !measured.is_empty() {
                reasons.push(Reason::UnlikeKnown);
            }
        }
    }
}

fn of_case(case: &GatedCase, conf: &GateConf) -> Vec<Vec<Reason>> {
    let of_one = |(_, measured): &(Level, Measured)| of_mask(measured, conf);
    let mut reasons: Vec<Vec<Reason>> = case.vertebrae.iter().map(of_one).collect();

    let mut spine: Vec<Placed<'_>> = Vec::new();
    for (index, (level, measured)) in case.vertebrae.iter().enumerate() {
        if !measured.is_empty() {
            spine.push(Placed {
                index,
                level: *level,
                measured,
            });
        }
    }
    spine.sort_by_key(|placed| placed.level);
    let mut give = |placed: &Placed<'_>, reason: Reason| {
        let reasons = &mut reasons[placed.index];
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    };
    let out_of_order = out_of_order(&spine);
    for placed in spine.iter().filter(|placed| out_of_order.contains(&placed.index)) {
        give(placed, Reason::LevelOrder);
    }
    // where labels are swapped, those that are not have done nothing
    spine.retain(|placed| !out_of_order.contains(&placed.index));
    for pair in spine.windows(2) {
        let [upper, lower] = pair else { continue };
        for reason in of_neighbours(upper, lower, conf) {
            // which of the two is at fault nobody can tell
            give(upper, reason);
            give(lower, reason);
        }
    }
    for reasons in &mut reasons {
        reasons.sort_unstable();
    }
    reasons
}

fn of_mask(measured: &Measured, conf: &GateConf) -> Vec<Reason> {
    if measured.is_empty() {
        return vec![Reason::Empty];
    }
    let [least_cm3, most_cm3] = conf.volume_cm3;
    let is_plausible = (least_cm3..=most_cm3).contains(&(measured.volume_mm3 / 1000.0));
    let failed = [
        (Reason::VolumeImplausible, !is_plausible),
        (
            Reason::InPieces,
            measured.largest_piece < conf.largest_piece_least,
        ),
        (Reason::Cavities, measured.cavities > conf.cavities_most),
        (
            Reason::TouchesBorder,
            measured.touches_border && !conf.allow_border,
        ),
        (Reason::TouchesCube, measured.touches_cube && !conf.allow_cube),
    ];
    let failed = failed.into_iter().filter(|(_, is_so)| *is_so);
    failed.map(|(reason, _)| reason).collect()
}

/// A mask that is not empty, and its position in its case.
struct Placed<'a> {
    index: usize,
    level: Level,
    measured: &'a Measured,
}

/// Returns the positions of masks that do not lie below every level above them, and of those that they do not lie below.
fn out_of_order(spine: &[Placed<'_>]) -> Vec<usize> {
    let mut found = Vec::new();
    for (position, upper) in spine.iter().enumerate() {
        for lower in &spine[position + 1..] {
            let [upper_mm, lower_mm] = [upper, lower].map(|placed| placed.measured.centre_mm[2]);
            if upper_mm <= lower_mm {
                found.extend([upper.index, lower.index]);
            }
        }
    }
    found
}

/// Returns what is wrong between a mask and the next one below it.
fn of_neighbours(upper: &Placed<'_>, lower: &Placed<'_>, conf: &GateConf) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let steps = lower.level.index().saturating_sub(upper.level.index()).max(1);
    let pairs = upper.measured.centre_mm.iter().zip(lower.measured.centre_mm);
    let squares = pairs.map(|(upper, lower)| (upper - lower).powi(2));
    let apart_mm = squares.sum::<f64>().sqrt() / steps as f64;
    let [least_mm, most_mm] = conf.level_spacing_mm;
    if !(least_mm..=most_mm).contains(&apart_mm) {
        reasons.push(Reason::LevelSpacing);
    }
    let volumes = [upper.measured.volume_mm3, lower.measured.volume_mm3];
    let ratio = volumes[0].min(volumes[1]) / volumes[0].max(volumes[1]);
    if steps == 1 && ratio < conf.neighbour_ratio_least {
        reasons.push(Reason::VolumeAgainstNeighbours);
    }
    reasons
}

#[cfg(test)]
mod tests;
