//! `validate`: findings on stdout with their place, all at once, and nothing on stdout when there is none.

use crate::{GOOD, Machine};

#[test]
fn a_good_directory_is_silent_on_stdout() {
    let machine = Machine::with_specs(&[("shop.yaml", GOOD)]);
    let ran = machine.run(&["validate"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{ran:?}");
    assert!(ran.err.contains("1 file, valid"), "{ran:?}");
}

#[test]
fn the_shipped_specs_are_valid() {
    let machine = Machine::begin();
    let specs = concat!(env!("CARGO_MANIFEST_DIR"), "/specs");
    let mut command = machine.command(&["validate", specs]);
    let ran = crate::Ran::of(&command.env("SITEWRIGHT_BASE_DOMAIN", "sites.example").output().expect("it starts"));
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{ran:?}");
}

#[test]
fn every_finding_of_every_file_has_its_place() {
    let machine = Machine::with_specs(&[
        ("a.yaml", &GOOD.replace("domain:", "domian:")),
        ("b.yaml", &GOOD.replace("name: shop", "name: Shop").replace("shop.example", "\"*.example\"")),
    ]);
    let ran = machine.run(&["validate"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    for place in ["specs/a.yaml:6:3: ", "specs/b.yaml:4:9: ", "specs/b.yaml:6:11: "] {
        assert!(ran.out.lines().any(|line| line.starts_with(place)), "{place} in {ran:?}");
    }
    assert!(ran.out.contains("domain"), "the nearest known key is named: {ran:?}");
    let report = machine.run(&["validate", "-o", "json"]);
    assert_eq!(report.code, 1);
    assert_eq!(report.json()["valid"], false);
    assert_eq!(report.json()["findings"][0]["file"], "specs/a.yaml");
    assert_eq!(report.json()["findings"][0]["line"], 6);
}

#[test]
fn two_files_of_one_client_are_an_error_in_both() {
    let machine = Machine::with_specs(&[("a.yaml", GOOD), ("b.yaml", GOOD)]);
    let ran = machine.run(&["validate"]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("specs/a.yaml:4:") && ran.out.contains("specs/b.yaml:4:"), "{ran:?}");
    assert_eq!(machine.run(&["validate", "specs/a.yaml"]).code, 0, "one alone is good");
    assert_eq!(machine.run(&["validate", "specs/a.yaml", "./specs/a.yaml"]).code, 0, "the same file twice is one file");
}

#[test]
fn what_is_not_there_is_1() {
    let machine = Machine::begin();
    for path in ["specs", "nothing.yaml"] {
        let ran = machine.run(&["validate", path]);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.err.contains("not there"), "{ran:?}");
    }
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let machine = Machine::with_specs(&[("big.yaml", &"# filler\n".repeat(40_000))]);
    for arguments in [&["validate"][..], &["validate", "specs/big.yaml"]] {
        let ran = machine.run(arguments);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.out.starts_with("specs/big.yaml:1:1: "), "{ran:?}");
    }
}
