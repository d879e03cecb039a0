//! The feature catalogue: which variables a feature switches, and which features it brings along (decisions 23).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde::Deserialize;

use crate::spec::finding::nearest;

/// The catalogue that is built in.
const BUILT_IN: &str = include_str!("features.yaml");
/// Largest catalogue file, in bytes: ten times the built-in one.
pub const CATALOGUE_BYTES_MAX: usize = 64 * 1024;

/// All features there are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Catalogue {
    features: BTreeMap<String, Feature>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Feature {
    #[serde(default)]
    variables: Vec<String>,
    #[serde(default)]
    implies: Vec<String>,
}

/// Why a catalogue cannot be used, with the way out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("feature catalogue: {0}")]
pub struct CatalogueError(String);

impl Catalogue {
    /// The one that is built in.
    pub fn built_in() -> Self {
        // A test reads it; an empty one refuses every feature, which is safe.
        static READ: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::parse(BUILT_IN).unwrap_or_default());
        READ.clone()
    }

    /// Reads a catalogue: a map of `name: { variables: [NAME], implies: [other] }`.
    ///
    /// # Errors
    /// The text is too large, not such a map, names a variable that is none or is reserved, or implies what it does not hold.
    pub fn parse(text: &str) -> Result<Self, CatalogueError> {
        if text.len() > CATALOGUE_BYTES_MAX {
            return Err(CatalogueError(format!("it has {} bytes, at most {CATALOGUE_BYTES_MAX} are read", text.len())));
        }
        let options = serde_yaml::options! {
            strict_booleans: true,
            with_snippet: false,
            merge_keys: serde_yaml::options::MergeKeyPolicy::Error,
        };
        let features: BTreeMap<String, Feature> =
            serde_yaml::from_str_with_options(text, options).map_err(|error| CatalogueError(error.to_string()))?;
        let catalogue = Catalogue { features };
        for (name, feature) in &catalogue.features {
            for variable in &feature.variables {
                catalogue.check_variable(name, variable)?;
            }
            if let Some(unknown) = feature.implies.iter().find(|other| !catalogue.knows(other)) {
                let hint = nearest(unknown, catalogue.names()).map(|near| format!("; did you mean {near}?"));
                let hint = hint.unwrap_or_default();
                return Err(CatalogueError(format!("{name} implies {unknown}, which is not there{hint}")));
            }
        }
        Ok(catalogue)
    }

    fn check_variable(&self, feature: &str, variable: &str) -> Result<(), CatalogueError> {
        let value = crate::resource::env_file::EnvValue::Plain(String::new());
        crate::resource::env_file::check(variable, &value)
            .map_err(|error| CatalogueError(format!("{feature}: {error}")))?;
        if crate::spec::environment::RESERVED_VARIABLES.contains(&variable) {
            return Err(CatalogueError(format!(
                "{feature} switches {variable}, which Sitewright sets itself; rename it"
            )));
        }
        Ok(())
    }

    /// Whether a feature is known.
    pub fn knows(&self, name: &str) -> bool {
        self.features.contains_key(name)
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.features.keys().map(String::as_str)
    }

    /// The feature whose switch a variable is.
    pub fn feature_of(&self, variable: &str) -> Option<&str> {
        let found = self.features.iter().find(|(_, feature)| feature.variables.iter().any(|name| name == variable));
        found.map(|(name, _)| name.as_str())
    }

    /// The listed features with all they bring along, however far.
    pub fn closure<'a>(&'a self, listed: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
        let mut on = BTreeSet::new();
        let mut open: Vec<&str> = listed.into_iter().collect();
        while let Some(name) = open.pop() {
            let Some(feature) = self.features.get(name) else { continue };
            if on.insert(name) {
                open.extend(feature.implies.iter().map(String::as_str));
            }
        }
        on
    }

    /// Every switch of the catalogue: `true` for what is on, an explicit `false` for all others.
    pub fn switches<'a>(&'a self, listed: impl IntoIterator<Item = &'a str>) -> BTreeMap<&'a str, bool> {
        let on = self.closure(listed);
        let mut switches = BTreeMap::new();
        for (name, feature) in &self.features {
            for variable in &feature.variables {
                // Two features may share a switch; one that is on turns it on.
                *switches.entry(variable.as_str()).or_insert(false) |= on.contains(name.as_str());
            }
        }
        switches
    }
}
