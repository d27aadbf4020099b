//! Makes one analysis: comments in, the stored JSON out. It runs inside the run of its id and starts no other.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use lently_analysis::prompt::{PromptError, ThemeName, Words};
use lently_analysis::{Claim, Coverage, Report, grouped, in_words};
use lently_cache::{Clock, Controls, Cost, FailureClass, Fetched, Outcome, StaleReason};
use lently_upstream::dump::{Dump, DumpNote};
use lently_upstream::{Bucket, CommentOrder, HarvestEnd, HarvestProgress, VideoId};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::analysis::CachedAnalysisService;
use crate::body::{AnalysisBody, BodyEngine, BodyRequest, BodySource, BodyVerdict, BodyWords};
use crate::engine::{Engine, Engines, local_version};
use crate::error::ServiceError;
use crate::gemini::{Payer, Subject, Written, prompt_version};
use crate::ids::AnalysisId;
use crate::jobs::{Keeping, Run};
use crate::judge::{self, Degraded, Judged};
use crate::judged;
use crate::ledger::{Job, Ledger, Payer as LedgerPayer, Purpose};
use crate::progress::{Progress, Stage};
use crate::purse::Purse;
use crate::request::{AnalysisRequest, AnalysisSource};
use crate::since::Before;
use crate::store::{EarlierAnalysis, Store, StoredAnalysis, between, later};
use crate::ttl::RETENTION;
use crate::youtube::{CachedYouTubeService, Comments, CommentsRequest, Doubt, OnPage, PREMATURE_FRESH};

/// A degraded analysis is not kept for the whole hour: Gemini may be back soon.
const DEGRADED_FRESH: Duration = Duration::from_secs(300);

/// The parts of the time limit of an analysis by which Gemini must have judged, and have written the summary. The rest is for
/// what is done locally, which takes a minute at the most.
const JUDGING_PART: f64 = 0.75;
const SUMMARY_PART: f64 = 0.9;

/// What making an analysis needs. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Maker {
    pub youtube: CachedYouTubeService,
    pub analyses: CachedAnalysisService,
    pub engines: Engines,
    pub store: Store,
    pub ledger: Ledger,
    pub clock: Clock,
}

/// What the store keeps beside an analysis.
struct Beside {
    /// Its comments.
    packed: Option<Vec<u8>>,
    /// What it said before.
    earlier: Option<EarlierAnalysis>,
}

/// The comments to judge and where they are from.
struct Material {
    source: BodySource,
    comments: Vec<lently_upstream::Comment>,
    coverage: Coverage,
    /// What the report is to be read with care for.
    notes: Vec<String>,
    cost: Cost,
    /// Whether more may be read soon.
    premature: bool,
    /// Until when the oldest of it may be kept.
    retain_until: Timestamp,
}

