//! The whole document.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::Operation;

/// What a server answers, for whoever writes a client of it.
#[derive(Debug, Clone)]
pub struct Document {
    operations: Vec<Operation>,
    has_tokens: bool,
}

impl Document {
    /// Of a server that has these operations, and that asks for tokens or not.
    #[must_use]
    pub fn new(operations: Vec<Operation>, has_tokens: bool) -> Self {
        Self { operations, has_tokens }
    }

    /// Its operations.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// As OpenAPI 3.1 has it (<https://spec.openapis.org/oas/v3.1.1.html>).
    #[must_use]
    pub fn json(&self) -> Value {
        let (mut paths, mut named) = (Map::new(), BTreeMap::new());
        for operation in &self.operations {
            operation.describe(self.has_tokens, &mut paths, &mut named);
        }
        let tags: BTreeSet<&str> =
            self.operations.iter().map(|operation| operation.tag()).collect();
        let tags: Vec<Value> = tags.into_iter().map(|name| json!({ "name": name })).collect();
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Weir",
                "version": env!("CARGO_PKG_VERSION"),
                "summary": "The flow history of a cluster",
                "description": "Parameters of a POST may come in the query string as well. A parameter without a \
                                value is the same as none. Of a parameter that is no list the last value counts.",
                "license": { "name": "Apache 2.0", "identifier": "Apache-2.0" },
            },
            "servers": [{ "url": "/" }],
            "tags": tags,
            "paths": paths,
            "components": {
                "schemas": named,
                "securitySchemes": {
                    "bearer": {
                        "type": "http",
                        "scheme": "bearer",
                        "description": "A token of the server's file of tokens: of an `agent` for sending, a \
                                        `reader` for asking, an `admin` for deleting.",
                    },
                },
            },
        })
    }
}
