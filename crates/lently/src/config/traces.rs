//! Where traces go, by the variables that OpenTelemetry's specification names (opentelemetry.io, "Environment Variable
//! Specification" and "OpenTelemetry Protocol Exporter", read 2026-11-29). Other programs read them too, so nothing but the place is
//! looked at where no place is named; where one is, a wrong value is refused like any other.

use std::{fmt, time::Duration};

use opentelemetry_sdk::trace::Sampler;
use percent_encoding::percent_decode_str;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret as _;
use url::Url;

use super::{
    error::ConfigError,
    read::{Reader, wrong},
};

const NAME: &str = "service.name";

/// Where traces go, and which.
#[derive(Clone)]
pub struct TraceConfig {
    /// The address that takes them, to its last segment.
    pub endpoint: Url,
    /// Sent along; their values are secrets.
    pub headers: HeaderMap,
    /// How long one delivery may take.
    pub timeout: Duration,
    /// What is said of this process.
    pub resource: Vec<(String, String)>,
    /// Which traces are taken.
    pub sampler: Sampler,
    /// How long a span waits for others to be delivered with it.
    pub delay: Duration,
    /// Spans that wait; more are dropped.
    pub queue_spans: usize,
    /// Spans in one delivery.
    pub batch_spans: usize,
}

/// Of the address only the host, for the path may have a key in it; of the headers only their names.
impl fmt::Debug for TraceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, headers, timeout, resource, sampler, delay, queue_spans, batch_spans } = self;
        f.debug_struct("TraceConfig")
            .field("endpoint", &endpoint.origin().ascii_serialization())
            .field("headers", &headers.keys().collect::<Vec<_>>())
            .field("timeout", timeout)
            .field("resource", resource)
            .field("sampler", sampler)
            .field("delay", delay)
            .field("queue_spans", queue_spans)
            .field("batch_spans", batch_spans)
            .finish()
    }
}

pub(super) fn traces(reader: &Reader<'_>) -> Result<Option<TraceConfig>, ConfigError> {
    let Some(endpoint) = endpoint(reader)? else { return Ok(None) };
    let exporter = reader.text("OTEL_TRACES_EXPORTER")?.unwrap_or_else(|| "otlp".to_owned());
    if !matches!(exporter.as_str(), "otlp" | "none") {
        return Err(wrong("OTEL_TRACES_EXPORTER", &exporter, "set `otlp` or `none`"));
    }
    if exporter == "none" || reader.flag("OTEL_SDK_DISABLED")? == Some(true) {
        return Ok(None);
    }
    for name in ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] {
        if let Some(protocol) = reader.text(name)?.filter(|protocol| protocol != "http/protobuf") {
            return Err(wrong(
                name,
                &protocol,
                "set `http/protobuf`, which most collectors take at port 4318",
            ));
        }
    }
    let timeout = reader.milliseconds("OTEL_EXPORTER_OTLP_TIMEOUT", Duration::from_secs(10), 1..=600_000)?;
    let queue_spans = reader.number("OTEL_BSP_MAX_QUEUE_SIZE", 2_048, 1..=1_000_000)?;
    Ok(Some(TraceConfig {
        endpoint,
        headers: headers(reader)?,
        timeout: reader.milliseconds("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", timeout, 1..=600_000)?,
        resource: resource(reader)?,
        sampler: sampler(reader)?,
        delay: reader.milliseconds("OTEL_BSP_SCHEDULE_DELAY", Duration::from_secs(5), 1..=600_000)?,
        queue_spans,
        batch_spans: reader.number(
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
            512.min(queue_spans),
            1..=queue_spans,
        )?,
    }))
}

fn endpoint(reader: &Reader<'_>) -> Result<Option<Url>, ConfigError> {
    if let Some(endpoint) = reader.url("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")? {
        return Ok(Some(endpoint));
    }
    let Some(mut endpoint) = reader.url("OTEL_EXPORTER_OTLP_ENDPOINT")? else { return Ok(None) };
    if let Ok(mut segments) = endpoint.path_segments_mut() {
        segments.pop_if_empty().extend(["v1", "traces"]);
    }
    Ok(Some(endpoint))
}

fn headers(reader: &Reader<'_>) -> Result<HeaderMap, ConfigError> {
    let mut headers = HeaderMap::new();
    for name in ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"] {
        let Some(text) = reader.secret(name)? else { continue };
        let wrong =
            || ConfigError::new(name, "cannot be read", "set `name=value,…`, with values percent-encoded");
        for (header, value) in pairs(text.expose_secret()).ok_or_else(wrong)? {
            let header = HeaderName::try_from(header).map_err(|_| wrong())?;
            let mut value = HeaderValue::try_from(value).map_err(|_| wrong())?;
            value.set_sensitive(true);
            headers.insert(header, value);
        }
    }
    Ok(headers)
}

fn resource(reader: &Reader<'_>) -> Result<Vec<(String, String)>, ConfigError> {
    let variable = "OTEL_RESOURCE_ATTRIBUTES";
    let text = reader.text(variable)?.unwrap_or_default();
    let mut resource = pairs(&text)
        .ok_or_else(|| wrong(variable, &text, "set `name=value,…`, with values percent-encoded"))?;
    let name = reader.text("OTEL_SERVICE_NAME")?;
    if name.is_some() || !resource.iter().any(|(key, _)| key == NAME) {
        resource.retain(|(key, _)| key != NAME);
        resource.push((NAME.to_owned(), name.unwrap_or_else(|| "lently".to_owned())));
    }
    Ok(resource)
}

fn sampler(reader: &Reader<'_>) -> Result<Sampler, ConfigError> {
    let variable = "OTEL_TRACES_SAMPLER";
    let name = reader.text(variable)?.unwrap_or_else(|| "parentbased_always_on".to_owned());
    let (by_parent, alone) = match name.strip_prefix("parentbased_") {
        Some(alone) => (true, alone),
        None => (false, name.as_str()),
    };
    let sampler = match alone {
        "always_on" => Sampler::AlwaysOn,
        "always_off" => Sampler::AlwaysOff,
        "traceidratio" => Sampler::TraceIdRatioBased(ratio(reader)?),
        _ => {
            let remedy = "set `always_on`, `always_off` or `traceidratio`, alone or behind `parentbased_`";
            return Err(wrong(variable, &name, remedy));
        }
    };
    Ok(if by_parent { Sampler::ParentBased(Box::new(sampler)) } else { sampler })
}

fn ratio(reader: &Reader<'_>) -> Result<f64, ConfigError> {
    let variable = "OTEL_TRACES_SAMPLER_ARG";
    let Some(text) = reader.text(variable)? else { return Ok(1.0) };
    let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| wrong(variable, &text, "set a number from 0 to 1"))
}

/// `name=value,…`; `None` where that cannot be read.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        Some((name.trim().to_owned(), value.into_owned())).filter(|(name, _)| !name.is_empty())
    });
    pairs.collect()
}
