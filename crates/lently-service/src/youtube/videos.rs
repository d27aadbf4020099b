//! Metadata of videos, 50 to a call: whoever asks for a video within a short window shares a unit with the others.
//!
//! It knows neither keys nor times to live: what it brings is kept by whoever asked for it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use lently_cache::{Batch, Batching, Bulk, CacheService};
use lently_upstream::{MAX_IDS, UpstreamError, Video, VideoId, YouTubeClient};

use super::fetched;
use crate::error::ServiceError;
use crate::places::Places;

/// As many ids as a call takes; the first of them waits for others no longer than anyone notices beside a call over the Internet.
const BATCHING: Batching = Batching { max_ids: MAX_IDS, window: Duration::from_millis(5) };

/// A loader of metadata. Each call has one of the `places`, if there are any, however many ids are in it.
pub(super) fn loader(cache: &CacheService, client: &YouTubeClient, places: Option<Places>) -> Bulk<VideoId> {
    let client = client.clone();
    cache.bulk(BATCHING, move |ids| {
        let (client, places) = (client.clone(), places.clone());
        async move {
            // The wait for a place counts into the fetches' timeouts.
            let _place = match &places {
                Some(places) => Some(places.take().await.map_err(ServiceError::into_failure)?),
                None => None,
            };
            Ok(read(&client, ids).await)
        }
    })
}

/// Reads them in one call (1 unit). A refusal that may mean but one of them is not taken for all: then each half is asked for by
/// itself, and so on. One such id among 50 makes 13 calls, 50 of them 99.
async fn read(client: &YouTubeClient, ids: Vec<VideoId>) -> Batch<VideoId> {
    let mut batch = Batch::new();
    let mut parts = vec![ids];
    while let Some(mut part) = parts.pop() {
        let started = Instant::now();
        match client.videos(&part).await {
            Ok(call) => batch.extend(sorted(part, call.value, call.units, started)),
            Err(error) if part.len() > 1 && may_mean_one(&error) => {
                let half = part.split_off(part.len() / 2);
                parts.extend([half, part]);
            }
            Err(error) => {
                // What is wrong with the project or the network is wrong for what is left, too.
                let rest = if may_mean_one(&error) { Vec::new() } else { std::mem::take(&mut parts) };
                let failure = ServiceError::from(error).into_failure();
                batch.extend(rest.into_iter().flatten().chain(part).map(|id| (id, Err(failure.clone()))));
            }
        }
    }
    batch
}

/// Each with its share of the units, so that the shares add up to what was paid; those that are not in the answer are not found.
fn sorted(asked: Vec<VideoId>, answered: Vec<Video>, units: u64, started: Instant) -> Batch<VideoId> {
    let mut videos: HashMap<VideoId, Video> =
        answered.into_iter().map(|video| (video.id.clone(), video)).collect();
    videos.retain(|id, _| asked.contains(id));
    let found = videos.len() as u64;
    let mut place = 0;
    let mut share = || {
        place += 1;
        units / found + u64::from(place <= units % found)
    };
    let one = |id: VideoId| {
        let read = match videos.remove(&id) {
            Some(video) => fetched(&video, share(), started),
            None => Err(ServiceError::from(UpstreamError::VideoNotFound).into_failure()),
        };
        (id, read)
    };
    asked.into_iter().map(one).collect()
}

/// Whether the upstream may have refused all for what is wrong with one of them.
fn may_mean_one(error: &UpstreamError) -> bool {
    matches!(
        error,
        UpstreamError::VideoNotFound | UpstreamError::Forbidden { .. } | UpstreamError::BadRequest { .. }
    )
}