impl Maker {
    /// Makes the analysis and keeps it in the store before anyone hears of it.
    pub(crate) async fn make(
        &self,
        id: &AnalysisId,
        request: &AnalysisRequest,
        engine: &Engine,
        controls: &Controls,
        run: &Run,
    ) -> Result<Fetched, ServiceError> {
        let (started, progress) = (Instant::now(), run.progress());
        run.is_of_video(request.source.video_id().cloned());
        let by = run.payer();
        let maker = self.paid_by(&by, run.canceled());
        let (begun, limit) = (tokio::time::Instant::now(), self.analyses.policy().fetch_timeout);
        let material = maker.material(request, controls, progress).await?;
        run.has_read(&material.comments);
        let retain_until = material.retain_until;
        let read = material.comments;
        let (packed, comments): (_, Vec<lently_analysis::Comment>) = self
            .engines
            .blocking(move || (judged::pack(&read), read.into_iter().map(convert).collect()))
            .await?;
        let purse = Purse::default();
        let payer = |part| {
            let (by, purse) = (by.clone(), purse.clone());
            Payer { by, purse, deadline: begun + limit.mul_f64(part), retain_until }
        };
        let judged = self.judge(engine, &comments, payer(JUDGING_PART), progress).await?;
        progress.send_replace(Progress::at(Stage::Summarizing));
        let bodies: Vec<BodyVerdict> = comments
            .iter()
            .zip(&judged.verdicts)
            .map(|(comment, verdict)| BodyVerdict::new(comment.id.clone(), verdict))
            .collect();
        let (verdicts, coverage) = (judged.verdicts, material.coverage);
        let (mut report, comments) = self
            .engines
            .blocking(move || (lently_analysis::report(&comments, &verdicts, coverage), comments))
            .await?;
        for note in &material.notes {
            caution(&mut report, note);
        }
        let video = match &material.source {
            BodySource::Video { video_id, .. } => Some((video_id, &comments[..])),
            BodySource::File { .. } => None,
        };
        let subject = Subject::new(id.clone(), report.clone(), request.language(), video);
        let summary = self.summarize(engine, subject, &mut report, &payer(SUMMARY_PART)).await;
        let dropped_ids = summary.dropped_ids + keep_known(&mut report.claims, &comments);
        let retain_until = summary.retain_until.map_or(retain_until, |until| until.min(retain_until));
        let mut cost = material.cost + purse.spent();
        cost.milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let degraded = judged.degraded.or(summary.degraded);
        let fresh = self.fresh(material.premature, degraded.as_ref());
        let before = Before::load(&self.store, id).await;
        let since = before.as_ref().map(|before| before.since(&report, &bodies));
        let body = AnalysisBody {
            analysis_id: id.clone(),
            status: "completed".to_owned(),
            created_at: self.clock.now(),
            source: material.source,
            request: BodyRequest {
                max_comments: request.comments_at_most(),
                order: request.order,
                include_replies: request.include_replies,
                engine: request.engine,
                language: request.language.clone(),
            },
            engine: BodyEngine {
                name: engine.name().to_owned(),
                version: local_version(),
                model: engine.model().map(str::to_owned),
                model_version: judged.model_version.or(summary.model_version),
                prompt_version: engine.model().map(|_| prompt_version()),
                judged: judged.counts,
                reused: judged.reused,
                words: summary.words,
                dropped_ids,
                degraded: degraded.map(|degraded| degraded.reason),
            },
            report,
            since,
            verdicts: bodies,
            cost,
        };
        let beside = Beside { packed, earlier: before.and_then(Before::into_earlier) };
        self.keep(&body, beside, fresh, retain_until, run).await
    }

    /// The same, for what the ledger is to say of its expenses, and until nobody wants it any more.
    fn paid_by(&self, payer: &LedgerPayer, canceled: CancellationToken) -> Self {
        Self { youtube: self.youtube.paid_by(payer.clone()).until(canceled), ..self.clone() }
    }

    /// What may soon be better is made again soon. What would only cost the same once more is not.
    fn fresh(&self, premature: bool, degraded: Option<&Degraded>) -> Duration {
        let full = self.analyses.policy().fresh.saturating_sub(self.youtube.unchecked());
        match degraded {
            _ if premature => full.min(PREMATURE_FRESH),
            Some(Degraded { may_pass: true, .. }) => full.min(DEGRADED_FRESH),
            _ => full,
        }
    }

    /// A store that fails is no reason to throw away what was paid for: it is logged, and the tiers keep the analysis.
    async fn keep(
        &self,
        body: &AnalysisBody,
        beside: Beside,
        fresh: Duration,
        retain_until: Timestamp,
        run: &Run,
    ) -> Result<Fetched, ServiceError> {
        let json = serde_json::to_vec(body)
            .map_err(|error| ServiceError::internal("an analysis cannot be written", error))?;
        let value = Bytes::from(json);
        let mut stored = StoredAnalysis {
            id: body.analysis_id.clone(),
            body: value.clone(),
            cost: body.cost,
            title: body.source.title().to_owned(),
            video_id: body.source.video_id().map(ToString::to_string),
            comments: body.verdicts.len() as u64,
            created_at: body.created_at,
            fresh_until: later(body.created_at, fresh).min(retain_until),
            retain_until,
        };
        if let Some(reason) = &body.engine.degraded {
            tracing::warn!(analysis_id = %stored.id, reason, "analysis degraded");
        }
        let keeping = run.keeping().await;
        if *keeping == Keeping::Expired {
            stored.fresh_until = stored.created_at;
        }
        if *keeping == Keeping::Not {
            match self.store.take_summaries(&stored.id).await {
                Ok(keys) => self.analyses.forget_summaries(&keys).await,
                Err(error) => {
                    tracing::warn!(analysis_id = %stored.id, error = &error as &dyn std::error::Error, "summary not erased");
                }
            }
        } else if let Err(error) =
            self.store.save_analysis(&stored, beside.packed.as_deref(), beside.earlier.as_ref()).await
        {
            tracing::error!(analysis_id = %stored.id, error = &error as &dyn std::error::Error, "analysis not kept in the store");
        }
        let retain = Some(between(body.created_at, retain_until));
        Ok(Fetched { fresh: Some(fresh), retain, ..Fetched::new(value).with_cost(body.cost) })
    }

