//! Documents, read within a bound.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::regular;
pub use tradewind_engine::document::MAX_DOCUMENT_BYTES;

/// Reads a document; refuses one that is over the bound before reading it.
pub fn read_document(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    read_text(file, length, MAX_DOCUMENT_BYTES)
}

/// Reads a text of at most `most` bytes from a regular file; for what is none, such as a pipe, nobody is waited for.
pub fn read_regular(path: &Path, most: u64) -> io::Result<String> {
    let (file, metadata) = regular::open(path)?;
    read_text(file, metadata.len(), most)
}

fn read_text(file: File, length: u64, most: u64) -> io::Result<String> {
    if length > most {
        let message = format!("has {length} bytes, at most {most} are allowed");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

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
