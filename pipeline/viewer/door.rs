//! Who is let in, and what a browser may do with what it gets.

use std::net::IpAddr;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;

use super::routes::refusal;

/// Everything comes from here, and nothing from text. NiiVue packs its letters and its materials as `data:`, and makes
/// pictures out of `blob:`; styles are set by script, which this does not touch.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
                      connect-src 'self' data: blob:; worker-src 'self' blob:; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// Where the page is listened for, which tells what a request must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// On this machine: a request must name it so. Else a page from elsewhere whose name is suddenly said to be this
    /// machine (DNS rebinding) could read the run.
    ThisMachine,
    /// On a network, under whatever name the machine has there.
    Network,
}

impl Door {
    /// Puts the door before a router.
    pub(super) fn in_front_of<S: Clone + Send + Sync + 'static>(self, router: Router<S>) -> Router<S> {
        router.layer(from_fn_with_state(self, pass))
    }

    /// Returns why a request is turned away, if it is.
    fn turned_away(self, method: &Method, headers: &HeaderMap) -> Option<Response> {
        if method != Method::GET && method != Method::HEAD {
            let words = "expected GET or HEAD: a viewer changes nothing";
            return Some(refusal(StatusCode::METHOD_NOT_ALLOWED, words));
        }
        if self == Self::Network {
            return None;
        }
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        if host.is_some_and(is_this_machine) {
            return None;
        }
        let words = "expected this machine's own name (localhost, 127.0.0.1 or [::1]) as host, found another";
        Some(refusal(StatusCode::FORBIDDEN, words))
    }
}

async fn pass(State(door): State<Door>, request: Request, next: Next) -> Response {
    let mut response = match door.turned_away(request.method(), request.headers()) {
        Some(refusal) => refusal,
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    let same_origin = HeaderName::from_static("cross-origin-resource-policy");
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (same_origin, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let no_store = HeaderValue::from_static("no-store");
    headers.entry(CACHE_CONTROL).or_insert(no_store);
    response
}

/// Whether a `Host` names this machine as nobody else can: by `localhost` or an address that loops back, at any port, since
/// a tunnel may end at another.
fn is_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.split(':').next().unwrap_or(host),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_loop_back_are_this_machine() {
        for host in [
            "localhost",
            "LocalHost:8080",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:8080",
            "[::1]",
        ] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example:8080",
            "127.0.0.1.evil.example",
            "10.0.0.1:8080",
            "0.0.0.0",
            "[::]",
            "[fe80::1]:8080",
            "::1",
        ] {
            assert!(!is_this_machine(host), "{host}");
        }
    }

    #[test]
    fn a_strange_host_is_turned_away_unless_the_network_was_let_in() {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("evil.example"));
        let away = Door::ThisMachine.turned_away(&Method::GET, &headers);
        assert_eq!(away.expect("away").status(), StatusCode::FORBIDDEN);
        assert!(Door::Network.turned_away(&Method::GET, &headers).is_none());
        let nameless = Door::ThisMachine.turned_away(&Method::GET, &HeaderMap::new());
        assert_eq!(nameless.expect("away").status(), StatusCode::FORBIDDEN);
    }
}
