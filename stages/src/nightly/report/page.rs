//! The few words of HTML that the parts of the page share. Every element is closed, so that it is XML too.

use crate::compare::bootstrap::Estimate;
use crate::report::markdown;
use crate::report::svg::escape;

/// How the page looks, on a screen and on paper.
const STYLE: &str = include_str!("style.css");

/// HTML as it may stand in the page: what came from outside was escaped on its way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Markup(String);

impl Markup {
    /// Takes HTML that our own code has put together.
    pub(super) fn trusted(html: String) -> Self {
        Self(html)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A part of the page that the contents link to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) body: Markup,
}

/// What a mark says besides its words; each has a sign of its own, for those who do not see its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Good,
    Bad,
    Watch,
    Same,
    None,
}

/// Returns the whole page.
pub(super) fn page(title: &str, opening: &Markup, sections: &[Section]) -> String {
    let links = sections.iter().map(|section| {
        let Section { id, title, .. } = section;
        format!("<li><a href=\"#{id}\">{title}</a></li>\n")
    });
    let links: String = links.collect();
    let bodies = sections.iter().map(|section| {
        let Section { id, title, body } = section;
        let body = body.as_str();
        format!("<section id=\"{id}\">\n<h2>{title}</h2>\n{body}</section>\n")
    });
    let bodies: String = bodies.collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"color-scheme\" content=\"light dark\"/>\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{opening}\
         <nav aria-label=\"Contents\">\n<ul>\n{links}</ul>\n</nav>\n{bodies}</main>\n\
         <footer>\n<p>Research software. Not a medical device; nothing here may steer the treatment of a patient.</p>\n\
         </footer>\n</body>\n</html>\n",
        title = escape(title),
        opening = opening.as_str(),
    )
}

/// Returns the parts one after another.
pub(super) fn all(parts: impl IntoIterator<Item = Markup>) -> Markup {
    let parts: Vec<String> = parts.into_iter().map(|Markup(html)| html).collect();
    Markup(parts.concat())
}

/// Returns what is safe already between HTML of ours.
pub(super) fn enclosed(before: &str, inner: Markup, after: &str) -> Markup {
    let Markup(inner) = inner;
    Markup(format!("{before}{inner}{after}"))
}

/// Returns a text.
pub(super) fn words(text: &str) -> Markup {
    Markup(escape(text))
}

/// Returns a name or a code, which is set apart from what surrounds it whatever it holds.
pub(super) fn code(text: &str) -> Markup {
    Markup(format!("<code>{}</code>", escape(text)))
}

/// Returns the name of a version, or what is said where there is none.
pub(super) fn named(version: Option<&str>, none: &str) -> Markup {
    version.map_or_else(|| words(none), code)
}

/// Returns a paragraph.
pub(super) fn paragraph(text: &str) -> Markup {
    Markup(format!("<p>{}</p>\n", escape(text)))
}

/// Returns a number of things.
pub(super) fn count(value: usize) -> Markup {
    Markup(value.to_string())
}

/// Returns a number with so many decimals, or what stands for none.
pub(super) fn number(value: Option<f64>, decimals: usize) -> Markup {
    Markup(markdown::number(value, decimals).replace('-', "−"))
}

/// Returns a difference with its sign, and its interval if it has one.
pub(super) fn signed(difference: f64, interval: Option<[f64; 2]>, decimals: usize) -> String {
    let estimate = Estimate {
        mean: difference,
        interval,
        count: 1,
    };
    markdown::signed(Some(estimate), decimals).replace('-', "−")
}

/// Returns words with the sign and the colour of their kind.
pub(super) fn mark(mark: Mark, text: &str) -> Markup {
    let (class, sign) = match mark {
        Mark::Good => ("good", "✓"),
        Mark::Bad => ("bad", "✗"),
        Mark::Watch => ("watch", "▲"),
        Mark::Same => ("same", "="),
        Mark::None => ("none", "–"),
    };
    Markup(format!(
        "<span class=\"mark {class}\"><span aria-hidden=\"true\">{sign}</span> {}</span>",
        escape(text)
    ))
}

/// Returns whether a difference, of which more is better, is one at so many decimals.
pub(super) fn better(difference: f64, decimals: usize) -> Markup {
    let half = 0.5 * 10_f64.powi(-(decimals as i32));
    match difference {
        found if found >= half => mark(Mark::Good, "better"),
        found if found <= -half => mark(Mark::Bad, "worse"),
        found if found.is_finite() => mark(Mark::Same, "equal"),
        _ => mark(Mark::None, "no number"),
    }
}

/// Heading of a column, by what the column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Text(&'static str),
    Number(&'static str),
}

/// A table under construction. The first cell of a row heads it.
#[derive(Debug)]
pub(super) struct Table {
    html: String,
    columns: Vec<Column>,
}

impl Table {
    /// Starts a table; a wide one is scrolled by itself on a narrow screen.
    pub(super) fn new(caption: &str, columns: &[Column]) -> Self {
        let caption = escape(caption);
        let mut html = format!(
            "<div class=\"wide\" role=\"region\" aria-label=\"{caption}\" tabindex=\"0\">\n<table>\n\
             <caption>{caption}</caption>\n<thead>\n<tr>"
        );
        for column in columns {
            html += &match column {
                Column::Text(heading) => format!("<th scope=\"col\">{heading}</th>"),
                Column::Number(heading) => format!("<th scope=\"col\" class=\"number\">{heading}</th>"),
            };
        }
        html += "</tr>\n</thead>\n<tbody>\n";
        Self {
            html,
            columns: columns.to_vec(),
        }
    }

    /// Adds a row.
    pub(super) fn row<const N: usize>(&mut self, cells: [Markup; N]) {
        debug_assert_eq!(N, self.columns.len(), "a cell a column");
        self.html += "<tr>";
        for (index, (column, Markup(cell))) in self.columns.iter().zip(cells).enumerate() {
            self.html += &match column {
                _ if index == 0 => format!("<th scope=\"row\">{cell}</th>"),
                Column::Text(_) => format!("<td>{cell}</td>"),
                Column::Number(_) => format!("<td class=\"number\">{cell}</td>"),
            };
        }
        self.html += "</tr>\n";
    }

    /// Returns the table.
    pub(super) fn finish(self) -> Markup {
        Markup(self.html + "</tbody>\n</table>\n</div>\n")
    }
}

/// Returns a table of names and what they are.
pub(super) fn facts(caption: &str, facts: impl IntoIterator<Item = (&'static str, Markup)>) -> Markup {
    let caption = escape(caption);
    let rows = facts
        .into_iter()
        .map(|(name, Markup(value))| format!("<tr><th scope=\"row\">{name}</th><td>{value}</td></tr>\n"));
    let rows: String = rows.collect();
    Markup(format!(
        "<table class=\"facts\">\n<caption>{caption}</caption>\n<tbody>\n{rows}</tbody>\n</table>\n"
    ))
}
