//! The recorded day of the demo, played by `weir demo --replay`.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use super::support::ports::free_port;
use super::support::{Background, Client, WEIR};

/// A demo that has played its day; it ends when dropped.
pub(crate) struct Demo {
    process: Background,
    pub(crate) client: Client,
    _folder: tempfile::TempDir,
}

impl Demo {
    /// Starts one and waits until all of the day is there.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listen = format!("127.0.0.1:{}", free_port());
        let child = Command::new(WEIR)
            .args(["demo", "--replay", "--listen", &listen])
            .env("TMPDIR", folder.path())
            .env("WEIR_LOG", "warn")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut process = Background(child);
        let mut lines = BufReader::new(process.0.stderr.take().unwrap()).lines();
        let said: Vec<String> = lines
            .by_ref()
            .map(Result::unwrap)
            .take_while(|line| !line.contains("Ctrl-C"))
            .collect();
        assert!(said.iter().any(|line| line.contains("/map?from=")), "{said:?}");
        // Someone must go on reading, or the demo would block on a full pipe.
        std::thread::spawn(move || {
            lines.for_each(|line| eprintln!("  {}", line.unwrap_or_default()))
        });
        Self { process, client: Client { url: format!("http://{listen}") }, _folder: folder }
    }

    /// The whole minute that the day begins in, and the second after its last row, Unix seconds.
    pub(crate) fn bounds(&self) -> (i64, i64) {
        let bounds = self.client.sql(
            "SELECT CAST(date_part('epoch', min(\"end\")) AS BIGINT), CAST(date_part('epoch', max(\"end\")) AS BIGINT) \
             FROM flows",
        );
        let [start, end] = [&bounds[0][0], &bounds[0][1]].map(|bound| bound.as_i64().unwrap());
        ((start - 1).div_euclid(60) * 60, end + 1)
    }
}

impl Drop for Demo {
    /// Lets the demo clean up after itself before its folder is removed.
    fn drop(&mut self) {
        super::support::signal(&self.process.0, "-TERM");
        let _ = self.process.0.wait();
    }
}
