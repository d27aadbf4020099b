//! How well predictions agree with labels. Counts and divides; predicts nothing.

use serde::Serialize;

/// How well an engine does on labelled comments.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// How many comments.
    pub count: u64,
    /// The share that is labelled as predicted.
    pub accuracy: f64,
    /// The share of the most frequent label: what is reached by always predicting it.
    pub largest_class: f64,
    /// The mean of the classes' F1 scores, each class counting the same; a class that is neither labelled nor predicted does not count.
    pub macro_f1: f64,
    /// Class by class, in the order given.
    pub classes: Vec<ClassScore>,
    /// `confusion[label][prediction]`, both in that order.
    pub confusion: Vec<Vec<u64>>,
}

/// How well an engine tells a class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassScore {
    /// Its name.
    pub class: String,
    /// How many comments are labelled so.
    pub labelled: u64,
    /// The share that is labelled so of what is predicted so.
    pub precision: f64,
    /// The share that is predicted so of what is labelled so.
    pub recall: f64,
    /// Their harmonic mean.
    pub f1: f64,
}

/// Compares labels with predictions, pair by pair, each the place of a class among `classes`; a surplus of either, and a place that
/// is none, is passed over.
#[must_use]
pub fn evaluate(classes: &[&str], labels: &[usize], predictions: &[usize]) -> Evaluation {
    let mut confusion = vec![vec![0u64; classes.len()]; classes.len()];
    for (label, prediction) in labels.iter().zip(predictions) {
        if let Some(cell) = confusion.get_mut(*label).and_then(|row| row.get_mut(*prediction)) {
            *cell += 1;
        }
    }
    let count: u64 = confusion.iter().flatten().sum();
    let right: u64 = (0..classes.len()).map(|class| confusion[class][class]).sum();
    let largest = confusion.iter().map(|row| row.iter().sum::<u64>()).max().unwrap_or_default();
    let mut seen = 0u64;
    let scores: Vec<ClassScore> = classes
        .iter()
        .enumerate()
        .map(|(class, name)| {
            let labelled: u64 = confusion[class].iter().sum();
            let predicted: u64 = confusion.iter().map(|row| row[class]).sum();
            let both = confusion[class][class];
            seen += u64::from(labelled + predicted > 0);
            ClassScore {
                class: (*name).to_owned(),
                labelled,
                precision: ratio(both, predicted),
                recall: ratio(both, labelled),
                f1: ratio(2 * both, labelled + predicted),
            }
        })
        .collect();
    let macro_f1 = scores.iter().map(|score| score.f1).sum::<f64>() / seen.max(1) as f64;
    Evaluation {
        count,
        accuracy: ratio(right, count),
        largest_class: ratio(largest, count),
        macro_f1,
        classes: scores,
        confusion,
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accuracy_f1_and_confusion_are_counted() {
        let found = evaluate(&["positive", "neutral", "negative"], &[0, 0, 1, 2, 7], &[0, 1, 1, 0, 0]);
        assert_eq!(found.confusion, [[1, 1, 0], [0, 1, 0], [1, 0, 0]]);
        assert_eq!(found.count, 4, "what is labelled with no class is passed over");
        assert!((found.accuracy - 0.5).abs() < 1e-12 && (found.largest_class - 0.5).abs() < 1e-12);
        // F1: positive 2/4, neutral 2/3, negative 0.
        assert!((found.macro_f1 - (0.5 + 2.0 / 3.0) / 3.0).abs() < 1e-12);
        let positive = &found.classes[0];
        assert_eq!((positive.labelled, positive.precision.to_bits()), (2, 0.5f64.to_bits()));
    }

    #[test]
    fn a_class_that_nobody_speaks_of_is_no_failure() {
        let found = evaluate(&["spam", "other", "unheard"], &[0, 1], &[0, 1]);
        assert!((found.macro_f1 - 1.0).abs() < 1e-12);
        assert!(evaluate(&[], &[0], &[0]).macro_f1.abs() < 1e-12);
    }
}
