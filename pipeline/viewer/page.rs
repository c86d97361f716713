//! The page itself: HTML, style and scripts, built into the program.

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use sha2::{Digest as _, Sha256};

use super::assets::{NIIVUE, NIIVUE_LICENCE};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// One file of the page.
#[derive(Debug, Clone, Copy)]
struct File {
    path: &'static str,
    media: &'static str,
    bytes: &'static [u8],
}

/// Returns the files.
fn files() -> Vec<File> {
    let file = |path, media, bytes| File { path, media, bytes };
    let own = |path, media, text: &'static str| file(path, media, text.as_bytes());
    vec![
        own("/", HTML, include_str!("page/index.html")),
        own("/viewer.css", CSS, include_str!("page/viewer.css")),
        own("/viewer.js", SCRIPT, include_str!("page/viewer.js")),
        own("/state.js", SCRIPT, include_str!("page/state.js")),
        own("/words.js", SCRIPT, include_str!("page/words.js")),
        own("/rows.js", SCRIPT, include_str!("page/rows.js")),
        own("/table.js", SCRIPT, include_str!("page/table.js")),
        own("/filters.js", SCRIPT, include_str!("page/filters.js")),
        own("/facts.js", SCRIPT, include_str!("page/facts.js")),
        own("/picture.js", SCRIPT, include_str!("page/picture.js")),
        own("/scene.js", SCRIPT, include_str!("page/scene.js")),
        own("/mesh.js", SCRIPT, include_str!("page/mesh.js")),
        own("/voxels.js", SCRIPT, include_str!("page/voxels.js")),
        // empty in a build without it, which the page is told by /api/run
        file("/niivue.js", SCRIPT, NIIVUE),
        own("/niivue.txt", TEXT, NIIVUE_LICENCE),
    ]
}

/// Returns the routes of the files.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let mut router = Router::new();
    for file in files() {
        let tag = tag_of(file.bytes);
        let answer = move |headers: HeaderMap| {
            let answer = answer(&file, &tag, &headers);
            async move { answer }
        };
        router = router.route(file.path, get(answer));
    }
    router
}

/// Returns what a browser compares a kept file by.
fn tag_of(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let start: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{start}\"")
}

fn answer(file: &File, tag: &str, headers: &HeaderMap) -> Response {
    // kept by the browser, and asked for again each time: the program may have become another
    let kept = [(CACHE_CONTROL, "no-cache"), (ETAG, tag)];
    if headers.get(IF_NONE_MATCH).is_some_and(|known| known == tag) {
        return (StatusCode::NOT_MODIFIED, kept).into_response();
    }
    (kept, [(CONTENT_TYPE, file.media)], file.bytes).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_holds_no_script_or_style_of_its_own_and_fetches_from_nowhere_else() {
        let page = include_str!("page/index.html");
        for forbidden in [
            "<style",
            " style=",
            " onclick=",
            " onload=",
            "http://",
            "https://",
            "javascript:",
        ] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
        for script in page.split("<script").skip(1) {
            let tag = script.split('>').next().expect("a tag");
            assert!(tag.contains(" src=\"/"), "{tag}");
        }
    }

    #[test]
    fn every_file_that_the_page_or_a_script_asks_for_is_there() {
        let files = files();
        let is_there = |path: &str| files.iter().any(|file| file.path == path);
        for file in &files {
            if file.path.starts_with("/niivue") {
                continue;
            }
            let text = std::str::from_utf8(file.bytes).expect("text");
            for (before, after) in [("from \"./", "\""), ("src=\"/", "\""), ("href=\"/", "\"")] {
                for rest in text.split(before).skip(1) {
                    let name = rest.split(after).next().expect("a name");
                    assert!(is_there(&format!("/{name}")), "{} asks for {name}", file.path);
                }
            }
        }
    }

    #[test]
    fn a_file_that_the_browser_has_is_not_sent_again() {
        let file = files()[0];
        let tag = tag_of(file.bytes);
        let first = answer(&file, &tag, &HeaderMap::new());
        assert_eq!(first.status(), StatusCode::OK);
        let mut headers = HeaderMap::new();
        headers.insert(IF_NONE_MATCH, first.headers()[ETAG].clone());
        assert_eq!(answer(&file, &tag, &headers).status(), StatusCode::NOT_MODIFIED);
        headers.insert(IF_NONE_MATCH, tag_of(b"another").parse().expect("a header"));
        assert_eq!(answer(&file, &tag, &headers).status(), StatusCode::OK);
    }
}
