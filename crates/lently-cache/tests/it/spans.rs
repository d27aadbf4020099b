//! What a trace shows of a request: how it ended, the fetch it launched or waited for, and never a key.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, Mutex},
    time::Duration,
};

use lently_cache::{Batch, Batching, Cost, FailureClass, FetchFailure, Fetched, Policy, Tags, Tier, Wanted};
use lently_testing::wait_until;
use tracing::{
    Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber::DefaultGuard,
};
use tracing_subscriber::{
    layer::{Context, Layer, SubscriberExt as _},
    registry::LookupSpan,
};

use crate::support::{BOUND, Gate, Upstream, everywhere, in_memory, policy, put};

const KEY: &str = "thing:somebody@example.org";

#[derive(Clone, Debug, Default)]
struct Span {
    name: &'static str,
    parent: Option<&'static str>,
    follows: Vec<&'static str>,
    fields: BTreeMap<&'static str, String>,
}

impl Span {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }
}

impl Visit for Span {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let twice = self.fields.insert(field.name(), format!("{value:?}").trim_matches('"').to_owned());
        assert_eq!(twice, None, "{} is told twice", field.name());
    }
}

/// All spans of this thread since it was made, in the order in which they began.
#[derive(Clone, Default)]
struct Trace(Arc<Mutex<Vec<(u64, Span)>>>);

