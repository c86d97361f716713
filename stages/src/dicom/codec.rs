//! Codecs of compressed frames: RLE, JPEG, JPEG-LS, JPEG 2000 and deflate, all in safe Rust.
//!
//! Each is told the size that the header promises, and anything else that it finds is a fault.

use std::fmt::Display;
use std::io::Read as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use dicom_dictionary_std::uids;
use flate2::bufread::DeflateDecoder;
use hayro_jpeg2000::{DecodeSettings, DecoderContext, Image};
use jpeg_decoder::{ColorTransform, PixelFormat};
use schemas::Fault;

use super::pixels::Layout;

/// What a codec gives.
pub(super) enum Coded {
    /// Stored samples, of which the layout says what bits count.
    Samples(Vec<u32>),
    /// Values that need no more reading.
    Values(Vec<i32>),
    /// Bytes as they would stand in a native object, little endian.
    Native(Vec<u8>),
}

/// Decodes one frame.
///
/// # Errors
/// A transfer syntax that is not read, damage, or a frame of another size than the header's.
pub(super) fn decode(transfer_syntax: &str, coded: &Bytes, layout: &Layout) -> Result<Coded, Fault> {
    match transfer_syntax {
        uids::RLE_LOSSLESS => guarded("RLE", || rle(coded, layout)),
        uids::JPEG_BASELINE8_BIT
        | uids::JPEG_EXTENDED12_BIT
        | uids::JPEG_LOSSLESS
        | uids::JPEG_LOSSLESS_SV1 => guarded("JPEG", || jpeg(coded, layout)),
        uids::JPEGLS_LOSSLESS | uids::JPEGLS_NEAR_LOSSLESS => guarded("JPEG-LS", || jpeg_ls(coded, layout)),
        uids::JPEG2000_LOSSLESS | uids::JPEG2000 => guarded("JPEG 2000", || jpeg_2000(coded, layout)),
        uids::DEFLATED_IMAGE_FRAME_COMPRESSION => deflated(coded, layout),
        _ => Err(Fault::unsuitable(
            "transfer_syntax",
            "expected frames that are native, RLE, JPEG, JPEG-LS, JPEG 2000 or deflated, found another transfer syntax",
        )),
    }
}

/// Does what a codec does on bytes from outside: a panic of it is no mistake of ours.
fn guarded(name: &'static str, work: impl FnOnce() -> Result<Coded, Fault>) -> Result<Coded, Fault> {
    // what was at work is not used again
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(damaged(name, "what its decoder cannot follow")))
}

fn damaged(name: &str, found: impl Display) -> Fault {
    Fault::unreadable(
        "bad_frame",
        format!("expected a sound {name} frame, found {found}"),
    )
}

fn other_size(name: &str, layout: &Layout, rows: usize, columns: usize) -> Fault {
    let message = format!(
        "expected a {name} frame of {} × {} as the header says, found {rows} × {columns}",
        layout.rows, layout.columns
    );
    Fault::unreadable("frame_size", message)
}

/// RLE (PS3.5 Annex G): a segment a byte of a sample, the most significant first.
fn rle(coded: &[u8], layout: &Layout) -> Result<Coded, Fault> {
    const HEADER: usize = 64;
    let damaged = |found: &str| damaged("RLE", found);
    let header = coded
        .get(..HEADER)
        .ok_or_else(|| damaged("less than its header"))?;
    let numbers: Vec<usize> = header
        .chunks_exact(4)
        .filter_map(<[u8]>::first_chunk::<4>)
        .map(|four| u32::from_le_bytes(*four) as usize)
        .collect();
    let (count, offsets) = (numbers[0], &numbers[1..]);
    let bytes = (layout.bits_allocated / 8) as usize;
    if bytes == 0 || count != layout.samples * bytes {
        let message = format!("{count} segments for {} samples of {bytes} bytes", layout.samples);
        return Err(damaged(&message));
    }
    let pixels = layout.rows * layout.columns;
    let mut samples = vec![0_u32; pixels * layout.samples];
    for segment in 0..count {
        let from = offsets[segment];
        let to = if segment + 1 < count {
            offsets[segment + 1]
        } else {
            coded.len()
        };
        let packed = coded.get(from..to).filter(|_| from >= HEADER);
        let packed = packed.ok_or_else(|| damaged("segments that lie outside of it"))?;
        let plain = unpack_bits(packed, pixels).ok_or_else(|| damaged("a segment that ends too early"))?;
        let sample = segment / bytes;
        let shift = 8 * (bytes - 1 - segment % bytes);
        for (pixel, byte) in plain.into_iter().enumerate() {
            samples[pixel * layout.samples + sample] |= u32::from(byte) << shift;
        }
    }
    Ok(Coded::Samples(samples))
}

