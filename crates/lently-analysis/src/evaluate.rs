//! How well predictions agree with labels. Counts and divides; predicts nothing.

use serde::Serialize;

use crate::model::Sentiment;

/// How well an engine does on labelled comments.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// How many comments.
    pub count: u64,
    /// The share that is labelled as predicted.
    pub accuracy: f64,
    /// The mean of the three classes' F1 scores, each class counting the same.
    pub macro_f1: f64,
    /// `confusion[label][prediction]`, both in the order of [`Sentiment::ALL`].
    pub confusion: [[u64; 3]; 3],
}

/// Compares predictions with labels, pair by pair; a surplus of either is passed over.
#[must_use]
pub fn evaluate(labels: &[Sentiment], predictions: &[Sentiment]) -> Evaluation {
    let mut confusion = [[0u64; 3]; 3];
    for (label, prediction) in labels.iter().zip(predictions) {
        confusion[place(*label)][place(*prediction)] += 1;
    }
    let count: u64 = confusion.iter().flatten().sum();
    let right: u64 = (0..3).map(|class| confusion[class][class]).sum();
    let f1 = |class: usize| {
        let labelled: u64 = confusion[class].iter().sum();
        let predicted: u64 = confusion.iter().map(|row| row[class]).sum();
        ratio(2 * confusion[class][class], labelled + predicted)
    };
    Evaluation {
        count,
        accuracy: ratio(right, count),
        macro_f1: (0..3).map(f1).sum::<f64>() / 3.0,
        confusion,
    }
}

fn place(sentiment: Sentiment) -> usize {
    match sentiment {
        Sentiment::Positive => 0,
        Sentiment::Neutral => 1,
        Sentiment::Negative => 2,
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Sentiment::{Negative, Neutral, Positive};

    #[test]
    fn accuracy_f1_and_confusion_are_counted() {
        let found =
            evaluate(&[Positive, Positive, Neutral, Negative], &[Positive, Neutral, Neutral, Positive]);
        assert_eq!(found.confusion, [[1, 1, 0], [0, 1, 0], [1, 0, 0]]);
        assert!((found.accuracy - 0.5).abs() < 1e-12);
        // F1: positive 2/4, neutral 2/3, negative 0.
        assert!((found.macro_f1 - (0.5 + 2.0 / 3.0) / 3.0).abs() < 1e-12);
    }
}
