//! The routes, asked without a socket.

use axum::body::{Body, to_bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST};
use axum::http::{Method, Request, StatusCode};
use axum::response::Response;
use ndarray::Array3;
use schemas::Affine;
use serde_json::Value;
use stages::decode::label_map;
use stages::masks::VertebraMasks;
use stages::results::{CaseSeen, VertebraSeen};
use stages::store::Stores;
use tower::ServiceExt as _;

use super::*;
use crate::conf::Conf;
use crate::run::place;

const ANSWER_MOST: usize = 16 << 20;

fn vertebra(case_id: &str, level: &str) -> VertebraSeen {
    let mut row = VertebraSeen {
        case_id: case_id.to_owned(),
        level: level.to_owned(),
        status: "done".to_owned(),
        reference_volume_mm3: Some(30_000.0),
        flags: vec!["touches_border".to_owned()],
        ..VertebraSeen::default()
    };
    row.input[0] = Some(0.75);
    row.recon[0] = Some(0.875);
    row
}

fn results() -> Results {
    let case = |case_id: &str, status: &str| CaseSeen {
        case_id: case_id.to_owned(),
        status: status.to_owned(),
        kind: (status == "failed").then(|| "Missing".to_owned()),
        message: (status == "failed").then(|| "expected an object, found none there".to_owned()),
        ..CaseSeen::default()
    };
    Results {
        run: "night \"1\"".to_owned(),
        cases: vec![Arc::new(case("p1", "done")), Arc::new(case("p2", "failed"))],
        vertebrae: vec![Arc::new(vertebra("p1", "L3")), Arc::new(vertebra("p1", "L4"))],
        parts: 1,
        ..Results::default()
    }
}

/// A viewer of [`results`], with masks of L3 and without any of L4.
fn viewer() -> Viewer {
    let conf = Conf::read(None, std::iter::empty(), &[]).expect("conf");
    let stores = Arc::new(Stores::new(conf.store));
    let output = place(&stores, "run.output", "memory:///out").expect("place");
    let tables = RunTables::new(output, "night");
    let shapes = Shapes::new(MaskSource::new(tables, async { Err("no manifest".to_owned()) }));
    let mut mask = Array3::zeros((5, 5, 5));
    mask[[2, 2, 2]] = 1_u8;
    let mask = Arc::new(mask);
    let masks = VertebraMasks {
        affine: Affine::axis_aligned([1.0; 3], [0.0; 3]),
        input: Ok(Arc::clone(&mask)),
        recon: Ok(Arc::clone(&mask)),
        reference: Ok(mask),
    };
    shapes.keep(&vertebra("p1", "L3"), masks);
    Viewer {
        live: Live::of(results()),
        shapes,
    }
}

async fn asked(method: Method, host: &str, path: &str) -> Response {
    asked_of(router(viewer(), Door::ThisMachine), method, host, path).await
}

async fn asked_of(router: Router, method: Method, host: &str, path: &str) -> Response {
    let request = Request::builder().method(method).uri(path).header(HOST, host);
    let request = request.body(Body::empty()).expect("a request");
    router.oneshot(request).await.expect("an answer")
}

async fn get(path: &str) -> Response {
    asked(Method::GET, "127.0.0.1:8080", path).await
}

async fn json_of(response: Response) -> Value {
    let body = to_bytes(response.into_body(), ANSWER_MOST).await.expect("a body");
    serde_json::from_slice(&body).expect("JSON")
}

#[tokio::test]
async fn rows_come_as_columns_of_equal_length() {
    let router = router(viewer(), Door::ThisMachine);
    let get = |path| asked_of(router.clone(), Method::GET, "127.0.0.1:8080", path);
    let rows = json_of(get("/api/vertebrae").await).await;
    assert_eq!(rows["case_id"], serde_json::json!(["p1", "p1"]));
    assert_eq!(rows["level"], serde_json::json!(["L3", "L4"]));
    assert_eq!(rows["input"]["dsc"], serde_json::json!([0.75, 0.75]));
    assert_eq!(rows["recon"]["dsc"], serde_json::json!([0.875, 0.875]));
    assert_eq!(rows["recon"]["nmi"], serde_json::json!([null, null]));
    assert_eq!(
        rows["flags"],
        serde_json::json!([["touches_border"], ["touches_border"]])
    );
    let cases = json_of(get("/api/cases").await).await;
    assert_eq!(cases["status"], serde_json::json!(["done", "failed"]));
    assert_eq!(cases["kind"], serde_json::json!([null, "Missing"]));
    assert_eq!(cases["stamp"], rows["stamp"].clone());
}

