//! Answers as tables in a terminal.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use serde_json::Value;

/// A table with a header; numbers stand to the right.
#[derive(Debug, Default)]
pub(crate) struct Table {
    header: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

#[derive(Debug)]
struct Cell {
    text: String,
    right: bool,
}

impl Cell {
    fn text(text: impl Into<String>) -> Self {
        Self { text: printable(&text.into()), right: false }
    }

    fn number(text: impl Into<String>) -> Self {
        Self { text: printable(&text.into()), right: true }
    }

    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::text(""),
            Value::String(s) => Self::text(s.clone()),
            Value::Number(n) => Self::number(n.to_string()),
            other => Self::text(other.to_string()),
        }
    }
}

/// What a server sends must not steer the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

impl Table {
    /// The `data` of an answer to a PromQL query: a row per series, or per series and time.
    pub(crate) fn of_promql(data: &Value) -> Self {
        let empty = Vec::new();
        match data["resultType"].as_str() {
            Some("vector" | "matrix") => {
                Self::of_series(data["result"].as_array().unwrap_or(&empty))
            }
            _ => Self {
                header: vec!["value".into()],
                rows: vec![vec![Cell::number(data["result"][1].as_str().unwrap_or_default())]],
            },
        }
    }

    fn of_series(series: &[Value]) -> Self {
        let names: BTreeSet<&str> = series
            .iter()
            .filter_map(|s| s["metric"].as_object())
            .flat_map(|m| m.keys().map(String::as_str))
            .collect();
        let ranged = series.iter().any(|s| s.get("values").is_some());
        let mut header: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        if ranged {
            header.push("time".into());
        }
        header.push("value".into());
        let mut rows = Vec::new();
        for one in series {
            let labels =
                || names.iter().map(|n| Cell::text(one["metric"][*n].as_str().unwrap_or_default()));
            let single = [one["value"].clone()];
            let points = match one["values"].as_array() {
                Some(values) => values.as_slice(),
                None => &single,
            };
            for point in points {
                let mut row: Vec<Cell> = labels().collect();
                if ranged {
                    row.push(Cell::text(time(point[0].as_f64().unwrap_or_default())));
                }
                row.push(Cell::number(point[1].as_str().unwrap_or_default()));
                rows.push(row);
            }
        }
        Self { header, rows }
    }

    /// The JSON answer to SQL: `{"columns":[{"name":..}..],"rows":[[..]..]}`.
    pub(crate) fn of_sql(answer: &Value) -> Self {
        let list = |key: &str| answer[key].as_array().map(Vec::as_slice).unwrap_or_default();
        let header = list("columns")
            .iter()
            .map(|c| printable(c["name"].as_str().unwrap_or_default()))
            .collect();
        let rows = list("rows")
            .iter()
            .map(|row| row.as_array().into_iter().flatten().map(Cell::of).collect())
            .collect();
        Self { header, rows }
    }
}

fn time(seconds: f64) -> String {
    Timestamp::from_millisecond((seconds * 1000.0).round() as i64)
        .map(|t| t.to_string())
        .unwrap_or_else(|_| seconds.to_string())
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |text: &str| text.chars().count();
        let mut widths: Vec<usize> = self.header.iter().map(|h| width(h)).collect();
        for row in &self.rows {
            for (w, cell) in widths.iter_mut().zip(row) {
                *w = (*w).max(width(&cell.text));
            }
        }
        let right: Vec<bool> = (0..self.header.len())
            .map(|i| self.rows.first().and_then(|r| r.get(i)).is_some_and(|c| c.right))
            .collect();
        let mut line = |cells: Vec<(&str, bool)>| {
            let mut out = String::new();
            for ((text, right), w) in cells.into_iter().zip(&widths) {
                let pad = " ".repeat(w.saturating_sub(width(text)));
                out.push_str(if out.is_empty() { "" } else { "  " });
                out.push_str(&if right { format!("{pad}{text}") } else { format!("{text}{pad}") });
            }
            writeln!(f, "{}", out.trim_end())
        };
        line(self.header.iter().map(String::as_str).zip(right).collect())?;
        let rules: Vec<String> = widths.iter().map(|w| "-".repeat(*w)).collect();
        line(rules.iter().map(|r| (r.as_str(), false)).collect())?;
        for row in &self.rows {
            line(row.iter().map(|c| (c.text.as_str(), c.right)).collect())?;
        }
        match self.rows.len() {
            1 => writeln!(f, "(1 row)"),
            n => writeln!(f, "({n} rows)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn series_become_rows() {
        let data = json!({"resultType": "vector", "result": [
            {"metric": {"workload": "nginx"}, "value": [1.5, "12"]},
            {"metric": {"workload": "a\u{1b}[2J", "role": "client"}, "value": [1.5, "3"]},
        ]});
        let text = Table::of_promql(&data).to_string();
        assert_eq!(
            text,
            "role    workload  value\n\
             ------  --------  -----\n        nginx        12\n\
             client  a\u{fffd}[2J         3\n(2 rows)\n"
        );
    }

    #[test]
    fn an_empty_answer_says_so() {
        let data = json!({"resultType": "vector", "result": []});
        assert!(Table::of_promql(&data).to_string().ends_with("(0 rows)\n"));
    }
}
