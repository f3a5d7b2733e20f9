//! One list of ranges that is fetched.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use weir_ingest::places::{CloudSource, LivePlaces, Published};

use super::fetch::{Answer, Client};
use super::kept::{Copy, Kept, Validators};
use super::status::{Outcome, Status, Subject};

/// After a first failure; each further one in a row doubles it.
const FIRST_RETRY: Duration = Duration::from_secs(60);
/// At most.
const LAST_RETRY: Duration = Duration::from_secs(3600);

/// A list and its way into use.
#[derive(Debug)]
pub(super) struct List {
    pub(super) source: CloudSource,
    pub(super) client: Client,
    pub(super) kept: Kept,
    pub(super) places: Arc<LivePlaces>,
    pub(super) interval: Duration,
    pub(super) status: Arc<Status>,
}

/// How long it is until the next fetch, without chance.
fn pause(interval: Duration, failures: u32) -> Duration {
    match failures.checked_sub(1) {
        None => interval,
        Some(doublings) => {
            let retry = FIRST_RETRY.saturating_mul(2u32.saturating_pow(doublings.min(16)));
            retry.min(LAST_RETRY).min(interval)
        }
    }
}

/// A tenth more or less, so that servers that began at once do not ask at once for ever.
fn spread(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.9..=1.1))
}

impl List {
    /// Fetches it now and then, for ever.
    pub(super) async fn follow(self) {
        let subject = Subject::new("cloud-ranges", &self.source);
        self.status.begin(&subject);
        let mut known = self.use_kept(&subject).await;
        let mut failures = 0u32;
        loop {
            let outcome = self.fetch(&subject, &mut known).await;
            self.status.tell(&subject, outcome);
            failures = match outcome {
                Outcome::Taken | Outcome::Unchanged => 0,
                Outcome::Failed | Outcome::Refused => failures.saturating_add(1),
            };
            tokio::time::sleep(spread(pause(self.interval, failures))).await;
        }
    }

    /// Uses the copy from before, and knows by what the server can tell that it has no other.
    async fn use_kept(&self, subject: &Subject) -> Option<Validators> {
        let copy = self.kept.read()?;
        match self.take(&copy.body).await {
            Ok(_) => {
                if let Ok(at) = Timestamp::from_second(copy.fetched) {
                    self.status.good_since(subject, at);
                }
                Some(copy.validators)
            }
            Err(error) => {
                tracing::warn!(%subject, error, "copy that was kept cannot be used");
                None
            }
        }
    }

    async fn fetch(&self, subject: &Subject, known: &mut Option<Validators>) -> Outcome {
        let CloudSource::Url(url) = &self.source else { return Outcome::Failed };
        let (body, validators) = match self.client.fetch(url, known.as_ref()).await {
            Ok(Answer::New(body, validators)) => (body, validators),
            Ok(Answer::Unchanged) => return Outcome::Unchanged,
            Err(error) => {
                tracing::warn!(%subject, %error, "cannot be fetched, what is in use stays");
                return Outcome::Failed;
            }
        };
        let ranges = match self.take(&body).await {
            Ok(ranges) => ranges,
            Err(error) => {
                let kept = self.kept.path().display();
                tracing::error!(
                    %subject, error, %kept,
                    "what was fetched cannot be used, what is in use stays; if it is right all the same, \
                     remove the copy that is kept and start the server again"
                );
                return Outcome::Refused;
            }
        };
        tracing::info!(%subject, ranges, "has been fetched and is used from now on");
        *known = Some(validators.clone());
        let copy = Copy { body, validators, fetched: Timestamp::now().as_second() };
        let kept = self.kept.clone();
        let written = tokio::task::spawn_blocking(move || kept.write(&copy)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(%subject, %error, "no copy of it could be kept, a restart has to fetch it");
        }
        Outcome::Taken
    }

    /// Checks a list and uses it: the number of its ranges.
    async fn take(&self, body: &[u8]) -> Result<usize, String> {
        let (places, source, body) = (Arc::clone(&self.places), self.source.clone(), body.to_vec());
        let taken = tokio::task::spawn_blocking(move || {
            let list = Published::parse(&body)?;
            let ranges = list.ranges();
            places.offer(&source, list)?;
            anyhow::Ok(ranges)
        });
        match taken.await {
            Ok(taken) => taken.map_err(|error| format!("{error:#}")),
            Err(error) => Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_tried_again_earlier_and_ever_later() {
        let day = Duration::from_secs(24 * 3600);
        let pauses: Vec<u64> = (0..9).map(|failures| pause(day, failures).as_secs()).collect();
        assert_eq!(pauses, [86_400, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(pause(day, u32::MAX), LAST_RETRY);
        let second = Duration::from_secs(1);
        assert_eq!(pause(second, 5), second, "never later than without a failure");
        for _ in 0..100 {
            assert!((54..=66).contains(&spread(FIRST_RETRY).as_secs()));
        }
    }
}
