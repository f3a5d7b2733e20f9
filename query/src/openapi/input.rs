//! What a request may carry beside its body.

use serde_json::{Map, Value, json};

/// A parameter as the document describes it.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) is_required: bool,
    /// Of one value, or of the list that they are.
    pub(crate) schema: Value,
    /// Values are separated by commas rather than given one by one.
    pub(crate) has_commas: bool,
    pub(crate) example: Option<&'static str>,
}

impl Input {
    fn is_list(&self) -> bool {
        self.schema.get("type").is_some_and(|kind| kind == "array")
    }

    fn example(&self) -> Option<Value> {
        let example = self.example?;
        Some(if self.is_list() {
            example
                .split(',')
                .filter(|_| self.has_commas)
                .map(Value::from)
                .collect::<Vec<_>>()
                .into()
        } else {
            example.into()
        })
    }

    /// As a parameter object; `place` is `query` or `path`.
    pub(super) fn parameter(&self, place: &str) -> Value {
        let mut object = json!({
            "name": self.name,
            "in": place,
            "description": self.about,
            "required": self.is_required,
            "schema": self.schema,
        });
        if let Some(fields) = object.as_object_mut() {
            if self.is_list() {
                fields.insert("style".into(), "form".into());
                fields.insert("explode".into(), (!self.has_commas).into());
            }
            if place == "query" && !self.is_required {
                // The same as if it were not there.
                fields.insert("allowEmptyValue".into(), true.into());
            }
            if let Some(example) = self.example() {
                fields.insert("example".into(), example);
            }
        }
        object
    }
}

/// The form of a request that has these parameters in its body.
pub(super) fn form(inputs: &[Input]) -> Value {
    let mut properties = Map::new();
    let mut encoding = Map::new();
    for input in inputs {
        let mut schema = input.schema.clone();
        if let Some(fields) = schema.as_object_mut() {
            fields.insert("description".into(), input.about.into());
        }
        properties.insert(input.name.to_owned(), schema);
        if input.is_list() {
            let encoded = json!({ "style": "form", "explode": !input.has_commas });
            encoding.insert(input.name.to_owned(), encoded);
        }
    }
    let required: Vec<&str> =
        inputs.iter().filter(|input| input.is_required).map(|input| input.name).collect();
    let example: Map<String, Value> =
        inputs.iter().filter_map(|input| Some((input.name.to_owned(), input.example()?))).collect();
    json!({
        "required": !required.is_empty(),
        "content": { "application/x-www-form-urlencoded": {
            "schema": { "type": "object", "properties": properties, "required": required },
            "encoding": encoding,
            "example": example,
        }},
    })
}
