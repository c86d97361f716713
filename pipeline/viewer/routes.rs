//! What the page's scripts ask for. Names in an address are looked up among the rows that were read and never become part
//! of a path.

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::Bytes;
use serde_json::json;
use stages::masks::What;
use stages::results::{CaseSeen, Results, VertebraSeen};

use super::shapes::Form;
use super::{Viewer, rows};

const JSON: &str = "application/json";
const GZIP: &str = "application/gzip";
const STL: &str = "model/stl";
const PLY: &str = "application/octet-stream";

/// Returns the routes.
pub(super) fn routes() -> Router<Arc<Viewer>> {
    Router::new()
        .route("/api/run", get(run))
        .route("/api/vertebrae", get(vertebrae))
        .route("/api/cases", get(cases))
        .route("/api/vertebra/{case}/{level}", get(vertebra))
        .route("/api/mask/{case}/{level}/{file}", get(mask))
        .route("/api/mesh/{case}/{level}/{file}", get(mesh))
        .fallback(async || not_found("nothing is here"))
}

/// Returns an answer that only says why there is no other.
pub(super) fn refusal(status: StatusCode, words: &str) -> Response {
    let body = json!({ "error": words }).to_string();
    (status, [(CONTENT_TYPE, JSON)], body).into_response()
}

fn not_found(words: &str) -> Response {
    refusal(StatusCode::NOT_FOUND, words)
}

fn packed(body: Bytes) -> Response {
    ([(CONTENT_TYPE, JSON)], body).into_response()
}

async fn run(State(viewer): State<Arc<Viewer>>) -> Response {
    let now = viewer.live.now().await;
    packed(rows::run(&now))
}

async fn vertebrae(State(viewer): State<Arc<Viewer>>) -> Response {
    packed(viewer.live.now().await.vertebrae.clone())
}

async fn cases(State(viewer): State<Arc<Viewer>>) -> Response {
    packed(viewer.live.now().await.cases.clone())
}

async fn vertebra(
    State(viewer): State<Arc<Viewer>>,
    names: Result<Path<(String, String)>, PathRejection>,
) -> Response {
    let Ok(Path((case, level))) = names else {
        return not_found(NO_TEXT);
    };
    match found(&viewer.live.last().results, &case, &level) {
        Ok((case, vertebra)) => packed(rows::vertebra(&vertebra, &case)),
        Err(words) => not_found(words),
    }
}

async fn mask(
    State(viewer): State<Arc<Viewer>>,
    names: Result<Path<(String, String, String)>, PathRejection>,
) -> Response {
    let Ok(Path((case, level, file))) = names else {
        return not_found(NO_TEXT);
    };
    let Some(what) = file.strip_suffix(".nii.gz").and_then(|name| name.parse().ok()) else {
        return not_found("expected input, recon, reference or errors, and .nii.gz");
    };
    shape(&viewer, &case, &level, what, Form::Nifti, GZIP).await
}

async fn mesh(
    State(viewer): State<Arc<Viewer>>,
    names: Result<Path<(String, String, String)>, PathRejection>,
) -> Response {
    let Ok(Path((case, level, file))) = names else {
        return not_found(NO_TEXT);
    };
    let (name, form, media) = match file.rsplit_once('.') {
        Some((name, "stl")) => (name, Form::Stl, STL),
        Some((name, "ply")) => (name, Form::Ply, PLY),
        _ => ("", Form::Ply, PLY),
    };
    // errors are specks and shells: their surfaces show nothing
    match name.parse() {
        Ok(what) if what != What::Errors => shape(&viewer, &case, &level, what, form, media).await,
        _ => not_found("expected input, recon or reference, and .stl or .ply"),
    }
}

async fn shape(
    viewer: &Viewer,
    case: &str,
    level: &str,
    what: What,
    form: Form,
    media: &'static str,
) -> Response {
    let found = found(&viewer.live.last().results, case, level);
    let (case, vertebra) = match found {
        Ok(found) => found,
        Err(words) => return not_found(words),
    };
    match viewer.shapes.file(&case, &vertebra, what, form).await {
        Ok(file) => ([(CONTENT_TYPE, media)], file).into_response(),
        Err(words) => not_found(&words),
    }
}

/// Why a name is none.
const NO_TEXT: &str = "expected names in UTF-8";

/// Looks a vertebra up by the very names that its row has.
fn found(
    results: &Results,
    case_id: &str,
    level: &str,
) -> Result<(Arc<CaseSeen>, Arc<VertebraSeen>), &'static str> {
    let Some(case) = results.case(case_id) else {
        return Err("this run has no row of that case");
    };
    let mut vertebrae = results.vertebrae_of(case_id).iter();
    match vertebrae.find(|row| row.level == level) {
        Some(vertebra) => Ok((Arc::clone(case), Arc::clone(vertebra))),
        None => Err("this run has no row of that level of the case"),
    }
}
