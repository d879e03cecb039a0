//! An environment file as the site's shell and its reader take it.

use std::collections::BTreeMap;

/// The variables, or the number of the first line that is none. A quoted value may go over several lines.
pub fn parse(text: &str) -> Result<BTreeMap<String, String>, usize> {
    let mut values = BTreeMap::new();
    let (mut rest, mut line) = (text, 1);
    while !rest.is_empty() {
        let (first, _) = rest.split_once('\n').unwrap_or((rest, ""));
        let length = if first.trim().is_empty() || first.trim_start().starts_with('#') {
            first.len()
        } else {
            let (name, value, length) = assignment(rest).ok_or(line)?;
            values.insert(name.to_owned(), value.to_owned());
            length
        };
        let (taken, after) = rest.split_at(length);
        line += taken.matches('\n').count() + 1;
        rest = after.strip_prefix('\n').unwrap_or(after);
    }
    Ok(values)
}

/// Name, value and length of the assignment at the start; `None` when a shell would read something else.
fn assignment(text: &str) -> Option<(&str, &str, usize)> {
    let (name, value) = text.split_once('=')?;
    let named = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !named {
        return None;
    }
    let (inner, outer) = match value.chars().next() {
        Some(quote @ ('\'' | '"')) => {
            let (inner, after) = value.get(1..)?.split_once(quote)?;
            let safe = quote == '\'' || !inner.contains(['$', '`', '\\']);
            (Some(inner).filter(|_| safe)?, after)
        }
        _ => {
            let plain = |c: char| !c.is_whitespace() && !"'\"$`\\;&|<>()#*?!".contains(c);
            value.split_at(value.find(|c| !plain(c)).unwrap_or(value.len()))
        }
    };
    let trailing = outer.split('\n').next().unwrap_or_default();
    let length = text.len() - outer.len() + trailing.len();
    trailing.trim().is_empty().then_some((name, inner, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_and_plain_values_are_read_and_others_are_refused() {
        let values = parse("# c\nA='x $y'\nB=\"it's\"\nC=4001\n\n").unwrap();
        assert_eq!(values["A"], "x $y");
        assert_eq!(values["B"], "it's");
        assert_eq!(values["C"], "4001");
        assert_eq!(parse("A=1\nB=$(id)\n"), Err(2));
        assert_eq!(parse("A=\"$x\"\n"), Err(1));
        assert_eq!(parse("A='open\n"), Err(1));
        assert_eq!(parse("A='1'x\n"), Err(1));
        let values = parse("A='two\nlines' \nB=\nC=1").unwrap();
        assert_eq!((values["A"].as_str(), values["B"].as_str(), values["C"].as_str()), ("two\nlines", "", "1"));
        assert_eq!(parse("A='two\nlines'\nB=$x\n"), Err(3));
        assert_eq!(parse("no equals\n"), Err(1));
    }
}
