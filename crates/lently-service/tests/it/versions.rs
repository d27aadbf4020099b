//! What an analysis said before: kept, told, compared, and gone when it must go.

use std::time::Duration;

use lently_service::{AnalysisVersion, ServiceError, StorePart, UserId, When};

use crate::house::{House, body, file, plain, request};

const DAY: Duration = Duration::from_secs(24 * 3_600);

fn of(id: &lently_service::AnalysisId, when: When) -> AnalysisVersion {
    AnalysisVersion { id: id.clone(), when }
}

#[tokio::test]
async fn an_analysis_tells_what_has_changed_since_it_was_made_last() {
    let house = House::open().await;
    let first = house.analyze(&request(plain())).await.expect("an analysis");
    assert_eq!(body(&first).since, None, "the first time");
    house.clock.advance(DAY);
    let again = house.analyze(&request(plain())).await.expect("an analysis");
    let since = body(&again).since.expect("a second time");
    assert_eq!(since.created_at, body(&first).created_at);
    assert_eq!((since.new_comments, since.gone_comments), (0, 0), "nobody has written since");
    assert!(since.changes.sentiment.iter().all(|share| share.change == 0.0 && !share.significant));
}

#[tokio::test]
async fn one_video_is_compared_with_itself_at_another_time() {
    let house = House::open().await;
    let mut times = Vec::new();
    for _ in 0..3 {
        let answer = house.analyze(&request(plain())).await.expect("an analysis");
        times.push((answer.id.clone(), body(&answer).created_at));
        house.clock.advance(DAY);
    }
    let id = &times[0].0;
    let versions = house.lently.versions(&UserId::local(), id).await.expect("versions");
    assert_eq!(versions, [times[2].1, times[1].1, times[0].1]);
    let compare = async |versions: &[AnalysisVersion]| {
        house.lently.compare(&UserId::local(), versions).await.expect("compared")
    };
    let compared = compare(&[of(id, When::At(times[0].1)), of(id, When::Now)]).await;
    assert_eq!(
        compared.analyses.iter().map(|of| of.created_at).collect::<Vec<_>>(),
        [times[0].1, times[2].1]
    );
    assert_eq!(compared.differences.len(), 1);
    let earlier = compare(&[of(id, When::Earlier), of(id, When::Now)]).await;
    assert_eq!(earlier.analyses[0].created_at, times[1].1);
}

#[tokio::test]
async fn of_a_day_the_last_version_is_kept_and_none_beyond_its_time() {
    let house = House::open().await;
    let rows = async || {
        let report = house.lently.retention().report().await.expect("a report");
        report.store.iter().find(|part| part.part == StorePart::Earlier).expect("a part").rows
    };
    let mut id = None;
    // At noon, at two and at four of the same day.
    for _ in 0..3 {
        id = Some(house.analyze(&request(plain())).await.expect("an analysis").id);
        house.clock.advance(Duration::from_secs(2 * 3_600));
    }
    let id = id.expect("an id");
    assert_eq!(
        (rows().await, house.lently.versions(&UserId::local(), &id).await.expect("versions").len()),
        (1, 2)
    );
    house.lently.erase(&UserId::local(), &id).await.expect("erased");
    assert_eq!(rows().await, 0, "they go with it");
}

#[tokio::test]
async fn nobody_compares_what_they_never_asked_for() {
    let house = House::open().await;
    let mine = house.analyze(&request(plain())).await.expect("an analysis").id;
    let other = house.analyze(&file("x.csv", b"text\nnice\n")).await.expect("an analysis").id;
    let stranger = UserId::new("stranger").expect("an id");
    let pair = [of(&mine, When::Now), of(&other, When::Now)];
    assert!(house.lently.compare(&UserId::local(), &pair).await.is_ok());
    assert!(matches!(house.lently.compare(&stranger, &pair).await, Err(ServiceError::NotFound)));
    for wrong in [&pair[..1], &[of(&mine, When::Now), of(&other, When::Earlier)]] {
        let refused = house.lently.compare(&UserId::local(), wrong).await;
        assert!(matches!(refused, Err(ServiceError::Invalid { field: "ids", .. })), "{refused:?}");
    }
}
