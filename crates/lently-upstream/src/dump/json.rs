//! Files in JSON, or in JSON lines: the shape of the first object tells who wrote them.

use serde_json::Value;

use super::{Dump, DumpError, DumpFormat, Videos, fields, made_up_id, real_parent};
use crate::{
    html,
    model::Comment,
    video_ref::VideoRef,
    youtube::{recorded_comment, recorded_thread},
};

pub(super) fn parse(text: &str) -> Result<Dump, DumpError> {
    let (values, broken) = read(text)?;
    let mut dump = match values.first() {
        Some(first) if is_response(first) => responses(&values),
        Some(first) if first.get("comments").is_some_and(Value::is_array) => info(first),
        Some(first) if looks_like_info(first) => info(first),
        Some(_) => rows(&values)?,
        None => return Err(unknown("an empty list")),
    };
    dump.skipped_rows += broken;
    Ok(dump)
}

fn unknown(problem: &str) -> DumpError {
    DumpError::Unknown { problem: problem.to_owned() }
}

/// One value, the elements of a list, or one value a line; how many lines could not be read.
fn read(text: &str) -> Result<(Vec<Value>, u64), DumpError> {
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Array(values)) => return Ok((values, 0)),
        Ok(value) => return Ok((vec![value], 0)),
        Err(error) if !text.contains('\n') => return Err(unknown(&format!("it is not JSON ({error})"))),
        Err(_) => {}
    }
    let (mut values, mut broken) = (Vec::new(), 0);
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match serde_json::from_str::<Value>(line) {
            Ok(value) => values.push(value),
            Err(_) => broken += 1,
        }
    }
    if values.is_empty() || broken > values.len() as u64 {
        return Err(unknown("it is neither JSON nor JSON lines, or it is cut off"));
    }
    Ok((values, broken))
}

fn is_response(value: &Value) -> bool {
    value["kind"].as_str().is_some_and(|kind| kind.starts_with("youtube#comment"))
}

fn looks_like_info(value: &Value) -> bool {
    value.get("extractor").is_some() || (value.get("webpage_url").is_some() && value.get("id").is_some())
}

/// Recorded pages of `commentThreads.list` and of `comments.list` (replies), or what stands on them.
fn responses(pages: &[Value]) -> Dump {
    let mut dump = empty(DumpFormat::CommentThreads);
    let mut videos = Videos::default();
    let threads = pages.iter().flat_map(|page| match page["items"].as_array() {
        Some(items) => items.iter().collect::<Vec<_>>(),
        None => vec![page],
    });
    for thread in threads {
        videos.note(thread["snippet"]["videoId"].as_str(), None);
        if thread["kind"] == "youtube#comment" {
            match recorded_comment(thread) {
                Some(comment) => dump.comments.push(comment),
                None => dump.skipped_rows += 1,
            }
            continue;
        }
        match recorded_thread(thread) {
            Some(thread) => {
                dump.comments.push(thread.top);
                dump.comments.extend(thread.inline_replies);
            }
            None => dump.skipped_rows += 1,
        }
    }
    dump.video_id = videos.only_id();
    dump.notes.extend(videos.several());
    dump
}

/// One object about a video that holds its comments: yt-dlp, or youtube-comment-downloader's `json`.
fn info(object: &Value) -> Dump {
    let comments = object["comments"].as_array().map(Vec::as_slice).unwrap_or_default();
    let from_downloader = comments.first().is_some_and(|comment| comment.get("cid").is_some());
    let mut dump = empty(if from_downloader { DumpFormat::CommentDownloader } else { DumpFormat::YtDlp });
    dump.title = object["title"].as_str().map(str::to_owned);
    dump.video_id = object["id"].as_str().and_then(|id| id.parse().ok());
    dump.stated_total = object["comment_count"].as_u64();
    for (place, comment) in comments.iter().enumerate() {
        match row(place, comment) {
            Some(comment) => dump.comments.push(comment),
            None => dump.skipped_rows += 1,
        }
    }
    dump
}

