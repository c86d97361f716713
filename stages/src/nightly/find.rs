//! Looks for masks that are new since the last night, cuts them, measures them, and says which may teach.

mod rows;
mod source;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use schemas::rows::{LineageRow, Verdict};
use schemas::{Cropped, Decoded, Fault, FaultKind, Level, Listed, Outcome};
use tokio::sync::Semaphore;

use super::NightError;
use super::conf::NightlyConf;
use super::drift::{Drift, drifts, samples};
use super::intensity::{Intensity, fetch_image, intensities};
use super::measure::{Measured, Teaching, measure, measure_scan};
use super::report::{Found, Reject};
use super::split::known_splits;
use crate::crop::CropConf;
use crate::gather::Cut;
use crate::objects::stamps;
use crate::registry::Registry;
use crate::stage::{Stage as _, blocking};
use crate::store::Stores;
use crate::train::cache;

use rows::{rows_of, watched};
use source::{salt, source};

/// Rejects that a report lists one by one; the lineage has all.
const LISTED_MOST: usize = 200;

/// Cases that the store is asked about at once.
const ASKED_AT_ONCE: usize = 16;

/// What a night found.
#[derive(Debug, Clone)]
pub struct Looked {
    /// Every mask that was ever seen, as it is now: by case and from the head down.
    pub lineage: Vec<LineageRow>,
    /// Counts.
    pub found: Found,
    /// Masks and cases of this night that may not teach, the first of them.
    pub rejects: Vec<Reject>,
    /// How the accepted masks of this night differ from those known.
    pub drift: Vec<Drift>,
}

impl Looked {
    /// Returns whether nothing is new: the night need not begin.
    pub fn is_nothing(&self) -> bool {
        self.found.new + self.found.changed == 0
    }
}

/// What is needed to look for masks.
#[derive(Debug)]
pub struct Finder<'a> {
    /// Where they lie.
    pub stores: &'a Arc<Stores>,
    /// Where cut cubes are kept.
    pub registry: &'a Registry,
    /// How they are cut.
    pub crop: &'a CropConf,
    /// Most bytes of one object and of one volume.
    pub max_bytes: u64,
    /// What is asked for.
    pub conf: &'a NightlyConf,
}

/// One case, looked at.
enum Case {
    /// As an earlier night saw it.
    Unchanged,
    /// Not seen before, or otherwise.
    New(Box<NewCase>),
}

struct NewCase {
    case_id: String,
    person: Option<String>,
    source: Option<String>,
    stamp: Option<String>,
    is_changed: bool,
    outcome: Result<CutCase, Fault>,
}

/// A case's masks in their cubes and in numbers.
struct CutCase {
    patches: String,
    /// Of the scan: what every row of the case says.
    scan: LineageRow,
    masks: Vec<(Level, Measured)>,
    /// Of the image, where there is one on the mask's grid.
    intensities: BTreeMap<Level, Intensity>,
}

