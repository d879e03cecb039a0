//! Several texts in one input: the bytes between two record separators, as text.

/// ASCII's record separator: no text that is tried needs it.
const SEPARATOR: u8 = 0x1e;

/// The pieces; bytes that are no UTF-8 become U+FFFD.
pub fn texts(data: &[u8]) -> Vec<String> {
    bytes(data).map(|piece| String::from_utf8_lossy(piece).into_owned()).collect()
}

/// The pieces as they are.
pub fn bytes(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    data.split(|byte| *byte == SEPARATOR)
}
