//! One DICOM object: preamble, file meta information, data set, and where its pixels lie.

use std::io::Read as _;

use bytes::Bytes;
use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use dicom_encoding::Endianness;
use dicom_encoding::transfer_syntax::{TransferSyntax, TransferSyntaxIndex as _};
use dicom_transfer_syntax_registry::{TransferSyntaxRegistry, entries};
use flate2::bufread::DeflateDecoder;
use schemas::Fault;

use super::data_set::{self, DataSet, End};

/// Length of the preamble and its magic (PS3.10 section 7.1).
pub const PREAMBLE: usize = 132;

/// Magic at byte 128.
pub const MAGIC: &[u8] = b"DICM";

/// Longest beginning of an object that is looked at for its header, in bytes: functional groups of thousands of frames.
pub const HEADER_MOST: u64 = 64 << 20;

/// By how much more is read while a header is not whole: those of many frames are few, and have up to millions.
const FARTHER: u64 = 4;

/// Reason of meta information that is damaged, or goes on.
const BAD_META: &str = "bad_meta";

/// A DICOM object in memory.
#[derive(Debug, Clone)]
pub struct Object {
    /// UID of the transfer syntax.
    pub transfer_syntax: String,
    /// Whether native pixels are big endian.
    pub is_big_endian: bool,
    /// Elements up to the pixel data.
    pub header: DataSet,
    /// Its pixels.
    pub pixels: PixelBytes,
}

/// Where the pixels of an object lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PixelBytes {
    /// No pixel data at all.
    None,
    /// Of all frames, one after another.
    Native {
        /// Whether they are Float or Double Float Pixel Data (7FE0,0008 and 0009).
        is_float: bool,
        /// Whether they are 16-bit words (OW), of which a big-endian object swaps the bytes.
        is_words: bool,
        /// The bytes that are there.
        bytes: Bytes,
        /// Bytes that the header promises.
        promised: u32,
    },
    /// Compressed, frame by frame.
    Encapsulated {
        /// Where each frame begins, counted from the first fragment's item header; empty where the table is.
        offsets: Vec<u64>,
        /// The fragments, with their positions counted alike.
        fragments: Vec<(u64, Bytes)>,
    },
}

/// What the beginning of an object tells.
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// UID of the transfer syntax.
    pub transfer_syntax: String,
    /// UID of the SOP class: the object's own, or else, as file sets have it, the meta information's.
    pub sop_class: String,
    /// Elements up to the pixel data, or up to where the beginning ends.
    pub header: DataSet,
    /// Whether the beginning reaches to the pixel data, or to the object's end.
    pub is_whole: bool,
    /// Whether pixel data follows.
    pub has_pixels: bool,
    /// Bytes that the whole object must have; `None` where only the object itself tells: compressed frames, deflated
    /// data sets.
    pub promised_bytes: Option<u64>,
}

impl Head {
    /// Reads the header of an object of `size` bytes from its first ones.
    ///
    /// # Errors
    /// No DICOM, a transfer syntax that is not known, or damage; not that the bytes end too early.
    pub fn read(beginning: &Bytes, size: u64) -> Result<Self, Fault> {
        let is_all = beginning.len() as u64 >= size;
        let Opened {
            syntax,
            uid,
            sop_class,
            bytes,
        } = match open(beginning, HEADER_MOST, true) {
            // meta information may go on, too
            Err(fault) if fault.reason == BAD_META && !is_all => return Ok(Self::default()),
            opened => opened?,
        };
        let (header, end) = data_set::read(&bytes, syntax)?;
        let is_deflated = uid == uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN;
        let promised_bytes = match end {
            End::Pixels {
                at,
                length: Some(length),
                ..
            } if !is_deflated => {
                let before = beginning.len() - bytes.len();
                Some((before + at) as u64 + u64::from(length))
            }
            _ => None,
        };
        let has_pixels = matches!(end, End::Pixels { .. });
        Ok(Self {
            transfer_syntax: uid,
            sop_class: header.text(tags::SOP_CLASS_UID).unwrap_or(sop_class),
            header,
            // a beginning that ends between two elements looks like all of an object without pixels
            is_whole: has_pixels || (end == End::Whole && is_all),
            has_pixels,
            promised_bytes,
        })
    }

