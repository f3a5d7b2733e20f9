//! Processes of the demo: this program again, told what to be on its standard input, a line of JSON for each thing.
//!
//! A process ends when its standard input does: when whoever started it is gone, however that came.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Time for one step of a process.
const PATIENCE: Duration = Duration::from_secs(30);
/// Puts what follows into the group of processes that comes first.
const INTO_CGROUP: &str = "echo $$ > \"$0/cgroup.procs\" && exec \"$@\"";
/// What a process says when it has done something.
const DONE: &str = "done";
/// And before the reason why it has not.
const FAILED: &str = "failed: ";

/// A process that has been started.
#[derive(Debug)]
pub(super) struct Process {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    said: Receiver<String>,
}

impl Process {
    /// Starts this program as `part`, in a group of processes; `wrapping` goes before it (`unshare` and the like).
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start(
        name: &str,
        cgroup: &Path,
        wrapping: &[&str],
        part: &str,
    ) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("the path of this program is not known")?;
        let mut command = Command::new("sh");
        command.args(["-c", INTO_CGROUP]).arg(cgroup).args(wrapping).arg(program);
        command.args(["demo-part", part]).stdin(Stdio::piped()).stdout(Stdio::piped());
        quiet(&mut command);
        let mut child = command.spawn().with_context(|| format!("{name} cannot be started"))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (tell, said) = channel();
        let output = output.context("no standard output")?;
        std::thread::spawn(move || {
            let mut lines = BufReader::new(output).lines();
            while let Some(Ok(line)) = lines.next() {
                if tell.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { name: name.to_owned(), child, input, said })
    }

    /// What it is called.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its number, as this process sees it.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Tells it something and waits until it is done.
    ///
    /// # Errors
    /// When it says that it failed, ends, or says nothing for 30 s.
    pub(super) fn tell(&mut self, what: &impl Serialize) -> anyhow::Result<()> {
        let mut line = serde_json::to_string(what)?;
        line.push('\n');
        let name = &self.name;
        let mut input = self.input.as_ref().context("it was told to end")?;
        input.write_all(line.as_bytes()).with_context(|| format!("{name} has ended"))?;
        self.wait()
    }

    /// Waits until it is done with what it was told, or with its beginning.
    ///
    /// # Errors
    /// As [`Process::tell`].
    pub(super) fn wait(&self) -> anyhow::Result<()> {
        let name = &self.name;
        match self.said.recv_timeout(PATIENCE) {
            Ok(line) if line == DONE => Ok(()),
            Ok(line) => bail!("{name}: {}", line.strip_prefix(FAILED).unwrap_or(&line)),
            Err(RecvTimeoutError::Timeout) => bail!("{name} says nothing for {PATIENCE:?}"),
            Err(RecvTimeoutError::Disconnected) => {
                bail!("{name} has ended; if it could say why, that is written above")
            }
        }
    }

    /// It has not ended yet.
    pub(super) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    /// Lets it end by itself, and sees to it that it does.
    fn drop(&mut self) {
        drop(self.input.take());
        for _ in 0..100 {
            if !self.runs() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Only what is wrong is worth a line of these processes; and Ctrl-C is for the first one alone, which ends the others in
/// order.
pub(super) fn quiet(command: &mut Command) {
    use std::os::unix::process::CommandExt as _;
    if std::env::var_os("WEIR_LOG").is_none() {
        command.env("WEIR_LOG", "warn");
    }
    command.process_group(0);
}

/// The other end: what a process is told.
#[derive(Debug)]
pub(super) struct Orders {
    lines: Receiver<String>,
}

impl Orders {
    /// Reads standard input on a thread of its own.
    pub(super) fn new() -> Self {
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            let mut lines = std::io::stdin().lock().lines();
            while let Some(Ok(line)) = lines.next() {
                if tell.send(line).is_err() {
                    break;
                }
            }
        });
        Self { lines }
    }

    /// The next order; `None` when there will be none any more. `meanwhile` is done once a second.
    ///
    /// # Errors
    /// When the order is not understood, or `meanwhile` fails.
    pub(super) fn next<T: DeserializeOwned>(
        &self,
        mut meanwhile: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<Option<T>> {
        loop {
            match self.lines.recv_timeout(Duration::from_secs(1)) {
                Ok(line) => {
                    let order = serde_json::from_str(&line);
                    return order
                        .map(Some)
                        .with_context(|| format!("order {line} is not understood"));
                }
                Err(RecvTimeoutError::Timeout) => meanwhile()?,
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
            }
        }
    }

    /// Says that an order was carried out, or why not.
    ///
    /// # Errors
    /// When nobody listens.
    pub(super) fn done(&self, result: &anyhow::Result<()>) -> anyhow::Result<()> {
        let line = match result {
            Ok(()) => DONE.to_owned(),
            Err(error) => format!("{FAILED}{error:#}"),
        };
        let mut output = std::io::stdout().lock();
        writeln!(output, "{line}").and_then(|()| output.flush()).context("nobody listens")
    }
}

/// Runs a program that takes its commands on standard input.
///
/// # Errors
/// When it fails: with what it says.
pub(super) fn feed(program: &str, arguments: &[&str], text: &str) -> anyhow::Result<()> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("`{program}` cannot be run"))?;
    let written = child.stdin.take().map(|mut input| input.write_all(text.as_bytes()));
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{program}` refuses: {}", said.trim());
    }
    written.transpose()?;
    Ok(())
}

/// Runs ip(8) for several lines of commands.
///
/// # Errors
/// As [`feed`].
pub(super) fn ip(lines: &[String]) -> anyhow::Result<()> {
    feed("ip", &["-batch", "-"], &(lines.join("\n") + "\n"))
}
