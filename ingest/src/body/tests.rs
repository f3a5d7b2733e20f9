use std::task::{Context, Poll};

use axum::body::HttpBody;
use axum::http::StatusCode;
use http_body_util::BodyExt;
use tokio::sync::mpsc;
use tower::ServiceExt;
use weir_storage::Store;

use super::*;
use crate::receive::Receiver;
use crate::tables::store_options;

/// A body whose pieces come when the test sends them.
struct Slow {
    pieces: mpsc::UnboundedReceiver<Bytes>,
    length: Option<u64>,
}

impl HttpBody for Slow {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        self.pieces.poll_recv(cx).map(|piece| piece.map(|bytes| Ok(http_body::Frame::data(bytes))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.length.map_or_else(http_body::SizeHint::default, http_body::SizeHint::with_exact)
    }
}

fn slow(length: Option<u64>) -> (mpsc::UnboundedSender<Bytes>, Body) {
    let (sender, pieces) = mpsc::unbounded_channel();
    (sender, Body::new(Slow { pieces, length }))
}

fn bodies(steps: usize) -> Bodies {
    let room = Arc::new(Semaphore::new(steps));
    Bodies { room, patience: Duration::ZERO, ..Bodies::default() }
}

fn piece(steps: usize) -> Bytes {
    vec![7; steps * STEP].into()
}

/// Until what was sent has been looked at.
async fn settled(bodies: &Bodies, free: usize) {
    for _ in 0..1000 {
        if bodies.room.available_permits() == free {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{} steps are free, not {free}", bodies.room.available_permits());
}

#[tokio::test]
async fn bodies_hold_what_has_come_and_no_more_than_there_is_room_for() {
    let bodies = bodies(8);
    let (sender, body) = slow(Some(6 * STEP as u64));
    let of_task = bodies.clone();
    let first = tokio::spawn(async move { of_task.read(body).await });
    // It claims six steps and has sent nothing.
    settled(&bodies, 8).await;
    sender.send(piece(1)).unwrap();
    settled(&bodies, 7).await;
    sender.send(piece(2)).unwrap();
    settled(&bodies, 5).await;
    sender.send(piece(1)).unwrap();
    settled(&bodies, 2).await;

    // No other may take what is not there, whether it says its length or not.
    for length in [None, Some(3 * STEP as u64)] {
        let (other, body) = slow(length);
        other.send(piece(2)).unwrap();
        other.send(piece(1)).unwrap();
        drop(other);
        assert!(matches!(bodies.read(body).await, Err(BodyError::Busy)));
        settled(&bodies, 2).await;
    }
    sender.send(piece(2)).unwrap();
    drop(sender);
    let held = first.await.unwrap().unwrap();
    assert_eq!(held.bytes.len(), 6 * STEP);
    settled(&bodies, 2).await;
    drop(held);
    settled(&bodies, 8).await;
}

#[tokio::test]
async fn a_body_of_one_piece_is_not_copied_and_a_large_one_is_refused() {
    let bodies = Bodies::default();
    let whole = piece(3);
    let held = bodies.read(Body::from(whole.clone())).await.unwrap();
    assert_eq!(held.bytes.as_ptr(), whole.as_ptr());
    settled(&bodies, STEPS - 3).await;
    drop(held);
    assert!(bodies.read(Body::empty()).await.unwrap().bytes.is_empty());
    let (_sender, claims) = slow(Some(MAX_BODY as u64 + 1));
    assert!(matches!(bodies.read(claims).await, Err(BodyError::TooLarge)));
    let (sender, grows) = slow(None);
    for _ in 0..=MAX_BODY / (16 * STEP) {
        sender.send(piece(16)).unwrap();
    }
    assert!(matches!(bodies.read(grows).await, Err(BodyError::TooLarge)));
    settled(&bodies, STEPS).await;
}

#[tokio::test]
async fn a_body_that_trickles_in_is_given_up() {
    let bodies = Bodies { timeout: Duration::from_millis(20), ..Bodies::default() };
    let (sender, body) = slow(None);
    sender.send(piece(1)).unwrap();
    assert!(matches!(bodies.read(body).await, Err(BodyError::Slow)));
    settled(&bodies, STEPS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn senders_without_room_are_told_to_come_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(store_options(dir.path())).await.unwrap();
    let bodies = bodies(4);
    let router = crate::http::routes(Receiver::new(store), bodies.clone());
    let post = |body| {
        let request = axum::http::Request::post("/v1/flows").body(body).unwrap();
        router.clone().oneshot(request)
    };
    let (sender, body) = slow(None);
    sender.send(piece(3)).unwrap();
    let waiting = tokio::spawn(post(body));
    while bodies.room.available_permits() > 1 {
        tokio::task::yield_now().await;
    }
    let refused = post(Body::from(piece(2))).await.unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["retry-after"], "1");
    let text = refused.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&text).contains("busy with other batches"));
    // The one that had room is answered; these are no batch.
    drop(sender);
    assert_eq!(waiting.await.unwrap().unwrap().status(), StatusCode::BAD_REQUEST);
    assert_eq!(bodies.room.available_permits(), 4);
}
