//! Which series is the one that is wanted: rules on attributes, never on what somebody has called it.

use serde::{Deserialize, Serialize};

use super::record::{Class, Record};
use super::series::{Facts, Orientation};
use schemas::Fault;

/// Section `[dicom.series]`: which series of a study is the image of a case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SeriesConf {
    /// Modalities of the image.
    pub modality: Vec<String>,
    /// How its slices lie.
    pub orientation: Wanted,
    /// Farthest that their normal may be from the axis of that orientation, in degrees.
    pub angle_deg: f64,
    /// Least and most slice thickness, in mm; where an object states none, the step from slice to slice.
    pub thickness_mm: [f64; 2],
    /// Fewest slices: localizers have three or so.
    pub min_slices: usize,
    /// Least length of a slice's longer edge, in mm: blocks through single discs stay out.
    pub field_of_view_mm: f64,
    /// Weighting that is asked for; "any" prefers T2, which every lumbar protocol has in sagittal slices and most
    /// segmenters are trained on.
    pub weighting: WantedWeighting,
    /// Echo time from which on a series is T2 weighted, in ms, if its repetition time is not short.
    pub t2_echo_ms: f64,
    /// Echo time up to which a series may be T1 weighted, in ms.
    pub t1_echo_ms: f64,
    /// Repetition time up to which it is, in ms; a longer one needs an inversion.
    pub t1_repetition_ms: f64,
    /// Values of Image Type that exclude an object; mosaics are excluded always.
    pub exclude_image_types: Vec<String>,
    /// Whether objects that say that something is burned into their pixels are excluded.
    pub exclude_burned_in: bool,
}

impl Default for SeriesConf {
    fn default() -> Self {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Self {
            modality: words(&["MR"]),
            orientation: Wanted::Sagittal,
            angle_deg: 30.0,
            thickness_mm: [0.5, 7.0],
            min_slices: 5,
            field_of_view_mm: 120.0,
            weighting: WantedWeighting::Any,
            t2_echo_ms: 60.0,
            t1_echo_ms: 30.0,
            t1_repetition_ms: 1000.0,
            exclude_image_types: words(&["DERIVED", "SECONDARY", "LOCALIZER", "PROJECTION IMAGE"]),
            exclude_burned_in: true,
        }
    }
}

/// How slices shall lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wanted {
    /// Normal left to right.
    Sagittal,
    /// Normal front to back.
    Coronal,
    /// Normal feet to head.
    Axial,
    /// Anyhow.
    Any,
}

/// Which weighting is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WantedWeighting {
    /// T2 alone.
    T2,
    /// T1 alone.
    T1,
    /// T2 before T1 before others.
    Any,
}

/// Weighting of a series, as far as its times tell; in the order in which series are preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weighting {
    T2,
    T1,
    Other,
}

impl Weighting {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::T2 => "T2",
            Self::T1 => "T1",
            Self::Other => "another",
        }
    }
}

impl SeriesConf {
    /// Checks that the values fit each other.
    ///
    /// # Errors
    /// A message that names the key.
    pub fn check(&self) -> Result<(), String> {
        let [least, most] = self.thickness_mm;
        if !(least >= 0.0 && least <= most) {
            return Err(format!(
                "dicom.series.thickness_mm: expected least and most, found [{least}, {most}]"
            ));
        }
        if !(0.0..=45.0).contains(&self.angle_deg) {
            let found = self.angle_deg;
            return Err(format!(
                "dicom.series.angle_deg: expected an angle from 0 to 45, found {found}"
            ));
        }
        if self.min_slices < 2 {
            let found = self.min_slices;
            return Err(format!(
                "dicom.series.min_slices: expected at least 2, found {found}"
            ));
        }
        if self.modality.is_empty() {
            return Err("dicom.series.modality: expected at least one, found none".to_owned());
        }
        Ok(())
    }

