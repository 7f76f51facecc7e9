//! A file that grows: followed by its name, over rotations and while it is away.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::lines::{Line, Lines, Take};

/// How many looks a file may be away before it is told of: while a log is rotated there is none for a moment.
const LOOKS_OF_GRACE: u32 = 20;

/// A file that is followed by its name, as `tail -F` does: when another file has the name, the old one is read to its end
/// and the new one from its start; when it became shorter, it is read from its start.
#[derive(Debug)]
pub(super) struct Tail {
    path: PathBuf,
    open: Option<Open>,
    /// How many looks in a row found no file that can be read.
    missed: u32,
    /// Whether that was told.
    is_away: bool,
}

#[derive(Debug)]
struct Open {
    file: File,
    position: u64,
    lines: Lines,
    /// Whether another file had the name when it was last looked at. Whoever writes may take a moment to change over.
    is_replaced: bool,
}

impl Tail {
    /// Opens the file if it is there; one that is not yet is waited for. What is there and cannot be read is somebody's
    /// mistake, which waiting does not mend.
    pub(super) fn new(path: &Path, from_start: bool) -> io::Result<Self> {
        let open = match Open::at(path, from_start) {
            Ok(open) => Some(open),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(Self {
            path: path.to_owned(),
            // Of one that is not there from the beginning nobody can say that it is being rotated.
            missed: if open.is_some() { 0 } else { LOOKS_OF_GRACE },
            is_away: false,
            open,
        })
    }

    /// Reads what there is; false when nobody takes lines any more.
    pub(super) fn look(&mut self, take: Take<'_>) -> bool {
        let mut open = match self.open.take() {
            Some(open) => open,
            // A file that was not there before is read from its start.
            None => match Open::at(&self.path, true) {
                Ok(_) if !self.found(take) => return false,
                Ok(open) => open,
                Err(error) => return self.miss(&error, take),
            },
        };
        if !open.read_to_end(take) {
            return false;
        }
        if open.is_replaced {
            return self.look(take);
        }
        let named = open.notice(&self.path);
        self.open = Some(open);
        match named {
            Ok(()) => self.found(take),
            Err(error) => self.miss(&error, take),
        }
    }

    /// There is a file of the name, which is told of where it was away.
    fn found(&mut self, take: Take<'_>) -> bool {
        self.missed = 0;
        !std::mem::take(&mut self.is_away) || take(Line::Back)
    }

    /// Nobody has the name, or may read it; that is told of once, when it has lasted. A proxy may go on with the old file.
    fn miss(&mut self, error: &io::Error, take: Take<'_>) -> bool {
        self.missed = self.missed.saturating_add(1);
        if self.is_away || self.missed <= LOOKS_OF_GRACE {
            return true;
        }
        self.is_away = true;
        take(Line::Away(error.to_string()))
    }
}

impl Open {
    fn at(path: &Path, from_start: bool) -> io::Result<Self> {
        let mut file = File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let position = if from_start {
            0
        } else {
            // A pipe has no position.
            file.seek(SeekFrom::End(0)).unwrap_or(0)
        };
        Ok(Self {
            file,
            position,
            lines: Lines::default(),
            is_replaced: false,
        })
    }

    fn read_to_end(&mut self, take: Take<'_>) -> bool {
        let mut room = vec![0; 64 << 10];
        loop {
            let length = match self.file.read(&mut room) {
                Ok(0) | Err(_) => return true,
                Ok(length) => length,
            };
            self.position += length as u64;
            let bytes = room.get(..length).unwrap_or_default();
            if !self.lines.add(bytes, take) {
                return false;
            }
        }
    }

