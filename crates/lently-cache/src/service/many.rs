//! Many keys at once: read in one round trip, written one behind the other without waiting for each answer, fetched together.

use std::{hash::Hash, sync::Arc, time::Instant};

use futures::{StreamExt as _, future::join_all, stream};
use tracing::{Instrument as _, Span};

use super::{CacheService, asking::Asked, check_key, looking::Sought, spans, wish::Wish};
use crate::{
    bulk::{Batch, Batching, Bulk},
    entry::{Answer, FetchError, FetchFailure, Lookup, MissReason, Stored, Wanted, WarmEntry, WarmReport},
    error::CacheError,
    policy::{Controls, Kind},
    stats::Ended,
};

/// Ids that are under way at once for one caller.
const ASKED_AT_ONCE: usize = 1000;

/// Values that are being written at once for one caller.
const WRITTEN_AT_ONCE: usize = 50;

impl CacheService {
    /// The values of many keys of a kind, in their order: what [`get`](Self::get) would say of each. What memory does not have is
    /// read from the remote tier in one round trip for each 50 keys, all within the timeout of one command.
    pub async fn get_many<K: AsRef<str>>(&self, kind: Kind, keys: &[K]) -> Vec<Lookup> {
        self.look_for_many(kind, keys, |_| true).await
    }

    /// The same for whoever fetches next what is missing, with [`get_or_set_many`](Self::get_or_set_many): hits are counted here,
    /// and misses there.
    pub async fn peek_many<K: AsRef<str>>(&self, kind: Kind, keys: &[K]) -> Vec<Lookup> {
        self.look_for_many(kind, keys, |lookup| matches!(lookup, Lookup::Fresh(_))).await
    }

    async fn look_for_many<K: AsRef<str>>(
        &self,
        kind: Kind,
        keys: &[K],
        counts: impl Fn(&Lookup) -> bool,
    ) -> Vec<Lookup> {
        let began = Instant::now();
        let count = |key: &str, lookup: &Lookup| {
            if counts(lookup) {
                self.0.count(kind, key, lookup, began);
            }
        };
        let mut lookups = vec![Lookup::Missing(MissReason::Absent); keys.len()];
        let (mut places, mut sought) = (Vec::new(), Vec::new());
        for (place, key) in keys.iter().map(AsRef::as_ref).enumerate() {
            if let Some(entry) = self.0.recall(kind, key, self.0.clock.tick()) {
                lookups[place] = Lookup::Fresh(entry);
            } else if check_key(key).is_ok() {
                places.push(place);
                sought.push(Sought { key, kind, fresh: None });
            } else {
                count(key, &lookups[place]);
            }
        }
        for (place, lookup) in places.into_iter().zip(self.0.look_up_many(&sought).await) {
            count(keys[place].as_ref(), &lookup);
            lookups[place] = lookup;
        }
        lookups
    }

    /// A loader whose `call` fetches many ids at once, for [`get_or_set_many`](Self::get_or_set_many), and for
    /// [`get_or_set`](Self::get_or_set) through [`Bulk::fetch`]. Make one for each sort of upstream call and keep it: only those
    /// who share it share batches. Calls run on the cache's own tasks: one that has begun goes on when its callers leave.
    pub fn bulk<I, F, Fut>(&self, batching: Batching, call: F) -> Bulk<I>
    where
        I: Clone + Eq + Hash + Send + Sync + 'static,
        F: Fn(Vec<I>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Batch<I>, FetchFailure>> + Send + 'static,
    {
        Bulk::new(batching, self.0.tasks.clone(), call)
    }

    /// The values of many ids, in their order, each as [`get_or_set`](Self::get_or_set) would answer: from a tier, from a fetch of
    /// the same key that is under way here or on another node, alone or in a batch, or else fetched by `bulk` together with
    /// whatever else is asked for at the time. One that fails costs the others nothing. Of each it is remembered that it failed,
    /// or that it is missing, as `policy.failures` says.
    ///
    /// The tiers are read in one round trip for each 50 keys. Of a longer list 1,000 ids are under way at a time. Dropping the
    /// call is free: what is being fetched goes on and is kept.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use lently_cache::{AfterWait, Budget, CacheConfig, CacheService, Clock, FailureTtl, Kind, Policy, RemoteConfig, Tags};
    /// use lently_cache::{Batch, Batching, FailureClass, Fetched, Wanted};
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # const VIDEO: Kind = Kind { name: "video", schema: 1 };
    /// # let cache = CacheService::open(CacheConfig {
    /// #     kinds: &[VIDEO], prefix: "example:".to_owned(), memory_bytes: 1 << 20, remote: RemoteConfig::None,
    /// #     clock: Clock::system(), tasks: Default::default(), max_value_bytes: 1 << 16, budget: Budget::UNLIMITED,
    /// # }).await?;
    /// # let policy = Policy {
    /// #     kind: VIDEO, fresh: Duration::from_secs(60), stale: Duration::ZERO, retention: Duration::from_secs(3600),
    /// #     refresh_ahead: Duration::ZERO, fetch_timeout: Duration::from_secs(5), after_wait: AfterWait::Fetch,
    /// #     failures: FailureTtl::default(), tags: Tags::NONE,
    /// # };
    /// let videos = cache.bulk(Batching::default(), |ids: Vec<u32>| async move {
    ///     // One call for all of them; upstream knows the even ones.
    ///     Ok(ids.into_iter().filter(|id| id % 2 == 0).map(|id| (id, Ok(Fetched::new(id.to_string())))).collect::<Batch<_>>())
    /// });
    /// let wanted: Vec<_> =
    ///     [4, 7].map(|id| Wanted { id, key: format!("video:{id}"), policy: policy.clone() }).into();
    /// let answers = cache.get_or_set_many(&wanted, &videos).await;
    /// assert_eq!(answers[0].as_ref().map(|answer| &answer.entry.value[..]).ok(), Some(&b"4"[..]));
    /// assert!(answers[1].as_ref().is_err_and(|error| error.class() == FailureClass::NotFound));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_or_set_many<I>(
        &self,
        wanted: &[Wanted<I>],
        bulk: &Bulk<I>,
    ) -> Vec<Result<Answer, FetchError>>
    where
        I: Clone + Eq + Hash + Send + Sync + 'static,
    {
        self.get_or_set_many_with(wanted, &Controls::DEFAULT, bulk).await
    }

