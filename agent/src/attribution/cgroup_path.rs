//! What a cgroup path says of the workload in it.
//!
//! ```text
//! /system.slice/nginx.service                                            systemd unit
//! /user.slice/user-1000.slice/user@1000.service/app.slice/foo.service    systemd user unit
//! /system.slice/docker-<64 hex>.scope                                    Docker, systemd driver
//! /docker/<64 hex>                                                       Docker, cgroupfs driver
//! /machine.slice/libpod-<64 hex>.scope                                   Podman
//! /kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid>.slice/cri-containerd-<64 hex>.scope
//! /kubepods/burstable/pod<uid>/<64 hex>                                  Kubernetes, cgroupfs driver
//! ```
//!
//! The innermost part that names a container or a unit wins: a container in a unit is the container.
//! Scopes other than containers' (login sessions, applications of a desktop) say nothing that a
//! process name would not say better.

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// A systemd service, without its `.service`.
    Unit(String),
    /// A container.
    Container {
        /// Its id, as the runtime gives it.
        id: String,
        /// Uid of the Kubernetes pod around it.
        pod_uid: Option<String>,
    },
}

/// Prefixes of the scopes that container runtimes make.
const RUNTIMES: [&str; 6] =
    ["docker-", "cri-containerd-", "containerd-", "crio-", "libpod-", "nerdctl-"];

/// Reads a path; `None` when it names neither container nor service.
#[must_use]
pub fn parse(path: &str) -> Option<Named> {
    let mut unit = None;
    let mut pod = None;
    let mut container = None;
    for part in path.split('/').filter(|p| !p.is_empty()) {
        if let Some(uid) = pod_uid(part) {
            pod = Some(uid);
            container = None;
        } else if let Some(id) = container_id(part) {
            container = Some(id);
        } else if let Some(name) = part.strip_suffix(".service") {
            // The manager of a user's services is no workload, the services in it are.
            if !name.starts_with("user@") {
                unit = Some(name);
            }
        }
    }
    if let Some(id) = container {
        return Some(Named::Container { id: id.to_owned(), pod_uid: pod });
    }
    unit.map(|name| Named::Unit(unescape(name)))
}

/// `pod<uid>`, or `kubepods-...-pod<uid with underscores>.slice`.
fn pod_uid(part: &str) -> Option<String> {
    let uid = match part.strip_suffix(".slice") {
        Some(slice) if slice.starts_with("kubepods") => slice.rsplit_once("-pod")?.1,
        Some(_) => return None,
        None => part.strip_prefix("pod")?,
    };
    let is_uid =
        uid.len() >= 32 && uid.bytes().all(|b| b.is_ascii_hexdigit() || b"-_".contains(&b));
    is_uid.then(|| uid.replace('_', "-"))
}

fn container_id(part: &str) -> Option<&str> {
    let id = match part.strip_suffix(".scope") {
        Some(scope) => RUNTIMES.iter().find_map(|prefix| scope.strip_prefix(prefix))?,
        // containerd with the cgroupfs driver joins its parts by colons.
        None => part.rsplit(':').next().unwrap_or(part),
    };
    is_id(id).then_some(id)
}

/// Runtimes give 64 hexadecimal digits; some cut them to 32.
fn is_id(text: &str) -> bool {
    (text.len() == 64 || text.len() == 32) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Undoes systemd's `\xNN` (systemd.unit(5), "String escaping for inclusion in unit names").
fn unescape(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = rest.strip_prefix(b"\\x").and_then(|t| t.get(..2));
        let decoded = hex
            .and_then(|h| std::str::from_utf8(h).ok())
            .and_then(|h| u8::from_str_radix(h, 16).ok());
        match decoded {
            Some(value) => {
                bytes.push(value);
                rest = rest.get(4..).unwrap_or(&[]);
            }
            None => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const UID: &str = "12345678-1234-1234-1234-123456789abc";

    fn container(pod: Option<&str>) -> Option<Named> {
        Some(Named::Container { id: ID.into(), pod_uid: pod.map(Into::into) })
    }

    fn unit(name: &str) -> Option<Named> {
        Some(Named::Unit(name.into()))
    }

    #[test]
    fn every_layout() {
        let uid_ = UID.replace('-', "_");
        for (path, named) in [
            ("/".to_owned(), None),
            (String::new(), None),
            ("/system.slice/nginx.service".into(), unit("nginx")),
            ("/system.slice/system-getty.slice/getty@tty1.service".into(), unit("getty@tty1")),
            (r"/system.slice/dev\x2dagent.service".into(), unit("dev-agent")),
            ("/system.slice/foo.service/workers/1".into(), unit("foo")),
            ("/user.slice/user-1000.slice/session-3.scope".into(), None),
            ("/user.slice/user-1000.slice/user@1000.service/init.scope".into(), None),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/syncthing.service".into(),
                unit("syncthing"),
            ),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/app-firefox-99.scope"
                    .into(),
                None,
            ),
            (format!("/system.slice/docker-{ID}.scope"), container(None)),
            (format!("/docker/{ID}"), container(None)),
            (format!("/system.slice/docker.service/docker/{ID}/init"), container(None)),
            (format!("/machine.slice/libpod-{ID}.scope/container"), container(None)),
            (format!("/machine.slice/libpod-conmon-{ID}.scope"), None),
            (
                format!(
                    "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope"
                ),
                container(None),
            ),
            (
                format!(
                    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid_}.slice/cri-containerd-{ID}.scope"
                ),
                container(Some(UID)),
            ),
            (
                format!("/kubepods.slice/kubepods-pod{uid_}.slice/crio-{ID}.scope"),
                container(Some(UID)),
            ),
            (format!("/kubepods/besteffort/pod{UID}/{ID}"), container(Some(UID))),
            (
                format!(
                    "/system.slice/containerd.service/kubepods-pod{uid_}.slice:cri-containerd:{ID}"
                ),
                container(None),
            ),
            ("/podman/short".into(), None),
        ] {
            assert_eq!(parse(&path), named, "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_path_panics(path in "[a-z0-9/.:@\\\\x-]{0,120}") {
            let _ = parse(&path);
        }
    }
}
