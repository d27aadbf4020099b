//! Files of comments: whatever is in them, reading ends with comments or with a reason.

use std::collections::HashSet;

use lently_upstream::VideoRef;
use lently_upstream::dump::{DumpError, DumpFormat, DumpNote, parse_dump};
use proptest::prelude::*;
use serde_json::{Value, json};

#[test]
fn each_tools_layout_is_told_from_its_content() {
    let yt_dlp = json!({
        "id": "dQw4w9WgXcQ", "title": "T", "comment_count": 3, "extractor": "youtube",
        "comments": [
            { "id": "a", "text": "first", "parent": "root", "like_count": 3, "timestamp": 1_700_000_000 },
            { "id": "a.b", "text": "second", "parent": "a" },
        ],
    });
    let downloader = r#"{"cid":"a","text":"first","votes":"1.2K","time":"2 weeks ago"}
{"cid":"a.b","text":"second","votes":"0"}"#;
    let apify = json!([
        { "cid": "a", "comment": "first", "replyToCid": null, "pageUrl": "https://www.youtube.com/watch?v=dQw4w9WgXcQ" },
        { "cid": "a.b", "comment": "second", "replyToCid": "a" },
    ]);
    let snippet = |text: &str| json!({ "textOriginal": text });
    let recorded = json!({ "kind": "youtube#commentThreadListResponse", "items": [{
        "snippet": { "videoId": "dQw4w9WgXcQ", "topLevelComment": { "id": "a", "snippet": snippet("first") } },
        "replies": { "comments": [{ "id": "a.b", "snippet": snippet("second") }] },
    }]});
    let csv = "Comment ID;Comment;Parent;Like Count\na;first;;1\na.b;second;a;0\n";
    let cases = [
        (yt_dlp.to_string(), DumpFormat::YtDlp),
        (downloader.to_owned(), DumpFormat::CommentDownloader),
        (apify.to_string(), DumpFormat::Apify),
        (recorded.to_string(), DumpFormat::CommentThreads),
        (csv.to_owned(), DumpFormat::Csv),
    ];
    for (content, format) in cases {
        let dump = parse_dump("comments", format!("\u{feff}{content}").as_bytes()).expect("comments");
        assert_eq!(dump.format, format);
        let seen: Vec<_> = dump
            .comments
            .iter()
            .map(|comment| (comment.id.as_str(), comment.text.as_str(), comment.parent_id.as_deref()))
            .collect();
        assert_eq!(seen, [("a", "first", None), ("a.b", "second", Some("a"))], "{format}");
        assert_eq!(dump.comments[0].reply_count, 1, "{format}");
    }
}

