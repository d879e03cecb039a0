//! What makes a new generation, and what a living client refuses.

use sitewright::spec::change::{refused_changes, spec_hash};
use sitewright::spec::defaults::Defaults;

use crate::{FULL, HEAD, good};

fn hash(text: &str) -> String {
    spec_hash(&good(text).spec)
}

#[test]
fn labels_comments_order_and_spelling_are_no_new_generation() {
    let base = hash(FULL);
    let same = [
        FULL.replace("tier: gold", "tier: silver"),
        FULL.replace("# stays for life", "# other words"),
        FULL.replace("timeout: 30m", "timeout: 1800s"),
        FULL.replace("buildMemory: 4GiB", "buildMemory: 4096MiB"),
        FULL.replace("    port: auto\n", ""),
        FULL.replace("  labels:", "  annotations: { note: hello }\n  labels:"),
        FULL.replace("    provider: ploi\n    port: auto\n", "    port: auto\n    provider: ploi\n"),
    ];
    for text in same {
        assert_ne!(text, FULL, "the replacement found its place");
        assert_eq!(hash(&text), base, "{text}");
    }
    assert_eq!(base.len(), 64);
}

#[test]
fn what_the_spec_asks_for_and_what_it_adopts_are_a_new_generation() {
    let base = hash(FULL);
    let other = [
        FULL.replace("plan: professional", "plan: starter"),
        FULL.replace("branch: main", "branch: next"),
        FULL.replace("PLASTIMED_SMTP_PASSWORD", "OTHER_PASSWORD"),
        FULL.replace("  labels:", "  annotations: { sitewright/adopt: rec-1 }\n  labels:"),
        FULL.replace("notify: { email: [ops@agency.example] }", "notify: { email: [] }"),
    ];
    for text in other {
        assert_ne!(hash(&text), base, "{text}");
    }
}

/// C28.
#[test]
fn members_that_would_move_a_client_are_refused_with_the_way_out() {
    let defaults = Defaults { server: Some(sitewright::resource::name::ServerId::trusted("1")), ..Defaults::default() };
    let old = good(HEAD).spec;
    let cases = [
        ("  hosting: { provider: vercel }\n", "spec.hosting.provider"),
        ("  hosting: { server: 2 }\n", "spec.hosting.server"),
        ("  hosting: { systemUser: shop }\n", "spec.hosting.systemUser"),
        ("  database: { provider: sqlite }\n", "spec.database.provider"),
        ("  database: { name: other }\n", "spec.database.name"),
    ];
    for (member, field) in cases {
        let refused = refused_changes(&old, &good(&format!("{HEAD}{member}")).spec, &defaults);
        assert_eq!(refused.iter().map(|change| change.field).collect::<Vec<_>>(), [field]);
        assert!(refused[0].message.contains("put it back, or"), "{}", refused[0].message);
    }
    let moved = good(&HEAD.replace("shop.example", "other.example")).spec;
    assert_eq!(refused_changes(&old, &moved, &defaults)[0].field, "spec.domain");
}

#[test]
fn writing_a_default_out_and_another_port_are_allowed() {
    let defaults = Defaults { server: Some(sitewright::resource::name::ServerId::trusted("1")), ..Defaults::default() };
    let new = good(&format!(
        "{}  hosting: {{ provider: ploi, server: 1, systemUser: ploi, port: 4100 }}\n  database: {{ name: client_shop }}\n",
        HEAD.replace("shop.example", "SHOP.example.")
    ));
    assert_eq!(refused_changes(&good(HEAD).spec, &new.spec, &defaults), []);
}
