//! What a sample takes on disk, of series like those of a node exporter.

use super::*;

/// Series of one host, `n` points each: counters with jittered rates, gauges of 0 to 3 decimals,
/// constants, booleans, and floats that are noise.
fn host(random: &mut SmallRng, n: usize) -> Vec<(&'static str, Vec<f64>)> {
    fn walk(n: usize, mut next: impl FnMut() -> f64) -> Vec<f64> {
        (0..n).map(|_| next()).collect()
    }
    /// About normal: a sum of uniform numbers.
    fn noise(random: &mut SmallRng) -> f64 {
        (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0
    }
    fn round(value: f64, digits: i32) -> f64 {
        let scale = 10f64.powi(digits);
        (value * scale).round() / scale
    }
    let mut series = Vec::new();
    for i in 0..24 {
        let constant = [0.0, 1.0, 0.25, 8_589_934_592.0][i % 4];
        series.push(("node_constant", vec![constant; n]));
    }
    for digits in [2, 2, 2, 2, 2, 2, 3, 3] {
        let (mut sum, rate) = (1e5, random.random_range(0.01..14.0));
        let seconds = walk(n, || {
            sum += (rate * (1.0 + 0.1 * noise(random))).max(0.0);
            round(sum, digits)
        });
        series.push(("node_seconds_total", seconds));
    }
    for _ in 0..8 {
        let (mut sum, rate) = (1e6, 10f64.powf(random.random_range(0.0..2.5)));
        let operations = walk(n, || {
            sum += (rate + rate.sqrt() * noise(random)).max(0.0).round();
            sum
        });
        series.push(("node_operations_total", operations));
    }
    for _ in 0..4 {
        let (mut sum, rate) = (1e9, 10f64.powf(random.random_range(3.0..7.0)));
        let bytes = walk(n, || {
            sum += (rate * (1.0 + 0.3 * noise(random))).max(0.0).round();
            sum
        });
        series.push(("node_bytes_total", bytes));
    }
    for _ in 0..6 {
        let mut pages = 1e6;
        let memory = walk(n, || {
            pages += (8.0 * noise(random)).round();
            4096.0 * pages
        });
        series.push(("node_memory_bytes", memory));
    }
    for digits in 0..4 {
        let mut level = 20.0;
        let gauge = walk(n, || {
            level += 0.1 * noise(random);
            round(level, digits)
        });
        series.push(("node_gauge", gauge));
    }
    for i in 0..6u32 {
        let mut value = 1.0;
        let rare = walk(n, || {
            if random.random_ratio(1, 300) {
                value = if i < 3 { 1.0 - value } else { value + 1.0 };
            }
            value
        });
        series.push(("node_state", rare));
    }
    series.push(("scrape_seconds", walk(n, || round(0.02 + 0.002 * noise(random).abs(), 9))));
    series
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_takes_less_than_a_byte_with_labels_index_and_all() {
    const POINTS: usize = 960;
    let dir = tempfile::tempdir().unwrap();
    let tables = vec![series::table("samples", Window::DAY)];
    let options = Options { tables, ..options(dir.path()) };
    let store = open_when_free(options).await;
    let mut random = SmallRng::seed_from_u64(1);
    let hosts: Vec<_> = (0..6).map(|_| host(&mut random, POINTS)).collect();
    // Targets are scraped a few milliseconds early or late.
    let jitter: Vec<Vec<i64>> =
        (0..6).map(|h| (0..POINTS).map(|_| random.random_range(0..=h % 3 * 2)).collect()).collect();
    let mut samples = 0;
    for from in (0..POINTS).step_by(60) {
        let mut points = PointsBuilder::new();
        for (h, host) in hosts.iter().enumerate() {
            let instance = format!("host{h}.example.com:9100");
            for (i, (name, values)) in host.iter().enumerate() {
                let device = format!("device{i}");
                let pairs = [
                    ("__name__", *name),
                    ("device", device.as_str()),
                    ("instance", instance.as_str()),
                    ("job", "node-exporter"),
                ];
                let mut labels = Vec::new();
                labels::write_canonical(pairs, &mut labels).unwrap();
                points.series(&labels);
                for at in from..from + 60 {
                    points.point(START + 15_000 * at as i64 + jitter[h][at], values[at]);
                }
            }
        }
        samples += points.points();
        store.append(entry_of(points)).await.unwrap();
        store.flush().await.unwrap();
    }
    let size = || -> u64 { store.snapshot("samples").unwrap().files.iter().map(|f| f.size).sum() };
    let before = size();
    store.compact().await.unwrap();
    let per_sample = |bytes: u64| bytes as f64 / samples as f64;
    println!(
        "{samples} samples: {:.3} bytes each as they are flushed, {:.3} compacted",
        per_sample(before),
        per_sample(size())
    );
    assert!(per_sample(size()) < 1.0, "{}", per_sample(size()));
    assert!(size() * 10 < before * 8, "compaction has saved little of {before}");
}
