//! The report as one page that needs nothing but itself: no network, no font, no picture. Its drawings are there without its script, which
//! only filters the comments. Every text of a stranger's is escaped by the template, and the page's own policy lets nothing else run.

mod chart;
mod data;
mod members;

use std::{borrow::Cow, sync::LazyLock};

use askama::Template;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::{civil::Date, tz::TimeZone};
use lently_analysis::{Asked, Quote, Report, Share, grouped};
use lently_service::{AnalysisBody, BodySource, JudgedComment};
use sha2::{Digest as _, Sha256};

use self::{
    chart::{OverTime, Part, Units, over_time, stacked},
    data::{Comments, MOST},
};
use super::{
    ExportError, since,
    text::{clean, counted, mood, percent, short},
    told,
};

const STYLE: &str = include_str!("../../templates/report.css");
const SCRIPT: &str = include_str!("../../templates/report.js");
/// The longest quotation above the list, in characters; there it is whole.
const QUOTED: usize = 280;
/// So many comments are listed where no script runs.
const LISTED: usize = 25;
/// The most languages with a bar of their own.
const LANGUAGES: usize = 10;

/// What a page may do, as a `Content-Security-Policy`: its own style and its own script, known by their hashes, and nothing else.
pub static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| BASE64_STANDARD.encode(Sha256::digest(text));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
});

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    policy: &'a str,
    style: &'static str,
    script: &'static str,
    title: String,
    source: String,
    address: Option<String>,
    made: String,
    report: &'a Report,
    tiles: Vec<Tile>,
    /// What has changed since the last analysis, in lines.
    since: Vec<String>,
    sentences: Vec<Sentence>,
    felt: Vec<Part>,
    sentiments: Vec<Bar>,
    mean: String,
    over_time: Option<OverTime>,
    categories: Vec<Bar>,
    languages: Vec<Bar>,
    themes: Vec<ThemeCard>,
    asides: Vec<Aside>,
    commenters: Vec<Commenter>,
    comments: Option<List>,
    facts: Vec<(&'static str, String)>,
}

/// A number that leads to the comments behind it.
struct Pick {
    /// What the script filters by; nothing where the comments are not in the page.
    by: Option<String>,
    number: String,
    /// What the number counts, for those who hear it.
    told: String,
}

struct Tile {
    name: &'static str,
    value: Pick,
    more: String,
}

/// A sentence of the summary.
struct Sentence {
    text: String,
    evidence: Option<Pick>,
}

struct Bar {
    name: String,
    class: &'static str,
    length: Units,
    share: String,
    pick: Pick,
}

struct ThemeCard {
    name: String,
    size: Pick,
    share: String,
    mood: String,
    felt: Vec<Part>,
    examples: Vec<Quoted>,
}

/// Some comments under a heading.
struct Aside {
    id: &'static str,
    title: &'static str,
    quotes: Vec<Quoted>,
}

struct Quoted {
    text: String,
    author: String,
    class: &'static str,
    told: String,
    /// To the comment among those it belongs to.
    thread: Option<String>,
}

struct Commenter {
    name: String,
    comments: Pick,
    likes: String,
    mood: String,
}

/// The comments themselves.
struct List {
    json: String,
    total: String,
    /// Where not all are here.
    note: Option<String>,
    languages: Vec<(String, String)>,
    categories: Vec<&'static str>,
    first: Vec<Listed>,
}

/// A comment as it is listed where no script runs; the script lists them alike.
struct Listed {
    author: String,
    date: String,
    text: String,
    language: String,
    is_reply: bool,
    class: &'static str,
    told: String,
}

/// Renders the page.
pub(super) fn page(body: &AnalysisBody, comments: Option<&[JudgedComment]>) -> Result<String, ExportError> {
    page_of(body, comments, MOST)
}

fn page_of(
    body: &AnalysisBody,
    comments: Option<&[JudgedComment]>,
    most: usize,
) -> Result<String, ExportError> {
    let report = &body.report;
    let embedded = comments.map(|comments| Comments::of(report, comments, most));
    let view = View { report, comments: embedded.as_ref() };
    let page = Page {
        policy: &POLICY,
        style: STYLE,
        script: SCRIPT,
        title: clean(body.source.title()),
        source: clean(&told::source(&body.source)),
        address: told::address(body),
        made: body.created_at.strftime("%Y-%m-%d").to_string(),
        report,
        tiles: view.tiles(),
        since: body.since.as_ref().map(since::lines).unwrap_or_default(),
        sentences: view.sentences(),
        felt: stacked(view.felt()),
        sentiments: view.sentiments(),
        mean: mood(report.sentiment.mean),
        over_time: over_time(&report.sentiment_over_time, published(&body.source)),
        categories: view.categories(),
        languages: view.languages(),
        themes: view.themes(),
        asides: view.asides(),
        commenters: view.commenters(),
        comments: view.list(body)?,
        facts: facts(body),
    };
    page.render().map_err(ExportError::defect)
}

fn published(source: &BodySource) -> Option<Date> {
    match source {
        BodySource::Video { published_at, .. } => published_at.map(|at| at.to_zoned(TimeZone::UTC).date()),
        BodySource::File { .. } => None,
    }
}

