//! The report of a comparison: Markdown with SVG figures beside it. Every number in it follows from the rows.
//!
//! And that of a run, one HTML page: [`run`].

pub mod chart;
mod figures;
mod header;
pub(crate) mod markdown;
pub(crate) mod metrics;
pub(crate) mod page;
pub mod picture;
mod registered;
pub mod run;
mod sections;
pub(crate) mod svg;

pub use figures::shown;

use crate::compare::Comparison;

/// One file of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportFile {
    /// Its name within the report's folder.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Name of the report itself.
pub const REPORT: &str = "report.md";

/// Returns the report's files: [`REPORT`] first, then its figures.
pub fn files(comparison: &Comparison) -> Vec<ReportFile> {
    let figures = figures::all(comparison);
    let text = sections::report(comparison, &figures);
    let report = ReportFile {
        name: REPORT.to_owned(),
        text,
    };
    let svgs = figures.into_iter().map(|figure| ReportFile {
        name: figure.file,
        text: figure.svg,
    });
    std::iter::once(report).chain(svgs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::testing::comparison;

    #[test]
    fn every_figure_of_the_report_lies_beside_it() {
        let files = files(&comparison());
        let (report, figures) = files.split_first().expect("a report");
        assert_eq!(report.name, REPORT);
        assert!(!figures.is_empty());
        for figure in figures {
            assert!(
                report.text.contains(&format!("]({})", figure.name)),
                "{}",
                figure.name
            );
            assert!(figure.text.starts_with("<svg"), "{}", figure.name);
        }
        assert_eq!(report.text.matches("![").count(), figures.len());
    }

    #[test]
    fn the_report_holds_the_numbers_of_the_rows() {
        let text = &files(&comparison())[0].text;
        // DSC 0.5, 0.4, 0.8 of the inputs: 0.567 ± 0.208; near 0.7, 0.6, 1: 0.767 ± 0.208; far 0.8, 0.9
        for expected in [
            "| input | 3 | 0.567 ± 0.208 |",
            "| near | 3 | 0.767 ± 0.208 |",
            "| far | 2 | 0.850 ± 0.071 |",
            "| near | 3 | +0.200 [+0.200, +0.200] |",
            "| c L2 | 0.800 | 1.000 | failed |",
            "no room",
        ] {
            let expected = expected.replace("no room", "expected room, found none");
            assert!(text.contains(&expected), "{expected}\n{text}");
        }
    }

    #[test]
    fn an_equal_comparison_gives_an_equal_report_but_for_times() {
        let strip = |files: Vec<ReportFile>| -> Vec<String> {
            let keep = |text: &String| text.split("## Times").next().unwrap_or_default().to_owned();
            files.iter().map(|file| keep(&file.text)).collect()
        };
        assert_eq!(strip(files(&comparison())), strip(files(&comparison())));
    }
}
