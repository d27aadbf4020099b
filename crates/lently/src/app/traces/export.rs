//! The way of spans to a collector: a queue that never waits, and a task that empties it by OTLP over HTTP. A collector that is away
//! costs a bounded number of spans their place and nobody any time.

use std::{mem, time::Duration};

use bytes::Bytes;
use opentelemetry::{
    Context, Value,
    trace::{SpanKind, Status},
};
use opentelemetry_proto::{
    tonic::collector::trace::v1::ExportTraceServiceRequest,
    transform::{
        common::tonic::ResourceAttributesWithSchema, trace::tonic::group_spans_by_resource_and_scope,
    },
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanProcessor},
};
use prost::Message as _;
use reqwest::{Client, StatusCode, header, redirect::Policy};
use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::config::TraceConfig;

/// The attribute that tells how a request was answered.
pub(super) const STATUS: &str = "http.response.status_code";
/// A delivery that may go better is tried so often, with pauses that begin with [`PAUSE`] and double.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

pub(super) fn queue(config: &TraceConfig, resource: &Resource) -> (Queue, Exporter) {
    let (sender, spans) = mpsc::channel(config.queue_spans);
    let exporter = Exporter { config: config.clone(), resource: resource.into(), spans, fails: false };
    (Queue(sender), exporter)
}

