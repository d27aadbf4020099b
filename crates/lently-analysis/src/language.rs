//! Which language a comment is in: by its script where that is enough, by its function words where they tell, and by
//! lingua's models otherwise. Says where two carry it, where there are no words, and where there are too few; never guesses at those.

use std::sync::LazyLock;

use lingua::{LanguageDetector, LanguageDetectorBuilder};

use self::script::Script;
use crate::{tokens::FUNCTION_WORDS, vader};

mod script;

/// The language of a comment that two languages or scripts carry, as ISO 639-2 has it: Tamil with English, Spanish with
/// English.
pub const MIXED_LANGUAGES: &str = "mul";
/// The language of a comment without a word, as ISO 639-2 has it: emoji, numbers, a link.
pub const NO_LANGUAGE: &str = "zxx";
/// The language of a comment with too few words to tell it; private use by BCP 47, for no standard has a name for it.
pub const TOO_SHORT: &str = "und-x-short";

/// Fewer words than this are not put before the models: they always answer something.
const MODEL_FROM_WORDS: usize = 3;
/// Of so few words the models must be surer.
const MODEL_FEW_WORDS: usize = 5;
/// How much likelier the models must find the first language than the second; less where they have more to go by.
const MODEL_DISTANCE: f64 = 0.05;
const MODEL_DISTANCE_OF_FEW: f64 = 0.25;
/// Hindi and Tamil in Latin letters, as lists of function words.
const ROMANIZED: [(&str, &str); 2] = [("hi-Latn", "hi"), ("ta-Latn", "ta")];

/// Loaded with the first text that needs it; each language's model only when it is a candidate.
static MODELS: LazyLock<LanguageDetector> =
    LazyLock::new(|| LanguageDetectorBuilder::from_all_languages().build());

/// ISO 639-1; [`MIXED_LANGUAGES`], [`NO_LANGUAGE`] or [`TOO_SHORT`]; or `None` where it is none of the languages we know.
/// `words` are the text's.
pub(crate) fn detect(words: &[String]) -> Option<String> {
    match script::of(words) {
        Script::None => Some(NO_LANGUAGE.to_owned()),
        Script::Mixed => Some(MIXED_LANGUAGES.to_owned()),
        Script::Of(code) => Some(code.to_owned()),
        Script::Latin => latin(words),
        Script::Cyrillic => script::cyrillic(words).map(str::to_owned).or_else(|| shared(words)),
        Script::Arabic => script::arabic(words).map(str::to_owned).or_else(|| shared(words)),
    }
}

/// A script of several languages, where no letter told which.
fn shared(words: &[String]) -> Option<String> {
    if words.len() < 2 { Some(TOO_SHORT.to_owned()) } else { model(words).map(|(code, _)| code) }
}

fn latin(words: &[String]) -> Option<String> {
    let mut hits: Vec<(usize, &str)> = FUNCTION_WORDS
        .iter()
        .map(|(code, list)| (words.iter().filter(|word| list.contains(word.as_str())).count(), *code))
        .collect();
    hits.sort_unstable_by_key(|(count, code)| (std::cmp::Reverse(*count), *code));
    let ((first, code), second) = (hits[0], hits[1..].iter().find(|(_, other)| !are_twins(hits[0].1, other)));
    let second = second.map_or(0, |(count, _)| *count);
    if let Some(mixed) = mixed(words, &hits) {
        return Some(mixed.to_owned());
    }
    if (first >= 2 && first >= 2 * second) || (first >= 4 && first >= second + 3) {
        return Some(written(code).to_owned());
    }
    if is_likely_english(words) {
        return Some("en".to_owned());
    }
    if words.len() < MODEL_FROM_WORDS {
        return Some(TOO_SHORT.to_owned());
    }
    // The models know no slang, no names and no Tamil in Latin letters; without a function word of theirs they are guessing.
    let (code, distance) = model(words)?;
    let has_word = hits.iter().any(|(count, of)| *count > 0 && *of == code);
    let enough = if words.len() < MODEL_FEW_WORDS { MODEL_DISTANCE_OF_FEW } else { MODEL_DISTANCE };
    (code == "en" || (has_word && distance >= enough)).then_some(code)
}

/// Danish and Norwegian hold their sentences together by nearly the same words, so neither takes away from the other.
fn are_twins(one: &str, other: &str) -> bool {
    matches!((one, other), ("da", "no") | ("no", "da"))
}