    /// Returns how many bytes to read next, where the first `far` did not hold the header; `is_all` says that there are
    /// no more.
    ///
    /// # Errors
    /// There are no more, or the header is longer than any.
    pub fn farther(far: u64, is_all: bool) -> Result<u64, Fault> {
        if is_all {
            return Err(Fault::unreadable(
                "truncated",
                "expected a whole DICOM header, found one that ends in the midst of an element",
            ));
        }
        if far >= HEADER_MOST {
            let message = format!("expected a header of at most {HEADER_MOST} bytes, found a longer one");
            return Err(Fault::unsuitable("too_large", message));
        }
        Ok((far * FARTHER).min(HEADER_MOST))
    }

    /// Returns whether all behind the meta information is one deflate stream.
    pub fn is_deflated(&self) -> bool {
        self.transfer_syntax == uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
    }
}

impl Object {
    /// Reads a whole object; a deflated one may inflate to at most `max_bytes`.
    ///
    /// # Errors
    /// No DICOM, a transfer syntax that is not known, damage, or bytes that end too early.
    pub fn read(object: &Bytes, max_bytes: u64) -> Result<Self, Fault> {
        let Opened {
            syntax, uid, bytes, ..
        } = open(object, max_bytes, false)?;
        let (header, end) = data_set::read(&bytes, syntax)?;
        let pixels = match end {
            End::Whole => PixelBytes::None,
            End::Cut => {
                return Err(Fault::unreadable(
                    "truncated",
                    "expected a whole DICOM data set, found one that ends in the midst of an element",
                ));
            }
            End::Pixels {
                tag,
                vr,
                at,
                length: Some(promised),
            } => {
                let rest = bytes.slice(at.min(bytes.len())..);
                let there = rest.len().min(promised as usize);
                PixelBytes::Native {
                    is_float: tag != tags::PIXEL_DATA,
                    is_words: vr != VR::OB,
                    bytes: rest.slice(..there),
                    promised,
                }
            }
            End::Pixels { at, length: None, .. } => {
                let (offsets, fragments) = fragments(&bytes, at)?;
                let extended = extended_offsets(&header);
                PixelBytes::Encapsulated {
                    offsets: extended.unwrap_or(offsets),
                    fragments,
                }
            }
        };
        Ok(Self {
            transfer_syntax: uid,
            is_big_endian: syntax.endianness() == Endianness::Big,
            header,
            pixels,
        })
    }
}

/// An object behind its meta information.
struct Opened {
    syntax: &'static TransferSyntax,
    uid: String,
    sop_class: String,
    bytes: Bytes,
}

/// Opens an object; of a deflated one that holds more than `max_bytes`, the beginning where that is enough.
fn open(object: &Bytes, max_bytes: u64, is_head: bool) -> Result<Opened, Fault> {
    let magic = object.get(PREAMBLE - MAGIC.len()..PREAMBLE);
    if magic != Some(MAGIC) {
        return Err(Fault::unreadable(
            "not_dicom",
            "expected the preamble of a DICOM file with DICM at byte 128, found none",
        ));
    }
    let Meta {
        syntax: uid,
        sop_class,
        begin,
    } = meta(object).ok_or_else(|| {
        Fault::unreadable(
            BAD_META,
            "expected DICOM file meta information with a transfer syntax, found damage or a part of it",
        )
    })?;
    let bytes = object.slice(begin..);
    if uid == uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN || uid == uids::DEFLATED_IMAGE_FRAME_COMPRESSION {
        let is_deflated = uid == uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN;
        let bytes = if is_deflated {
            inflate(&bytes, max_bytes, is_head)?
        } else {
            bytes
        };
        return Ok(Opened {
            syntax: explicit_little_endian(),
            uid,
            sop_class,
            bytes,
        });
    }
    let syntax = TransferSyntaxRegistry.get(&uid).ok_or_else(|| {
        Fault::unsuitable(
            "transfer_syntax",
            "expected a transfer syntax of the standard, found the UID of none that is known",
        )
    })?;
    Ok(Opened {
        syntax,
        uid,
        sop_class,
        bytes,
    })
}

/// What the file meta information says.
struct Meta {
    syntax: String,
    sop_class: String,
    /// Where the data set behind it begins.
    begin: usize,
}

