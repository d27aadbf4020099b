//! The report: every number in it is counted from verdicts here, none is taken from a model's word.
//! Deterministic, whatever the order of its input.

use std::collections::{BTreeMap, HashMap};

use jiff::{Timestamp, ToSpan, Unit, civil::Date, tz::TimeZone};

use crate::{
    language::{NO_LANGUAGE, TOO_SHORT},
    model::{
        Asked, Bucket, Category, CategoryCount, Comment, Commenter, Coverage, JudgedBy, LanguageCount, Quote,
        Report, Sentiment, SentimentSummary, Share, Verdict,
    },
    summary,
    themes::{self, rounded},
    tokens,
};

/// Fewer comments than this are shown with a caution.
const FEW: u64 = 100;
/// So does a report in which at least this share was judged by its emoji alone.
const BY_EMOJI_SHARE: f64 = 0.1;
/// Questions, and suggestions.
const MOST_ASKED: usize = 10;
const MOST_QUOTED: usize = 5;
const MOST_COMMENTERS: usize = 10;
/// Up to so many days one bucket is a day, up to so many a week, beyond a month.
const DAYS_BY_DAY: i64 = 45;
const DAYS_BY_WEEK: i64 = 400;

/// Counts the verdicts on comments, pair by pair, into a report.
///
/// Takes time in proportion to the comments' text, about 50 µs a comment in a release build.
#[must_use]
pub fn report(comments: &[Comment], verdicts: &[Verdict], coverage: Coverage) -> Report {
    let mut judged: Vec<(&Comment, &Verdict)> = comments.iter().zip(verdicts).collect();
    judged.sort_by(|(a, of_a), (b, of_b)| {
        order(a).cmp(&order(b)).then_with(|| of_a.score.total_cmp(&of_b.score))
    });
    let worth_quoting: Vec<_> =
        judged.iter().filter(|(_, verdict)| verdict.category != Category::Spam).copied().collect();
    let mut report = Report {
        derived: true,
        sentiment: sentiment(&judged),
        sentiment_over_time: over_time(&judged),
        categories: categories(&judged),
        languages: languages(&judged),
        themes: themes::find(&worth_quoting),
        questions: asked(&judged, Category::Question),
        suggestions: asked(&judged, Category::Suggestion),
        most_liked: themes::best(&worth_quoting, MOST_QUOTED),
        most_replied: most_replied(&worth_quoting),
        toxic: share(judged.iter().filter(|(_, verdict)| verdict.toxic).count() as u64, judged.len()),
        commenters: commenters(&judged),
        summary: String::new(),
        claims: Vec::new(),
        caution: caution(&judged, &coverage),
        coverage,
    };
    report.claims = summary::claims(&report);
    report.summary = summary::in_words(&report.claims);
    report
}

/// An order that says nothing and depends on nothing but the comment.
fn order(comment: &Comment) -> impl Ord + use<'_> {
    let Comment { id, parent_id, author, text, like_count, reply_count, published_at } = comment;
    (id, text, author, like_count, reply_count, published_at, parent_id)
}

fn share(count: u64, of: usize) -> Share {
    Share { count, share: if of == 0 { 0.0 } else { count as f64 / of as f64 } }
}

fn mean(judged: &[(&Comment, &Verdict)]) -> f64 {
    let sum: f64 = judged.iter().map(|(_, verdict)| verdict.score).sum();
    rounded(sum / judged.len().max(1) as f64)
}

fn felt(judged: &[(&Comment, &Verdict)], sentiment: Sentiment) -> u64 {
    judged.iter().filter(|(_, verdict)| verdict.sentiment == sentiment).count() as u64
}

fn sentiment(judged: &[(&Comment, &Verdict)]) -> SentimentSummary {
    let of = |sentiment| share(felt(judged, sentiment), judged.len());
    SentimentSummary {
        positive: of(Sentiment::Positive),
        neutral: of(Sentiment::Neutral),
        negative: of(Sentiment::Negative),
        mean: mean(judged),
    }
}

fn day(time: Timestamp) -> Date {
    time.to_zoned(TimeZone::UTC).date()
}

