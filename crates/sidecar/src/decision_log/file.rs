//! The file, within its bound.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A file that is added to.
#[derive(Debug)]
pub(super) struct LogFile {
    file: BufWriter<File>,
    bytes: u64,
}

impl LogFile {
    /// Opens the file at `path`, or makes one. A line that a crash cut short gets its end, so that the next one is whole.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let options = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .clone();
        let mut file = options.open(path)?;
        let mut bytes = file.metadata()?.len();
        if bytes > 0 {
            file.seek(SeekFrom::End(-1))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
                bytes += 1;
            }
        }
        Ok(Self {
            file: BufWriter::new(file),
            bytes,
        })
    }

    /// How large it is.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a line, given with its end.
    pub(super) fn add(&mut self, line: &[u8]) -> io::Result<()> {
        self.file.write_all(line)?;
        self.bytes += u64::try_from(line.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Hands on what waits.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Puts the file aside as the one before, whose place it takes.
pub(super) fn put_aside(path: &Path) -> io::Result<()> {
    fs::rename(path, before(path))
}

/// Where the file before is.
pub(super) fn before(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}
