//! What an analysis would cost before it is begun. Making an estimate spends nothing: of a video that no tier knows it is what the request
//! may take at most, and says so.

use lently_analysis::prompt::{self, Prompt};
use lently_cache::{Controls, Cost};
use lently_upstream::Bucket;
use serde::Serialize;

use crate::engine::Engine;
use crate::error::ServiceError;
use crate::gemini::BATCH;
use crate::ids::{AnalysisId, UserId};
use crate::keys::CacheKeys;
use crate::ledger::Purpose;
use crate::lently::Lently;
use crate::request::{AnalysisRequest, AnalysisSource};
use crate::youtube::CommentsRequest;

/// A comment has 67 bytes on average (22,995 comments of four sets, November 2026); four bytes are a token as a rule of thumb.
const COMMENT_BYTES: usize = 70;
const BYTES_PER_TOKEN: usize = 4;
/// A verdict is about 30 tokens of JSON; the facts of a summary are taken for 600 tokens, and its five sentences for 150.
const TOKENS_OF_VERDICT: u64 = 30;
const TOKENS_OF_SUMMARY: (u64, u64) = (600, 150);
/// Where nothing was recorded yet: a page of comments takes a third of a second, 50 verdicts of Gemini some five, four at once; the local
/// engine a tenth of a millisecond a comment. Guesses, to tell seconds from minutes.
const PAGE_MS: u64 = 350;
const GEMINI_MS_PER_COMMENT: f64 = 25.0;
const LOCAL_MS_PER_COMMENT: f64 = 0.1;
/// Analyses whose time is averaged.
const RECENT: u32 = 50;

/// What an analysis would cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// The analysis.
    pub analysis_id: AnalysisId,
    /// What is there already and costs nothing.
    pub cached: CachedParts,
    /// Comments it would judge, at most.
    pub comments: u64,
    /// Whether the number of comments is known; else it is what was asked for, and so are all the numbers that follow.
    pub comments_known: bool,
    /// Units of YouTube's shared quota.
    pub shared_units: u64,
    /// Units of the quota for statistics.
    pub stats_units: u64,
    /// Who would judge: `gemini` or `local`.
    pub engine: &'static str,
    /// Gemini's model, where it would be Gemini.
    pub model: Option<String>,
    /// Tokens sent to Gemini.
    pub tokens_in: u64,
    /// Tokens it would produce.
    pub tokens_out: u64,
    /// What they would cost, in millionths of a dollar; nothing is said for a model without a price.
    pub micro_dollars: Option<u64>,
    /// How long it may take, roughly.
    pub seconds: f64,
    /// Whether the plan and what is left of today's quota allow it.
    pub allowed: bool,
    /// Why not, and what else is to be known.
    pub notes: Vec<String>,
}

/// What is in a tier and fresh.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CachedParts {
    /// The whole analysis.
    pub analysis: bool,
    /// What YouTube says of the video.
    pub video: bool,
    /// Its comments.
    pub comments: bool,
}

impl Lently {
    /// Tells what an analysis would cost this user's request, without asking any upstream and without beginning it.
    ///
    /// # Errors
    /// A request that could not be begun either, but for the plan and the quota: those stand in the estimate.
    pub async fn estimate(&self, user: &UserId, request: &AnalysisRequest) -> Result<Estimate, ServiceError> {
        let (id, engine) = self.check(request)?;
        if self.cache().exists(&CacheKeys::analysis(&id)).await
            || self.analyses().fresh_in_store(&id).await.is_ok_and(|found| found.is_some())
        {
            return Ok(Estimate::of_nothing(id, &engine));
        }
        let mut estimate = Estimate::of_nothing(id, &engine);
        estimate.cached.analysis = false;
        match &request.source {
            AnalysisSource::Video(_) => self.estimate_reading(request, &mut estimate).await,
            AnalysisSource::Dump { .. } => estimate.comments = request.comments_at_most().into(),
        }
        if let Engine::Gemini(gemini) = &engine {
            let (tokens_in, tokens_out) = tokens(request, estimate.comments);
            (estimate.tokens_in, estimate.tokens_out) = (tokens_in, tokens_out);
            estimate.micro_dollars = self.ledger().micro_dollars(gemini.model(), tokens_in, tokens_out);
            if estimate.micro_dollars.is_none() {
                estimate.notes.push(format!("`{}` has no price in the table", gemini.model()));
            }
        }
        estimate.seconds = self.seconds(&estimate).await;
        self.ledger().refresh().await;
        self.weigh(user, request, &mut estimate).await;
        Ok(estimate)
    }

    /// Tells what reading the video of a request would cost, whether or not the analysis is there.
    pub(crate) async fn estimate_of_reading(
        &self,
        request: &AnalysisRequest,
    ) -> Result<Estimate, ServiceError> {
        let (id, engine) = self.check(request)?;
        let mut estimate = Estimate::of_nothing(id, &engine);
        estimate.cached.analysis = false;
        self.estimate_reading(request, &mut estimate).await;
        Ok(estimate)
    }