/// Unpacks exactly `count` bytes (PackBits; PS3.5 section G.3.2); what follows them is padding.
fn unpack_bits(packed: &[u8], count: usize) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(count);
    let mut rest = packed;
    while plain.len() < count {
        let (head, behind) = rest.split_first()?;
        let room = count - plain.len();
        match *head as i8 {
            length @ 0.. => {
                let length = length as usize + 1;
                let literal = behind.get(..length.min(room).min(behind.len()))?;
                if literal.len() < length.min(room) {
                    return None;
                }
                plain.extend_from_slice(literal);
                rest = behind.get(length..).unwrap_or_default();
            }
            -128 => rest = behind,
            length => {
                let (value, behind) = behind.split_first()?;
                let length = (1 - isize::from(length)) as usize;
                plain.extend(std::iter::repeat_n(*value, length.min(room)));
                rest = behind;
            }
        }
    }
    Some(plain)
}

fn jpeg(coded: &[u8], layout: &Layout) -> Result<Coded, Fault> {
    let unread = |error: jpeg_decoder::Error| match error {
        jpeg_decoder::Error::Unsupported(feature) => Fault::unsuitable(
            "jpeg_feature",
            format!(
                "expected JPEG of 8 bits, or lossless, found {}",
                feature_of(&feature)
            ),
        ),
        _ => damaged("JPEG", "damage"),
    };
    let mut decoder = jpeg_decoder::Decoder::new(coded);
    // samples stay as they were stored
    decoder.set_color_transform(ColorTransform::None);
    decoder.set_max_decoding_buffer_size(layout.frame_samples().saturating_mul(8));
    decoder.read_info().map_err(unread)?;
    let info = decoder.info().ok_or_else(|| damaged("JPEG", "no frame in it"))?;
    let (rows, columns) = (usize::from(info.height), usize::from(info.width));
    if (rows, columns) != (layout.rows, layout.columns) {
        return Err(other_size("JPEG", layout, rows, columns));
    }
    let pixels = decoder.decode().map_err(unread)?;
    let samples: Vec<u32> = match info.pixel_format {
        PixelFormat::L8 if layout.samples == 1 => pixels.into_iter().map(u32::from).collect(),
        PixelFormat::L16 if layout.samples == 1 => {
            let words = pixels.chunks_exact(2).filter_map(<[u8]>::first_chunk::<2>);
            words.map(|two| u32::from(u16::from_ne_bytes(*two))).collect()
        }
        _ => return Err(colour()),
    };
    check_depth("JPEG", &samples, layout)?;
    Ok(Coded::Samples(samples))
}

fn feature_of(feature: &jpeg_decoder::UnsupportedFeature) -> String {
    use jpeg_decoder::UnsupportedFeature;
    match feature {
        UnsupportedFeature::SamplePrecision(bits) => format!("{bits} bits of lossy JPEG"),
        _ => "another kind".to_owned(),
    }
}

fn colour() -> Fault {
    Fault::unsuitable(
        "colour",
        "expected a compressed frame of grey levels, found colours",
    )
}

/// Compressed samples that need more bits than the header allows would lose some of them.
fn check_depth(name: &str, samples: &[u32], layout: &Layout) -> Result<(), Fault> {
    let most = samples.iter().copied().max().unwrap_or(0);
    if u64::from(most) >> (layout.high_bit + 1) != 0 {
        let found = format!(
            "a sample of {most} where the header has {} bits",
            layout.high_bit + 1
        );
        return Err(damaged(name, found));
    }
    Ok(())
}

fn jpeg_ls(coded: &[u8], layout: &Layout) -> Result<Coded, Fault> {
    if layout.samples != 1 {
        return Err(colour());
    }
    let (width, height) = (layout.columns as u32, layout.rows as u32);
    let (samples, found_width, found_height) =
        jpegls::decode(coded, width, height).map_err(|error| match error {
            jpegls::CodecError::Unsupported(_) => Fault::unsuitable(
                "jpeg_ls_feature",
                "expected JPEG-LS of one component without restarts, found another",
            ),
            _ => damaged("JPEG-LS", "damage, or another size than the header's"),
        })?;
    if (found_width, found_height) != (width, height) {
        return Err(other_size(
            "JPEG-LS",
            layout,
            found_height as usize,
            found_width as usize,
        ));
    }
    let samples: Vec<u32> = samples.into_iter().map(u32::from).collect();
    check_depth("JPEG-LS", &samples, layout)?;
    Ok(Coded::Samples(samples))
}

