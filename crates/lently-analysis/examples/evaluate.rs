//! How well the local engine does on labelled comments: a CSV or TSV with the columns `text` and `sentiment_for_video` (or one
//! named as the second argument), 0 negative, 1 neutral, 2 positive. Prints accuracy, macro-F1 and the confusion matrix.
//!
//!     cargo run --release -p lently-analysis --example evaluate -- FILE.csv [COLUMN]

use std::error::Error;

use lently_analysis::{LocalEngine, Sentiment, evaluate};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or("expected a CSV file of labelled comments")?;
    let wanted = args.next().unwrap_or_else(|| "sentiment_for_video".to_owned());
    let tabs = std::fs::read_to_string(&path)?.lines().next().is_some_and(|header| header.contains('\t'));
    let delimiter = if tabs { b'\t' } else { b',' };
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_path(&path)?;
    let header = reader.headers()?.clone();
    let column = |name: &str| header.iter().position(|have| have == name).ok_or(format!("no column {name}"));
    let (text, label) = (column("text")?, column(&wanted)?);
    let (engine, mut labels, mut predictions) = (LocalEngine::new(), Vec::new(), Vec::new());
    for record in reader.records() {
        let record = record?;
        let Some(label) = record.get(label).and_then(sentiment) else { continue };
        labels.push(label);
        predictions.push(engine.judge(record.get(text).unwrap_or_default()).sentiment);
    }
    let found = evaluate(&labels, &predictions);
    println!("comments {}  accuracy {:.3}  macro-F1 {:.3}", found.count, found.accuracy, found.macro_f1);
    println!("label \\ prediction  positive  neutral  negative");
    for (sentiment, row) in Sentiment::ALL.iter().zip(found.confusion) {
        println!("{:<18}  {:>8}  {:>7}  {:>8}", sentiment.name(), row[0], row[1], row[2]);
    }
    Ok(())
}

fn sentiment(label: &str) -> Option<Sentiment> {
    match label.trim() {
        "2" | "positive" => Some(Sentiment::Positive),
        "1" | "neutral" => Some(Sentiment::Neutral),
        "0" | "negative" => Some(Sentiment::Negative),
        _ => None,
    }
}
