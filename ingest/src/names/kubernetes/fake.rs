//! A stand-in for a cluster's API server: lists in pages and watches over real HTTP, with everything that a real one does
//! at bad moments. It is a fake because a real one cannot be told to forget a version, repeat an event or break a
//! connection at a given place; `tests/kubernetes.rs` follows a real one.
//!
//! Protocol: <https://kubernetes.io/docs/reference/using-api/api-concepts/>

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures::stream;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;

/// One kind of object.
#[derive(Default)]
struct Resource {
    objects: BTreeMap<String, Value>,
    /// What happened: version, type, object.
    log: Vec<(u64, &'static str, Value)>,
    /// Versions before this one are forgotten.
    oldest: u64,
}

#[derive(Default)]
struct Inner {
    resources: HashMap<String, Resource>,
    version: u64,
    /// Watches from before are to end.
    generation: u64,
    /// Requests that are still to be refused.
    refusals: usize,
    /// By path: lists and watches that began.
    lists: HashMap<String, usize>,
    pages: usize,
    watches: HashMap<String, usize>,
}

#[derive(Clone, Default)]
pub(super) struct Fake {
    inner: Arc<Mutex<Inner>>,
    changed: Arc<Notify>,
}

impl Fake {
    /// Serves on loopback until the test's runtime ends; returns the URL.
    pub(super) async fn serve(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    fn happen(&self, path: &str, kind: &'static str, mut object: Value) {
        let mut inner = self.inner.lock();
        inner.version += 1;
        let version = inner.version;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        let name = key(&object);
        let resource = inner.resources.entry(path.to_owned()).or_default();
        if kind == "DELETED" {
            resource.objects.remove(&name);
        } else {
            resource.objects.insert(name, object.clone());
        }
        resource.log.push((version, kind, object));
        drop(inner);
        self.changed.notify_waiters();
    }

    pub(super) fn apply(&self, path: &str, object: Value) {
        self.happen(path, "MODIFIED", object);
    }

    pub(super) fn delete(&self, path: &str, object: Value) {
        self.happen(path, "DELETED", object);
    }

    /// Sends an event that is not true any more, as a restarted server does from its cache.
    pub(super) fn replay(&self, path: &str, object: Value) {
        let mut inner = self.inner.lock();
        inner.version += 1;
        let version = inner.version;
        let resource = inner.resources.entry(path.to_owned()).or_default();
        resource.log.push((version, "MODIFIED", object));
        drop(inner);
        self.changed.notify_waiters();
    }

    /// Removes an object without telling anybody, and forgets all that has been.
    pub(super) fn vanish(&self, path: &str, object: &Value) {
        let mut inner = self.inner.lock();
        inner.version += 1;
        let version = inner.version;
        for resource in inner.resources.values_mut() {
            resource.log.clear();
            resource.oldest = version;
        }
        if let Some(resource) = inner.resources.get_mut(path) {
            resource.objects.remove(&key(object));
        }
    }

    /// Ends every watch; the next requests, as many, are refused.
    pub(super) fn break_off(&self, refusals: usize) {
        let mut inner = self.inner.lock();
        inner.generation += 1;
        inner.refusals = refusals;
        drop(inner);
        self.changed.notify_waiters();
    }

    pub(super) fn lists(&self, path: &str) -> usize {
        self.inner.lock().lists.get(path).copied().unwrap_or(0)
    }

    pub(super) fn pages(&self) -> usize {
        self.inner.lock().pages
    }

    pub(super) fn watches(&self, path: &str) -> usize {
        self.inner.lock().watches.get(path).copied().unwrap_or(0)
    }
}

fn key(object: &Value) -> String {
    let part = |name: &str| object["metadata"][name].as_str().unwrap_or_default().to_owned();
    format!("{}/{}", part("namespace"), part("name"))
}

fn gone() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410,
        "message": "too old resource version"})
}

async fn answer(
    State(fake): State<Fake>,
    uri: Uri,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let path = uri.path().to_owned();
    {
        let mut inner = fake.inner.lock();
        if inner.refusals > 0 {
            inner.refusals -= 1;
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
    }
    if query.contains_key("watch") { watch(fake, path, &query) } else { list(&fake, &path, &query) }
}

fn list(fake: &Fake, path: &str, query: &HashMap<String, String>) -> Response {
    let mut inner = fake.inner.lock();
    let version = inner.version.to_string();
    let after = query.get("continue").cloned();
    let limit: usize = query.get("limit").and_then(|text| text.parse().ok()).unwrap_or(usize::MAX);
    inner.pages += 1;
    if after.is_none() {
        *inner.lists.entry(path.to_owned()).or_default() += 1;
    }
    let resource = inner.resources.entry(path.to_owned()).or_default();
    let rest = resource
        .objects
        .iter()
        .filter(|(name, _)| after.as_ref().is_none_or(|after| *name > after));
    let page: Vec<_> = rest.clone().take(limit).collect();
    let more = rest.count() > page.len();
    let next = page.last().filter(|_| more).map(|(name, _)| (*name).clone()).unwrap_or_default();
    let items: Vec<&Value> = page.into_iter().map(|(_, object)| object).collect();
    let meta = json!({"resourceVersion": version, "continue": next});
    axum::Json(json!({"apiVersion": "v1", "kind": "List", "metadata": meta, "items": items}))
        .into_response()
}

struct Watching {
    fake: Fake,
    path: String,
    version: u64,
    generation: u64,
    bookmarked: bool,
}

fn watch(fake: Fake, path: String, query: &HashMap<String, String>) -> Response {
    let version = query.get("resourceVersion").and_then(|text| text.parse().ok()).unwrap_or(0);
    let generation = {
        let mut inner = fake.inner.lock();
        *inner.watches.entry(path.clone()).or_default() += 1;
        if inner.resources.get(&path).is_some_and(|resource| version < resource.oldest) {
            // Real servers say it in a stream that begins well.
            let line = json!({"type": "ERROR", "object": gone()}).to_string() + "\n";
            return Body::from(line).into_response();
        }
        inner.generation
    };
    let watching = Watching { fake, path, version, generation, bookmarked: false };
    let lines = stream::unfold(watching, |mut watching| async move {
        loop {
            let changed = Arc::clone(&watching.fake.changed);
            let changed = changed.notified();
            if let Some(line) = watching.next() {
                return Some((Ok::<_, std::io::Error>(Bytes::from(line)), watching));
            }
            if watching.is_over() {
                return None;
            }
            let _ = tokio::time::timeout(Duration::from_millis(200), changed).await;
        }
    });
    Body::from_stream(lines).into_response()
}

impl Watching {
    fn is_over(&self) -> bool {
        self.fake.inner.lock().generation != self.generation
    }

    fn next(&mut self) -> Option<String> {
        let inner = self.fake.inner.lock();
        // What comes after a break is for the next watch.
        if inner.generation != self.generation {
            return None;
        }
        let log = inner.resources.get(&self.path).map(|resource| resource.log.as_slice());
        let next = log.unwrap_or_default().iter().find(|(version, ..)| *version > self.version);
        if let Some((version, kind, object)) = next {
            self.version = *version;
            return Some(json!({"type": kind, "object": object}).to_string() + "\n");
        }
        if !std::mem::replace(&mut self.bookmarked, true) {
            let meta =
                json!({"resourceVersion": inner.version.to_string(), "creationTimestamp": null});
            let object = json!({"kind": "Pod", "apiVersion": "v1", "metadata": meta, "spec": {"containers": []}});
            return Some(json!({"type": "BOOKMARK", "object": object}).to_string() + "\n");
        }
        None
    }
}
