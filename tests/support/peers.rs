//! Programs of others that tests run beside Weir (`tests/unpack-peers`).

use std::path::PathBuf;

use super::skip;

/// Prometheus 3.5, promtool, VictoriaMetrics, vmalert or vmagent; `None` after saying that the test is skipped.
/// Whatever else is installed under these names is too old to stand in.
pub(crate) fn peer(name: &str) -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let path = home.join(".cache/weir-peers/usr/bin").join(name);
    if path.exists() {
        return Some(path);
    }
    skip(&format!("{} is not there; tests/unpack-peers fetches it", path.display()));
    None
}
