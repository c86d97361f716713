//! What a case is after each stage: payloads say what a thing now is, stages what they do.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::case::{CaseId, Fault, ObjectKey, ObjectUrl};
use crate::labels::LabelScheme;
use crate::rows::VertebraRow;
use crate::source::SourceSeries;
use crate::vertebra::{Flags, Level, ModelIdentity, Patch, Reconstruction, Registered, Scores};
use crate::volume::{Grid, LabelMap};

/// A mask that the manifest names, and how its labels are to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The object, or the prefix for [`LabelScheme::Classes`].
    pub url: ObjectUrl,
    /// Label scheme.
    pub scheme: LabelScheme,
}

/// An image that the manifest names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Image {
    /// One object, or those of a series.
    Objects(Vec<ObjectUrl>),
    /// A prefix below which a series' objects lie.
    Folder(ObjectUrl),
}

/// What a case is known by all the way.
#[derive(Debug, Clone, PartialEq)]
pub struct Origin {
    /// Pseudonym of the case: names its files.
    pub id: CaseId,
    /// Pseudonym of the person, for splits.
    pub person: String,
    /// Seed of the case: from the run's seed and the case's id.
    pub seed: u64,
    /// Bytes read from the store so far.
    pub bytes_read: u64,
    /// The DICOM series that the mask was drawn on, where something is to be written beside it.
    pub source: Option<Arc<SourceSeries>>,
}

impl Origin {
    /// Returns the bytes that putting results onto the source's grid will take.
    pub fn bytes_to_paste(&self) -> u64 {
        self.source.as_ref().map_or(0, |source| source.bytes_to_paste())
    }
}

/// A case as the manifest lists it.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// What the case is known by.
    pub origin: Origin,
    /// The thick-slice mask to restore.
    pub mask: Named,
    /// The paired CT mask.
    pub reference: Option<Named>,
    /// The image the mask was drawn on; its headers are read where segmentations are written.
    pub image: Option<Image>,
}

/// An object that has been looked at, not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeighedFile {
    /// Its key in the store of its mask.
    pub key: ObjectKey,
    /// Bytes of it.
    pub size: u64,
    /// The first of them; all, if it is small.
    pub head: Bytes,
    /// What the store calls this version of it, where it has a name for that.
    pub etag: Option<String>,
}

/// One object of a mask, looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeighedObject {
    /// Level that the object's name states; only for [`LabelScheme::Classes`].
    pub level: Option<Level>,
    /// A single file, or the header of a pair.
    pub file: WeighedFile,
    /// The other half of a `.hdr`/`.img` pair.
    pub pair: Option<WeighedFile>,
}

/// One mask's objects, looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeighedMask {
    /// The mask as the manifest names it.
    pub named: Named,
    /// One object, or one a class.
    pub objects: Vec<WeighedObject>,
}

/// A case of which is known how much memory its volumes need.
#[derive(Debug, Clone)]
pub struct Weighed {
    /// What the case is known by.
    pub origin: Origin,
    /// The thick-slice mask to restore.
    pub mask: WeighedMask,
    /// The paired CT mask.
    pub reference: Option<WeighedMask>,
    /// Most bytes that fetching and decoding them hold at once, by their sizes and headers.
    pub bytes: u64,
}

/// One object's bytes.
#[derive(Debug, Clone)]
pub struct FetchedObject {
    /// Level that the object's name states; only for [`LabelScheme::Classes`].
    pub level: Option<Level>,
    /// Header and data of a single file, or the header of a pair.
    pub bytes: Bytes,
    /// The other half of a `.hdr`/`.img` pair.
    pub pair: Option<Bytes>,
}

/// One mask's objects.
#[derive(Debug, Clone)]
pub struct FetchedMask {
    /// Label scheme.
    pub scheme: LabelScheme,
    /// One object, or one a class.
    pub objects: Vec<FetchedObject>,
}

/// A case whose bytes are here.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// What the case is known by.
    pub origin: Origin,
    /// The mask to restore.
    pub mask: FetchedMask,
    /// The paired CT mask.
    pub reference: Option<FetchedMask>,
}

/// A label map and how to read it.
#[derive(Debug, Clone, PartialEq)]
pub struct Labelled {
    /// Label scheme.
    pub scheme: LabelScheme,
    /// The label map.
    pub map: LabelMap,
}

