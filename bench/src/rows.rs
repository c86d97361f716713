//! From rows to one Parquet file: 10 000 vertebrae, as a part of two thousand cases has them.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use models::seed::generator;
use rand::RngExt as _;
use schemas::rows::VertebraRow;
use schemas::vertebra::LATENT_LENGTH;
use schemas::{Level, ModelIdentity, Scores};
use stages::tables::encode;

use crate::measure::Sheet;

const ROWS: usize = 10_000;

/// The same rows, for the peer.
const FILE: &str = "vertebrae.parquet";

/// Writes the rows, for the peer to read and write again.
///
/// # Errors
/// Arrow's or Parquet's, or the folder takes no file.
pub fn make(folder: &Path, seed: u64) -> Result<()> {
    fs::write(folder.join(FILE), encode(&rows(seed))?)?;
    Ok(())
}

/// Encodes the rows.
///
/// # Errors
/// Arrow's or Parquet's.
pub fn measure(seed: u64, sheet: &mut Sheet) -> Result<()> {
    let rows = rows(seed);
    let bytes = sheet.measure("parquet", || Ok(encode(&rows)?))?;
    sheet.number("rows", rows.len() as f64);
    let sum = |value: &dyn Fn(&VertebraRow) -> f64| rows.iter().map(value).sum();
    sheet.number("seconds_in_model", sum(&|row| row.reconstruct_ms));
    sheet.number("centre_x_mm", sum(&|row| row.centre_mm[0]));
    let latents = |row: &VertebraRow| row.latent.iter().flatten().map(|entry| f64::from(*entry)).sum();
    sheet.number("latent", sum(&latents));
    sheet.number("bytes", bytes.len() as f64);
    Ok(())
}

/// Returns rows with every column filled but those of faults, registration and samples, which most runs leave empty.
fn rows(seed: u64) -> Vec<VertebraRow> {
    let mut random = generator(seed);
    let mut between = |from: f64, to: f64| random.random_range(from..to);
    let model = Arc::new(ModelIdentity {
        chain: vec!["lsd_ebm".to_owned()],
        model_version: "compact-2".to_owned(),
        weights_sha256: "0123456789abcdef".repeat(4),
        steps: 1,
        sampler: Some("trained"),
        samples: 1,
        mirror: false,
        precision: Some("f32"),
    });
    let mut rows = Vec::with_capacity(ROWS);
    for number in 0..ROWS {
        let (case, index) = (number / 5, number % 5);
        let level = Level::ALL[index];
        let mut scores = || -> Scores { std::array::from_fn(|_| Some(between(0.0, 1.0))) };
        let (input, recon) = (scores(), scores());
        let centre_mm = [0; 3].map(|_| between(-200.0, 200.0));
        let mut affine = [0.0; 16];
        for (axis, centre) in centre_mm.into_iter().enumerate() {
            affine[5 * axis] = 1.0;
            affine[4 * axis + 3] = centre - 63.5;
        }
        affine[15] = 1.0;
        let volume_mm3 = between(40_000.0, 80_000.0);
        rows.push(VertebraRow {
            case_id: format!("case-{case:06}"),
            person: format!("person-{:06}", case / 2),
            attempt: 1,
            level: level.as_str(),
            label: 20 + index as u32,
            status: "done",
            kind: None,
            reason: None,
            message: None,
            model: Arc::clone(&model),
            seed: between(0.0, 1e18) as u64,
            centre_mm,
            affine,
            source_spacing_mm: [0.7, 0.7, 4.0],
            source_volume_mm3: volume_mm3,
            input_volume_mm3: volume_mm3.round(),
            recon_volume_mm3: Some((1.3 * volume_mm3).round()),
            reference_volume_mm3: Some((1.4 * volume_mm3).round()),
            flags: if number % 7 == 0 {
                vec!["fragments"]
            } else {
                Vec::new()
            },
            input: Some(input),
            recon: Some(recon),
            registered: None,
            spread: None,
            latent: Some((0..LATENT_LENGTH).map(|_| between(-3.0, 3.0) as f32).collect()),
            reconstruct_ms: between(100.0, 900.0),
            batch: 5,
        });
    }
    rows
}