fn over_time(judged: &[(&Comment, &Verdict)]) -> Vec<Bucket> {
    let days = || judged.iter().filter_map(|(comment, _)| comment.published_at).map(day);
    let (Some(first), Some(last)) = (days().min(), days().max()) else { return Vec::new() };
    let span = first.until((Unit::Day, last)).map_or(0, |span| i64::from(span.get_days()));
    let unit = if span <= DAYS_BY_DAY {
        "day"
    } else if span <= DAYS_BY_WEEK {
        "week"
    } else {
        "month"
    };
    let mut buckets: BTreeMap<Date, Vec<(&Comment, &Verdict)>> = BTreeMap::new();
    for (comment, verdict) in judged {
        if let Some(time) = comment.published_at {
            buckets.entry(beginning(day(time), unit)).or_default().push((comment, verdict));
        }
    }
    let bucket = |(start, judged): (Date, Vec<(&Comment, &Verdict)>)| Bucket {
        start: start.to_string(),
        unit: unit.to_owned(),
        positive: felt(&judged, Sentiment::Positive),
        neutral: felt(&judged, Sentiment::Neutral),
        negative: felt(&judged, Sentiment::Negative),
        mean: mean(&judged),
    };
    buckets.into_iter().map(bucket).collect()
}

fn beginning(day: Date, unit: &str) -> Date {
    match unit {
        "week" => day.checked_sub(i64::from(day.weekday().to_monday_zero_offset()).days()).unwrap_or(day),
        "month" => day.first_of_month(),
        _ => day,
    }
}

fn categories(judged: &[(&Comment, &Verdict)]) -> Vec<CategoryCount> {
    let mut counts: Vec<_> = Category::ALL
        .into_iter()
        .map(|category| {
            let count = judged.iter().filter(|(_, verdict)| verdict.category == category).count() as u64;
            let Share { count, share } = share(count, judged.len());
            CategoryCount { category, count, share }
        })
        .collect();
    counts.sort_by_key(|entry| (std::cmp::Reverse(entry.count), entry.category));
    counts
}

fn languages(judged: &[(&Comment, &Verdict)]) -> Vec<LanguageCount> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for (_, verdict) in judged {
        *counts.entry(verdict.language.as_deref().unwrap_or("und")).or_default() += 1;
    }
    let mut languages: Vec<_> = counts
        .into_iter()
        .map(|(language, count)| {
            let Share { count, share } = share(count, judged.len());
            LanguageCount { language: language.to_owned(), count, share }
        })
        .collect();
    languages.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.language.cmp(&b.language)));
    languages
}

fn most_replied(judged: &[(&Comment, &Verdict)]) -> Vec<Quote> {
    let replied: Vec<_> = judged.iter().filter(|(comment, _)| comment.reply_count > 0).copied().collect();
    themes::first_by(&replied, MOST_QUOTED, |comment| comment.reply_count)
}

/// Questions or suggestions of some substance, the same one once, by likes and by how many make it.
fn asked(judged: &[(&Comment, &Verdict)], category: Category) -> Vec<Asked> {
    let mut asked: HashMap<String, (&Comment, u64)> = HashMap::new();
    for (comment, verdict) in judged {
        let words = tokens::words(&comment.text);
        if verdict.category != category || words.len() < 3 {
            continue;
        }
        let (best, times) = asked.entry(words.join(" ")).or_insert((comment, 0));
        *times += 1;
        if comment.like_count > best.like_count {
            *best = comment;
        }
    }
    let mut asked: Vec<_> = asked
        .into_values()
        .map(|(comment, asked)| Asked {
            comment_id: comment.id.clone(),
            author: comment.author.clone(),
            text: comment.text.clone(),
            like_count: comment.like_count,
            reply_count: comment.reply_count,
            asked,
        })
        .collect();
    let worth = |asked: &Asked| asked.like_count.saturating_add(asked.asked);
    asked.sort_by(|a, b| {
        let named = |asked: &Asked| (asked.comment_id.clone(), asked.text.clone());
        worth(b).cmp(&worth(a)).then_with(|| named(a).cmp(&named(b)))
    });
    asked.truncate(MOST_ASKED);
    asked
}