/// Reads the file meta information (PS3.10 section 7.1). Elements of group 2 are walked one by one: writers forget the group's length, or get it wrong.
fn meta(object: &[u8]) -> Option<Meta> {
    let mut at = PREAMBLE;
    let (mut syntax, mut sop_class) = (None, None);
    while object.get(at..)?.starts_with(&[0x02, 0x00]) {
        let header: &[u8; 8] = object.get(at..)?.first_chunk()?;
        let long = matches!(
            &header[4..6],
            b"OB" | b"OW" | b"UN" | b"UT" | b"SQ" | b"OF" | b"OD" | b"OL" | b"UC" | b"UR"
        );
        let (length, begin) = if long {
            let length = object.get(at + 8..)?.first_chunk::<4>()?;
            (u32::from_le_bytes(*length) as usize, at + 12)
        } else {
            (usize::from(u16::from_le_bytes([header[6], header[7]])), at + 8)
        };
        let end = begin.checked_add(length)?;
        let value = object.get(begin..end)?;
        let text = || {
            Some(
                std::str::from_utf8(value)
                    .ok()?
                    .trim_end_matches(['\0', ' '])
                    .to_owned(),
            )
        };
        match [header[2], header[3]] {
            [0x10, 0x00] => syntax = Some(text()?),
            [0x02, 0x00] => sop_class = text(),
            _ => {}
        }
        at = end;
    }
    Some(Meta {
        syntax: syntax?,
        sop_class: sop_class.unwrap_or_default(),
        begin: at,
    })
}

fn explicit_little_endian() -> &'static TransferSyntax {
    static SYNTAX: std::sync::OnceLock<TransferSyntax> = std::sync::OnceLock::new();
    SYNTAX.get_or_init(|| entries::EXPLICIT_VR_LITTLE_ENDIAN.erased())
}

/// Unpacks a deflated data set (PS3.5 section A.5); what is cut stays cut.
fn inflate(bytes: &[u8], max_bytes: u64, is_head: bool) -> Result<Bytes, Fault> {
    let mut plain = Vec::new();
    let mut inflating = DeflateDecoder::new(bytes).take(max_bytes.saturating_add(1));
    // damage shows as an end: what comes behind is missing, and the data set says so
    let _ = inflating.read_to_end(&mut plain);
    if plain.len() as u64 > max_bytes && !is_head {
        let message = format!("expected a deflated data set of at most {max_bytes} bytes, found more");
        return Err(Fault::unsuitable("too_large", message));
    }
    Ok(plain.into())
}

/// An offset table, and fragments with where they lie.
type Fragments = (Vec<u64>, Vec<(u64, Bytes)>);

/// Reads the items of encapsulated pixel data (PS3.5 section A.4), which are little endian always.
fn fragments(bytes: &Bytes, mut at: usize) -> Result<Fragments, Fault> {
    const ITEM: [u8; 4] = [0xfe, 0xff, 0x00, 0xe0];
    const END: [u8; 4] = [0xfe, 0xff, 0xdd, 0xe0];
    let cut = || {
        Fault::unreadable(
            "truncated",
            "expected fragments of pixel data up to their delimiter, found an end in the midst of them",
        )
    };
    let mut offsets: Option<Vec<u64>> = None;
    let mut found = Vec::new();
    let mut begin = 0;
    loop {
        let header: &[u8; 8] = bytes.get(at..).and_then(<[u8]>::first_chunk).ok_or_else(cut)?;
        let [a, b, c, d, length @ ..] = *header;
        let length = u32::from_le_bytes(length) as usize;
        at += header.len();
        match [a, b, c, d] {
            END => return Ok((offsets.unwrap_or_default(), found)),
            ITEM => {}
            _ => {
                return Err(Fault::unreadable(
                    "bad_fragments",
                    "expected an item of encapsulated pixel data, found another tag",
                ));
            }
        }
        let end = at
            .checked_add(length)
            .filter(|end| *end <= bytes.len())
            .ok_or_else(cut)?;
        let value = bytes.slice(at..end);
        if offsets.is_none() {
            let entries = value.chunks_exact(4).filter_map(<[u8]>::first_chunk::<4>);
            offsets = Some(
                entries
                    .map(|entry| u64::from(u32::from_le_bytes(*entry)))
                    .collect(),
            );
            begin = end;
        } else {
            found.push(((at - 8 - begin) as u64, value));
        }
        at = end;
    }
}

/// Returns the Extended Offset Table (7FE0,0001), for pixel data that four bytes cannot count.
fn extended_offsets(header: &DataSet) -> Option<Vec<u64>> {
    let data_set::Element::Value(_, value) = header.get(tags::EXTENDED_OFFSET_TABLE)? else {
        return None;
    };
    let bytes = value.to_bytes();
    let entries = bytes.chunks_exact(8).filter_map(<[u8]>::first_chunk::<8>);
    Some(entries.map(|entry| u64::from_le_bytes(*entry)).collect())
}
