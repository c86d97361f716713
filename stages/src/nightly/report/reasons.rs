//! Why a mask may not teach, in words for people.

use crate::nightly::gate::Reason;

/// Returns what a code means; `None` of a code that is not known.
pub fn explain(code: &str) -> Option<&'static str> {
    code.parse::<Reason>().ok().map(Reason::explain)
}
