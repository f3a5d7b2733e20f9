//! What is scraped: hosts with a node exporter and an HTTP service, and nodes full of pods.
//!
//! A target is scraped at its own moment within the interval, and all of its series carry the same
//! time. A third of the targets keep their moment to the millisecond, as Prometheus arranges it when
//! scrapes are less than 2 ms off; the others are up to 4 ms late.

use super::random::Random;
use super::remote_write::encoded_labels;
use super::values::{BUCKETS, Kind, Values};

/// 2026-03-01T12:00:00Z, milliseconds: a time that is over, so that windows of a day are, and noon, so
/// that the data crosses midnight.
pub(crate) const START: i64 = 1_772_366_400_000;

/// One series.
pub(crate) struct Series {
    /// Its labels, as they stand in a message of remote write.
    pub(crate) labels: Vec<u8>,
    pub(crate) values: Values,
}

/// Series that are scraped together.
pub(crate) struct Target {
    pub(crate) series: Vec<Series>,
    random: Random,
    offset: i64,
    lateness: u64,
    interval: i64,
    scrapes: i64,
}

impl Target {
    /// Time of the next scrape, milliseconds.
    pub(crate) fn next_time(&mut self) -> i64 {
        let late = if self.lateness == 0 { 0 } else { self.random.below(self.lateness + 1) };
        let time = START + self.offset + self.scrapes * self.interval + late as i64;
        self.scrapes += 1;
        time
    }
}

/// How series are made.
struct Maker {
    series: Vec<Series>,
    seed: u64,
    interval: i64,
    /// The scrape at which the counters of the target begin anew.
    reset: u64,
    job: &'static str,
    instance: String,
}

impl Maker {
    fn new(seed: u64, interval: i64, job: &'static str, instance: String) -> Self {
        // One target in sixteen restarts.
        let reset = if seed % 16 == 7 { 500 } else { u64::MAX };
        Self { series: Vec::new(), seed, interval, reset, job, instance }
    }

    fn random(&self) -> Random {
        Random::of(&[self.seed, self.series.len() as u64])
    }

    fn add(&mut self, name: &str, labels: &[(&str, &str)], first: f64, kind: Kind) {
        let mut all =
            vec![("__name__", name), ("instance", self.instance.as_str()), ("job", self.job)];
        all.extend(labels);
        all.sort_unstable();
        let seconds = self.interval as f64 / 1000.0;
        let values = Values::new(kind, first, self.random(), seconds, self.reset);
        self.series.push(Series { labels: encoded_labels(&all), values });
    }

    fn target(self) -> Target {
        let mut random = Random::of(&[self.seed, u64::MAX]);
        let offset = random.below(self.interval.unsigned_abs()) as i64;
        Target {
            series: self.series,
            offset,
            lateness: self.seed % 3 * 2,
            interval: self.interval,
            scrapes: 0,
            random,
        }
    }
}

/// A host of 32 CPUs, as its node exporter and one service on it show it.
pub(crate) fn host(number: u64, interval: i64) -> Target {
    let instance = format!("host-{number:03}.example.com:9100");
    let mut maker = Maker::new(number, interval, "node", instance);
    cpus(&mut maker);
    disks(&mut maker);
    network(&mut maker);
    memory(&mut maker);
    states(&mut maker);
    requests(&mut maker);
    maker.target()
}

fn cpus(maker: &mut Maker) {
    let modes = [
        ("idle", 0.9),
        ("iowait", 0.002),
        ("irq", 0.0),
        ("nice", 0.0),
        ("softirq", 0.002),
        ("steal", 0.0),
        ("system", 0.03),
        ("user", 0.06),
    ];
    for cpu in 0..32 {
        let cpu = cpu.to_string();
        for (mode, share) in modes {
            let rate = share * maker.random().log_between(0.5, 1.1);
            let first = (1e6 * rate).round();
            let labels = [("cpu", cpu.as_str()), ("mode", mode)];
            maker.add(
                "node_cpu_seconds_total",
                &labels,
                first,
                Kind::Seconds { rate, scale: 100.0 },
            );
        }
    }
}