/// Takes spans that have ended.
#[derive(Debug)]
pub(super) struct Queue(mpsc::Sender<SpanData>);

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.0.try_send(by_convention(span)).is_err() {
            count_dropped(1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Our own words, which the log has too, as OpenTelemetry's semantic conventions have them (opentelemetry.io, "Semantic conventions for
/// HTTP spans", read 2026-11-29).
fn by_convention(mut span: SpanData) -> SpanData {
    let told = |span: &SpanData, name: &str| {
        let attribute = span.attributes.iter().find(|attribute| attribute.key.as_str() == name);
        attribute.map(|attribute| attribute.value.clone())
    };
    if span.name == "request" {
        span.span_kind = SpanKind::Server;
        let text = |name| told(&span, name).map(|value| value.as_str().into_owned()).unwrap_or_default();
        span.name = format!("{} {}", text("method"), text("route")).into();
        for attribute in &mut span.attributes {
            match attribute.key.as_str() {
                "method" => attribute.key = "http.request.method".into(),
                "route" => attribute.key = "http.route".into(),
                _ => {}
            }
        }
        // Of the cache's spans none is an error: a fetch that brings nothing may be what was to be found out.
        if matches!(told(&span, STATUS), Some(Value::I64(500..))) {
            span.status = Status::error("");
        }
    }
    span
}

fn count_dropped(spans: usize) {
    metrics::counter!("lently_trace_spans_dropped_total").increment(spans as u64);
}

/// Delivers them.
pub(super) struct Exporter {
    config: TraceConfig,
    resource: ResourceAttributesWithSchema,
    spans: mpsc::Receiver<SpanData>,
    /// Whether the last delivery failed: told when that changes.
    fails: bool,
}

/// Why a delivery failed.
#[derive(Debug, thiserror::Error)]
enum Undelivered {
    /// Nobody is there, or it took too long. A retry may help.
    #[error("no answer")]
    NoAnswer(#[source] reqwest::Error),
    /// The collector does not want it. A retry helps if it is only busy.
    #[error("the answer was {0}")]
    Refused(StatusCode),
}

impl Undelivered {
    /// By the list of the protocol's specification (opentelemetry.io, "OTLP Specification", read 2026-11-29).
    fn may_pass(&self) -> bool {
        match self {
            Self::NoAnswer(_) => true,
            Self::Refused(status) => matches!(status.as_u16(), 429 | 502 | 503 | 504),
        }
    }
}

impl Exporter {
    /// Delivers until it is to stop and nothing is left.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let client = Client::builder()
            .user_agent(concat!("lently/", env!("CARGO_PKG_VERSION")))
            .timeout(self.config.timeout)
            // It would take the headers along to another host.
            .redirect(Policy::none())
            .build();
        let client = match client {
            Ok(client) => client,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                return tracing::warn!(error, "traces cannot be delivered");
            }
        };
        let mut batch = Vec::new();
        loop {
            self.gather(&mut batch, &stop).await;
            if batch.is_empty() {
                return;
            }
            let spans = mem::take(&mut batch);
            self.deliver(&client, spans, &stop).await;
        }
    }

    /// As many as go into one delivery, or those that ended within the delay; none once it is to stop and none is left.
    async fn gather(&mut self, batch: &mut Vec<SpanData>, stop: &CancellationToken) {
        let most = self.config.batch_spans;
        tokio::select! {
            biased;
            _ = self.spans.recv_many(batch, most) => {}
            () = stop.cancelled() => return,
        }
        let filling = async {
            while batch.len() < most {
                self.spans.recv_many(batch, most - batch.len()).await;
            }
        };
        tokio::select! {
            biased;
            () = filling => {}
            () = sleep(self.config.delay) => {}
            () = stop.cancelled() => {}
        }
    }

    async fn deliver(&mut self, client: &Client, spans: Vec<SpanData>, stop: &CancellationToken) {
        let count = spans.len();
        let resource_spans = group_spans_by_resource_and_scope(spans, &self.resource);
        let body = Bytes::from(ExportTraceServiceRequest { resource_spans }.encode_to_vec());
        for attempt in 1..=ATTEMPTS {
            match self.post(client, body.clone()).await {
                Ok(()) => {
                    if mem::take(&mut self.fails) {
                        tracing::info!("traces are delivered again");
                    }
                    return;
                }
                Err(error) => {
                    if !mem::replace(&mut self.fails, true) {
                        let endpoint = self.config.endpoint.origin().ascii_serialization();
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(endpoint, error, "traces are not delivered");
                    }
                    if attempt == ATTEMPTS || !error.may_pass() || stop.is_cancelled() {
                        break;
                    }
                }
            }
            tokio::select! {
                () = sleep(PAUSE * 2_u32.pow(attempt - 1)) => {}
                () = stop.cancelled() => {}
            }
        }
        count_dropped(count);
    }

    async fn post(&self, client: &Client, body: Bytes) -> Result<(), Undelivered> {
        let request = client
            .post(self.config.endpoint.clone())
            .headers(self.config.headers.clone())
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            .body(body);
        let status = match request.send().await {
            Ok(response) => response.status(),
            // The path may have a key in it.
            Err(error) => return Err(Undelivered::NoAnswer(error.without_url())),
        };
        if status.is_success() { Ok(()) } else { Err(Undelivered::Refused(status)) }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use opentelemetry_sdk::trace::Sampler;
    use reqwest::header::HeaderMap;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_delivered_is_given_up_with_the_last_attempt() {
        // Bound and never accepted from: nobody answers, and nobody else is asked.
        let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let endpoint = format!("http://{}", nobody.local_addr().expect("an address"));
        let timeout = Duration::from_millis(10);
        let config = TraceConfig {
            endpoint: endpoint.parse().expect("an address"),
            headers: HeaderMap::new(),
            timeout,
            resource: Vec::new(),
            sampler: Sampler::AlwaysOn,
            delay: Duration::ZERO,
            queue_spans: 1,
            batch_spans: 1,
        };
        let (_queue, mut exporter) = queue(&config, &Resource::builder_empty().build());
        let client = Client::builder().timeout(timeout).build().expect("a client");
        let began = Instant::now();
        exporter.deliver(&client, Vec::new(), &CancellationToken::new()).await;
        // Between five attempts there are four pauses.
        let (pauses, attempts) = (PAUSE * (1 + 2 + 4 + 8), timeout * ATTEMPTS * 2);
        let took = began.elapsed();
        assert!((pauses..pauses + attempts).contains(&took), "{took:?}");
    }
}
