//! Traces for OpenTelemetry: the spans that are ours, sent where the configuration says. One set for the process, as `tracing` wants
//! it. Where nothing is configured, nothing here is built.

mod export;

use std::{sync::OnceLock, time::Duration};

use axum::http::{HeaderMap, StatusCode};
use opentelemetry::{
    Context, KeyValue,
    propagation::{Extractor, TextMapPropagator as _},
    trace::TracerProvider as _,
};
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tracing::{Level, Span, Subscriber, level_filters::LevelFilter};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

use self::export::Exporter;
use crate::{config::TraceConfig, tasks::Tasks};

/// What is still to be delivered at the end of the process may take so long; the rest is lost.
const LAST_DELIVERY: Duration = Duration::from_secs(2);
const PARENT: &str = "traceparent";

static TRACES: OnceLock<Traces> = OnceLock::new();

struct Traces {
    tasks: Tasks,
    _provider: SdkTracerProvider,
}

/// What was built, to be started once its layer is in place.
pub(super) struct Built {
    provider: SdkTracerProvider,
    exporter: Exporter,
}

/// The layer that takes our spans, down to `DEBUG`, whatever the log takes: of a library's spans nobody knows what is in them.
pub(super) fn build<S>(config: &TraceConfig) -> (impl Layer<S> + use<S>, Built)
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let attributes = config.resource.iter().map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
    let resource = Resource::builder_empty().with_attributes(attributes).build();
    let (queue, exporter) = export::queue(config, &resource);
    let provider = SdkTracerProvider::builder()
        .with_sampler(config.sampler.clone())
        .with_resource(resource)
        .with_span_processor(queue)
        .build();
    let ours = filter_fn(|metadata| {
        metadata.is_span() && *metadata.level() <= Level::DEBUG && metadata.target().starts_with("lently")
    });
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("lently"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_context_activation(false)
        .with_filter(ours.with_max_level_hint(LevelFilter::DEBUG));
    (layer, Built { provider, exporter })
}

impl Built {
    /// Begins to deliver, on a task of its own: not one of an app's, which end before their last spans do.
    pub(super) fn start(self) {
        let Self { provider, exporter } = self;
        let tasks = Tasks::default();
        tasks.spawn("traces", exporter.run(tasks.stop_signal()));
        // Whoever came first stays; `tracing` has one subscriber, and there is one of these for it.
        let _ = TRACES.set(Traces { tasks, _provider: provider });
    }
}

/// Delivers what there is, for two seconds at most. What ends later is in no trace.
pub async fn close_traces() {
    if let Some(traces) = TRACES.get() {
        traces.tasks.end(LAST_DELIVERY).await;
    }
}

/// Takes a request into the trace of its caller, if it names one (w3.org, "Trace Context", read 2026-11-29). To be called before
/// anything happens in `span`.
pub(crate) fn join_trace_of_caller(span: &Span, headers: &HeaderMap) {
    if TRACES.get().is_some() && headers.contains_key(PARENT) {
        let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers));
        // An error says that nobody takes this span.
        let _ = span.set_parent(parent);
    }
}

/// Tells the trace how a request ended.
pub(crate) fn answered(span: &Span, status: StatusCode) {
    if TRACES.get().is_some() {
        span.set_attribute(export::STATUS, i64::from(status.as_u16()));
    }
}

struct Headers<'a>(&'a HeaderMap);

/// Nothing but the parent: a caller's `tracestate` would go along into every span.
impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        if key == PARENT { self.0.get(key)?.to_str().ok() } else { None }
    }

    fn keys(&self) -> Vec<&str> {
        vec![PARENT]
    }
}
