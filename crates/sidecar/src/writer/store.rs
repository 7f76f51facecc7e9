//! Documents, read within a bound.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use crate::geoip::source::{FileDigest, check_sum_file};
pub use tradewind_engine::document::MAX_DOCUMENT_BYTES;

/// Reads a document; refuses one that is over the bound before reading it.
pub fn read_document(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    if length > MAX_DOCUMENT_BYTES {
        let message = format!("has {length} bytes, at most {MAX_DOCUMENT_BYTES} are allowed");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    let mut bytes = Vec::new();
    file.take(MAX_DOCUMENT_BYTES).read_to_end(&mut bytes)?;
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "is not UTF-8"))
}

/// Reads a document from a regular file: opening a pipe would wait for its writer, and hold up everything else.
pub fn read_regular(path: &Path) -> io::Result<String> {
    if !fs::metadata(path)?.is_file() {
        let message = "is not a regular file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    read_document(path)
}

/// Reads a document that is to be served: the one that `<file>.sha256` is of, where that stands beside it, since a text that is
/// cut between two lines may be a sound document too.
pub fn read_served(path: &Path) -> io::Result<String> {
    let text = read_regular(path)?;
    let digest = FileDigest::of(text.as_bytes());
    check_sum_file(path, digest)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_served_only_if_it_is_the_one_its_sum_is_of() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy.yaml");
        fs::write(&path, "rules: []\n").unwrap();
        assert_eq!(read_served(&path).unwrap(), "rules: []\n");
        let sum = dir.path().join("policy.yaml.sha256");
        fs::write(
            &sum,
            format!("{}  policy.yaml\n", FileDigest::of(b"rules: []\n")),
        )
        .unwrap();
        assert_eq!(read_served(&path).unwrap(), "rules: []\n");
        fs::write(&path, "rules: [").unwrap();
        let error = read_served(&path).unwrap_err().to_string();
        assert!(
            error.contains("must be") && error.contains("policy.yaml"),
            "{error}"
        );
        fs::write(&sum, "later").unwrap();
        let error = read_served(&path).unwrap_err().to_string();
        assert!(error.contains("begins with `later`"), "{error}");
    }

    #[test]
    fn what_is_no_file_is_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        for path in [dir.path(), Path::new("/dev/zero")] {
            let error = read_served(path).unwrap_err();
            assert_eq!(error.to_string(), "is not a regular file");
        }
    }

    #[test]
    fn a_document_over_the_bound_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("big");
        File::create(&path)
            .unwrap()
            .set_len(MAX_DOCUMENT_BYTES + 1)
            .unwrap();
        assert_eq!(
            read_document(&path).unwrap_err().kind(),
            io::ErrorKind::FileTooLarge
        );
    }
}
