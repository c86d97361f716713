//! Ready views over tables `cases` and `vertebrae`: plain SQL that DuckDB, Polars and DataFusion run alike.

/// A view: one `SELECT`, and the name under which later views take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Its name.
    pub name: &'static str,
    /// The `SELECT`, with a comment on top: what a row is, and which tables and views it takes.
    pub sql: &'static str,
}

/// Every view, each after those that it takes.
pub const VIEWS: [View; 7] = [
    View {
        name: "latest_cases",
        sql: include_str!("../views/latest_cases.sql"),
    },
    View {
        name: "latest_vertebrae",
        sql: include_str!("../views/latest_vertebrae.sql"),
    },
    View {
        name: "current_vertebrae",
        sql: include_str!("../views/current_vertebrae.sql"),
    },
    View {
        name: "persons",
        sql: include_str!("../views/persons.sql"),
    },
    View {
        name: "failures",
        sql: include_str!("../views/failures.sql"),
    },
    View {
        name: "run_comparison",
        sql: include_str!("../views/run_comparison.sql"),
    },
    View {
        name: "run_comparison_summary",
        sql: include_str!("../views/run_comparison_summary.sql"),
    },
];

impl View {
    /// Returns the words of the comment on top.
    pub fn about(&self) -> String {
        let comment = self.sql.lines().map_while(|line| line.strip_prefix("-- "));
        comment.collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_takes_tables_and_earlier_views_and_says_which() {
        let mut known = vec!["cases", "vertebrae"];
        for view in VIEWS {
            let about = view.about();
            let (_, takes) = about.rsplit_once("Takes: ").expect("says what it takes");
            let takes: Vec<_> = takes.trim_end_matches('.').split(", ").collect();
            for name in &takes {
                assert!(known.contains(name), "{}: {name} comes later", view.name);
            }
            let mut words = view.sql.split_whitespace().skip_while(|word| *word != "SELECT");
            while words.any(|word| word == "FROM" || word == "JOIN") {
                let Some(name) = words.next().filter(|word| *word != "(") else {
                    continue;
                };
                assert!(takes.contains(&name), "{} takes {name} too", view.name);
            }
            known.push(view.name);
        }
    }

    #[test]
    fn a_view_is_one_select() {
        for view in VIEWS {
            let code: Vec<_> = view.sql.lines().filter(|line| !line.starts_with("--")).collect();
            assert!(code[0].starts_with("SELECT"), "{}", view.name);
            assert!(
                !view.sql.contains(';'),
                "{}: loaders end statements themselves",
                view.name
            );
        }
    }
}
