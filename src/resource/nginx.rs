//! The grammar of nginx configuration, as far as it takes to find a statement and its bytes: words, strings, comments,
//! blocks.

/// Longest text in bytes; a virtual host has a few kilobytes.
pub const TEXT_BYTES_MAX: usize = 256 * 1024;
/// Deepest nesting; nginx's own blocks nest five deep.
const DEPTH_MAX: usize = 32;
/// What separates words, and nothing else does: a form feed is part of one.
const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

/// One word of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// What stands there, without its quotes.
    pub text: String,
    /// Byte where `text` begins.
    pub inner: usize,
}

/// A block that a statement opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Its number: the place of the statement that opens it among all.
    pub id: usize,
    /// First byte behind the brace.
    pub body: usize,
}

/// A directive with its arguments, ended by `;` or by the brace of its block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The name, then the arguments.
    pub words: Vec<Word>,
    /// First byte.
    pub start: usize,
    /// First byte behind the last word.
    pub end: usize,
    /// The block it stands in; `None` at the top.
    pub block: Option<usize>,
    /// The block it opens.
    pub opens: Option<Block>,
}

impl Statement {
    /// The directive.
    pub fn name(&self) -> &str {
        self.words.first().map_or("", |word| word.text.as_str())
    }

    /// The statement that opened the block it stands in.
    pub fn parent<'a>(&self, all: &'a [Statement]) -> Option<&'a Statement> {
        all.get(self.block?)
    }
}

/// All statements in the order of the text.
///
/// # Errors
/// One sentence: too long, a brace or quote without its partner, a statement without its end, embedded program text.
pub fn statements(text: &str) -> Result<Vec<Statement>, String> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("the virtual host is longer than {TEXT_BYTES_MAX} bytes; shorten it by hand"));
    }
    if text.contains('\0') {
        return Err("the virtual host holds a NUL; restore it by hand".into());
    }
    let mut reader = Reader { text, at: 0 };
    let mut found = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    let mut words: Vec<(Word, usize, usize)> = Vec::new();
    while let Some(token) = reader.next()? {
        match token {
            Token::Word(word, start, end) => words.push((word, start, end)),
            Token::End => found.push(statement(&mut words, open.last().copied(), None, &reader)?),
            Token::Open => {
                let opened = Block { id: found.len(), body: reader.at };
                found.push(statement(&mut words, open.last().copied(), Some(opened), &reader)?);
                if found.last().is_some_and(|s| s.name().ends_with("_by_lua_block")) {
                    return Err(format!(
                        "line {}: embedded Lua cannot be read for certain; mend this file by hand",
                        reader.line()
                    ));
                }
                open.push(opened.id);
                if open.len() > DEPTH_MAX {
                    return Err(format!(
                        "line {}: blocks nest deeper than {DEPTH_MAX}; mend this file by hand",
                        reader.line()
                    ));
                }
            }
            Token::Close => {
                if !words.is_empty() {
                    return Err(format!(
                        "line {}: a statement lacks its semicolon; mend this file by hand",
                        reader.line()
                    ));
                }
                if open.pop().is_none() {
                    return Err(format!(
                        "line {}: a closing brace has no partner; mend this file by hand",
                        reader.line()
                    ));
                }
            }
        }
    }
    if !open.is_empty() || !words.is_empty() {
        return Err("the virtual host ends in the middle of a block or statement; restore it by hand".into());
    }
    Ok(found)
}

fn statement(
    words: &mut Vec<(Word, usize, usize)>,
    block: Option<usize>,
    opens: Option<Block>,
    reader: &Reader<'_>,
) -> Result<Statement, String> {
    let (Some(first), Some(last)) = (words.first(), words.last()) else {
        return Err(format!(
            "line {}: a semicolon or brace without a directive; mend this file by hand",
            reader.line()
        ));
    };
    let (start, end) = (first.1, last.2);
    Ok(Statement { words: words.drain(..).map(|(word, _, _)| word).collect(), start, end, block, opens })
}

enum Token {
    /// A word with the bytes it takes, quotes included.
    Word(Word, usize, usize),
    End,
    Open,
    Close,
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn line(&self) -> usize {
        self.text.get(..self.at).unwrap_or_default().matches('\n').count() + 1
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn next(&mut self) -> Result<Option<Token>, String> {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start_matches(BLANKS).len();
            let comment = rest.get(blank..).filter(|tail| tail.starts_with('#'));
            let skip = blank + comment.map_or(0, |tail| tail.find('\n').unwrap_or(tail.len()));
            if skip == 0 {
                break;
            }
            self.at += skip;
        }
        let single = match self.rest().chars().next() {
            None => return Ok(None),
            Some(';') => Some(Token::End),
            Some('{') => Some(Token::Open),
            Some('}') => Some(Token::Close),
            Some('"' | '\'') => return self.quoted().map(Some),
            Some(_) => None,
        };
        match single {
            Some(token) => {
                self.at += 1;
                Ok(Some(token))
            }
            None => Ok(Some(self.bare())),
        }
    }

    /// Up to the partner of the quote; a backslash hides the character behind it.
    fn quoted(&mut self) -> Result<Token, String> {
        let start = self.at;
        let mut chars = self.rest().char_indices();
        let quote = chars.next().map(|(_, c)| c);
        let mut end = None;
        while let Some((at, c)) = chars.next() {
            if c == '\\' {
                chars.next();
            } else if Some(c) == quote {
                end = Some(start + at);
                break;
            }
        }
        let Some(end) = end else {
            return Err(format!("line {}: a quote has no partner; mend this file by hand", self.line()));
        };
        let text = self.text.get(start + 1..end).unwrap_or_default().to_owned();
        self.at = end + 1;
        let ends = self.rest().chars().next().is_none_or(|c| BLANKS.contains(&c) || matches!(c, ';' | '{' | ')'));
        if !ends {
            return Err(format!("line {}: text follows a closing quote; mend this file by hand", self.line()));
        }
        Ok(Token::Word(Word { text, inner: start + 1 }, start, self.at))
    }

    /// Up to a blank, `;` or `{`; `${name}` is part of the word, a backslash hides the character behind it.
    fn bare(&mut self) -> Token {
        let start = self.at;
        let mut length = 0;
        let mut previous = ' ';
        let mut chars = self.rest().char_indices();
        while let Some((at, c)) = chars.next() {
            if BLANKS.contains(&c) || c == ';' || (c == '{' && previous != '$') {
                break;
            }
            length = at + c.len_utf8();
            previous = c;
            if c == '\\'
                && let Some((at, hidden)) = chars.next()
            {
                length = at + hidden.len_utf8();
                previous = ' ';
            }
        }
        self.at = start + length;
        let text = self.rest_before(start).to_owned();
        Token::Word(Word { text, inner: start }, start, self.at)
    }

    fn rest_before(&self, start: usize) -> &str {
        self.text.get(start..self.at).unwrap_or_default()
    }
}
