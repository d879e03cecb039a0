//! What a spec may say is accepted and means what it says.

use std::time::Duration;

use serde_json::Value;
use sitewright::resource::removal::{DeletionPolicy, ReclaimPolicy};
use sitewright::spec::client_spec::{Migrations, Mode, State};
use sitewright::spec::defaults::Defaults;
use sitewright::spec::parse::{claimed_name, parse};
use sitewright::spec::placement::{DatabaseProvider, HostingProvider, Issuer};
use sitewright::spec::quantity::AutoOr;
use sitewright::spec::shape::{CLIENT_SPEC, Need, Shape};
use sitewright::spec::validate::Rules;

use crate::{FULL, HEAD, LATER, good};

#[test]
fn the_full_spec_means_what_it_says() {
    let spec = good(FULL).spec;
    assert_eq!(spec.metadata.labels["tier"], "gold");
    assert_eq!(spec.spec.source.repository.as_deref(), Some("agency/cms"));
    assert_eq!(spec.spec.dns.records[1].priority, Some(10));
    assert_eq!(spec.spec.deploy.build_memory.mebibytes(), 4096);
    assert_eq!(spec.spec.health.interval.0, Duration::from_secs(60));
    assert_eq!(spec.spec.environment.len(), 3);
    assert_eq!(spec.spec.deletion_policy, DeletionPolicy::Delete);
}

#[test]
fn members_of_later_providers_are_accepted() {
    let spec = good(LATER).spec;
    assert_eq!(spec.spec.hosting.provider, HostingProvider::Vercel);
    assert_eq!(spec.spec.hosting.server.as_ref().map(|id| id.0.as_str()), Some("12345"));
    assert_eq!(spec.spec.hosting.port, AutoOr::Number(4100));
    assert_eq!(spec.spec.database.provider, DatabaseProvider::External);
    assert_eq!(spec.spec.database.reclaim_policy, ReclaimPolicy::Delete);
    assert_eq!(spec.spec.tls.issuer, Issuer::None);
    assert_eq!(spec.spec.deploy.migrate, Migrations::Off);
    assert_eq!(spec.spec.billing.as_ref().and_then(|billing| billing.monthly_fee), Some(49.95));
    assert_eq!((spec.spec.state, spec.spec.reconcile.mode), (State::Suspended, Mode::Observe));
    assert_eq!(spec.adopted().into_iter().collect::<Vec<_>>(), ["rec-1", "site-9"]);
}

/// G5.
#[test]
fn what_a_spec_leaves_out_has_the_documented_default() {
    let spec = good(HEAD).spec;
    assert_eq!(spec.display_name(), "shop");
    assert_eq!(spec.database_name().unwrap().as_str(), "client_shop");
    assert_eq!(spec.spec.database.reclaim_policy, ReclaimPolicy::Retain);
    assert_eq!(spec.spec.deletion_policy, DeletionPolicy::Delete);
    assert_eq!(spec.spec.reconcile.mode, Mode::Enforce);
    assert!(spec.spec.deploy.health_gate && spec.spec.deploy.rollback_on_failure && !spec.spec.health.identity);
    assert_eq!(spec.spec.hosting.port, AutoOr::Auto);
}

#[test]
fn the_specs_of_the_demo_are_good_and_name_their_schema() {
    let rules = Rules { base_domain: Some("compassdigital.example".into()), ..Rules::default() };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/specs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("# yaml-language-server: $schema="), "{}", path.display());
            let parsed = parse(text.as_bytes(), &rules);
            names.push(parsed.unwrap_or_else(|findings| panic!("{}", crate::shown(&findings))).spec.metadata.name);
        }
    }
    names.sort();
    assert_eq!(names, ["fietsenmaker", "plastimed01", "tuinblog"]);
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_change_nothing() {
    let windows = format!("\u{feff}{}", FULL.replace('\n', "\r\n"));
    assert_eq!(good(&windows).spec, good(FULL).spec);
}

#[test]
fn a_few_aliases_are_fine() {
    let text = format!("{HEAD}  contact: {{ email: &mail a@shop.example }}\n  notify: {{ email: [*mail] }}\n");
    assert_eq!(good(&text).spec.spec.notify.email, ["a@shop.example"]);
}

#[test]
fn quotes_and_words_that_look_like_other_types_stay_texts() {
    let text =
        format!("{HEAD}  environment: {{ COUNTRY: NO, ANSWER: yes, ZERO: \"007\", FLAG: 'true', VERSION: 1.2.3 }}\n");
    let spec = serde_json::to_value(good(&text).spec).unwrap();
    let expected =
        serde_json::json!({"ANSWER": "yes", "COUNTRY": "NO", "FLAG": "true", "VERSION": "1.2.3", "ZERO": "007"});
    assert_eq!(spec["spec"]["environment"], expected);
}

