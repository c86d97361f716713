//! Series of objects as a scanner would write them, for tests: seeded with names that must come out nowhere.

use bytes::Bytes;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{tags, uids};

use super::Head;
use super::data_set::DataSet;
use super::elements::Elements;
use super::plane::Plane;

/// What stands in every header and identifies a person.
pub const IDENTIFYING: [&str; 12] = [
    "DOE",
    "JANE",
    "MRN-7654321",
    "19560712",
    "ACC-998877",
    "20240313",
    "101530",
    "WHO^DOCTOR",
    "Lane",
    "1.2.3.4711",
    "1.2.3.4712",
    "1.2.3.4713",
];

/// A series of parallel slices.
#[derive(Debug, Clone)]
pub struct Series {
    /// Where the slices lie.
    pub planes: Vec<Plane>,
    /// Rows and columns.
    pub size: [u16; 2],
    /// Last part of the series' UID.
    pub series: u32,
    /// SOP class of objects of one slice.
    pub class: &'static str,
}

impl Series {
    /// Slices from `first` on, a `step` (LPS, mm) apart.
    pub fn new(first: Plane, step: [f64; 3], slices: usize, size: [u16; 2]) -> Self {
        let plane = |slice: usize| Plane {
            position: [0, 1, 2].map(|axis| first.position[axis] + step[axis] * slice as f64),
            ..first
        };
        Self {
            planes: (0..slices).map(plane).collect(),
            size,
            series: 4712,
            class: uids::MR_IMAGE_STORAGE,
        }
    }

    /// Returns the UID of the object of a slice.
    pub fn instance(&self, slice: usize) -> String {
        format!("1.2.3.4713.{}.{slice}", self.series)
    }

    /// Returns the file of one slice, with what `add` puts into it.
    pub fn file(&self, slice: usize, add: impl FnOnce(&mut Elements)) -> Vec<u8> {
        let mut object = self.shared();
        place(&mut object, &self.planes[slice]);
        let pixels = usize::from(self.size[0]) * usize::from(self.size[1]) * 2;
        object.put(tags::PIXEL_DATA, VR::OW, vec![7_u8; pixels]);
        add(&mut object);
        object.file(self.class, &self.instance(slice)).expect("file")
    }

    /// Returns the files of all slices.
    pub fn files(&self) -> Vec<Vec<u8>> {
        (0..self.planes.len())
            .map(|slice| self.file(slice, |_| {}))
            .collect()
    }

    /// Returns the headers of all slices.
    pub fn headers(&self) -> Vec<DataSet> {
        self.files().into_iter().map(header).collect()
    }

    /// Returns the header of one object that holds all slices as frames.
    pub fn multi_frame(&self) -> DataSet {
        let mut object = self.shared();
        let group = |plane: &Plane| {
            let mut groups = Elements::default();
            groups.item(tags::PLANE_POSITION_SEQUENCE, |item| {
                item.decimals(tags::IMAGE_POSITION_PATIENT, &plane.position);
            });
            groups
        };
        let first = self.planes[0];
        object.item(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, |shared| {
            shared.item(tags::PLANE_ORIENTATION_SEQUENCE, |item| orient(item, &first));
            shared.item(tags::PIXEL_MEASURES_SEQUENCE, |item| measure(item, &first));
        });
        object.items(
            tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE,
            self.planes.iter().map(group).collect(),
        );
        object.text(tags::NUMBER_OF_FRAMES, self.planes.len().to_string());
        header(
            object
                .file(uids::ENHANCED_MR_IMAGE_STORAGE, &self.instance(0))
                .expect("file"),
        )
    }

    fn shared(&self) -> Elements {
        let mut object = Elements::default();
        let texts: [(Tag, &str); 20] = [
            (tags::SPECIFIC_CHARACTER_SET, "ISO_IR 192"),
            (tags::STUDY_DATE, "20240313"),
            (tags::CONTENT_DATE, "20240313"),
            (tags::STUDY_TIME, "101530"),
            (tags::CONTENT_TIME, "101530.5"),
            (tags::ACCESSION_NUMBER, "ACC-998877"),
            (tags::MODALITY, "MR"),
            (tags::REFERRING_PHYSICIAN_NAME, "WHO^DOCTOR"),
            (tags::STUDY_DESCRIPTION, "MR LWS DOE JANE"),
            (tags::SERIES_DESCRIPTION, "T2 SAG DOE JANE"),
            (tags::PATIENT_NAME, "DOE^JÄNE^JANE"),
            (tags::PATIENT_ID, "MRN-7654321"),
            (tags::PATIENT_BIRTH_DATE, "19560712"),
            (tags::PATIENT_SEX, "F"),
            (tags::PATIENT_ADDRESS, "1 Doe Lane"),
            (tags::IMAGE_COMMENTS, "JANE DOE called twice"),
            (tags::STUDY_ID, "MRN-7654321"),
            (tags::STUDY_INSTANCE_UID, "1.2.3.4711"),
            (tags::FRAME_OF_REFERENCE_UID, "1.2.3.4711.9"),
            (tags::LOSSY_IMAGE_COMPRESSION, "00"),
        ];
        for (tag, text) in texts {
            object.text(tag, text);
        }
        object.text(tags::SERIES_INSTANCE_UID, format!("1.2.3.{}", self.series));
        object.number(tags::ROWS, self.size[0]);
        object.number(tags::COLUMNS, self.size[1]);
        object.number(tags::BITS_ALLOCATED, 16);
        object.number(tags::BITS_STORED, 12);
        object.number(tags::HIGH_BIT, 11);
        object.number(tags::PIXEL_REPRESENTATION, 0);
        object.number(tags::SAMPLES_PER_PIXEL, 1);
        object
    }
}

fn place(object: &mut Elements, plane: &Plane) {
    object.decimals(tags::IMAGE_POSITION_PATIENT, &plane.position);
    orient(object, plane);
    measure(object, plane);
}

fn orient(object: &mut Elements, plane: &Plane) {
    let directions = [plane.along_row, plane.along_column];
    object.decimals(tags::IMAGE_ORIENTATION_PATIENT, directions.as_flattened());
}

fn measure(object: &mut Elements, plane: &Plane) {
    object.decimals(tags::PIXEL_SPACING, &plane.spacing_mm);
    object.decimals(tags::SLICE_THICKNESS, &[3.5]);
}

fn header(file: Vec<u8>) -> DataSet {
    Head::read(&Bytes::from(file), 0).expect("header").header
}

/// Slices as of a spine: columns to the back, rows to the feet, turned about two axes by some degrees.
pub fn oblique(position: [f64; 3]) -> Plane {
    let (sine, cosine) = 7_f64.to_radians().sin_cos();
    let (other_sine, other_cosine) = 4_f64.to_radians().sin_cos();
    Plane {
        position,
        along_row: [sine, cosine, 0.0],
        along_column: [-cosine * other_sine, sine * other_sine, -other_cosine],
        spacing_mm: [0.9, 1.1],
    }
}