/// Who wrote more than one comment. What looks like spam counts for nobody.
fn commenters(judged: &[(&Comment, &Verdict)]) -> Vec<Commenter> {
    let mut of: HashMap<&str, Vec<(&Comment, &Verdict)>> = HashMap::new();
    for (comment, verdict) in judged {
        if !comment.author.trim().is_empty() && verdict.category != Category::Spam {
            of.entry(&comment.author).or_default().push((comment, verdict));
        }
    }
    let mut commenters: Vec<_> = of
        .into_iter()
        .filter(|(_, judged)| judged.len() > 1)
        .map(|(author, judged)| Commenter {
            author: author.to_owned(),
            comments: judged.len() as u64,
            like_count: judged.iter().fold(0, |sum, (comment, _)| sum.saturating_add(comment.like_count)),
            mean_score: mean(&judged),
        })
        .collect();
    commenters.sort_by(|a, b| {
        (b.comments, b.like_count).cmp(&(a.comments, a.like_count)).then_with(|| a.author.cmp(&b.author))
    });
    commenters.truncate(MOST_COMMENTERS);
    commenters
}

fn caution(judged: &[(&Comment, &Verdict)], coverage: &Coverage) -> Option<String> {
    let read = judged.len() as u64;
    let mut cautions = Vec::new();
    if read < FEW {
        let were = if read == 1 { "comment was" } else { "comments were" };
        cautions.push(format!(
            "Only {read} {were} read: shares of fewer than {FEW} can change with a handful more."
        ));
    }
    if !coverage.complete && coverage.of.is_some_and(|of| of > read) {
        cautions
            .push("Not all comments were read: those read first are not a random sample of all.".to_owned());
    }
    cautions.extend(by_emoji(judged));
    (!cautions.is_empty()).then(|| cautions.join(" "))
}

/// English alone has rules in the local engine; a comment in another language, or in two, is neutral unless its emoji say otherwise.
/// Where there are no words, or too few to tell, nothing is passed over.
fn by_emoji(judged: &[(&Comment, &Verdict)]) -> Option<String> {
    let only_emoji = |verdict: &Verdict| {
        let others = |code: &str| !["en", NO_LANGUAGE, TOO_SHORT].contains(&code);
        verdict.judged_by == JudgedBy::Local && verdict.language.as_deref().is_some_and(others)
    };
    let count = judged.iter().filter(|(_, verdict)| only_emoji(verdict)).count() as u64;
    let Share { share, .. } = share(count, judged.len());
    (share >= BY_EMOJI_SHARE).then(|| {
        format!(
            "{:.0} % are in languages in which the local engine judges emoji alone: most of these count as neutral, \
             whatever their words say.",
            share * 100.0
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::MIXED_LANGUAGES;

    fn caution_of(languages: &[(Option<&str>, JudgedBy, usize)]) -> Option<String> {
        let verdicts: Vec<Verdict> = languages
            .iter()
            .flat_map(|(language, judged_by, times)| {
                let verdict = Verdict {
                    sentiment: Sentiment::Neutral,
                    score: 0.0,
                    category: Category::Other,
                    language: language.map(str::to_owned),
                    toxic: false,
                    confidence: None,
                    judged_by: *judged_by,
                };
                std::iter::repeat_n(verdict, *times)
            })
            .collect();
        let comments = vec![Comment::default(); verdicts.len()];
        report(&comments, &verdicts, Coverage { complete: true, ..Coverage::default() }).caution
    }

    #[test]
    fn languages_judged_by_emoji_alone_are_a_caution_where_they_are_many() {
        let (local, gemini) = (JudgedBy::Local, JudgedBy::Gemini);
        let told = caution_of(&[(Some("en"), local, 60), (Some("de"), local, 30), (Some("es"), local, 10)]);
        assert!(told.is_some_and(|told| told.starts_with("40 % are in languages in which the local engine")));
        assert_eq!(caution_of(&[(Some("en"), local, 95), (Some("de"), local, 5)]), None);
        assert_eq!(caution_of(&[(Some("de"), gemini, 100)]), None, "Gemini reads German");
        assert_eq!(caution_of(&[(Some("en"), local, 60), (None, local, 60)]), None, "cannot be told");
        let wordless =
            [(Some("en"), local, 60), (Some(NO_LANGUAGE), local, 30), (Some(TOO_SHORT), local, 30)];
        assert_eq!(caution_of(&wordless), None, "there is nothing but emoji to judge");
        let mixed = caution_of(&[(Some("en"), local, 60), (Some(MIXED_LANGUAGES), local, 40)]);
        assert!(mixed.is_some_and(|told| told.starts_with("40 %")), "no rules for two languages at once");
    }

    #[test]
    fn one_comment_is_one_comment() {
        let told = caution_of(&[(Some("en"), JudgedBy::Local, 1)]).expect("a caution");
        assert!(told.starts_with("Only 1 comment was read:"), "{told}");
    }
}
