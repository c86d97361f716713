//! The elements of a DICOM object as a tree, read token by token up to the pixel data.
//!
//! dicom-rs's own tree is built by recursion as deep as the file says; this one ends at [`DEPTH_MOST`], so that a
//! hostile file costs its row and not the process. Values that nobody here asks for are not kept.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::rc::Rc;

use dicom_core::dictionary::{DataDictionary as _, VirtualVr};
use dicom_core::{PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags};
use dicom_encoding::text::SpecificCharacterSet;
use dicom_encoding::transfer_syntax::TransferSyntax;
use dicom_parser::dataset::DataToken;
use dicom_parser::dataset::read::{DataSetReader, DataSetReaderOptions, ValueReadStrategy};
use schemas::Fault;

/// Deepest nesting of sequences: functional groups with their codes and purposes take six.
const DEPTH_MOST: usize = 24;

/// Most items of all sequences together: a thousand segments in a thousand frames of functional groups.
const ITEMS_MOST: usize = 1_000_000;

/// Most elements of all of them together.
const ELEMENTS_MOST: usize = 4_000_000;

/// Longest list of texts, in bytes: the parser takes memory for each of them.
const TEXTS_MOST: u32 = 1 << 20;

/// Longest value that is kept, in bytes: header fields, not thumbnails, curves or vendors' private blobs.
const VALUE_MOST: usize = 1 << 16;

/// One level of elements.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DataSet(BTreeMap<Tag, Element>);

/// What an element holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Element {
    /// A value, or several of one kind.
    Value(VR, PrimitiveValue),
    /// Items of a sequence.
    Items(Vec<DataSet>),
}

/// A coded concept (PS3.3 Table 8.8-1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// Code Value, `36470004`.
    pub value: String,
    /// Coding Scheme Designator, `SCT`.
    pub scheme: String,
    /// Code Meaning.
    pub meaning: String,
}

impl DataSet {
    /// Returns an element.
    pub fn get(&self, tag: Tag) -> Option<&Element> {
        self.0.get(&tag)
    }

    /// Returns every element with its tag, in order.
    pub fn elements(&self) -> impl Iterator<Item = (Tag, &Element)> {
        self.0.iter().map(|(tag, element)| (*tag, element))
    }

    fn value(&self, tag: Tag) -> Option<&PrimitiveValue> {
        match self.get(tag)? {
            Element::Value(_, value) if value.multiplicity() > 0 => Some(value),
            _ => None,
        }
    }

    /// Returns a text without its padding, `None` for one that is empty or not there; of several values, all of them
    /// with `\` between.
    pub fn text(&self, tag: Tag) -> Option<String> {
        let text = self.value(tag)?.to_str();
        let text = text.trim_matches(|character: char| character.is_whitespace() || character == '\0');
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// Returns the values of a text, each without its padding.
    pub fn texts(&self, tag: Tag) -> Vec<String> {
        let joined = self.text(tag).unwrap_or_default();
        joined.split('\\').map(|part| part.trim().to_owned()).collect()
    }

    /// Returns a whole number, `None` where there is none.
    pub fn whole(&self, tag: Tag) -> Option<i64> {
        self.value(tag)?.to_int().ok()
    }

    /// Returns finite numbers, `None` where there are none or one of them is none.
    pub fn numbers(&self, tag: Tag) -> Option<Vec<f64>> {
        let numbers = self.value(tag)?.to_multi_float64().ok()?;
        (!numbers.is_empty() && numbers.iter().all(|number| number.is_finite())).then_some(numbers)
    }

    /// Returns a finite number.
    pub fn number(&self, tag: Tag) -> Option<f64> {
        self.numbers(tag)?.first().copied()
    }

    /// Returns exactly that many finite numbers.
    pub fn vector<const N: usize>(&self, tag: Tag) -> Option<[f64; N]> {
        self.numbers(tag)?.try_into().ok()
    }

    /// Returns the items of a sequence; none where there is no sequence.
    pub fn items(&self, tag: Tag) -> &[DataSet] {
        match self.get(tag) {
            Some(Element::Items(items)) => items,
            _ => &[],
        }
    }

    /// Returns the first item of a sequence.
    pub fn item(&self, tag: Tag) -> Option<&DataSet> {
        self.items(tag).first()
    }

    /// Returns the code in a sequence of codes.
    pub fn code(&self, tag: Tag) -> Option<Code> {
        let item = self.item(tag)?;
        Some(Code {
            value: item
                .text(tags::CODE_VALUE)
                .or_else(|| item.text(tags::LONG_CODE_VALUE))?,
            scheme: item.text(tags::CODING_SCHEME_DESIGNATOR).unwrap_or_default(),
            meaning: item.text(tags::CODE_MEANING).unwrap_or_default(),
        })
    }

    #[cfg(test)]
    pub(super) fn put(&mut self, tag: Tag, element: Element) {
        self.0.insert(tag, element);
    }

    #[cfg(test)]
    pub(super) fn put_text(&mut self, tag: Tag, text: &str) {
        let value = PrimitiveValue::from(text);
        self.put(tag, Element::Value(VR::LO, value));
    }
}

/// Where the reading of a data set has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Before the value of the pixel data.
    Pixels {
        /// Which of the three kinds.
        tag: Tag,
        /// OB for bytes, OW for words.
        vr: VR,
        /// Position of the value's first byte.
        at: usize,
        /// Bytes that the header promises; `None` for encapsulated frames.
        length: Option<u32>,
    },
    /// At the end of the bytes, between two elements of the outermost level.
    Whole,
    /// At the end of the bytes, in the midst of something.
    Cut,
}

