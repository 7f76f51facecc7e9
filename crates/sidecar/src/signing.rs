//! Signatures of policies and topologies: who may publish, told by keys that are pinned in the settings.
//!
//! The format is that of minisign (Ed25519 over BLAKE2b-512, with a comment that is signed too), so that `minisign` itself signs
//! and verifies: a text `policy.yaml` has its signature in `policy.yaml.minisig`. The signed comment may say `serial=N`: a text
//! with a lower one than that in force is an old one, played again.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use minisign_verify::{Error, PublicKey, Signature};

use crate::wire::base64;

/// Most bytes of a signature: two lines of base64 and two comments.
pub const MAX_SIGNATURE_BYTES: usize = 4_096;

/// How signatures beside files end.
pub const EXTENSION: &str = "minisig";

/// The word in the signed comment that a serial follows.
const SERIAL: &str = "serial=";

/// How the base64 of every public key begins, and how long it is.
const KEY_BEGINS: &str = "RW";
const KEY_DIGITS: usize = 56;

/// Where the id of a key stands in the bytes of a key, and in those of a signature.
const ID: std::ops::Range<usize> = 2..10;

/// Which key: minisign prints it, and so do we, as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId([u8; 8]);

impl KeyId {
    /// The id in the bytes of a key or signature that this base64 is of.
    fn in_base64(text: &str) -> Option<Self> {
        let bytes = base64::decode(text)?;
        Some(Self(bytes.get(ID)?.try_into().ok()?))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", u64::from_le_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// Why something is no public key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file that cannot be read.
    #[error(
        "`{}` is neither a public key of minisign (56 characters that begin with RW) nor a file with one: {source}",
        path.display()
    )]
    Unreadable {
        /// What was given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A text that is no key.
    #[error(
        "`{given}` holds no public key of minisign, which is a line of 56 characters that begin with RW"
    )]
    NotAKey {
        /// What was given.
        given: String,
    },
}

/// Public keys that texts may be signed by; none where texts need no signature.
#[derive(Debug, Clone, Default)]
pub struct Keys(Vec<(KeyId, PublicKey)>);

impl Keys {
    /// Adds the key that `given` is, or that the file of that name holds (as `minisign -G` writes it).
    ///
    /// # Errors
    ///
    /// What was given, where it is neither.
    pub fn add(&mut self, given: &str) -> Result<(), KeyError> {
        let is_key = given.len() == KEY_DIGITS && given.starts_with(KEY_BEGINS);
        let text = if is_key {
            given.to_owned()
        } else {
            fs::read_to_string(given).map_err(|source| KeyError::Unreadable {
                path: given.into(),
                source,
            })?
        };
        // The comment before it, and the end of its line.
        let line = text.lines().map(str::trim).rfind(|line| !line.is_empty());
        let read = line.and_then(|line| {
            let key = PublicKey::from_base64(line).ok()?;
            Some((KeyId::in_base64(line)?, key))
        });
        let read = read.ok_or_else(|| KeyError::NotAKey {
            given: given.to_owned(),
        })?;
        self.0.push(read);
        Ok(())
    }

    /// Whether nothing needs a signature.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their ids, for people.
    pub fn ids(&self) -> String {
        let ids: Vec<String> = self.0.iter().map(|(id, _)| id.to_string()).collect();
        ids.join(", ")
    }

    /// Whether `signature` is one of `text` by one of these keys.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn verify(&self, text: &str, signature: &str) -> Result<Seal, SealError> {
        let read = Signature::decode(signature).map_err(|_| SealError::Malformed)?;
        let digits = signature.lines().nth(1).unwrap_or_default();
        let by = KeyId::in_base64(digits).ok_or(SealError::Malformed)?;
        let mut keys = self.0.iter().filter(|(id, _)| *id == by).peekable();
        if keys.peek().is_none() {
            let pinned = self.ids();
            return Err(SealError::OtherKey { by, pinned });
        }
        // Two keys may bear one id: it is drawn by chance, and anybody can write it into a key.
        let mut said = keys.map(|(_, key)| key.verify(text.as_bytes(), &read, false));
        match said.find(|said| !matches!(said, Err(Error::InvalidSignature))) {
            Some(Ok(())) => {}
            Some(Err(Error::UnexpectedAlgorithm)) => return Err(SealError::OldForm),
            Some(Err(_)) | None => return Err(SealError::Wrong { by }),
        }
        Ok(Seal {
            signature: signature.into(),
            key: by,
            serial: serial(read.trusted_comment())?,
        })
    }
}

/// A good signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// Its text, as it stands in the file.
    pub signature: Arc<str>,
    /// The key that it is by.
    pub key: KeyId,
    /// The serial in its signed comment.
    pub serial: Option<u64>,
}

/// Why a text counts as not signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// There is no signature.
    #[error("it is not signed{at}")]
    Missing {
        /// Where a signature was looked for, in words.
        at: String,
    },
    /// The signature cannot be read.
    #[error("its signature is none of minisign")]
    Malformed,
    /// The signature is by a key that is not pinned.
    #[error("it is signed by key {by}; pinned are {pinned}")]
    OtherKey {
        /// That key.
        by: KeyId,
        /// Those that are.
        pinned: String,
    },
    /// The text is not the one that was signed, or the comment is not.
    #[error("its signature by key {by} is of another text or comment")]
    Wrong {
        /// The key that it claims to be by.
        by: KeyId,
    },
    /// The signature is of the form that minisign wrote before version 0.10.
    #[error("its signature is of the form before minisign 0.10: sign it anew")]
    OldForm,
    /// The comment has a serial that is no number, or several.
    #[error(
        "the comment of its signature has `{seen}`, must be one serial=N, N from 0 to {}",
        u64::MAX
    )]
    Serial {
        /// What it has.
        seen: String,
    },
    /// The text is older than the one in force.
    #[error("it has {}, what is in force has serial {in_force}: it is older", in_words(*serial))]
    Older {
        /// Its serial.
        serial: Option<u64>,
        /// That of the text in force.
        in_force: u64,
    },
}

