//! Credentials that were written where everybody reads them: values that look like what a provider issues.

use crate::spec::validate::{Problem, Verdict};

/// A beginning that a provider gives to its secrets and to nothing else, how many characters follow at least, and whose it is.
const BEGINNINGS: &[(&str, usize, &str)] = &[
    ("sk_live_", 16, "a Stripe secret key"),
    ("rk_live_", 16, "a Stripe restricted key"),
    ("whsec_", 16, "a Stripe webhook secret"),
    ("ghp_", 30, "a GitHub token"),
    ("gho_", 30, "a GitHub token"),
    ("ghs_", 30, "a GitHub token"),
    ("github_pat_", 30, "a GitHub token"),
    ("glpat-", 16, "a GitLab token"),
    ("xoxb-", 16, "a Slack token"),
    ("xoxp-", 16, "a Slack token"),
    ("npm_", 30, "an npm token"),
    ("AKIA", 16, "an AWS access key"),
];

/// Refuses a value that is a secret by its look; the value is not repeated.
pub fn check(text: &str) -> Verdict {
    match kind(text.trim()) {
        Some(kind) => Err(Problem::with_help(
            format!("this looks like {kind}, and a spec is no place for a secret"),
            "refer to it, `{ secretRef: { env: NAME } }`, and renew it if the file was shared",
        )),
        None => Ok(()),
    }
}

fn kind(text: &str) -> Option<&'static str> {
    if text.contains("-----BEGIN") && text.contains("PRIVATE KEY-----") {
        return Some("a private key");
    }
    let is_token = |rest: &str| rest.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    let of = |(beginning, length, kind): &(&str, usize, &'static str)| {
        text.strip_prefix(beginning).filter(|rest| rest.len() >= *length && is_token(rest)).map(|_| *kind)
    };
    BEGINNINGS.iter().find_map(of)
}
