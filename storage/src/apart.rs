//! Long work on threads of its own: told apart in a profile, and with a priority that is its own.

use std::io;

/// Why the work has no outcome.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Apart {
    /// There was no thread for it.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// It panicked.
    #[error("the work was cut short")]
    Panicked,
}

/// Runs `work` on a new thread of this name, which gives way to others by `nice` (setpriority(2)),
/// and waits for it.
pub(crate) fn apart<T: Send>(
    name: &str,
    nice: i32,
    work: impl FnOnce() -> T + Send,
) -> Result<T, Apart> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn_scoped(scope, move || {
                if nice != 0 {
                    // On Linux this is the thread's own. Without it the work is done all the same.
                    let _ = rustix::process::nice(nice);
                }
                work()
            })
            .map_err(Apart::Thread)?;
        thread.join().map_err(|_| Apart::Panicked)
    })
}
