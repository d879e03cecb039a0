//! Secrets at rest: the state key, sealing, the digest key that is derived from it, and the makers of random values.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{hkdf, rand};
use zeroize::Zeroizing;

use crate::resource::name::{Instance, Uid};
use crate::resource::secret::{DigestKey, Secret};
use crate::store::{StoreError, Stored};

/// Bytes of the state key: the key size of AES-256.
pub const KEY_BYTES: usize = 32;
/// Characters of a generated password: 62^32 is 190 bits.
pub const PASSWORD_CHARS: usize = 32;
/// Characters of a generated instance: 32^10 is 50 bits, enough to tell installations apart, short enough to read.
const INSTANCE_CHARS: usize = 10;
/// Letters and digits: the same text in a shell, a `.env` file, a URL and SQL, without quoting.
const SECRET_ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// Lower-case letters and digits without those that look alike.
const INSTANCE_ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstvwxyz0123456789";
/// Permission bits of everybody but the owner.
const OTHERS: u32 = 0o077;
/// Keeps the derived keys of different uses apart.
const DERIVATION_SALT: &[u8] = b"sitewright/v1 state key";

/// The key of a state: 32 random bytes in a file of their own. Wiped when dropped; shows nothing of itself.
pub struct StateKey(Zeroizing<[u8; KEY_BYTES]>);

impl std::fmt::Debug for StateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StateKey")
    }
}

impl StateKey {
    /// Reads the key file; makes it (0600, in a directory made 0700) where there is none. A file that others may read, or
    /// of another size, is refused.
    pub fn load_or_create(path: &Path) -> Stored<StateKey> {
        match Self::load(path)? {
            Some(key) => Ok(key),
            None => Self::create(path),
        }
    }

    /// Reads the key file; `None` where there is none.
    pub fn load(path: &Path) -> Stored<Option<StateKey>> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(problem(path, format!("the key cannot be opened: {error}"))),
        };
        let meta = file.metadata().map_err(|e| problem(path, e))?;
        if !meta.is_file() {
            return Err(problem(path, "the key is not a regular file; give the path of the key file in stateKey"));
        }
        let mode = meta.mode() & 0o7777;
        if mode & OTHERS != 0 {
            return Err(problem(
                path,
                format!(
                    "the key can be read by others (mode {mode:04o}); run `chmod 600` on it, and replace it if others used this machine"
                ),
            ));
        }
        if meta.len() != KEY_BYTES as u64 {
            return Err(problem(
                path,
                format!("the key has {} bytes instead of {KEY_BYTES}; restore it from its backup", meta.len()),
            ));
        }
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        file.read_exact(bytes.as_mut_slice()).map_err(|e| problem(path, e))?;
        Ok(Some(StateKey(bytes)))
    }

    /// A key that is already at hand: tests, and stores that live in memory.
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> StateKey {
        StateKey(Zeroizing::new(bytes))
    }

    /// Another name is written first and linked in place, so that no reader ever sees half a key and two first starts agree.
    fn create(path: &Path) -> Stored<StateKey> {
        let directory = make_private_directory(path)?;
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        fill(bytes.as_mut_slice())?;
        let draft = directory.join(format!(".key-{}", new_secret(12)?.expose()));
        let written = write_private(&draft, bytes.as_slice()).and_then(|()| fs::hard_link(&draft, path));
        let tidied = fs::remove_file(&draft);
        match written {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Self::load(path)?.ok_or_else(|| problem(path, "the key came and went; start again"));
            }
            Err(error) => return Err(problem(path, format!("the key cannot be written: {error}"))),
        }
        tidied.and_then(|()| sync_directory(&directory)).map_err(|e| problem(path, e))?;
        Ok(StateKey(bytes))
    }

    /// The key of digests that stand for secrets where a value must be compared without being kept.
    pub fn digest_key(&self) -> Stored<DigestKey> {
        Ok(DigestKey::new(&*self.derive(b"digest")?))
    }

    /// What seals and opens secrets.
    pub fn sealer(&self) -> Stored<Sealer> {
        let key = self.derive(b"seal")?;
        RandomizedNonceKey::new(&AES_256_GCM, key.as_slice()).map(Sealer).map_err(|_| engine_of_cryptography())
    }

    fn derive(&self, purpose: &[u8]) -> Stored<Zeroizing<[u8; KEY_BYTES]>> {
        let mut out = Zeroizing::new([0; KEY_BYTES]);
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, DERIVATION_SALT).extract(self.0.as_slice());
        root.expand(&[purpose], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(out.as_mut_slice()))
            .map_err(|_| engine_of_cryptography())?;
        Ok(out)
    }
}

