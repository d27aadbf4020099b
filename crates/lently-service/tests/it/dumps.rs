//! Files of comments: analyzed without asking any upstream, and remembered by their bytes.

use lently_service::{AnalysisRequest, AnswerSource, BodySource};

use crate::house::{self, House, body};

const CSV: &str = "author,comment,likes,publishedAt
@a,This is wonderful! I love it,5,2026-01-01T00:00:00Z
@b,When is the next one?,2,2026-01-02T00:00:00Z
@c,Terrible sound and bad lighting,0,2026-01-03T00:00:00Z
";

fn file(text: &str, max_comments: u32) -> AnalysisRequest {
    AnalysisRequest { max_comments, ..house::file("comments.csv", text.as_bytes()) }
}

#[tokio::test]
async fn a_file_is_analyzed_without_an_upstream_and_is_a_hit_the_second_time() {
    let house = House::open().await;
    let first = house.analyze(&file(CSV, u32::MAX)).await.expect("an analysis");
    let made = body(&first);
    assert!(matches!(&made.source, BodySource::File { file_name, .. } if file_name == "comments.csv"));
    assert_eq!(made.report.coverage.read, 3);
    assert!(made.report.coverage.complete);
    assert_eq!(house.counts().units, 0);
    let second = house.analyze(&file(CSV, u32::MAX)).await.expect("an analysis");
    assert_eq!(second.source, AnswerSource::Memory);
    let other = house.analyze(&file(&CSV.replace("@a", "@z"), u32::MAX)).await.expect("an analysis");
    assert_ne!(other.id, first.id, "other bytes are another file");
}

#[tokio::test]
async fn a_limit_on_a_file_takes_the_newest_and_says_so() {
    let house = House::open().await;
    let made = body(&house.analyze(&file(CSV, 2)).await.expect("an analysis"));
    assert_eq!(made.report.coverage.read, 2);
    assert!(!made.report.coverage.complete);
    assert!(made.report.coverage.basis.contains("newest 2 of the 3"), "{}", made.report.coverage.basis);
}
