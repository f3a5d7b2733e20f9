//! Parameters of a request: of its query string and, for a POST, of its form.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use jiff::Timestamp;
use url::form_urlencoded;

use super::envelope::Failure;
use crate::error::{Error, ErrorKind};
use crate::promql::source::Selector;
use crate::promql::{parse_duration, parse_selector};

/// Names and values in the order they came; a form's follow those of the query string.
#[derive(Debug, Default)]
pub(super) struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let mut params = Self::default();
        params.read(request.uri().query().unwrap_or_default().as_bytes());
        let form = request.headers().get(CONTENT_TYPE).is_some_and(|value| {
            value.as_bytes().starts_with(b"application/x-www-form-urlencoded")
        });
        if form {
            params.read(&body(request, state).await?);
        }
        Ok(params)
    }
}

/// The body of a request.
pub(super) async fn body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Error> {
    Bytes::from_request(request, state).await.map_err(|rejection| {
        let kind = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => ErrorKind::TooLarge,
            _ => ErrorKind::BadData,
        };
        Error::new(kind, format!("body cannot be read: {}", rejection.body_text()))
    })
}

impl Params {
    pub(super) fn read(&mut self, encoded: &[u8]) {
        self.0.extend(form_urlencoded::parse(encoded).into_owned());
    }

    pub(super) fn push(&mut self, name: &str, value: String) {
        self.0.push((name.to_owned(), value));
    }

    /// The last value that is not empty: the form's before the query string's.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).last()
    }

    fn all(&self, name: &str) -> impl DoubleEndedIterator<Item = &str> {
        self.0.iter().filter(move |(n, v)| n == name && !v.is_empty()).map(|(_, v)| v.as_str())
    }

    pub(super) fn required(&self, name: &str) -> Result<&str, Error> {
        self.get(name)
            .ok_or_else(|| Error::bad(format!("invalid parameter \"{name}\": it is missing")))
    }

    /// A time in milliseconds since the Unix epoch.
    pub(super) fn time(&self, name: &str) -> Result<Option<i64>, Error> {
        self.get(name).map(|text| time(name, text)).transpose()
    }

    /// A duration in milliseconds.
    pub(super) fn duration(&self, name: &str) -> Result<Option<i64>, Error> {
        self.get(name)
            .map(|text| {
                parse_duration(text)
                    .map_err(|e| Error::bad(format!("invalid parameter \"{name}\": {e}")))
            })
            .transpose()
    }

    /// The `timeout` parameter.
    pub(super) fn timeout(&self) -> Result<Option<Duration>, Error> {
        Ok(self
            .duration("timeout")?
            .and_then(|ms| u64::try_from(ms).ok())
            .map(Duration::from_millis))
    }

    /// The `limit` parameter; 0 is none.
    pub(super) fn limit(&self) -> Result<Option<usize>, Error> {
        let Some(text) = self.get("limit") else { return Ok(None) };
        let limit: usize = text.parse().map_err(|_| {
            Error::bad(format!("invalid parameter \"limit\": `{text}` is no whole number"))
        })?;
        Ok((limit > 0).then_some(limit))
    }

    /// The `table` parameters.
    pub(super) fn tables(&self) -> Vec<String> {
        self.all("table").map(str::to_owned).collect()
    }

    /// The `match[]` parameters.
    pub(super) fn selectors(&self) -> Result<Vec<Selector>, Error> {
        self.all("match[]")
            .map(|text| {
                parse_selector(text)
                    .map_err(|e| Error::bad(format!("invalid parameter \"match[]\": {e}")))
            })
            .collect()
    }
}

fn time(name: &str, text: &str) -> Result<i64, Error> {
    let bad = || {
        Error::bad(format!(
            "invalid parameter \"{name}\": cannot parse \"{text}\" to a valid timestamp; give \
             seconds since 1970 or RFC 3339"
        ))
    };
    if let Ok(seconds) = text.parse::<f64>() {
        let ms = (seconds * 1000.0).round();
        // Beyond this a double no longer counts milliseconds; Prometheus' own bounds lie there too.
        return if ms.abs() < 9.0e15 { Ok(ms as i64) } else { Err(bad()) };
    }
    text.parse::<Timestamp>().map(Timestamp::as_millisecond).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_rfc_3339() {
        for (text, ms) in [
            ("1435781451.781", 1_435_781_451_781),
            ("0", 0),
            ("1e3", 1_000_000),
            ("2015-07-01T20:10:51.781Z", 1_435_781_451_781),
            ("2015-07-01T22:10:51.781+02:00", 1_435_781_451_781),
        ] {
            assert_eq!(time("time", text).ok(), Some(ms), "{text}");
        }
        for text in ["", "now", "NaN", "inf", "1e300", "2015-07-01"] {
            assert!(time("time", text).is_err(), "{text}");
        }
    }
}
