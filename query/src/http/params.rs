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
use crate::promql::{parse_duration, parse_labels, parse_selector};

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

    /// A time in milliseconds since the Unix epoch.
    pub(super) fn time(&self, name: &str) -> Result<Option<i64>, Error> {
        let Some(text) = self.get(name) else { return Ok(None) };
        time(text).map(Some).map_err(|why| {
            Error::bad(format!(
                "invalid parameter \"{name}\": invalid time value for '{name}': {why}"
            ))
        })
    }

    /// A time that has to be there, in milliseconds since the Unix epoch.
    pub(super) fn required_time(&self, name: &str) -> Result<i64, Error> {
        time(self.get(name).unwrap_or_default()).map_err(|why| invalid(name, &why))
    }

    /// A duration in milliseconds.
    pub(super) fn duration(&self, name: &str) -> Result<Option<i64>, Error> {
        self.get(name).map(|text| duration(text).map_err(|why| invalid(name, &why))).transpose()
    }

    /// A duration that has to be there, in milliseconds.
    pub(super) fn required_duration(&self, name: &str) -> Result<i64, Error> {
        duration(self.get(name).unwrap_or_default()).map_err(|why| invalid(name, &why))
    }

    /// The `lookback_delta` parameter in milliseconds.
    pub(super) fn lookback(&self) -> Result<Option<i64>, Error> {
        let text = self.get("lookback_delta");
        text.map(duration)
            .transpose()
            .map_err(|why| Error::bad(format!("error parsing lookback delta duration: {why}")))
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
        let limit: i64 = text.parse().map_err(|_| {
            invalid("limit", &format!("strconv.Atoi: parsing {text:?}: invalid syntax"))
        })?;
        let limit =
            usize::try_from(limit).map_err(|_| invalid("limit", "limit must be non-negative"))?;
        Ok((limit > 0).then_some(limit))
    }

    /// A bound of the endpoints that tell of metadata: `None` without one; a negative one is none.
    pub(super) fn number(&self, name: &str) -> Result<Option<usize>, Error> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let number: i64 =
            text.parse().map_err(|_| Error::bad(format!("{name} must be a number")))?;
        Ok(usize::try_from(number).ok())
    }

    /// The `match[]` parameters of what has labels and no metric's name.
    pub(super) fn labels(&self) -> Result<Vec<Selector>, Error> {
        self.all("match[]").map(labels).collect()
    }

    /// Every value of a parameter.
    pub(super) fn every(&self, name: &str) -> impl Iterator<Item = &str> {
        self.all(name)
    }

    /// The `table` parameters.
    pub(super) fn tables(&self) -> Vec<String> {
        self.all("table").map(str::to_owned).collect()
    }

    /// The `match[]` parameters.
    pub(super) fn selectors(&self) -> Result<Vec<Selector>, Error> {
        self.all("match[]").map(selector).collect()
    }
}

/// One `match[]` of labels alone.
fn labels(text: &str) -> Result<Selector, Error> {
    parse_labels(text).map_err(|error| invalid("match[]", &error.to_string()))
}

/// One `match[]`.
fn selector(text: &str) -> Result<Selector, Error> {
    parse_selector(text).map_err(|error| {
        let error = error.to_string();
        if error.contains("must contain at least one non-empty matcher") {
            return Error::bad("match[] must contain at least one non-empty matcher");
        }
        Error::bad(error)
    })
}

pub(super) fn invalid(name: &str, why: &str) -> Error {
    Error::bad(format!("invalid parameter \"{name}\": {why}"))
}

fn duration(text: &str) -> Result<i64, String> {
    parse_duration(text).map_err(|_| format!("cannot parse {text:?} to a valid duration"))
}

/// Reads a time: seconds since 1970, or RFC 3339.
fn time(text: &str) -> Result<i64, String> {
    let bad = || format!("cannot parse {text:?} to a valid timestamp");
    if let Ok(seconds) = text.parse::<f64>() {
        let ms = (seconds * 1000.0).round();
        // Beyond this a double no longer counts milliseconds; Prometheus' own bounds lie there too.
        return if ms.abs() < 9.0e15 { Ok(ms as i64) } else { Err(bad()) };
    }
    // The bounds of Prometheus' times, which clients send to ask for all there is.
    match text {
        "-292273086-05-16T16:47:06Z" => return Ok(i64::MIN / 1000),
        "292277025-08-18T07:12:54.999999999Z" => return Ok(i64::MAX / 1000),
        _ => {}
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
            assert_eq!(time(text).ok(), Some(ms), "{text}");
        }
        for text in ["", "now", "NaN", "inf", "1e300", "2015-07-01"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
