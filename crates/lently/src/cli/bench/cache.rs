//! `lently bench cache`: shows what `lently_cache::bench` measures.

use comfy_table::{CellAlignment, LineStyle, Table, presets::UTF8_HORIZONTAL_ONLY};
use lently_cache::bench::{self, Measured};
use serde_json::json;

use crate::cli::{CliError, Terminal, print, tell};

pub(super) async fn run(keys: u64, json: bool, terminal: Terminal) -> Result<(), CliError> {
    let told = |next: &str| tell(&format!("measuring {next} …"));
    let measured = bench::run(keys, None, told).await.map_err(|error| CliError::of(&error))?;
    if json {
        print(&format!("{}\n", json!({ "measured": measured })))?;
    } else {
        print(&format!("{}\n", table(&measured, terminal)))?;
    }
    super::judge(measured.iter().all(Measured::is_met))
}

fn table(measured: &[Measured], terminal: Terminal) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none()));
    table.set_header(["", "ours", "beside", "", "ratio", "at most", ""]);
    for line in measured {
        let quantity = |value: f64| format!("{value:.1} {}", line.unit).trim_end().to_owned();
        let verdict = match line.target {
            None => String::new(),
            Some(_) if line.is_met() => terminal.paint.green("met"),
            Some(_) => terminal.paint.red("missed"),
        };
        table.add_row([
            line.what.clone(),
            quantity(line.ours),
            line.beside.to_owned(),
            line.theirs.map(quantity).unwrap_or_default(),
            line.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
            line.target.map(|target| target.to_string()).unwrap_or_default(),
            verdict,
        ]);
    }
    for column in [1, 3, 4, 5] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
