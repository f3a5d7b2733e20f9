//! The series that are asked about: counters with resets, gauges, constants, NaN and infinities,
//! classic histograms in and out of order, gaps, stale markers, irregular times, many shapes of labels.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

pub(crate) use crate::support::write::Series;

/// When the series begin, milliseconds.
pub(crate) const START: i64 = 1_700_000_000_000;
/// How long they last, milliseconds.
pub(crate) const SPAN: i64 = 100 * 60_000;
/// The NaN that ends a series.
const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// All series, in the order of their labels.
pub(crate) fn series() -> Vec<Series> {
    let mut maker = Maker { rng: StdRng::seed_from_u64(42), out: Vec::new() };
    maker.counters();
    maker.gauges();
    maker.odd_values();
    maker.histograms();
    maker.broken();
    maker.infos();
    maker.names();
    let mut out = maker.out;
    out.sort_by(|a, b| a.labels.cmp(&b.labels));
    out
}

struct Maker {
    rng: StdRng,
    out: Vec<Series>,
}

impl Maker {
    fn add(&mut self, name: &str, labels: &[(&str, &str)], samples: Vec<(i64, f64)>) {
        let mut all: Vec<(String, String)> = labels
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect();
        all.push(("__name__".to_owned(), name.to_owned()));
        all.sort();
        self.out.push(Series { labels: all, samples });
    }

    /// Times every `every` milliseconds, give or take `jitter`.
    fn times(&mut self, every: i64, jitter: i64) -> Vec<i64> {
        let first = self.rng.random_range(0..every);
        (0..)
            .map(|i| first + i * every)
            .take_while(|at| *at < SPAN)
            .map(|at| START + at + if jitter > 0 { self.rng.random_range(0..jitter) } else { 0 })
            .collect()
    }

    /// A counter that starts anew now and then.
    fn counter(&mut self, times: Vec<i64>, fraction: bool) -> Vec<(i64, f64)> {
        let mut value = if self.rng.random_bool(0.5) { 0.0 } else { 1e6 };
        times
            .into_iter()
            .map(|time| {
                if self.rng.random_bool(0.02) {
                    value = 0.0;
                }
                if self.rng.random_bool(0.8) {
                    value += f64::from(self.rng.random_range(0..50));
                    if fraction {
                        value += self.rng.random::<f64>();
                    }
                }
                (time, value)
            })
            .collect()
    }

    fn counters(&mut self) {
        for job in ["api", "web"] {
            for instance in ["a:1", "b:2", "c:3"] {
                for method in ["GET", "POST"] {
                    for code in ["200", "500"] {
                        let times = self.times(15_000, 3);
                        let samples = self.counter(times, false);
                        let labels = [
                            ("job", job),
                            ("instance", instance),
                            ("method", method),
                            ("code", code),
                        ];
                        self.add("http_requests_total", &labels, samples);
                    }
                }
                for cpu in ["0", "1"] {
                    let times = self.times(30_000, 2000);
                    let samples = self.counter(times, true);
                    let labels = [("job", job), ("instance", instance), ("cpu", cpu)];
                    self.add("cpu_seconds", &labels, samples);
                }
            }
        }
    }

    fn gauges(&mut self) {
        for site in ["x", "y"] {
            for room in ["", "1", "2", "10"] {
                let times = self.times(20_000, 500);
                let shift: f64 = self.rng.random_range(-10.0..10.0);
                let samples = times
                    .into_iter()
                    .map(|t| {
                        (t, shift + 20.0 * (t as f64 / 700_000.0).sin() + self.rng.random::<f64>())
                    })
                    .collect();
                self.add("temp", &[("site", site), ("room", room)], samples);
            }
        }
        for n in ["0", "1", "2", "3", "4", "5", "6"] {
            let times = self.times(30_000, 0);
            let samples =
                times.into_iter().map(|t| (t, f64::from(self.rng.random_range(1..4)))).collect();
            self.add("rank", &[("n", n), ("half", if n < "3" { "low" } else { "high" })], samples);
        }
        for n in ["1", "2"] {
            let samples = self.times(60_000, 0).into_iter().map(|t| (t, 7.0)).collect();
            self.add("constant", &[("n", n)], samples);
        }
        let samples = self.times(1000, 900).into_iter().filter(|t| *t < START + 600_000);
        let samples: Vec<_> = samples.map(|t| (t, ((t / 1000) % 17) as f64)).collect();
        self.add("dense", &[("n", "1")], samples);
        let samples =
            self.times(60_000, 0).into_iter().map(|t| (t, self.rng.random::<f64>())).collect();
        self.add("lonely", &[], samples);
        for instance in ["a:1", "b:2", "c:3", "d:4"] {
            let team = if instance < "c" { "red" } else { "blue" };
            let samples = self.times(60_000, 0).into_iter().map(|t| (t, 1.0)).collect();
            self.add("owner", &[("instance", instance), ("team", team)], samples);
        }
    }

