//! Elements that become an object: each by its tag, its kind of value from the dictionary.

use dicom_core::dictionary::{DataDictionary as _, VirtualVr};
use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags, uids};
use dicom_encoding::transfer_syntax::TransferSyntaxIndex as _;
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use schemas::Fault;

use super::object::{MAGIC, PREAMBLE};

/// What names this program to readers that know its mistakes; made up once.
const IMPLEMENTATION_CLASS_UID: &str = "2.25.158523189508968519324653244539266234613";

/// Its name beside it, of at most 16 characters.
const IMPLEMENTATION_VERSION_NAME: &str = "SPINESTREAM";

/// Longest text of most kinds (LO): 64 characters.
const TEXT_MOST: usize = 64;

/// A coded concept: value, coding scheme, meaning.
pub type Concept<'a> = (&'a str, &'a str, &'a str);

/// One level of elements.
#[derive(Debug)]
pub struct Elements(InMemDicomObject);

impl Default for Elements {
    fn default() -> Self {
        Self(InMemDicomObject::new_empty())
    }
}

impl Elements {
    /// Puts an element of a kind that the dictionary does not say.
    pub fn put(&mut self, tag: Tag, vr: VR, value: impl Into<PrimitiveValue>) {
        self.0.put(DataElement::new(tag, vr, value.into()));
    }

    /// Puts a text; an empty one is an element without a value.
    pub fn text(&mut self, tag: Tag, text: impl Into<String>) {
        let text = text.into();
        let value = if text.is_empty() {
            PrimitiveValue::Empty
        } else {
            PrimitiveValue::from(text)
        };
        self.put(tag, vr(tag), value);
    }

    /// Puts as much of a text of our own as an element holds.
    pub fn short(&mut self, tag: Tag, text: &str) {
        self.text(tag, text.chars().take(TEXT_MOST).collect::<String>());
    }

    /// Puts a whole number of two bytes.
    pub fn number(&mut self, tag: Tag, number: u16) {
        self.put(tag, VR::US, PrimitiveValue::from(number));
    }

    /// Puts decimal numbers.
    pub fn decimals(&mut self, tag: Tag, numbers: &[f64]) {
        let texts: Vec<String> = numbers.iter().map(|number| decimal(*number)).collect();
        self.text(tag, texts.join("\\"));
    }

    /// Puts a sequence.
    pub fn items(&mut self, tag: Tag, items: Vec<Self>) {
        let items: Vec<InMemDicomObject> = items.into_iter().map(|item| item.0).collect();
        self.0
            .put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
    }

    /// Puts a sequence of one item.
    pub fn item(&mut self, tag: Tag, fill: impl FnOnce(&mut Self)) {
        let mut item = Self::default();
        fill(&mut item);
        self.items(tag, vec![item]);
    }

    /// Puts a sequence of one code.
    pub fn code(&mut self, tag: Tag, (value, scheme, meaning): Concept<'_>) {
        self.item(tag, |item| {
            item.text(tags::CODE_VALUE, value);
            item.text(tags::CODING_SCHEME_DESIGNATOR, scheme);
            item.text(tags::CODE_MEANING, meaning);
        });
    }

    /// Returns the elements as Explicit VR Little Endian.
    ///
    /// # Errors
    /// None that an object of ours can have.
    pub fn encoded(&self) -> Result<Vec<u8>, Fault> {
        let syntax = TransferSyntaxRegistry
            .get(uids::EXPLICIT_VR_LITTLE_ENDIAN)
            .ok_or_else(|| Fault::bug("encode", "expected the transfer syntax of every DICOM program"))?;
        let mut bytes = Vec::new();
        self.0
            .write_dataset_with_ts(&mut bytes, syntax)
            .map_err(|_| not_encoded())?;
        Ok(bytes)
    }

    /// Returns the file of an object of that class, under that UID.
    ///
    /// # Errors
    /// None that an object of ours can have.
    pub fn file(mut self, class_uid: &str, instance_uid: &str) -> Result<Vec<u8>, Fault> {
        self.text(tags::SOP_CLASS_UID, class_uid);
        self.text(tags::SOP_INSTANCE_UID, instance_uid);
        let meta = FileMetaTableBuilder::new()
            .media_storage_sop_class_uid(class_uid)
            .media_storage_sop_instance_uid(instance_uid)
            .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
            .implementation_class_uid(IMPLEMENTATION_CLASS_UID)
            .implementation_version_name(IMPLEMENTATION_VERSION_NAME)
            .build()
            .map_err(|_| not_encoded())?;
        let mut bytes = vec![0; PREAMBLE - MAGIC.len()];
        bytes.extend_from_slice(MAGIC);
        meta.write(&mut bytes).map_err(|_| not_encoded())?;
        bytes.append(&mut self.encoded()?);
        Ok(bytes)
    }
}

/// The encoder's own words may quote a value.
fn not_encoded() -> Fault {
    Fault::bug(
        "encode",
        "expected an object that can be encoded, found one that cannot",
    )
}

fn vr(tag: Tag) -> VR {
    match StandardDataDictionary.by_tag(tag).map(|entry| entry.vr) {
        Some(VirtualVr::Exact(vr)) => vr,
        _ => VR::UN,
    }
}

/// Returns a number in the 16 characters that DICOM gives it (PS3.5 section 6.2, DS): what was read from as many comes
/// back as it was.
pub fn decimal(number: f64) -> String {
    const MOST: usize = 16;
    // 0 has one sign
    let number = number + 0.0;
    let plain = format!("{number}");
    if plain.len() <= MOST {
        return plain;
    }
    let shortest = format!("{number:e}");
    if shortest.len() <= MOST {
        return shortest;
    }
    let whole = plain.find('.').unwrap_or(plain.len());
    if number.abs() >= 1e-4 && whole + 2 <= MOST {
        return format!("{number:.*}", MOST - whole - 1);
    }
    let digits = (0..MOST).rev();
    let mut rounded = digits.map(|digits| format!("{number:.digits$e}"));
    rounded.find(|text| text.len() <= MOST).unwrap_or(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_takes_at_most_16_characters_and_loses_as_little_as_it_can() {
        let same = [
            0.0,
            1.0,
            -12.5,
            0.1,
            123.456_789,
            -205.312_5,
            1e-7,
            1.5e300,
            -0.000_030_517_578,
        ];
        for number in same {
            let text = decimal(number);
            assert!(text.len() <= 16, "{text}");
            assert_eq!(text.parse::<f64>(), Ok(number), "{text}");
        }
        assert_eq!(decimal(-0.0), "0");
        assert_eq!(decimal(-1.0 / 3.0), "-0.3333333333333");
        assert_eq!(decimal(1.0 / 30000.0), "3.33333333333e-5");
        assert_eq!(decimal(-1_234.567_890_123_456), "-1234.5678901235");
    }

    #[test]
    fn every_tag_that_is_put_as_text_has_one_kind_of_value() {
        assert_eq!(vr(tags::SEGMENT_LABEL), VR::LO);
        assert_eq!(vr(tags::PIXEL_SPACING), VR::DS);
        assert_eq!(vr(tags::NUMBER_OF_FRAMES), VR::IS);
    }
}
