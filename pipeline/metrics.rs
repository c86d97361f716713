//! The page of metrics that Prometheus reads: `http://<watch.metrics>/metrics`, and `/health` beside it.

use std::fmt;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::RunEnd;
use crate::gauges::{Reading, SECONDS};
use crate::view::View;

/// Media type of the page (OpenMetrics 1.0).
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The page, from the start of the process on; it has something to show once the flow runs.
#[derive(Debug)]
pub struct Page {
    registry: Arc<OnceLock<Registry>>,
    server: Option<JoinHandle<()>>,
}

impl Page {
    /// Listens at `address`, or nowhere if it is empty.
    ///
    /// # Errors
    /// Nobody can listen there.
    pub async fn open(address: &str) -> Result<Self, RunEnd> {
        let registry = Arc::new(OnceLock::new());
        if address.is_empty() {
            return Ok(Self {
                registry,
                server: None,
            });
        }
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|error| RunEnd::Conf(format!("watch.metrics: {error}")))?;
        let server = tokio::spawn(serve(listener, Arc::clone(&registry)));
        Ok(Self {
            registry,
            server: Some(server),
        })
    }

    /// Shows a run from now on.
    pub fn show(&self, view: &View) {
        let mut registry = Registry::with_prefix("spinestream");
        registry.register_collector(Box::new(Run(view.clone())));
        // a process does one run
        let _ = self.registry.set(registry);
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

async fn serve(listener: TcpListener, registry: Arc<OnceLock<Registry>>) {
    let page = move || {
        let registry = Arc::clone(&registry);
        async move {
            match registry.get() {
                Some(registry) => page(registry),
                None => (StatusCode::SERVICE_UNAVAILABLE, "not at work yet\n").into_response(),
            }
        }
    };
    let router = Router::new()
        .route("/metrics", get(page))
        .route("/health", get(async || "alive\n"));
    if let Err(error) = axum::serve(listener, router).await {
        tracing::warn!("the page of metrics has gone: {error}");
    }
}

fn page(registry: &Registry) -> Response {
    let mut text = String::new();
    match encode(&mut text, registry) {
        Ok(()) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Reads everything anew for each page: nothing is counted twice, and nothing costs while nobody looks.
#[derive(Debug)]
struct Run(View);

impl Collector for Run {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        self.cases(&mut encoder)?;
        stages(&mut encoder, &self.0.gauges.read())?;
        self.models(&mut encoder)?;
        let budget = &self.0.budget;
        number(
            &mut encoder,
            "memory_taken_bytes",
            "Bytes that cases in hand hold of run.memory",
            budget.taken() as f64,
        )?;
        number(&mut encoder, "memory_bytes", "run.memory", budget.bytes() as f64)
    }
}

impl Run {
    fn cases(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let (counts, by_kind) = {
            let tally = self.0.tally();
            (tally.counts().clone(), tally.by_kind().clone())
        };
        number(encoder, "cases", "Cases of the manifest", counts.cases as f64)?;
        number(
            encoder,
            "cases_done_before",
            "Cases that earlier starts of the run have done",
            counts.already_done as f64,
        )?;
        let mut ended = encoder.encode_descriptor(
            "cases_ended",
            "Cases that this process has ended, by status, stage and kind",
            None,
            MetricType::Counter,
        )?;
        let done = [("status", "done"), ("stage", ""), ("kind", "")];
        ConstCounter::new(counts.done as u64).encode(ended.encode_family(&done)?)?;
        for ((stage, kind), count) in &by_kind {
            let failed = [("status", "failed"), ("stage", *stage), ("kind", kind.as_str())];
            ConstCounter::new(*count as u64).encode(ended.encode_family(&failed)?)?;
        }
        let mut vertebrae = encoder.encode_descriptor(
            "vertebrae_ended",
            "Vertebrae of the cases that this process has done, by status",
            None,
            MetricType::Counter,
        )?;
        for (status, count) in [
            ("done", counts.vertebrae - counts.vertebrae_failed),
            ("failed", counts.vertebrae_failed),
        ] {
            ConstCounter::new(count as u64).encode(vertebrae.encode_family(&[("status", status)])?)?;
        }
        Ok(())
    }

    fn models(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let pool = self.0.pool.reading();
        number(
            encoder,
            "model_workers",
            "Model workers that live",
            pool.workers as f64,
        )?;
        number(
            encoder,
            "model_workers_working",
            "Model workers that are at work",
            pool.working as f64,
        )?;
        number(
            encoder,
            "model_queued",
            "Vertebrae that wait for a model worker",
            pool.queued as f64,
        )?;
        let busy = encoder.encode_descriptor(
            "model_busy_seconds",
            "Time at work, all model workers together: its rate over their number is the busy share",
            None,
            MetricType::Counter,
        )?;
        ConstCounter::new(pool.busy.as_secs_f64()).encode(busy)?;
        let mut batches = encoder.encode_descriptor(
            "model_batches",
            "Micro-batches by the number of their vertebrae",
            None,
            MetricType::Counter,
        )?;
        for (size, count) in &pool.batches {
            let size = [("vertebrae", size.to_string())];
            ConstCounter::new(*count).encode(batches.encode_family(&size)?)?;
        }
        Ok(())
    }
}

fn stages(encoder: &mut DescriptorEncoder, stages: &[Reading]) -> fmt::Result {
    each(
        encoder,
        stages,
        "stage_in_hand",
        "Cases that a stage has in hand",
        |stage| stage.in_hand as f64,
    )?;
    each(
        encoder,
        stages,
        "stage_width",
        "Cases that a stage may have in hand",
        |stage| stage.width as f64,
    )?;
    let mut waited = encoder.encode_descriptor(
        "stage_held_up_seconds",
        "Time that ended cases waited for the next stage to take them",
        None,
        MetricType::Counter,
    )?;
    for stage in stages {
        let name = [("stage", stage.name)];
        ConstCounter::new(stage.waited.as_secs_f64()).encode(waited.encode_family(&name)?)?;
    }
    let mut seconds = encoder.encode_descriptor(
        "stage_seconds",
        "Time of a case in a stage",
        None,
        MetricType::Histogram,
    )?;
    for stage in stages {
        let bounds = SECONDS.into_iter().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(stage.buckets).collect();
        let ended = stage.done + stage.failed;
        let name = [("stage", stage.name)];
        let mut family = seconds.encode_family(&name)?;
        family.encode_histogram::<NoLabels>(stage.ended.as_secs_f64(), ended, &buckets, None)?;
    }
    Ok(())
}

/// No exemplars are given: the type of their labels.
type NoLabels = [(&'static str, &'static str); 0];

fn number(encoder: &mut DescriptorEncoder, name: &str, help: &str, value: f64) -> fmt::Result {
    let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    ConstGauge::new(value).encode(metric)
}

fn each(
    encoder: &mut DescriptorEncoder,
    stages: &[Reading],
    name: &str,
    help: &str,
    value: impl Fn(&Reading) -> f64,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for stage in stages {
        ConstGauge::new(value(stage)).encode(family.encode_family(&[("stage", stage.name)])?)?;
    }
    Ok(())
}
