//! What holds of every report, whatever the comments.

use std::collections::HashSet;

use jiff::Timestamp;
use lently_analysis::{Category, Comment, Coverage, JudgedBy, Report, Sentiment, Verdict, report};
use proptest::prelude::*;

type Judged = (Comment, Verdict);

/// Few ids and few words, so that ids repeat, themes arise and questions are asked twice.
fn judged() -> impl Strategy<Value = Judged> {
    let words = prop::sample::select(vec![
        "camera",
        "sound",
        "Camera!",
        "the",
        "what is",
        "great",
        "ciao",
        "日本語",
        "😂",
        "?",
        "music",
        "intro",
    ]);
    let text = prop::collection::vec(words, 0..7).prop_map(|words| words.join(" "));
    let likes = prop_oneof![4 => 0u64..4, 1 => Just(u64::MAX)];
    let time = prop::option::of(1_500_000_000i64..1_800_000_000);
    let language = prop::option::of(prop::sample::select(vec!["en", "es", "ja"]));
    let category = prop::sample::select(Category::ALL.to_vec());
    (0u32..40, "[ab]", text, likes, time, -10i32..=10, category, language).prop_map(
        |(id, author, text, like_count, time, score, category, language)| {
            let score = f64::from(score) / 10.0;
            let comment = Comment {
                id: format!("c{id}"),
                author,
                text,
                like_count,
                published_at: time.map(|second| Timestamp::from_second(second).expect("a time in range")),
                ..Comment::default()
            };
            let verdict = Verdict {
                sentiment: Sentiment::of_score(score),
                score,
                category,
                language: language.map(str::to_owned),
                toxic: false,
                confidence: None,
                judged_by: JudgedBy::Local,
            };
            (comment, verdict)
        },
    )
}

fn report_of(judged: &[Judged]) -> Report {
    let (comments, verdicts): (Vec<_>, Vec<_>) = judged.iter().cloned().unzip();
    let read = comments.len() as u64;
    report(&comments, &verdicts, Coverage { read, of: Some(read), complete: true, basis: "all pages".into() })
}

fn quoted(report: &Report) -> Vec<(String, String)> {
    let quotes = report.themes.iter().flat_map(|theme| &theme.examples).chain(&report.most_liked);
    let quotes = quotes.map(|quote| (quote.comment_id.clone(), quote.text.clone()));
    quotes
        .chain(report.questions.iter().map(|asked| (asked.comment_id.clone(), asked.text.clone())))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn shares_add_up_and_counts_are_of_all(judged in prop::collection::vec(judged(), 0..60)) {
        let report = report_of(&judged);
        let mood = [report.sentiment.positive, report.sentiment.neutral, report.sentiment.negative];
        let whole = if judged.is_empty() { 0.0 } else { 1.0 };
        let all = judged.len() as u64;
        for (shares, counts) in [
            (mood.iter().map(|m| m.share).sum::<f64>(), mood.iter().map(|m| m.count).sum::<u64>()),
            (report.categories.iter().map(|c| c.share).sum(), report.categories.iter().map(|c| c.count).sum()),
            (report.languages.iter().map(|l| l.share).sum(), report.languages.iter().map(|l| l.count).sum()),
        ] {
            prop_assert!((shares - whole).abs() < 1e-9, "{shares}");
            prop_assert_eq!(counts, all);
        }
        let dated = judged.iter().filter(|(comment, _)| comment.published_at.is_some()).count() as u64;
        let in_buckets: u64 = report.sentiment_over_time.iter().map(|b| b.positive + b.neutral + b.negative).sum();
        prop_assert_eq!(in_buckets, dated);
        prop_assert!(report.themes.iter().all(|theme| theme.size <= all && theme.share <= 1.0));
    }

    #[test]
    fn every_piece_of_evidence_is_a_comment_that_was_read(judged in prop::collection::vec(judged(), 0..60)) {
        let known: HashSet<_> = judged.iter().map(|(c, _)| (c.id.clone(), c.text.clone())).collect();
        for piece in quoted(&report_of(&judged)) {
            prop_assert!(known.contains(&piece), "{piece:?}");
        }
    }

    #[test]
    fn the_order_of_comments_does_not_matter(
        (judged, shuffled) in prop::collection::vec(judged(), 0..60)
            .prop_flat_map(|judged| (Just(judged.clone()), Just(judged).prop_shuffle())),
    ) {
        prop_assert_eq!(report_of(&judged), report_of(&shuffled));
    }
}

#[test]
fn a_question_liked_beyond_counting_is_still_ranked() {
    let verdict = Verdict {
        sentiment: Sentiment::Neutral,
        score: 0.0,
        category: Category::Question,
        language: Some("en".into()),
        toxic: false,
        confidence: None,
        judged_by: JudgedBy::Local,
    };
    let ask = |id: &str, text: &str, like_count| {
        (Comment { id: id.into(), text: text.into(), like_count, ..Comment::default() }, verdict.clone())
    };
    let report =
        report_of(&[ask("modest", "which lens is that?", 3), ask("huge", "what camera is that?", u64::MAX)]);
    let ids: Vec<&str> = report.questions.iter().map(|asked| asked.comment_id.as_str()).collect();
    assert_eq!(ids, ["huge", "modest"]);
}
