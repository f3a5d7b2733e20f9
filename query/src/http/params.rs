//! Parameters of a request: of its query string and, for a POST, of its form.
//!
//! A route says which parameters it takes ([`Taken`]); others are left out, so that nothing can be read that the API's
//! document does not have.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use jiff::Timestamp;
use url::form_urlencoded;

use super::envelope::Failure;
use super::parameter::{
    self, Bound, Choice, Count, Duration, Expression, Limit, Name, Names, Parameter, Selectors,
    Text, Texts, Time,
};
use crate::error::{Error, ErrorKind};
use crate::promql::source::Selector;
use crate::promql::{parse_duration, parse_labels, parse_selector};

/// Names of the parameters of a route, which puts them into the extensions of its requests.
#[derive(Debug, Clone)]
pub(super) struct Taken(pub(super) Arc<[&'static str]>);

/// Names and values in the order they came; a form's follow those of the query string.
#[derive(Debug)]
pub(super) struct Params {
    taken: Option<Taken>,
    values: Vec<(String, String)>,
}

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let mut params = Self::of_query(&request);
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
    /// Those of the query string.
    pub(super) fn of_query(request: &Request) -> Self {
        let taken = request.extensions().get::<Taken>().cloned();
        let mut params = Self { taken, values: Vec::new() };
        params.read(request.uri().query().unwrap_or_default().as_bytes());
        params
    }

    /// Adds those of a form.
    pub(super) fn read(&mut self, encoded: &[u8]) {
        for (name, value) in form_urlencoded::parse(encoded) {
            self.push(&name, value.into_owned());
        }
    }

    /// Adds one, if the route takes it.
    pub(super) fn push(&mut self, name: &str, value: String) {
        if self.taken.as_ref().is_none_or(|Taken(names)| names.contains(&name)) {
            self.values.push((name.to_owned(), value));
        }
    }

    /// The last value that is not empty: the form's before the query string's.
    fn last<K>(&self, parameter: &Parameter<K>) -> Option<&str> {
        self.all(parameter).last()
    }

    fn all<K>(&self, parameter: &Parameter<K>) -> impl DoubleEndedIterator<Item = &str> {
        let name = parameter.name;
        self.values.iter().filter(move |(n, v)| n == name && !v.is_empty()).map(|(_, v)| v.as_str())
    }

    /// The text of any parameter.
    pub(super) fn given<K>(&self, parameter: &Parameter<K>) -> Option<&str> {
        self.last(parameter)
    }

    pub(super) fn text(&self, parameter: &Parameter<Text>) -> Option<&str> {
        self.last(parameter)
    }

    /// An expression; empty without one.
    pub(super) fn expression(&self, parameter: &Parameter<Expression>) -> &str {
        self.last(parameter).unwrap_or_default()
    }

    /// A time in milliseconds since the Unix epoch.
    pub(super) fn time(&self, parameter: &Parameter<Time>) -> Result<Option<i64>, Error> {
        let Some(text) = self.last(parameter) else { return Ok(None) };
        let name = parameter.name;
        time(text).map(Some).map_err(|why| {
            Error::bad(format!(
                "invalid parameter \"{name}\": invalid time value for '{name}': {why}"
            ))
        })
    }

    /// A time that has to be there, in milliseconds since the Unix epoch.
    pub(super) fn required_time(&self, parameter: &Parameter<Time>) -> Result<i64, Error> {
        time(self.last(parameter).unwrap_or_default()).map_err(|why| invalid(parameter.name, &why))
    }

    /// A duration in milliseconds.
    pub(super) fn duration(&self, parameter: &Parameter<Duration>) -> Result<Option<i64>, Error> {
        let text = self.last(parameter);
        text.map(|text| duration(text).map_err(|why| invalid(parameter.name, &why))).transpose()
    }

    /// A duration that has to be there, in milliseconds.
    pub(super) fn required_duration(&self, parameter: &Parameter<Duration>) -> Result<i64, Error> {
        let text = self.last(parameter).unwrap_or_default();
        duration(text).map_err(|why| invalid(parameter.name, &why))
    }

    /// The `lookback_delta` parameter in milliseconds.
    pub(super) fn lookback(&self, parameter: &Parameter<Duration>) -> Result<Option<i64>, Error> {
        let text = self.last(parameter);
        text.map(duration)
            .transpose()
            .map_err(|why| Error::bad(format!("error parsing lookback delta duration: {why}")))
    }

    /// The `timeout` parameter.
    pub(super) fn timeout(&self) -> Result<Option<std::time::Duration>, Error> {
        let Some(text) = self.last(&parameter::TIMEOUT) else { return Ok(None) };
        let millis = duration(text).map_err(|why| invalid("timeout", &why))?;
        // Also what is rounded to nothing.
        if text.starts_with('-') && text.parse() != Ok(0.0) {
            return Err(invalid("timeout", "it must not be negative"));
        }
        let millis = u64::try_from(millis).unwrap_or(0);
        Ok(Some(std::time::Duration::from_millis(millis)))
    }

    /// How many are wanted; 0 is none.
    pub(super) fn limit(&self, parameter: &Parameter<Limit>) -> Result<Option<usize>, Error> {
        let Some(text) = self.last(parameter) else { return Ok(None) };
        let name = parameter.name;
        let limit: i64 = text.parse().map_err(|_| {
            invalid(name, &format!("strconv.Atoi: parsing {text:?}: invalid syntax"))
        })?;
        let limit =
            usize::try_from(limit).map_err(|_| invalid(name, "limit must be non-negative"))?;
        match parameter.kind {
            Limit(Some(most)) if limit > most => {
                Err(invalid(name, &format!("{limit} is more than {most}")))
            }
            _ => Ok((limit > 0).then_some(limit)),
        }
    }

    /// A bound of the endpoints that tell of metadata: `None` without one; a negative one is none.
    pub(super) fn bound(&self, parameter: &Parameter<Bound>) -> Result<Option<usize>, Error> {
        let Some(text) = self.last(parameter) else { return Ok(None) };
        let name = parameter.name;
        let number: i64 =
            text.parse().map_err(|_| Error::bad(format!("{name} must be a number")))?;
        Ok(usize::try_from(number).ok())
    }

    /// A whole number.
    pub(super) fn count(&self, parameter: &Parameter<Count>) -> Result<Option<usize>, Error> {
        let Some(text) = self.last(parameter) else { return Ok(None) };
        let Count { least, most } = parameter.kind;
        let number = text.parse::<usize>().ok().filter(|number| (least..=most).contains(number));
        number.map(Some).ok_or_else(|| {
            let why = format!("`{text}` is no whole number from {least} to {most}");
            invalid(parameter.name, &why)
        })
    }

    /// What a word stands for.
    pub(super) fn choice<T: Copy>(
        &self,
        parameter: &Parameter<Choice<T>>,
    ) -> Result<Option<T>, Error> {
        let Some(text) = self.last(parameter) else { return Ok(None) };
        let found = parameter.kind.0.iter().find(|(name, _)| *name == text);
        found.map(|(_, value)| Some(*value)).ok_or_else(|| {
            let names = parameter.kind.names().join(", ");
            invalid(parameter.name, &format!("`{text}` is none of {names}"))
        })
    }

    /// A name, which its reader knows or refuses.
    pub(super) fn name(&self, parameter: &Parameter<Name>) -> Option<&str> {
        self.last(parameter)
    }

    /// Names separated by commas, which their reader knows or refuses.
    pub(super) fn names(&self, parameter: &Parameter<Names>) -> Option<&str> {
        self.last(parameter)
    }

    /// Selectors of what has labels and no metric's name.
    pub(super) fn labels(&self, parameter: &Parameter<Selectors>) -> Result<Vec<Selector>, Error> {
        self.all(parameter).map(labels).collect()
    }

    /// Every value of a parameter.
    pub(super) fn texts(&self, parameter: &Parameter<Texts>) -> impl Iterator<Item = &str> {
        self.all(parameter)
    }

    /// Selectors of series.
    pub(super) fn selectors(
        &self,
        parameter: &Parameter<Selectors>,
    ) -> Result<Vec<Selector>, Error> {
        self.all(parameter).map(selector).collect()
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
        return if ms.abs() < Time::BOUND * 1000.0 { Ok(ms as i64) } else { Err(bad()) };
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
