//! The log of purges on disk: `purges.log` in the state directory.
//!
//! Frames, one for each purge: the length of a message and its checksum, four bytes each with the lowest first, then the message
//! (`tradewind.v1.Purged`). The checksum is the lower half of XXH3 of the message. A file that ends within a frame, or in one that
//! does not fit its checksum, was cut by a crash: what is before counts, the rest is cut off.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use prost::Message;
use rustix::fs::{FlockOperation, flock};
use xxhash_rust::xxh3::xxh3_64;

use crate::regular;
use crate::wire::proto::Purged;

/// What the file begins with.
const MAGIC: [u8; 8] = *b"twpurge1";

/// Longest message, in bytes: 4,096 selectors of 8 KiB are far more than the admin door takes.
const MAX_MESSAGE_BYTES: u32 = 8 << 20;

/// Bytes before a message.
const HEAD_BYTES: usize = 8;

/// The log, open for writing by this process alone.
#[derive(Debug)]
pub struct PurgeLog {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// The first purge in it; 0 where there is none.
    first: u64,
    /// Whether what is behind `bytes` may be there, of a write that failed.
    is_torn: bool,
}

/// How a log was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Found {
    /// Purges in it.
    pub purges: u64,
    /// Bytes behind the last one, which were cut off.
    pub cut_bytes: u64,
}

