//! Traces as a collector gets them from the real program: what is in them, what never is, and what it costs where the collector is away.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _},
    net::{SocketAddr, TcpListener},
    process::{Child, ChildStderr, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use lently_emulator::SAMPLES;
use lently_testing::wait_until;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind},
};
use prost::Message as _;
use serde_json::json;
use tokio_util::task::TaskTracker;

use crate::{Machine, emulated::emulated};

const BOUND: Duration = Duration::from_secs(60);
const SECRET: &str = "planted collector key 0008";

/// A collector that keeps what it is sent.
#[derive(Clone)]
struct Collector {
    address: SocketAddr,
    answer: Arc<AtomicU16>,
    deliveries: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
}

impl Collector {
    async fn start(answer: StatusCode) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let answer = Arc::new(AtomicU16::new(answer.as_u16()));
        let collector = Self { address, answer, deliveries: Arc::default() };
        let own = collector.clone();
        let take = async move |headers: HeaderMap, body: Bytes| {
            own.deliveries.lock().expect("deliveries").push((headers, body));
            StatusCode::from_u16(own.answer.load(Relaxed)).expect("a status")
        };
        let routes = Router::new().route("/v1/traces", post(take));
        // Ends with the test's runtime.
        TaskTracker::new().spawn(async move { axum::serve(listener, routes).await });
        collector
    }

    fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    fn deliveries(&self) -> Vec<(HeaderMap, Bytes)> {
        self.deliveries.lock().expect("deliveries").clone()
    }

    fn requests(&self) -> Vec<ExportTraceServiceRequest> {
        let decode = |(_, body): (_, Bytes)| ExportTraceServiceRequest::decode(body).expect("a delivery");
        self.deliveries().into_iter().map(decode).collect()
    }

    fn spans(&self) -> Vec<Span> {
        let resources = self.requests().into_iter().flat_map(|request| request.resource_spans);
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }
}

/// `lently serve` that can be asked to end.
struct Server {
    address: String,
    process: Child,
    log: BufReader<ChildStderr>,
}

impl Server {
    fn start(machine: &Machine) -> Self {
        let mut command = machine.command(&["serve", "--listen", "127.0.0.1:0"]);
        let mut process = command.stderr(Stdio::piped()).spawn().expect("the binary runs");
        let mut log = BufReader::new(process.stderr.take().expect("its log"));
        let told = |line: &str| {
            let address = line.split_whitespace().find(|word| word.starts_with("http://"))?;
            Some(address.trim_end_matches('/').to_owned())
        };
        let address = log.by_ref().lines().find_map(|line| told(&line.expect("a line")));
        Self { address: address.expect("an address"), process, log }
    }

    async fn get(&self, path: &str) -> serde_json::Value {
        let answer = reqwest::get(format!("{}{path}", self.address)).await.expect("an answer");
        answer.json().await.expect("JSON")
    }

    fn ask_to_end(&self) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
    }

    /// Asks it to end and waits; what it logged.
    fn end(mut self) -> String {
        self.ask_to_end();
        let mut log = String::new();
        self.log.read_to_string(&mut log).expect("a log in UTF-8");
        assert_eq!(self.process.wait().expect("its end").code(), Some(0), "{log}");
        log
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn facts(attributes: &[KeyValue]) -> BTreeMap<&str, String> {
    let text = |value: &Value| match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    let pair = |attribute: &KeyValue| attribute.value.as_ref()?.value.as_ref().map(text);
    attributes.iter().filter_map(|one| Some((one.key.as_str(), pair(one)?))).collect()
}

#[track_caller]
fn named<'a>(spans: &'a [Span], name: &str, pairs: &[(&str, &str)]) -> &'a Span {
    let has = |span: &&Span| {
        let facts = facts(&span.attributes);
        span.name == name
            && pairs.iter().all(|(name, value)| facts.get(name).is_some_and(|fact| fact == value))
    };
    let all = || spans.iter().map(|span| (&span.name, facts(&span.attributes))).collect::<Vec<_>>();
    spans.iter().find(has).unwrap_or_else(|| panic!("no {name} with {pairs:?} in {:#?}", all()))
}

/// A part of a `traceparent`, as bytes are shown.
fn hexadecimal(parent: &str, part: usize) -> String {
    let digits = parent.split('-').nth(part).expect("a part").as_bytes();
    let bytes: Vec<_> = digits.chunks(2).map(String::from_utf8_lossy).collect();
    format!("[{}]", bytes.join(", "))
}