/// A list of comments: Apify, or youtube-comment-downloader's JSON lines, or anything with a text.
fn rows(values: &[Value]) -> Result<Dump, DumpError> {
    let first = &values[0];
    let format = if first.get("replyToCid").is_some() || first.get("pageUrl").is_some() {
        DumpFormat::Apify
    } else if first.get("cid").is_some() {
        DumpFormat::CommentDownloader
    } else if first.get("parent").is_some() && first.get("text").is_some() {
        DumpFormat::YtDlp
    } else {
        return Err(unknown("its JSON has none of the fields cid, replyToCid, parent, comments"));
    };
    let mut dump = empty(format);
    let mut videos = Videos::default();
    for (place, value) in values.iter().enumerate() {
        videos.note(video_of(value).as_deref(), value["title"].as_str());
        match row(place, value) {
            Some(comment) => dump.comments.push(comment),
            None => dump.skipped_rows += 1,
        }
    }
    dump.video_id = videos.only_id();
    dump.title = videos.only_title();
    dump.notes.extend(videos.several());
    if videos.ids.len() == 1 {
        dump.stated_total = values.iter().filter_map(|value| value["commentsCount"].as_u64()).max();
    }
    Ok(dump)
}

/// The video of a comment: by id, else by the address of its page.
fn video_of(value: &Value) -> Option<String> {
    let id = value["videoId"].as_str().filter(|id| !id.is_empty()).map(str::to_owned);
    id.or_else(|| {
        let page = value["pageUrl"].as_str()?;
        Some(page.parse::<VideoRef>().map_or_else(|_| page.to_owned(), |video| video.video_id.to_string()))
    })
}

fn row(place: usize, value: &Value) -> Option<Comment> {
    let text = |names: &[&str]| {
        names.iter().find_map(|name| value[*name].as_str()).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let count = |names: &[&str]| {
        let found = names.iter().map(|name| &value[*name]).find(|value| !value.is_null());
        match found {
            Some(Value::Number(number)) => {
                number.as_u64().or_else(|| number.as_f64().map(|number| number as u64)).unwrap_or_default()
            }
            Some(Value::String(text)) => fields::count(text),
            _ => 0,
        }
    };
    // A comment may be empty to us: a sticker, say. It is a comment nevertheless.
    let body = ["text", "comment"].iter().find_map(|name| value[*name].as_str())?;
    let author = text(&["author"]).unwrap_or_default();
    let id = text(&["id", "cid"]).unwrap_or_else(|| made_up_id(place, &author, body));
    let parent = text(&["parent", "replyToCid"]).filter(|parent| real_parent(parent) && *parent != id);
    // youtube-comment-downloader tells a reply by its id alone: `<thread>.<reply>`.
    let parent_id = parent.or_else(|| id.split_once('.').map(|(thread, _)| thread.to_owned()));
    // yt-dlp's `timestamp` and the downloader's `time_parsed` are estimates from "2 weeks ago" once that is what the
    // page showed; yt-dlp keeps the wording in `_time_text`.
    let estimated =
        text(&["_time_text", "time_text", "time"]).is_some_and(|wording| fields::time(&wording).is_none());
    let seconds = value["timestamp"].as_f64().filter(|_| !estimated);
    Some(Comment {
        id,
        parent_id,
        author,
        author_channel_id: text(&["author_id", "channel", "channelId"]),
        text: html::plain_text(body),
        like_count: count(&["like_count", "votes", "voteCount", "likes"]),
        reply_count: count(&["replyCount", "replies", "reply_count"]),
        published_at: seconds.and_then(fields::epoch).or_else(|| {
            text(&["publishedAt", "published_at", "publishedTime"]).and_then(|time| fields::time(&time))
        }),
        updated_at: None,
    })
}

fn empty(format: DumpFormat) -> Dump {
    Dump {
        format,
        title: None,
        video_id: None,
        stated_total: None,
        comments: Vec::new(),
        skipped_rows: 0,
        notes: Vec::new(),
    }
}
