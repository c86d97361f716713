//! Any text as the place of an object: it stays in its bucket, is the name that was written, or is refused.

use proptest::prelude::*;

use super::*;
use crate::fuzz::{NAME, drawn};

/// Draws what stands in a manifest's column of objects; hostile texts hold a name. One thing is known and left out: at
/// the root of a disk the URL standard takes `C|` for a drive of Windows.
fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        3 => prop::sample::select(vec!["..", ".", "", "a", "x.nii.gz",  "C:", "~", "%2e%2e", "%2E.", "%2f", "%00", "%", "%zz"]).prop_map(str::to_owned),
        2 => prop::sample::select(vec!["#", "?", "%", "\\", "\n", "\t", "\r", "\u{0}", "\u{7f}", "\u{85}", "\u{202e}", " ", ":", "@", "*", "..\n", "\t..", "#12"]).prop_map(|text| format!("{text}{NAME}")),
        2 => any::<String>().prop_map(|text| format!("{NAME}{text}")),
        1 => any::<String>(),
        1 => Just(NAME.repeat(1300)),
    ];
    let start = prop::sample::select(vec![
        "",
        "",
        "",
        "/",
        "//",
        "s3://",
        "file://",
        "file:///",
        "memory:///",
        "http://h/",
        "nope://",
        "s3:",
        "://",
    ]);
    (start, prop::collection::vec(part, 0..6))
        .prop_map(|(start, parts)| format!("{start}{}", parts.join("/")))
}

/// Where a path leads that is not a URL, by the rules in words: from the base's folders or the root of a disk, name by
/// name, `..` one up, never above the bucket.
fn expected(base: &Url, text: &str) -> Vec<String> {
    let from_root = text.starts_with('/') && base.scheme() == "file";
    let base = base.path().split('/').filter(|name| !name.is_empty());
    let mut folders: Vec<String> = if from_root {
        Vec::new()
    } else {
        base.map(str::to_owned).collect()
    };
    for name in text.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(folders.pop()),
            name => folders.push(name.to_owned()),
        }
    }
    folders
}

proptest! {
    #![proptest_config(drawn(1500))]

    #[test]
    fn any_text_is_a_place_in_its_bucket_or_a_fault(text in text()) {
        for base in ["s3://bucket/cohort/2026/", "file:///data/cohort/", "memory:///", "http://host.example/masks/"] {
            let base = Url::parse(base).expect("base");
            let url = match absolute(&base, &text) {
                Ok(url) => url,
                Err(error) => {
                    prop_assert!(!error.to_string().contains("JANE"), "{}", error);
                    prop_assert_eq!(error.into_fault().reason, "bad_url");
                    continue;
                }
            };
            let shown = format!("{url:?} {url}");
            prop_assert_eq!(shown, "[url] [url]");
            let parsed = Url::parse(url.expose()).expect("an absolute URL");
            if !text.contains("://") {
                prop_assert_eq!(authority(&parsed), authority(&base));
            }
            // another bucket than the base's would read the environment
            if parsed.scheme() == "s3" {
                continue;
            }
            match Stores::default().place(&url) {
                Ok(place) => {
                    let found: Vec<_> = place.path.parts().map(|part| part.as_ref().to_owned()).collect();
                    prop_assert!(found.iter().all(|name| name != ".." && name != "."));
                    if !text.contains("://") {
                        prop_assert_eq!(found, expected(&base, &text), "{:?}", text);
                    }
                }
                Err(error) => {
                    let fault = error.into_fault();
                    prop_assert_eq!(fault.reason, "bad_url");
                    prop_assert!(!fault.to_string().contains("JANE"), "{}", fault);
                }
            }
        }
    }
}