/// H11.
#[test]
fn a_domain_without_a_dot_is_completed_and_others_are_made_canonical() {
    let defaults = Defaults { base_domain: Some("agency.example".into()), ..Defaults::default() };
    for (written, meant) in [
        ("shop", "shop.agency.example"),
        ("Shop.Example.", "shop.example"),
        ("bücher.example", "xn--bcher-kva.example"),
    ] {
        let spec = good(&HEAD.replace("shop.example", written)).spec;
        assert_eq!(spec.domain(&defaults).unwrap().as_str(), meant);
    }
}

#[test]
fn without_a_base_domain_a_short_domain_is_refused_with_both_ways_out() {
    let text = HEAD.replace("shop.example", "shop");
    let findings = parse(text.as_bytes(), &Rules::default()).unwrap_err();
    assert_eq!((findings[0].line, findings[0].column), (6, 11));
    assert!(findings[0].message.contains("baseDomain"), "{}", findings[0].message);
}

#[test]
fn a_broken_file_still_says_whose_it_is() {
    let unknown_key = format!("{HEAD}  colour: red\n");
    let half = "apiVersion: sitewright/v1\nmetadata:\n  name: shop # the shop\nspec: { domain: [";
    for text in [unknown_key.as_str(), half, HEAD] {
        assert_eq!(claimed_name(text.as_bytes()).map(|name| name.to_string()).as_deref(), Some("shop"));
    }
    assert_eq!(claimed_name(b"nothing: here\n"), None);
}

/// The table that files are walked against and the types that they are read into know the same members.
#[test]
fn the_walk_and_the_types_know_the_same_members() {
    let schema: Value = serde_json::from_str(&sitewright::spec::schema::text()).unwrap();
    let mut compared = 0;
    compare(&CLIENT_SPEC, &schema, &schema, "", &mut compared);
    assert!(compared > 60, "only {compared} members were compared");
}

fn resolve<'a>(mut schema: &'a Value, root: &'a Value) -> &'a Value {
    loop {
        if let Some(target) = schema["$ref"].as_str() {
            schema = root.pointer(target.trim_start_matches('#')).unwrap();
        } else if let Some([only]) = schema["anyOf"].as_array().map(Vec::as_slice) {
            schema = only;
        } else {
            return schema;
        }
    }
}

fn compare(shape: &Shape, schema: &Value, root: &Value, path: &str, compared: &mut usize) {
    let schema = resolve(schema, root);
    match shape {
        Shape::Struct(fields) => {
            let properties = schema["properties"].as_object().unwrap_or_else(|| panic!("{path}: {schema}"));
            let known: Vec<&str> = fields.iter().map(|field| field.key).collect();
            for name in properties.keys() {
                assert!(known.contains(&name.as_str()), "{path}.{name} is in the types alone");
            }
            assert_eq!(schema["additionalProperties"], false, "{path}");
            for field in *fields {
                let here = format!("{path}.{}", field.key);
                let property = properties.get(field.key).unwrap_or_else(|| panic!("{here} is in the table alone"));
                let required =
                    schema["required"].as_array().is_some_and(|list| list.iter().any(|name| name == field.key));
                assert_eq!(required, field.need == Need::Required, "{here}");
                *compared += 1;
                compare(&field.shape, property, root, &here, compared);
            }
        }
        Shape::List(item) => compare(item, &schema["items"], root, path, compared),
        Shape::Word(words) => {
            let mut typed: Vec<String> = Vec::new();
            let ways = schema["oneOf"].as_array().cloned().unwrap_or_else(|| vec![schema.clone()]);
            for way in &ways {
                typed.extend(way["const"].as_str().map(str::to_owned));
                typed.extend(way["enum"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
            }
            let mut known: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            typed.sort();
            known.sort();
            assert_eq!(typed, known, "{path}");
        }
        _ => {}
    }
}

/// Editors read the schema beside the specs; `sitewright schema > specs/.schema.json` renews it.
#[test]
fn the_schema_beside_the_specs_is_the_one_of_this_program() {
    let beside = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/specs/.schema.json"));
    assert_eq!(beside, sitewright::spec::schema::text());
}

#[test]
fn the_schema_describes_the_members() {
    let text = sitewright::spec::schema::text();
    for words in ["Host name of the site", "secretRef", "buildMemory", "2020-12"] {
        assert!(text.contains(words), "{words}");
    }
}

#[test]
fn the_schema_accepts_what_the_parser_accepts() {
    let schema: Value = serde_json::from_str(&sitewright::spec::schema::text()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for text in [FULL, LATER, HEAD] {
        let value: Value = serde_yaml::from_str(text).unwrap();
        let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}");
    }
    for member in ["colour: red", "displayName:", "contact:", "plan: gold", "environment: { A: 8 }"] {
        let value: Value = serde_yaml::from_str(&format!("{HEAD}  {member}\n")).unwrap();
        assert!(!validator.is_valid(&value), "{member}");
    }
}