impl Trace {
    fn begin() -> (Self, DefaultGuard) {
        let trace = Self::default();
        let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(trace.clone()));
        (trace, guard)
    }

    fn take(&self) -> Vec<Span> {
        self.0.lock().expect("a trace").drain(..).map(|(_, span)| span).collect()
    }

    fn with(&self, id: &Id, change: impl FnOnce(&mut Span)) {
        // Spans live until the registry gives their id away again; the latest is meant.
        let mut spans = self.0.lock().expect("a trace");
        if let Some((_, span)) = spans.iter_mut().rev().find(|(other, _)| *other == id.into_u64()) {
            change(span);
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Trace {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if !attributes.metadata().target().starts_with("lently_cache") {
            return;
        }
        let parent = context.span(id).and_then(|span| span.parent()).map(|parent| parent.name());
        let mut span = Span { name: attributes.metadata().name(), parent, ..Span::default() };
        attributes.record(&mut span);
        self.0.lock().expect("a trace").push((id.into_u64(), span));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        self.with(id, |span| values.record(span));
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, context: Context<'_, S>) {
        let name = context.span(follows).expect("a span that is there").name();
        self.with(id, |span| span.follows.push(name));
    }
}

#[tokio::test]
async fn a_request_beyond_memory_and_its_fetch_say_how_they_ended() {
    everywhere(async |bench| {
        let (trace, _guard) = Trace::begin();
        let tagged = Policy { tags: Tags::new(["somebody@example.org"]), ..policy() };
        let fetch = || async {
            let cost = Cost { quota_units: 3, micro_dollars: 250, ..Cost::default() };
            Ok(Fetched { cost, ..Fetched::new("1") })
        };
        bench.cache.get_or_set(KEY, &tagged, fetch).await.expect("an answer");
        let spans = trace.take();
        let [asked, fetched] = &spans[..] else { panic!("{spans:?}") };
        assert_eq!((asked.name, asked.field("kind")), ("cache.get_or_set", Some("thing")));
        assert_eq!((asked.field("outcome"), asked.field("tier")), (Some("fetched"), None));
        assert_eq!((fetched.name, fetched.parent), ("cache.fetch", Some("cache.get_or_set")));
        assert_eq!((fetched.field("kind"), fetched.field("outcome")), (Some("thing"), Some("ok")));
        assert_eq!(fetched.field("quota_units"), Some("3"));
        assert_eq!(fetched.field("micro_dollars"), Some("250"));
        assert_eq!(fetched.field("tokens_in"), None, "what was not paid is not told");
        assert!(!format!("{spans:?}").contains("somebody"), "{spans:?}");
    })
    .await;
}

#[tokio::test]
async fn a_hit_in_memory_leaves_no_trace_and_one_behind_it_names_its_tier() {
    everywhere(async |bench| {
        put(&bench.cache, KEY, "1").await;
        let (trace, _guard) = Trace::begin();
        let upstream = Upstream::default();
        let ask =
            async || bench.cache.get_or_set(KEY, &policy(), upstream.fetch("2")).await.expect("an answer");
        // A copy in memory may go with the notice of its own write.
        for _ in 0..10 {
            let tier = ask().await.entry.tier;
            let spans = trace.take();
            if tier == Tier::Memory {
                assert!(spans.is_empty(), "{spans:?}");
                return;
            }
            assert_eq!(spans.len(), 1, "{spans:?}");
            assert_eq!((spans[0].field("outcome"), spans[0].field("tier")), (Some("hit"), Some(tier.name())));
        }
        panic!("memory never has it");
    })
    .await;
}

#[tokio::test]
async fn whoever_joins_a_fetch_is_linked_to_it() {
    everywhere(async |bench| {
        let (trace, _guard) = Trace::begin();
        let (gate, policy) = (Gate::new(), policy());
        let joined = async {
            gate.reached().await;
            let joining = bench.cache.get_or_set(KEY, &policy, gate.fetch("2"));
            let opening = async {
                let asks = || trace.0.lock().expect("a trace").len() == 3;
                wait_until("somebody joins", BOUND, async || asks()).await;
                gate.open();
            };
            tokio::join!(joining, opening).0
        };
        let (led, joined) = tokio::join!(bench.cache.get_or_set(KEY, &policy, gate.fetch("1")), joined);
        assert!(led.is_ok() && joined.is_ok() && gate.calls() == 1);
        let spans = trace.take();
        let collapsed = spans.iter().find(|span| span.field("outcome") == Some("collapsed"));
        assert_eq!(collapsed.map(|span| &span.follows[..]), Some(&["cache.fetch"][..]), "{spans:?}");
    })
    .await;
}

#[tokio::test]
async fn a_failure_is_told_by_its_class_and_a_refresh_belongs_to_the_request_that_found_it_due() {
    let bench = in_memory().await;
    let (trace, _guard) = Trace::begin();
    let failing = || async {
        Err(FetchFailure::new(FailureClass::Transient, std::io::Error::other("somebody@example.org")))
    };
    for outcome in ["failed", "remembered"] {
        assert!(bench.cache.get_or_set(KEY, &policy(), failing).await.is_err());
        let spans = trace.take();
        assert_eq!(spans[0].field("outcome"), Some(outcome));
        assert_eq!(
            spans.get(1).and_then(|span| span.field("outcome")),
            (outcome == "failed").then_some("transient")
        );
        assert!(!format!("{spans:?}").contains("somebody"), "{spans:?}");
    }
    put(&bench.cache, KEY, "1").await;
    bench.clock.advance(Duration::from_secs(61));
    let upstream = Upstream::default();
    bench.cache.get_or_set(KEY, &policy(), upstream.fetch("2")).await.expect("a stale answer");
    let fetched = || {
        let spans = trace.0.lock().expect("a trace");
        spans.iter().any(|(_, span)| span.name == "cache.fetch" && span.field("outcome") == Some("ok"))
    };
    wait_until("it is fetched anew", BOUND, async || fetched()).await;
    let spans = trace.take();
    assert_eq!((spans[0].field("outcome"), spans[0].field("tier")), (Some("stale"), Some("memory")));
    assert_eq!(spans[1].parent, Some("cache.get_or_set"));
}

#[tokio::test]
async fn the_fetches_of_many_belong_to_the_request_for_them() {
    let bench = in_memory().await;
    let (trace, _guard) = Trace::begin();
    let bulk = bench.cache.bulk(Batching::default(), |ids: Vec<u32>| async move {
        Ok(ids.into_iter().map(|id| (id, Ok(Fetched::new(id.to_string())))).collect::<Batch<_>>())
    });
    let wanted: Vec<_> = [1, 2].map(|id| Wanted { id, key: format!("{KEY}:{id}"), policy: policy() }).into();
    let answers = bench.cache.get_or_set_many(&wanted, &bulk).await;
    assert!(answers.iter().all(Result::is_ok));
    let spans = trace.take();
    assert_eq!((spans[0].name, spans[0].field("keys")), ("cache.get_or_set_many", Some("2")));
    let fetches: Vec<_> = spans[1..].iter().map(|span| (span.name, span.parent)).collect();
    assert_eq!(fetches, [("cache.fetch", Some("cache.get_or_set_many")); 2], "{spans:?}");
}
