//! The place of a store in a bucket, as its URL says.
//!
//! ```text
//! s3://BUCKET/PREFIX     Amazon S3 and whatever speaks its protocol (AWS_ENDPOINT_URL)
//! gs://BUCKET/PREFIX     Google Cloud Storage
//! az://CONTAINER/PREFIX  Azure Blob Storage, account in AZURE_STORAGE_ACCOUNT_NAME
//! ```
//!
//! Credentials come from the environment, by the names that each provider's own tools use, and never
//! from the URL, which is written to logs. Plain HTTP is spoken only to an endpoint that is given as
//! `http://`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use thiserror::Error;
use url::Url;

use super::connector::Connector;

/// A request that gets no answer is given up after this long.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// So is an attempt to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A request that fails is repeated for this long. What is above it has patience of its own: a flush
/// is tried again, and rows wait in the log.
const RETRY_TIMEOUT: Duration = Duration::from_secs(15);

/// Why a URL or the environment does not say where the store is.
#[derive(Debug, Error)]
pub(crate) enum LocationError {
    #[error("`{text}` is no URL: {source}; write s3://BUCKET/PREFIX")]
    Url { text: String, source: url::ParseError },
    #[error("`{scheme}://` is not supported; write s3://, gs:// or az://, then BUCKET/PREFIX")]
    Scheme { scheme: String },
    #[error("the URL of the store names no bucket; write {scheme}://BUCKET/PREFIX")]
    Bucket { scheme: String },
    #[error(
        "the URL of the store has {what}; write {scheme}://BUCKET/PREFIX, and give credentials and options in the environment"
    )]
    Extra { scheme: String, what: &'static str },
    #[error("the prefix of the store's URL cannot be used: {0}")]
    Prefix(#[from] object_store::path::Error),
    #[error("{url} needs {missing} in the environment")]
    Missing { url: String, missing: &'static str },
    #[error("cannot use {url}: {source}")]
    Client { url: String, source: object_store::Error },
}

/// Who keeps the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Provider {
    S3,
    Google,
    Azure,
}

/// Bucket and prefix of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    provider: Provider,
    bucket: String,
    /// Everything of the store is below it.
    pub(crate) prefix: Path,
    /// As it was given, without a slash at its end.
    pub(crate) url: Url,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

impl Location {
    /// Reads the URL of a store.
    pub(crate) fn parse(text: &str) -> Result<Self, LocationError> {
        let mut url = Url::parse(text)
            .map_err(|source| LocationError::Url { text: text.to_owned(), source })?;
        let scheme = url.scheme().to_owned();
        let provider = match scheme.as_str() {
            "s3" => Provider::S3,
            "gs" => Provider::Google,
            "az" => Provider::Azure,
            _ => return Err(LocationError::Scheme { scheme }),
        };
        let what = if !url.username().is_empty() || url.password().is_some() {
            Some("a user or password")
        } else if url.port().is_some() {
            Some("a port")
        } else if url.query().is_some() {
            Some("a query")
        } else if url.fragment().is_some() {
            Some("a fragment")
        } else {
            None
        };
        if let Some(what) = what {
            return Err(LocationError::Extra { scheme, what });
        }
        let Some(bucket) = url.host_str().filter(|h| !h.is_empty()).map(str::to_owned) else {
            return Err(LocationError::Bucket { scheme });
        };
        let prefix = Path::from_url_path(url.path())?;
        let trimmed = format!("/{prefix}");
        url.set_path(if prefix.as_ref().is_empty() { "" } else { &trimmed });
        Ok(Self { provider, bucket, prefix, url })
    }

    /// A client of the whole bucket. Nothing is sent yet.
    pub(crate) fn connect(
        &self,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Arc<dyn ObjectStore>, LocationError> {
        let env: Vec<(String, String)> = env.collect();
        let has = |names: &[&str]| {
            env.iter().any(|(name, value)| names.contains(&name.as_str()) && !value.is_empty())
        };
        let missing = |missing| LocationError::Missing { url: self.to_string(), missing };
        let client = |source| LocationError::Client { url: self.to_string(), source };
        let plain = |names: &[&str]| {
            env.iter()
                .any(|(name, value)| names.contains(&name.as_str()) && value.starts_with("http://"))
        };
        let options = |allow_http| {
            ClientOptions::new()
                .with_timeout(REQUEST_TIMEOUT)
                .with_connect_timeout(CONNECT_TIMEOUT)
                .with_allow_http(allow_http)
        };
        let retry = RetryConfig {
            backoff: BackoffConfig { max_backoff: Duration::from_secs(3), ..Default::default() },
            max_retries: 10,
            retry_timeout: RETRY_TIMEOUT,
        };
        match self.provider {
            Provider::S3 => {
                const ENDPOINT: [&str; 3] =
                    ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];
                match (has(&["AWS_ACCESS_KEY_ID"]), has(&["AWS_SECRET_ACCESS_KEY"])) {
                    (true, false) => return Err(missing("AWS_SECRET_ACCESS_KEY")),
                    (false, true) => return Err(missing("AWS_ACCESS_KEY_ID")),
                    // Without any, a machine in AWS has a role. Elsewhere nobody would answer.
                    (false, false) if has(&ENDPOINT) && !has(&["AWS_SKIP_SIGNATURE"]) => {
                        return Err(missing("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"));
                    }
                    _ => {}
                }
                let mut builder = AmazonS3Builder::new()
                    .with_client_options(options(plain(&ENDPOINT)))
                    .with_conditional_put(S3ConditionalPut::ETagMatch)
                    .with_http_connector(Connector::here())
                    .with_retry(retry);
                for (key, value) in config(&env, "AWS_") {
                    if let Ok(key) = key.parse() {
                        builder = builder.with_config(key, value);
                    }
                }
                Ok(Arc::new(builder.with_bucket_name(&self.bucket).build().map_err(client)?))
            }
            Provider::Google => {
                let mut builder = GoogleCloudStorageBuilder::new()
                    .with_client_options(options(plain(&["GOOGLE_BASE_URL"])))
                    .with_http_connector(Connector::here())
                    .with_retry(retry);
                for (key, value) in config(&env, "GOOGLE_") {
                    if let Ok(key) = key.parse() {
                        builder = builder.with_config(key, value);
                    }
                }
                Ok(Arc::new(builder.with_bucket_name(&self.bucket).build().map_err(client)?))
            }
            Provider::Azure => {
                if !has(&["AZURE_STORAGE_ACCOUNT_NAME"]) && !has(&["AZURE_STORAGE_USE_EMULATOR"]) {
                    return Err(missing("AZURE_STORAGE_ACCOUNT_NAME"));
                }
                let emulated = has(&["AZURE_STORAGE_USE_EMULATOR"]);
                let plain = emulated || plain(&["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"]);
                let mut builder = MicrosoftAzureBuilder::new()
                    .with_client_options(options(plain))
                    .with_http_connector(Connector::here())
                    .with_retry(retry);
                for (key, value) in config(&env, "AZURE_") {
                    if let Ok(key) = key.parse() {
                        builder = builder.with_config(key, value);
                    }
                }
                Ok(Arc::new(builder.with_container_name(&self.bucket).build().map_err(client)?))
            }
        }
    }

    /// What to look at when the store refuses or does not answer.
    pub(crate) fn advice(&self, error: &object_store::Error) -> &'static str {
        use object_store::Error;
        match (error, self.provider) {
            (Error::NotFound { .. }, Provider::Azure) => "does the container exist?",
            (Error::NotFound { .. }, _) => "does the bucket exist?",
            (Error::Unauthenticated { .. } | Error::PermissionDenied { .. }, Provider::S3) => {
                "look at AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, and what they are allowed"
            }
            (Error::Unauthenticated { .. } | Error::PermissionDenied { .. }, Provider::Google) => {
                "look at GOOGLE_APPLICATION_CREDENTIALS, and what they are allowed"
            }
            (Error::Unauthenticated { .. } | Error::PermissionDenied { .. }, Provider::Azure) => {
                "look at AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY, and what they are allowed"
            }
            (_, Provider::S3) => "look at AWS_ENDPOINT_URL, AWS_REGION and the network",
            _ => "look at the network, and at the endpoint if one is set",
        }
    }
}

