//! SIGINT and SIGTERM, waited for by one thread.

use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

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

    /// Waits for one of them and gives its name; `None` when none came in time.
    ///
    /// # Errors
    /// The system's own.
    pub fn wait(&self, limit: Duration) -> io::Result<Option<&'static str>> {
        let limit = libc::timespec {
            tv_sec: libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        };
        // SAFETY: the pointers are to live variables; no information about the signal is asked for.
        let signal = unsafe {
            libc::sigtimedwait(&raw const self.0, std::ptr::null_mut(), &raw const limit)
        };
        match signal {
            libc::SIGINT => Ok(Some("SIGINT")),
            libc::SIGTERM => Ok(Some("SIGTERM")),
            _ => {
                let error = io::Error::last_os_error();
                match error.raw_os_error() {
                    Some(libc::EAGAIN | libc::EINTR) => Ok(None),
                    _ => Err(error),
                }
            }
        }
    }
}
