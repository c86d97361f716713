//! Stored values of an object's frames: whole numbers, exactly as the scanner wrote them.
//!
//! dicom-rs's converters keep padding, swap halves of big-endian words and leave bits packed; frames are read here, and
//! only the compressed ones go to a codec.

use bytes::Bytes;
use dicom_dictionary_std::{tags, uids};
use schemas::Fault;

use super::codec::{self, Coded};
use super::data_set::DataSet;
use super::object::{Object, PixelBytes};

/// How pixels are stored (PS3.3 section C.7.6.3, PS3.5 section 8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Rows of a frame.
    pub rows: usize,
    /// Columns of a frame.
    pub columns: usize,
    /// Frames of the object.
    pub frames: usize,
    /// Samples of a pixel: 1, or 3 for colours.
    pub samples: usize,
    /// Whether native colours lie plane by plane.
    pub is_planar: bool,
    /// Bits that a sample takes: 1, 8, 16 or 32.
    pub bits_allocated: u32,
    /// Bits of them that count.
    pub bits_stored: u32,
    /// Highest bit that counts.
    pub high_bit: u32,
    /// Whether values are two's complement.
    pub is_signed: bool,
}

impl Layout {
    /// Reads the layout from a header.
    ///
    /// # Errors
    /// Attributes that are missing or contradict each other.
    pub fn of(header: &DataSet) -> Result<Self, Fault> {
        let number = |tag, name: &str| {
            let found = header.whole(tag).and_then(|number| u32::try_from(number).ok());
            found.ok_or_else(|| malformed(format!("expected {name}, found none")))
        };
        let rows = number(tags::ROWS, "Rows")? as usize;
        let columns = number(tags::COLUMNS, "Columns")? as usize;
        let frames = header.whole(tags::NUMBER_OF_FRAMES).unwrap_or(1);
        let frames = usize::try_from(frames).unwrap_or_default();
        let samples = header.whole(tags::SAMPLES_PER_PIXEL).unwrap_or(1);
        let most = usize::from(u16::MAX);
        if !(1..=most).contains(&rows) || !(1..=most).contains(&columns) || frames == 0 {
            return Err(malformed(format!(
                "expected frames with pixels, found {frames} of {rows} × {columns}"
            )));
        }
        if samples != 1 && samples != 3 {
            return Err(Fault::unsuitable(
                "samples_per_pixel",
                format!("expected 1 or 3 samples a pixel, found {samples}"),
            ));
        }
        let bits_allocated = number(tags::BITS_ALLOCATED, "Bits Allocated")?;
        if !matches!(bits_allocated, 1 | 8 | 16 | 32) {
            return Err(Fault::unsuitable(
                "bits_allocated",
                format!("expected 1, 8, 16 or 32 bits allocated, found {bits_allocated}"),
            ));
        }
        let bits_stored = number(tags::BITS_STORED, "Bits Stored")?;
        let high_bit = number(tags::HIGH_BIT, "High Bit")?;
        // the lowest bit counts always (PS3.5 section 8.1.1): what says otherwise would shift every value
        if bits_stored == 0 || bits_stored > bits_allocated || high_bit + 1 != bits_stored {
            return Err(malformed(format!(
                "expected the lowest of the bits allocated to be stored, found {bits_stored} up to bit {high_bit} of {bits_allocated}"
            )));
        }
        Ok(Self {
            rows,
            columns,
            frames,
            samples: samples as usize,
            is_planar: samples == 3 && header.whole(tags::PLANAR_CONFIGURATION) == Some(1),
            bits_allocated,
            bits_stored,
            high_bit,
            is_signed: number(tags::PIXEL_REPRESENTATION, "Pixel Representation")? == 1,
        })
    }

    /// Returns the samples of a frame.
    pub fn frame_samples(&self) -> usize {
        self.rows * self.columns * self.samples
    }

    /// Returns the type of the stored values, as NumPy names it.
    pub fn dtype(&self) -> &'static str {
        match (self.bits_allocated, self.is_signed) {
            (1 | 8, false) => "uint8",
            (1 | 8, true) => "int8",
            (16, false) => "uint16",
            (16, true) => "int16",
            (_, false) => "uint32",
            (_, true) => "int32",
        }
    }

    /// Bits of all frames; frames of single bits follow one another without a gap (PS3.5 section 8.1.1).
    fn bits(&self) -> Option<u64> {
        let samples = (self.frame_samples() as u64).checked_mul(self.frames as u64)?;
        samples.checked_mul(u64::from(self.bits_allocated))
    }

    /// Returns the value that the bits of a stored sample stand for; bits beside them may hold an overlay.
    fn value(&self, raw: u32) -> Option<i32> {
        let unused = self.high_bit + 1 - self.bits_stored;
        let free = 32 - self.bits_stored;
        let bits = (raw >> unused) << free;
        if self.is_signed {
            return Some((bits as i32) >> free);
        }
        i32::try_from(bits >> free).ok()
    }
}