fn written(code: &str) -> &str {
    ROMANIZED.iter().find(|(list, _)| *list == code).map_or(code, |(_, language)| language)
}

/// English and another, each with words that are none of the other's; related languages share too many to tell.
fn mixed(words: &[String], hits: &[(usize, &str)]) -> Option<&'static str> {
    let english = &FUNCTION_WORDS["en"];
    let (other, list) = hits
        .iter()
        .filter(|(count, code)| *count >= 2 && *code != "en")
        .map(|(_, code)| (*code, &FUNCTION_WORDS[code]))
        .next()?;
    let theirs =
        words.iter().filter(|word| list.contains(word.as_str()) && !english.contains(word.as_str())).count();
    let ours = words
        .iter()
        .filter(|word| !list.contains(word.as_str()) && !is_shared(word))
        .filter(|word| english.contains(word.as_str()) || vader::is_english(word))
        .count();
    let romanized = ROMANIZED.iter().any(|(list, _)| *list == other);
    let least = if romanized { 2 } else { 3 };
    (theirs >= least && ours >= least && theirs.max(ours) <= 4 * theirs.min(ours)).then_some(MIXED_LANGUAGES)
}

/// English words that are words of many languages.
fn is_shared(word: &str) -> bool {
    [
        "no", "me", "a", "so", "super", "fan", "an", "in", "on", "die", "war", "was", "hat", "do", "as", "i",
        "mass", "he", "to", "is",
    ]
    .contains(&word)
}

/// "Great video", "love it": too short for a model, and made of words that VADER or the function words know.
fn is_likely_english(words: &[String]) -> bool {
    let english = &FUNCTION_WORDS["en"];
    let known = words
        .iter()
        .filter(|word| !is_shared(word))
        .filter(|word| english.contains(word.as_str()) || vader::is_english(word))
        .count();
    known > 0 && known * 2 >= words.len() && words.iter().all(|word| word.is_ascii())
}

