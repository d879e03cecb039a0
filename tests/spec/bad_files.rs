//! Everything that can be wrong with one file, with the place and the words a person gets.

use crate::{HEAD, bad, good, shown};

/// Members of `spec` that are wrong: the text, then line:column (line 7 is the first appended), path, a part of the message.
const WRONG_MEMBERS: &[(&str, &str, &str, &str)] = &[
    ("alases: []", "7:3", "spec.alases", "unknown key `alases`"),
    ("plan: gold", "7:9", "spec.plan", "one of `free`, `starter`"),
    ("plan: 7", "7:9", "spec.plan", "this is a number"),
    ("displayName: [a]", "7:16", "spec.displayName", "a text is expected, this is a list"),
    ("displayName: 42", "7:16", "spec.displayName", "a text is expected, this is a number"),
    ("displayName:", "7:14", "spec.displayName", "this is nothing"),
    ("aliases: www.shop.example", "7:12", "spec.aliases", "a list is expected, this is a text"),
    ("aliases: ['*.shop.example']", "7:13", "spec.aliases[0]", "wildcard"),
    ("aliases: [a..example]", "7:13", "spec.aliases[0]", "not a host name"),
    ("aliases: [192.0.2.1]", "7:13", "spec.aliases[0]", "an address"),
    ("aliases: [SHOP.example.]", "7:13", "spec.aliases[0]", "is the domain itself"),
    ("aliases: [a.example, A.example]", "7:24", "spec.aliases[1]", "named twice"),
    ("contact: { name: A }", "7:12", "spec.contact.email", "required and missing"),
    ("contact: { email: nobody }", "7:21", "spec.contact.email", "mailbox address"),
    ("features: [blgo]", "7:14", "spec.features[0]", "`blgo` is not a feature"),
    ("settings: { primaryColor: 7 }", "7:29", "spec.settings.primaryColor", "a text is expected"),
    ("settings: { limit: .inf }", "7:22", "spec.settings.limit", "finite"),
    ("source: { repository: cms }", "7:25", "spec.source.repository", "`owner/name`"),
    ("source: { branch: --upload-pack=x }", "7:21", "spec.source.branch", "a branch is"),
    ("source: { commit: xyz }", "7:21", "spec.source.commit", "hexadecimal"),
    ("hosting: { provider: plio }", "7:24", "spec.hosting.provider", "one of `ploi`, `vercel`"),
    ("hosting: { port: 80 }", "7:20", "spec.hosting.port", "outside 4001-9999"),
    ("hosting: { port: 70000 }", "7:20", "spec.hosting.port", "1 to 65535"),
    ("hosting: { port: many }", "7:20", "spec.hosting.port", "`auto` or a number"),
    ("hosting: { systemUser: root }", "7:26", "spec.hosting.systemUser", "root"),
    ("database: { name: postgres }", "7:21", "spec.database.name", "reserved"),
    ("database: { name: template9 }", "7:21", "spec.database.name", "reserved"),
    ("database: { name: pg_shop }", "7:21", "spec.database.name", "reserved"),
    ("database: { name: Shop }", "7:21", "spec.database.name", "a database name is"),
    ("database: { provider: external }", "7:13", "spec.database.urlFrom", "needs the address"),
    ("database: { reclaimPolicy: delete }", "7:30", "spec.database.reclaimPolicy", "`Retain`, `Delete`"),
    ("dns: { proxied: yes }", "7:19", "spec.dns.proxied", "`true` or `false` is expected"),
    ("dns: { ttl: 30 }", "7:15", "spec.dns.ttl", "60 to 86400"),
    (
        "dns: { records: [{ type: A, name: '@', content: 192.0.2.1 }] }",
        "7:37",
        "spec.dns.records[0].name",
        "from Sitewright",
    ),
    ("dns: { records: [{ type: A, name: a, content: 192.0.2 }] }", "7:49", "spec.dns.records[0].content", "IPv4"),
    ("dns: { records: [{ type: AAAA, name: a, content: 192.0.2.1 }] }", "7:52", "spec.dns.records[0].content", "IPv6"),
    (
        "dns: { records: [{ type: MX, name: '@', content: mx.example }] }",
        "7:20",
        "spec.dns.records[0].priority",
        "needs a priority",
    ),
    (
        "dns: { records: [{ type: TXT, name: '@', content: x, priority: 1 }] }",
        "7:66",
        "spec.dns.records[0].priority",
        "belongs to MX",
    ),
    (
        "dns: { records: [{ type: TXT, name: a.other.example, content: x }] }",
        "7:39",
        "spec.dns.records[0].name",
        "not at or below shop.example",
    ),
    ("dns: { records: [{ type: TXT, name: '*', content: x }] }", "7:39", "spec.dns.records[0].name", "wildcard"),
    (
        "dns: { records: [{ type: CAA, name: '@', content: letsencrypt.org }] }",
        "7:53",
        "spec.dns.records[0].content",
        "flags tag",
    ),
    ("dns: { records: [{ type: SRV, name: a, content: x }] }", "7:28", "spec.dns.records[0].type", "one of `A`"),
    ("dns: { records: [{ type: TXT, name: a }] }", "7:20", "spec.dns.records[0].content", "required and missing"),
    ("tls: { issuer: zerossl }", "7:18", "spec.tls.issuer", "`letsencrypt`, `none`"),
    ("environment: { PORT: '1' }", "7:18", "spec.environment.PORT", "reserved"),
    ("environment: { SITEWRIGHT_OWNER: 'a/b' }", "7:18", "spec.environment.SITEWRIGHT_OWNER", "reserved"),
    ("environment: { ENABLE_BLOG: 'true' }", "7:18", "spec.environment.ENABLE_BLOG", "the feature `blog`"),
    ("environment: { lower: x }", "7:18", "spec.environment.lower", "capitals"),
    ("environment: { A: 8 }", "7:21", "spec.environment.A", "a text is expected, this is a number"),
    ("environment: { A: \"it's $5\" }", "7:21", "spec.environment.A", "no quoting carries both"),
    ("environment: { A: 'x\\' }", "7:21", "spec.environment.A", "backslash"),
    ("environment: { A: \"x\\r\" }", "7:21", "spec.environment.A", "carriage return"),
    (
        "environment: { A: { secretRef: { env: PLOI_API_TOKEN } } }",
        "7:41",
        "spec.environment.A.secretRef.env",
        "belongs to Sitewright",
    ),
    (
        "environment: { A: { secretRef: { env: A, file: /b } } }",
        "7:34",
        "spec.environment.A.secretRef",
        "exactly one of",
    ),
    (
        "environment: { A: { secretRef: { file: ../key } } }",
        "7:42",
        "spec.environment.A.secretRef.file",
        "without `..`",
    ),
    (
        "environment: { A: { secretRef: { file: /run/secrets/../../etc/shadow } } }",
        "7:42",
        "spec.environment.A.secretRef.file",
        "without `..`",
    ),
    ("database: { name: ../../etc/cron }", "7:21", "spec.database.name", "a database name is"),
    ("hosting: { systemUser: ../root }", "7:26", "spec.hosting.systemUser", ""),
    ("source: { repository: ../../etc }", "7:25", "spec.source.repository", "`owner/name`"),
    ("health: { path: //other.example }", "7:19", "spec.health.path", "begins with one `/`"),
    ("environment: { A: { secretRef: { vault: x } } }", "7:36", "spec.environment.A.secretRef.vault", "unknown key"),
    ("deploy: { timeout: 30 }", "7:22", "spec.deploy.timeout", "a duration such as"),
    ("deploy: { timeout: soon }", "7:22", "spec.deploy.timeout", "a duration is"),
    ("deploy: { buildMemory: 4G }", "7:26", "spec.deploy.buildMemory", "a size is"),
    ("deploy: { migrate: always }", "7:22", "spec.deploy.migrate", "`safe`, `off`"),
    ("health: { path: health }", "7:19", "spec.health.path", "begins with one `/`"),
    ("state: paused", "7:10", "spec.state", "`active`, `suspended`"),
    ("reconcile: { mode: dry }", "7:22", "spec.reconcile.mode", "`enforce`, `observe`, `paused`"),
    ("domain: other.example", "7:3", "", "`domain` is there already, in line 6"),
    ("environment: { A: x, A: y }", "7:24", "", "`A` is there already"),
    ("settings: { a: &x { b: *x } }", "7:26", "", "contains it"),
    ("settings: { a: !!str 5 }", "7:24", "", "tag"),
    ("settings: { <<: { b: 1 } }", "7:15", "", "merge key"),
    ("settings: { ? [a] : b }", "7:17", "", "a key is a text"),
];