/// Seals secrets with AES-256-GCM under a random nonce, bound to their client and name: a sealed value that is copied to
/// another client or another name does not open there.
pub struct Sealer(RandomizedNonceKey);

impl Sealer {
    /// The nonce and the sealed text.
    pub fn seal(&self, client: &str, name: &str, secret: &Secret) -> Stored<Vec<u8>> {
        let mut sealed = secret.expose().as_bytes().to_vec();
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(binding(client, name)), &mut sealed)
            .map_err(|_| engine_of_cryptography())?;
        let mut out = nonce.as_ref().to_vec();
        out.append(&mut sealed);
        Ok(out)
    }

    /// What was sealed. Fails with [`StoreError::Sealed`] for another key, another place or a changed text.
    pub fn open(&self, client: &str, name: &str, sealed: &[u8]) -> Stored<Secret> {
        let refused = || StoreError::Sealed { client: client.to_owned() };
        let (nonce, body) = sealed.split_at_checked(NONCE_LEN).ok_or_else(refused)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| refused())?;
        let mut body = Zeroizing::new(body.to_vec());
        let text = self.0.open_in_place(nonce, Aad::from(binding(client, name)), &mut body).map_err(|_| refused())?;
        std::str::from_utf8(text).map(Secret::new).map_err(|_| refused())
    }
}

/// Neither part can hold a NUL, so no two pairs give the same bytes.
fn binding(client: &str, name: &str) -> Vec<u8> {
    [client.as_bytes(), b"\0", name.as_bytes()].concat()
}

/// A new incarnation: a ULID of now, 26 characters.
pub fn new_uid() -> Stored<Uid> {
    let mut random = [0; 16];
    fill(&mut random)?;
    let milliseconds = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default();
    Ok(Uid::trusted(ulid::Ulid::from_parts(milliseconds, u128::from_be_bytes(random)).to_string()))
}

/// A new installation id.
pub fn new_instance() -> Stored<Instance> {
    let text = random_text(INSTANCE_ALPHABET, INSTANCE_CHARS)?;
    Instance::parse(&text).map_err(|e| problem(Path::new("instance"), e))
}

/// A password of [`PASSWORD_CHARS`] letters and digits.
pub fn new_password() -> Stored<Secret> {
    new_secret(PASSWORD_CHARS)
}

/// A secret of so many letters and digits (5.95 bits each).
pub fn new_secret(chars: usize) -> Stored<Secret> {
    random_text(SECRET_ALPHABET, chars).map(|text| Secret::new(text.as_str()))
}

/// Bytes beyond the largest multiple of the alphabet are thrown away, so that every character is equally likely.
fn random_text(alphabet: &[u8], chars: usize) -> Stored<Zeroizing<String>> {
    let fair = 256 - 256 % alphabet.len();
    let mut text = Zeroizing::new(String::with_capacity(chars));
    let mut pool = Zeroizing::new([0; 64]);
    while text.len() < chars {
        fill(pool.as_mut_slice())?;
        let fresh = pool.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < fair);
        for character in fresh.filter_map(|byte| alphabet.get(byte % alphabet.len())).take(chars - text.len()) {
            text.push(char::from(*character));
        }
    }
    Ok(text)
}

fn fill(bytes: &mut [u8]) -> Stored<()> {
    rand::fill(bytes).map_err(|_| problem(Path::new("random source"), "the system gave no random bytes; start again"))
}

