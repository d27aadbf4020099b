//! Prints VADER's compound score of each text: one JSON string a line on standard input, one number a line out.

use std::io::{self, BufRead, BufWriter, Write};

use lently_analysis::Vader;

fn main() -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let text: String = serde_json::from_str(&line?)?;
        writeln!(out, "{}", Vader::polarity(&text).compound)?;
    }
    out.flush()
}
