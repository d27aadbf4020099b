//! The kinds of cached things and the spelling of their keys: the only place that does.
//!
//! Text that a user chose is escaped or hashed before it becomes part of a key, so that no id can reach another's
//! entry, neither as a key nor inside a pattern.

use std::fmt::Write as _;

use lently_cache::{Kind, Pattern};
use lently_upstream::{CommentOrder, VideoId};

use crate::ids::{AnalysisId, TextHash, UserId};

/// What sort of value a cache entry holds; times, schema and names are exhaustive matches on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A finished analysis as it is served.
    Analysis,
    /// The comments read of one video in one order.
    Comments,
    /// The metadata of one video.
    Video,
    /// A transcript, by video and language.
    Transcript,
    /// What one user may still do this month.
    Quota,
    /// Gemini's judgment on one text.
    Verdict,
    /// What Gemini wrote about some counted facts.
    Summary,
}

/// Every kind as the cache wants it at its opening.
pub const KINDS: [Kind; 7] = [
    EntryKind::Analysis.kind(),
    EntryKind::Comments.kind(),
    EntryKind::Video.kind(),
    EntryKind::Transcript.kind(),
    EntryKind::Quota.kind(),
    EntryKind::Verdict.kind(),
    EntryKind::Summary.kind(),
];

impl EntryKind {
    /// All kinds, in the order in which reports show them.
    pub const ALL: [Self; 7] = [
        Self::Analysis,
        Self::Comments,
        Self::Video,
        Self::Transcript,
        Self::Quota,
        Self::Verdict,
        Self::Summary,
    ];

