//! What the tests of pages ask of them: that they stand alone, and what their tables hold.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};

/// How a picture within the page begins.
const PICTURE: &str = "data:image/png;base64,";

/// Checks that the page is well-formed, runs nothing and asks for nothing from elsewhere.
pub(crate) fn assert_stands_alone(html: &str) {
    assert!(html.starts_with("<!DOCTYPE html>\n<html lang=\"en\">"));
    let mut reader = Reader::from_str(html);
    reader.config_mut().enable_all_checks(true);
    let (mut depth, mut roots, mut types) = (0, 0, 0);
    loop {
        match reader.read_event().expect("well-formed") {
            Event::DocType(_) => types += 1,
            Event::Start(start) => {
                roots += u32::from(depth == 0);
                depth += 1;
                check(&start, html);
            }
            Event::Empty(empty) => check(&empty, html),
            Event::End(_) => depth -= 1,
            Event::Text(text) => {
                assert!(depth > 0 || text.iter().all(u8::is_ascii_whitespace));
            }
            Event::GeneralRef(entity) => {
                meant(&entity);
            }
            Event::Eof => break,
            other => panic!("expected elements and text alone, found {other:?}"),
        }
    }
    assert_eq!((depth, roots, types), (0, 1, 1), "one root, closed");
    let words = without_pictures(html);
    for foreign in ["http", "src=", "@import", "url(", "javascript"] {
        assert!(!words.contains(foreign), "{foreign}");
    }
}

/// Returns the page without the bytes of its pictures, which may hold any letters.
fn without_pictures(html: &str) -> String {
    let mut parts = html.split(PICTURE);
    let first = parts.next().unwrap_or_default().to_owned();
    let rest = parts.map(|part| part.split_once('"').expect("quoted").1);
    rest.fold(first, |words, part| words + part)
}

fn check(element: &BytesStart<'_>, html: &str) {
    let name = element.name();
    assert!(!matches!(
        name.as_ref(),
        b"script" | b"iframe" | b"object" | b"link" | b"img" | b"form"
    ));
    for attribute in element.attributes() {
        let attribute = attribute.expect("quoted, and none twice");
        assert!(!attribute.key.as_ref().starts_with(b"on"));
        if attribute.key.as_ref() == b"href" {
            let value = String::from_utf8(attribute.value.to_vec()).expect("UTF-8");
            if value.starts_with(PICTURE) {
                continue;
            }
            let id = value.strip_prefix('#').expect("a place in this page");
            assert_eq!(html.matches(&format!(" id=\"{id}\"")).count(), 1, "{id}");
        }
    }
}

fn meant(entity: &BytesRef<'_>) -> char {
    match &*entity.decode().expect("UTF-8") {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "#39" => '\'',
        other => panic!("expected an entity of XML, found {other}"),
    }
}

/// Returns the text of every cell, row by row, of the section with that id.
pub(crate) fn rows(html: &str, id: &str) -> Vec<Vec<String>> {
    let mut reader = Reader::from_str(html);
    let mut rows: Vec<Vec<String>> = Vec::new();
    let (mut within, mut in_cell) = (false, false);
    let mut cell = String::new();
    loop {
        match reader.read_event().expect("well-formed") {
            Event::Start(start) => match start.name().as_ref() {
                b"section" => {
                    let found = start.try_get_attribute("id").expect("attributes");
                    within = found.is_some_and(|found| &*found.value == id.as_bytes());
                }
                b"tr" if within => rows.push(Vec::new()),
                b"td" | b"th" if within => in_cell = true,
                _ => {}
            },
            Event::Text(text) if in_cell => cell += &text.decode().expect("UTF-8"),
            Event::GeneralRef(entity) if in_cell => cell.push(meant(&entity)),
            Event::End(end) => match end.name().as_ref() {
                b"section" => within = false,
                b"td" | b"th" if in_cell => {
                    in_cell = false;
                    rows.last_mut()
                        .expect("within a row")
                        .push(std::mem::take(&mut cell));
                }
                _ => {}
            },
            Event::Eof => return rows,
            _ => {}
        }
    }
}

/// Checks that the section with that id has these rows, among others.
pub(crate) fn assert_rows(html: &str, id: &str, expected: &[&[&str]]) {
    let rows = rows(html, id);
    for row in expected {
        assert!(rows.iter().any(|found| found == row), "{row:?} in {rows:#?}");
    }
}