/// The directory of a file, made 0700 (with its parents) where it is missing. One that others may write is refused: they
/// could put another file in place.
pub(super) fn make_private_directory(file: &Path) -> Stored<PathBuf> {
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)
        .map_err(|e| problem(&directory, format!("the directory cannot be made: {e}")))?;
    let mode = fs::metadata(&directory).map_err(|e| problem(&directory, e))?.mode();
    if mode & 0o022 != 0 {
        return Err(problem(
            &directory,
            format!("others may write in this directory (mode {:04o}); run `chmod 700` on it", mode & 0o7777),
        ));
    }
    Ok(directory)
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A new name is durable once its directory is.
pub(super) fn sync_directory(directory: &Path) -> std::io::Result<()> {
    File::open(directory)?.sync_all()
}

/// An error about a file.
pub(super) fn problem(path: &Path, problem: impl std::fmt::Display) -> StoreError {
    StoreError::Engine { path: path.display().to_string(), problem: problem.to_string() }
}

fn engine_of_cryptography() -> StoreError {
    problem(
        Path::new("key"),
        "the cryptographic library refused a key of the right size; this is a fault of the program",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(byte: u8) -> Sealer {
        StateKey::from_bytes([byte; KEY_BYTES]).sealer().unwrap()
    }

    #[test]
    fn a_sealed_secret_opens_only_where_it_belongs() {
        let secret = Secret::new("canary");
        let sealed = sealer(1).seal("acme", "database_password", &secret).unwrap();
        assert!(!sealed.windows(6).any(|part| part == b"canary"));
        assert_eq!(sealer(1).open("acme", "database_password", &sealed).unwrap(), secret);
        for (key, client, name) in
            [(2, "acme", "database_password"), (1, "other", "database_password"), (1, "acme", "payload_secret")]
        {
            assert!(matches!(sealer(key).open(client, name, &sealed), Err(StoreError::Sealed { .. })));
        }
        let mut changed = sealed.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert!(sealer(1).open("acme", "database_password", &changed).is_err());
        assert!(sealer(1).open("acme", "database_password", &sealed[..5]).is_err());
    }

    #[test]
    fn the_same_secret_is_sealed_differently_each_time() {
        let (a, b) = (sealer(1), Secret::new("canary"));
        assert_ne!(a.seal("acme", "x", &b).unwrap(), a.seal("acme", "x", &b).unwrap());
    }

    #[test]
    fn a_key_file_is_made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/key");
        let first = StateKey::load_or_create(&path).unwrap();
        let again = StateKey::load_or_create(&path).unwrap();
        assert_eq!(first.0.as_slice(), again.0.as_slice());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_key_that_others_can_read_or_of_another_size_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        StateKey::load_or_create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(StateKey::load_or_create(&path).unwrap_err().to_string().contains("chmod 600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, b"short").unwrap();
        assert!(StateKey::load_or_create(&path).unwrap_err().to_string().contains("5 bytes"));
        assert_eq!(fs::read(&path).unwrap(), b"short", "a bad key is never replaced");
    }

    #[test]
    fn derived_keys_differ_by_purpose() {
        let key = StateKey::from_bytes([7; KEY_BYTES]);
        assert_ne!(key.derive(b"seal").unwrap().as_slice(), key.derive(b"digest").unwrap().as_slice());
    }

    #[test]
    fn random_values_have_their_shape_and_do_not_repeat() {
        let (a, b) = (new_password().unwrap(), new_password().unwrap());
        assert_ne!(a, b);
        assert_eq!(a.expose().len(), PASSWORD_CHARS);
        assert!(a.expose().bytes().all(|c| c.is_ascii_alphanumeric()));
        assert!((PASSWORD_CHARS as f64) * 62f64.log2() >= 190.0);
        assert_eq!(new_secret(200).unwrap().expose().len(), 200);
        assert_eq!(new_uid().unwrap().as_str().len(), 26);
        assert_ne!(new_uid().unwrap(), new_uid().unwrap());
        assert_eq!(new_instance().unwrap().as_str().len(), INSTANCE_CHARS);
    }
}
