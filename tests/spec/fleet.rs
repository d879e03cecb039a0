//! What two clients cannot share is an error in both files.

use sitewright::spec::defaults::Defaults;
use sitewright::spec::fleet::{FleetFile, validate_fleet};

use crate::good;

fn file(name: &str, client: &str, members: &str) -> FleetFile {
    let text = format!("apiVersion: sitewright/v1\nkind: ClientSpec\nmetadata:\n  name: {client}\nspec:\n{members}");
    FleetFile { file: name.to_owned(), parsed: good(&text).into() }
}

fn found(files: &[FleetFile]) -> Vec<String> {
    let defaults = Defaults { base_domain: Some("agency.example".into()), ..Defaults::default() };
    validate_fleet(files, &defaults)
        .iter()
        .map(|located| located.to_string().lines().next().unwrap().to_owned())
        .collect()
}

#[test]
fn clients_that_share_nothing_are_fine() {
    let files = [
        file("a.yaml", "aa", "  domain: a.example\n  hosting: { port: 4001 }\n"),
        file(
            "b.yaml",
            "bb",
            "  domain: b.example\n  aliases: [www.b.example]\n  hosting: { port: 4001, server: other }\n",
        ),
    ];
    assert_eq!(found(&files), [""; 0]);
}

/// C18.
#[test]
fn one_name_in_two_files_is_an_error_in_both() {
    let files = [
        file("a.yaml", "aa", "  domain: a.example\n  database: { name: one }\n"),
        file("b.yaml", "aa", "  domain: b.example\n  database: { name: two }\n"),
    ];
    assert_eq!(
        found(&files),
        [
            "a.yaml:4:9: metadata.name: the client aa is claimed by b.yaml:4:9 too",
            "b.yaml:4:9: metadata.name: the client aa is claimed by a.yaml:4:9 too",
        ]
    );
}

/// C19.
#[test]
fn a_domain_is_found_in_any_spelling_and_among_aliases() {
    let files = [
        file("a.yaml", "aa", "  domain: shop\n"),
        file("b.yaml", "bb", "  domain: b.example\n  aliases: [x.example, SHOP.agency.example.]\n"),
        file("c.yaml", "cc", "  domain: xn--bcher-kva.example\n"),
        file("d.yaml", "dd", "  domain: BÜCHER.example\n"),
    ];
    assert_eq!(
        found(&files),
        [
            "a.yaml:6:11: spec.domain: the host name shop.agency.example is claimed by b.yaml:7:24 too",
            "b.yaml:7:24: spec.aliases[1]: the host name shop.agency.example is claimed by a.yaml:6:11 too",
            "c.yaml:6:11: spec.domain: the host name xn--bcher-kva.example is claimed by d.yaml:6:11 too",
            "d.yaml:6:11: spec.domain: the host name xn--bcher-kva.example is claimed by c.yaml:6:11 too",
        ]
    );
}

/// C20.
#[test]
fn a_fixed_port_is_shared_only_between_servers() {
    let files = [
        file("a.yaml", "aa", "  domain: a.example\n  hosting: { port: 4001, server: 7 }\n"),
        file("b.yaml", "bb", "  domain: b.example\n  hosting: { port: 4001, server: '7' }\n"),
        file("c.yaml", "cc", "  domain: c.example\n  hosting: { port: 4001, server: 8 }\n"),
    ];
    let found = found(&files);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("a.yaml:7:20: spec.hosting.port: the port 4001 of server 7"), "{found:?}");
}

/// C20.
#[test]
fn databases_and_the_roles_that_belong_to_them_collide() {
    let files = [
        file("a.yaml", "foo", "  domain: a.example\n"),
        file("b.yaml", "foo-a", "  domain: b.example\n"),
        file("c.yaml", "bar", "  domain: c.example\n  database: { name: client_foo }\n"),
    ];
    let found = found(&files);
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(
        found.iter().any(|line| line.starts_with("b.yaml:") && line.contains("client_foo_a is claimed by")),
        "{found:#?}"
    );
}