    async fn material(
        &self,
        request: &AnalysisRequest,
        controls: &Controls,
        progress: &watch::Sender<Progress>,
    ) -> Result<Material, ServiceError> {
        match &request.source {
            AnalysisSource::Video(video) => {
                self.material_of_video(&video.video_id, request, controls, progress).await
            }
            AnalysisSource::Dump { dump, file_name, .. } => {
                // Nobody knows when YouTube gave it: it counts from when it was handed in.
                let retain_until = later(self.clock.now(), RETENTION);
                Ok(material_of_dump(dump, file_name, request, retain_until))
            }
        }
    }

    async fn material_of_video(
        &self,
        video_id: &VideoId,
        request: &AnalysisRequest,
        controls: &Controls,
        progress: &watch::Sender<Progress>,
    ) -> Result<Material, ServiceError> {
        progress.send_replace(Progress::at(Stage::Metadata));
        let metadata = self.youtube.video(video_id, controls).await?;
        let video = metadata.value()?;
        let most = u64::from(request.max_comments);
        let total = Some(video.comment_count.map_or(most, |count| count.min(most)));
        progress.send_replace(Progress { stage: Stage::Comments, done: 0, total });
        let pages = progress.clone();
        let on_page: OnPage = Arc::new(move |page: HarvestProgress| {
            pages.send_replace(Progress { stage: Stage::Comments, done: page.read, total });
        });
        let wanted = CommentsRequest {
            video_id: video_id.clone(),
            max_comments: request.max_comments,
            order: request.order,
            include_replies: request.include_replies,
        };
        let job = self.set_aside(&wanted, video.comment_count, controls).await;
        let short = job.as_ref().and_then(|job| short_of(job.granted()));
        let youtube = job.as_ref().map_or_else(|| self.youtube.clone(), |job| self.youtube.out_of(job));
        let mut cached = youtube.comments(&wanted, controls, on_page.clone()).await;
        if matches!(cached, Err(ServiceError::Canceled)) {
            // Another analysis was reading, and is not wanted any more; this one goes on behind its pages.
            cached = youtube.comments(&wanted, controls, on_page).await;
        }
        if let Some(job) = job {
            self.ledger.settle(job).await;
        }
        let cached = cached?;
        let harvest = cached.value()?;
        let coverage = coverage_of_harvest(&harvest, video.comment_count, request);
        let aged = match cached.outcome {
            Outcome::Stale(reason) => {
                let nothing_left = self.ledger.left(Bucket::Shared, Purpose::Analysis) == 0;
                Some(aged(self.clock.now(), cached.age, reason, nothing_left))
            }
            _ => None,
        };
        let harvest_is_short = harvest.end.is_premature();
        Ok(Material {
            source: BodySource::of_video(&video),
            premature: harvest_is_short || harvest.doubt == Doubt::Short || aged.is_some(),
            retain_until: metadata.retain_until.min(cached.retain_until),
            comments: harvest.comments,
            coverage,
            notes: aged.into_iter().chain(short.filter(|_| harvest_is_short)).collect(),
            cost: metadata.spent() + cached.spent(),
        })
    }

    /// Sets the units aside that reading the comments may take, so that what is begun can be ended; nothing where they are there.
    /// Where less is left the harvest reads as far as that goes, and says so.
    async fn set_aside(
        &self,
        wanted: &CommentsRequest,
        stated: Option<u64>,
        controls: &Controls,
    ) -> Option<Job> {
        let pages = self.youtube.lacking(wanted, controls, stated).await.pages;
        if pages == 0 {
            return None;
        }
        Some(self.ledger.reserve(self.youtube.payer(), Bucket::Shared, pages).await)
    }

    async fn judge(
        &self,
        engine: &Engine,
        comments: &[lently_analysis::Comment],
        payer: Payer,
        progress: &watch::Sender<Progress>,
    ) -> Result<Judged, ServiceError> {
        let total = Some(comments.len() as u64);
        progress.send_replace(Progress { stage: Stage::Judging, done: 0, total });
        let texts: Vec<String> = comments.iter().map(|comment| comment.text.clone()).collect();
        let judging = progress.clone();
        let on_judged = Arc::new(move |done: u64| {
            judging.send_if_modified(|progress| {
                // Batches end in any order; progress only ever goes forward.
                let forward = done > progress.done;
                *progress = Progress { stage: Stage::Judging, done: done.max(progress.done), total };
                forward
            });
        });
        judge::judge(&self.engines, engine, &texts, payer, on_judged).await
    }