/// The report, and where the comments are that it speaks of.
struct View<'a> {
    report: &'a Report,
    comments: Option<&'a Comments<'a>>,
}

impl View<'_> {
    /// Nothing counted leads nowhere, and without comments nothing leads anywhere.
    fn pick(&self, count: u64, by: String, what: &str) -> Pick {
        let number = grouped(count);
        let told = format!("{number} {what}: show them");
        Pick { by: (count > 0 && self.comments.is_some()).then_some(by), number, told }
    }

    fn felt(&self) -> [u64; 3] {
        let sentiment = &self.report.sentiment;
        [sentiment.positive.count, sentiment.neutral.count, sentiment.negative.count]
    }

    fn of_category(&self, category: lently_analysis::Category) -> Share {
        let entry = self.report.categories.iter().find(|entry| entry.category == category);
        entry.map(|entry| Share { count: entry.count, share: entry.share }).unwrap_or_default()
    }

    fn tiles(&self) -> Vec<Tile> {
        use lently_analysis::Category::{Question, Spam, Suggestion};
        let report = self.report;
        let coverage = &report.coverage;
        let of = coverage.of.map_or("all there are".to_owned(), |of| format!("of {}", grouped(of)));
        let mean = Pick { by: None, number: mood(report.sentiment.mean), told: String::new() };
        let mut tiles = vec![
            Tile {
                name: "comments read",
                value: self.pick(coverage.read, "all".into(), "comments"),
                more: of,
            },
            Tile { name: "mean mood", value: mean, more: "from −1 to +1".to_owned() },
        ];
        let mut tile = |name, Share { count, share }, by: &str| {
            tiles.push(Tile { name, value: self.pick(count, by.to_owned(), name), more: percent(share) });
        };
        tile("questions", self.of_category(Question), "category:question");
        tile("suggestions", self.of_category(Suggestion), "category:suggestion");
        tile("look like spam", self.of_category(Spam), "category:spam");
        tile("insults or threats", report.toxic, "toxic:1");
        tiles
    }

    fn sentences(&self) -> Vec<Sentence> {
        let place = |id: &String| self.comments.and_then(|comments| comments.place(id));
        let sentence = |claim: &lently_analysis::Claim| {
            let places: Vec<String> =
                claim.comment_ids.iter().filter_map(place).map(|place| place.to_string()).collect();
            let evidence = (!places.is_empty()).then(|| {
                let count = places.len() as u64;
                self.pick(count, format!("places:{}", places.join(",")), "comments behind this sentence")
            });
            Sentence { text: clean(&claim.text), evidence }
        };
        if self.report.claims.is_empty() {
            return vec![Sentence { text: clean(&self.report.summary), evidence: None }];
        }
        self.report.claims.iter().map(sentence).collect()
    }

    fn bar(&self, name: &str, class: &'static str, share: Share, by: String) -> Bar {
        let pick = self.pick(share.count, by, name);
        Bar {
            name: name.to_owned(),
            class,
            length: Units(share.share * 100.0),
            share: percent(share.share),
            pick,
        }
    }

    fn sentiments(&self) -> Vec<Bar> {
        let sentiment = &self.report.sentiment;
        let of = [
            ("positive", sentiment.positive),
            ("neutral", sentiment.neutral),
            ("negative", sentiment.negative),
        ];
        of.map(|(name, share)| self.bar(name, name, share, format!("sentiment:{name}"))).into()
    }

    fn categories(&self) -> Vec<Bar> {
        let counted = self.report.categories.iter().filter(|entry| entry.count > 0);
        counted
            .map(|entry| {
                let (name, share) = (entry.category.name(), Share { count: entry.count, share: entry.share });
                self.bar(name, "plain", share, format!("category:{name}"))
            })
            .collect()
    }

    fn languages(&self) -> Vec<Bar> {
        self.report
            .languages
            .iter()
            .take(LANGUAGES)
            .map(|entry| {
                let share = Share { count: entry.count, share: entry.share };
                let code = &entry.language;
                self.bar(&clean(told::language(code)), "plain", share, format!("language:{code}"))
            })
            .collect()
    }

    fn themes(&self) -> Vec<ThemeCard> {
        let card = |(at, theme): (usize, &lently_analysis::Theme)| {
            let name = clean(theme.name.as_ref().unwrap_or(&theme.label));
            let places = self.comments.and_then(|comments| Some((comments, comments.themes.get(at)?)));
            ThemeCard {
                size: self.pick(theme.size, format!("theme:{at}"), &format!("comments on {name}")),
                name,
                share: percent(theme.share),
                mood: mood(theme.mean_score),
                felt: places.map(|(comments, places)| stacked(comments.felt(places))).unwrap_or_default(),
                examples: theme.examples.iter().take(2).map(|quote| self.quoted(quote)).collect(),
            }
        };
        self.report.themes.iter().enumerate().map(card).collect()
    }

    fn asides(&self) -> Vec<Aside> {
        let report = self.report;
        let asked = |all: &[Asked]| all.iter().map(|asked| self.asked(asked)).collect();
        let quotes = |all: &[Quote]| all.iter().map(|quote| self.quoted(quote)).collect();
        let mut asides = vec![
            Aside { id: "questions", title: "Questions worth answering", quotes: asked(&report.questions) },
            Aside { id: "suggestions", title: "Suggestions", quotes: asked(&report.suggestions) },
            Aside { id: "most-liked", title: "Most liked", quotes: quotes(&report.most_liked) },
            Aside { id: "most-replied", title: "Most replied to", quotes: quotes(&report.most_replied) },
        ];
        asides.retain(|aside| !aside.quotes.is_empty());
        asides
    }

    fn thread(&self, id: &str) -> Option<String> {
        self.comments?.place(id).map(|place| format!("thread:{place}"))
    }

    fn quoted(&self, quote: &Quote) -> Quoted {
        Quoted {
            text: short(&quote.text, QUOTED),
            author: clean(&quote.author),
            class: quote.sentiment.name(),
            told: reactions(quote.like_count, quote.reply_count),
            thread: self.thread(&quote.comment_id),
        }
    }

    fn asked(&self, asked: &Asked) -> Quoted {
        let times =
            if asked.asked > 1 { format!(", asked {} times", grouped(asked.asked)) } else { String::new() };
        Quoted {
            text: short(&asked.text, QUOTED),
            author: clean(&asked.author),
            class: "plain",
            told: format!("{}{times}", reactions(asked.like_count, asked.reply_count)),
            thread: self.thread(&asked.comment_id),
        }
    }

    fn commenters(&self) -> Vec<Commenter> {
        let commenter = |one: &lently_analysis::Commenter| Commenter {
            name: clean(&one.author),
            comments: self.pick(
                one.comments,
                format!("author:{}", one.author),
                &format!("comments by {}", one.author),
            ),
            likes: grouped(one.like_count),
            mood: mood(one.mean_score),
        };
        self.report.commenters.iter().map(commenter).collect()
    }

    fn list(&self, body: &AnalysisBody) -> Result<Option<List>, ExportError> {
        let Some(comments) = self.comments else { return Ok(None) };
        let (shown, of) = (comments.shown.len(), comments.of);
        let note = (shown < of).then(|| {
            format!(
                "{} of the {} are in this page: those read first, and those quoted above. All are in the CSV and JSON exports.",
                grouped(shown as u64),
                counted(of as u64, "comment")
            )
        });
        let language = |entry: &lently_analysis::LanguageCount| {
            (entry.language.clone(), clean(told::language(&entry.language)))
        };
        Ok(Some(List {
            json: comments.json(body.source.video_id().map(lently_upstream::VideoId::as_str))?,
            total: grouped(shown as u64),
            note,
            languages: self.report.languages.iter().map(language).collect(),
            categories: lently_analysis::Category::ALL.map(lently_analysis::Category::name).to_vec(),
            first: comments.shown.iter().take(LISTED).map(|one| listed(one)).collect(),
        }))
    }
}

