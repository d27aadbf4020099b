//! Tables: youtube-comment-downloader's CSV, and any other whose columns have one of the usual names.

use csv::{ReaderBuilder, StringRecord};

use super::{Dump, DumpError, DumpFormat, DumpNote, Videos, fields, made_up_id, quotable, real_parent};
use crate::{html, model::Comment};

/// Which column holds what.
struct Columns {
    text: usize,
    id: Option<usize>,
    parent: Option<usize>,
    author: Option<usize>,
    channel: Option<usize>,
    likes: Option<usize>,
    replies: Option<usize>,
    published: Option<usize>,
    updated: Option<usize>,
    video: Option<usize>,
    title: Option<usize>,
}

impl Columns {
    fn find(header: &StringRecord) -> Option<Self> {
        let names: Vec<String> = header.iter().map(normal).collect();
        let column =
            |wanted: &[&str]| wanted.iter().find_map(|name| names.iter().position(|have| have == name));
        Some(Self {
            text: column(&[
                "text",
                "comment",
                "commenttext",
                "textoriginal",
                "textdisplay",
                "content",
                "commentcontent",
                "body",
                "message",
            ])?,
            id: column(&["commentid", "cid", "id"]),
            parent: column(&["parentid", "parentcommentid", "parent", "replytocid", "replyto"]),
            author: column(&[
                "author",
                "authorname",
                "authordisplayname",
                "username",
                "user",
                "commentauthor",
                "name",
            ]),
            channel: column(&["authorchannelid", "authorid", "channel"]),
            likes: column(&["likecount", "likes", "votes", "votecount", "commentlikes"]),
            replies: column(&["replycount", "totalreplycount", "replies"]),
            published: column(&[
                "publishedat",
                "published",
                "date",
                "datetime",
                "timestamp",
                "createdat",
                "commentdate",
                "time",
            ]),
            updated: column(&["updatedat", "updated"]),
            video: column(&["videoid", "video"]),
            title: column(&["videotitle", "title"]),
        })
    }
}

/// `Like Count`, `like_count` and `likeCount` are one name.
fn normal(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

pub(super) fn parse(text: &str) -> Result<Dump, DumpError> {
    let delimiter = delimiter(text);
    let mut reader = ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(text.as_bytes());
    let header = reader.headers().cloned().unwrap_or_default();
    let columns = Columns::find(&header).ok_or_else(|| DumpError::Unknown {
        problem: if header.iter().any(|name| name.contains('\0')) {
            "it is neither JSON nor text in UTF-8".to_owned()
        } else {
            let seen: Vec<_> = header.iter().take(8).map(quotable).collect();
            format!("as a table it has no column of text, only {}", seen.join(", "))
        },
    })?;
    // What they hold is one person's own comments under other people's videos, and their text is JSON.
    if header.iter().any(|name| name == "Comment Create Timestamp") {
        return Err(DumpError::Unknown {
            problem: "it is Google Takeout's list of the comments you wrote, not of those under a video"
                .to_owned(),
        });
    }
    let from_downloader =
        header.iter().any(|name| name == "cid") && header.iter().any(|name| name == "votes");
    let format = if from_downloader { DumpFormat::CommentDownloader } else { DumpFormat::Csv };
    let (mut comments, mut skipped_rows, mut videos) = (Vec::new(), 0, Videos::default());
    for (place, record) in reader.records().enumerate() {
        let comment = record.ok().and_then(|record| {
            let get = |column: Option<usize>| column.and_then(|column| record.get(column));
            videos.note(get(columns.video), get(columns.title));
            row(place, &columns, &record)
        });
        match comment {
            Some(comment) => comments.push(comment),
            None => skipped_rows += 1,
        }
    }
    let (video_id, title) = (videos.only_id(), videos.only_title());
    let unclosed = unclosed_quote(text, delimiter).map(|line| DumpNote::UnclosedQuote { line });
    let notes = videos.several().into_iter().chain(unclosed).collect();
    Ok(Dump { format, title, video_id, stated_total: None, comments, skipped_rows, notes })
}

/// The line, from 1, whose quote is still open at the end. The reader takes it for closed there.
fn unclosed_quote(text: &str, delimiter: u8) -> Option<u64> {
    let (mut line, mut opened) = (1, None);
    let mut at_field_start = true;
    let mut bytes = text.bytes().peekable();
    while let Some(byte) = bytes.next() {
        line += u64::from(byte == b'\n');
        if opened.is_some() {
            // Two quotes are one that is meant; a single one closes.
            if byte == b'"' && bytes.next_if_eq(&b'"').is_none() {
                opened = None;
            }
        } else if byte == b'"' && at_field_start {
            opened = Some(line);
            at_field_start = false;
        } else {
            at_field_start = byte == delimiter || matches!(byte, b'\n' | b'\r');
        }
    }
    opened
}

/// The one of comma, semicolon and tab that the header has most of.
fn delimiter(text: &str) -> u8 {
    let header = text.lines().next().unwrap_or_default();
    let count = |delimiter: u8| header.bytes().filter(|byte| *byte == delimiter).count();
    b",;\t".iter().copied().max_by_key(|delimiter| (count(*delimiter), *delimiter == b',')).unwrap_or(b',')
}

fn row(place: usize, columns: &Columns, record: &StringRecord) -> Option<Comment> {
    let get = |column: Option<usize>| {
        column.and_then(|column| record.get(column)).map(str::trim).filter(|field| !field.is_empty())
    };
    let text = get(Some(columns.text))?;
    let author = get(columns.author).unwrap_or_default();
    let id = get(columns.id).map_or_else(|| made_up_id(place, author, text), str::to_owned);
    let parent = get(columns.parent).filter(|parent| real_parent(parent) && *parent != id).map(str::to_owned);
    let parent_id = parent.or_else(|| id.split_once('.').map(|(thread, _)| thread.to_owned()));
    Some(Comment {
        parent_id: parent_id.filter(|parent| !parent.is_empty()),
        author: author.to_owned(),
        author_channel_id: get(columns.channel).map(str::to_owned),
        text: html::plain_text(text),
        like_count: get(columns.likes).map(fields::count).unwrap_or_default(),
        reply_count: get(columns.replies).map(fields::count).unwrap_or_default(),
        published_at: get(columns.published).and_then(fields::time),
        updated_at: get(columns.updated).and_then(fields::time),
        id,
    })
}