/// Variables with a prefix, their names as the client knows them.
fn config<'a>(
    env: &'a [(String, String)],
    prefix: &'a str,
) -> impl Iterator<Item = (String, &'a str)> {
    env.iter()
        .filter(move |(name, value)| name.starts_with(prefix) && !value.is_empty())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.as_str()))
}

#[cfg(test)]
mod fake;

#[cfg(test)]
mod tests {
    use super::fake::Fake;
    use super::*;
    use crate::objects::{fence, probe, tombstones};
    use crate::tombstone::Tombstones;

    #[test]
    fn a_url_says_bucket_and_prefix() {
        for (text, bucket, prefix, url) in [
            ("s3://b/p/q/", "b", "p/q", "s3://b/p/q"),
            ("gs://b", "b", "", "gs://b"),
            ("az://c/p", "c", "p", "az://c/p"),
        ] {
            let location = Location::parse(text).unwrap();
            assert_eq!(location.bucket, bucket, "{text}");
            assert_eq!(location.prefix.as_ref(), prefix, "{text}");
            assert_eq!(location.to_string(), url, "{text}");
        }
    }

    #[test]
    fn other_urls_are_refused_with_a_way_out() {
        for (text, wanted) in [
            ("bucket/prefix", "s3://BUCKET/PREFIX"),
            ("file:///var/weir", "`file://` is not supported"),
            ("s3:///prefix", "names no bucket"),
            ("s3://key:secret@b/p", "a user or password"),
            ("s3://b/p?region=x", "a query"),
            ("s3://b//p", "prefix"),
        ] {
            let error = Location::parse(text).unwrap_err().to_string();
            assert!(error.contains(wanted), "{text}: {error}");
            assert!(!error.contains("secret@"), "{error}");
        }
    }

