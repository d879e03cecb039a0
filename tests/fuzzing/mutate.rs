//! One input of a seed: a realistic one, bent in a few places.

use fastrand::Rng;

/// Longest input; a quarter of a megabyte is what the longest files that are read may have.
const BYTES_MAX: usize = if cfg!(debug_assertions) { 16 * 1024 } else { 256 * 1024 };
/// Bends of one input.
const BENDS_MAX: usize = 6;

/// What readers stumble over.
const WORDS: &[&[u8]] = &[
    b"'",
    b"\"",
    b"`",
    b"\\",
    b"'\\''",
    b"\n",
    b"\r\n",
    b"\r",
    b"\t",
    b"\0",
    b"\x0c",
    b" ",
    b"#",
    b"=",
    b":",
    b": ",
    b",",
    b";",
    b"{",
    b"}",
    b"[",
    b"]",
    b"{}",
    b"[]",
    b"- ",
    b"? ",
    b"| ",
    b">-\n",
    b"&a ",
    b"*a",
    b"<<: ",
    b"!!str ",
    b"---\n",
    b"...\n",
    b"%",
    b"$",
    b"${x}",
    b"$(id)",
    b"\n\n",
    b"\x1e",
    b"\x1b[2J",
    b"\\u0000",
    b"\\ud800",
    b"\\u001b",
    b"//",
    b"null",
    b"true",
    b"0",
    b"1",
    b"-1",
    b"65536",
    b"4294967296",
    b"18446744073709551615",
    b"1e999",
    b"NaN",
    b".inf",
    b"\xff",
    b"\xc3",
    b"\xef\xbb\xbf",
    "\u{2028}".as_bytes(),
    "\u{202e}".as_bytes(),
    "\u{85}".as_bytes(),
    "é漢🙂".as_bytes(),
    b"xn--",
    b"example",
    b"retry-after: ",
    b"ratelimit: \"x\";r=0;t=9",
    b"x-ratelimit-remaining: 0",
    b"ratelimit-policy: \"x\";q=4294967295;w=18446744073709551615",
    b"\"error\":\"",
    b"\"errors\":",
    b"\"data\":",
    b"\"result\":",
    b"token-of-the-account",
    b"sitewright: reason=",
    b"export ",
    b"EOF",
    b"proxy_pass http://localhost",
    b"server_name ",
    b"location /.well-known {",
    b"root /x;",
];

/// The input of a seed.
pub fn input(corpus: &[Vec<u8>], seed: u64) -> Vec<u8> {
    let mut dice = Rng::with_seed(seed);
    let mut input = pick(corpus, &mut dice).clone();
    for _ in 0..=dice.usize(0..BENDS_MAX) {
        bend(&mut input, corpus, &mut dice);
    }
    input.truncate(BYTES_MAX);
    input
}

fn pick<'a, T>(from: &'a [T], dice: &mut Rng) -> &'a T {
    &from[dice.usize(0..from.len())]
}

/// A range of the input, mostly a short one.
fn range(input: &[u8], dice: &mut Rng) -> std::ops::Range<usize> {
    let from = dice.usize(0..=input.len());
    let most = if dice.u8(0..4) > 0 { 16 } else { input.len() };
    from..input.len().min(from + dice.usize(0..=most))
}

fn bend(input: &mut Vec<u8>, corpus: &[Vec<u8>], dice: &mut Rng) {
    let place = range(input, dice);
    let piece: Vec<u8> = match dice.u8(0..10) {
        0 => vec![dice.u8(..)],
        1 => Vec::new(),
        2 | 3 => pick(WORDS, dice).to_vec(),
        4 => [*pick(WORDS, dice), &input[place.clone()], *pick(WORDS, dice)].concat(),
        5 => {
            let other = pick(corpus, dice);
            other[range(other, dice)].to_vec()
        }
        6 => input[range(input, dice)].to_vec(),
        7 => repeated(&input[place.clone()], dice),
        8 => repeated(pick::<&[u8]>(WORDS, dice), dice),
        _ => input[place.clone()].iter().map(|byte| byte ^ (1 << dice.u8(0..8))).collect(),
    };
    // Half of what is put stands beside what was there.
    let place = if dice.bool() { place } else { place.start..place.start };
    input.splice(place, piece);
    input.truncate(BYTES_MAX);
}

/// Mostly a few times; now and then as often as fits.
fn repeated(piece: &[u8], dice: &mut Rng) -> Vec<u8> {
    let most = BYTES_MAX / piece.len().max(1);
    let times = if dice.u8(0..32) == 0 { dice.usize(0..=most) } else { dice.usize(0..=most.min(40)) };
    piece.repeat(times)
}