#[test]
fn a_file_without_comments_says_what_was_expected() {
    assert_eq!(parse_dump("x", b" \n"), Err(DumpError::Empty));
    let takeout = "Comment ID,Channel ID,Comment Create Timestamp,Comment Text\nx,y,z,t\n";
    for (content, expected) in [
        (r#"{"extractor":"youtube","id":"dQw4w9WgXcQ","comments":[]}"#, "--write-comments"),
        ("when,who\n1,2\n", "no column of text"),
        (r#"[{"some":"thing"}]"#, "yt-dlp"),
        (r#"{"comments":[{"cid":"a","te"#, "not JSON"),
        (takeout, "Takeout"),
        ("id,text\n", "there is no comment in this CSV file"),
        ("PK\u{3}\u{4}\0\0\n", "it is neither JSON nor text in UTF-8"),
    ] {
        let error = parse_dump("x", content.as_bytes()).expect_err("no comments").to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn rows_without_a_comment_are_counted() {
    let csv = "id,text\na,first\nb,\na,again\n,no id\n";
    let dump = parse_dump("x.csv", csv.as_bytes()).expect("comments");
    assert_eq!((dump.comments.len(), dump.skipped_rows), (2, 2));
    assert_eq!(
        dump,
        parse_dump("x.csv", csv.as_bytes()).expect("comments"),
        "made up ids are the same again"
    );
}

#[test]
fn a_message_about_a_file_cannot_steer_a_terminal() {
    let content = "\u{1b}]0;owned\u{7}a,\u{202e}b,\u{9b}31mc\n1,2,3\n";
    let error = parse_dump("x.csv", content.as_bytes()).expect_err("no text").to_string();
    assert!(error.contains("only ]0;owneda, b, 31mc;"), "{error}");
}

#[test]
fn several_videos_in_one_file_are_counted() {
    let pages = ["dQw4w9WgXcQ", "dQw4w9WgXcQ&lc=x", "AAAAAAAAAAA"].iter().zip(["a", "b", "c"]);
    let apify: Vec<Value> = pages
        .map(|(page, id)| json!({ "cid": id, "comment": id, "pageUrl": format!("https://www.youtube.com/watch?v={page}") }))
        .collect();
    let thread = |video: &str, id: &str| json!({ "snippet": { "videoId": video, "topLevelComment": { "id": id, "snippet": { "textOriginal": id } } } });
    let recorded = json!({ "kind": "youtube#commentThreadListResponse",
        "items": [thread("dQw4w9WgXcQ", "a"), thread("AAAAAAAAAAA", "b")] });
    let csv = "text,video_id\na,dQw4w9WgXcQ\nb,AAAAAAAAAAA\nc,AAAAAAAAAAA\n";
    for content in [json!(apify).to_string(), recorded.to_string(), csv.to_owned()] {
        let dump = parse_dump("x", content.as_bytes()).expect("comments");
        assert_eq!(
            (dump.video_id, dump.notes),
            (None, vec![DumpNote::SeveralVideos { videos: 2 }]),
            "{content}"
        );
    }
    let one = json!([apify[0], apify[1]]).to_string();
    let dump = parse_dump("x", one.as_bytes()).expect("comments");
    assert_eq!((dump.video_id.as_ref().map(|id| id.as_str()), dump.notes.len()), (Some("dQw4w9WgXcQ"), 0));
}

#[test]
fn a_quote_that_is_never_closed_is_told() {
    let notes = |csv: &str| parse_dump("x.csv", csv.as_bytes()).expect("comments").notes;
    let open = "id,text\na,first\nb,\"second\nc,third\nd,fourth\n";
    assert_eq!(notes(open), [DumpNote::UnclosedQuote { line: 3 }]);
    assert!(notes(open)[0].to_string().contains("line 3"));
    for closed in [
        "id,text\na,\"first\nline\"\nb,\"she said \"\"hi\"\"\"\n",
        "id,text\na,5\" is small\nb,\"x\"\"\"\n",
        "id,text\r\na,\"one\"\r\nb,\"\"\r\nc,\"two\"",
    ] {
        assert_eq!(notes(closed), [], "{closed}");
    }
}

/// JSON whose keys are those that readers look for.
fn json_values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        "[<>a/b&;r ]{0,20}".prop_map(Value::from),
    ];
    let keys = prop::sample::select(vec![
        "kind",
        "items",
        "snippet",
        "topLevelComment",
        "replies",
        "comments",
        "id",
        "cid",
        "text",
        "comment",
        "parent",
        "replyToCid",
        "pageUrl",
        "votes",
        "timestamp",
        "extractor",
        "textDisplay",
        "videoId",
    ]);
    leaf.prop_recursive(5, 64, 6, move |inner| {
        let object = prop::collection::btree_map(keys.clone(), inner.clone(), 0..6);
        prop_oneof![
            prop::collection::vec(inner, 0..6).prop_map(Value::from),
            object
                .prop_map(|fields| fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

fn check(content: &[u8]) -> Result<(), TestCaseError> {
    for name in ["comments.json", "comments.csv"] {
        let Ok(dump) = parse_dump(name, content) else { continue };
        let ids: HashSet<_> = dump.comments.iter().map(|comment| &comment.id).collect();
        prop_assert_eq!(ids.len(), dump.comments.len());
        prop_assert!(dump.comments.iter().all(|comment| !comment.id.is_empty()));
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(content in prop::collection::vec(any::<u8>(), 0..400)) {
        check(&content)?;
    }

    #[test]
    fn any_table_is_read_or_refused(content in "(id|cid|votes|text|parent|time)(,(id|text|likes|date)){0,5}\n(\\PC{0,30}\n){0,8}") {
        check(content.as_bytes())?;
    }

    #[test]
    fn any_json_is_read_or_refused(value in json_values(), cut in 0.0..1.5) {
        let mut content = value.to_string().into_bytes();
        content.truncate((content.len() as f64 * cut) as usize);
        check(&content)?;
        check(&[b"[", &content[..], b"]"].concat())?;
    }

    #[test]
    fn any_text_is_a_video_or_none(
        text in "(https?://)?(www\\.|m\\.)?(youtube\\.com|youtu\\.be)?/?(watch\\?v=|shorts/|live/|embed/)?\\PC{0,24}",
    ) {
        if let Ok(found) = text.parse::<VideoRef>() {
            let again: VideoRef = found.video_id.as_str().parse().expect("its own id");
            prop_assert_eq!(again.video_id, found.video_id);
        }
    }
}
