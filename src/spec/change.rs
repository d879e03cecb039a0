//! What makes a new generation, and which changes of a living client are refused (decisions 31).

use aws_lc_rs::digest;
use serde::Serialize;
use serde_json::Value;

use crate::resource::hex::hex;
use crate::spec::client_spec::{ADOPT_ANNOTATION, ClientSpec};
use crate::spec::defaults::Defaults;

/// SHA-256, in hexadecimal, of what a spec asks for: its `spec` with every default filled in, and the annotation that
/// adopts. Labels, other annotations, comments, order, spelling of durations and the file's name do not count.
pub fn spec_hash(spec: &ClientSpec) -> String {
    let asked = serde_json::json!({
        "name": spec.metadata.name,
        "adopt": spec.metadata.annotations.get(ADOPT_ANNOTATION).map(|_| spec.adopted()),
        "spec": serde_json::to_value(&spec.spec).unwrap_or_default(),
    });
    let text = canonical(asked).to_string();
    hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
}

/// The same JSON with the keys of every map sorted.
fn canonical(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().map(|(key, value)| (key, canonical(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(canonical).collect()),
        other => other,
    }
}

/// A change that is not made, with the way out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusedChange {
    /// The member, as a path.
    pub field: &'static str,
    /// What stays as it is, and what a person can do instead.
    pub message: String,
}

/// Changes that would move or replace what a client has. What the settings fill in counts like what is written, so
/// writing a default out is no change.
pub fn refused_changes(old: &ClientSpec, new: &ClientSpec, defaults: &Defaults) -> Vec<RefusedChange> {
    let domain = |spec: &ClientSpec| match spec.domain(defaults) {
        Ok(name) => name.to_string(),
        Err(_) => spec.spec.domain.clone(),
    };
    let server = |spec: &ClientSpec| spec.server(defaults).map(|id| id.to_string()).unwrap_or_default();
    let database = |spec: &ClientSpec| spec.database_name().map(|name| name.to_string()).unwrap_or_default();
    let members: [(&'static str, String, String, &str); 6] = [
        ("spec.domain", domain(old), domain(new), "add the new name to spec.aliases, or make a second client for it"),
        (
            "spec.hosting.provider",
            old.spec.hosting.provider.name().to_owned(),
            new.spec.hosting.provider.name().to_owned(),
            "make a second client at the other host and remove this one when it serves",
        ),
        (
            "spec.hosting.server",
            server(old),
            server(new),
            "make a second client on the other server and remove this one when it serves",
        ),
        (
            "spec.hosting.systemUser",
            old.system_user(defaults),
            new.system_user(defaults),
            "make a second client under the other user and remove this one when it serves",
        ),
        (
            "spec.database.provider",
            old.spec.database.provider.name().to_owned(),
            new.spec.database.provider.name().to_owned(),
            "make a second client with the other database and move the data there",
        ),
        (
            "spec.database.name",
            database(old),
            database(new),
            "make a second client with the other database and move the data there",
        ),
    ];
    let changed = members.into_iter().filter(|(_, from, to, _)| from != to);
    changed
        .map(|(field, from, to, way_out)| RefusedChange {
            field,
            message: format!("{field} cannot change from {from} to {to} in a living client; put it back, or {way_out}"),
        })
        .collect()
}