    /// Has Gemini put the counted facts into words, where it is the engine; the report's own summary stays otherwise.
    async fn summarize(
        &self,
        engine: &Engine,
        subject: Subject,
        report: &mut Report,
        payer: &Payer,
    ) -> Summary {
        let Engine::Gemini(gemini) = engine else { return Summary::default() };
        if report.coverage.read == 0 {
            // Nobody has said anything, and that is said already.
            return Summary::default();
        }
        let locally = |why: String, may_pass| {
            Some(Degraded { reason: format!("the summary was written locally: {why}"), may_pass })
        };
        match gemini.summarize(&subject, payer).await {
            Ok(Written { words: Ok(words), model_version, made_at, changed, retain_until }) => {
                let Words { claims, names, dropped_ids } = words;
                report.summary = in_words(&claims);
                report.claims = claims;
                for ThemeName { label, name } in names {
                    let theme = report.themes.iter_mut().find(|theme| theme.label == label);
                    theme.into_iter().for_each(|theme| theme.name = Some(name.clone()));
                }
                let (model_version, words) = (Some(model_version), Some(BodyWords { made_at, changed }));
                Summary { model_version, words, dropped_ids, retain_until, degraded: None }
            }
            Ok(Written { words: Err(error), model_version, .. }) => {
                let degraded = locally(error.to_string(), error != PromptError::UncountedNumber);
                Summary { model_version: Some(model_version), degraded, ..Summary::default() }
            }
            Err(why) => Summary { degraded: locally(why.to_string(), why.may_pass()), ..Summary::default() },
        }
    }
}

#[derive(Default)]
struct Summary {
    model_version: Option<String>,
    words: Option<BodyWords>,
    dropped_ids: u64,
    /// Until when the words may be kept, where they quote what was read earlier.
    retain_until: Option<Timestamp>,
    degraded: Option<Degraded>,
}

/// Takes out of what sentences rest on whatever is not among the comments, and tells how much that was: words on nearly the same
/// comments may rest on one that is gone.
fn keep_known(claims: &mut [Claim], comments: &[lently_analysis::Comment]) -> u64 {
    let wanted: HashSet<&str> =
        claims.iter().flat_map(|claim| &claim.comment_ids).map(String::as_str).collect();
    let known: HashSet<String> =
        comments.iter().filter(|one| wanted.contains(one.id.as_str())).map(|one| one.id.clone()).collect();
    let mut dropped = 0;
    for claim in claims {
        let named = claim.comment_ids.len();
        claim.comment_ids.retain(|id| known.contains(id));
        dropped += (named - claim.comment_ids.len()) as u64;
    }
    dropped
}

/// Adds a sentence to what a report is to be read with care for.
fn caution(report: &mut Report, note: &str) {
    let mut sentence = format!("{note}.");
    if let Some(first) = sentence.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    report.caution = Some(match report.caution.take() {
        Some(caution) => format!("{caution} {sentence}"),
        None => sentence,
    });
}

/// What to say of comments of which some could not be paid for.
fn short_of((granted, wanted): (u64, u64)) -> Option<String> {
    let were = if granted == 1 { "was" } else { "were" };
    (granted < wanted).then(|| {
        format!("of the {wanted} units of quota that its comments may take, {granted} {were} left today")
    })
}

/// What to say of comments that could not be read anew.
fn aged(now: Timestamp, age: Duration, reason: StaleReason, nothing_left: bool) -> String {
    let read = now.checked_sub(age).unwrap_or(now).strftime("%Y-%m-%d %H:%M UTC");
    let why = match reason {
        StaleReason::Failed(FailureClass::QuotaExhausted { .. }) => "YouTube's quota is used up for today",
        StaleReason::Failed(FailureClass::RateLimited { retry_after: Some(Duration::ZERO) }) => {
            "what is left of today's quota is set aside"
        }
        StaleReason::Budget if nothing_left => "YouTube's quota is used up for today",
        StaleReason::Budget => "little of today's quota is left",
        StaleReason::Failed(FailureClass::RateLimited { .. }) => "YouTube asks for fewer requests for now",
        _ => "YouTube could not be asked again just now",
    };
    format!("the comments are those that were read at {read}, because {why}")
}

