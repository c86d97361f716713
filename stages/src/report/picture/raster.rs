//! A small raster and its PNG as a URL that needs no file.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use png::{BitDepth, ColorType, Compression, Encoder, Filter};

/// Rows of pixels from the upper left on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Raster {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) pixels: Pixels,
}

/// What the bytes of a pixel mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pixels {
    /// One byte: an entry of the palette.
    Indexed {
        /// Entry per pixel.
        indices: Vec<u8>,
        /// Red, green, blue per entry.
        palette: &'static [[u8; 3]],
    },
    /// Two bytes: grey and how much of it covers the paper.
    GreyAlpha(Vec<u8>),
}

impl Raster {
    /// Returns the picture as `data:image/png;base64,…`, the same bytes for the same pixels.
    pub(super) fn data_url(&self) -> String {
        let png = self.png().expect("a raster of its own size packs in memory");
        format!("data:image/png;base64,{}", STANDARD.encode(png))
    }

    /// No time, no text and no gamma is written.
    fn png(&self) -> Result<Vec<u8>, png::EncodingError> {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, self.width as u32, self.height as u32);
        encoder.set_depth(BitDepth::Eight);
        encoder.set_compression(Compression::High);
        let data = match &self.pixels {
            Pixels::Indexed { indices, palette } => {
                encoder.set_color(ColorType::Indexed);
                encoder.set_palette(palette.as_flattened());
                encoder.set_filter(Filter::NoFilter);
                indices
            }
            Pixels::GreyAlpha(values) => {
                encoder.set_color(ColorType::GrayscaleAlpha);
                encoder.set_filter(Filter::Adaptive);
                values
            }
        };
        encoder.write_header()?.write_image_data(data)?;
        Ok(bytes)
    }
}