fn malformed(message: String) -> Fault {
    Fault::unreadable("bad_pixel_layout", message)
}

/// The frames of an object.
#[derive(Debug, Clone)]
pub struct Frames<'a> {
    /// How they are stored.
    pub layout: Layout,
    object: &'a Object,
}

impl<'a> Frames<'a> {
    /// Looks at the pixels of an object, of which a frame may take `max_bytes`, unpacked.
    ///
    /// # Errors
    /// Frames too large, no pixels, floating point, fewer bytes than the layout needs or far more, fragments that no table shares out.
    pub fn of(object: &'a Object, max_bytes: u64) -> Result<Self, Fault> {
        let layout = Layout::of(&object.header)?;
        // a frame as the codec holds it, and as values
        let needed = (layout.frame_samples() as u64).saturating_mul(8);
        if needed > max_bytes {
            let message =
                format!("expected frames of at most {max_bytes} bytes, the header announces {needed}");
            return Err(Fault::unsuitable("too_large", message));
        }
        match &object.pixels {
            PixelBytes::None => {
                return Err(Fault::unsuitable(
                    "no_pixels",
                    "expected pixel data, found an object without",
                ));
            }
            PixelBytes::Native { is_float: true, .. } => {
                return Err(Fault::unsuitable(
                    "float_pixels",
                    "expected pixel data of whole numbers, found floating point",
                ));
            }
            PixelBytes::Native { bytes, promised, .. } => check_length(&layout, bytes.len(), *promised)?,
            PixelBytes::Encapsulated { offsets, fragments } => {
                let count = fragments.len();
                // several offsets are several frames, and RLE has one fragment a frame
                let is_one = layout.frames == 1
                    && offsets.len() <= 1
                    && (count == 1 || object.transfer_syntax != uids::RLE_LOSSLESS);
                let is_one_each = count == layout.frames || (is_one && count > 0);
                if !offsets.is_sorted() || offsets.first().is_some_and(|first| *first != 0) {
                    let message = "expected offsets of frames from 0 on in ascending order, found others";
                    return Err(Fault::unreadable("fragments_and_frames", message));
                }
                if !is_one_each && offsets.len() != layout.frames {
                    let message = format!(
                        "expected a fragment or an offset for each of {} frames, found {count} fragments and {} offsets",
                        layout.frames,
                        offsets.len()
                    );
                    return Err(Fault::unreadable("fragments_and_frames", message));
                }
            }
        }
        Ok(Self { layout, object })
    }

    /// Returns the stored values of a frame, counted from 0: row by row, the samples of a pixel together.
    ///
    /// # Errors
    /// What the codec makes of damage; a transfer syntax that is not read; values that an `i32` does not hold.
    pub fn frame(&self, frame: usize) -> Result<Vec<i32>, Fault> {
        let layout = &self.layout;
        let values = match &self.object.pixels {
            PixelBytes::None => None,
            PixelBytes::Native { bytes, is_words, .. } => {
                let is_swapped = self.object.is_big_endian && *is_words;
                native(layout, bytes, frame, self.object.is_big_endian, is_swapped)
            }
            PixelBytes::Encapsulated { .. } => {
                let coded = self.coded(frame)?;
                match codec::decode(&self.object.transfer_syntax, &coded, layout)? {
                    Coded::Samples(samples) => samples.into_iter().map(|raw| layout.value(raw)).collect(),
                    Coded::Values(values) => Some(values),
                    Coded::Native(bytes) => {
                        let alone = Layout {
                            frames: 1,
                            ..layout.clone()
                        };
                        check_length(&alone, bytes.len(), u32::MAX)?;
                        native(&alone, &bytes, 0, false, false)
                    }
                }
            }
        };
        values
            .filter(|values| values.len() == layout.frame_samples())
            .ok_or_else(|| {
                Fault::unsuitable(
                    "value_out_of_range",
                    "expected stored values of at most 31 bits, found one of 32",
                )
            })
    }