/// A case whose volumes are known.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// What the case is known by.
    pub origin: Origin,
    /// The mask to restore.
    pub mask: Labelled,
    /// The paired CT mask.
    pub reference: Option<Labelled>,
}

impl Decoded {
    /// Returns the bytes of its volumes; or those that are kept for what is written, which comes when these have gone.
    pub fn bytes(&self) -> u64 {
        let reference = self
            .reference
            .as_ref()
            .map_or(0, |reference| bytes_of(reference.map.data.len()));
        let volumes = bytes_of(self.mask.map.data.len()) + reference;
        volumes.max(self.origin.bytes_to_paste())
    }
}

/// Bytes of a label map of that many voxels.
fn bytes_of(voxels: usize) -> u64 {
    (voxels * size_of::<u16>()) as u64
}

/// One vertebra cut out of its scan.
#[derive(Debug, Clone)]
pub struct CroppedVertebra {
    /// Its level.
    pub level: Level,
    /// Its number in the input's label map.
    pub label: u16,
    /// The input mask in its cube.
    pub input: Patch,
    /// The reference on the same grid.
    pub reference: Option<Patch>,
    /// Centre of the label's bounding box, RAS mm.
    pub centre_mm: [f64; 3],
    /// Volume of the label in the scan itself, mm³.
    pub source_volume_mm3: f64,
    /// What is worth knowing.
    pub flags: Flags,
}

/// A case cut into vertebrae.
#[derive(Debug, Clone)]
pub struct Cropped {
    /// What the case is known by.
    pub origin: Origin,
    /// The scan's grid, to put results back.
    pub grid: Grid,
    /// From the head down.
    pub vertebrae: Vec<CroppedVertebra>,
}

impl Cropped {
    /// Returns the bytes that putting the results back will take: on the scan's grid, then on the source's.
    pub fn bytes_to_paste(&self) -> u64 {
        let scan = bytes_of(self.grid.shape.iter().product());
        scan.max(self.origin.bytes_to_paste())
    }
}

/// One vertebra with what the model made of it.
#[derive(Debug, Clone)]
pub struct ReconstructedVertebra {
    /// The vertebra as cut.
    pub cropped: CroppedVertebra,
    /// Seed of its chain.
    pub seed: u64,
    /// The reconstruction, or why there is none: a vertebra can fail alone.
    pub reconstruction: Result<Reconstruction, Fault>,
    /// Time in the model, waiting included.
    pub elapsed: Duration,
    /// Patches in the micro-batch it went through in.
    pub batch: u32,
}

/// A case whose vertebrae went through the model.
#[derive(Debug, Clone)]
pub struct Reconstructed {
    /// What the case is known by.
    pub origin: Origin,
    /// The scan's grid.
    pub grid: Grid,
    /// From the head down.
    pub vertebrae: Vec<ReconstructedVertebra>,
    /// Which models made them.
    pub model: Arc<ModelIdentity>,
}

/// One vertebra with its metrics.
#[derive(Debug, Clone)]
pub struct EvaluatedVertebra {
    /// The vertebra and its reconstruction.
    pub reconstructed: ReconstructedVertebra,
    /// Metrics of the input against the reference; `None` without a reference to compare with.
    pub input: Option<Scores>,
    /// Metrics of the reconstruction against the reference.
    pub reconstruction: Option<Scores>,
    /// The reconstruction moved onto the reference, where that was asked for.
    pub registered: Option<Registered>,
    /// The flags of the crop and what the comparison adds.
    pub flags: Flags,
}

/// A case with its metrics.
#[derive(Debug, Clone)]
pub struct Evaluated {
    /// What the case is known by.
    pub origin: Origin,
    /// The scan's grid.
    pub grid: Grid,
    /// From the head down.
    pub vertebrae: Vec<EvaluatedVertebra>,
    /// Which models made them.
    pub model: Arc<ModelIdentity>,
}

/// A file that a case has left in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenFile {
    /// Its name below the case's folder.
    pub name: String,
    /// Bytes of it.
    pub bytes: u64,
    /// Their SHA-256, in hex.
    pub sha256: String,
}

/// A case whose volumes lie in the store: what is left of it are rows.
#[derive(Debug, Clone)]
pub struct Written {
    /// What the case is known by.
    pub origin: Origin,
    /// Its files.
    pub files: Vec<WrittenFile>,
    /// From the head down.
    pub vertebrae: Vec<VertebraRow>,
}
