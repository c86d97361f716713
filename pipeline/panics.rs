//! What a panic tells: its place, and its words only where they are the code's own.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{Location, set_hook};

/// From here on a panic is one line of the log. Words that were put together are left out: they may quote a header, a key
/// or a cell, as the standard library quotes a text that it cannot cut. `RUST_BACKTRACE=1` adds the calls, which hold no
/// data.
pub fn tell_places() {
    set_hook(Box::new(|panic| {
        let told = told(panic.payload(), panic.location());
        let calls = Backtrace::capture();
        if calls.status() == BacktraceStatus::Captured {
            tracing::error!("{told}\n{calls}");
        } else {
            tracing::error!("{told}");
        }
    }));
}

fn told(words: &(dyn Any + Send), place: Option<&Location<'_>>) -> String {
    let place = place.map_or_else(|| "a place unknown".to_owned(), ToString::to_string);
    match words.downcast_ref::<&'static str>() {
        Some(words) => format!("a mistake of ours: panicked at {place}: {words}"),
        None => format!("a mistake of ours: panicked at {place}"),
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    fn told_of(panics: fn()) -> String {
        told(
            &*catch_unwind(panics).expect_err("panics"),
            Some(Location::caller()),
        )
    }

    #[test]
    fn words_of_the_code_are_told_and_words_put_together_are_not() {
        let ours = told_of(|| panic!("every worker has a name"));
        assert!(ours.ends_with(": every worker has a name"), "{ours}");
        assert!(ours.contains("panics.rs:"), "{ours}");
        let cut = told_of(|| {
            let key = "DOE-JANÉ/7766554433".to_owned();
            let _ = &key[..8];
        });
        let read = told_of(|| {
            let wrong: Result<u8, _> = "DOE-JANE".parse().map_err(|_| "DOE-JANE".to_owned());
            wrong.expect("a number");
        });
        for told in [cut, read] {
            assert!(told.contains("panics.rs:") && !told.contains("DOE"), "{told}");
        }
    }
}
