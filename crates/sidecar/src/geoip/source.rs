//! The bytes of geo files: read within bounds, digested, compared with the sum beside them.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Take};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use xxhash_rust::xxh3::{Xxh3Default, xxh3_128};

use super::Limits;
use super::error::GeoError;
use crate::regular;

/// Most bytes read of a `.sha256` file; a sum and a name need a hundred.
const MAX_SUM_BYTES: u64 = 4096;

/// SHA-256 of a file; written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FileDigest([u8; 32]);

impl FileDigest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest that is written so, or `None` if it is not one.
    pub fn from_hex(digits: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
        if pairs.len() != bytes.len() || !rest.is_empty() {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
            *byte = u8::try_from(high? << 4 | low?).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for FileDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for FileDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileDigest({self})")
    }
}

/// XXH3 (128 bits) of a file: tells whether a file is the one that tables were made of.
///
/// SHA-256 would tell it too, but where the processor has no instructions for it a world-wide city database takes it
/// more than a second, and a start has one. Who can make up a file of equal digest gains that the tables of the good
/// file stay in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentDigest(pub u128);

impl ContentDigest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(xxh3_128(bytes))
    }
}

/// The content of a regular file within the limit.
pub(super) fn read_whole(path: &Path, limits: &Limits) -> Result<Vec<u8>, GeoError> {
    let (length, mut content) = open(path, limits)?;
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    let count = content
        .read_to_end(&mut bytes)
        .map_err(|source| GeoError::Read {
            path: path.to_owned(),
            source,
        })? as u64;
    if count > limits.max_file_bytes {
        return Err(too_large(path, count, limits));
    }
    Ok(bytes)
}

/// Opens a regular file within the limit, and gives its length. It yields one byte more than the limit at most, so that
/// a file that grows meanwhile is noticed.
fn open(path: &Path, limits: &Limits) -> Result<(u64, Take<File>), GeoError> {
    let (file, metadata) = regular::open(path).map_err(|error| not_opened(path, error))?;
    if metadata.len() > limits.max_file_bytes {
        return Err(too_large(path, metadata.len(), limits));
    }
    Ok((
        metadata.len(),
        file.take(limits.max_file_bytes.saturating_add(1)),
    ))
}

fn not_opened(path: &Path, source: io::Error) -> GeoError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::InvalidInput => GeoError::NotAFile { path },
        _ => GeoError::Read { path, source },
    }
}

fn too_large(path: &Path, bytes: u64, limits: &Limits) -> GeoError {
    GeoError::TooLarge {
        path: path.to_owned(),
        bytes,
        limit: limits.max_file_bytes,
    }
}

/// The quick digest of a file's content, which is not held in memory.
pub fn content_digest(path: &Path, limits: &Limits) -> Result<ContentDigest, GeoError> {
    let mut content = open(path, limits)?.1;
    let mut hash = Xxh3Default::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match content.read(&mut buffer) {
            Ok(0) => return Ok(ContentDigest(hash.digest128())),
            Ok(count) => hash.update(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => {
                return Err(GeoError::Read {
                    path: path.to_owned(),
                    source,
                });
            }
        }
    }
}

/// Compares with `<file>.sha256`, in the form of the tool `sha256sum` or just the digits; `Ok(false)` without one.
pub fn check_sum_file(path: &Path, digest: FileDigest) -> Result<bool, GeoError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".sha256");
    let sum_path = PathBuf::from(name);
    let file = match regular::open(&sum_path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened.map_err(|error| not_opened(&sum_path, error))?.0,
    };
    let mut text = Vec::new();
    if let Err(source) = file.take(MAX_SUM_BYTES).read_to_end(&mut text) {
        return Err(GeoError::Read {
            path: sum_path,
            source,
        });
    }
    let text = String::from_utf8_lossy(&text);
    let expected = text.split_whitespace().next().unwrap_or_default();
    if expected.len() != 64 || !expected.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(GeoError::SumMalformed {
            path: sum_path,
            value: expected.chars().take(80).collect(),
        });
    }
    let actual = digest.to_string();
    if actual.eq_ignore_ascii_case(expected) {
        Ok(true)
    } else {
        Err(GeoError::SumDiffers {
            path: path.to_owned(),
            actual,
            expected: expected.to_ascii_lowercase(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn digests_are_read_as_they_are_written() {
        let digest = FileDigest::of(b"abc");
        let digits = digest.to_string();
        assert!(digits.starts_with("ba7816bf"), "{digits}");
        assert_eq!(FileDigest::from_hex(&digits), Some(digest));
        for wrong in [
            "",
            "ba78",
            &digits.replacen('b', "", 1),
            &digits.replace('b', "g"),
        ] {
            assert_eq!(FileDigest::from_hex(wrong), None);
        }
    }

    #[test]
    fn the_quick_digest_is_the_same_from_disk_and_from_memory() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        for length in [0, 1, 240, 241, (1 << 20) + 17] {
            let bytes = vec![7; length];
            fs::write(&path, &bytes).unwrap();
            assert_eq!(
                content_digest(&path, &Limits::default()).unwrap(),
                ContentDigest::of(&bytes)
            );
        }
    }
}
