//! `lently cache warm`: what is wanted, how far it is, and what came of it.

use std::sync::atomic::{AtomicUsize, Ordering};

use lently_service::{WarmRequest, WarmState};
use lently_upstream::{ChannelRef, CommentOrder, PlaylistId, VideoRef};
use serde_json::{Value, json};

use super::Told;
use crate::{
    app::App,
    cli::{CliError, Terminal, tell, wanted::parse_count},
    http::Warming,
    report::clean,
};

/// The most videos in one run, those of lists included.
const VIDEOS_MAX: usize = 1_000;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Addresses or ids of videos.
    videos: Vec<VideoRef>,
    /// The newest videos of a playlist: its id, or an address with it. May be given several times.
    #[arg(long = "playlist", value_name = "ID|URL")]
    playlists: Vec<PlaylistId>,
    /// The newest uploads of a channel: its id, its @handle, or an address of either. May be given several times.
    #[arg(long = "channel", value_name = "ID|@HANDLE|URL")]
    channels: Vec<ChannelRef>,
    /// How many of each playlist and channel.
    #[arg(long, value_name = "N", default_value_t = 10)]
    newest: u32,
    /// So many of the videos that were asked for most in the last three days.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    most_asked: u32,
    /// How many comments of each.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = parse_count)]
    max_comments: u32,
    /// Which comments come first: relevance or time.
    #[arg(long, default_value_t = CommentOrder::Relevance)]
    order: CommentOrder,
    /// Make their analyses, too.
    #[arg(long)]
    analyze: bool,
    /// Take no more than so many units of YouTube's shared quota [default: what is left to work that nobody waits for].
    #[arg(long, value_name = "UNITS")]
    budget: Option<u64>,
    /// Tell what it would take; fetch nothing.
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    pub(super) fn check(&self) -> Result<(), CliError> {
        let lists = !self.playlists.is_empty() || !self.channels.is_empty();
        if self.videos.is_empty() && !lists && self.most_asked == 0 {
            let told = "name videos, a --playlist, a --channel, or --most-asked with a number";
            return Err(CliError::Usage(told.to_owned()));
        }
        self.request().check(VIDEOS_MAX).map_err(|error| CliError::Usage(error.to_string()))
    }

    fn request(&self) -> WarmRequest {
        WarmRequest {
            videos: self.videos.iter().map(|video| video.video_id.clone()).collect(),
            playlists: self.playlists.clone(),
            channels: self.channels.clone(),
            newest: self.newest,
            most_asked: self.most_asked,
            max_comments: self.max_comments,
            order: self.order,
            analyze: self.analyze,
            budget_units: self.budget,
        }
    }

    /// The same as a server is asked for it.
    pub(super) fn body(&self) -> Value {
        let WarmRequest { videos, playlists, channels, newest, most_asked, .. } = self.request();
        json!({
            "videos": videos, "playlists": playlists, "channels": channels, "newest": newest,
            "most_asked": most_asked, "max_comments": self.max_comments, "order": self.order,
            "analyze": self.analyze, "budget_units": self.budget, "dry_run": self.dry_run,
        })
    }

    /// Warms the cache of this machine's configuration.
    pub(super) async fn here(&self, app: &App, terminal: Terminal) -> Result<Told, CliError> {
        let request = self.request();
        if self.dry_run {
            let plan = app.lently.plan_warming(&request).await.map_err(|error| CliError::of(&error))?;
            let mut facts = serde_json::to_value(plan).map_err(|error| CliError::of(&error))?;
            facts["dry_run"] = true.into();
            return Ok(Told::Warmed(facts));
        }
        let done = AtomicUsize::new(0);
        let report = app.lently.warm(&request, |video| {
            let number = done.fetch_add(1, Ordering::Relaxed) + 1;
            let state = match &video.state {
                WarmState::Warm => "warm",
                WarmState::Failed(_) => "failed",
                WarmState::Left(_) => "left",
            };
            if terminal.lively {
                tell(&format!("{number}. {}: {state}, {} units", video.video_id, video.cost.quota_units));
            }
        });
        let report = report.await.map_err(|error| CliError::of(&error))?;
        let warming = Warming::of(report, &app.lently);
        let success = warming.is_success();
        let mut facts = serde_json::to_value(warming).map_err(|error| CliError::of(&error))?;
        facts["success"] = success.into();
        facts["failed"] = failures(&facts).count().into();
        Ok(told(facts))
    }
}

/// What a warming came to; those that failed are told.
pub(super) fn told(facts: Value) -> Told {
    for video in failures(&facts) {
        let text = |value: &Value| clean(value.as_str().unwrap_or("no reason given"));
        tell(&format!("lently: {}: {}", text(&video["video_id"]), text(&video["error"]["message"])));
    }
    if facts["success"] == false { Told::WarmedInPart(facts) } else { Told::Warmed(facts) }
}

/// What was not left and is not warm either.
fn failures(facts: &Value) -> impl Iterator<Item = &Value> {
    let videos = facts["videos"].as_array().into_iter().flatten();
    videos.filter(|video| video["ok"] == false && video["left"].is_null())
}

/// For people: what it came to or would come to, and what was left.
pub(super) fn lines(facts: &Value) -> String {
    let number = |name: &str| facts[name].as_u64().unwrap_or_default();
    let videos: Vec<&Value> = facts["videos"].as_array().into_iter().flatten().collect();
    let mut lines = Vec::new();
    if facts["dry_run"] == true {
        let count = videos.len() as u64 + number("unlisted_videos");
        lines.push(format!("{count} videos at most, {} units at most", number("shared_units")));
        if number("tokens_in") > 0 {
            let (sent, produced) = (number("tokens_in"), number("tokens_out"));
            lines.push(format!("Gemini: {sent} tokens in, {produced} out"));
        }
        lines.push(format!(
            "left today to work that nobody waits for: {} units",
            number("left_to_background_units")
        ));
        lines.push(format!("fits: {}", if facts["fits"] == true { "yes" } else { "no" }));
    } else {
        let failed = failures(facts).count();
        lines.push(format!(
            "{} warmed, {failed} failed, {} left; {} units",
            number("warmed"),
            number("left"),
            number("shared_units")
        ));
        for video in videos.iter().filter(|video| !video["left"].is_null()) {
            let text = |value: &Value| clean(value.as_str().unwrap_or_default());
            lines.push(format!("  left {} ({})", text(&video["video_id"]), text(&video["left"])));
        }
    }
    let notes = facts["notes"].as_array().into_iter().flatten().filter_map(Value::as_str);
    lines.extend(notes.map(|note| format!("note: {}", clean(note))));
    lines.join("\n") + "\n"
}
