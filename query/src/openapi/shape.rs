//! What a body looks like.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use utoipa::ToSchema;

/// A JSON Schema (draft 2020-12, as OpenAPI 3.1 has it) and the named ones that it refers to.
#[derive(Debug, Clone)]
pub struct Shape {
    pub(super) schema: Value,
    pub(super) named: BTreeMap<String, Value>,
}

impl Shape {
    /// Of an answer by a type that has a name in the document.
    #[must_use]
    pub fn of<T: ToSchema>() -> Self {
        let mut shape = Self::asked::<T>();
        shape.named.values_mut().for_each(complete);
        shape
    }

    /// Of what is asked by a type that has a name in the document: what may be null may be left out.
    #[must_use]
    pub fn asked<T: ToSchema>() -> Self {
        let Self { schema, mut named } = Self::inline::<T>();
        let name = T::name().into_owned();
        let reference = json!({ "$ref": format!("#/components/schemas/{name}") });
        named.insert(name, schema);
        Self { schema: reference, named }
    }

    /// Of a type without a name of its own, such as a list.
    #[must_use]
    pub fn inline<T: ToSchema>() -> Self {
        let mut found = Vec::new();
        T::schemas(&mut found);
        let named = found.into_iter().map(|(name, schema)| (name, written(&schema))).collect();
        Self { schema: written(&T::schema()), named }
    }

    /// Of a schema.
    #[must_use]
    pub fn json(schema: Value) -> Self {
        Self { schema, named: BTreeMap::new() }
    }

    /// Of text.
    #[must_use]
    pub fn text() -> Self {
        Self::json(json!({ "type": "string" }))
    }

    /// Of bytes, which OpenAPI 3.1 describes by their media type alone.
    #[must_use]
    pub fn bytes() -> Self {
        Self::json(json!({}))
    }

    /// Of either.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        self.named.extend(other.named);
        self.schema = json!({ "anyOf": [self.schema, other.schema] });
        self
    }

    /// Of an object that has the fields of both.
    #[must_use]
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.named.extend(other.named);
        self.schema = json!({ "allOf": [self.schema, other.schema] });
        self
    }

    /// Of an answer that carries this.
    #[must_use]
    pub(crate) fn enveloped(mut self) -> Self {
        let remarks = json!({ "type": "array", "items": { "type": "string" } });
        self.schema = json!({
            "type": "object",
            "required": ["status", "data"],
            "properties": {
                "status": { "type": "string", "const": "success" },
                "data": self.schema,
                "warnings": remarks,
                "infos": remarks,
            },
        });
        self
    }
}

/// Answers have each of their fields, also if it is null.
fn complete(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(properties) = fields.get("properties").and_then(Value::as_object) {
                let names = properties.keys().cloned().collect::<Vec<_>>();
                fields.insert("required".into(), names.into());
            }
            fields.values_mut().for_each(complete);
        }
        Value::Array(items) => items.iter_mut().for_each(complete),
        _ => {}
    }
}

/// A schema as JSON. It is made of texts, lists and numbers, so that writing it cannot fail.
fn written(schema: &impl serde::Serialize) -> Value {
    serde_json::to_value(schema).unwrap_or_default()
}
