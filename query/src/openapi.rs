//! The OpenAPI document of a server, made of what its handlers use.
//!
//! ```text
//! [`Shape`]      of a body: derived from the type that is written (`utoipa::ToSchema`)
//! [`Input`]      a parameter, from the description that its parser reads by (`http/parameter.rs`)
//! [`Operation`]  a path: methods, inputs, bodies, answers, refusals; the routers are made from lists of them
//! [`Document`]   all of a server, OpenAPI 3.1
//! ```
//!
//! A parser knows no limit and no name that the document does not: a route gives its handler the parameters that it
//! describes, and no others.

mod document;
mod input;
mod operation;
mod shape;

pub use document::Document;
pub(crate) use input::Input;
pub use operation::{Access, Operation};
pub use shape::Shape;