    async fn estimate_reading(&self, request: &AnalysisRequest, estimate: &mut Estimate) {
        let AnalysisSource::Video(video) = &request.source else { return };
        let youtube = self.youtube();
        let wanted = CommentsRequest {
            video_id: video.video_id.clone(),
            max_comments: request.max_comments,
            order: request.order,
            include_replies: request.include_replies,
        };
        estimate.cached.video = self.cache().exists(&CacheKeys::video(&video.video_id)).await;
        let known = youtube.known_video(&video.video_id).await;
        let by_statistics = known.as_ref().is_some_and(|known| known.believed);
        let age = known.as_ref().map(|known| known.age);
        let stated = known.and_then(|known| known.video.comment_count);
        let lacking = youtube.lacking(&wanted, &Controls::DEFAULT, stated).await;
        estimate.cached.comments = lacking.pages == 0;
        estimate.comments_known = stated.is_some();
        estimate.comments = u64::from(request.max_comments).min(stated.unwrap_or(u64::MAX));
        estimate.shared_units = u64::from(!estimate.cached.video && !by_statistics);
        estimate.stats_units = u64::from(!estimate.cached.video && by_statistics);
        // What is read anew of the video has their count too.
        let is_counted_apart = lacking.count.is_some_and(|than| age.is_some_and(|age| age >= than));
        estimate.stats_units += u64::from(estimate.cached.video && is_counted_apart);
        if !estimate.cached.comments {
            estimate.shared_units += lacking.pages;
            if request.include_replies {
                estimate.notes.push(
                    "replies that are not on the pages cost more, a unit for up to 100 of a comment's"
                        .to_owned(),
                );
            }
        }
        if !estimate.comments_known {
            estimate.notes.push(
                "the video is not known here yet: these are the most that the request may take".to_owned(),
            );
        }
    }

    /// Sets beside it what may be spent.
    async fn weigh(&self, user: &UserId, request: &AnalysisRequest, estimate: &mut Estimate) {
        let left = self.ledger().left(Bucket::Shared, Purpose::Analysis);
        if estimate.shared_units > left {
            estimate.allowed = false;
            let units = estimate.shared_units;
            estimate.notes.push(format!("{units} units are needed and {left} are left today"));
        }
        if let (Some(needed), Some(left)) = (estimate.micro_dollars, self.ledger().micro_dollars_left())
            && needed > left
        {
            estimate.notes.push(
                "more than today's budget for Gemini has left: the rest would be judged locally".to_owned(),
            );
        }
        match self.usage(user).await {
            Ok(usage) => {
                if let Err(error) = usage.plan.check_comments(request.comments_at_most()) {
                    estimate.allowed = false;
                    estimate.notes.push(error.to_string());
                }
                if usage.limits.analyses_per_month.is_some_and(|limit| usage.used >= limit) {
                    estimate.allowed = false;
                    estimate
                        .notes
                        .push(format!("the plan `{}` allows no more analyses this month", usage.plan.name()));
                }
            }
            Err(_) => estimate.notes.push("the plan could not be looked up".to_owned()),
        }
    }

    /// By what the last analyses took for each comment, reading included; by guesses where there are none yet.
    async fn seconds(&self, estimate: &Estimate) -> f64 {
        let by_gemini = estimate.model.is_some();
        let recent = self.store().recent_costs(RECENT).await.unwrap_or_default();
        let alike = recent.iter().filter(|(cost, _)| (cost.tokens_out > 0) == by_gemini);
        let (took, comments) =
            alike.fold((0, 0), |(took, comments), (cost, of)| (took + cost.milliseconds, comments + of));
        // A few hundred thousand milliseconds and comments at most: exact.
        let milliseconds = if comments > 0 {
            took as f64 / comments as f64 * estimate.comments as f64
        } else {
            let each = if by_gemini { GEMINI_MS_PER_COMMENT } else { LOCAL_MS_PER_COMMENT };
            (PAGE_MS * estimate.shared_units) as f64 + each * estimate.comments as f64
        };
        (milliseconds / 100.0).round() / 10.0
    }
}

impl Estimate {
    /// It is there.
    fn of_nothing(analysis_id: AnalysisId, engine: &Engine) -> Self {
        Self {
            analysis_id,
            cached: CachedParts { analysis: true, ..CachedParts::default() },
            comments: 0,
            comments_known: true,
            shared_units: 0,
            stats_units: 0,
            engine: engine.name(),
            model: engine.model().map(str::to_owned),
            tokens_in: 0,
            tokens_out: 0,
            micro_dollars: Some(0),
            seconds: 0.0,
            allowed: true,
            notes: Vec::new(),
        }
    }

    /// The units for metadata among those of the shared quota, which up to 50 videos share.
    pub(crate) fn metadata_units(&self) -> u64 {
        u64::from(!self.cached.video && self.stats_units == 0)
    }

    /// What it comes to, as a cost is written.
    pub fn cost(&self) -> Cost {
        Cost {
            quota_units: self.shared_units,
            tokens_in: self.tokens_in,
            tokens_out: self.tokens_out,
            micro_dollars: self.micro_dollars.unwrap_or_default(),
            ..Cost::default()
        }
    }
}

/// Tokens in and out, by the prompts as they would be sent: of a file those of its texts, of a video those of as many average ones.
fn tokens(request: &AnalysisRequest, comments: u64) -> (u64, u64) {
    let average = "x".repeat(COMMENT_BYTES);
    let count = usize::try_from(comments).unwrap_or(usize::MAX);
    let texts: Vec<&str> = match &request.source {
        AnalysisSource::Dump { dump, .. } => {
            let mut texts: Vec<&str> =
                dump.comments.iter().map(|comment| comment.text.trim()).take(count).collect();
            // Equal texts are judged once.
            texts.sort_unstable();
            texts.dedup();
            texts
        }
        AnalysisSource::Video(_) => vec![&average; count],
    };
    let (summary_in, summary_out) = TOKENS_OF_SUMMARY;
    let sent: usize = texts.chunks(BATCH).map(|batch| bytes(&prompt::verdict_request(batch))).sum();
    let judged = texts.len() as u64;
    ((sent / BYTES_PER_TOKEN) as u64 + summary_in, judged * TOKENS_OF_VERDICT + summary_out)
}

fn bytes(prompt: &Prompt) -> usize {
    prompt.system.len() + prompt.user.len()
}
