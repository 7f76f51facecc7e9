//! Regular files, opened without waiting: whoever can write a directory can put a pipe into it, and opening one waits for its writer.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a file to read it. What it is is asked of the open file, so it cannot be another by the time it is read.
///
/// # Errors
///
/// What the system says; [`io::ErrorKind::InvalidInput`] for what is no regular file, which nobody is waited for.
pub fn open(path: &Path) -> io::Result<(File, Metadata)> {
    let mut options = OpenOptions::new();
    options.read(true);
    checked(&mut options, path)
}

/// Opens a file to read it and add to it, and makes it where there is none.
///
/// # Errors
///
/// As [`open`].
pub fn append(path: &Path) -> io::Result<(File, Metadata)> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    checked(&mut options, path)
}

/// Reads all of a file.
///
/// # Errors
///
/// As [`open`].
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.0.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a text of `most` bytes at most; an empty one where there is no file.
///
/// # Errors
///
/// As [`open`]; a file that is larger, or no text.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    let (file, metadata) = match open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        opened => opened?,
    };
    if metadata.len() > most {
        return Err(io::Error::other("the file is too large"));
    }
    io::read_to_string(file)
}

/// Puts a text in the place of what was there, whole or not at all.
///
/// # Errors
///
/// What the system says.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let aside = path.with_extension("new");
    let mut file = File::create(&aside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&aside, path)
}

fn checked(options: &mut OpenOptions, path: &Path) -> io::Result<(File, Metadata)> {
    // Of a regular file it changes nothing.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = options.custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        let message = "is not a regular file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok((file, metadata))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mkfifoat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        )
        .unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&pipe, &link).unwrap();
        for path in [dir.path(), Path::new("/dev/zero"), &pipe, &link] {
            let error = open(path).unwrap_err();
            assert_eq!(
                error.to_string(),
                "is not a regular file",
                "{}",
                path.display()
            );
        }
        assert!(append(&pipe).is_err());
        let file = dir.path().join("file");
        fs::write(&file, "text").unwrap();
        assert_eq!(read(&file).unwrap(), b"text");
        assert_eq!(open(&file).unwrap().1.len(), 4);
    }
}
