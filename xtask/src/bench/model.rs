//! LSD-EBM per vertebra beside a plain PyTorch program with the same weights: part by part, one by one, together.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use serde::Serialize;

use super::beside::{self, Beside, Line, Peaks};
use super::sheet::{Sheet, Sides};
use super::{Desk, WORK};
use crate::cache::Cache;
use crate::checkout::Checkout;
use crate::report;

/// Suites, one process each a side.
const SUITES: [(&str, &[Line]); 2] = [("networks", &super::micro::NETWORKS), ("model", &LINES)];

/// Weights of the paper's size, below the folder that benches work in: they stay there.
const WEIGHTS: &str = "weights";

/// What is compared. DSCs of 0.995 and more are masks that differ in a hundredth of their voxels or fewer.
const LINES: [Line; 9] = [
    Line {
        what: "paper, one by one",
        ours: "paper_1",
        peer: "authors_1",
        aim: Some(3.0),
        within: Some(1e-2),
    },
    Line {
        what: "paper, 300 steps, one by one",
        ours: "paper_k300_1",
        peer: "authors_1",
        aim: None,
        within: Some(1e-2),
    },
    Line {
        what: "paper, 16 together",
        ours: "paper_16",
        peer: "authors_1",
        aim: Some(4.0),
        within: None,
    },
    Line {
        what: "paper, one by one",
        ours: "paper_1",
        peer: "fast_1",
        aim: Some(1.0),
        within: Some(1e-2),
    },
    Line {
        what: "paper, 4 together",
        ours: "paper_4",
        peer: "fast_4",
        aim: Some(1.0),
        within: None,
    },
    Line {
        what: "paper, 16 together",
        ours: "paper_16",
        peer: "fast_16",
        aim: Some(1.0),
        within: None,
    },
    Line {
        what: "compact, one by one",
        ours: "compact_1",
        peer: "authors_1",
        aim: Some(40.0),
        within: None,
    },
    Line {
        what: "compact, 4 together",
        ours: "compact_4",
        peer: "authors_1",
        aim: Some(40.0),
        within: None,
    },
    Line {
        what: "compact, 16 together",
        ours: "compact_16",
        peer: "authors_1",
        aim: Some(40.0),
        within: None,
    },
];

/// Arguments of the bench.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Every random number follows from it.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Weights of the paper's size; else the bench makes some by hand, once.
    #[arg(long, value_name = "PATH")]
    weights: Option<PathBuf>,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Numbers {
    lines: Vec<Beside>,
    peaks: Vec<Peaks>,
    /// What the reconstructions are like.
    shapes: Vec<Shape>,
}

/// What the reconstructions of one program are like: mean DSCs of five phantoms.
#[derive(Debug, Serialize)]
struct Shape {
    name: String,
    by: String,
    /// Of the reconstruction with the whole vertebra.
    dsc_to_reference: f64,
    /// Of the reconstruction with the degraded mask that it was made of.
    dsc_to_input: f64,
    /// Of the degraded mask with the whole vertebra.
    dsc_of_inputs: f64,
}

/// Makes weights if there are none, lets both sides measure, compares and keeps the numbers.
///
/// # Errors
/// Set-up failed, a side failed, or results differ.
pub fn model(arguments: &Arguments, checkout: &Checkout, cache: &Cache) -> Result<()> {
    let sides = Sides::new(checkout, cache, arguments.seed)?;
    let weights = match &arguments.weights {
        Some(weights) => weights.clone(),
        None => by_hand(&sides, checkout, arguments.seed)?,
    };
    let desk = Desk::new("model", arguments.seed, checkout, sides.program())?;
    let mut numbers = Numbers {
        lines: Vec::new(),
        peaks: Vec::new(),
        shapes: Vec::new(),
    };
    for (suite, lines) in SUITES {
        let folder = desk.work.join(suite);
        fs::create_dir_all(&folder)?;
        fs::copy(&weights, folder.join("paper.safetensors"))
            .with_context(|| format!("cannot copy {}", weights.display()))?;
        sides.make(suite, &folder)?;
        let sheets = sides.measure(suite, &folder)?;
        for line in lines {
            numbers.lines.push(Beside::of(line, &sheets, &folder)?);
        }
        numbers.peaks.push(Peaks::of(suite, &sheets));
        numbers.shapes.extend(sheets.iter().flat_map(Shape::all));
    }
    print!("{}", beside::table(&numbers.lines, &numbers.peaks));
    print!("{}", shapes(&numbers.shapes));
    desk.keep(&numbers)?;
    beside::check(&numbers.lines)
}

/// Returns the file of weights that the bench makes once.
fn by_hand(sides: &Sides, checkout: &Checkout, seed: u64) -> Result<PathBuf> {
    let folder = checkout.target().join(WORK).join(WEIGHTS);
    let file = folder.join(format!("by-hand-1-seed-{seed}.safetensors"));
    if !file.is_file() {
        fs::create_dir_all(&folder)?;
        report::stage("making weights of the paper's size, once (a minute) …");
        sides.weights(&file)?;
    }
    Ok(file)
}

impl Shape {
    /// Returns one for each measurement that tells it.
    fn all(sheet: &Sheet) -> impl Iterator<Item = Self> + '_ {
        sheet.measured.iter().filter_map(|measured| {
            let number = |key: &str| measured.numbers.get(key).copied();
            Some(Self {
                name: measured.name.clone(),
                by: measured.by.clone(),
                dsc_to_reference: number("dsc_to_reference")?,
                dsc_to_input: number("dsc_to_input")?,
                dsc_of_inputs: number("dsc_of_inputs")?,
            })
        })
    }
}

fn shapes(shapes: &[Shape]) -> String {
    let mut text = format!(
        "\n{:<34} {:<22} {:>13} {:>13}\n",
        "mean DSC of five phantoms", "", "to reference", "to input"
    );
    if let Some(shape) = shapes.first() {
        text += &format!("{:<57} {:>13.4} {:>13}\n", "the inputs", shape.dsc_of_inputs, 1);
    }
    for shape in shapes {
        text += &format!(
            "{:<34} {:<22} {:>13.4} {:>13.4}\n",
            shape.name, shape.by, shape.dsc_to_reference, shape.dsc_to_input
        );
    }
    text
}