    /// Returns the compressed bytes of a frame.
    fn coded(&self, frame: usize) -> Result<Bytes, Fault> {
        let PixelBytes::Encapsulated { offsets, fragments } = &self.object.pixels else {
            return Err(Fault::bug(
                "fragments",
                "expected encapsulated pixels, got native ones",
            ));
        };
        let of_frame: Vec<&Bytes> = if self.layout.frames == 1 {
            fragments.iter().map(|(_, bytes)| bytes).collect()
        } else if fragments.len() == self.layout.frames {
            fragments.get(frame).map(|(_, bytes)| bytes).into_iter().collect()
        } else {
            let from = offsets.get(frame).copied().unwrap_or(u64::MAX);
            let to = offsets.get(frame + 1).copied().unwrap_or(u64::MAX);
            // positions ascend
            let begin = fragments.partition_point(|(at, _)| *at < from);
            let end = fragments.partition_point(|(at, _)| *at < to);
            let within = fragments.get(begin..end).unwrap_or_default();
            within.iter().map(|(_, bytes)| bytes).collect()
        };
        match of_frame.as_slice() {
            [] => Err(Fault::unreadable(
                "fragments_and_frames",
                format!("expected fragments of frame {}, found none", frame + 1),
            )),
            [one] => Ok((*one).clone()),
            several => Ok(several.iter().flat_map(|bytes| bytes.iter().copied()).collect()),
        }
    }
}

/// Checks that as many frames are described as there are: a number that is lost or wrong would leave slices out.
///
/// # Errors
/// `bad_pixel_layout`.
pub fn check_described(header: &DataSet, layout: &Layout) -> Result<(), Fault> {
    let described = header.items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).len();
    if described > 0 && described != layout.frames {
        let frames = layout.frames;
        return Err(malformed(format!(
            "expected as many frames as are described, found {frames} and {described}"
        )));
    }
    Ok(())
}

/// Holds the bytes that are there against those that the layout needs. A row more than that is no padding: the header
/// would speak of another image.
fn check_length(layout: &Layout, found: usize, promised: u32) -> Result<(), Fault> {
    let too_many = || malformed("expected a number of pixels that can be counted, found more".to_owned());
    let needed = layout.bits().ok_or_else(too_many)?.div_ceil(8);
    let row = (layout.columns * layout.samples) as u64 * u64::from(layout.bits_allocated);
    if (found as u64) < needed {
        let message = format!(
            "expected {needed} bytes of pixels for {} frames of {} × {}, found {found}",
            layout.frames, layout.rows, layout.columns
        );
        return Err(Fault::unreadable("truncated", message));
    }
    let given = if promised == u32::MAX {
        found as u64
    } else {
        u64::from(promised)
    };
    if given >= needed + row.div_ceil(8).max(2) {
        let message = format!(
            "expected {needed} bytes of pixels for {} frames of {} × {}, found {given}",
            layout.frames, layout.rows, layout.columns
        );
        return Err(Fault::unreadable("bad_pixel_layout", message));
    }
    Ok(())
}

/// Returns a frame's values, `None` if one is too large.
fn native(layout: &Layout, bytes: &[u8], frame: usize, is_big: bool, is_swapped: bool) -> Option<Vec<i32>> {
    let count = layout.frame_samples();
    let from = frame.checked_mul(count)?;
    let raw = |index: usize| -> Option<u32> {
        let index = from + index;
        match layout.bits_allocated {
            1 => {
                let byte = index / 8;
                let byte = bytes.get(if is_swapped { byte ^ 1 } else { byte })?;
                Some(u32::from(byte >> (index % 8)) & 1)
            }
            8 => Some(u32::from(*bytes.get(if is_swapped {
                index ^ 1
            } else {
                index
            })?)),
            16 => {
                let two: [u8; 2] = *bytes.get(2 * index..)?.first_chunk()?;
                Some(u32::from(if is_big {
                    u16::from_be_bytes(two)
                } else {
                    u16::from_le_bytes(two)
                }))
            }
            _ => {
                let four: [u8; 4] = *bytes.get(4 * index..)?.first_chunk()?;
                Some(if is_big {
                    u32::from_be_bytes(four)
                } else {
                    u32::from_le_bytes(four)
                })
            }
        }
    };
    let pixels = layout.rows * layout.columns;
    let place = |index: usize| {
        if layout.is_planar {
            index % layout.samples * pixels + index / layout.samples
        } else {
            index
        }
    };
    (0..count).map(|index| layout.value(raw(place(index))?)).collect()
}