/// The language that the models find likeliest, and how much likelier than the next.
fn model(words: &[String]) -> Option<(String, f64)> {
    let values = MODELS.compute_language_confidence_values(words.join(" "));
    let (language, first) = values.first()?;
    let distance = first - values.get(1).map_or(0.0, |(_, value)| *value);
    (distance >= MODEL_DISTANCE).then(|| (language.iso_code_639_1().to_string().to_lowercase(), distance))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::words;

    fn of(text: &str) -> Option<String> {
        detect(&words(text))
    }

    /// Sentences of ours, as comments are written.
    const SENTENCES: [(&str, &str); 66] = [
        ("en", "I really like what you did with the sound in this one"),
        ("en", "great video"),
        ("en", "love it"),
        ("es", "Me encanta este canal, gracias por todo lo que haces"),
        ("es", "buen trabajo amigo, sigue así"),
        ("de", "Das ist wirklich ein sehr gutes Video, danke dir"),
        ("de", "Könnt ihr bitte öfter solche Folgen machen"),
        ("fr", "C'est vraiment une très bonne vidéo, merci à vous"),
        ("fr", "Quelqu'un connaît le nom de la chanson"),
        ("pt", "Você poderia fazer um vídeo sobre câmeras, muito obrigado"),
        ("pt", "Esse canal é muito bom, não perco um"),
        ("it", "Questo video è bellissimo, non vedo l'ora del prossimo"),
        ("it", "Grazie mille, mi hai aiutato molto"),
        ("nl", "Wat een mooie video, dank je wel voor de uitleg"),
        ("nl", "Ik kijk hier elke week naar met mijn dochter"),
        ("pl", "Bardzo dobry film, czekam na więcej takich odcinków"),
        ("sv", "Det här var en av de bästa jag har sett, tack så mycket"),
        ("da", "Det er den bedste video, jeg har set, og jeg glæder mig til jeres næste"),
        ("no", "Dette er den beste jeg har sett, og dere har ikke gjort noe bedre"),
        ("fi", "Tämä on todella hyvä video, kiitos paljon kun teit sen"),
        ("cs", "Tohle je moc dobré video, díky že to děláte pro nás"),
        ("ro", "Este cel mai bun canal și mulțumesc pentru tot ce faci"),
        ("hu", "Ez nagyon jó lett, köszönöm hogy megcsináltad és várom a többit"),
        ("tr", "Bu video çok güzel olmuş, emeğine sağlık, devamı ne zaman"),
        ("vi", "Video này rất hay, cảm ơn bạn đã chia sẻ với chúng tôi"),
        ("id", "Videonya bagus banget, terima kasih sudah berbagi, saya tunggu yang berikutnya"),
        ("tl", "Ang ganda naman ng video na ito, salamat po sa inyong lahat"),
        ("sq", "Faleminderit shumë për këtë video, është shumë e bukur"),
        ("ru", "Очень хорошее видео, спасибо большое"),
        ("ru", "Когда выйдет следующая серия?"),
        ("uk", "Дуже гарне відео, дякую вам за працю її"),
        ("uk", "Коли вийде наступна серія, чекаємо всією сім'єю"),
        ("ar", "شكرا جزيلا على هذا الفيديو الرائع"),
        ("fa", "خیلی ویدیوی خوبی بود، دستت درد نکنه پسر گل"),
        ("ur", "بہت اچھی ویڈیو ہے، آپ کا بہت شکریہ"),
        ("hi", "बहुत अच्छा वीडियो है, धन्यवाद"),
        ("bn", "খুব সুন্দর ভিডিও, অনেক ধন্যবাদ"),
        ("ta", "நல்ல படம்"),
        ("te", "చాలా బాగుంది అన్నా"),
        ("kn", "ತುಂಬಾ ಚೆನ್ನಾಗಿದೆ"),
        ("ml", "വളരെ നല്ല വീഡിയോ"),
        ("gu", "ખૂબ સરસ વિડિઓ"),
        ("pa", "ਬਹੁਤ ਵਧੀਆ ਵੀਡੀਓ"),
        ("si", "හරිම ලස්සනයි"),
        ("th", "ดีมากครับ"),
        ("lo", "ດີຫຼາຍ"),
        ("km", "ល្អណាស់"),
        ("my", "အရမ်းကောင်းတယ်"),
        ("ko", "진짜 맛있겠다"),
        ("ja", "すごい動画ですね"),
        ("zh", "这个视频太好看了"),
        ("el", "Πολύ ωραίο βίντεο"),
        ("he", "סרטון מעולה תודה"),
        ("hy", "Շատ լավ տեսանյութ"),
        ("ka", "ძალიან კარგი ვიდეოა"),
        ("ja", "iPhoneの動画、とても参考になりました"),
        ("ko", "BTS 오빠들 노래 진짜 최고야 사랑해요"),
        ("hi", "bhai bahut accha hai yeh, aur kab aayega"),
        ("ta", "padam romba nalla irukku anna, vera maari"),
        (MIXED_LANGUAGES, "what a performance thalaiva, the best one, romba nalla iruku"),
        (MIXED_LANGUAGES, "bhai this is the best video but mujhe nahi mila kya link"),
        (MIXED_LANGUAGES, "இந்த படம் super hit ஆகும் first day first show"),
        (MIXED_LANGUAGES, "यह movie really awesome है trailer देखो"),
        (
            MIXED_LANGUAGES,
            "I love this song pero no entiendo por qué la gente is so mean with her and they don't",
        ),
        (MIXED_LANGUAGES, "これは本当に面白い動画ですね I really love this channel so much"),
        (MIXED_LANGUAGES, "Спасибо большое за это this is the best video ever"),
    ];

    #[test]
    fn sentences_in_many_languages_are_told_and_so_is_what_mixes_them() {
        let wrong: Vec<_> = SENTENCES
            .iter()
            .map(|(code, text)| (*code, of(text), *text))
            .filter(|(code, found, _)| found.as_deref() != Some(code))
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        let languages: std::collections::HashSet<_> = SENTENCES.iter().map(|(code, _)| code).collect();
        assert!(languages.len() >= 20);
    }

    #[test]
    fn no_words_and_too_few_words_are_told_apart_from_what_is_unknown() {
        for text in ["", "😂😂", "2:34", "@someone", "https://example.org/great", "100%!!! ❤"] {
            assert_eq!(of(text).as_deref(), Some(NO_LANGUAGE), "{text}");
        }
        for text in ["Rolex", "STR 🔥🔥", "Vamos!", "Спасибо"] {
            assert_eq!(of(text).as_deref(), Some(TOO_SHORT), "{text}");
        }
        assert_eq!(of("zxqv wrtp lkjh mnbv qwrt"), None);
    }
}
