//! Comments with their verdicts as a table by RFC 4180, for a spreadsheet. It holds nothing of the report.

use std::collections::HashMap;

use csv::{Terminator, WriterBuilder};
use lently_service::JudgedComment;
use serde::Serialize;

use super::ExportError;

/// Excel takes a file without it for one in the encoding of the country, and spoils what is not ASCII.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

#[derive(Serialize)]
struct Row<'a> {
    comment_id: String,
    parent_id: String,
    author: String,
    author_channel_id: String,
    published_at: String,
    updated_at: String,
    like_count: u64,
    reply_count: u64,
    sentiment: &'a str,
    score: f64,
    category: &'a str,
    language: String,
    toxic: bool,
    confidence: Option<f64>,
    judged_by: &'a str,
    text: String,
}

/// All comments in the order in which they were read, each followed by its replies.
pub(super) fn table(comments: &[JudgedComment]) -> Result<Vec<u8>, ExportError> {
    let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(BYTE_ORDER_MARK.to_vec());
    for comment in in_threads(comments) {
        writer.serialize(row(comment)).map_err(ExportError::defect)?;
    }
    if comments.is_empty() {
        writer.write_record(COLUMNS).map_err(ExportError::defect)?;
    }
    writer.into_inner().map_err(|error| ExportError::defect(error.into_error()))
}

/// Written where there is no row that names them.
const COLUMNS: [&str; 16] = [
    "comment_id",
    "parent_id",
    "author",
    "author_channel_id",
    "published_at",
    "updated_at",
    "like_count",
    "reply_count",
    "sentiment",
    "score",
    "category",
    "language",
    "toxic",
    "confidence",
    "judged_by",
    "text",
];

fn row(JudgedComment { comment, verdict }: &JudgedComment) -> Row<'_> {
    let time = |time: Option<jiff::Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
    Row {
        comment_id: harmless(&comment.id),
        parent_id: harmless(comment.parent_id.as_deref().unwrap_or_default()),
        author: harmless(&comment.author),
        author_channel_id: harmless(comment.author_channel_id.as_deref().unwrap_or_default()),
        published_at: time(comment.published_at),
        updated_at: time(comment.updated_at),
        like_count: comment.like_count,
        reply_count: comment.reply_count,
        sentiment: verdict.sentiment.name(),
        score: verdict.score,
        category: verdict.category.name(),
        language: harmless(verdict.language.as_deref().unwrap_or_default()),
        toxic: verdict.toxic,
        confidence: verdict.confidence,
        judged_by: match verdict.judged_by {
            lently_analysis::JudgedBy::Local => "local",
            lently_analysis::JudgedBy::Gemini => "gemini",
        },
        text: harmless(&comment.text),
    }
}

/// Each comment with its replies behind it. A reply whose comment was not read stands where it was read.
pub(super) fn in_threads(comments: &[JudgedComment]) -> Vec<&JudgedComment> {
    let mut tops: HashMap<&str, Vec<&JudgedComment>> = HashMap::new();
    for top in comments.iter().filter(|one| one.comment.parent_id.is_none()) {
        tops.entry(&top.comment.id).or_default();
    }
    let mut first = Vec::new();
    for one in comments {
        let parent = one.comment.parent_id.as_deref().and_then(|parent| tops.get_mut(parent));
        match parent {
            Some(replies) => replies.push(one),
            None => first.push(one),
        }
    }
    let mut all = Vec::with_capacity(comments.len());
    for top in first {
        all.push(top);
        // Of two comments with one id the first has the replies.
        all.extend(tops.remove(top.comment.id.as_str()).unwrap_or_default());
    }
    all
}

/// A text that no spreadsheet takes for a formula: what begins like one gets an apostrophe in front, and so does what begins with an
/// apostrophe, so that taking one away always gives the text back.
fn harmless(text: &str) -> String {
    // Those that OWASP names ("CSV Injection", as of 2026-11), with the wide forms that some countries' programs take for them.
    let begins = |c: char| "=+-@\t\r\n＝＋－＠'".contains(c);
    if text.starts_with(begins) { format!("'{text}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::{judged, reply};

    fn read(bytes: &[u8]) -> Vec<Vec<String>> {
        let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).expect("a byte order mark");
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(bytes);
        reader.records().map(|row| row.expect("a row").iter().map(str::to_owned).collect()).collect()
    }

    fn texts(comments: &[JudgedComment]) -> Vec<String> {
        let rows = read(&table(comments).expect("a table"));
        rows.into_iter().skip(1).filter_map(|mut row| row.pop()).collect()
    }

    #[test]
    fn any_text_comes_back_as_it_was() {
        let hostile = [
            "a,b",
            "say \"so\"",
            "two\r\nlines\nand a third",
            "größe 😀",
            "",
            " ",
            "]]>",
            "\u{202e}evil",
            "\u{0}",
        ];
        let comments: Vec<_> = hostile.iter().map(|text| judged("a", text)).collect();
        assert_eq!(texts(&comments), hostile);
    }

    #[test]
    fn nothing_begins_like_a_formula_and_one_apostrophe_less_is_the_text() {
        let formulas =
            ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\n=1", "＝1", "'", "'=1"];
        let comments: Vec<_> = formulas.iter().map(|text| judged("=id", text)).collect();
        for row in read(&table(&comments).expect("a table")).iter().skip(1) {
            for cell in row.iter().filter(|cell| cell.parse::<f64>().is_err()) {
                assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝']), "{cell:?}");
            }
        }
        let without: Vec<String> = texts(&comments).iter().map(|text| text[1..].to_owned()).collect();
        assert_eq!(without, formulas);
        assert_eq!(harmless("it's = fine"), "it's = fine");
    }

    #[test]
    fn replies_stand_behind_what_they_reply_to() {
        let comments =
            [reply("a1", "a"), judged("a", ""), judged("b", ""), reply("a2", "a"), reply("x1", "gone")];
        let ids: Vec<&str> = in_threads(&comments).iter().map(|one| one.comment.id.as_str()).collect();
        assert_eq!(ids, ["a", "a1", "a2", "b", "x1"]);
    }

    #[test]
    fn the_columns_are_named_also_where_there_is_no_comment() {
        let (none, one) = (table(&[]).expect("a table"), table(&[judged("a", "b")]).expect("a table"));
        assert_eq!(read(&none)[0], read(&one)[0]);
        assert!(one.windows(2).filter(|two| two == b"\r\n").count() == 2 && one.ends_with(b"\r\n"));
    }
}
