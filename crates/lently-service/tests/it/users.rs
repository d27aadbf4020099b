//! Users: what they see of one another (nothing), what they may do, what invalidating one of them reaches.

use lently_service::{AnalysisState, ServiceError, UserPlan};

use crate::house::{House, Options, plain, request, sample, user};

#[tokio::test]
async fn nobody_reads_by_its_id_what_only_another_asked_for() {
    let house = House::open().await;
    let (ann, bob) = (user("ann"), user("bob"));
    let made = house.analyze_as(&ann, &request(plain()), false).await.expect("an analysis");
    let unseen = house.lently.analysis(&bob, &made.id).await;
    assert!(matches!(unseen, Err(ServiceError::NotFound)));
    assert!(house.lently.list(&bob, 10, None).await.expect("a list").is_empty());
    assert!(matches!(house.lently.erase(&bob, &made.id).await, Err(ServiceError::NotFound)));

    let hit = house.analyze_as(&bob, &request(plain()), false).await.expect("an analysis");
    assert!(hit.cached, "the data underneath is shared");
    assert!(!String::from_utf8_lossy(&hit.body).contains("\"ann\""), "and says nothing of who asked");
    house.settled().await;
    assert_eq!(house.lently.list(&bob, 10, None).await.expect("a list").len(), 1);
    let seen = house.lently.analysis(&bob, &made.id).await.expect("a state");
    assert!(matches!(seen, AnalysisState::Ready(_)));
}

#[tokio::test]
async fn the_eleventh_analysis_of_a_free_month_is_refused_and_hits_stay_free() {
    let house = House::with(Options { default_plan: UserPlan::Free, ..Options::default() }).await;
    let ann = user("ann");
    for max_comments in 1..=10 {
        let wanted = lently_service::AnalysisRequest { max_comments, ..request(plain()) };
        house.analyze_as(&ann, &wanted, false).await.expect("an analysis");
    }
    assert_eq!(house.lently.usage(&ann).await.expect("usage").used, 10);
    let eleventh = lently_service::AnalysisRequest { max_comments: 11, ..request(plain()) };
    let error = house.analyze_as(&ann, &eleventh, false).await.expect_err("the eleventh");
    assert!(matches!(error, ServiceError::PlanLimit { resets_at: Some(_), .. }), "{error:?}");
    let first = lently_service::AnalysisRequest { max_comments: 1, ..request(plain()) };
    assert!(house.analyze_as(&ann, &first, false).await.expect("a hit").cached);

    house.lently.set_plan(&ann, UserPlan::Pro).await.expect("a plan");
    let usage = house.lently.usage(&ann).await.expect("usage");
    assert_eq!((usage.plan, usage.used), (UserPlan::Pro, 10), "the quota entry went with the plan");
    house.analyze_as(&ann, &eleventh, false).await.expect("the plan allows it now");
    assert_eq!(house.lently.usage(&ann).await.expect("usage").used, 11);
}

#[tokio::test]
async fn a_failed_analysis_and_one_found_in_the_store_do_not_count() {
    let house = House::with(Options { default_plan: UserPlan::Free, ..Options::default() }).await;
    let ann = user("ann");
    house.analyze_as(&ann, &request(sample("removed").video_id), false).await.expect_err("removed");
    assert_eq!(house.lently.usage(&ann).await.expect("usage").used, 0);
    house.analyze_as(&ann, &request(plain()), false).await.expect("an analysis");
    house.lently.cache().flush_all().await.expect("flushed");
    house.analyze_as(&ann, &request(plain()), false).await.expect("an analysis");
    assert_eq!(house.lently.usage(&ann).await.expect("usage").used, 1);
}

#[tokio::test]
async fn a_plan_reads_no_more_comments_at_once_than_it_allows() {
    let house = House::with(Options { default_plan: UserPlan::Free, ..Options::default() }).await;
    let wanted = lently_service::AnalysisRequest { max_comments: 101, ..request(plain()) };
    let error = house.analyze_as(&user("ann"), &wanted, false).await.expect_err("too many");
    assert!(matches!(error, ServiceError::PlanLimit { limit: "max_comments", allowed: 100, .. }));
    assert_eq!(house.counts().units, 0);
}

#[tokio::test]
async fn glob_characters_in_a_user_id_reach_nobody_else() {
    let house = House::open().await;
    for name in ["ann", "anna", "bob"] {
        house.lently.usage(&user(name)).await.expect("usage");
    }
    let made = house.analyze_as(&user("ann"), &request(plain()), false).await.expect("an analysis");
    for name in ["*", "a*", "an?", "[a-z]*", "ann*", "\\ann"] {
        let removed = house.lently.invalidate_user(&user(name)).await.expect("invalidated");
        assert_eq!((removed.analyses, removed.quota), (0, 0), "{name}");
    }
    assert!(house.lently.analyses().get_cached_analysis(&made.id).await.is_some());
    house.settled().await;
    house.lently.usage(&user("ann")).await.expect("usage");
    let removed = house.lently.invalidate_user(&user("ann")).await.expect("invalidated");
    assert_eq!((removed.analyses, removed.quota), (1, 1));
    assert!(house.lently.analyses().get_cached_analysis(&made.id).await.is_none());
    let stats = house.lently.cache().stats();
    house.lently.usage(&user("bob")).await.expect("usage");
    assert_eq!(house.lently.cache().stats().hits, stats.hits + 1, "the others' entries are still there");
}

#[tokio::test]
async fn what_is_erased_is_gone_from_every_tier_and_the_store() {
    let house = House::open().await;
    let (ann, bob) = (user("ann"), user("bob"));
    let made = house.analyze_as(&ann, &request(plain()), false).await.expect("an analysis");
    house.analyze_as(&bob, &request(plain()), false).await.expect("an analysis");
    house.settled().await;
    house.lently.erase(&ann, &made.id).await.expect("erased");
    assert!(matches!(house.lently.analysis(&ann, &made.id).await, Err(ServiceError::NotFound)));
    assert!(matches!(house.lently.analysis(&bob, &made.id).await, Ok(AnalysisState::Ready(_))));
    house.lently.erase(&bob, &made.id).await.expect("erased");
    assert!(matches!(house.lently.analysis(&bob, &made.id).await, Err(ServiceError::NotFound)));
    assert!(house.lently.analyses().get_cached_analysis(&made.id).await.is_none());
}

#[tokio::test]
async fn a_history_has_the_latest_request_first_also_where_it_was_a_hit() {
    let house = House::open().await;
    let ann = user("ann");
    for max_comments in [1, 2, 1] {
        let wanted = lently_service::AnalysisRequest { max_comments, ..request(plain()) };
        house.analyze_as(&ann, &wanted, false).await.expect("an analysis");
        house.settled().await;
        house.clock.advance(std::time::Duration::from_secs(60));
    }
    let list = house.lently.list(&ann, 10, None).await.expect("a list");
    assert_eq!(list.iter().map(|item| item.comments).collect::<Vec<_>>(), [1, 2]);
}
