//! HTML in the making: a text of others goes in escaped, or not at all.

use std::fmt::{self, Write as _};

use jiff::Timestamp;

use crate::api::moment;
use crate::spec::finding::is_hidden;

/// HTML in the making.
#[derive(Debug, Default)]
pub struct Html(String);

impl Html {
    /// Appends markup; every text of others in it is wrapped in [`text`].
    pub fn put(&mut self, markup: fmt::Arguments<'_>) {
        let _ = self.0.write_fmt(markup); // writing to a String cannot fail
    }

    /// What was made.
    pub fn finish(self) -> String {
        self.0
    }
}

impl fmt::Display for Html {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text of others, as it may stand between tags and inside a quoted attribute. What steers a reader without being seen
/// (control characters, direction overrides) shows as U+FFFD; lines stay lines.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a>(&'a str);

/// Escapes when it is shown.
pub fn text(text: &str) -> Text<'_> {
    Text(text)
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\n' | '\t' => f.write_char(c)?,
                c if is_hidden(c) => f.write_char('\u{fffd}')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// A text with a place to break a line behind each dot, hyphen and slash: long host names fit a phone.
pub fn breakable(name: &str) -> String {
    let mut out = String::new();
    for part in name.split_inclusive(['.', '-', '/', '_']) {
        let _ = write!(out, "{}<wbr>", text(part)); // writing to a String cannot fail
    }
    out.strip_suffix("<wbr>").map(str::to_owned).unwrap_or(out)
}

/// A moment as people say it, with the exact one in `datetime` and as a title.
pub fn time(at: Timestamp, now: Timestamp) -> String {
    format!("<time datetime=\"{at}\" title=\"{at:.0}\">{}</time>", moment::relative(at, now))
}

/// How long something has been so, with the moment when it began.
pub fn lasting(since: Timestamp, now: Timestamp) -> String {
    format!("<time datetime=\"{since}\" title=\"since {since:.0}\">{}</time>", moment::took(since, now))
}

/// The same as [`time`]; a dash with a word for screen readers where there is none.
pub fn time_or(at: Option<Timestamp>, now: Timestamp, none: &str) -> String {
    at.map_or_else(|| absent(none), |at| time(at, now))
}

/// What is not there, or not known: a dash for eyes, the word for everybody else.
pub fn absent(word: &str) -> String {
    format!(
        "<span class=\"absent\" title=\"{0}\"><span aria-hidden=\"true\">–</span><span class=\"unseen\">{0}</span></span>",
        text(word)
    )
}

/// An address that may be followed: `http` and `https` alone.
pub fn link(url: &str, label: &str) -> String {
    let is_web = url.starts_with("https://") || url.starts_with("http://");
    if !is_web {
        return text(label).to_string();
    }
    format!("<a href=\"{}\" rel=\"noreferrer external\">{}</a>", text(url), breakable(label))
}

/// `1 client`, `2 clients`.
pub fn counted(number: usize, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_others_stay_texts() {
        let nasty = "<script>alert('x')</script>\u{1b}[31m\u{202e}\"&";
        let shown = text(nasty).to_string();
        assert_eq!(shown, "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;\u{fffd}[31m\u{fffd}&quot;&amp;");
        assert_eq!(breakable("a.b-c"), "a.<wbr>b-<wbr>c");
        assert_eq!(breakable("<.>"), "&lt;.<wbr>&gt;");
        assert_eq!(link("javascript:alert(1)", "x"), "x");
        assert_eq!(text("a\nb").to_string(), "a\nb", "a log keeps its lines");
    }
}
