//! Files that outlive the process: written whole or not at all, and told from such as were spoilt later.
//!
//! The first line says the form of the file and the digest of all that follows. That is against damage alone: whoever can write
//! the directory can write digests.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::store;
use tradewind_engine::model::Digest;

/// The form of the files. Before it there was one without a first line; files of that are still read.
const FORMAT: u32 = 2;

/// How files end that are being written, and such that cannot be used.
pub(super) const ASIDE: &str = "new";
pub(super) const BAD: &str = "bad";

/// Most bytes of the first line.
const MAX_HEAD_BYTES: u64 = 256;

/// The first line of a file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    format: u32,
    digest: String,
}

/// A file that is set aside, because what was kept in it cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lost {
    /// Its path, in words.
    pub(super) file: String,
    /// Why.
    pub(super) why: String,
}

/// Puts a file in the place of what was there, whole or not at all: written aside, synced and renamed, and its folder synced.
pub(super) fn write(path: &Path, body: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let aside = path.with_extension(ASIDE);
    let head = Head {
        format: FORMAT,
        digest: Digest::of(body.as_bytes()).to_string(),
    };
    let mut file = File::create(&aside)?;
    serde_json::to_writer(&mut file, &head)?;
    file.write_all(b"\n")?;
    file.write_all(body.as_bytes())?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    File::open(folder)?.sync_all()
}

/// Reads what [`write`] wrote, of `most` bytes at most; the whole file where it is of the form before.
pub(super) fn read(path: &Path, most: u64) -> io::Result<String> {
    let whole = store::read_regular(path, most.saturating_add(MAX_HEAD_BYTES))?;
    body(whole).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))
}

fn body(whole: String) -> Result<String, String> {
    let Some((head, body)) = whole.split_once('\n') else {
        return Ok(whole);
    };
    let Ok(head) = serde_json::from_str::<Head>(head) else {
        return Ok(whole);
    };
    if head.format != FORMAT {
        let format = head.format;
        return Err(format!(
            "is of form {format}, this version reads {FORMAT} and the one before"
        ));
    }
    let digest = Digest::of(body.as_bytes()).to_string();
    if digest != head.digest {
        return Err("is spoilt: its digest is another than its first line says".to_owned());
    }
    Ok(body.to_owned())
}

/// Renames a file that cannot be used, and says so.
pub(super) fn set_aside(path: &Path, error: &io::Error) -> Lost {
    let file = path.display();
    tracing::error!(%file, %error, "what was kept is lost, its file is set aside");
    if let Err(error) = fs::rename(path, path.with_extension(BAD)) {
        tracing::warn!(%error, "it cannot be set aside");
    }
    Lost {
        file: file.to_string(),
        why: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_each_byte_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write(&path, "a\nbödy").unwrap();
        assert_eq!(read(&path, 100).unwrap(), "a\nbödy");
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut spoilt = whole.clone();
                spoilt[at] ^= 1 << bit;
                fs::write(&path, &spoilt).unwrap();
                // What begins with no head is taken for the form before, whose readers refuse a head.
                let is_whole = |text: &String| text.starts_with(|it: char| it != 'a');
                assert!(
                    read(&path, 100).map_or(true, |text| is_whole(&text)),
                    "{at}"
                );
            }
        }
        fs::write(&path, "{\"format\":3,\"digest\":\"\"}\n").unwrap();
        let error = read(&path, 100).unwrap_err().to_string();
        assert!(error.contains("form 3"), "{error}");
        fs::write(&path, "[]").unwrap();
        assert_eq!(read(&path, 100).unwrap(), "[]", "the form before");
    }
}