#[track_caller]
fn is_child(child: &Span, parent: &Span) {
    assert_eq!((&child.trace_id, &child.parent_span_id), (&parent.trace_id, &parent.span_id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_traced_down_to_its_fetch_in_the_trace_of_its_caller_without_anybodys_text() {
    let (_emulator, machine) = emulated().await;
    let collector = Collector::start(StatusCode::OK).await;
    let machine = machine
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())
        .with("OTEL_EXPORTER_OTLP_HEADERS", format!("x-collector-key={}", SECRET.replace(' ', "%20")))
        .with("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        // What is not delivered by then is delivered at the end.
        .with("OTEL_BSP_SCHEDULE_DELAY", "600000");
    let server = tokio::task::block_in_place(|| Server::start(&machine));
    let (id, gone) = (SAMPLES[1].video_id, SAMPLES[4].video_id);
    let video = format!("{}/api/youtube/videos/{id}", server.address);
    let caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let asked = reqwest::Client::new().get(&video).header("traceparent", caller).send().await;
    assert_eq!(asked.expect("an answer").status().as_u16(), 200);
    let unsampled = "00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203331-00";
    let asked = reqwest::Client::new().get(&video).header("traceparent", unsampled).send().await;
    assert_eq!(asked.expect("an answer").status().as_u16(), 200);
    server.get(&format!("/api/youtube/videos/{gone}")).await;
    let analysis = json!({ "video_url_or_id": id, "max_comments": 50 });
    let start = reqwest::Client::new().post(format!("{}/api/analysis/start", server.address));
    let analyzed = start.header("prefer", "wait=60").json(&analysis).send().await.expect("an answer");
    assert_eq!(analyzed.status().as_u16(), 200);
    let comments = server.get(&format!("/api/youtube/videos/{id}/comments?max_comments=50")).await;
    let log = tokio::task::block_in_place(|| server.end());

    let spans = collector.spans();
    let answered = [("http.request.method", "GET"), ("http.response.status_code", "200")];
    let request = named(&spans, "GET /api/youtube/videos/{video_id}", &answered);
    assert_eq!(format!("{:02x?}", request.trace_id), hexadecimal(caller, 1));
    assert_eq!(format!("{:02x?}", request.parent_span_id), hexadecimal(caller, 2));
    assert_eq!(request.kind(), SpanKind::Server);
    let asked = named(&spans, "cache.get_or_set", &[("kind", "video"), ("outcome", "fetched")]);
    let fetched = named(&spans, "cache.fetch", &[("kind", "video"), ("outcome", "ok"), ("quota_units", "1")]);
    is_child(asked, request);
    is_child(fetched, asked);
    let others = hexadecimal(unsampled, 1);
    assert!(
        spans.iter().all(|span| format!("{:02x?}", span.trace_id) != others),
        "its caller wanted no trace"
    );
    named(&spans, "cache.fetch", &[("kind", "video"), ("outcome", "not-found")]);

    let run = named(&spans, "analysis.run", &[("outcome", "made")]);
    is_child(run, named(&spans, "POST /api/analysis/start", &[]));
    let asked = named(&spans, "cache.get_or_set", &[("kind", "comments"), ("outcome", "fetched")]);
    assert_eq!(asked.trace_id, run.trace_id);

    let requests = collector.requests();
    let resource = requests[0].resource_spans[0].resource.as_ref().expect("a resource");
    let told = facts(&resource.attributes);
    assert_eq!(
        (told["service.name"].as_str(), told["deployment.environment.name"].as_str()),
        ("lently", "test")
    );

    let texts = comments["comments"].as_array().expect("comments").iter().map(|one| one["text"].as_str());
    let texts = texts.map(|text| text.expect("a text").to_owned()).filter(|text| text.chars().count() > 5);
    let texts: Vec<_> = texts.chain([id, gone, SAMPLES[1].title, SECRET].map(str::to_owned)).collect();
    assert!(texts.len() > 20, "too little was looked for");
    for (headers, body) in collector.deliveries() {
        assert_eq!(headers["x-collector-key"], SECRET);
        assert_eq!(headers["content-type"], "application/x-protobuf");
        let body = String::from_utf8_lossy(&body);
        for text in &texts {
            assert!(!body.contains(text), "{text} is in a trace");
        }
    }
    assert!(!log.contains(SECRET) && !log.contains("%20collector"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_refuses_is_told_of_once_and_once_again_when_it_takes_them() {
    let (_emulator, machine) = emulated().await;
    let collector = Collector::start(StatusCode::BAD_REQUEST).await;
    let machine = machine
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())
        .with("OTEL_BSP_SCHEDULE_DELAY", "1");
    let server = tokio::task::block_in_place(|| Server::start(&machine));
    let trace_until = async |count: usize| {
        wait_until("traces are sent", BOUND, async || {
            server.get("/health").await;
            collector.deliveries().len() >= count
        })
        .await;
    };
    trace_until(3).await;
    collector.answer.store(200, Relaxed);
    let so_far = collector.deliveries().len();
    trace_until(so_far + 2).await;
    let log = tokio::task::block_in_place(|| server.end());
    let told = |what: &str| log.lines().filter(|line| line.contains(what)).count();
    assert_eq!((told("traces are not delivered"), told("traces are delivered again")), (1, 1), "{log}");
}

/// Its timeout is ten minutes, longer than the test waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_hangs_delays_neither_requests_nor_the_end() {
    let (_emulator, machine) = emulated().await;
    let hanging = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let machine = machine
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", hanging.local_addr().expect("an address")))
        .with("OTEL_EXPORTER_OTLP_TIMEOUT", "600000")
        .with("OTEL_BSP_SCHEDULE_DELAY", "1")
        .with("OTEL_BSP_MAX_QUEUE_SIZE", "4")
        .with("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1");
    let mut server = tokio::task::block_in_place(|| Server::start(&machine));
    let asking = async {
        wait_until("spans find no place", BOUND, async || {
            server.get("/health").await;
            let numbers = reqwest::get(format!("{}/metrics", server.address)).await.expect("an answer");
            numbers.text().await.expect("text").contains("lently_trace_spans_dropped_total")
        })
        .await;
    };
    tokio::time::timeout(BOUND * 2, asking).await.expect("answers");
    server.ask_to_end();
    wait_until("it ends", BOUND, async || server.process.try_wait().expect("its state").is_some()).await;
}
