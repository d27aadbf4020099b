//! An analysis as files: what each looks like, what comes with it over HTTP, and that JSON is as its schema says.

use std::sync::Arc;

use lently::report::{Format, export};
use lently_cache::Clock;
use lently_emulator::SAMPLES;
use lently_service::{AnalysisRequest, AnalysisSource, EngineChoice, JudgedComment, Progress};
use lently_testing::wait_until;
use lently_upstream::{
    CommentOrder,
    dump::{Dump, parse_dump},
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::house::{Answer, House, LONG, Options, plain, send, slow};

/// At noon in London, by a clock that stands.
pub async fn house() -> House {
    let clock = Clock::manual("2026-11-24T12:00:00Z".parse().expect("a time"));
    House::with(Options { clock: Some(clock), ..Options::default() }).await
}

/// Analyzes a video with its replies; its id.
pub async fn analyzed(house: &House, video_id: &str, most: u32) -> String {
    let body = json!({ "video_url_or_id": video_id, "max_comments": most, "include_replies": true });
    let answer = send(house.start(&body).header("Prefer", "wait=60")).await.expect(200).json();
    answer["analysis_id"].as_str().expect("an id").to_owned()
}

pub async fn exported(house: &House, id: &str, format: &str) -> Answer {
    house.get(&format!("/api/analysis/{id}/export?format={format}")).await.expect(200)
}

/// Analyzes a file as the command line does; the stored analysis and its comments.
pub async fn of_file(house: &House, name: &str, dump: Dump) -> (Vec<u8>, Vec<JudgedComment>) {
    let request = AnalysisRequest {
        source: AnalysisSource::Dump {
            digest: dump.comments.len().to_string(),
            dump: Arc::new(dump),
            file_name: name.to_owned(),
        },
        max_comments: u32::MAX,
        order: CommentOrder::Relevance,
        include_replies: true,
        engine: EngineChoice::Local,
        language: None,
    };
    let lently = &house.app.lently;
    let (progress, _) = watch::channel(Progress::default());
    let answer = lently.analyze(&house.app.user(), request, false, progress).await.expect("an analysis");
    let comments = lently.judged_comments(&answer).await.expect("a store").expect("comments");
    (answer.body.to_vec(), comments)
}

/// The schema as the tests want it: nothing that it does not name. For others members may be added.
fn closed(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(object) => {
            for value in object.values_mut() {
                *value = closed(value.take());
            }
            if object.get("properties").is_some_and(Value::is_object) {
                object.insert("additionalProperties".to_owned(), false.into());
            }
        }
        Value::Array(values) => {
            for value in values {
                *value = closed(value.take());
            }
        }
        _ => {}
    }
    schema
}

