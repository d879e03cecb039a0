//! Values as somebody writes them who wants our shell, our database or another client's site.

use fastrand::Rng;

/// Pieces that mean something to a shell, to SQL, to an environment file or to a terminal.
const PIECES: &[&str] = &[
    "'",
    "''",
    "'\\''",
    "\"",
    "`",
    "\\",
    "\\'",
    "\\\\",
    "$",
    "$(touch canary)",
    "`touch canary`",
    "${IFS}",
    "$'\\n'",
    "$((1+1))",
    "\n",
    "\r",
    "\r\n",
    "\t",
    "\0",
    "\u{1b}[2J",
    "\u{7f}",
    "\u{85}",
    "\u{a0}",
    "\u{2028}",
    "\u{202e}",
    "\u{feff}",
    "é",
    "漢",
    "🙂",
    " ",
    "  ",
    ";",
    "; touch canary",
    "&",
    "&&",
    "|",
    "||",
    ">",
    "> canary",
    "<<EOF\n",
    "EOF",
    "<(id)",
    "#",
    "# x",
    "!",
    "!!",
    "*",
    "?",
    "~",
    "{a,b}",
    "(",
    ")",
    "[",
    "]",
    "}",
    "{",
    "if",
    "fi",
    "done",
    "esac",
    "=",
    "A=b",
    "export X",
    "SW_SITE_DIR=/",
    "-oProxyCommand=x",
    "--upload-pack=x",
    "-n",
    "../..",
    "/",
    ".",
    "..",
    "--",
    "/*",
    "*/",
    "; DROP DATABASE x; --",
    "' OR '1'='1",
    "\"; DROP ROLE x; --",
    "$$",
    "$x$",
    "E'\\'",
    "U&'",
    "\\x00",
    "%s",
    "client_",
    "pg_x",
    "template1",
    "postgres",
    "a",
    "B",
    "7",
    "_",
    "-",
];

/// A value over all pieces; now and then a very long one.
pub fn any(dice: &mut Rng) -> String {
    let mut value: String = (0..dice.usize(0..8)).map(|_| piece(dice)).collect();
    if dice.u8(0..64) == 0 {
        value = value.repeat(dice.usize(0..2_000));
    }
    value
}

/// A value that is often good: of plain characters, with at most one piece in it.
pub fn nearly(plain: &str, dice: &mut Rng) -> String {
    let mut value = plain.to_owned();
    for _ in 0..dice.usize(0..4) {
        let places: Vec<usize> = value.char_indices().map(|(at, _)| at).chain([value.len()]).collect();
        let at = places[dice.usize(0..places.len())];
        value.insert(at, char::from(b"abz09"[dice.usize(0..5)]));
    }
    if dice.bool() {
        let at = dice.usize(0..=plain.len());
        let at = if value.is_char_boundary(at) { at } else { 0 };
        value.insert_str(at, piece(dice));
    }
    value
}

fn piece(dice: &mut Rng) -> &'static str {
    PIECES[dice.usize(0..PIECES.len())]
}
