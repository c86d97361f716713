//! Tables and numbers in Markdown.

use crate::compare::bootstrap::Estimate;
use crate::compare::summary::Spread;

/// Stands where there is no value.
pub const NONE: &str = "–";

/// A table under construction.
#[derive(Debug)]
pub struct Table {
    text: String,
}

impl Table {
    /// Starts a table whose first `texts` columns hold text; the others hold numbers.
    pub fn new<S: AsRef<str>>(texts: usize, headings: impl IntoIterator<Item = S>) -> Self {
        let mut table = Self {
            text: String::from("\n"),
        };
        let columns = table.line(headings);
        let rule = (0..columns).map(|column| if column < texts { "---" } else { "---:" });
        table.line(rule);
        table
    }

    /// Adds a row.
    pub fn row<S: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.line(cells);
    }

    /// Returns the table with a blank line on either side.
    pub fn finish(mut self) -> String {
        self.text.push('\n');
        self.text
    }

    fn line<S: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = S>) -> usize {
        let mut count = 0;
        self.text.push('|');
        for cell in cells {
            let cell = cell.as_ref().replace('|', "\\|").replace('\n', " ");
            self.text.push_str(&format!(" {cell} |"));
            count += 1;
        }
        self.text.push('\n');
        count
    }
}

/// Returns a number with so many decimals, or what stands for none.
pub fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| format!("{value:.decimals$}"))
}

/// Returns `mean ± sd`.
pub fn mean_and_sd(spread: Option<Spread>, decimals: usize) -> String {
    let Some(spread) = spread else {
        return NONE.to_owned();
    };
    match spread.sd {
        Some(sd) => format!("{:.decimals$} ± {sd:.decimals$}", spread.mean),
        None => number(Some(spread.mean), decimals),
    }
}

/// Returns the same, and how many values it is of where they are fewer than `all`.
pub fn mean_and_sd_of(all: usize, spread: Option<Spread>, decimals: usize) -> String {
    let count = spread.map_or(all, |spread| spread.count);
    counted(mean_and_sd(spread, decimals), count, all)
}

/// Returns a cell, and the number of its values where they are fewer than `all`.
pub fn counted(cell: String, count: usize, all: usize) -> String {
    if count < all {
        format!("{cell} ({count})")
    } else {
        cell
    }
}

/// Returns `+mean [+low, +high]`.
pub fn signed(estimate: Option<Estimate>, decimals: usize) -> String {
    let Some(estimate) = estimate else {
        return NONE.to_owned();
    };
    let mean = format!("{:+.decimals$}", positive_zero(estimate.mean, decimals));
    match estimate.interval {
        Some(bounds) => {
            let [low, high] = bounds.map(|bound| positive_zero(bound, decimals));
            format!("{mean} [{low:+.decimals$}, {high:+.decimals$}]")
        }
        None => mean,
    }
}

/// What rounds to zero is zero, not minus zero.
fn positive_zero(value: f64, decimals: usize) -> f64 {
    let half = 0.5 * 10_f64.powi(-(decimals as i32));
    if value.abs() < half { 0.0 } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_cannot_break_a_table() {
        let mut table = Table::new(1, ["a", "b"]);
        table.row(["x|y", "two\nlines"]);
        assert_eq!(
            table.finish(),
            "\n| a | b |\n| --- | ---: |\n| x\\|y | two lines |\n\n"
        );
    }

    #[test]
    fn numbers_are_written_as_asked() {
        assert_eq!(number(Some(0.12345), 3), "0.123");
        assert_eq!(number(None, 3), NONE);
        let estimate = |mean: f64| Estimate {
            mean,
            interval: Some([-0.0001, 0.25]),
            count: 3,
        };
        assert_eq!(signed(Some(estimate(0.1)), 3), "+0.100 [+0.000, +0.250]");
        assert_eq!(signed(Some(estimate(-0.1)), 2), "-0.10 [+0.00, +0.25]");
        let spread = Spread {
            mean: 1.0,
            sd: None,
            count: 1,
        };
        assert_eq!(mean_and_sd(Some(spread), 2), "1.00");
        assert_eq!(mean_and_sd_of(3, Some(spread), 2), "1.00 (1)");
    }
}
