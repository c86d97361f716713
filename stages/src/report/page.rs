//! The few words of HTML that reports as one page share. Every element is closed, so that a page is XML too.

#[cfg(test)]
pub(crate) mod testing;

use crate::compare::bootstrap::Estimate;
use crate::report::markdown;
use crate::report::svg::escape;

/// How the page looks, on a screen and on paper.
const STYLE: &str = include_str!("style.css");

/// HTML as it may stand in the page: what came from outside was escaped on its way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Markup(String);

impl Markup {
    /// Takes HTML that our own code has put together.
    pub(crate) fn trusted(html: String) -> Self {
        Self(html)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A part of the page that the contents link to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) body: Markup,
}

/// What a mark says besides its words; each has a sign of its own, for those who do not see its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Good,
    Bad,
    Watch,
    Same,
    None,
}

/// Returns the whole page.
pub(crate) fn page(title: &str, opening: &Markup, sections: &[Section]) -> String {
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
pub(crate) fn all(parts: impl IntoIterator<Item = Markup>) -> Markup {
    let parts: Vec<String> = parts.into_iter().map(|Markup(html)| html).collect();
    Markup(parts.concat())
}

/// Returns what is safe already between HTML of ours.
pub(crate) fn enclosed(before: &str, inner: Markup, after: &str) -> Markup {
    let Markup(inner) = inner;
    Markup(format!("{before}{inner}{after}"))
}

/// Returns a text.
pub(crate) fn words(text: &str) -> Markup {
    Markup(escape(text))
}

/// Returns a name or a code, which is set apart from what surrounds it whatever it holds.
pub(crate) fn code(text: &str) -> Markup {
    Markup(format!("<code>{}</code>", escape(text)))
}

/// Returns the name of a version, or what is said where there is none.
pub(crate) fn named(version: Option<&str>, none: &str) -> Markup {
    version.map_or_else(|| words(none), code)
}

/// Returns a paragraph.
pub(crate) fn paragraph(text: &str) -> Markup {
    Markup(format!("<p>{}</p>\n", escape(text)))
}

/// Returns the items of a list; nothing of none.
pub(crate) fn list(items: impl IntoIterator<Item = Markup>) -> Markup {
    let items: String = items
        .into_iter()
        .map(|Markup(item)| format!("<li>{item}</li>\n"))
        .collect();
    if items.is_empty() {
        return Markup(items);
    }
    Markup(format!("<ul>\n{items}</ul>\n"))
}

/// Returns what is shown only when it is asked for; on paper it is left out unless it was.
pub(crate) fn folded(summary: &str, inner: Markup) -> Markup {
    let summary = format!("<details>\n<summary>{}</summary>\n", escape(summary));
    enclosed(&summary, inner, "</details>\n")
}

/// Returns a picture with what stands beneath it.
pub(crate) fn figure(class: &str, svg: String, caption: &str) -> Markup {
    Markup(format!(
        "<figure class=\"{class}\">\n{svg}<figcaption>{}</figcaption>\n</figure>\n",
        escape(caption)
    ))
}

/// Returns a small heading within a section.
pub(crate) fn heading(text: &str) -> Markup {
    Markup(format!("<h3>{}</h3>\n", escape(text)))
}

/// Returns a number of things.
pub(crate) fn count(value: usize) -> Markup {
    Markup(value.to_string())
}

/// Returns a number with so many decimals, or what stands for none.
pub(crate) fn number(value: Option<f64>, decimals: usize) -> Markup {
    Markup(markdown::number(value, decimals).replace('-', "−"))
}

/// Returns a difference with its sign, and its interval if it has one.
pub(crate) fn signed(difference: f64, interval: Option<[f64; 2]>, decimals: usize) -> String {
    let estimate = Estimate {
        mean: difference,
        interval,
        count: 1,
    };
    markdown::signed(Some(estimate), decimals).replace('-', "−")
}

/// Returns words with the sign and the colour of their kind.
pub(crate) fn mark(mark: Mark, text: &str) -> Markup {
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
pub(crate) fn better(difference: f64, decimals: usize) -> Markup {
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
pub(crate) enum Column {
    Text(&'static str),
    Number(&'static str),
}

/// A table under construction. The first cell of a row heads it.
#[derive(Debug)]
pub(crate) struct Table {
    html: String,
    columns: Vec<Column>,
}

impl Table {
    /// Starts a table; a wide one is scrolled by itself on a narrow screen.
    pub(crate) fn new(caption: &str, columns: &[Column]) -> Self {
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
    pub(crate) fn row<const N: usize>(&mut self, cells: [Markup; N]) {
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
    pub(crate) fn finish(self) -> Markup {
        Markup(self.html + "</tbody>\n</table>\n</div>\n")
    }
}

/// Returns a table of names and what they are.
pub(crate) fn facts(caption: &str, facts: impl IntoIterator<Item = (&'static str, Markup)>) -> Markup {
    let caption = escape(caption);
    let rows = facts
        .into_iter()
        .map(|(name, Markup(value))| format!("<tr><th scope=\"row\">{name}</th><td>{value}</td></tr>\n"));
    let rows: String = rows.collect();
    Markup(format!(
        "<table class=\"facts\">\n<caption>{caption}</caption>\n<tbody>\n{rows}</tbody>\n</table>\n"
    ))
}
