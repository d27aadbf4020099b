//! What a warming would take. Making a plan spends nothing: of a list that nobody has read, and of a video that nobody has looked at, it is
//! the most that they may take.

use lently_upstream::{Bucket, MAX_IDS, VideoId};
use serde::Serialize;

use super::{Wanted, WarmRequest};
use crate::error::ServiceError;
use crate::ids::UserId;
use crate::ledger::Purpose;
use crate::lently::Lently;
use crate::request::{MAX_COMMENTS, check_max_comments};
use crate::youtube::{LISTED_PAGES_MAX, pages_of_comments, pages_of_list};

/// What a warming would take.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WarmPlan {
    /// The videos that are known to be meant.
    pub videos: Vec<WarmPlanVideo>,
    /// How many more may be on the lists, which are not read for this.
    pub unlisted_videos: u64,
    /// Units of the shared quota, at most.
    pub shared_units: u64,
    /// Tokens sent to Gemini, at most.
    pub tokens_in: u64,
    /// Tokens it would produce.
    pub tokens_out: u64,
    /// What they would cost, in millionths of a dollar; nothing is said for a model without a price.
    pub micro_dollars: Option<u64>,
    /// What is left today to work that nobody waits for.
    pub left_to_background_units: u64,
    /// Whether all of it fits into that and into the budget; else it stops where they end.
    pub fits: bool,
    /// What else is to be known.
    pub notes: Vec<String>,
}

/// What one video would take.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WarmPlanVideo {
    /// The video.
    pub video_id: VideoId,
    /// Units of the shared quota for its comments, at most.
    pub shared_units: u64,
    /// Whether its number of comments is known; else it is what was asked for.
    pub comments_known: bool,
}

impl Lently {
    /// Tells what a warming would take, without asking any upstream and without beginning it.
    ///
    /// # Errors
    /// A request that could not be begun either.
    pub async fn plan_warming(&self, request: &WarmRequest) -> Result<WarmPlan, ServiceError> {
        check_max_comments(request.max_comments, MAX_COMMENTS)?;
        let mut wanted = Wanted::default();
        wanted.add(request.videos.iter().cloned());
        if request.most_asked > 0 {
            wanted.add(self.most_asked(request.most_asked).await?);
        }
        self.ledger().refresh().await;
        let left = self.ledger().left(Bucket::Shared, Purpose::Warm);
        let mut plan = WarmPlan {
            videos: Vec::with_capacity(wanted.videos.len()),
            unlisted_videos: 0,
            shared_units: 0,
            tokens_in: 0,
            tokens_out: 0,
            micro_dollars: Some(0),
            left_to_background_units: left,
            fits: true,
            notes: Vec::new(),
        };
        let mut unknown = 0;
        for video_id in wanted.videos {
            unknown += self.add_video(request, video_id, &mut plan).await?;
        }
        unknown += self.add_lists(request, &mut plan);
        plan.shared_units += unknown.div_ceil(MAX_IDS as u64);
        let most = request.budget_units.map_or(left, |budget| budget.min(left));
        plan.fits = plan.shared_units <= most;
        if !plan.fits {
            let units = plan.shared_units;
            plan.notes.push(format!("it may take {units} units and stops after {most}"));
        }
        Ok(plan)
    }

    /// Adds a video; how many calls for metadata it is one of.
    async fn add_video(
        &self,
        request: &WarmRequest,
        video_id: VideoId,
        plan: &mut WarmPlan,
    ) -> Result<u64, ServiceError> {
        let analysis = request.analysis_of(&video_id);
        let reading = self.estimate_of_reading(&analysis).await?;
        if request.analyze {
            let whole = self.estimate(&UserId::local(), &analysis).await?;
            plan.tokens_in += whole.tokens_in;
            plan.tokens_out += whole.tokens_out;
            plan.micro_dollars = plan.micro_dollars.zip(whole.micro_dollars).map(|(sum, more)| sum + more);
        }
        let metadata = reading.metadata_units();
        let shared_units = reading.shared_units - metadata;
        plan.shared_units += shared_units;
        plan.videos.push(WarmPlanVideo { video_id, shared_units, comments_known: reading.comments_known });
        Ok(metadata)
    }

    /// Adds what lists may take, and what is on them.
    fn add_lists(&self, request: &WarmRequest, plan: &mut WarmPlan) -> u64 {
        let of_uploads = pages_of_list(request.newest);
        let of_playlists = request.playlists.iter().map(|playlist| match playlist.is_of_uploads() {
            true => of_uploads,
            false => LISTED_PAGES_MAX,
        });
        let of_channels = request.channels.iter().map(|_| 1 + of_uploads);
        plan.shared_units += of_playlists.sum::<u64>() + of_channels.sum::<u64>();
        let lists = (request.playlists.len() + request.channels.len()) as u64;
        if lists == 0 {
            return 0;
        }
        plan.unlisted_videos = u64::from(request.newest) * lists;
        plan.shared_units += plan.unlisted_videos * pages_of_comments(request.max_comments.into()).max(1);
        plan.notes
            .push("the lists are not read for this: their part is the most that they may take".to_owned());
        if request.analyze {
            plan.notes.push("what Gemini would take for the videos on the lists is not in it".to_owned());
        }
        plan.unlisted_videos
    }
}