    /// Returns why an object is no slice of a series that could be wanted.
    pub(super) fn refuse_object(&self, record: &Record) -> Option<Fault> {
        let refused = |reason, message: &str| Some(Fault::unsuitable(reason, message));
        match record.class {
            Class::Image | Class::Segmentation => {}
            Class::Directory => {
                return refused(
                    "dicomdir",
                    "expected an image, found the table of contents of a disc",
                );
            }
            Class::SecondaryCapture => {
                return refused(
                    "secondary_capture",
                    "expected an image of a scanner, found a secondary capture",
                );
            }
            Class::Contours => {
                return refused(
                    "contours",
                    "expected an image or a SEG, found contours (RTSTRUCT): convert them to a SEG first",
                );
            }
            Class::Other => {
                return refused(
                    "sop_class",
                    "expected an MR or CT image or a SEG, found another kind of object",
                );
            }
        }
        let excluded = |value: &str| self.exclude_image_types.iter().any(|known| known == value);
        for value in record.image_type.split('\\') {
            let reason = match value {
                "MOSAIC" => "mosaic",
                _ if !excluded(value) => continue,
                "DERIVED" => "derived",
                "LOCALIZER" => "localizer",
                _ => "image_type",
            };
            return refused(
                reason,
                "expected original slices, found an Image Type that dicom.series.exclude_image_types names, or a mosaic",
            );
        }
        if record.is_burned_in && self.exclude_burned_in {
            return refused(
                "burned_in",
                "expected pixels of a scanner, found an object with burned-in annotation",
            );
        }
        if !record.has_pixels {
            return refused("no_pixels", "expected pixel data, found none");
        }
        record.planes.as_ref().err().cloned()
    }

    /// Returns why a series is not wanted.
    pub(super) fn refuse_series(&self, first: &Record, facts: &Facts) -> Option<Fault> {
        let refused = |reason, message: String| Some(Fault::unsuitable(reason, message));
        if !self.modality.iter().any(|modality| modality == first.modality) {
            let message = format!(
                "expected an image of modality {}, found {}",
                self.modality.join(" or "),
                first.modality
            );
            return refused("modality", message);
        }
        let (is_wanted, wanted) = match self.orientation {
            Wanted::Sagittal => (facts.orientation == Orientation::Sagittal, "sagittal"),
            Wanted::Coronal => (facts.orientation == Orientation::Coronal, "coronal"),
            Wanted::Axial => (facts.orientation == Orientation::Axial, "axial"),
            Wanted::Any => (true, ""),
        };
        if !is_wanted {
            let found = facts.orientation.as_str();
            return refused(
                "orientation",
                format!("expected {wanted} slices, found {found} ones"),
            );
        }
        if facts.slices < self.min_slices {
            let (least, found) = (self.min_slices, facts.slices);
            return refused(
                "few_slices",
                format!("expected at least {least} slices, found {found}"),
            );
        }
        let [least, most] = self.thickness_mm;
        match facts.thickness_mm.or(facts.spacing_mm) {
            Some(found) if (least..=most).contains(&found) => {}
            found => {
                let found = found.map_or_else(|| "none".to_owned(), |found| format!("{found:.2} mm"));
                return refused(
                    "thickness",
                    format!("expected a slice thickness from {least} to {most} mm, found {found}"),
                );
            }
        }
        let least = self.field_of_view_mm;
        if facts.field_of_view_mm < least {
            let message = format!(
                "expected slices of at least {least} mm, found {:.0} mm",
                facts.field_of_view_mm
            );
            return refused("field_of_view", message);
        }
        let found = self.weighting(first);
        let is_wanted = match self.weighting {
            WantedWeighting::Any => true,
            WantedWeighting::T2 => found == Weighting::T2,
            WantedWeighting::T1 => found == Weighting::T1,
        };
        if !is_wanted {
            let message = format!(
                "expected the weighting that dicom.series.weighting names, found {} by echo and repetition time",
                found.as_str()
            );
            return refused("weighting", message);
        }
        None
    }

    /// Returns the weighting that times tell. Gradient echoes are neither: their contrast is made by the flip angle too.
    pub(super) fn weighting(&self, record: &Record) -> Weighting {
        let times = record.times;
        let Some(echo) = times.echo_ms.filter(|_| !record.is_gradient_echo) else {
            return Weighting::Other;
        };
        // some objects state no repetition time
        let is_short = times
            .repetition_ms
            .map(|repetition| repetition <= self.t1_repetition_ms);
        // T1 FLAIR: a long inversion makes the contrast
        let is_inverted = times.inversion_ms.is_some_and(|inversion| inversion >= 400.0);
        if echo >= self.t2_echo_ms && is_short != Some(true) {
            return Weighting::T2;
        }
        if echo <= self.t1_echo_ms && (is_short == Some(true) || is_inverted) {
            return Weighting::T1;
        }
        Weighting::Other
    }
}
