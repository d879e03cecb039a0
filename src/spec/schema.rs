//! The JSON Schema of a spec, for editors and pipelines: `sitewright schema`.

use serde_json::Value;

use crate::spec::client_spec::ClientSpec;

/// The schema as pretty JSON text, draft 2020-12, with a final newline.
pub fn text() -> String {
    let mut schema = schemars::schema_for!(ClientSpec).to_value();
    refuse_null(&mut schema);
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

/// An optional member may be left out, but a key without a value is a mistake: the parser says so, and so does this.
fn refuse_null(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::Array(types)) = members.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    members.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(ways)) = members.get_mut("anyOf") {
                ways.retain(|way| way["type"] != "null");
            }
            members.values_mut().for_each(refuse_null);
        }
        Value::Array(items) => items.iter_mut().for_each(refuse_null),
        _ => {}
    }
}
