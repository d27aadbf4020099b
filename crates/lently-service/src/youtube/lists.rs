//! Which videos a playlist or a channel has, the newest first. It asks YouTube each time and keeps nothing: a list is read to be
//! followed by what is on it.

use std::cmp::Reverse;

use lently_upstream::{ChannelRef, MAX_ITEMS, PlaylistId, PlaylistItem, UpstreamError, VideoId};

use super::CachedYouTubeService;
use crate::error::ServiceError;

/// Pages read of a playlist that has its own order.
pub(crate) const PAGES_MAX: u64 = 20;

/// What a list has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub videos: Vec<VideoId>,
    /// Whether newer ones may stand where nobody has looked.
    pub is_cut: bool,
}

/// Pages that hold so many items.
pub(crate) fn pages_of(items: u32) -> u64 {
    u64::from(items.div_ceil(MAX_ITEMS))
}

impl CachedYouTubeService {
    /// The newest uploads of a channel (1 unit, and 1 for each 50 of them).
    ///
    /// # Errors
    /// [`ServiceError::Invalid`] where there is no such channel.
    pub(crate) async fn newest_of_channel(
        &self,
        channel: &ChannelRef,
        newest: u32,
    ) -> Result<Listed, ServiceError> {
        let none = || ServiceError::Invalid {
            field: "channels",
            message: format!("names `{channel}`, and YouTube has no such channel"),
        };
        let found = self.client.channel(channel).await?.value.ok_or_else(none)?;
        match found.uploads_playlist_id.and_then(|id| id.parse().ok()) {
            Some(uploads) => match self.items(&uploads, newest, true).await {
                Ok(listed) => Ok(listed),
                // A channel that has uploaded nothing has no such playlist.
                Err(UpstreamError::PlaylistNotFound) => Ok(Listed { videos: Vec::new(), is_cut: false }),
                Err(error) => Err(error.into()),
            },
            None => Ok(Listed { videos: Vec::new(), is_cut: false }),
        }
    }

    /// The newest videos of a playlist (1 unit for each 50). Uploads stand newest first; others as their owner has put them, and are read
    /// to their end or for [`PAGES_MAX`].
    ///
    /// # Errors
    /// [`ServiceError::Invalid`] where there is no such playlist.
    pub(crate) async fn newest_of_playlist(
        &self,
        playlist: &PlaylistId,
        newest: u32,
    ) -> Result<Listed, ServiceError> {
        match self.items(playlist, newest, playlist.is_of_uploads()).await {
            Err(UpstreamError::PlaylistNotFound) => Err(ServiceError::Invalid {
                field: "playlists",
                message: format!("names `{playlist}`, and YouTube has no such playlist, or it is private"),
            }),
            listed => Ok(listed?),
        }
    }

    async fn items(
        &self,
        playlist: &PlaylistId,
        newest: u32,
        is_newest_first: bool,
    ) -> Result<Listed, UpstreamError> {
        let enough = usize::try_from(newest).unwrap_or(usize::MAX);
        let (mut items, mut token, mut pages): (Vec<PlaylistItem>, _, _) = (Vec::new(), None::<String>, 0);
        let is_cut = loop {
            let page = self.client.playlist_items(playlist, token.as_deref()).await?.value;
            pages += 1;
            items.extend(page.items);
            token = page.next_page_token;
            match &token {
                None => break false,
                Some(_) if is_newest_first && items.len() >= enough => break false,
                Some(_) if pages >= PAGES_MAX => break true,
                Some(_) => {}
            }
        };
        if !is_newest_first {
            items.sort_by_key(|item| Reverse(item.published_at));
        }
        items.truncate(enough);
        Ok(Listed { videos: items.into_iter().map(|item| item.video_id).collect(), is_cut })
    }
}
