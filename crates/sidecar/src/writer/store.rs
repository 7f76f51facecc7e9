//! Files: read within a bound, and the last good pair of policy and topology kept on disk.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

pub use tradewind_engine::document::MAX_DOCUMENT_BYTES;
use tradewind_engine::edition::Texts;

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

/// A directory that holds the last good texts.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
}

impl Store {
    /// A store in `dir`, which is made when the first texts are kept.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The texts kept last; `None` when there are none or they cannot be read.
    pub fn load(&self) -> Option<Texts> {
        let whole = read_document(&self.dir.join("last-good")).ok()?;
        // One file holds both, so that a crash cannot pair an old policy with a new topology.
        let (length, rest) = whole.split_once('\n')?;
        let (policy, topology) = rest.split_at_checked(length.parse().ok()?)?;
        Some(Texts {
            policy: policy.into(),
            topology: topology.into(),
        })
    }

    /// Keeps `texts`: written aside, synced, renamed over the old ones, so there is always one whole pair.
    pub fn save(&self, texts: &Texts) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let aside = self.dir.join("last-good.new");
        let mut file = File::create(&aside)?;
        write!(
            file,
            "{}\n{}{}",
            texts.policy.len(),
            texts.policy,
            texts.topology
        )?;
        file.sync_all()?;
        fs::rename(&aside, self.dir.join("last-good"))?;
        File::open(&self.dir)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_half_a_file_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().join("state"));
        assert_eq!(store.load(), None);
        let texts = Texts {
            policy: "pölicy\n".into(),
            topology: "12\ntopology".into(),
        };
        store.save(&texts).unwrap();
        assert_eq!(store.load(), Some(texts));
        for broken in ["", "7", "x\nab", "999\nab", "1\nö"] {
            fs::write(store.dir().join("last-good"), broken).unwrap();
            assert_eq!(store.load(), None, "{broken:?}");
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
