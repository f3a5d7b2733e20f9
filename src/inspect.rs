//! `weir inspect`: what a data directory has, and whether it is sound.
//!
//! Exit codes: 0 sound, 1 damage found, 2 cannot tell.

use std::process::ExitCode;

use jiff::Timestamp;
use serde_json::json;
use weir_storage::Clock;
use weir_storage::inspect::{Damage, Depth, Distinct, Inspection, inspect};

use crate::cli::Inspect;

/// Inspects and prints.
pub(crate) async fn run(options: &Inspect) -> ExitCode {
    let depth = match (options.repair, options.verify) {
        (true, _) => Depth::Repair,
        (false, true) => Depth::Verify,
        (false, false) => Depth::List,
    };
    let tables = weir_ingest::tables();
    let found = match inspect(&options.dir, &tables, depth, &Clock::system()).await {
        Ok(found) => found,
        Err(error) => {
            eprintln!("weir: {error}");
            return ExitCode::from(2);
        }
    };
    if options.json {
        println!("{}", as_json(&found));
    } else {
        print(&found, depth);
    }
    if found.damage.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

fn time(micros: i64) -> String {
    Timestamp::from_microsecond(micros).map_or_else(|_| micros.to_string(), |t| t.to_string())
}

fn range(times: Option<(i64, i64)>) -> String {
    times.map_or_else(String::new, |(from, to)| format!("{} to {}", time(from), time(to)))
}

fn print(found: &Inspection, depth: Depth) {
    for table in &found.tables {
        println!(
            "{}: {} files in {} partitions, {} rows, {} bytes, log position {}, {}",
            table.name,
            table.files,
            table.partitions,
            table.rows,
            table.bytes,
            table.lsn,
            range(table.times)
        );
        if !table.labels.is_empty() {
            let labels: Vec<_> = table.labels.iter().map(|(n, v)| distinct(n, *v)).collect();
            println!("  distinct values: {}", labels.join(", "));
        }
        for file in &table.list {
            println!(
                "  {}: {} rows, {} bytes, {}",
                file.path.display(),
                file.rows,
                file.bytes,
                range(file.times)
            );
        }
    }
    for segment in &found.segments {
        let entries = segment.entries.map(|n| format!(", {n} entries")).unwrap_or_default();
        println!("{}: {} bytes{entries}", segment.path.display(), segment.bytes);
    }
    for (matchers, files) in &found.tombstones {
        println!("deletion {matchers}: {files} files to be rewritten");
    }
    if !found.left_over.is_empty() {
        let bytes: u64 = found.left_over.iter().map(|(_, bytes)| bytes).sum();
        println!(
            "{} files ({bytes} bytes) are left over; the next start removes them",
            found.left_over.len()
        );
    }
    for damage in &found.damage {
        println!("DAMAGE {}", describe(damage));
    }
    if let Some(quarantine) = &found.quarantine {
        println!("what was damaged is in {}", quarantine.display());
    } else if found.damage.is_empty() && depth >= Depth::Verify {
        println!("everything was read and is sound");
    }
}

/// A label and how many values it has; `at least` so many where some file does not list them.
fn distinct(name: &str, Distinct { values, at_least }: Distinct) -> String {
    format!("{name} {}{values}", if at_least { "at least " } else { "" })
}

fn describe(damage: &Damage) -> String {
    let mut text = damage.path.display().to_string();
    if let Some(offset) = damage.offset {
        text.push_str(&format!(" at byte {offset}"));
    }
    text.push_str(&format!(": {}", damage.what));
    if let Some(rows) = damage.rows {
        text.push_str(&format!("; {rows} rows, {}", range(damage.times)));
    }
    if let Some(done) = &damage.repaired {
        text.push_str(&format!("; {done}"));
    }
    text
}

fn as_json(found: &Inspection) -> serde_json::Value {
    let times = |t: Option<(i64, i64)>| t.map(|(from, to)| json!([time(from), time(to)]));
    json!({
        "tables": found.tables.iter().map(|t| json!({
            "name": t.name, "files": t.files, "partitions": t.partitions, "rows": t.rows,
            "bytes": t.bytes, "lsn": t.lsn, "times": times(t.times),
            "labels": t.labels.iter().map(|(name, distinct)| (name.clone(), json!({
                "values": distinct.values, "at_least": distinct.at_least,
            }))).collect::<serde_json::Map<_, _>>(),
            "list": t.list.iter().map(|f| json!({
                "path": f.path, "rows": f.rows, "bytes": f.bytes, "times": times(f.times),
            })).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "segments": found.segments.iter().map(|s| json!({
            "path": s.path, "first_lsn": s.first_lsn, "bytes": s.bytes, "entries": s.entries,
        })).collect::<Vec<_>>(),
        "tombstones": found.tombstones.iter().map(|(matchers, files)| json!({
            "matchers": matchers, "files": files,
        })).collect::<Vec<_>>(),
        "left_over": found.left_over.iter().map(|(path, bytes)| json!({
            "path": path, "bytes": bytes,
        })).collect::<Vec<_>>(),
        "damage": found.damage.iter().map(|d| json!({
            "path": d.path, "offset": d.offset, "what": d.what, "rows": d.rows,
            "times": times(d.times), "repaired": d.repaired,
        })).collect::<Vec<_>>(),
        "quarantine": found.quarantine,
    })
}
