//! Spans to an OpenTelemetry collector (feature `otlp`): one a case and stage, over OTLP/HTTP.
//!
//! Where to is said by the standard variables, `OTEL_EXPORTER_OTLP_ENDPOINT` first of all; without it nothing is sent.

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::registry::LookupSpan;

/// Variables of which one must be set.
const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];

/// Sends what has gathered when it is dropped.
#[derive(Debug)]
pub struct Export(SdkTracerProvider);

impl Export {
    /// Starts sending where the environment says; `None` if it says nothing.
    ///
    /// # Errors
    /// What it says is no address.
    pub fn start() -> Result<Option<Self>, String> {
        let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        if !ENDPOINTS.iter().any(|name| is_set(&name)) {
            return Ok(None);
        }
        let exporter = SpanExporter::builder().with_http().build();
        let exporter = exporter.map_err(|error| format!("{}: {error}", ENDPOINTS[1]))?;
        let resource = Resource::builder().with_service_name("spinestream").build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource)
            .build();
        Ok(Some(Self(provider)))
    }

    /// Returns the layer that hands spans over.
    pub fn layer<S>(&self) -> OpenTelemetryLayer<S, SdkTracer>
    where
        S: tracing::Subscriber + for<'span> LookupSpan<'span>,
    {
        tracing_opentelemetry::layer().with_tracer(self.0.tracer("spinestream"))
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown() {
            eprintln!("the last spans could not be sent: {error}");
        }
    }
}