/// H1, H3, H4, H11.
#[test]
fn every_wrong_member_is_found_at_its_place() {
    for (member, place, path, words) in WRONG_MEMBERS {
        let findings = bad(&format!("{HEAD}  {member}\n"));
        let found = findings
            .iter()
            .any(|f| format!("{}:{}", f.line, f.column) == *place && f.path == *path && f.message.contains(words));
        assert!(found, "{member}\nexpected {place} {path}: …{words}…, got\n{}", shown(&findings));
        assert_eq!(findings.len(), 1, "{member}\n{}", shown(&findings));
    }
}

/// H10. Told with its place and its kind, and never repeated; what only begins alike is a value like any other.
#[test]
fn a_secret_that_is_written_down_is_refused_and_not_repeated() {
    let token = "A1".repeat(20);
    let beginnings =
        ["sk_live_", "rk_live_", "whsec_", "ghp_", "gho_", "ghs_", "github_pat_", "glpat-", "xoxb-", "npm_", "AKIA"];
    let key = "-----BEGIN RSA PRIVATE KEY-----\\nMIIE\\n-----END RSA PRIVATE KEY-----".to_owned();
    for secret in beginnings.map(|beginning| format!("{beginning}{token}")).into_iter().chain([key]) {
        let findings = bad(&format!("{HEAD}  environment: {{ A: \"{secret}\" }}\n"));
        assert_eq!(findings.len(), 1, "{}", shown(&findings));
        let told = shown(&findings);
        assert!(
            told.contains("7:21") && told.contains("no place for a secret") && told.contains("secretRef"),
            "{told}"
        );
        assert!(!told.contains("A1A1") && !told.contains("MIIE"), "{told}");
    }
    for harmless in ["sk_live_", "npm_config_cache", "AKIA", "ghp_ is how they begin", "sk_test_A1A1A1A1A1A1A1A1A1"] {
        good(&format!("{HEAD}  environment: {{ A: \"{harmless}\" }}\n"));
    }
}

