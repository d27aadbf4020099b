//! JSON as it is shown: rows as a table, a value as text. It reads no file and asks nobody.

use comfy_table::{CellAlignment, Table, presets};
use lently_analysis::grouped;
use serde_json::Value;

use crate::report::clean;

/// A table of `rows`, its columns by title and field; nothing, where there are no rows. What stands in a cell is `shown`'s to say.
pub(super) fn table(
    columns: &[(&str, &str)],
    rows: &Value,
    shown: impl Fn(&str, &Value) -> String,
) -> String {
    let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
    if rows.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(columns.iter().map(|(title, _)| *title));
    for row in rows {
        table.add_row(columns.iter().map(|(_, field)| shown(field, &row[*field])));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("\n{table}\n")
}

/// A value alone.
pub(super) fn told(value: &Value) -> String {
    match value {
        // A user's id is a stranger's text, and so is all of another server's.
        Value::String(text) => clean(text),
        Value::Bool(yes) => (if *yes { "yes" } else { "no" }).to_owned(),
        Value::Number(number) => number.as_u64().map_or(number.to_string(), grouped),
        other => other.to_string(),
    }
}
