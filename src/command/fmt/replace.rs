//! A file's text replaced at once: whoever reads the file, and whatever the process dies of, there is the old text or the
//! new one.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Replaces what stands in the file at `path`, which keeps its mode and owner. What a link leads to is replaced, not the
/// link.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    let metadata = fs::metadata(&path)?;
    if !metadata.is_file() {
        let why = "it is not a regular file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    if metadata.permissions().readonly() {
        let why = "it may only be read";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    let aside = aside(&path)?;
    let written = write(&aside, text, &metadata).and_then(|()| fs::rename(&aside, &path));
    if let Err(error) = written {
        // What is left of it would only stand in the way; why it could not be written says more.
        drop(fs::remove_file(&aside));
        return Err(error);
    }
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// A name beside the file's own, on the same file system, that nobody else uses.
fn aside(path: &Path) -> io::Result<PathBuf> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::from(io::ErrorKind::IsADirectory))?;
    let process = std::process::id();
    let name = format!(".{}.{process}.new", name.to_string_lossy());
    Ok(path.with_file_name(name))
}

fn write(aside: &Path, text: &str, like: &Metadata) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(aside)?;
    keep_owner(&file, like)?;
    file.set_permissions(like.permissions())?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Gives the new file the owner of the old one: an administrator who formats a service's file must not take it away from it.
#[cfg(unix)]
fn keep_owner(file: &File, like: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};

    let own = file.metadata()?;
    if (own.uid(), own.gid()) == (like.uid(), like.gid()) {
        return Ok(());
    }
    fchown(file, Some(like.uid()), Some(like.gid()))
}

#[cfg(not(unix))]
fn keep_owner(_: &File, _: &Metadata) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn the_text_is_replaced_and_all_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("p.yaml"), folder.path().join("link"));
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("p.yaml", &link).unwrap();
        replace(&link, "new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_cannot_be_written_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.yaml");
        fs::write(&path, "old").unwrap();
        // Somebody else is at it.
        fs::write(aside(&path).unwrap(), "").unwrap();
        assert!(replace(&path, "new").is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert!(replace(&folder.path().join("none.yaml"), "new").is_err());
    }
}
