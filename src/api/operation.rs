//! One operation of the interface: what the router and the document need to know of it.

use axum::http::{Method, StatusCode};
use axum::routing::MethodRouter;
use schemars::generate::SchemaGenerator;
use schemars::{JsonSchema, Schema};

use crate::api::{Api, requests};

/// The shape of a part of a request or an answer.
pub type Shape = fn(&mut SchemaGenerator) -> Schema;

/// What an operation answers when all is well.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    /// JSON of this shape.
    Json(Shape),
    /// Text of this media type.
    Text(&'static str),
    /// Any JSON object.
    Object,
}

/// Who may call an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Open,
    /// Loopback, and whoever has the token.
    Read,
    /// Whoever has the token.
    Write,
    /// The same; the token may also come as the replaced system sent its secret.
    WriteAsBefore,
}

/// One method of one path.
pub struct Operation {
    /// Its method.
    pub method: Method,
    /// Its path, parameters in braces.
    pub path: &'static str,
    /// Its name.
    pub id: &'static str,
    /// What it does.
    pub summary: &'static str,
    /// Who may call it.
    pub access: Access,
    /// What its query may hold.
    pub query: Option<Shape>,
    /// What its body must be.
    pub body: Option<Shape>,
    /// Its status when all is well.
    pub status: StatusCode,
    /// What it answers then.
    pub answer: Answer,
    /// Further statuses, each a problem document.
    pub problems: Vec<StatusCode>,
    /// Who does it.
    pub handler: MethodRouter<Api>,
}

/// The shape of a type.
pub fn shape<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

impl Operation {
    /// One that everybody may call.
    pub fn new(
        method: Method,
        path: &'static str,
        id: &'static str,
        summary: &'static str,
        handler: MethodRouter<Api>,
    ) -> Self {
        let mut problems = vec![StatusCode::INTERNAL_SERVER_ERROR];
        if path.contains('{') {
            problems.push(StatusCode::NOT_FOUND);
        }
        Operation {
            method,
            path,
            id,
            summary,
            access: Access::Open,
            query: None,
            body: None,
            status: StatusCode::OK,
            answer: Answer::Object,
            problems,
            handler,
        }
    }

    /// One that everybody may read.
    pub fn open(path: &'static str, id: &'static str, summary: &'static str, handler: MethodRouter<Api>) -> Self {
        Operation::new(Method::GET, path, id, summary, handler)
    }

    /// One that reads.
    pub fn read(path: &'static str, id: &'static str, summary: &'static str, handler: MethodRouter<Api>) -> Self {
        let read = Operation { access: Access::Read, ..Operation::open(path, id, summary, handler) };
        read.fails(&[400, 401, 403, 421])
    }

    /// One that asks for something: a body of that shape, and `202` with where its fate can be read.
    pub fn ask<B: JsonSchema>(
        path: &'static str,
        id: &'static str,
        summary: &'static str,
        handler: MethodRouter<Api>,
    ) -> Self {
        let ask = Operation {
            access: Access::Write,
            body: Some(shape::<B>),
            status: StatusCode::ACCEPTED,
            answer: Answer::Json(shape::<requests::RequestView>),
            ..Operation::new(Method::POST, path, id, summary, handler)
        };
        ask.fails(&[400, 401, 403, 408, 413, 415, 421, 422])
    }

    /// The same, answering with JSON of that shape.
    pub fn gives<T: JsonSchema>(self) -> Self {
        Operation { answer: Answer::Json(shape::<T>), ..self }
    }

    /// The same, answering with text of that media type.
    pub fn text(self, media_type: &'static str) -> Self {
        Operation { answer: Answer::Text(media_type), ..self }
    }

    /// The same, with a query of that shape.
    pub fn query<T: JsonSchema>(self) -> Self {
        Operation { query: Some(shape::<T>), ..self }
    }

    /// The same, with further statuses, each a problem document.
    pub fn fails(mut self, statuses: &[u16]) -> Self {
        self.problems.extend(statuses.iter().filter_map(|status| StatusCode::from_u16(*status).ok()));
        self.problems.sort();
        self.problems.dedup();
        self
    }
}
