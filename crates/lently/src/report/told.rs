//! What every form of a report says of an analysis in the same words: where it is from, how much was read, who judged.
//! Plain text; whoever shows it makes it safe for where it is shown.

use lently_analysis::{Coverage, MIXED_LANGUAGES, NO_LANGUAGE, TOO_SHORT, grouped};
use lently_service::{AnalysisBody, BodyEngine, BodySource};

use super::text::counted;

/// Said wherever numbers of YouTube's are beside ours.
pub(super) const DERIVED: &str =
    "derived by Lently; views, likes and the comments in all are YouTube's own numbers";

/// The channel and its video, or the file.
pub(super) fn source(source: &BodySource) -> String {
    match source {
        BodySource::Video { video_id, channel_title, view_count, .. } => {
            let views = view_count.map(|views| format!(", {}", counted(views, "view"))).unwrap_or_default();
            format!("{channel_title} ({video_id}{views})")
        }
        // Without a title the file's name is in the line above.
        BodySource::File { title: None, format, .. } => format!("a file of comments ({format})"),
        BodySource::File { file_name, format, .. } => format!("{file_name} ({format})"),
    }
}

/// The video's address, where it is known.
pub(super) fn address(body: &AnalysisBody) -> Option<String> {
    body.source.video_id().map(|id| format!("https://www.youtube.com/watch?v={id}"))
}

/// `500 of 520 comments read (the limit of 500 comments was reached)`.
pub(super) fn coverage(coverage: &Coverage) -> String {
    let read = match coverage.of {
        Some(of) => format!("{} of {}", grouped(coverage.read), counted(of, "comment")),
        None => counted(coverage.read, "comment"),
    };
    let basis = if coverage.basis.is_empty() { String::new() } else { format!(" ({})", coverage.basis) };
    format!("{read} read{basis}")
}

/// `480 by Gemini gemini-3.5-flash-lite (12 paid for before), 20 by the local engine`.
pub(super) fn judged(engine: &BodyEngine) -> String {
    let model = engine.model.as_deref().map(|model| format!(" {model}")).unwrap_or_default();
    let reused = match engine.reused {
        0 => String::new(),
        reused => format!(" ({} paid for before)", grouped(reused)),
    };
    match (engine.judged.gemini, engine.judged.local) {
        (0, local) => format!("{} by the local engine", grouped(local)),
        (gemini, 0) => format!("{} by Gemini{model}{reused}", grouped(gemini)),
        (gemini, local) => {
            format!("{} by Gemini{model}{reused}, {} by the local engine", grouped(gemini), grouped(local))
        }
    }
}

/// The name of a language by its code; what has none has a code, too.
pub(super) fn language(code: &str) -> &str {
    let named = LANGUAGES.iter().find(|(known, _)| *known == code);
    named.map_or(code, |(_, name)| name)
}

/// Those that comments are found to be in, by ISO 639-1 and in English.
const LANGUAGES: [(&str, &str); 80] = [
    ("und", "cannot be told"),
    (MIXED_LANGUAGES, "mixed"),
    (NO_LANGUAGE, "no words"),
    (TOO_SHORT, "too short to tell"),
    ("af", "Afrikaans"),
    ("am", "Amharic"),
    ("ar", "Arabic"),
    ("az", "Azerbaijani"),
    ("be", "Belarusian"),
    ("bg", "Bulgarian"),
    ("bn", "Bengali"),
    ("bs", "Bosnian"),
    ("ca", "Catalan"),
    ("cs", "Czech"),
    ("cy", "Welsh"),
    ("da", "Danish"),
    ("de", "German"),
    ("el", "Greek"),
    ("en", "English"),
    ("eo", "Esperanto"),
    ("es", "Spanish"),
    ("et", "Estonian"),
    ("eu", "Basque"),
    ("fa", "Persian"),
    ("fi", "Finnish"),
    ("fr", "French"),
    ("ga", "Irish"),
    ("gl", "Galician"),
    ("gu", "Gujarati"),
    ("he", "Hebrew"),
    ("hi", "Hindi"),
    ("hr", "Croatian"),
    ("hu", "Hungarian"),
    ("hy", "Armenian"),
    ("id", "Indonesian"),
    ("is", "Icelandic"),
    ("it", "Italian"),
    ("ja", "Japanese"),
    ("ka", "Georgian"),
    ("kk", "Kazakh"),
    ("km", "Khmer"),
    ("kn", "Kannada"),
    ("ko", "Korean"),
    ("la", "Latin"),
    ("lt", "Lithuanian"),
    ("lv", "Latvian"),
    ("mk", "Macedonian"),
    ("ml", "Malayalam"),
    ("mn", "Mongolian"),
    ("mr", "Marathi"),
    ("ms", "Malay"),
    ("my", "Burmese"),
    ("nb", "Norwegian"),
    ("ne", "Nepali"),
    ("nl", "Dutch"),
    ("nn", "Norwegian (Nynorsk)"),
    ("no", "Norwegian"),
    ("pa", "Punjabi"),
    ("pl", "Polish"),
    ("pt", "Portuguese"),
    ("ro", "Romanian"),
    ("ru", "Russian"),
    ("si", "Sinhala"),
    ("sk", "Slovak"),
    ("sl", "Slovenian"),
    ("so", "Somali"),
    ("sq", "Albanian"),
    ("sr", "Serbian"),
    ("sv", "Swedish"),
    ("sw", "Swahili"),
    ("ta", "Tamil"),
    ("te", "Telugu"),
    ("th", "Thai"),
    ("tl", "Tagalog"),
    ("tr", "Turkish"),
    ("uk", "Ukrainian"),
    ("ur", "Urdu"),
    ("uz", "Uzbek"),
    ("vi", "Vietnamese"),
    ("zh", "Chinese"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_has_a_name_or_keeps_its_code() {
        assert_eq!((language("de"), language("und"), language("xx")), ("German", "cannot be told", "xx"));
    }
}