#[tokio::test]
async fn the_run_is_told_with_what_is_wrong_about_it() {
    let run = json_of(get("/api/run").await).await;
    assert_eq!(run["run"], "night \"1\"");
    assert_eq!(run["state"], "unfinished");
    assert_eq!(run["counts"]["failed"], 1);
    assert_eq!(run["counts"]["vertebrae"], 2);
    assert_eq!(run["counts"]["expected"], Value::Null);
    assert_eq!(run["metrics"].as_array().map(Vec::len), Some(11));
    assert_eq!(run["metrics"][9]["unit"], "mm");
    assert_eq!(run["metrics"][9]["better"], "lower");
    let codes: Vec<&str> = run["warnings"]
        .as_array()
        .expect("warnings")
        .iter()
        .filter_map(|warning| warning["code"].as_str())
        .collect();
    assert_eq!(codes, ["unfinished", "half_failed"]);
}

#[tokio::test]
async fn one_vertebra_is_told_in_full() {
    let row = json_of(get("/api/vertebra/p1/L4").await).await;
    assert_eq!(row["level"], "L4");
    assert_eq!(row["recon"]["dsc"], 0.875);
    assert_eq!(row["recon"]["hd95_mm"], Value::Null);
    assert_eq!(row["reference_mm3"], 30_000.0);
}

#[tokio::test]
async fn masks_and_surfaces_come_as_files() {
    for mask in ["input", "recon", "reference", "errors"] {
        let response = get(&format!("/api/mask/p1/L3/{mask}.nii.gz")).await;
        assert_eq!(response.status(), StatusCode::OK, "{mask}");
        let body = to_bytes(response.into_body(), ANSWER_MOST).await.expect("a body");
        let map = label_map(&body, None, 1 << 20).expect("a mask");
        assert_eq!(map.data[[2, 2, 2]], 1, "{mask}");
    }
    for (file, start) in [("input.stl", &b"spinestream"[..]), ("recon.ply", &b"ply\n"[..])] {
        let response = get(&format!("/api/mesh/p1/L3/{file}")).await;
        assert_eq!(response.status(), StatusCode::OK, "{file}");
        let body = to_bytes(response.into_body(), ANSWER_MOST).await.expect("a body");
        assert!(body.starts_with(start), "{file}");
    }
}

#[tokio::test]
async fn a_mask_that_is_not_there_says_why() {
    let response = get("/api/mask/p1/L4/recon.nii.gz").await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    let why = json_of(response).await;
    assert!(why["error"].as_str().is_some_and(|why| !why.is_empty()), "{why}");
}

#[tokio::test]
async fn no_name_leads_out_of_the_run() {
    let long = format!("/api/mask/{}/L3/recon.nii.gz", "x".repeat(5000));
    for path in [
        "/api/mask/../L3/recon.nii.gz",
        "/api/mask/%2e%2e/L3/recon.nii.gz",
        "/api/mask/%2E%2E%2Fp1/L3/recon.nii.gz",
        "/api/mask/p1/..%2FL3/recon.nii.gz",
        "/api/mask/p1%00/L3/recon.nii.gz",
        "/api/mask/p1/L3/..%2Frecon.nii.gz",
        "/api/mask/p1/L3/recon.nii.gz%00",
        "/api/mask/%ff/L3/recon.nii.gz",
        "/api/mask/P1/L3/recon.nii.gz",
        "/api/mask/run=other%2Fp1/L3/recon.nii.gz",
        "/api/mask/p1/L9/recon.nii.gz",
        "/api/mask/p1/L3/latent.nii.gz",
        "/api/mask/p1/L3/recon",
        "/api/mesh/p1/L3/errors.stl",
        "/api/mesh/p1/L3/recon.exe",
        "/api/vertebra/p2/L3",
        "/api/vertebra/other/L3",
        "/viewer.js/../../conf.toml",
        "/etc/passwd",
        "//",
        long.as_str(),
    ] {
        let response = get(path).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        assert!(json_of(response).await["error"].is_string(), "{path}");
    }
}

#[tokio::test]
async fn nothing_is_taken_and_strangers_are_turned_away() {
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let response = asked(method.clone(), "localhost", "/api/run").await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
    }
    let head = asked(Method::HEAD, "localhost", "/api/run").await;
    assert_eq!(head.status(), StatusCode::OK);
    for path in ["/", "/api/run", "/api/mask/p1/L3/recon.nii.gz"] {
        let response = asked(Method::GET, "evil.example", path).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{path}");
    }
}

#[tokio::test]
async fn every_answer_tells_the_browser_to_be_strict() {
    for path in [
        "/",
        "/viewer.js",
        "/api/run",
        "/api/mask/p1/L3/recon.nii.gz",
        "/nothing",
    ] {
        let response = get(path).await;
        let headers = response.headers();
        let policy = headers[CONTENT_SECURITY_POLICY].to_str().expect("text");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self';"),
            "{path}"
        );
        assert!(!policy.contains("unsafe"), "{path}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["referrer-policy"], "no-referrer", "{path}");
        assert!(headers.contains_key(CONTENT_TYPE), "{path}");
        let kept = if path.starts_with("/api") || path == "/nothing" {
            "no-store"
        } else {
            "no-cache"
        };
        assert_eq!(headers[CACHE_CONTROL], kept, "{path}");
    }
}