fn reactions(likes: u64, replies: u64) -> String {
    let word = if replies == 1 { "reply" } else { "replies" };
    if replies == 0 {
        counted(likes, "like")
    } else {
        format!("{}, {} {word}", counted(likes, "like"), grouped(replies))
    }
}

fn listed(JudgedComment { comment, verdict }: &JudgedComment) -> Listed {
    let language = verdict.language.as_deref();
    let insult = if verdict.toxic { " · insult or threat" } else { "" };
    Listed {
        author: clean(&comment.author),
        date: comment.published_at.map(|at| at.strftime("%Y-%m-%d").to_string()).unwrap_or_default(),
        text: comment.text.replace(|c: char| c.is_control() && c != '\n', ""),
        language: language.unwrap_or_default().to_owned(),
        is_reply: comment.parent_id.is_some(),
        class: verdict.sentiment.name(),
        told: format!(
            "{} {} · {} · {}{insult} · {}",
            verdict.sentiment.name(),
            mood(verdict.score),
            verdict.category.name(),
            language.map_or(Cow::Borrowed("language cannot be told"), |code| told::language(code).into()),
            reactions(comment.like_count, comment.reply_count)
        ),
    }
}

/// How it was made, as terms and what is said of each.
fn facts(body: &AnalysisBody) -> Vec<(&'static str, String)> {
    let engine = &body.engine;
    let mut facts = vec![
        ("Coverage", clean(&told::coverage(&body.report.coverage))),
        ("Judged", clean(&told::judged(engine))),
    ];
    facts.extend(engine.degraded.as_ref().map(|why| ("Not as asked", clean(why))));
    facts.push(("Made", body.created_at.strftime("%Y-%m-%d %H:%M UTC").to_string()));
    let whose = match body.source {
        BodySource::Video { .. } => format!("Everything counted and judged here was {}.", told::DERIVED),
        BodySource::File { .. } => {
            "Everything counted and judged here was derived by Lently from the file.".to_owned()
        }
    };
    facts.push(("Whose numbers", whose));
    facts
}

#[cfg(test)]
mod tests;