fn material_of_dump(
    dump: &Dump,
    file_name: &str,
    request: &AnalysisRequest,
    retain_until: Timestamp,
) -> Material {
    let mut comments: Vec<lently_upstream::Comment> = dump
        .comments
        .iter()
        .filter(|comment| request.include_replies || comment.parent_id.is_none())
        .cloned()
        .collect();
    let held = comments.len();
    let most = usize::try_from(request.max_comments).unwrap_or(usize::MAX);
    if held > most && request.order == CommentOrder::Time {
        comments.sort_by_key(|comment| std::cmp::Reverse(comment.published_at));
    }
    comments.truncate(most);
    let whole = comments.len() == held;
    let torn = dump.notes.iter().any(|note| matches!(note, DumpNote::UnclosedQuote { .. }));
    let (first, all) = (grouped(most as u64), grouped(held as u64));
    let basis = match (whole, request.order) {
        (true, _) if torn => {
            "the file was read to its end, but not every comment could be told from the next".to_owned()
        }
        (true, _) => "every comment in the file was read".to_owned(),
        (false, CommentOrder::Time) => {
            format!("the newest {first} of the {all} comments in the file were read")
        }
        (false, CommentOrder::Relevance) => {
            format!("the first {first} of the {all} comments in the file were read")
        }
    };
    let coverage = Coverage {
        read: comments.len() as u64,
        of: Some(dump.stated_total.unwrap_or(held as u64)),
        complete: whole && !torn && dump.stated_total.is_none_or(|total| total <= comments.len() as u64),
        basis,
    };
    let source = BodySource::File {
        file_name: file_name.to_owned(),
        format: dump.format.to_string(),
        video_id: dump.video_id.clone(),
        title: dump.title.clone(),
        skipped_rows: dump.skipped_rows,
    };
    let notes = dump.notes.iter().map(ToString::to_string).collect();
    Material { source, comments, coverage, notes, cost: Cost::default(), premature: false, retain_until }
}

fn coverage_of_harvest(harvest: &Comments, stated: Option<u64>, request: &AnalysisRequest) -> Coverage {
    let read = harvest.comments.len() as u64;
    let missing = harvest.replies_missing;
    let (are, were) = if missing == 1 { ("reply is", "reply was") } else { ("replies are", "replies were") };
    let replies = if request.include_replies {
        format!("{} {are} missing", grouped(missing))
    } else {
        format!("{} {were} not asked for", grouped(missing))
    };
    let pages = if harvest.pages == 1 { "1 page".to_owned() } else { format!("{} pages", harvest.pages) };
    let (complete, basis) = match harvest.end {
        HarvestEnd::Complete if harvest.doubt == Doubt::Short => {
            (false, format!("YouTube gave no further page, but counts many more comments; {replies}"))
        }
        HarvestEnd::Complete if missing > 0 => (false, format!("YouTube's last page was reached; {replies}")),
        HarvestEnd::Complete => (true, "YouTube's last page was reached, and no reply is missing".to_owned()),
        HarvestEnd::LimitReached => {
            let first = match request.order {
                CommentOrder::Relevance => "those that YouTube ranks first",
                CommentOrder::Time => "the newest",
            };
            let limit = comments_in_words(request.max_comments);
            (false, format!("the limit of {limit} was reached: {first}"))
        }
        HarvestEnd::Failed => {
            (false, format!("YouTube failed after {pages}, and the rest is missing; {replies}"))
        }
        HarvestEnd::OutOfTime => (
            false,
            format!("the time for reading was over after {pages}, and the rest is missing; {replies}"),
        ),
    };
    Coverage { read, of: stated, complete, basis: basis + &as_of(harvest) }
}

/// What is to be said of comments that were not all read at once.
fn as_of(harvest: &Comments) -> String {
    let at = |time: Timestamp| time.strftime("%Y-%m-%d %H:%M UTC");
    let mut said = String::new();
    if harvest.checked_at > harvest.read_at {
        said =
            format!("; read in full at {}, and checked at {}", at(harvest.read_at), at(harvest.checked_at));
    }
    if harvest.merged > 0 {
        said += &format!(", with {} that came between", grouped(harvest.merged));
    }
    said
}

fn comments_in_words(count: u32) -> String {
    format!("{} comment{}", grouped(count.into()), if count == 1 { "" } else { "s" })
}

fn convert(comment: lently_upstream::Comment) -> lently_analysis::Comment {
    lently_analysis::Comment {
        id: comment.id,
        parent_id: comment.parent_id,
        author: comment.author,
        text: comment.text,
        like_count: comment.like_count,
        reply_count: comment.reply_count,
        published_at: comment.published_at,
    }
}
