//! Days of flushes in milliseconds.

use super::*;

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3600 * SECOND;
const MIB: u64 = 1 << 20;
/// Rows an hour of a tier, however often they are flushed.
const KEYS: u64 = 1000;

/// A table as flushes and jobs leave it: only figures.
struct Table {
    policy: Policy,
    files: Vec<Candidate>,
    /// Rows flushed, and rows that jobs have written.
    flushed: u64,
    rewritten: u64,
    /// First and last hour of the rows of each file, if those of equal hours are combined.
    hours: Option<Vec<(i64, i64)>>,
    now: i64,
}

impl Table {
    fn new(window: Window) -> Self {
        let policy = Policy { window, target: 128 * MIB };
        Self { policy, files: vec![], flushed: 0, rewritten: 0, hours: None, now: 0 }
    }

    /// Size of a file: a footer, and what rows take.
    fn size(rows: u64) -> u64 {
        30_000 + 12 * rows
    }

    fn flush(&mut self, time: i64, rows: u64) {
        self.files.push(Candidate {
            window: self.policy.window.of(time),
            part: PartId::WHOLE,
            size: Self::size(rows),
            rows,
            committed: self.now,
            rewrite: false,
        });
        self.flushed += rows;
        if let Some(hours) = &mut self.hours {
            hours.push((time / HOUR, time / HOUR));
        }
    }

    /// Runs jobs until there are none; returns how many.
    fn compact(&mut self) -> usize {
        for jobs in 0.. {
            let Some(group) = next(&self.policy, &self.files, self.now) else { return jobs };
            let taken: Vec<Candidate> = group.iter().map(|i| self.files[*i]).collect();
            assert!(taken.len() <= MAX_FAN_IN && (taken.len() > 1 || taken[0].rewrite));
            assert!(taken.iter().all(|f| (f.window, f.part) == (taken[0].window, taken[0].part)));
            let mut rows: u64 = taken.iter().map(|f| f.rows).sum();
            if let Some(hours) = &mut self.hours {
                let first = group.iter().map(|i| hours[*i].0).min().unwrap();
                let last = group.iter().map(|i| hours[*i].1).max().unwrap();
                rows = rows.min(KEYS * u64::try_from(last - first + 1).unwrap());
                let mut position = 0;
                hours.retain(|_| {
                    position += 1;
                    !group.contains(&(position - 1))
                });
                hours.push((first, last));
            }
            self.rewritten += rows;
            let committed = taken.iter().map(|f| f.committed).max().unwrap();
            let merged =
                Candidate { rows, size: Self::size(rows), committed, rewrite: false, ..taken[0] };
            let mut position = 0;
            self.files.retain(|_| {
                position += 1;
                !group.contains(&(position - 1))
            });
            self.files.push(merged);
        }
        unreachable!()
    }
}

#[test]
fn two_days_of_ten_second_flushes_stay_few_files_and_little_work() {
    let mut table = Table::new(Window::TWO_HOURS);
    let mut most = 0;
    for step in 0..2 * 8640 {
        table.now = step * 10 * SECOND;
        // Every tenth flush brings rows of the window before.
        let late = if step % 10 == 0 { 2 * HOUR } else { 0 };
        table.flush((table.now - late).max(0), 30_000 + u64::try_from(step % 7).unwrap() * 3000);
        table.compact();
        let current = table.policy.window.of(table.now);
        most = most.max(table.files.iter().filter(|f| f.window == current).count());
        assert!(table.files.iter().filter(|f| f.window < current - 2).all(|f| f.size > 32 * MIB));
    }
    // 30 thousand rows are class 4, a full window is class 8: at most 7 files in each of four.
    assert!(most <= 28, "{most} files in the window that is being filled");
    table.now += 3 * HOUR;
    table.compact();
    for window in 0..24 {
        let files: Vec<_> = table.files.iter().filter(|f| f.window == window).collect();
        // 28 million rows are some 340 MB. Full files have 64 MiB and more.
        assert!(files.len() <= 5, "{files:?}");
    }
    let amplification = table.rewritten as f64 / table.flushed as f64;
    assert!(amplification < 4.0, "a row is written {amplification} times after its flush");
}

#[test]
fn a_small_store_ends_up_with_one_file_a_window() {
    let mut table = Table::new(Window::TWO_HOURS);
    for step in 0..8640 {
        table.now = step * 10 * SECOND;
        table.flush(table.now, 50);
        table.compact();
        let current = table.policy.window.of(table.now);
        assert!(table.files.iter().filter(|f| f.window == current).count() <= 28);
    }
    table.now += 3 * HOUR;
    table.compact();
    assert_eq!(table.files.len(), 12);
    assert!(table.rewritten < 5 * table.flushed, "{}", table.rewritten);
    assert_eq!(table.compact(), 0);
}

