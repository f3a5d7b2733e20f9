//! SIGINT and SIGTERM, waited for by one thread.

use std::io;
use std::mem::MaybeUninit;

/// The two signals that ask for an orderly end, blocked in every thread.
pub struct Signals(libc::sigset_t);

impl Signals {
    /// Blocks them in this thread and in all that it starts from now on.
    ///
    /// # Errors
    /// The system's own.
    pub fn block() -> io::Result<Self> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: `sigemptyset` initialises the set that the other calls then use.
        let (set, result) = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            libc::sigaddset(set.as_mut_ptr(), libc::SIGINT);
            libc::sigaddset(set.as_mut_ptr(), libc::SIGTERM);
            let set = set.assume_init();
            (set, libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()))
        };
        if result == 0 { Ok(Self(set)) } else { Err(io::Error::from_raw_os_error(result)) }
    }

    /// Waits for one of them and gives its name.
    ///
    /// # Errors
    /// The system's own.
    pub fn wait(&self) -> io::Result<&'static str> {
        let mut signal = 0;
        // SAFETY: both pointers are to live variables.
        let result = unsafe { libc::sigwait(&raw const self.0, &raw mut signal) };
        match (result, signal) {
            (0, libc::SIGINT) => Ok("SIGINT"),
            (0, _) => Ok("SIGTERM"),
            (error, _) => Err(io::Error::from_raw_os_error(error)),
        }
    }
}
