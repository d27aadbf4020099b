//! The shapes of the YouTube Data API, as far as Lently reads them. Everything may be missing: old and new answers
//! differ, and hidden counts are left out. Nothing outside this folder sees these types.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use super::Thread as ModelThread;
use crate::{html, model};

#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
pub(super) struct List<T> {
    #[serde(default = "Vec::new", deserialize_with = "readable_items")]
    pub items: Vec<T>,
    #[serde(rename = "nextPageToken")]
    pub next_page_token: Option<String>,
}

impl<T> List<T> {
    pub(super) fn into_page<U>(self, change: impl FnMut(T) -> Option<U>) -> model::Page<U> {
        model::Page {
            items: self.items.into_iter().filter_map(change).collect(),
            next_page_token: self.next_page_token.filter(|token| !token.is_empty()),
        }
    }
}

/// One item that cannot be read does not spoil its page.
fn readable_items<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Vec<T>, D::Error> {
    let items = Vec::<serde_json::Value>::deserialize(from)?;
    Ok(items.into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect())
}

/// A number that YouTube writes as `"123"` in some places and as `123` in others.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    Ok(match Option::<serde_json::Value>::deserialize(from)? {
        Some(serde_json::Value::Number(number)) => number.as_u64(),
        Some(serde_json::Value::String(text)) => text.parse().ok(),
        _ => None,
    })
}

fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.and_then(|text| text.parse().ok()))
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Video {
    id: String,
    snippet: VideoSnippet,
    content_details: ContentDetails,
    statistics: Statistics,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct VideoSnippet {
    #[serde(deserialize_with = "time")]
    published_at: Option<Timestamp>,
    channel_id: String,
    channel_title: String,
    title: String,
    description: String,
    default_language: Option<String>,
    default_audio_language: Option<String>,
    thumbnails: std::collections::BTreeMap<String, Thumbnail>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Thumbnail {
    url: String,
    #[serde(deserialize_with = "number")]
    width: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContentDetails {
    duration: Option<String>,
    related_playlists: RelatedPlaylists,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RelatedPlaylists {
    uploads: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Statistics {
    #[serde(deserialize_with = "number")]
    view_count: Option<u64>,
    #[serde(deserialize_with = "number")]
    like_count: Option<u64>,
    #[serde(deserialize_with = "number")]
    comment_count: Option<u64>,
    #[serde(deserialize_with = "number")]
    subscriber_count: Option<u64>,
    #[serde(deserialize_with = "number")]
    video_count: Option<u64>,
}

impl Video {
    pub(super) fn into_video(self) -> Option<model::Video> {
        let snippet = self.snippet;
        let thumbnail = snippet.thumbnails.into_values().max_by_key(|thumbnail| thumbnail.width);
        Some(model::Video {
            id: self.id.parse().ok()?,
            title: snippet.title,
            channel_id: snippet.channel_id,
            channel_title: snippet.channel_title,
            description: snippet.description,
            published_at: snippet.published_at,
            duration_seconds: self.content_details.duration.as_deref().and_then(seconds),
            view_count: self.statistics.view_count,
            like_count: self.statistics.like_count,
            comment_count: self.statistics.comment_count,
            default_language: snippet.default_language.or(snippet.default_audio_language),
            thumbnail_url: thumbnail.map(|thumbnail| thumbnail.url).filter(|url| !url.is_empty()),
        })
    }
}

/// `PT1H2M3S` in seconds.
fn seconds(duration: &str) -> Option<u64> {
    let span: jiff::Span = duration.parse().ok()?;
    let total = span.total((jiff::Unit::Second, jiff::SpanRelativeTo::days_are_24_hours())).ok()?;
    (total >= 0.0).then_some(total as u64)
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct VideoStat {
    id: String,
    statistics: Statistics,
}

impl VideoStat {
    pub(super) fn into_statistics(self) -> Option<model::Statistics> {
        Some(model::Statistics {
            id: self.id.parse().ok()?,
            view_count: self.statistics.view_count,
            like_count: self.statistics.like_count,
            comment_count: self.statistics.comment_count,
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Channel {
    id: String,
    snippet: VideoSnippet,
    statistics: Statistics,
    content_details: ContentDetails,
}

impl Channel {
    pub(super) fn into_channel(self) -> Option<model::Channel> {
        (!self.id.is_empty()).then_some(model::Channel {
            id: self.id,
            title: self.snippet.title,
            subscriber_count: self.statistics.subscriber_count,
            video_count: self.statistics.video_count,
            uploads_playlist_id: self.content_details.related_playlists.uploads,
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PlaylistItem {
    snippet: ItemSnippet,
    content_details: ItemDetails,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ItemSnippet {
    resource_id: ItemDetails,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ItemDetails {
    video_id: String,
    #[serde(deserialize_with = "time")]
    video_published_at: Option<Timestamp>,
}

impl PlaylistItem {
    pub(super) fn into_item(self) -> Option<model::PlaylistItem> {
        let Self { snippet, content_details } = self;
        let id = content_details.video_id.parse().ok();
        Some(model::PlaylistItem {
            video_id: id.or_else(|| snippet.resource_id.video_id.parse().ok())?,
            published_at: content_details.video_published_at,
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Thread {
    snippet: ThreadSnippet,
    replies: Replies,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ThreadSnippet {
    top_level_comment: Option<Comment>,
    #[serde(deserialize_with = "number")]
    total_reply_count: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Replies {
    #[serde(deserialize_with = "readable_items")]
    comments: Vec<Comment>,
}

impl Thread {
    pub(crate) fn into_thread(self) -> Option<ModelThread> {
        let mut top = self.snippet.top_level_comment?.into_comment(None)?;
        let inline_replies: Vec<_> =
            self.replies.comments.into_iter().filter_map(|reply| reply.into_comment(Some(&top.id))).collect();
        top.reply_count = self.snippet.total_reply_count.unwrap_or_default().max(inline_replies.len() as u64);
        Some(ModelThread { top, inline_replies })
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Comment {
    id: String,
    snippet: CommentSnippet,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CommentSnippet {
    author_display_name: String,
    author_channel_id: Option<ChannelId>,
    text_original: Option<String>,
    text_display: Option<String>,
    parent_id: Option<String>,
    #[serde(deserialize_with = "number")]
    like_count: Option<u64>,
    #[serde(deserialize_with = "time")]
    published_at: Option<Timestamp>,
    #[serde(deserialize_with = "time")]
    updated_at: Option<Timestamp>,
}

/// `{"value": "UC…"}`, or rarely the text itself.
#[derive(Deserialize)]
#[serde(untagged)]
enum ChannelId {
    Wrapped { value: String },
    Plain(String),
}

impl Comment {
    pub(crate) fn into_comment(self, parent: Option<&str>) -> Option<model::Comment> {
        if self.id.is_empty() {
            return None;
        }
        let snippet = self.snippet;
        Some(model::Comment {
            id: self.id,
            parent_id: snippet.parent_id.or_else(|| parent.map(str::to_owned)),
            author: snippet.author_display_name,
            author_channel_id: snippet.author_channel_id.map(|id| match id {
                ChannelId::Wrapped { value } | ChannelId::Plain(value) => value,
            }),
            // `textOriginal` is plain and not always there; `textDisplay` is HTML unless plain text was asked for.
            text: snippet
                .text_original
                .unwrap_or_else(|| html::plain_text(&snippet.text_display.unwrap_or_default())),
            like_count: snippet.like_count.unwrap_or_default(),
            reply_count: 0,
            published_at: snippet.published_at,
            updated_at: snippet.updated_at,
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Caption {
    pub id: String,
    pub snippet: CaptionSnippet,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct CaptionSnippet {
    pub language: String,
    pub name: String,
    pub track_kind: String,
}

/// The reason of the first error, and the reason in `ErrorInfo`; empty where there is none.
pub(super) fn reasons(body: &[u8]) -> (String, String) {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let error = &body["error"];
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let detail = error["details"].as_array().into_iter().flatten().map(|detail| text(&detail["reason"]));
    (
        text(&error["errors"][0]["reason"]),
        detail.into_iter().find(|reason| !reason.is_empty()).unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, expected) in
            [("PT4M13S", Some(253)), ("PT1H", Some(3600)), ("P1DT2S", Some(86_402)), ("x", None)]
        {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    #[test]
    fn a_page_survives_an_item_that_cannot_be_read() {
        let page = r#"{"items":[{"id":5},{"id":"a","snippet":{"textDisplay":"hi","likeCount":"7"}}],"nextPageToken":""}"#;
        let list: List<Comment> = serde_json::from_str(page).expect("a list");
        let page = list.into_page(|comment| comment.into_comment(None));
        assert_eq!(page.items.len(), 1);
        assert_eq!((page.items[0].text.as_str(), page.items[0].like_count), ("hi", 7));
        assert_eq!(page.next_page_token, None);
    }
}