/// Whole files that are wrong.
#[test]
fn a_file_that_is_none_is_found_at_its_place() {
    let cases: &[(&str, &str, &str)] = &[
        ("", "1:1", "holds nothing"),
        ("# only a comment\n", "1:1", "holds nothing"),
        ("- a\n", "1:1", "a map is expected, this is a list"),
        ("apiVersion: v1\n", "1:13", "`sitewright/v1` is expected"),
        (&HEAD.replace("ClientSpec", "Client"), "2:7", "`ClientSpec` is expected"),
        (&HEAD.replace("name: shop", "name: Shop_1"), "4:9", "a client name is"),
        (&HEAD.replace("name: shop", "name: all"), "4:9", "pm2"),
        (&HEAD.replace("name: shop", "uid: x"), "4:3", "required and missing"),
        (&format!("{HEAD}---\n{HEAD}"), "7:1", "a second document"),
        (&format!("{HEAD}  plan: [a\n"), "7:9", "not YAML"),
        (&format!("{HEAD}  plan: \u{202e}free\n"), "7:9", "U+202E"),
        (&format!("{HEAD}  plan: \u{0}\n"), "7:9", "U+0000"),
    ];
    for (text, place, words) in cases {
        let findings = bad(text);
        let found = findings.iter().any(|f| format!("{}:{}", f.line, f.column) == *place && f.message.contains(words));
        assert!(found, "{text}\nexpected {place}: …{words}…, got\n{}", shown(&findings));
    }
}

#[test]
fn all_errors_of_a_file_are_told_at_once_and_in_order() {
    let text = format!(
        "{}  plan: gold\n  alases: []\n  environment: {{ PORT: '1', low: x }}\n  dns: {{ ttl: 5 }}\n  plan: free\n",
        HEAD.replace("name: shop", "name: Shop")
    );
    let findings = bad(&text);
    let places: Vec<usize> = findings.iter().map(|finding| finding.line).collect();
    assert_eq!(places, [4, 7, 8, 9, 9, 10, 11], "{}", shown(&findings));
}

#[test]
fn the_report_shows_the_line_what_was_expected_and_the_nearest_key() {
    let findings = bad(&format!("{HEAD}  helth: {{ path: / }}\n  state: actve\n"));
    assert_eq!(
        shown(&findings),
        "shop.yaml:7:3: spec.helth: unknown key `helth`\n  7 |   helth: …\n    |   ^\n  help: did you mean `health`?\n\
         shop.yaml:8:10: spec.state: one of `active`, `suspended` is expected, this is `actve`\n  8 |   state: actve\n    |          ^\n  \
         help: did you mean `active`?"
    );
}

#[test]
fn a_key_that_is_near_none_gets_the_known_ones() {
    let findings = bad(&format!("{HEAD}  tls: {{ certificateAuthority: x }}\n"));
    assert_eq!(findings[0].help.as_deref(), Some("known here: issuer"));
}

#[test]
fn a_line_that_may_hold_a_secret_is_never_shown() {
    let secret = "hunter2";
    let members = [
        format!("  environment:\n    A: \"{secret}'$\"\n    low: {secret}\n    PORT: {secret}\n"),
        format!("  environment: {{ A: {secret}, low: {secret}, PORT: {secret} }}\n"),
        format!("  enviroment:\n    A: {secret}\n"),
        format!("  enviroment: {{ A: {secret} }}\n"),
        format!("  environment:\n    A: {secret}\n    B: [{secret}\n"),
        format!("  environment:\n    A: \"{secret}\n"),
        format!("  environment:\n    A: {{ secretRef: {secret} }}\n"),
        format!("  database: {{ provider: external, urlFrom: {secret} }}\n"),
        format!("  smtpPassword: {secret}\n"),
        format!("  hosting: {{ tokn: {secret} }}\n"),
        format!("  admin: {{ email: a@shop.example, password: {secret} }}\n"),
        format!("  environment: &e {{ A: {secret}, A: {secret} }}\n"),
    ];
    for member in members {
        let findings = bad(&format!("{HEAD}{member}"));
        let text = format!("{} {findings:?}", shown(&findings));
        assert!(!text.contains(secret), "{member}\n{text}");
    }
}