impl SealError {
    /// All reasons, as metrics name them.
    pub const REASONS: [&'static str; 5] = ["missing", "malformed", "other_key", "wrong", "older"];

    /// The reason, as metrics name it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "missing",
            Self::Malformed | Self::OldForm | Self::Serial { .. } => "malformed",
            Self::OtherKey { .. } => "other_key",
            Self::Wrong { .. } => "wrong",
            Self::Older { .. } => "older",
        }
    }
}

/// A serial, for people.
pub fn in_words(serial: Option<u64>) -> String {
    serial.map_or_else(
        || "no serial".to_owned(),
        |serial| format!("serial {serial}"),
    )
}

/// The serial in a signed comment; words in it are parted by spaces and tabs.
fn serial(comment: &str) -> Result<Option<u64>, SealError> {
    let mut said = comment
        .split_whitespace()
        .filter(|word| word.starts_with(SERIAL));
    let Some(word) = said.next() else {
        return Ok(None);
    };
    let digits = word.strip_prefix(SERIAL).unwrap_or_default();
    let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    let read = digits
        .parse()
        .ok()
        .filter(|_| is_number && said.next().is_none());
    read.map(Some).ok_or_else(|| SealError::Serial {
        seen: word.chars().take(80).collect(),
    })
}

/// The comment that is signed with a text of this serial.
pub fn comment(file: &str, serial: Option<u64>, unix_s: u64) -> String {
    let serial = serial.map_or_else(String::new, |serial| format!("\t{SERIAL}{serial}"));
    let file = file.replace(char::is_whitespace, "_");
    format!("timestamp:{unix_s}\tfile:{file}{serial}")
}

/// Where the signature of a file is.
pub fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(EXTENSION);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Of minisign's own documentation, by version 0.8 of it; and the same key's signature of another form.
    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    const SIGNATURE: &str = "untrusted comment: signature from minisign secret key
RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=
trusted comment: timestamp:1633700835\tfile:test\tprehashed
wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==
";

    fn keys(given: &str) -> Keys {
        let mut keys = Keys::default();
        keys.add(given).unwrap();
        keys
    }

    #[test]
    fn what_minisign_signed_is_good_and_every_change_of_it_is_not() {
        let keys = keys(KEY);
        let seal = keys.verify("test", SIGNATURE).unwrap();
        assert_eq!(seal.key.to_string(), "E7620F1842B4E81F");
        assert_eq!((seal.serial, &*seal.signature), (None, SIGNATURE));
        assert!(matches!(
            keys.verify("Test", SIGNATURE),
            Err(SealError::Wrong { .. })
        ));
        let comment_at = SIGNATURE.find("timestamp").unwrap();
        for (at, _) in SIGNATURE.char_indices() {
            let is_free = at < SIGNATURE.find('\n').unwrap();
            let mut bytes = SIGNATURE.as_bytes().to_vec();
            bytes[at] ^= 1;
            let changed = String::from_utf8(bytes).unwrap();
            let is_good = keys.verify("test", &changed).is_ok();
            assert!(
                !is_good || is_free || at + 1 == SIGNATURE.len(),
                "{at} ({comment_at}): {changed}"
            );
        }
    }

    #[test]
    fn keys_are_lines_or_files_and_two_may_be_pinned() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("release.pub");
        let other = "RWRzq51bKcS8oJvZ4xEm+nRvGYPdsNRD3ciFPu1YJEL8Bl/3daWaj72r";
        fs::write(
            &file,
            format!("untrusted comment: minisign public key\n{KEY}\n"),
        )
        .unwrap();
        let mut both = keys(other);
        let error = both.verify("test", SIGNATURE).unwrap_err();
        assert_eq!(error.reason(), "other_key");
        assert!(
            error
                .to_string()
                .contains("signed by key E7620F1842B4E81F; pinned are "),
            "{error}"
        );
        both.add(file.to_str().unwrap()).unwrap();
        assert!(both.verify("test", SIGNATURE).is_ok());
        for wrong in ["RW", "no/such.pub", &KEY.replace("RWQ", "RWA!")] {
            assert!(Keys::default().add(wrong).is_err(), "{wrong}");
        }
        fs::write(&file, "nothing").unwrap();
        let error = Keys::default().add(file.to_str().unwrap()).unwrap_err();
        assert!(error.to_string().contains("holds no public key"), "{error}");
    }

    #[test]
    fn a_serial_is_one_number_in_the_signed_comment() {
        assert_eq!(serial("timestamp:1\tfile:a"), Ok(None));
        assert_eq!(serial(&comment("a b", Some(7), 1)), Ok(Some(7)));
        assert_eq!(serial("serial=18446744073709551615"), Ok(Some(u64::MAX)));
        for wrong in [
            "serial=",
            "serial=-1",
            "serial=+1",
            "serial=1 serial=2",
            "serial=18446744073709551616",
        ] {
            assert!(
                matches!(serial(wrong), Err(SealError::Serial { .. })),
                "{wrong}"
            );
        }
    }

    #[test]
    fn what_is_no_signature_is_said_to_be_none() {
        for wrong in [
            "",
            "\n\n\n\n",
            "a\nb\nc\nd",
            &SIGNATURE.replace("RUQ", "RUE"),
        ] {
            assert_eq!(
                keys(KEY).verify("test", wrong),
                Err(SealError::Malformed),
                "{wrong}"
            );
        }
    }
}
