//! The fields of the wizard: what is asked, and which members of a spec each is about.

/// Longest text of a single line, in characters.
pub const LINE_CHARS_MAX: usize = 300;

/// Fields that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // each is its title
pub enum Group {
    Who,
    Site,
    Source,
    Administration,
    Protection,
}

impl Group {
    /// In the order of the form.
    pub const ALL: [Group; 5] = [Group::Who, Group::Site, Group::Source, Group::Administration, Group::Protection];

    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Group::Who => "Who it is",
            Group::Site => "The site",
            Group::Source => "Source and environment",
            Group::Administration => "People",
            Group::Protection => "When its file goes",
        }
    }
}

/// How an answer is given.
#[derive(Debug, Clone, Copy)]
pub enum Input {
    /// One line.
    Line,
    /// Several.
    Lines,
    /// One of these: value and label.
    Choice(&'static [(&'static str, &'static str)]),
    /// Yes or no.
    Check,
}

/// One field.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name in the query.
    pub name: &'static str,
    /// The member of the spec, with all below it.
    path: &'static str,
    /// For people.
    pub label: &'static str,
    /// What is expected.
    pub help: &'static str,
    /// How it is given.
    pub input: Input,
    /// Where it stands.
    pub group: Group,
    /// Whether a spec needs it.
    pub required: bool,
}

impl Field {
    /// Whether a finding at that path is about this field.
    pub fn is_about(&self, path: &str) -> bool {
        path.strip_prefix(self.path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    }
}

const fn line(group: Group, name: &'static str, path: &'static str, label: &'static str, help: &'static str) -> Field {
    Field { name, path, label, help, input: Input::Line, group, required: false }
}

const fn needed(field: Field) -> Field {
    Field { required: true, ..field }
}

const fn with(field: Field, input: Input) -> Field {
    Field { input, ..field }
}

/// All of them.
pub const FIELDS: &[Field] = &[
    needed(line(
        Group::Who,
        "name",
        "metadata.name",
        "Name",
        "Its identity for life: lower-case letters, digits and hyphens.",
    )),
    line(Group::Who, "displayName", "spec.displayName", "Name for people", "As it is written on the site."),
    needed(line(Group::Who, "domain", "spec.domain", "Domain", "The host name of the site.")),
    line(Group::Who, "labels", "metadata.labels", "Labels", "Such as tier=gold, with commas between them."),
    with(
        line(
            Group::Who,
            "aliases",
            "spec.aliases",
            "Aliases",
            "Further host names, one a line; served and certified too.",
        ),
        Input::Lines,
    ),
    with(
        line(Group::Site, "template", "spec.template", "Template", "The kind of site."),
        Input::Choice(&[
            ("", "default: corporate"),
            ("corporate", "corporate"),
            ("ecommerce", "ecommerce"),
            ("blog", "blog"),
            ("b2b", "b2b"),
            ("portfolio", "portfolio"),
        ]),
    ),
    with(
        line(Group::Site, "plan", "spec.plan", "Plan", "What the client pays for."),
        Input::Choice(&[
            ("", "default: starter"),
            ("free", "free"),
            ("starter", "starter"),
            ("professional", "professional"),
            ("enterprise", "enterprise"),
        ]),
    ),
    with(
        line(
            Group::Site,
            "proxied",
            "spec.dns",
            "Behind the DNS provider’s proxy",
            "Switched on once its certificate is active at the origin.",
        ),
        Input::Check,
    ),
    with(
        line(Group::Site, "issuer", "spec.tls", "Certificate", "Who signs it."),
        Input::Choice(&[
            ("", "default: Let’s Encrypt"),
            ("letsencrypt", "Let’s Encrypt"),
            ("none", "none: plain HTTP"),
        ]),
    ),
    line(Group::Source, "repository", "spec.source.repository", "Repository", "owner/name; else that of the settings."),
    line(Group::Source, "branch", "spec.source.branch", "Branch", "Else that of the settings."),
    line(Group::Source, "commit", "spec.source.commit", "Commit", "Pins one release; else the branch’s head counts."),
    with(
        line(
            Group::Source,
            "environment",
            "spec.environment",
            "Variables",
            "NAME=value, one a line. Secrets are referred to: NAME=@env:VARIABLE or NAME=@file:/path.",
        ),
        Input::Lines,
    ),
    line(
        Group::Administration,
        "adminEmail",
        "spec.admin.email",
        "Administrator’s mailbox",
        "The first login of the CMS, created once.",
    ),
    line(Group::Administration, "adminName", "spec.admin.name", "Administrator’s name", "Else the client’s."),
    line(Group::Administration, "contactEmail", "spec.contact.email", "Contact’s mailbox", "A person at the client."),
    line(Group::Administration, "contactName", "spec.contact.name", "Contact’s name", "Needs the mailbox."),
    line(Group::Administration, "contactPhone", "spec.contact.phone", "Contact’s telephone", "Needs the mailbox."),
    with(
        line(Group::Protection, "reclaimPolicy", "spec.database", "Database", "What becomes of it."),
        Input::Choice(&[
            ("", "default: Retain"),
            ("Retain", "Retain: it is kept"),
            ("Delete", "Delete: dropped after its grace"),
        ]),
    ),
    with(
        line(
            Group::Protection,
            "deletionPolicy",
            "spec.deletionPolicy",
            "Everything else",
            "What becomes of the site and its records.",
        ),
        Input::Choice(&[
            ("", "default: Delete"),
            ("Delete", "Delete: taken down slowly"),
            ("Retain", "Retain: left as it is"),
        ]),
    ),
];
