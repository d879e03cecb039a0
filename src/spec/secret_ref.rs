//! References to secrets that live outside the spec, and values that may be one.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// Where a secret is read from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SecretRef {
    /// A variable of the daemon's environment. Variables that hold provider credentials are refused.
    Env(String),
    /// A file that the daemon can read; one final line break is dropped.
    File(String),
    /// A value encrypted with age, armored.
    Age(String),
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretRef::Env(name) => write!(f, "the variable {name}"),
            SecretRef::File(path) => write!(f, "the file {path}"),
            SecretRef::Age(_) => f.write_str("an age-encrypted value"),
        }
    }
}

/// A reference, wrapped so that it cannot be taken for a value: `{ secretRef: { env: NAME } }`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretReference {
    /// Where the secret is read from: exactly one of `env`, `file`, `age`.
    pub secret_ref: SecretRef,
}

/// A value of `spec.environment`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum EnvironmentValue {
    /// Written in the spec.
    Text(String),
    /// Read when the environment is made.
    Secret(SecretReference),
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = EnvironmentValue;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a secret reference")
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<EnvironmentValue, E> {
        Ok(EnvironmentValue::Text(text.to_owned()))
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<EnvironmentValue, A::Error> {
        SecretReference::deserialize(MapAccessDeserializer::new(map)).map(EnvironmentValue::Secret)
    }
}

impl<'de> Deserialize<'de> for EnvironmentValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

impl JsonSchema for EnvironmentValue {
    fn schema_name() -> Cow<'static, str> {
        "EnvironmentValue".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let reference = generator.subschema_for::<SecretReference>();
        json_schema!({ "anyOf": [{ "type": "string" }, reference] })
    }
}