    /// The same for a caller who wants something else than the policies say.
    pub async fn get_or_set_many_with<I>(
        &self,
        wanted: &[Wanted<I>],
        controls: &Controls,
        bulk: &Bulk<I>,
    ) -> Vec<Result<Answer, FetchError>>
    where
        I: Clone + Eq + Hash + Send + Sync + 'static,
    {
        let span = spans::asking_many(wanted.len());
        self.ask_many(wanted, controls, bulk, &span).instrument(span.clone()).await
    }

    async fn ask_many<I>(
        &self,
        wanted: &[Wanted<I>],
        controls: &Controls,
        bulk: &Bulk<I>,
        span: &Span,
    ) -> Vec<Result<Answer, FetchError>>
    where
        I: Clone + Eq + Hash + Send + Sync + 'static,
    {
        let mut answers = Vec::with_capacity(wanted.len());
        for wanted in wanted.chunks(ASKED_AT_ONCE) {
            let wish = Wish::of(controls, self.0.clock.now());
            let began = Instant::now();
            let mut lookups = vec![None; wanted.len()];
            if !wish.anew || wish.only_if_cached {
                let usable: Vec<usize> =
                    (0..wanted.len()).filter(|&place| check_key(&wanted[place].key).is_ok()).collect();
                let sought: Vec<_> = usable
                    .iter()
                    .map(|&place| Sought::by(&wanted[place].policy, &wanted[place].key))
                    .collect();
                for (place, lookup) in usable.into_iter().zip(self.0.look_up_many(&sought).await) {
                    lookups[place] = Some(lookup);
                }
            }
            let each = wanted.iter().zip(lookups);
            let each = each.map(|(wanted, found)| {
                let Wanted { id, key, policy } = wanted;
                let asked = Asked { key, policy, wish: &wish, began, span };
                self.one(id.clone(), asked, found, bulk)
            });
            answers.extend(join_all(each).await);
        }
        answers
    }

    /// One of many, of which the tiers were asked already.
    async fn one<I>(
        &self,
        id: I,
        asked: Asked<'_>,
        found: Option<Lookup>,
        bulk: &Bulk<I>,
    ) -> Result<Answer, FetchError>
    where
        I: Clone + Eq + Hash + Send + Sync + 'static,
    {
        let Asked { key, policy, wish, .. } = asked;
        check_key(key).and_then(|()| policy.tags.check()).map_err(FetchError::BadKey)?;
        let own = bulk.clone();
        let mut fetch = move || own.fetch(id);
        if let Some(Lookup::Fresh(entry) | Lookup::Stale(entry)) = found {
            match self.serve(key, policy, wish, &entry, self.0.clock.now(), fetch) {
                Ok(outcome) => {
                    self.0.count_served(&asked, &entry, outcome);
                    return Ok(Answer { entry, outcome });
                }
                Err(unused) => fetch = unused,
            }
        }
        if wish.only_if_cached {
            self.0.answered(&asked, Ended::Missing, None);
            return Err(FetchError::NotCached);
        }
        self.ask(&asked, Arc::from(key), fetch).await
    }

    /// Stores many values, each as [`set`](Self::set) does; what became of each, in their order. Of two values of the same key
    /// either may be the one that stays. 50 are written at once, one behind the other on one wire. A caller that leaves does not
    /// keep the rest from being written.
    pub async fn set_many(&self, entries: Vec<WarmEntry>) -> Vec<Result<Stored, CacheError>> {
        let (inner, count) = (self.0.clone(), entries.len());
        let writing = self.to_its_end(async move {
            let writes = entries.into_iter().map(|WarmEntry { key, policy, value, cost }| {
                let inner = inner.clone();
                async move { inner.put(&Arc::from(key), &policy, value, cost).await }
            });
            Ok(stream::iter(writes).buffered(WRITTEN_AT_ONCE).collect().await)
        });
        writing.await.unwrap_or_else(|error| vec![Err(error); count])
    }

    /// [`set_many`](Self::set_many) for whom numbers will do: those that no tier took are counted, not thrown.
    pub async fn warm(&self, entries: Vec<WarmEntry>) -> WarmReport {
        let mut report = WarmReport::default();
        for stored in self.set_many(entries).await {
            match stored {
                Ok(stored) if stored.anywhere() => report.stored += 1,
                _ => report.failed += 1,
            }
        }
        report
    }
}
