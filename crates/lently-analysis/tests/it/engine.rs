//! The local engine over many texts.

use lently_analysis::{Category, LocalEngine, Sentiment, prompt};
use proptest::prelude::*;

#[test]
fn english_words_in_another_language_are_not_judged_as_english() {
    // "die", "war" and "hat" are words of feeling in English and of grammar in German.
    let verdict =
        LocalEngine::new().judge("Die Frau hat gesagt, das war nicht für die Kinder und nicht für mich");
    assert_eq!((verdict.language.as_deref(), verdict.sentiment), (Some("de"), Sentiment::Neutral));
    assert!(verdict.score.abs() < 1e-12);
}

#[test]
fn questions_are_told_by_marks_of_other_scripts() {
    let engine = LocalEngine::new();
    for text in ["どこで買えますか？", "أين يمكنني شراء هذا؟", "¿Dónde lo compraste"]
    {
        assert_eq!(engine.judge(text).category, Category::Question, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_judged_the_same_way_alone_and_among_others(texts in prop::collection::vec(any::<String>(), 0..8)) {
        let engine = LocalEngine::new();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let together = engine.judge_all(&texts);
        prop_assert_eq!(together.len(), texts.len());
        for (text, verdict) in texts.iter().zip(&together) {
            prop_assert_eq!(&engine.judge(text), verdict);
            prop_assert!((-1.0..=1.0).contains(&verdict.score));
            prop_assert_eq!(Sentiment::of_score(verdict.score), verdict.sentiment);
        }
    }

    #[test]
    fn any_text_stays_on_its_own_line_of_a_request(texts in prop::collection::vec(any::<String>(), 0..8)) {
        let asked: Vec<&str> = texts.iter().map(String::as_str).collect();
        let request = prompt::verdict_request(&asked);
        prop_assert_eq!(request.user.split('\n').count(), texts.len() + 1);
        let expected: Vec<(usize, String)> = texts.into_iter().enumerate().collect();
        prop_assert_eq!(prompt::read_items(&request.user), Some(expected));
        prop_assert_eq!(&request.system, &prompt::verdict_request(&[]).system);
    }

    #[test]
    fn no_answer_is_too_strange_to_be_read(answer in any::<String>(), expected in 0usize..5) {
        if let Ok(verdicts) = prompt::parse_verdicts(&answer, expected) {
            prop_assert_eq!(verdicts.len(), expected);
        }
    }
}
