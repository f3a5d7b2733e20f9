//! What a store does beside ingest, asked for.

use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;

use super::super::model::{Fate, Range};
use super::super::rows::{self, SERIES, TABLES, TIERS, WORKLOADS};
use super::{Done, END, HOUR, Mode, Run};
use crate::delete::Deletion;
use crate::matcher::{MatchOp, Matcher};
use crate::retention::{Retention, RetentionRule};

impl Run {
    pub(super) async fn flush(&mut self) -> Done {
        self.note(|| "flush".into());
        let flushed = self.running().flush().await;
        if self.expect_trouble("flush", flushed)? {
            self.outcome.flushes += 1;
        }
        Ok(())
    }

    pub(super) async fn compact(&mut self) -> Done {
        for _ in 0..self.random.random_range(0..3) {
            // Something to put together.
            self.append().await?;
            self.flush().await?;
            if self.machine.has_crashed() {
                return Ok(());
            }
        }
        if self.random.random_ratio(3, 4) {
            // Rows settle: files of a window are put together.
            let hours = self.random.random_range(3..30);
            self.set_clock((self.machine.now() + hours * HOUR).min(END));
        }
        self.note(|| "compact".into());
        let store = self.running();
        let before = store.stats().compaction.jobs;
        let compacted = store.compact().await;
        self.outcome.compactions += store.stats().compaction.jobs - before;
        self.expect_trouble("compact", compacted).map(|_| ())
    }

    pub(super) async fn expire(&mut self) -> Done {
        self.note(|| "expire".into());
        let before = self.files();
        let expired = self.running().expire().await;
        self.expired();
        if self.expect_trouble("expire", expired)? && self.mode == Mode::Alone {
            self.check_size(before)?;
        }
        Ok(())
    }

    pub(super) fn set_clock(&mut self, now: i64) {
        self.machine.set_clock(now);
        if self.mode == Mode::Together {
            // The store lets go of rows by itself, too: soon after a start, for one.
            self.expired();
        }
    }

    /// From now on rows beyond retention may be gone.
    pub(super) fn expired(&mut self) {
        let retention = &self.options.retention;
        for (number, workload) in WORKLOADS.iter().enumerate() {
            // Each table has the same rules.
            let mut rules = retention.rules.iter();
            let rule = rules.find(|rule| rule.matchers.iter().all(|m| m.matches(Some(workload))));
            let Some(keep) = rule.map_or(retention.default, |rule| rule.keep) else { continue };
            let keep = i64::try_from(keep.as_micros()).unwrap();
            self.model.may_expire(number, self.machine.now() - keep);
        }
        if let Some(keep) = retention.default {
            let keep = i64::try_from(keep.as_micros()).unwrap();
            self.model.series_may_expire(self.machine.now() - keep);
        }
        if self.options.retention.max_bytes.is_some() {
            self.model.may_exceed();
        }
    }

    /// Whether no more is kept than the bound on bytes allows, but for the newest window of each table.
    fn check_size(&mut self, before: usize) -> Done {
        let Some(max) = self.options.retention.max_bytes else { return Ok(()) };
        let specs: Vec<_> = rows::specs().into_iter().filter(|s| self.has(s.name)).collect();
        let (mut bytes, mut files, mut older) = (0, 0, 0);
        for spec in specs {
            let listed = self.snapshot(spec.name)?.files;
            let newest = listed.iter().map(|f| spec.window.of(f.max_time)).max();
            let is_older =
                |f: &&std::sync::Arc<crate::DataFile>| Some(spec.window.of(f.max_time)) != newest;
            bytes += listed.iter().map(|f| f.size).sum::<u64>();
            older += listed.iter().filter(is_older).count();
            files += listed.len();
        }
        self.outcome.exceeded += u64::from(files < before);
        if bytes > max && older > 0 {
            return Err(format!("{bytes} bytes are kept, {older} files could go"));
        }
        Ok(())
    }

    fn has(&self, table: &str) -> bool {
        self.running().spec(table).is_some()
    }

    fn files(&self) -> usize {
        let snapshots = self.running().snapshots();
        snapshots.iter().map(|snapshot| snapshot.files.len()).sum()
    }

    /// Deletes rows of a workload, from some of the tables.
    pub(super) async fn delete(&mut self) -> Done {
        let workload = self.random.random_range(0..WORKLOADS.len());
        // Ranges that tiers can follow.
        let hours = |t: i64| t.div_euclid(HOUR) * HOUR;
        let until = hours(self.machine.now()) + HOUR * self.random.random_range(-3..3);
        let after = until - HOUR * self.random.random_range(1..40);
        // Series are told apart by other labels.
        let mut tables: Vec<usize> =
            (0..TABLES.len() - 1).filter(|_| self.random.random()).collect();
        if self.random.random() {
            // What a tier forgets its source has to forget, or it would depend on the table asked.
            tables.retain(|table| *table != 0);
            tables.insert(0, 0);
            tables.extend(self.tiers().map(|(tier, _)| TABLES.len() + tier));
        }
        let name = |table: &usize| match table.checked_sub(TABLES.len()) {
            None => TABLES[*table],
            Some(tier) => TIERS[tier].0,
        };
        let names: Vec<String> = tables.iter().map(|t| name(t).to_owned()).collect();
        self.note(|| {
            format!("delete {} from {names:?} in ({after}, {until}]", WORKLOADS[workload])
        });
        let deletion = Deletion {
            tables: names,
            matchers: vec![Matcher::new("workload", MatchOp::Equal, WORKLOADS[workload]).unwrap()],
            after,
            until,
        };
        // A tier that is made later never gets what its source lost before.
        let later = self.lacks_tiers && tables.contains(&0);
        tables.extend((0..TIERS.len()).filter(|_| later).map(|tier| TABLES.len() + tier));
        let number = self.model.erase(&tables, Range { workload, after, until });
        let deleted = self.running().delete(deletion).await;
        let fate = match &deleted {
            Ok(_) => Fate::There,
            // Nobody heard the answer.
            Err(_) if self.machine.has_crashed() => Fate::Open,
            // The list may be on disk all the same, and count from the next start on.
            Err(_) => Fate::Refused,
        };
        self.model.erasure(number, fate);
        self.outcome.deletions += u64::from(deleted.as_ref().is_ok_and(|d| d.files > 0));
        self.expect_trouble("delete", deleted).map(|_| ())
    }
}

/// What is kept: everything or two days, with exceptions for some workloads, or a few kilobytes.
pub(super) fn draw_retention(random: &mut SmallRng) -> Retention {
    let day = Duration::from_secs(24 * 3600);
    let default = random.random_ratio(1, 3).then_some(2 * day);
    let mut rules = Vec::new();
    if random.random_ratio(1, 3) {
        for (workload, keep) in [("db", Some(day)), ("api", None)] {
            let matchers = vec![Matcher::new("workload", MatchOp::Equal, workload).unwrap()];
            let tiers = TIERS.iter().map(|(name, _)| *name);
            for table in TABLES.into_iter().filter(|t| *t != SERIES).chain(tiers) {
                let (matchers, table) = (matchers.clone(), Some(table.to_owned()));
                rules.push(RetentionRule { matchers, keep, table });
            }
        }
    }
    let max_bytes = random.random_ratio(1, 5).then(|| random.random_range(2_000..30_000));
    Retention { default, rules, max_bytes, ..Retention::default() }
}