    /// Looks whether the name is another file's by now, or the file was made shorter.
    fn notice(&mut self, path: &Path) -> io::Result<()> {
        let (own, named) = (self.file.metadata()?, path.metadata()?);
        let identity = |file: &Metadata| (file.dev(), file.ino());
        self.is_replaced = identity(&own) != identity(&named);
        if own.is_file() && own.len() < self.position {
            self.position = self.file.seek(SeekFrom::Start(0)).unwrap_or(0);
            self.lines = Lines::default();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use super::*;

    /// What a tail reads when it looks once.
    fn look(tail: &mut Tail) -> Vec<String> {
        let mut read = Vec::new();
        let goes_on = tail.look(&mut |line| {
            read.push(match line {
                Line::Whole(bytes) => String::from_utf8(bytes).unwrap(),
                Line::TooLong => "too long".to_owned(),
                Line::Away(why) => format!("away: {why}"),
                Line::Back => "back".to_owned(),
            });
            true
        });
        assert!(goes_on);
        read
    }

    fn append(path: &Path, text: &str) {
        let mut options = File::options();
        let mut file = options.create(true).append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn a_file_is_read_from_its_end_as_it_grows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        append(&path, "old\n");
        let mut tail = Tail::new(&path, false).unwrap();
        assert_eq!(look(&mut tail), Vec::<String>::new());
        append(&path, "one\n\n  \ntwo\nhal");
        assert_eq!(look(&mut tail), ["one", "two"]);
        append(&path, "f\n");
        assert_eq!(look(&mut tail), ["half"]);
        let mut from_start = Tail::new(&path, true).unwrap();
        assert_eq!(look(&mut from_start), ["old", "one", "two", "half"]);
    }

    #[test]
    fn a_file_that_comes_later_is_told_of_and_read_from_its_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut tail = Tail::new(&path, false).unwrap();
        let said = look(&mut tail);
        assert!(
            said.len() == 1 && said[0].starts_with("away: No such file"),
            "{said:?}"
        );
        assert_eq!(look(&mut tail), Vec::<String>::new(), "once");
        append(&path, "first\n");
        assert_eq!(look(&mut tail), ["back", "first"]);
    }

    #[test]
    fn a_log_that_does_not_come_back_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let (path, aside) = (folder.path().join("log"), folder.path().join("log.1"));
        append(&path, "one\n");
        let mut tail = Tail::new(&path, true).unwrap();
        assert_eq!(look(&mut tail), ["one"]);
        fs::rename(&path, &aside).unwrap();
        for _ in 0..LOOKS_OF_GRACE {
            assert_eq!(look(&mut tail), Vec::<String>::new());
        }
        // The proxy goes on with the old file.
        append(&aside, "two\n");
        let said = look(&mut tail);
        assert!(
            said.len() == 2 && said[0] == "two" && said[1].starts_with("away: No such file"),
            "{said:?}"
        );
        append(&path, "three\n");
        assert_eq!(look(&mut tail), ["back"]);
        assert_eq!(look(&mut tail), ["three"]);
    }

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let refused = Tail::new(folder.path(), false).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::IsADirectory);
        let below_a_file = folder.path().join("log").join("log");
        append(&folder.path().join("log"), "one\n");
        let refused = Tail::new(&below_a_file, false).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::NotADirectory);
    }

    #[test]
    fn nothing_is_lost_or_read_twice_when_a_log_is_rotated() {
        let folder = tempfile::tempdir().unwrap();
        let (path, aside) = (folder.path().join("log"), folder.path().join("log.1"));
        append(&path, "one\n");
        let mut tail = Tail::new(&path, true).unwrap();
        assert_eq!(look(&mut tail), ["one"]);
        fs::rename(&path, &aside).unwrap();
        // The proxy has not noticed yet.
        append(&aside, "two\n");
        assert_eq!(look(&mut tail), ["two"]);
        append(&path, "three\n");
        assert_eq!(look(&mut tail), Vec::<String>::new(), "one look of grace");
        append(&aside, "late\n");
        assert_eq!(look(&mut tail), ["late", "three"]);
        append(&path, "four\n");
        assert_eq!(look(&mut tail), ["four"]);
    }

    #[test]
    fn a_log_that_was_emptied_is_read_from_its_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        append(&path, "a long line\n");
        let mut tail = Tail::new(&path, true).unwrap();
        assert_eq!(look(&mut tail), ["a long line"]);
        fs::write(&path, "").unwrap();
        assert_eq!(look(&mut tail), Vec::<String>::new());
        append(&path, "new\n");
        assert_eq!(look(&mut tail), ["new"]);
    }

    #[test]
    fn a_line_that_is_too_long_is_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        append(&path, &"x".repeat(200_000));
        append(&path, "\nshort\n");
        let mut tail = Tail::new(&path, true).unwrap();
        assert_eq!(look(&mut tail), ["too long", "short"]);
    }
}