    fn odd_values(&mut self) {
        let any = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, 1.0, -2.5];
        for (kind, values) in [
            ("nan", &[f64::NAN][..]),
            ("inf", &[f64::INFINITY]),
            ("ninf", &[f64::NEG_INFINITY]),
            ("mixed", &any),
            ("zero", &[0.0]),
            ("sign", &[0.0, -0.0, 1.0, -1.0]),
            ("huge", &[1e300, -1e300, 1.7e308]),
            ("tiny", &[1e-290, 3e-295, -1e-200]),
            ("half", &[0.5, 1.5, -0.5, 2.5, 0.0]),
        ] {
            let samples = self
                .times(30_000, 100)
                .into_iter()
                .map(|t| (t, values[self.rng.random_range(0..values.len())]))
                .collect();
            self.add("weird", &[("kind", kind)], samples);
        }
        for (n, step) in [("1", 86_400.0), ("2", -1e7), ("3", 3.3e9), ("4", 1e18)] {
            let samples = self
                .times(60_000, 0)
                .into_iter()
                .enumerate()
                .map(|(i, t)| (t, 951_782_400.0 + step * i as f64))
                .collect();
            self.add("when", &[("n", n)], samples);
        }
    }

    fn histograms(&mut self) {
        let bounds = ["0.1", "0.5", "1", "2.5", "+Inf"];
        for (job, instance, shape) in [
            ("api", "a:1", "good"),
            ("api", "b:2", "good"),
            ("web", "a:1", "no end"),
            ("web", "b:2", "shrinking"),
            ("web", "c:3", "bad bound"),
            ("web", "d:4", "end only"),
            ("db", "a:1", "negative"),
            ("db", "b:2", "same bound"),
            ("db", "c:3", "nan"),
            ("db", "d:4", "rounding"),
        ] {
            let bounds: &[&str] = match shape {
                "no end" => &bounds[..4],
                "bad bound" => &["0.1", "x", "1", "+Inf"],
                "end only" => &bounds[4..],
                "negative" => &["-2", "-1", "0", "1", "Inf"],
                "same bound" => &["0.5", "0.50", "1", "1.0", "+Inf"],
                _ => &bounds,
            };
            let times = self.times(20_000, 0);
            let mut counts = vec![0.0; bounds.len()];
            let mut samples = vec![Vec::new(); bounds.len()];
            for time in times {
                let hits = self.rng.random_range(0..8);
                for _ in 0..hits {
                    let bucket = self.rng.random_range(0..bounds.len());
                    counts.iter_mut().skip(bucket).for_each(|count| *count += 1.0);
                }
                for (at, count) in counts.iter().enumerate() {
                    let value = match shape {
                        "shrinking" if at == 2 => count / 2.0,
                        "nan" if at == 3 => f64::NAN,
                        "rounding" if at > 0 => count * (1.0 - 1e-14),
                        _ => *count,
                    };
                    samples[at].push((time, value));
                }
            }
            let last = samples.last().unwrap().clone();
            for (bound, samples) in bounds.iter().zip(samples) {
                let labels = [("job", job), ("instance", instance), ("le", bound)];
                self.add("lat_bucket", &labels, samples);
            }
            let sums = last.iter().map(|(t, count)| (*t, count * 0.7)).collect();
            self.add("lat_sum", &[("job", job), ("instance", instance)], sums);
            self.add("lat_count", &[("job", job), ("instance", instance)], last);
        }
    }

    /// Series that come and go.
    fn broken(&mut self) {
        for n in ["1", "2", "3", "4"] {
            let times = self.times(30_000, 0);
            let mut samples = Vec::new();
            let mut silent_until = 0;
            for (i, time) in times.into_iter().enumerate() {
                if time < silent_until {
                    continue;
                }
                if self.rng.random_bool(0.03) {
                    silent_until = time + self.rng.random_range(60_000..600_000);
                    if n != "1" {
                        samples.push((time, STALE));
                    }
                    continue;
                }
                samples.push((time, i as f64));
            }
            self.add("gap", &[("n", n)], samples);
        }
        for n in ["1", "2", "3"] {
            let mut times: Vec<i64> =
                (0..6).map(|_| START + self.rng.random_range(0..SPAN)).collect();
            times.sort_unstable();
            times.dedup();
            let samples =
                times.into_iter().map(|t| (t, self.rng.random_range(-5.0..5.0))).collect();
            self.add("sparse", &[("n", n)], samples);
        }
    }

    fn infos(&mut self) {
        let half = START + SPAN / 2;
        for (job, instance, version) in
            [("api", "a:1", "1"), ("api", "b:2", "1"), ("web", "a:1", "2"), ("web", "c:3", "2")]
        {
            let times = self.times(30_000, 0);
            let (before, after): (Vec<i64>, Vec<i64>) = times.into_iter().partition(|t| *t < half);
            let labels = [("job", job), ("instance", instance), ("version", version)];
            let extra = [("region", if job == "api" { "eu" } else { "us" }), ("code", "x")];
            let labels = [&labels[..], &extra[..]].concat();
            let mut samples: Vec<_> = before.iter().map(|t| (*t, 1.0)).collect();
            if instance == "a:1" {
                // A new version: the old series ends, or is left behind.
                if job == "api" {
                    samples.push((after[0], STALE));
                }
                let mut next = labels.clone();
                next[2].1 = "3";
                let next_samples = after.iter().skip(1).map(|t| (*t, 1.0)).collect();
                self.add("target_info", &next, next_samples);
            } else {
                samples.extend(after.iter().map(|t| (*t, 1.0)));
            }
            self.add("target_info", &labels, samples);
            let commit =
                [("job", job), ("instance", instance), ("commit", "abc"), ("region", "eu")];
            let samples = self.times(60_000, 0).into_iter().map(|t| (t, 1.0)).collect();
            self.add("build_info", &commit, samples);
        }
        // Two at the same times: a conflict.
        let samples: Vec<_> = self.times(60_000, 0).into_iter().map(|t| (t, 1.0)).collect();
        for version in ["1", "2"] {
            let labels = [("job", "web"), ("instance", "b:2"), ("version", version)];
            self.add("target_info", &labels, samples.clone());
        }
    }

    fn names(&mut self) {
        for (service, region) in [("a b", "nord"), ("c.d", "süd"), ("", "")] {
            let times = self.times(30_000, 0);
            let samples = self.counter(times, false);
            let labels = [("service.name", service), ("région", region), ("n", "1")];
            self.add("http.server.requests", &labels, samples);
        }
        for (n, path) in [
            ("a1", "/a\"b\\c\nd"),
            ("a2", "/"),
            ("a10", "/x/y"),
            ("A1", "ünï"),
            ("01", "٣"),
            ("1", "a{2}"),
            ("b", "[x]"),
        ] {
            let samples = self
                .times(60_000, 0)
                .into_iter()
                .map(|t| (t, f64::from(self.rng.random_range(-3..3))))
                .collect();
            self.add("tricky", &[("n", n), ("path", path)], samples);
        }
        let samples = self.times(60_000, 0).into_iter().map(|t| (t, 3.0)).collect();
        self.add("job:temp:avg", &[("job", "api")], samples);
        for unit in ["s", "m"] {
            let times = self.times(60_000, 0);
            let samples = self.counter(times, false);
            let labels = [("__type__", "counter"), ("__unit__", unit), ("n", "1")];
            self.add(if unit == "s" { "typed_total" } else { "typed" }, &labels, samples);
        }
    }
}