    fn connect(url: &str, env: &[(&str, &str)]) -> Result<Arc<dyn ObjectStore>, LocationError> {
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Location::parse(url).unwrap().connect(env)
    }

    #[test]
    fn what_the_environment_lacks_is_named() {
        let endpoint = ("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
        let (id, secret) = (("AWS_ACCESS_KEY_ID", "i"), ("AWS_SECRET_ACCESS_KEY", "s"));
        connect("s3://b/p", &[endpoint, id, secret]).unwrap();
        connect("s3://b/p", &[]).expect("a machine in AWS has a role");
        for (url, env, wanted) in [
            ("s3://b/p", vec![endpoint, id], "AWS_SECRET_ACCESS_KEY"),
            ("s3://b/p", vec![endpoint, secret], "AWS_ACCESS_KEY_ID"),
            ("s3://b/p", vec![endpoint], "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
            ("az://b/p", vec![], "AZURE_STORAGE_ACCOUNT_NAME"),
        ] {
            let error = connect(url, &env).unwrap_err().to_string();
            assert!(error.contains(wanted) && error.contains(url), "{error}");
        }
    }
    /// Whether conditions of puts arrive, in this provider's way, and are understood.
    async fn holds_a_store(url: &str, env: &[(&str, &str)]) {
        let bucket = connect(url, env).unwrap();
        let prefix = Location::parse(url).unwrap().prefix;
        probe::probe(&bucket, &prefix, uuid::Uuid::nil()).await.unwrap();
        let claim = |now| fence::claim(&bucket, &prefix, uuid::Uuid::new_v4(), now);
        let (first, _) = claim(7_000_000).await.unwrap();
        let (second, before) = claim(9_000_000).await.unwrap();
        assert_eq!((first.epoch, second.epoch, before), (7, 8, Some(first)));
        let none = Tombstones::default();
        let (_, mut old) = tombstones::claim(&bucket, &prefix, 7, &none).await.unwrap();
        let (_, mut new) = tombstones::claim(&bucket, &prefix, 8, &none).await.unwrap();
        tombstones::save(&bucket, &mut old, &none).await.unwrap_err();
        tombstones::save(&bucket, &mut new, &none).await.unwrap();
    }

    #[tokio::test]
    async fn a_google_bucket_is_connected_to() {
        let fake = Fake::start().await;
        let key = r#"{"private_key": "k", "private_key_id": "i", "client_email": "e", "disable_oauth": true}"#;
        let env = [("GOOGLE_BASE_URL", fake.url.as_str()), ("GOOGLE_SERVICE_ACCOUNT_KEY", key)];
        holds_a_store("gs://bucket/p/q", &env).await;
        let requests = fake.requests();
        assert!(
            requests.contains(&"PUT /bucket/p%2Fq%2F%5Fweir%2Fwriter".to_owned()),
            "{requests:?}"
        );
    }

    #[tokio::test]
    async fn an_azure_container_is_connected_to() {
        let fake = Fake::start().await;
        let env = [
            ("AZURE_STORAGE_ENDPOINT", fake.url.as_str()),
            ("AZURE_STORAGE_ACCOUNT_NAME", "account"),
            ("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0"),
        ];
        holds_a_store("az://container/p", &env).await;
        let requests = fake.requests();
        assert!(requests.contains(&"PUT /container/p/_weir/writer".to_owned()), "{requests:?}");
    }
}