fn jpeg_2000(coded: &[u8], layout: &Layout) -> Result<Coded, Fault> {
    let size = Siz::read(coded).ok_or_else(|| damaged("JPEG 2000", "no codestream with its size first"))?;
    if size.components != 1 || layout.samples != 1 {
        return Err(colour());
    }
    if (size.rows, size.columns) != (layout.rows as u64, layout.columns as u64) {
        return Err(other_size(
            "JPEG 2000",
            layout,
            size.rows as usize,
            size.columns as usize,
        ));
    }
    if size.is_signed != layout.is_signed {
        let name = |is_signed| if is_signed { "signed" } else { "unsigned" };
        let message = format!(
            "expected {} values as the header says, found a JPEG 2000 codestream of {} ones",
            name(layout.is_signed),
            name(size.is_signed)
        );
        return Err(Fault::unreadable("signedness", message));
    }
    if size.precision > layout.bits_allocated {
        let found = format!(
            "{} bits where the header allocates {}",
            size.precision, layout.bits_allocated
        );
        return Err(damaged("JPEG 2000", found));
    }
    let settings = DecodeSettings {
        strict: true,
        ..DecodeSettings::default()
    };
    let image = Image::new(coded, &settings).map_err(|_| damaged("JPEG 2000", "damage in its headers"))?;
    let mut context = DecoderContext::default();
    let decoded = image
        .decode(&mut context)
        .map_err(|_| damaged("JPEG 2000", "damage"))?;
    let [component] = decoded.components() else {
        return Err(colour());
    };
    // the decoder lifts signed values, too, to begin at 0 (ISO/IEC 15444-1 section G.1.2)
    let lift = if size.is_signed {
        1_i64 << (size.precision - 1)
    } else {
        0
    };
    let (low, high) = if size.is_signed {
        (
            -(1_i64 << (size.precision - 1)),
            (1_i64 << (size.precision - 1)) - 1,
        )
    } else {
        (0, (1_i64 << size.precision) - 1)
    };
    // lossy waves overshoot; lossless ones do not
    let value = |sample: &f32| (sample.round() as i64 - lift).clamp(low, high) as i32;
    Ok(Coded::Values(component.samples().iter().map(value).collect()))
}

/// The SIZ marker of a codestream (ISO/IEC 15444-1 section A.5.1).
struct Siz {
    rows: u64,
    columns: u64,
    components: u16,
    precision: u32,
    is_signed: bool,
}

impl Siz {
    fn read(coded: &[u8]) -> Option<Self> {
        let body = coded.strip_prefix(&[0xff, 0x4f, 0xff, 0x51])?;
        let long = |at: usize| {
            body.get(at..)?
                .first_chunk::<4>()
                .map(|four| u32::from_be_bytes(*four))
        };
        let (width, height) = (long(4)?, long(8)?);
        let (left, top) = (long(12)?, long(16)?);
        let components = u16::from_be_bytes(*body.get(36..)?.first_chunk()?);
        let depth = *body.get(38)?;
        let precision = u32::from(depth & 0x7f) + 1;
        let steps = (*body.get(39)?, *body.get(40)?);
        (precision <= 16 && steps == (1, 1)).then_some(())?;
        Some(Self {
            rows: u64::from(height.checked_sub(top)?),
            columns: u64::from(width.checked_sub(left)?),
            components,
            precision,
            is_signed: depth & 0x80 != 0,
        })
    }
}

/// Deflated Image Frame Compression (PS3.5 section A.4.14): each frame a deflate stream of its native bytes.
fn deflated(coded: &[u8], layout: &Layout) -> Result<Coded, Fault> {
    let needed = (layout.frame_samples() as u64 * u64::from(layout.bits_allocated)).div_ceil(8);
    let mut plain = Vec::new();
    DeflateDecoder::new(coded)
        .take(needed + 2)
        .read_to_end(&mut plain)
        .map_err(|_| damaged("deflated", "damage"))?;
    Ok(Coded::Native(plain))
}