/// Reads elements up to the pixel data.
///
/// # Errors
/// Damage, or nesting that no object has. That the bytes end too early is no error: see [`End::Cut`], behind which the
/// elements read so far stand.
pub fn read(bytes: &[u8], syntax: &TransferSyntax) -> Result<(DataSet, End), Fault> {
    let position = Rc::new(Cell::new(0));
    let source = Counted {
        bytes,
        position: Rc::clone(&position),
    };
    let options = DataSetReaderOptions::default().value_read(ValueReadStrategy::Preserved);
    let tokens =
        DataSetReader::new_with_ts_cs_options(source, syntax, SpecificCharacterSet::default(), options);
    let mut tokens = tokens
        .map_err(|_| Fault::unsuitable("transfer_syntax", "expected a transfer syntax that is read"))?;
    let mut tree = Tree::default();
    // where the last token ended: bytes read behind it are a part of one
    let mut behind = 0;
    loop {
        let Some(token) = tokens.next() else {
            let is_whole = tree.open.is_empty() && behind == bytes.len();
            let end = if is_whole { End::Whole } else { End::Cut };
            return Ok((tree.finish(), end));
        };
        let token = match token {
            Ok(token) => token,
            // the reader asked for more than there was
            Err(_) if position.get() == bytes.len() => return Ok((tree.finish(), End::Cut)),
            Err(_) => return Err(damaged(position.get())),
        };
        behind = position.get();
        // the reader takes memory for a length before it looks whether there is so much: up to 4 GiB for a few bytes
        let rest = (bytes.len() - position.get()) as u64;
        if let DataToken::ElementHeader(header) = &token
            && !(tree.open.is_empty() && is_pixels(header.tag))
            && header.len.get().is_some_and(|length| u64::from(length) > rest)
        {
            return Ok((tree.finish(), End::Cut));
        }
        if let DataToken::ElementHeader(header) = &token
            && is_list(header.vr)
            && header.len.get().is_some_and(|length| length > TEXTS_MOST)
        {
            let message = format!("expected texts of at most {TEXTS_MOST} bytes, found a longer list");
            return Err(Fault::unreadable("bad_data_set", message));
        }
        match token {
            DataToken::ElementHeader(header) if tree.open.is_empty() && is_pixels(header.tag) => {
                let end = End::Pixels {
                    tag: header.tag,
                    vr: header.vr,
                    at: position.get(),
                    length: header.len.get(),
                };
                return Ok((tree.finish(), end));
            }
            DataToken::PixelSequenceStart if tree.open.is_empty() => {
                let end = End::Pixels {
                    tag: tags::PIXEL_DATA,
                    vr: VR::OB,
                    at: position.get(),
                    length: None,
                };
                return Ok((tree.finish(), end));
            }
            DataToken::ItemStart { len }
                if tree.is_in_icon() && len.get().is_some_and(|length| u64::from(length) > rest) =>
            {
                return Ok((tree.finish(), End::Cut));
            }
            token => tree.add(token).ok_or_else(|| damaged(position.get()))??,
        }
    }
}

fn damaged(position: usize) -> Fault {
    Fault::unreadable(
        "bad_data_set",
        format!("expected a DICOM data set, found damage near byte {position} of it"),
    )
}

fn is_pixels(tag: Tag) -> bool {
    matches!(
        tag,
        tags::PIXEL_DATA | tags::FLOAT_PIXEL_DATA | tags::DOUBLE_FLOAT_PIXEL_DATA
    )
}

/// Bytes that tell how far they have been read.
struct Counted<'a> {
    bytes: &'a [u8],
    position: Rc<Cell<usize>>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let at = self.position.get();
        let mut rest = self.bytes.get(at..).unwrap_or_default();
        let count = rest.read(buffer)?;
        self.position.set(at + count);
        Ok(count)
    }
}