fn disks(maker: &mut Maker) {
    for device in ["nvme0n1", "nvme1n1", "sda", "sdb"] {
        for name in ["reads_completed_total", "writes_completed_total"] {
            let rate = maker.random().log_between(0.5, 300.0);
            let labels = [("device", device)];
            let kind = Kind::Count { rate, noise: 1.0 / rate.sqrt() };
            maker.add(&format!("node_disk_{name}"), &labels, 1e6, kind);
        }
        for name in ["read_bytes_total", "written_bytes_total"] {
            // Sectors.
            let rate = maker.random().log_between(1e3, 1e7);
            let kind = Kind::Count { rate, noise: 0.3 };
            maker.add(&format!("node_disk_{name}"), &[("device", device)], 1e10, kind);
        }
        for name in ["io_time_seconds_total", "read_time_seconds_total", "write_time_seconds_total"]
        {
            let kind =
                Kind::Seconds { rate: maker.random().log_between(0.001, 0.5), scale: 1000.0 };
            maker.add(&format!("node_disk_{name}"), &[("device", device)], 1e4, kind);
        }
    }
    for mountpoint in ["/", "/boot", "/home", "/var", "/var/lib/data", "/tmp"] {
        let labels = [("device", "/dev/mapper/vg"), ("fstype", "ext4"), ("mountpoint", mountpoint)];
        for (name, first, kind) in [
            ("size_bytes", 107_374_182_400.0, Kind::Constant),
            ("files", 6_553_600.0, Kind::Constant),
            ("avail_bytes", 5e10, Kind::Level { step: 20.0, unit: 4096.0 }),
            ("free_bytes", 6e10, Kind::Level { step: 20.0, unit: 4096.0 }),
            ("files_free", 6e6, Kind::Level { step: 0.4, unit: 1.0 }),
        ] {
            maker.add(&format!("node_filesystem_{name}"), &labels, first, kind);
        }
    }
}

fn network(maker: &mut Maker) {
    for device in ["bond0", "eth0", "eth1", "lo"] {
        for direction in ["receive", "transmit"] {
            for (what, kind) in [
                ("bytes", Kind::Count { rate: maker.random().log_between(1e3, 1e8), noise: 0.3 }),
                (
                    "packets",
                    Kind::Count { rate: maker.random().log_between(10.0, 1e5), noise: 0.2 },
                ),
                ("errs", Kind::Constant),
                ("drop", Kind::Seldom { one_in: 500, is_state: false }),
            ] {
                let first = if what == "errs" { 0.0 } else { 1e6 };
                let name = format!("node_network_{direction}_{what}_total");
                maker.add(&name, &[("device", device)], first, kind);
            }
        }
    }
}

fn memory(maker: &mut Maker) {
    for (name, step) in [
        ("MemFree", 300.0),
        ("MemAvailable", 300.0),
        ("Buffers", 2.0),
        ("Cached", 60.0),
        ("Active", 200.0),
        ("Inactive", 100.0),
        ("Active_anon", 100.0),
        ("AnonPages", 100.0),
        ("Dirty", 30.0),
        ("Mapped", 5.0),
        ("Shmem", 1.0),
        ("Slab", 10.0),
        ("SReclaimable", 8.0),
        ("PageTables", 1.0),
        ("KernelStack", 1.0),
    ] {
        let first = 4096.0 * (maker.random().log_between(1e4, 1e7)).round();
        maker.add(
            &format!("node_memory_{name}_bytes"),
            &[],
            first,
            Kind::Level { step, unit: 4096.0 },
        );
    }
    for (name, value) in [
        ("MemTotal", 137_438_953_472.0),
        ("SwapTotal", 0.0),
        ("SwapFree", 0.0),
        ("HardwareCorrupted", 0.0),
    ] {
        maker.add(&format!("node_memory_{name}_bytes"), &[], value, Kind::Constant);
    }
}

