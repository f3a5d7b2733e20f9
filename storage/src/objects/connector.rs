//! Requests to a bucket are made on the runtime that opened the store.
//!
//! A connection is driven by the runtime that first used it, and others use it afterwards. Queries have
//! threads of their own, which a long computation can keep; a flush must not wait for it.

use object_store::client::{HttpClient, HttpConnector, ReqwestConnector, SpawnedReqwestConnector};
use object_store::{ClientOptions, Result};
use tokio::runtime::Handle;

/// See the module's text. Outside of any runtime, requests are made wherever they are asked for.
#[derive(Debug)]
pub(super) struct Connector(Option<Handle>);

impl Connector {
    /// On the runtime that this is called on.
    pub(super) fn here() -> Self {
        Self(Handle::try_current().ok())
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> Result<HttpClient> {
        match &self.0 {
            Some(runtime) => SpawnedReqwestConnector::new(runtime.clone()).connect(options),
            None => ReqwestConnector::default().connect(options),
        }
    }
}
