//! The few words of SVG that charts and pictures share.

/// Ink of titles and labels; nearly black prints well.
pub(super) const INK: &str = "#222222";

/// Where a text is held by its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// Returns the opening of a picture of that size in CSS px on white, with its title and description for those who
/// cannot see it. No element has an id, so that many pictures can stand in one page.
pub(super) fn open(width: f64, height: f64, title: &str, description: &str) -> String {
    let (width, height) = (number(width), number(height));
    let (title, description) = (escape(title), escape(description));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\" font-family=\"system-ui, 'Segoe UI', Helvetica, Arial, sans-serif\" \
         font-size=\"12\" fill=\"{INK}\">\n\
         <title>{title}</title>\n<desc>{description}</desc>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    )
}

/// Returns a text at a position; `more` holds further attributes, written by us.
pub(crate) fn text(x: f64, y: f64, anchor: Anchor, more: &str, words: &str) -> String {
    let anchor = match anchor {
        Anchor::Start => "start",
        Anchor::Middle => "middle",
        Anchor::End => "end",
    };
    let space = if more.is_empty() { "" } else { " " };
    format!(
        "<text x=\"{}\" y=\"{}\" text-anchor=\"{anchor}\"{space}{more}>{}</text>\n",
        number(x),
        number(y),
        escape(words)
    )
}

/// Returns about how wide a text is in px: no font is at hand to ask.
pub(super) fn width_of(words: &str, font_px: f64) -> f64 {
    0.56 * font_px * words.chars().count() as f64
}

/// Returns the text cut to about that width in px, with an ellipsis where something is cut.
pub(super) fn shorten(words: &str, font_px: f64, width: f64) -> String {
    if width_of(words, font_px) <= width {
        return words.to_owned();
    }
    let kept = (width / (0.56 * font_px)).max(1.0) as usize;
    let head: String = words.chars().take(kept.saturating_sub(1)).collect();
    format!("{}…", head.trim_end())
}

/// Returns a coordinate to a tenth of a px.
pub(crate) fn number(value: f64) -> String {
    // + 0.0 makes a negative zero positive
    format!("{}", (value * 10.0).round() / 10.0 + 0.0)
}

/// Returns the text as it may stand in an element or a quoted attribute; what XML 1.0 cannot hold becomes U+FFFD.
pub(crate) fn escape(words: &str) -> String {
    let mut escaped = String::with_capacity(words.len());
    for character in words.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\t' | '\n' | '\r' => escaped.push(' '),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

/// What the tests of chart and picture ask of an SVG.
#[cfg(test)]
pub(super) mod testing {
    use quick_xml::events::{BytesStart, Event};

    /// Checks that the text is one well-formed `svg` element without a script, an id or anything from elsewhere.
    pub(in crate::report) fn assert_stands_alone(svg: &str) {
        let mut reader = quick_xml::Reader::from_str(svg);
        reader.config_mut().enable_all_checks(true);
        let (mut depth, mut roots) = (0, 0);
        loop {
            match reader.read_event().expect("well-formed") {
                Event::Start(start) => {
                    roots += u32::from(depth == 0);
                    depth += 1;
                    check(&start);
                }
                Event::Empty(empty) => check(&empty),
                Event::End(_) => depth -= 1,
                Event::Text(text) => {
                    assert!(depth > 0 || text.iter().all(u8::is_ascii_whitespace));
                }
                Event::GeneralRef(entity) => {
                    let known = ["amp", "lt", "gt", "quot", "#39"];
                    assert!(known.contains(&&*entity.decode().expect("UTF-8")));
                }
                Event::Eof => break,
                other => panic!("expected elements and text alone, found {other:?}"),
            }
        }
        assert_eq!((depth, roots), (0, 1), "one root, closed");
        assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""));
        assert!(
            svg.contains("<title>") && svg.contains("<desc>"),
            "for those who cannot see it"
        );
    }

    fn check(element: &BytesStart<'_>) {
        assert_ne!(element.name().as_ref(), b"script");
        for attribute in element.attributes() {
            let attribute = attribute.expect("quoted, and none twice");
            let name = attribute.key.as_ref();
            assert!(name != b"id" && !name.starts_with(b"on"));
            if name.ends_with(b"href") {
                assert!(attribute.value.starts_with(b"data:image/png;base64,"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_text_holds_it_cannot_leave_its_element() {
        assert_eq!(
            escape("a<b> & \"c\" 'd'\u{0}\n"),
            "a&lt;b&gt; &amp; &quot;c&quot; &#39;d&#39;\u{fffd} "
        );
        let svg = open(10.0, 10.0, "</title><script>", "]]> \u{1b}") + "</svg>";
        testing::assert_stands_alone(&svg);
    }

    #[test]
    fn a_long_text_is_cut_and_a_short_one_is_not() {
        assert_eq!(shorten("short", 10.0, 28.5), "short");
        assert_eq!(shorten("rather long", 10.0, 28.5), "rath…");
    }
}
