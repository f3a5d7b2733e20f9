//! Without permission the collector says what is missing, so that the agent can fall back.

use std::error::Error as _;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use weir_agent::bpf::{BpfCollector, BpfError, Options};
use weir_agent::conntrack::Conntrack;

use crate::lab::{Lab, Link};
use crate::watch::Watch;

fn as_nobody<T: Send + 'static>(what: fn() -> T) -> T {
    let without = move || {
        const NOBODY: libc::c_long = 65534;
        // SAFETY: the bare system call changes this thread alone, which ends after the test.
        let result = unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
        assert_eq!(result, 0);
        what()
    };
    thread::spawn(without).join().unwrap()
}

#[test]
fn refusal_names_what_is_needed() {
    let Some(_lab) = Lab::build(&[], Link::Veth) else { return };
    let refused = as_nobody(|| BpfCollector::start(&Options::default()).map(|_| ()));
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

#[test]
fn connection_tracking_that_is_refused_is_said_to_be() {
    let Some(_lab) = Lab::build(&[], Link::Veth) else { return };
    assert!(Conntrack::start().follows_host());
    let refused = as_nobody(Conntrack::start);
    assert!(!refused.follows_host());
    let status = refused.status();
    assert!(status.namespaces == 0 && status.refused > 0, "{status:?}");
}

/// Without the kernel's type information everything is counted, but nobody knows why connections end.
#[test]
fn without_type_information_there_are_no_reasons() {
    let Some(lab) = Lab::build(&[], Link::Veth) else { return };
    let options = Options { types: "/no/such".into(), ..Options::default() };
    assert!(!BpfCollector::start(&options).unwrap().counts_drops());
    let watch = Watch::start(options, Duration::from_secs(1));
    let address = SocketAddr::from((lab.b.address, 9));
    lab.a.enter(move || TcpStream::connect(address).unwrap_err()).join().unwrap();
    let seen = watch.stop(&lab);
    let c = seen.of(lab.a.cookie)[0].counters;
    assert_eq!((c.connects, c.connect_failures, c.connect_refused), (1, 1, 0));
}
