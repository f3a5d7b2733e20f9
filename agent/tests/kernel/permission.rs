//! Without permission the collector says what is missing, so that the agent can fall back.

use std::error::Error as _;
use std::thread;

use weir_agent::bpf::{BpfCollector, BpfError, Options};

use crate::lab::{Lab, Link};

#[test]
fn refusal_names_what_is_needed() {
    let Some(_lab) = Lab::build(&[], Link::Veth) else { return };
    let refused = thread::spawn(|| {
        const NOBODY: libc::c_long = 65534;
        // SAFETY: the bare system call changes this thread alone, which ends after the test.
        let result = unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
        assert_eq!(result, 0);
        BpfCollector::start(&Options::default()).map(|_| ())
    })
    .join()
    .unwrap();
    let error = refused.unwrap_err();
    // Where unprivileged users may create maps, it is the first program that is refused.
    assert!(matches!(error, BpfError::Load(_) | BpfError::Program { .. }), "{error:?}");
    assert!(error.to_string().contains("CAP_BPF"), "{error}");
    assert!(error.source().is_some());
}

#[test]
fn a_cgroup_that_is_not_there_is_named() {
    let Some(_lab) = Lab::build(&[], Link::Veth) else { return };
    let options = Options { cgroup: Some("/sys/fs/cgroup/no/such".into()), ..Options::default() };
    let error = BpfCollector::start(&options).unwrap_err();
    assert!(matches!(error, BpfError::Cgroup { .. }), "{error:?}");
    assert!(error.to_string().contains("/sys/fs/cgroup/no/such"), "{error}");
}
