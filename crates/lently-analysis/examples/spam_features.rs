//! Prints what `scripts/train-spam` learns from: one JSON string a line on standard input, the features of that text as a
//! JSON object a line out.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufWriter, Write},
};

use lently_analysis::spam_features;

fn main() -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let text: String = serde_json::from_str(&line?)?;
        let features: BTreeMap<_, _> = spam_features(&text).into_iter().collect();
        writeln!(out, "{}", serde_json::to_string(&features)?)?;
    }
    out.flush()
}
