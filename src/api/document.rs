//! The OpenAPI 3.1 document, made of the table of operations and the types that are served.

use axum::http::StatusCode;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use crate::api::clients::EventView;
use crate::api::operation::{Access, Answer, Operation};
use crate::api::problem::{MEDIA_TYPE, ProblemDocument};
use crate::api::provisioning::SECRET_HEADER;
use crate::api::stream::StreamNotice;

/// Where component schemas stand.
const COMPONENTS: &str = "/components/schemas";

/// Makes it.
pub fn build(operations: &[Operation]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.definitions_path = COMPONENTS.into());
    // What is served always has its members; what is taken may leave the optional ones out.
    let mut given = settings.clone().for_serialize().into_generator();
    let mut taken = settings.for_deserialize().into_generator();
    let mut paths = Map::new();
    for operation in operations {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method.as_str().to_ascii_lowercase()] = describe(operation, &mut given, &mut taken);
    }
    given.subschema_for::<ProblemDocument>();
    given.subschema_for::<EventView>();
    given.subschema_for::<StreamNotice>();
    let mut schemas = taken.take_definitions(true);
    schemas.extend(given.take_definitions(true));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Sitewright",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "A directory of client files, made true and kept true",
            "license": { "name": "MIT", "identifier": "MIT" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "The setting apiToken; reading on loopback needs none" },
                "payloadSecret": { "type": "apiKey", "in": "header", "name": SECRET_HEADER, "description": "The same, as the replaced system sent its secret" },
            },
        },
    })
}

fn describe(operation: &Operation, given: &mut SchemaGenerator, taken: &mut SchemaGenerator) -> Value {
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "security": security(operation.access),
        "parameters": parameters(operation, taken),
        "responses": responses(operation, given),
    });
    if let Some(body) = operation.body {
        described["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": body(taken) } } });
    }
    described
}

fn security(access: Access) -> Value {
    match access {
        Access::Open => json!([]),
        Access::Read => json!([{}, { "token": [] }]),
        Access::Write => json!([{ "token": [] }]),
        Access::WriteAsBefore => json!([{ "token": [] }, { "payloadSecret": [] }]),
    }
}

fn parameters(operation: &Operation, taken: &mut SchemaGenerator) -> Vec<Value> {
    let names = operation.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = names
        .map(|name| {
            let schema = match name {
                "id" => json!({ "type": "integer", "format": "int64" }),
                _ => json!({ "type": "string", "pattern": "^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$" }),
            };
            json!({ "name": name, "in": "path", "required": true, "schema": schema })
        })
        .collect();
    if let Some(query) = operation.query {
        parameters.extend(query_parameters(query(taken), taken));
    }
    if matches!(operation.answer, Answer::Text("text/event-stream")) {
        let schema = json!({ "type": "integer", "format": "int64", "minimum": 0 });
        let description = "Continues behind this event; wins over `after`";
        parameters
            .push(json!({ "name": "Last-Event-ID", "in": "header", "schema": schema, "description": description }));
    }
    parameters
}

/// The members of a query's type, each a parameter; the type itself is no component.
fn query_parameters(reference: schemars::Schema, taken: &mut SchemaGenerator) -> Vec<Value> {
    let name = reference.get("$ref").and_then(Value::as_str).and_then(|text| text.rsplit('/').next());
    let query = name.and_then(|name| taken.definitions_mut().remove(name)).unwrap_or_default();
    let members = query["properties"].as_object().cloned().unwrap_or_default();
    let parameter = |(name, mut schema): (String, Value)| {
        let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
        json!({ "name": name, "in": "query", "schema": schema, "description": description })
    };
    members.into_iter().map(parameter).collect()
}

fn responses(operation: &Operation, given: &mut SchemaGenerator) -> Value {
    let (media_type, schema) = match operation.answer {
        Answer::Json(shape) => ("application/json", shape(given).to_value()),
        Answer::Object => ("application/json", json!({ "type": "object" })),
        Answer::Text(media_type) => (media_type, json!({ "type": "string" })),
    };
    let mut responses = Map::new();
    let well = json!({ "description": words(operation.status), "content": { media_type: { "schema": schema } } });
    responses.insert(operation.status.as_str().into(), well);
    for status in &operation.problems {
        let schema = given.subschema_for::<ProblemDocument>();
        let problem = json!({ "description": words(*status), "content": { MEDIA_TYPE: { "schema": schema } } });
        responses.insert(status.as_str().into(), problem);
    }
    Value::Object(responses)
}

fn words(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Error")
}