fn is_as_the_schema_says(analysis: &Value) {
    let schema: Value =
        serde_json::from_str(include_str!("../../../../docs/analysis.schema.json")).expect("JSON");
    for schema in [schema.clone(), closed(schema)] {
        let validator = jsonschema::validator_for(&schema).expect("a schema");
        let wrong: Vec<String> = validator
            .iter_errors(analysis)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_the_samples_read_like_this() {
    let house = house().await;
    for sample in
        SAMPLES.iter().filter(|sample| !sample.what.contains("removed") && !sample.what.contains("disabled"))
    {
        let id = analyzed(&house, sample.video_id, 60).await;
        let document = exported(&house, &id, "md").await.body;
        insta::assert_snapshot!(format!("{}-markdown", sample.video_id), document);
        let table = exported(&house, &id, "csv").await.body;
        insta::assert_snapshot!(format!("{}-csv", sample.video_id), table.replace("\r\n", "\n"));
    }
    let id = analyzed(&house, plain(), 60).await;
    let page = exported(&house, &id, "html").await.body;
    insta::assert_snapshot!("page", without_what_is_the_same_everywhere(&page));
    let mut analysis: Value = exported(&house, &id, "json").await.json();
    analysis["cost"]["milliseconds"] = 0.into();
    for list in ["comments", "verdicts"] {
        analysis[list].as_array_mut().expect("a list").truncate(2);
    }
    insta::assert_json_snapshot!("analysis-cut", analysis);
}

/// A page without its style, its script, its policy and its comments as JSON.
fn without_what_is_the_same_everywhere(page: &str) -> String {
    let mut page = page.to_owned();
    for (begin, end) in [
        ("Policy\" content=\"", "\">"),
        ("<style>", "</style>"),
        ("id=\"data\">", "</script>"),
        ("<script>", "</script>"),
    ] {
        let from = page.find(begin).expect(begin) + begin.len();
        let to = from + page[from..].find(end).expect(end);
        page.replace_range(from..to, "…");
    }
    page
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_as_its_schema_says() {
    let house = house().await;
    for sample in SAMPLES.iter().take(3) {
        let id = analyzed(&house, sample.video_id, 1_000).await;
        let analysis = exported(&house, &id, "json").await.json();
        is_as_the_schema_says(&analysis);
        assert!(analysis["comments"].as_array().is_some_and(|all| all.len() > 300));
        is_as_the_schema_says(&house.get(&format!("/api/analysis/{id}")).await.expect(200).json());
    }
    let file = parse_dump("some.csv", b"text,author\nyou idiot,a\ngreat,b\nwhat is it?,a\n");
    let (body, comments) = of_file(&house, "some.csv", file.expect("a file of comments")).await;
    let of = |comments: Option<&[JudgedComment]>| {
        let bytes = export(Format::Json, &body, comments).expect("a file");
        serde_json::from_slice::<Value>(&bytes).expect("JSON")
    };
    is_as_the_schema_says(&of(Some(&comments)));
    assert_eq!(of(None)["comments"], Value::Null);
    is_as_the_schema_says(&of(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_changed_since_the_last_analysis_is_in_every_report() {
    let house = house().await;
    let id = analyzed(&house, plain(), 60).await;
    let body = json!({ "video_url_or_id": plain(), "max_comments": 60, "include_replies": true });
    let anew = house.start(&body).header("Prefer", "wait=60").header("Cache-Control", "no-cache");
    send(anew).await.expect(200);
    for (format, heading) in
        [("md", "## Since it was analyzed last"), ("html", "<h2>Since it was analyzed last</h2>")]
    {
        assert!(exported(&house, &id, format).await.body.contains(heading), "{format}");
    }
    let analysis = exported(&house, &id, "json").await.json();
    assert_eq!(analysis["since"]["new_comments"], 0);
    is_as_the_schema_says(&analysis);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_judgment_of_geminis_is_as_the_schema_says() {
    let options = Options::default().set("GEMINI_API_KEY", "planted-youtube-key-0002");
    let base = "GEMINI_BASE_URL";
    let emulator = House::open().await;
    let house = House::with(options.set(base, emulator.emulator.gemini_base_url())).await;
    let id = analyzed(&house, plain(), 60).await;
    let analysis = exported(&house, &id, "json").await.json();
    assert_eq!(analysis["engine"]["name"], "gemini");
    is_as_the_schema_says(&analysis);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_comes_with_its_type_its_name_and_what_a_browser_may_do() {
    let house = house().await;
    let id = analyzed(&house, plain(), 60).await;
    for (format, content_type, disposition) in [
        ("html", "text/html; charset=utf-8", "inline"),
        ("json", "application/json", "attachment"),
        ("csv", "text/csv; charset=utf-8; header=present", "attachment"),
        ("md", "text/markdown; charset=utf-8", "attachment"),
    ] {
        let answer = exported(&house, &id, format).await;
        assert_eq!(answer.header("content-type"), content_type);
        let named = format!("{disposition}; filename=\"lently-{}.{format}\"", plain());
        assert_eq!(answer.header("content-disposition"), named);
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("cache-control"), "private, no-cache");
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!(policy.contains("sandbox allow-scripts"), format == "html", "{policy}");

        let path = format!("/api/analysis/{id}/export?format={format}");
        let again = house.request("GET", &path).header("If-None-Match", answer.header("etag"));
        let unchanged = send(again).await.expect(304);
        assert_eq!((unchanged.body.as_str(), unchanged.header("etag")), ("", answer.header("etag")));
        assert_eq!(unchanged.header("content-security-policy"), policy);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_exported_says_why() {
    let house = House::with(Options { latency: slow(500), ..Options::default() }).await;
    let begun = send(house.start(&json!({ "video_url_or_id": plain() }))).await.expect(202).json();
    let path = format!("/api/analysis/{}/export", begun["analysis_id"].as_str().expect("an id"));
    house.get(&format!("{path}?format=csv")).await.problem(409, "not-ready");
    for (query, field) in [("", "format"), ("?format=pdf", "format"), ("?format=csv&x=1", "x")] {
        assert_eq!(
            house.get(&format!("{path}{query}")).await.problem(422, "invalid-request")["field"],
            field
        );
    }
    let unknown = format!("/api/analysis/{}/export?format=csv", "0".repeat(32));
    house.get(&unknown).await.problem(404, "not-found");

    let gone = json!({ "video_url_or_id": "LentlyGone1" });
    let id = send(house.start(&gone)).await.expect(202).json()["analysis_id"].clone();
    let path = format!("/api/analysis/{}/export?format=md", id.as_str().expect("an id"));
    wait_until("the analysis has failed", LONG, async || {
        house.get(&path).await.json()["failure"].is_string()
    })
    .await;
    assert_eq!(house.get(&path).await.problem(409, "not-ready")["failure"], "video-not-found");
}
