//! Many callers at once.

use futures::future::join_all;
use lently_testing::RedisServer;

use crate::house::{House, Options, plain, slow};

/// The done-when of the product: 200 requests for one cold video, over HTTP, cost one fetch of each kind.
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_starts_of_one_cold_video_fetch_each_thing_once() {
    let redis = RedisServer::start().await;
    let house = House::with(Options { latency: slow(150), ..Options::default() }.redis(&redis)).await;
    let answers = join_all((0..200).map(|_| house.analyze(plain()))).await;
    for answer in &answers {
        assert_eq!(answer.status.as_u16(), 200, "{answer:?}");
    }
    let made =
        answers.iter().filter(|one| one.header("cache-status") == "Lently; fwd=uri-miss; stored").count();
    assert_eq!(made, 1, "one request made it, the others shared it or came after");
    assert_eq!(house.counts().units, 2, "{:?}", house.counts());
}
