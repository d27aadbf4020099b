//! A small report, whole, as it is served.

use lently_analysis::{Comment, Coverage, LocalEngine, report};

const COMMENTS: [(&str, u64, &str, &str); 10] = [
    ("c01", 40, "2026-03-01T10:00:00Z", "I love the camera work in this one, it looks wonderful"),
    ("c02", 12, "2026-03-01T11:00:00Z", "What camera work setup did you use for the forest?"),
    ("c03", 3, "2026-03-02T09:00:00Z", "what camera work setup did you use for the forest"),
    ("c04", 8, "2026-03-02T12:00:00Z", "The background music is terrible and way too loud"),
    ("c05", 5, "2026-03-03T08:00:00Z", "Please make a longer cut without the background music"),
    ("c06", 1, "2026-03-03T08:30:00Z", "The background music was the worst part"),
    ("c07", 9, "2026-03-04T18:00:00Z", "Me encanta este canal, gracias por todo lo que haces 😍"),
    ("c08", 0, "2026-03-04T19:00:00Z", "Check out my channel for free gift cards https://example.org/free"),
    ("c09", 2, "2026-03-05T07:00:00Z", "Das war wirklich sehr schön, danke dir für die Mühe"),
    ("c10", 6, "2026-03-05T07:30:00Z", "The camera work is so good, <script>alert(1)</script>"),
];

#[test]
fn a_small_report_reads_like_this() {
    let comments: Vec<Comment> = COMMENTS
        .iter()
        .enumerate()
        .map(|(index, (id, like_count, time, text))| Comment {
            id: (*id).to_owned(),
            author: format!("@viewer-{index}"),
            text: (*text).to_owned(),
            like_count: *like_count,
            published_at: Some(time.parse().expect("a time")),
            ..Comment::default()
        })
        .collect();
    let texts: Vec<&str> = comments.iter().map(|comment| comment.text.as_str()).collect();
    let verdicts = LocalEngine::new().judge_all(&texts);
    let coverage =
        Coverage { read: 10, of: Some(12), complete: false, basis: "the first 10 were asked for".to_owned() };
    insta::assert_json_snapshot!(report(&comments, &verdicts, coverage));
}
