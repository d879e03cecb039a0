//! TXT and CAA values between their meaning and Cloudflare's text forms (contracts/cloudflare.md 1.8).

/// Longest character-string inside one TXT record (RFC 1035).
pub(super) const TXT_STRING_BYTES_MAX: usize = 255;

/// The value that a TXT content means: quoted strings decoded and joined, anything else as it stands.
pub(super) fn decode_txt(content: &str) -> String {
    let trimmed = content.trim();
    quoted_strings(trimmed).unwrap_or_else(|| content.to_owned())
}

/// The strings of `"…" "…"` joined; `None` when the text is not of that form.
fn quoted_strings(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    if rest.first() != Some(&b'"') {
        return None;
    }
    while let Some((b'"', after)) = rest.split_first() {
        rest = after;
        loop {
            match rest {
                [b'"', after @ ..] => {
                    rest = after.trim_ascii_start();
                    break;
                }
                [b'\\', a @ b'0'..=b'2', b @ b'0'..=b'9', c @ b'0'..=b'9', after @ ..] => {
                    let code = u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0');
                    bytes.push(u8::try_from(code).ok()?);
                    rest = after;
                }
                [b'\\', escaped, after @ ..] => {
                    bytes.push(*escaped);
                    rest = after;
                }
                [byte, after @ ..] => {
                    bytes.push(*byte);
                    rest = after;
                }
                [] => return None,
            }
        }
    }
    rest.is_empty().then(|| String::from_utf8_lossy(&bytes).into_owned())
}

/// A TXT value as quoted strings of at most [`TXT_STRING_BYTES_MAX`] bytes each, cut between characters.
pub(super) fn encode_txt(value: &str) -> String {
    let mut strings = vec![String::new()];
    let mut length = 0;
    for character in value.chars() {
        if length + character.len_utf8() > TXT_STRING_BYTES_MAX {
            strings.push(String::new());
            length = 0;
        }
        length += character.len_utf8();
        if let Some(last) = strings.last_mut() {
            if matches!(character, '"' | '\\') {
                last.push('\\');
            }
            last.push(character);
        }
    }
    let quoted: Vec<String> = strings.iter().map(|s| format!("\"{s}\"")).collect();
    quoted.join(" ")
}

/// The parts of a CAA value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caa {
    pub(super) flags: u8,
    pub(super) tag: String,
    pub(super) value: String,
}

impl Caa {
    /// Reads `0 issue "letsencrypt.org"`, with or without the quotes.
    pub(super) fn parse(content: &str) -> Option<Caa> {
        let (flags, rest) = content.trim().split_once(char::is_whitespace)?;
        let (tag, value) = rest.trim().split_once(char::is_whitespace)?;
        let value = value.trim();
        let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
        Some(Caa { flags: flags.parse().ok()?, tag: tag.to_ascii_lowercase(), value: value.to_owned() })
    }

    /// The normal form: `flags tag "value"`.
    pub(super) fn content(&self) -> String {
        format!("{} {} \"{}\"", self.flags, self.tag, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quoted_and_plain_texts_mean_the_same() {
        assert_eq!(decode_txt("v=spf1 -all"), "v=spf1 -all");
        assert_eq!(decode_txt("\"v=spf1 -all\""), "v=spf1 -all");
        assert_eq!(decode_txt("\"ab\" \"cd\""), "abcd");
        assert_eq!(decode_txt(r#""a\"b\\c\195\188""#), "a\"b\\cü");
        assert_eq!(decode_txt("\"open"), "\"open");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let value = "ü".repeat(200);
        let encoded = encode_txt(&value);
        assert_eq!(encoded.matches("\" \"").count(), 1);
        assert_eq!(decode_txt(&encoded), value);
    }

    #[test]
    fn caa_values_have_one_normal_form() {
        let wanted = "0 issue \"letsencrypt.org\"";
        assert_eq!(Caa::parse(wanted).map(|c| c.content()).as_deref(), Some(wanted));
        assert_eq!(Caa::parse("0  ISSUE letsencrypt.org").map(|c| c.content()).as_deref(), Some(wanted));
        assert_eq!(Caa::parse("issue"), None);
    }

    proptest! {
        #[test]
        fn every_text_survives_the_way_there_and_back(value in "\\PC{1,600}") {
            prop_assert_eq!(decode_txt(&encode_txt(&value)), value);
        }
    }
}