impl PurgeLog {
    /// Opens the log in `dir`, or begins one, and gives `take` each purge in it, in order.
    ///
    /// # Errors
    ///
    /// What the system says; that another process has it; that the file is something else.
    pub fn open(dir: &Path, mut take: impl FnMut(Purged)) -> io::Result<(Self, Found)> {
        fs::create_dir_all(dir)?;
        let path = path_in(dir);
        let (file, metadata) = regular::append(&path)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
            let error = io::Error::from(error);
            if error.kind() == io::ErrorKind::WouldBlock {
                io::Error::new(error.kind(), "another process writes to it")
            } else {
                error
            }
        })?;
        let mut log = Self {
            path,
            file,
            bytes: metadata.len(),
            first: 0,
            is_torn: false,
        };
        if metadata.len() < MAGIC.len() as u64 {
            log.begin(dir)?;
            return Ok((log, Found::default()));
        }
        let mut first = 0;
        let (purges, bytes) = read(&log.path, |purged| {
            first = if first == 0 { purged.sequence } else { first };
            take(purged);
        })?;
        log.first = first;
        let cut_bytes = metadata.len().saturating_sub(bytes);
        if cut_bytes > 0 {
            log.file.set_len(bytes)?;
            log.file.sync_all()?;
        }
        log.bytes = bytes;
        Ok((log, Found { purges, cut_bytes }))
    }

    fn begin(&mut self, dir: &Path) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.write_all(&MAGIC)?;
        self.file.sync_all()?;
        // A file whose name is lost with the power is no log.
        File::open(dir)?.sync_all()?;
        self.bytes = MAGIC.len() as u64;
        Ok(())
    }

    /// Adds purges; they are on disk when this returns.
    ///
    /// # Errors
    ///
    /// None of them counts as written then, and the next call begins where this one did.
    pub fn append<'a>(&mut self, purges: impl IntoIterator<Item = &'a Purged>) -> io::Result<()> {
        if self.is_torn {
            self.file.set_len(self.bytes)?;
            self.is_torn = false;
        }
        let mut frames = Vec::new();
        let mut first = self.first;
        for purged in purges {
            first = if first == 0 { purged.sequence } else { first };
            put(&mut frames, purged);
        }
        self.is_torn = true;
        self.file.write_all(&frames)?;
        self.file.sync_data()?;
        self.is_torn = false;
        self.bytes += frames.len() as u64;
        self.first = first;
        Ok(())
    }

    /// Writes the log anew with the purges from a sequence on; answers how many bytes it has less.
    ///
    /// # Errors
    ///
    /// It is as it was then, or as it should be.
    pub fn forget_before(&mut self, sequence: u64) -> io::Result<u64> {
        let aside = self.path.with_extension("log.new");
        drop(fs::remove_file(&aside));
        let (mut file, _) = regular::append(&aside)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        let mut frames = MAGIC.to_vec();
        let mut written = Ok(());
        let (mut bytes, mut first) = (0, 0);
        let mut flush = |frames: &mut Vec<u8>| {
            bytes += frames.len() as u64;
            let done = file.write_all(frames);
            frames.clear();
            done
        };
        read(&self.path, |purged| {
            if purged.sequence >= sequence && written.is_ok() {
                first = if first == 0 { purged.sequence } else { first };
                put(&mut frames, &purged);
                if frames.len() > 1 << 20 {
                    written = flush(&mut frames);
                }
            }
        })?;
        written?;
        flush(&mut frames)?;
        file.sync_all()?;
        fs::rename(&aside, &self.path)?;
        // From here on the new one is the log, whatever becomes of its name on disk: the old one has the same and more.
        let less = self.bytes.saturating_sub(bytes);
        (self.file, self.bytes, self.first, self.is_torn) = (file, bytes, first, false);
        if let Some(dir) = self.path.parent() {
            File::open(dir)?.sync_all()?;
        }
        Ok(less)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The first purge in it; 0 where there is none.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Its length in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Where the log of a state directory is.
pub fn path_in(dir: &Path) -> PathBuf {
    dir.join("purges.log")
}

fn put(frames: &mut Vec<u8>, purged: &Purged) {
    let message = purged.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    frames.extend(length.to_le_bytes());
    frames.extend(checksum(&message).to_le_bytes());
    frames.extend(message);
}

fn checksum(message: &[u8]) -> u32 {
    let [a, b, c, d, ..] = xxh3_64(message).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// Gives `take` each purge of a log in order; answers how many there are, and where the last whole one ends.
///
/// # Errors
///
/// What the system says, and for a file that begins otherwise.
pub fn read(path: &Path, mut take: impl FnMut(Purged)) -> io::Result<(u64, u64)> {
    let (file, _) = regular::open(path)?;
    let mut file = BufReader::with_capacity(1 << 16, file);
    let mut magic = [0; MAGIC.len()];
    file.read_exact(&mut magic)?;
    if magic != MAGIC {
        let words = "is no log of purges: it begins otherwise";
        return Err(io::Error::new(io::ErrorKind::InvalidData, words));
    }
    let (mut purges, mut bytes) = (0, MAGIC.len() as u64);
    let mut message = Vec::new();
    while let Some(purged) = next(&mut file, &mut message)? {
        bytes += (HEAD_BYTES + message.len()) as u64;
        purges += 1;
        take(purged);
    }
    Ok((purges, bytes))
}

/// The next purge; `None` at the end, and where what follows is none.
fn next(file: &mut impl Read, message: &mut Vec<u8>) -> io::Result<Option<Purged>> {
    let (mut length, mut sum) = ([0; 4], [0; 4]);
    if !fill(file, &mut length)? || !fill(file, &mut sum)? {
        return Ok(None);
    }
    let length = u32::from_le_bytes(length);
    if length > MAX_MESSAGE_BYTES {
        return Ok(None);
    }
    message.clear();
    let got = file.by_ref().take(u64::from(length)).read_to_end(message)?;
    let is_whole = u32::try_from(got) == Ok(length) && checksum(message) == u32::from_le_bytes(sum);
    Ok(Purged::decode(message.as_slice()).ok().filter(|_| is_whole))
}

/// Fills a room; whether there was enough.
fn fill(file: &mut impl Read, room: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(room) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn purged(sequence: u64) -> Purged {
        Purged {
            sequence,
            why: "x".repeat(usize::try_from(sequence % 7).unwrap()),
            ..Purged::default()
        }
    }

    fn open(dir: &Path) -> (PurgeLog, Vec<u64>, Found) {
        let mut seen = Vec::new();
        let (log, found) = PurgeLog::open(dir, |it| seen.push(it.sequence)).unwrap();
        (log, seen, found)
    }

    /// V5: whatever byte a crash comes at, what was written before is there, and writing goes on behind it.
    #[test]
    fn a_log_that_is_cut_at_any_byte_keeps_what_is_before() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, seen, _) = open(dir.path());
        assert!(seen.is_empty());
        let mut ends = vec![log.bytes()];
        for sequence in 1..=5 {
            log.append([&purged(sequence)]).unwrap();
            ends.push(log.bytes());
        }
        let path = log.path().to_owned();
        drop(log);
        let whole = fs::read(&path).unwrap();
        for cut in MAGIC.len()..=whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let (mut log, seen, found) = open(dir.path());
            let kept = ends.iter().filter(|end| **end <= cut as u64).count() as u64 - 1;
            assert_eq!(seen, (1..=kept).collect::<Vec<_>>(), "cut at {cut}");
            assert_eq!(found.purges, kept);
            log.append([&purged(9)]).unwrap();
            drop(log);
            let (_log, seen, found) = open(dir.path());
            assert_eq!(seen.last(), Some(&9));
            assert_eq!(found.cut_bytes, 0);
        }
    }

    #[test]
    fn a_flipped_byte_ends_the_log_there() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, ..) = open(dir.path());
        log.append([&purged(1), &purged(2), &purged(3)]).unwrap();
        let path = log.path().to_owned();
        drop(log);
        let whole = fs::read(&path).unwrap();
        for at in MAGIC.len()..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            fs::write(&path, &bytes).unwrap();
            let (_log, seen, found) = open(dir.path());
            assert_eq!(seen, (1..=found.purges).collect::<Vec<_>>(), "byte {at}");
            assert!(seen.len() < 3, "byte {at}");
        }
    }

    #[test]
    fn what_is_old_is_forgotten_and_the_rest_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, ..) = open(dir.path());
        let all: Vec<Purged> = (1..=100).map(purged).collect();
        log.append(&all).unwrap();
        assert!(log.forget_before(91).unwrap() > 0);
        log.append([&purged(101)]).unwrap();
        drop(log);
        let (_log, seen, found) = open(dir.path());
        assert_eq!(seen, (91..=101).collect::<Vec<_>>());
        assert_eq!(found.cut_bytes, 0);
    }

    #[test]
    fn two_processes_never_write_to_one_log_and_another_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (_log, ..) = open(dir.path());
        let error = PurgeLog::open(dir.path(), |_| ()).unwrap_err();
        assert!(error.to_string().contains("another process"), "{error}");

        let other = tempfile::tempdir().unwrap();
        fs::write(path_in(other.path()), b"something else").unwrap();
        let error = PurgeLog::open(other.path(), |_| ()).unwrap_err();
        assert!(error.to_string().contains("no log of purges"), "{error}");
        assert_eq!(fs::read(path_in(other.path())).unwrap(), b"something else");
    }
}