    /// The name in keys, labels and statistics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Analysis => "analysis",
            Self::Comments => "comments",
            Self::Video => "video",
            Self::Transcript => "transcript",
            Self::Quota => "quota",
            Self::Verdict => "verdict",
            Self::Summary => "summary",
        }
    }

    /// The schema version of the stored value; raised when its shape changes, which makes older entries misses.
    pub const fn schema(self) -> u16 {
        match self {
            Self::Transcript | Self::Quota | Self::Verdict => 1,
            // With the time at which all of it was read.
            Self::Video => 2,
            // With the time at which the words were written; with the comments that were quoted.
            Self::Summary => 3,
            // A shelf instead of what one request got; with `ranked_at`.
            Self::Comments => 3,
            // With `engine.reused`; with `report.derived`; with what the report counts of suggestions, replies and commenters.
            Self::Analysis => 4,
        }
    }

    /// The kind as the cache knows it.
    pub const fn kind(self) -> Kind {
        Kind { name: self.name(), schema: self.schema() }
    }

    /// The variable that sets how many seconds an entry of this kind is fresh.
    pub const fn ttl_variable(self) -> &'static str {
        match self {
            Self::Analysis => "LENTLY_TTL_ANALYSIS_SECONDS",
            Self::Comments => "LENTLY_TTL_COMMENTS_SECONDS",
            Self::Video => "LENTLY_TTL_VIDEO_SECONDS",
            Self::Transcript => "LENTLY_TTL_TRANSCRIPT_SECONDS",
            Self::Quota => "LENTLY_TTL_QUOTA_SECONDS",
            Self::Verdict => "LENTLY_TTL_VERDICT_SECONDS",
            Self::Summary => "LENTLY_TTL_SUMMARY_SECONDS",
        }
    }

    /// The kind a key belongs to, by what stands before its first colon.
    pub fn of_key(key: &str) -> Option<Self> {
        let name = key.split_once(':')?.0;
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Spells every cache key. Keys are without the deployment's prefix, which the cache puts in front.
#[derive(Debug, Clone, Copy)]
pub struct CacheKeys;

impl CacheKeys {
    /// `analysis:{id}`
    pub fn analysis(id: &AnalysisId) -> String {
        format!("{}:{id}", EntryKind::Analysis.name())
    }

    /// The analysis whose key it is, where it is one's.
    pub fn analysis_of(key: &str) -> Option<AnalysisId> {
        let (name, id) = key.split_once(':')?;
        (name == EntryKind::Analysis.name()).then(|| id.parse().ok()).flatten()
    }

    /// `comments:{video_id}:order_{order}`, with `:replies` behind it where replies were asked for.
    pub fn comments(video_id: &VideoId, order: CommentOrder, include_replies: bool) -> String {
        let replies = if include_replies { ":replies" } else { "" };
        format!("{}:{video_id}:order_{order}{replies}", EntryKind::Comments.name())
    }

    /// `comments:{video_id}:max_{n}:order_{order}[:replies]`: where requests for other amounts share nothing.
    pub fn comments_of_amount(
        video_id: &VideoId,
        max_comments: u32,
        order: CommentOrder,
        include_replies: bool,
    ) -> String {
        let replies = if include_replies { ":replies" } else { "" };
        format!("{}:{video_id}:max_{max_comments}:order_{order}{replies}", EntryKind::Comments.name())
    }

    /// `comments:{video_id}:order_{order}[:replies]:page_{hash}`: a page that was bought, by the token it was asked for with, or
    /// `page_first`. The token is YouTube's text, and is hashed.
    pub fn comments_page(
        video_id: &VideoId,
        order: CommentOrder,
        include_replies: bool,
        token: Option<&str>,
    ) -> String {
        let shelf = Self::comments(video_id, order, include_replies);
        match token {
            None => format!("{shelf}:page_first"),
            Some(token) => format!("{shelf}:page_{}", &blake3::hash(token.as_bytes()).to_hex()[..32]),
        }
    }

    /// `video:{video_id}`
    pub fn video(video_id: &VideoId) -> String {
        format!("{}:{video_id}", EntryKind::Video.name())
    }

    /// `transcript:{video_id}` or `transcript:{video_id}:{lang}`; the language is a user's text and is escaped.
    pub fn transcript(video_id: &VideoId, language: Option<&str>) -> String {
        let name = EntryKind::Transcript.name();
        match language {
            None => format!("{name}:{video_id}"),
            Some(language) => format!("{name}:{video_id}:{}", part(language)),
        }
    }

    /// `quota:{user_id}`; the id is a user's text and is escaped.
    pub fn quota(user_id: &UserId) -> String {
        format!("{}:{}", EntryKind::Quota.name(), part(user_id.as_str()))
    }

    /// `verdict:{engine}:{model}:{prompt_version}:{hash}`; the model is configured text and is escaped.
    pub fn verdict(engine: &str, model: &str, prompt_version: &str, hash: &TextHash) -> String {
        format!("{}:{engine}:{}:{prompt_version}:{hash}", EntryKind::Verdict.name(), part(model))
    }

    /// `summary:{engine}:{model}:{prompt_version}:{hash}`, by the facts that it is about.
    pub fn summary(engine: &str, model: &str, prompt_version: &str, hash: &TextHash) -> String {
        format!("{}:{engine}:{}:{prompt_version}:{hash}", EntryKind::Summary.name(), part(model))
    }

    /// All comments of one video, whatever amount and order. The only `*` in it is ours.
    pub fn video_comments_pattern(video_id: &VideoId) -> String {
        format!("{}:{}:*", EntryKind::Comments.name(), Pattern::escape(&video_id.to_string()))
    }

    /// All transcripts of one video that name a language; the one without has its own key.
    pub fn video_transcripts_pattern(video_id: &VideoId) -> String {
        format!("{}:{}:*", EntryKind::Transcript.name(), Pattern::escape(&video_id.to_string()))
    }

    /// Whether a pattern may match keys of the kind; false only where what stands before its first special character rules
    /// that out.
    pub fn may_reach(pattern: &Pattern, kind: EntryKind) -> bool {
        let name = format!("{}:", kind.name());
        let plain = pattern.as_str().split(['*', '?', '[', '\\']).next().unwrap_or_default();
        name.starts_with(plain) || plain.starts_with(&name)
    }

    /// Everything of one kind.
    pub fn kind_pattern(kind: EntryKind) -> String {
        format!("{}:*", kind.name())
    }
}

/// The longest piece of a user's text that stands in a key as it is; longer ones are hashed.
const READABLE_PART_BYTES: usize = 120;

/// Makes a user's text safe inside a key: letters, digits and `_.@-` stay, other bytes become `%XX`.
///
/// Long text becomes `~` and its BLAKE3 hash; `~` is escaped in readable text, so the two never meet.
fn part(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'@' | b'-') {
            escaped.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    if escaped.is_empty() || escaped.len() > READABLE_PART_BYTES {
        let hash = blake3::hash(text.as_bytes()).to_hex();
        return format!("~{}", &hash.as_str()[..32]);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn video() -> VideoId {
        "dQw4w9WgXcQ".parse().expect("a video id")
    }

    #[test]
    fn the_key_table_is_as_documented() {
        let id = AnalysisId::derive(&["x"]);
        assert_eq!(CacheKeys::analysis(&id), format!("analysis:{id}"));
        assert_eq!(
            CacheKeys::comments(&video(), CommentOrder::Relevance, false),
            "comments:dQw4w9WgXcQ:order_relevance"
        );
        assert_eq!(
            CacheKeys::comments(&video(), CommentOrder::Time, true),
            "comments:dQw4w9WgXcQ:order_time:replies"
        );
        let page = |token| CacheKeys::comments_page(&video(), CommentOrder::Time, true, token);
        assert_eq!(page(None), "comments:dQw4w9WgXcQ:order_time:replies:page_first");
        let hashed = page(Some("*:x"));
        assert!(hashed.starts_with("comments:dQw4w9WgXcQ:order_time:replies:page_") && !hashed.contains('*'));
        assert_eq!(CacheKeys::video(&video()), "video:dQw4w9WgXcQ");
        assert_eq!(CacheKeys::transcript(&video(), None), "transcript:dQw4w9WgXcQ");
        assert_eq!(CacheKeys::transcript(&video(), Some("pt-BR")), "transcript:dQw4w9WgXcQ:pt-BR");
        assert_eq!(CacheKeys::quota(&UserId::local()), "quota:local");
        let hash = TextHash::of("first!");
        assert_eq!(
            CacheKeys::verdict("gemini", "gemini-3.5-flash-lite", "3", &hash),
            format!("verdict:gemini:gemini-3.5-flash-lite:3:{hash}")
        );
        assert_eq!(
            CacheKeys::summary("gemini", "m:*", "3", &hash),
            format!("summary:gemini:m%3A%2A:3:{hash}")
        );
        assert_eq!(hash.to_string(), blake3::hash(b"first!").to_hex()[..32]);
    }

    #[test]
    fn text_of_users_cannot_leave_its_place_in_a_key() {
        let star = UserId::new("a*").expect("a user id");
        assert_eq!(CacheKeys::quota(&star), "quota:a%2A");
        let colon = UserId::new("a:b").expect("a user id");
        assert_eq!(CacheKeys::quota(&colon), "quota:a%3Ab");
        assert_eq!(
            CacheKeys::transcript(&video(), Some("en:*?[x]\n")),
            "transcript:dQw4w9WgXcQ:en%3A%2A%3F%5Bx%5D%0A"
        );
        let long = CacheKeys::transcript(&video(), Some(&"x".repeat(400)));
        assert!(long.len() < 100, "{long}");
        assert_ne!(part("~abc"), part("abc"));
    }

    #[test]
    fn a_pattern_reaches_a_kind_unless_its_beginning_rules_that_out() {
        for (pattern, reaches) in [
            ("*", true),
            ("analysis:*", true),
            ("analysis:0f?", true),
            ("an*", true),
            ("?nalysis:*", true),
            ("\\analysis:1", true),
            ("video:*", false),
            ("analyses*", false),
        ] {
            let pattern = Pattern::parse(pattern).expect("a pattern");
            assert_eq!(CacheKeys::may_reach(&pattern, EntryKind::Analysis), reaches, "{pattern}");
        }
    }

    #[test]
    fn every_kind_is_found_again_by_the_name_in_its_keys() {
        for kind in EntryKind::ALL {
            assert_eq!(EntryKind::of_key(&format!("{}:x", kind.name())), Some(kind));
        }
        assert_eq!(EntryKind::of_key("stranger:x"), None);
        assert_eq!(KINDS.len(), EntryKind::ALL.len());
    }
}