fn states(maker: &mut Maker) {
    for name in ["node_load1", "node_load5", "node_load15"] {
        maker.add(name, &[], 4.0, Kind::Level { step: 20.0, unit: 0.01 });
    }
    for sensor in ["temp1", "temp2", "temp3", "temp4", "temp5", "temp6"] {
        let labels = [("chip", "platform_coretemp_0"), ("sensor", sensor)];
        maker.add("node_hwmon_temp_celsius", &labels, 48.0, Kind::Level { step: 0.6, unit: 1.0 });
    }
    for unit in 0..10 {
        let name = format!("service-{unit}.service");
        for state in ["active", "failed"] {
            let labels = [("name", name.as_str()), ("state", state), ("type", "simple")];
            let first = if state == "active" { 1.0 } else { 0.0 };
            let kind = Kind::Seldom { one_in: 3000, is_state: true };
            maker.add("node_systemd_unit_state", &labels, first, kind);
        }
    }
    for name in [
        "node_context_switches_total",
        "node_forks_total",
        "node_intr_total",
        "node_netstat_Ip_Forwarding",
        "node_netstat_Tcp_InSegs",
        "node_netstat_Tcp_OutSegs",
        "node_netstat_Tcp_RetransSegs",
        "node_netstat_Udp_InDatagrams",
        "node_vmstat_pgfault",
        "node_vmstat_pgpgin",
        "node_vmstat_pgpgout",
        "node_vmstat_pswpin",
    ] {
        let rate = maker.random().log_between(0.5, 1e5);
        maker.add(name, &[], 1e6, Kind::Count { rate, noise: 0.2 });
    }
    for collector in
        ["cpu", "diskstats", "filesystem", "loadavg", "meminfo", "netdev", "stat", "systemd"]
    {
        let around = maker.random().log_between(1e-4, 1e-2);
        let labels = [("collector", collector)];
        maker.add(
            "node_scrape_collector_duration_seconds",
            &labels,
            0.0,
            Kind::Measured { around },
        );
        maker.add("node_scrape_collector_success", &labels, 1.0, Kind::Constant);
    }
    maker.add("node_boot_time_seconds", &[], 1_771_000_000.0, Kind::Constant);
    maker.add("up", &[], 1.0, Kind::Constant);
}

fn requests(maker: &mut Maker) {
    let groups = [
        ("/", "200"),
        ("/", "500"),
        ("/api/items", "200"),
        ("/api/items", "500"),
        ("/api/orders", "200"),
        ("/api/orders", "500"),
        ("/login", "200"),
        ("/login", "500"),
    ];
    for (number, (handler, code)) in groups.into_iter().enumerate() {
        let group = maker.seed << 8 | number as u64;
        let rate =
            Random::of(&[group]).log_between(1.0, 200.0) * if code == "500" { 0.01 } else { 1.0 };
        let labels = [("code", code), ("handler", handler)];
        for (upto, le) in BUCKETS.into_iter().enumerate() {
            let labels = [labels[0], labels[1], ("le", le)];
            let kind = Kind::Bucket { group, upto, rate };
            maker.add("http_request_duration_seconds_bucket", &labels, 0.0, kind);
        }
        let upto = BUCKETS.len() - 1;
        let kind = Kind::Bucket { group, upto, rate };
        maker.add("http_request_duration_seconds_count", &labels, 0.0, kind);
        maker.add("http_request_duration_seconds_sum", &labels, 0.0, Kind::Sum { group, rate });
    }
}

/// 25 pods of a node, each with ten series of one metric.
pub(crate) fn pods(number: u64, interval: i64) -> Target {
    let instance = format!("10.{}.{}.10:8080", number >> 8, number & 0xff);
    let mut maker = Maker::new(1 << 32 | number, interval, "pods", instance);
    let apps = ["api", "web", "cart", "search", "worker", "mail", "stock", "login"];
    for pod in 0..25 {
        let mut random = Random::of(&[number, pod]);
        let app = apps[random.below(8) as usize];
        let namespace = format!("team-{}", random.below(20));
        let pod = format!("{app}-{:08x}-{:05x}", random.bits() as u32, random.bits() & 0xf_ffff);
        for handler in ["/", "/items", "/orders", "/login", "/health"] {
            for code in ["200", "500"] {
                let labels = [
                    ("code", code),
                    ("handler", handler),
                    ("namespace", namespace.as_str()),
                    ("pod", pod.as_str()),
                ];
                let share = if code == "500" { 0.01 } else { 1.0 };
                let rate = maker.random().log_between(0.1, 100.0) * share;
                let kind = Kind::Count { rate, noise: 0.3 };
                maker.add("http_requests_total", &labels, 0.0, kind);
            }
        }
    }
    maker.target()
}