impl Finder<'_> {
    /// Looks at the cases of a manifest; `earlier` is the lineage of the last night that ended, with what its promoted
    /// model learnt noted.
    ///
    /// # Errors
    /// The registry's store cannot be used. What is wrong with a case is a row.
    pub async fn look(
        &self,
        cases: Vec<Outcome<Listed>>,
        mut earlier: Vec<LineageRow>,
        night: u32,
    ) -> Result<Looked, NightError> {
        let salt = salt(self.registry).await?;
        // of the rows of one case, one a level, all say the same
        let states = earlier
            .iter()
            .map(|row| (row.case_id.to_ascii_lowercase(), State::of(row)));
        let seen: HashMap<String, State> = states.collect();
        // as many volumes in memory as there are cores to unpack them; the store is asked about more at once
        let turns = Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from));
        let count = cases.len();
        let looks = cases.into_iter().map(|case| {
            let id = match &case {
                Ok(case) => case.id.folded(),
                Err(failure) => failure.id.folded(),
            };
            self.case(case, seen.get(&id), &salt, &turns)
        });
        let mut looks = futures::stream::iter(looks).buffered(ASKED_AT_ONCE);
        let mut found = Found {
            cases: count,
            ..Found::default()
        };
        let mut new = Vec::new();
        while let Some(case) = looks.next().await {
            match case? {
                Case::Unchanged => found.unchanged += 1,
                Case::New(case) => new.push(*case),
            }
        }
        drop(looks);
        new.sort_by(|a, b| a.case_id.cmp(&b.case_id));
        found.changed = new.iter().filter(|case| case.is_changed).count();
        found.new = new.len() - found.changed;

        // of all whom earlier nights have seen, whatever their cases are by now
        let sides = known_splits(&earlier);
        let anew: HashSet<String> = new.iter().map(|case| case.case_id.to_ascii_lowercase()).collect();
        earlier.retain(|row| !anew.contains(&row.case_id.to_ascii_lowercase()));
        let conf = self.conf.clone();
        let (rows, known) = blocking(move || rows_of(new, earlier, &sides, &conf, night)).await;
        let drift = drifts(&samples(&watched(&known), &watched(&rows)));
        let mut rejects = Vec::new();
        for row in &rows {
            match row.verdict {
                Verdict::Accepted => {
                    found.masks_accepted += 1;
                    continue;
                }
                Verdict::Rejected => found.masks_rejected += 1,
                Verdict::Failed => found.failed += 1,
            }
            for reason in &row.reasons {
                *found.by_reason.entry(reason.clone()).or_default() += 1;
            }
            if rejects.len() < LISTED_MOST {
                rejects.push(Reject {
                    case_id: row.case_id.clone(),
                    level: row.level.map(|level| level.as_str().to_owned()),
                    reasons: row.reasons.clone(),
                });
            }
        }
        let mut lineage = known;
        lineage.extend(rows);
        lineage.sort_by(|a, b| (&a.case_id, a.level).cmp(&(&b.case_id, b.level)));
        Ok(Looked {
            lineage,
            found,
            rejects,
            drift,
        })
    }

    async fn case(
        &self,
        case: Outcome<Listed>,
        state: Option<&State>,
        salt: &[u8],
        turns: &Semaphore,
    ) -> Result<Case, NightError> {
        let is_changed = state.is_some();
        let is_final = |stamp: Option<&str>| state.is_some_and(|state| state.is_final(stamp));
        let listed = match case {
            Ok(case) => teaching(case.body),
            // a row of the manifest that names no mask
            Err(failure) => {
                if is_final(None) {
                    return Ok(Case::Unchanged);
                }
                return Ok(Case::New(Box::new(NewCase {
                    case_id: failure.id.to_string(),
                    person: failure.person,
                    source: None,
                    stamp: None,
                    is_changed,
                    outcome: Err(failure.fault),
                })));
            }
        };
        let case_id = listed.origin.id.to_string();
        let person = Some(listed.origin.person.clone());
        let source = Some(source(&listed.mask, salt));
        let stamped = stamps(self.stores, &listed.mask).await;
        let stamp = match &stamped {
            Ok(stamps) => Some(cache::name(&listed.mask, stamps, self.crop)),
            // what a mask has taught is not forgotten because its store does not answer tonight
            Err(fault) if may_pass(fault.kind) && state.is_some_and(State::has_masks) => {
                return Ok(Case::Unchanged);
            }
            Err(_) => None,
        };
        if is_final(stamp.as_deref()) {
            return Ok(Case::Unchanged);
        }
        let outcome = match (stamped, &stamp) {
            (Ok(_), Some(name)) => {
                let _turn = turns.acquire().await.expect("nobody closes it");
                // as in the flow: a mistake of ours costs the case, and its words went to stderr
                let cut = AssertUnwindSafe(self.cut(listed, name)).catch_unwind().await;
                match cut {
                    Ok(cut) => cut?,
                    Err(_) => Err(Fault::bug("panic", "panicked on this case")),
                }
            }
            (Err(fault), _) => Err(fault.about("mask")),
            (Ok(_), None) => Err(Fault::bug(
                "no_stamp",
                "expected a stamp of what is there, found none",
            )),
        };
        // tried once more, and nothing new came of it
        if let Err(fault) = &outcome
            && state.is_some_and(|state| state.is_same(stamp.as_deref(), fault.kind))
        {
            return Ok(Case::Unchanged);
        }
        Ok(Case::New(Box::new(NewCase {
            case_id,
            person,
            source,
            stamp,
            is_changed,
            outcome,
        })))
    }

    /// Brings a case through the stages up to its cubes, and looks at its image on the way. An image that cannot be read
    /// costs the case nothing: nothing is learnt from it.
    async fn volumes(&self, listed: Listed) -> Result<(Cropped, BTreeMap<Level, Intensity>), Fault> {
        let cut = Cut::new(self.stores, self.crop, self.max_bytes);
        let case = listed.origin.id.clone();
        let image = fetch_image(self.stores, listed.image.as_ref(), self.max_bytes).await;
        let weighed = cut.weigh.run(listed).await?;
        let fetched = cut.fetch.run(weighed).await?;
        let decoded = cut.decode.run(fetched).await?;
        let max_bytes = self.max_bytes;
        let (decoded, bright): (Decoded, _) = blocking(move || {
            let bright = match image {
                Ok(Some(image)) => intensities(&image, &decoded.mask, max_bytes),
                Ok(None) => Ok(BTreeMap::new()),
                Err(fault) => Err(fault),
            };
            (decoded, bright)
        })
        .await;
        let bright = bright.unwrap_or_else(|fault| {
            tracing::warn!(%case, "the image says nothing of this case: {fault}");
            BTreeMap::new()
        });
        Ok((cut.crop.run(decoded).await?, bright))
    }

    /// Cuts a case, keeps its cubes in the registry, and measures them; a fault of the case is the inner one.
    async fn cut(&self, listed: Listed, name: &str) -> Result<Result<CutCase, Fault>, NightError> {
        let (cropped, intensities) = match self.volumes(listed).await {
            Ok(volumes) => volumes,
            Err(fault) => return Ok(Err(fault)),
        };
        let (crop, name) = (self.crop.clone(), name.to_owned());
        let measured = blocking(move || measured(cropped, intensities, &crop, name)).await;
        let (cut, packed) = match measured {
            Ok(measured) => measured,
            Err(fault) => return Ok(Err(fault)),
        };
        // the registry must take them: what a model learnt from is to be had again
        self.registry.place(&cut.patches).put(packed).await?;
        Ok(Ok(cut))
    }
}

