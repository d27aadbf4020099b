//! The comments that lie in a page as JSON, for its script to filter; and where each of them is.

use std::collections::{HashMap, HashSet};

use lently_analysis::{Category, Report, Sentiment};
use lently_service::JudgedComment;
use serde::Serialize;

use super::members::Spoken;
use crate::report::{ExportError, told};

/// So many comments are put into a page: some megabytes.
pub(super) const MOST: usize = 20_000;

/// The comments in a page.
pub(super) struct Comments<'a> {
    /// In the order in which they were read.
    pub shown: Vec<&'a JudgedComment>,
    /// Of how many.
    pub of: usize,
    /// Of each theme of the report, the places of those that speak of it.
    pub themes: Vec<Vec<usize>>,
    places: HashMap<&'a str, usize>,
}

impl<'a> Comments<'a> {
    /// The first ones, and those that the report quotes or rests on, wherever they are.
    pub(super) fn of(report: &Report, comments: &'a [JudgedComment], most: usize) -> Self {
        let evidence = evidence(report);
        let shown: Vec<&JudgedComment> = comments
            .iter()
            .enumerate()
            .filter(|(place, one)| *place < most || evidence.contains(one.comment.id.as_str()))
            .map(|(_, one)| one)
            .collect();
        let spoken = Spoken::of(&shown);
        let themes = report.themes.iter().map(|theme| spoken.about(&theme.label)).collect();
        let mut places = HashMap::new();
        for (place, one) in shown.iter().enumerate() {
            places.entry(one.comment.id.as_str()).or_insert(place);
        }
        Self { shown, of: comments.len(), themes, places }
    }

    /// Where a comment is.
    pub(super) fn place(&self, id: &str) -> Option<usize> {
        self.places.get(id).copied()
    }

    /// Positive, neutral and negative ones among those at `places`.
    pub(super) fn felt(&self, places: &[usize]) -> [u64; 3] {
        let of = |sentiment| {
            places.iter().filter(|place| self.shown[**place].verdict.sentiment == sentiment).count()
        };
        Sentiment::ALL.map(|sentiment| of(sentiment) as u64)
    }

    /// JSON that can stand within a `<script>`: no character of it begins a tag, a comment or an entity.
    pub(super) fn json(&self, video_id: Option<&str>) -> Result<String, ExportError> {
        let mut languages: Vec<&str> = Vec::new();
        let mut of_theme: Vec<Vec<usize>> = vec![Vec::new(); self.shown.len()];
        for (theme, places) in self.themes.iter().enumerate() {
            for place in places {
                of_theme[*place].push(theme);
            }
        }
        let rows: Vec<Row<'_>> = self
            .shown
            .iter()
            .zip(of_theme)
            .map(|(one, themes)| {
                let code = one.verdict.language.as_deref().unwrap_or("und");
                let language = languages.iter().position(|known| *known == code).unwrap_or_else(|| {
                    languages.push(code);
                    languages.len() - 1
                });
                self.row(one, language, themes)
            })
            .collect();
        let data = Data {
            video: video_id,
            sentiments: Sentiment::ALL.map(Sentiment::name),
            categories: Category::ALL.map(Category::name),
            languages: languages.into_iter().map(|code| (code, told::language(code))).collect(),
            comments: rows,
        };
        let json = serde_json::to_string(&data).map_err(ExportError::defect)?;
        Ok(embedded(&json))
    }

    fn row(
        &self,
        JudgedComment { comment, verdict }: &'a JudgedComment,
        language: usize,
        themes: Vec<usize>,
    ) -> Row<'a> {
        let place = |wanted: usize| u8::try_from(wanted).unwrap_or_default();
        let sentiment = Sentiment::ALL.iter().position(|one| *one == verdict.sentiment).unwrap_or_default();
        let category = Category::ALL.iter().position(|one| *one == verdict.category).unwrap_or_default();
        Row(
            &comment.id,
            comment.parent_id.as_deref().and_then(|parent| self.place(parent)),
            &comment.author,
            &comment.text,
            comment.like_count,
            comment.reply_count,
            comment.published_at.map(jiff::Timestamp::as_second),
            place(sentiment),
            (verdict.score * 1e2).round() / 1e2,
            place(category),
            language,
            u8::from(verdict.toxic),
            themes,
        )
    }
}

/// What the script reads, in the order of its names there.
#[derive(Serialize)]
struct Data<'a> {
    video: Option<&'a str>,
    sentiments: [&'static str; 3],
    categories: [&'static str; 6],
    languages: Vec<(&'a str, &'a str)>,
    comments: Vec<Row<'a>>,
}

/// Id, place of the comment it replies to, author, text, likes, replies, seconds since 1970, sentiment, score, category, language,
/// whether it is toxic, themes. A list and no object, because names would be half of the page.
#[derive(Serialize)]
struct Row<'a>(
    &'a str,
    Option<usize>,
    &'a str,
    &'a str,
    u64,
    u64,
    Option<i64>,
    u8,
    f64,
    u8,
    usize,
    u8,
    Vec<usize>,
);

/// All that the report quotes, or rests on.
fn evidence(report: &Report) -> HashSet<&str> {
    let asked = report.questions.iter().chain(&report.suggestions).map(|asked| &asked.comment_id);
    let quoted = report.most_liked.iter().chain(&report.most_replied);
    let examples = report.themes.iter().flat_map(|theme| &theme.examples);
    let claimed = report.claims.iter().flat_map(|claim| &claim.comment_ids);
    asked
        .chain(quoted.chain(examples).map(|quote| &quote.comment_id))
        .chain(claimed)
        .map(String::as_str)
        .collect()
}

/// In JSON these stand in strings alone, where each may be written as its number.
fn embedded(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + json.len() / 50);
    for c in json.chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use lently_analysis::Quote;
    use serde_json::Value;

    use super::*;
    use crate::report::samples::{judged, reply};

    #[test]
    fn no_text_ends_the_script_and_all_come_back() {
        let hostile = "</script><script>alert(1)</script><!-- ]]> &amp; \u{2028}\u{2029}\\u003c \u{202e}";
        let comments = [judged("</script>", hostile), reply("b", "</script>")];
        let json = Comments::of(&Report::default(), &comments, MOST).json(None).expect("JSON");
        assert!(!json.contains(['<', '>', '&', '\u{2028}', '\u{2029}']), "{json}");
        let data: Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(
            (&data["comments"][0][0], &data["comments"][0][3]),
            (&"</script>".into(), &hostile.into())
        );
        assert_eq!(data["comments"][1][1], 0, "the place of what it replies to");
    }

    #[test]
    fn what_is_quoted_is_there_however_many_there_are() {
        let comments: Vec<_> = (0..10).map(|id| judged(&id.to_string(), "")).collect();
        let quote = Quote {
            comment_id: "8".to_owned(),
            author: String::new(),
            text: String::new(),
            like_count: 0,
            reply_count: 0,
            sentiment: Sentiment::Neutral,
        };
        let report = Report { most_liked: vec![quote], ..Report::default() };
        let page = Comments::of(&report, &comments, 3);
        let ids: Vec<&str> = page.shown.iter().map(|one| one.comment.id.as_str()).collect();
        assert_eq!(
            (ids, page.of, page.place("8"), page.place("9")),
            (vec!["0", "1", "2", "8"], 10, Some(3), None)
        );
    }
}