/// The tree while it is being read.
#[derive(Default)]
struct Tree {
    root: DataSet,
    /// Sequences and items that are open, outermost first.
    open: Vec<Open>,
    /// Element whose value comes next.
    next: Option<(Tag, VR)>,
    items: usize,
    elements: usize,
}

enum Open {
    Sequence(Tag, Vec<DataSet>),
    Item(DataSet),
}

impl Tree {
    /// Takes a token; `None` for one that cannot stand here.
    fn add(&mut self, token: DataToken) -> Option<Result<(), Fault>> {
        match token {
            DataToken::ElementHeader(header) => self.next = Some((header.tag, header.vr)),
            DataToken::PrimitiveValue(value) => {
                let (tag, vr) = self.next.take()?;
                self.elements += 1;
                if self.elements > ELEMENTS_MOST {
                    return Some(Err(too_nested(&format!("at most {ELEMENTS_MOST} elements"))));
                }
                if is_kept(tag, &value)
                    && let Some((vr, value)) = of_standard(tag, vr, value)
                {
                    self.level()?.0.insert(tag, Element::Value(vr, value));
                }
            }
            DataToken::SequenceStart { tag, .. } => {
                if self.open.len() >= 2 * DEPTH_MOST {
                    return Some(Err(too_nested(&format!(
                        "sequences nested at most {DEPTH_MOST} deep"
                    ))));
                }
                self.open.push(Open::Sequence(tag, Vec::new()));
            }
            DataToken::ItemStart { .. } => {
                self.items += 1;
                if self.items > ITEMS_MOST {
                    return Some(Err(too_nested(&format!("at most {ITEMS_MOST} items"))));
                }
                self.open.push(Open::Item(DataSet::default()));
            }
            DataToken::ItemEnd => {
                let Some(Open::Item(item)) = self.open.pop() else {
                    return None;
                };
                let Some(Open::Sequence(_, items)) = self.open.last_mut() else {
                    return None;
                };
                items.push(item);
            }
            DataToken::SequenceEnd => {
                let Some(Open::Sequence(tag, items)) = self.open.pop() else {
                    return None;
                };
                // a vendor's private sequences are the vendor's
                if tag.group().is_multiple_of(2) {
                    self.level()?.0.insert(tag, Element::Items(items));
                }
            }
            // an icon's
            DataToken::PixelSequenceStart => self.open.push(Open::Sequence(tags::PIXEL_DATA, Vec::new())),
            DataToken::ItemValue(_) | DataToken::OffsetTable(_) => {}
        }
        Some(Ok(()))
    }

    /// Whether fragments of pixels come next.
    fn is_in_icon(&self) -> bool {
        matches!(self.open.last(), Some(Open::Sequence(tags::PIXEL_DATA, _)))
    }

    fn level(&mut self) -> Option<&mut DataSet> {
        match self.open.last_mut() {
            None => Some(&mut self.root),
            Some(Open::Item(item)) => Some(item),
            Some(Open::Sequence(..)) => None,
        }
    }

    /// Returns the outermost level; what is still open is left out.
    fn finish(self) -> DataSet {
        self.root
    }
}

fn too_nested(expected: &str) -> Fault {
    Fault::unreadable("too_nested", format!("expected {expected}, found more"))
}

fn is_kept(tag: Tag, value: &PrimitiveValue) -> bool {
    tag.group().is_multiple_of(2) && value.calculate_byte_len() <= VALUE_MOST
}

/// Whether values of a kind are several texts, which the parser parts at each backslash.
fn is_list(vr: VR) -> bool {
    use VR::{AE, AS, CS, DA, DS, DT, IS, LO, PN, SH, TM, UC, UI};
    matches!(vr, AE | AS | CS | DA | DS | DT | IS | LO | PN | SH | TM | UC | UI)
}

/// Returns a value as the standard has it: some writers call what they do not know UN, and its bytes are a text or a
/// number all the same. `None` for one that cannot be told.
fn of_standard(tag: Tag, vr: VR, value: PrimitiveValue) -> Option<(VR, PrimitiveValue)> {
    if vr != VR::UN {
        return Some((vr, value));
    }
    let Some(VirtualVr::Exact(vr)) = StandardDataDictionary.by_tag(tag).map(|entry| entry.vr) else {
        return None;
    };
    let bytes = value.to_bytes();
    if is_list(vr) || matches!(vr, VR::LT | VR::ST | VR::UT | VR::UR) {
        let text = std::str::from_utf8(&bytes).ok()?;
        return Some((vr, PrimitiveValue::from(text)));
    }
    // unknown ones are little endian whatever the object is (PS3.5 section 6.2.2)
    match (vr, bytes.as_ref()) {
        (VR::US, [low, high]) => Some((vr, PrimitiveValue::from(u16::from_le_bytes([*low, *high])))),
        _ => None,
    }
}
