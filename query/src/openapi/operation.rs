//! What can be asked at a path.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Shape;
use super::input::{Input, form};

/// Which token admits, on a server that has tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// None is needed.
    All,
    /// `reader`.
    Reader,
    /// `agent`.
    Agent,
    /// `admin`.
    Admin,
}

impl Access {
    fn role(self) -> Option<&'static str> {
        match self {
            Self::All => None,
            Self::Reader => Some("reader"),
            Self::Agent => Some("agent"),
            Self::Admin => Some("admin"),
        }
    }
}

/// An answer or a refusal: what it means, and its body by media type.
#[derive(Debug, Clone)]
struct Reply {
    about: String,
    bodies: Vec<(&'static str, Shape)>,
}

/// A path and what it answers, with each of its methods.
#[derive(Debug, Clone)]
pub struct Operation {
    pub(crate) path: &'static str,
    methods: Vec<&'static str>,
    /// Unique among operations: what generated clients call it.
    id: &'static str,
    tag: &'static str,
    about: &'static str,
    access: Access,
    places: Vec<Input>,
    inputs: Vec<Input>,
    /// With a POST, parameters come as a form.
    has_form: bool,
    body: Option<(String, Vec<(&'static str, Shape)>)>,
    replies: BTreeMap<u16, Reply>,
    /// Media type and shape of refusals.
    refusal: (&'static str, Shape),
}

impl Operation {
    /// `about` is a sentence.
    #[must_use]
    pub fn new(
        path: &'static str,
        methods: &[&'static str],
        id: &'static str,
        about: &'static str,
    ) -> Self {
        Self {
            path,
            methods: methods.to_vec(),
            id,
            tag: "Server",
            about,
            access: Access::Reader,
            places: Vec::new(),
            inputs: Vec::new(),
            has_form: true,
            body: None,
            replies: BTreeMap::new(),
            refusal: ("application/json", Shape::of::<crate::Refusal>()),
        }
    }

    /// The group that it is listed in.
    #[must_use]
    pub fn of(mut self, tag: &'static str) -> Self {
        self.tag = tag;
        self
    }

    /// Whom it answers.
    #[must_use]
    pub fn open_to(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Its parameters.
    #[must_use]
    pub(crate) fn takes(mut self, inputs: impl IntoIterator<Item = Input>) -> Self {
        self.inputs.extend(inputs);
        self
    }

    /// A part of its path.
    #[must_use]
    pub(crate) fn at(mut self, name: &'static str, about: &'static str, schema: Value) -> Self {
        let is_required = true;
        let input = Input { name, about, is_required, schema, has_commas: false, example: None };
        self.places.push(input);
        self
    }

    /// What is sent as the body, which is needed, by media type.
    #[must_use]
    pub fn reads(
        mut self,
        about: impl Into<String>,
        bodies: impl IntoIterator<Item = (&'static str, Shape)>,
    ) -> Self {
        self.has_form = false;
        self.body = Some((about.into(), bodies.into_iter().collect()));
        self
    }

    /// An answer of status 200 in the envelope of the API.
    #[must_use]
    pub(crate) fn gives(self, data: Shape) -> Self {
        self.answers(200, "The answer.", [("application/json", data.enveloped())])
    }

    /// An answer; one of several media types if the status is there already.
    #[must_use]
    pub fn answers(
        mut self,
        status: u16,
        about: impl Into<String>,
        bodies: impl IntoIterator<Item = (&'static str, Shape)>,
    ) -> Self {
        let about = about.into();
        let reply =
            self.replies.entry(status).or_insert_with(|| Reply { about, bodies: Vec::new() });
        reply.bodies.extend(bodies);
        self
    }

    /// What refusals look like, unless like those of the API.
    #[must_use]
    pub fn refuses_by(mut self, media: &'static str, shape: Shape) -> Self {
        self.refusal = (media, shape);
        self
    }

    /// Statuses of its refusals.
    #[must_use]
    pub fn refuses(mut self, statuses: &[u16]) -> Self {
        for status in statuses {
            let (media, shape) = self.refusal.clone();
            self = self.answers(*status, meaning(*status), [(media, shape)]);
        }
        self
    }

    /// Statuses of a query's refusals.
    #[must_use]
    pub(crate) fn query_like(self) -> Self {
        let large: &[u16] = if self.methods.contains(&"post") { &[413] } else { &[] };
        self.refuses(&[400, 422, 500, 503]).refuses(large)
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &'static str {
        self.path
    }

    /// Its methods, in lower case.
    #[must_use]
    pub fn methods(&self) -> &[&'static str] {
        &self.methods
    }

    /// The group that it is listed in.
    pub(super) fn tag(&self) -> &'static str {
        self.tag
    }

    /// Names of its parameters.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = &'static str> {
        self.inputs.iter().map(|input| input.name)
    }

    /// Adds it to the paths and to the named schemas of a document.
    pub(super) fn describe(
        &self,
        has_tokens: bool,
        paths: &mut Map<String, Value>,
        named: &mut BTreeMap<String, Value>,
    ) {
        let mut item = Map::new();
        for (number, method) in self.methods.iter().enumerate() {
            item.insert((*method).to_owned(), self.method(method, number, has_tokens));
        }
        let bodies = self.body.iter().flat_map(|(_, bodies)| bodies);
        let replies = self.replies.values().flat_map(|reply| &reply.bodies);
        for (_, shape) in bodies.chain(replies) {
            named.extend(shape.named.clone());
        }
        named.extend(Shape::of::<crate::Refusal>().named);
        paths.insert(self.path.to_owned(), item.into());
    }

    fn method(&self, method: &str, number: usize, has_tokens: bool) -> Value {
        let is_form = self.has_form && method != "get" && !self.inputs.is_empty();
        let mut parameters: Vec<Value> =
            self.places.iter().map(|input| input.parameter("path")).collect();
        if !is_form {
            parameters.extend(self.inputs.iter().map(|input| input.parameter("query")));
        }
        let id = match number {
            0 => self.id.to_owned(),
            _ => format!("{}_{method}", self.id),
        };
        let mut replies: Map<String, Value> = self
            .replies
            .iter()
            .map(|(status, reply)| (status.to_string(), reply_json(reply)))
            .collect();
        let mut operation = json!({
            "operationId": id,
            "tags": [self.tag],
            "summary": self.about,
            "parameters": parameters,
        });
        if let Some(fields) = operation.as_object_mut() {
            if is_form {
                fields.insert("requestBody".into(), form(&self.inputs));
            }
            if let Some((about, bodies)) = &self.body {
                let content = contents(bodies);
                let body = json!({ "description": about, "required": true, "content": content });
                fields.insert("requestBody".into(), body);
            }
            let role = self.access.role().filter(|_| has_tokens);
            if role.is_some() {
                let refusal = Shape::of::<crate::Refusal>();
                let bodies = vec![("application/json", refusal)];
                let about = meaning(401).to_owned();
                replies.insert("401".into(), reply_json(&Reply { about, bodies }));
            }
            let security: Vec<Value> =
                role.map(|role| json!({ "bearer": [role] })).into_iter().collect();
            fields.insert("security".into(), security.into());
            fields.insert("responses".into(), replies.into());
        }
        operation
    }
}

fn contents(bodies: &[(&'static str, Shape)]) -> Value {
    let content = |(media, shape): &(&'static str, Shape)| {
        ((*media).to_owned(), json!({ "schema": shape.schema }))
    };
    bodies.iter().map(content).collect::<Map<_, _>>().into()
}

fn reply_json(reply: &Reply) -> Value {
    if reply.bodies.is_empty() {
        return json!({ "description": reply.about });
    }
    json!({ "description": reply.about, "content": contents(&reply.bodies) })
}

/// What a refusal of this status says.
fn meaning(status: u16) -> &'static str {
    match status {
        400 => "A parameter, expression or body is not well formed.",
        401 => "A token is needed that admits to this.",
        403 => "A page in a browser may not write, on a server without tokens.",
        404 => "There is no such thing.",
        406 => "There is no format that the client takes.",
        408 => "The body came too slowly.",
        413 => "The body is too large.",
        415 => "The body is of a type or coding that is not known here.",
        422 => "The query cannot be answered: it needs too much, or series do not match.",
        425 => "The rows are of a time that has not come yet; send them again later.",
        429 => "There is too much to do; send it again later.",
        500 => "The store failed.",
        503 => {
            "The query took too long or waited too long for others, or the store cannot be used."
        }
        _ => "It cannot be answered.",
    }
}
