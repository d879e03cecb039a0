//! The catalogue: what is listed is on with all it implies, everything else is off and says so.

use sitewright::spec::features::Catalogue;

#[test]
fn the_built_in_catalogue_reads() {
    let catalogue = Catalogue::built_in();
    assert_eq!(catalogue.names().count(), 71);
    assert_eq!(catalogue.switches([]).len(), 70);
}

#[test]
fn what_is_not_listed_is_an_explicit_false() {
    let catalogue = Catalogue::built_in();
    let switches = catalogue.switches(["blog"]);
    assert!(switches["ENABLE_BLOG"]);
    assert_eq!(switches.values().filter(|on| **on).count(), 1);
}

#[test]
fn implied_features_come_along() {
    let catalogue = Catalogue::built_in();
    let switches = catalogue.switches(["ecommerce", "auth"]);
    let mut on: Vec<&str> = switches.iter().filter(|(_, on)| **on).map(|(name, _)| *name).collect();
    on.sort_unstable();
    assert_eq!(
        on,
        [
            "ECOMMERCE_ENABLED",
            "ENABLE_AUTHENTICATION",
            "ENABLE_CART",
            "ENABLE_CHECKOUT",
            "ENABLE_MINI_CART",
            "ENABLE_MY_ACCOUNT",
            "ENABLE_SHOP",
            "NEXT_PUBLIC_ECOMMERCE_ENABLED",
        ]
    );
}

#[test]
fn implications_reach_any_distance_and_circles_end() {
    let catalogue = Catalogue::parse(
        "a: { variables: [A_ON], implies: [b] }\nb: { variables: [B_ON], implies: [c] }\nc: { variables: [C_ON], implies: [a] }\nd: { variables: [D_ON] }\n",
    )
    .unwrap();
    let switches = catalogue.switches(["a"]);
    assert_eq!(
        switches.into_iter().collect::<Vec<_>>(),
        [("A_ON", true), ("B_ON", true), ("C_ON", true), ("D_ON", false)]
    );
}

#[test]
fn a_bad_catalogue_says_what_is_wrong() {
    for (text, words) in [
        ("a: { implies: [bb] }\nbc: {}\n", "did you mean bc"),
        ("a: { variables: [PORT] }\n", "Sitewright sets itself"),
        ("a: { variables: [lower] }\n", "capitals"),
        ("a: { variable: [A] }\n", "variable"),
        ("- a\n", "catalogue"),
    ] {
        let error = Catalogue::parse(text).unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
}