#[test]
fn a_month_of_flushes_into_one_window_of_a_tier() {
    let mut table = Table::new(Window::THIRTY_DAYS);
    table.hours = Some(vec![]);
    let mut most = 0;
    for step in 0..30 * 8640 {
        table.now = step * 10 * SECOND;
        table.flush(table.now, KEYS);
        if step % 6 == 0 {
            table.compact();
        }
        most = most.max(table.files.len());
    }
    assert!(most <= 28 + 6, "{most}");
    assert!(table.rewritten < table.flushed / 2, "{} of {}", table.rewritten, table.flushed);
}

#[test]
fn late_rows_wait_until_it_is_quiet() {
    let mut table = Table::new(Window::TWO_HOURS);
    table.flush(HOUR, 4_000_000);
    table.now = 10 * HOUR;
    table.compact();
    table.flush(HOUR, 10);
    assert_eq!(
        table.compact(),
        0,
        "a big file is not rewritten for ten rows that may not be alone"
    );
    for minute in 0..60 {
        table.now += 60 * SECOND;
        if minute % 5 == 0 {
            table.flush(HOUR, 10);
        }
        assert!(table.compact() <= 1 && table.files.len() <= 8);
    }
    assert!(table.rewritten < 1_000_000, "{}", table.rewritten);
    table.now += 15 * 60 * SECOND;
    table.compact();
    assert_eq!(table.files.len(), 1);
    assert_eq!(table.rewritten / 4_000_000, 1);
}

#[test]
fn full_files_are_rewritten_only_to_drop_rows() {
    let file = |window, part, size: u64, rewrite| Candidate {
        window,
        part: PartId::from_number(part).unwrap(),
        size: size * MIB,
        rows: size * 80_000,
        committed: 0,
        rewrite,
    };
    let policy = Policy { window: Window::TWO_HOURS, target: 128 * MIB };
    let full = [file(0, 0, 64, false), file(0, 0, 70, false), file(0, 1, 10, false)];
    let later = 100 * HOUR;
    assert_eq!(next(&policy, &full, later), None, "nothing alone, nothing full");
    let hidden = [file(0, 0, 64, false), file(0, 0, 70, true)];
    assert_eq!(next(&policy, &hidden, 0), Some(vec![1]));
    let fills = [file(0, 0, 50, false), file(0, 0, 60, false), file(0, 0, 40, true)];
    assert_eq!(next(&policy, &fills, later), Some(vec![2, 0]), "110 do not fit with 40");
    let others = [file(0, 0, 1, false), file(0, 1, 1, false), file(1, 0, 1, false)];
    assert_eq!(next(&policy, &others, later), None, "windows and parts are never mixed");
}

#[test]
fn what_lags_behind_is_caught_up_with_in_large_jobs() {
    let mut table = Table::new(Window::TWO_HOURS);
    for second in 0..700 {
        table.flush(second * SECOND, 1000);
    }
    assert_eq!(next(&table.policy, &table.files, 0).map(|g| g.len()), Some(MAX_FAN_IN));
    let jobs = table.compact();
    assert!(jobs < 60 && table.files.len() < 28, "{jobs} jobs, {} files", table.files.len());
}

#[test]
fn large_files_wait_until_they_fill_one() {
    let mut table = Table::new(Window::TWO_HOURS);
    let add = |table: &mut Table, mib: u64, rows: u64| {
        table.flush(0, rows);
        table.files.last_mut().unwrap().size = mib * MIB;
    };
    // Rows of one class, and of several.
    (0..15).for_each(|n| add(&mut table, 8, 300_000 << (n % 3 * 3)));
    assert_eq!(next(&table.policy, &table.files, 0), None, "eight of a class are not enough");
    add(&mut table, 8, 300_000);
    assert_eq!(next(&table.policy, &table.files, 0).unwrap().len(), MAX_FAN_IN);

    table.files.clear();
    (0..2).for_each(|_| add(&mut table, 60, 5_000_000));
    assert_eq!(next(&table.policy, &table.files, 0), None);
    add(&mut table, 9, 700_000);
    assert_eq!(next(&table.policy, &table.files, 0).unwrap().len(), 2, "at most a full file");
}