/// Returns the case with the mask that teaches in the first place, and without another: its reference, if it has one. The
/// image is that of the mask, not of the reference.
fn teaching(listed: Listed) -> Listed {
    let Some(reference) = listed.reference else {
        return listed;
    };
    Listed {
        mask: reference,
        reference: None,
        image: None,
        ..listed
    }
}

fn measured(
    cropped: Cropped,
    intensities: BTreeMap<Level, Intensity>,
    crop: &CropConf,
    patches: String,
) -> Result<(CutCase, Bytes), Fault> {
    let mut scan = LineageRow::new(cropped.origin.id.as_str(), Verdict::Accepted, 0);
    measure_scan(&cropped.grid).put(&mut scan);
    let mut masks = Vec::new();
    let mut cubes = Vec::new();
    for vertebra in cropped.vertebrae {
        masks.push((vertebra.level, measure(&Teaching::from(&vertebra))));
        // a label thinner than a voxel of the cube is rejected, and leaves nothing to keep
        if vertebra.input.voxels() > 0 {
            cubes.push((vertebra.level, vertebra.input.mask));
        }
    }
    if cubes.is_empty() {
        return Err(Fault::unsuitable(
            "empty_cubes",
            "mask: expected a label that fills a voxel of its cube, found none",
        ));
    }
    let packed = cache::write(&cubes, crop)?;
    let cut = CutCase {
        patches,
        scan,
        masks,
        intensities,
    };
    Ok((cut, packed.into()))
}

/// What the last night knows of a case.
#[derive(Debug)]
struct State {
    /// What its store said of it; `None` if it said nothing.
    stamp: Option<String>,
    /// Why it gave no mask, if it did not.
    kind: Option<FaultKind>,
}

impl State {
    fn of(row: &LineageRow) -> Self {
        Self {
            stamp: row.stamp.clone(),
            kind: row.kind,
        }
    }

    fn has_masks(&self) -> bool {
        self.kind.is_none()
    }

    /// Whether to look again would show the same: the mask is as it was, or still not there, and it was not the world's
    /// fault that it could not be had.
    fn is_final(&self, stamp: Option<&str>) -> bool {
        self.stamp.as_deref() == stamp && !self.kind.is_some_and(may_pass)
    }

    /// Whether it could not be had before either, for the same reason.
    fn is_same(&self, stamp: Option<&str>, kind: FaultKind) -> bool {
        self.stamp.as_deref() == stamp && self.kind == Some(kind)
    }
}

/// Whether a case may be had another night though nothing of it has changed.
fn may_pass(kind: FaultKind) -> bool {
    use FaultKind::{Bug, Exhausted, Timeout, Unavailable};
    matches!(kind, Unavailable | Exhausted | Timeout | Bug)
}

#[cfg(test)]
mod tests;
