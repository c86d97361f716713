//! What a report is made of: charts and pictures as SVG that stands alone, with no script, font or file beside it.

pub mod chart;
pub mod picture;
mod svg;
