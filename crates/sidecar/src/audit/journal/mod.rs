//! Writes entries: each is on disk before the next, and whatever goes wrong is told by a later one.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::entry::{self, Kind, Line, Link, Record};
use super::files::{self, KEPT_FILES, LOG};
use super::verify::Head;
use crate::regular;
use crate::state::AuditCounters;
use tradewind_engine::model::Digest;

/// Largest file, in bytes; what would be beyond it begins a new one. Eight older ones are kept: some 100,000 entries.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// How much of a line that is cut short is told, in bytes.
const SHOWN_BYTES: usize = 256;

/// The log, open for writing.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    max_file_bytes: u64,
    /// `None` until it is opened, and after what went wrong: it is opened again for the next entry.
    file: Option<Open>,
    /// Entries that could not be written since the last one that was.
    lost: u64,
    counters: Arc<AuditCounters>,
}

/// The file that is written to.
#[derive(Debug)]
struct Open {
    file: File,
    bytes: u64,
    last: Link,
    first_sequence: u64,
    anchor: String,
    /// What is to be told of how the file was found.
    remarks: Vec<Record>,
}

impl Journal {
    /// The log in `dir`, which is made with the first entry.
    pub fn open(dir: PathBuf, counters: Arc<AuditCounters>) -> Self {
        Self {
            dir,
            max_file_bytes: MAX_FILE_BYTES,
            file: None,
            lost: 0,
            counters,
        }
    }

    /// Writes an entry. One that cannot be written is counted and told by the next one that can: serving goes on.
    pub fn record(&mut self, unix_ms: u64, record: Record) {
        match self.try_record(unix_ms, record) {
            Ok(()) => self.lost = 0,
            Err(error) => {
                // What is on disk now has to be looked at again.
                self.file = None;
                self.lost += 1;
                self.counters.failed.fetch_add(1, Ordering::Relaxed);
                self.counters.lost.fetch_add(1, Ordering::Relaxed);
                tracing::error!(dir = %self.dir.display(), %error, lost = self.lost, "an audit entry cannot be written");
            }
        }
    }

    fn try_record(&mut self, unix_ms: u64, record: Record) -> io::Result<()> {
        let known = self.file.take();
        let mut open = match known.filter(|open| open.is_newest(&self.dir)) {
            Some(open) => open,
            None => Open::at(&self.dir)?,
        };
        if open.bytes >= self.max_file_bytes {
            rotate(&self.dir, open.head())?;
            open = Open::at(&self.dir)?;
        }
        for remark in std::mem::take(&mut open.remarks) {
            open.append(unix_ms, (remark, 0), &self.counters)?;
        }
        open.append(unix_ms, (record, self.lost), &self.counters)?;
        files::write_head(&self.dir, &open.head())?;
        self.file = Some(open);
        Ok(())
    }
}

impl Open {
    /// Opens the log in `dir`, or begins one; what does not fit is cut off or passed over, and told.
    fn at(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let head = files::read_head(dir);
        let mut remarks = Vec::new();
        if let Err(error) = &head {
            let remark = Record::new(Kind::Log, "head_unreadable");
            remarks.push(remark.what("error", error.to_string()));
        }
        let head = head.ok().flatten();
        let path = dir.join(LOG);
        let is_new = !path.exists();
        let (mut file, _) = regular::append(&path)?;
        if is_new {
            // A file whose name is lost with the power is no log.
            File::open(dir)?.sync_all()?;
        }
        if let Some(cut) = mend(&mut file)? {
            remarks.push(cut);
        }
        let last = last_link(dir)?;
        let last = settle(last, head.as_ref(), &mut remarks);
        // The head's word counts: what is missing at the beginning stays to be seen.
        let first = match head {
            Some(head) => Some((head.first_sequence, head.anchor)),
            None => first_entry(&files::find(dir))?,
        };
        let (first_sequence, anchor) =
            first.unwrap_or_else(|| (last.sequence + 1, last.hash.clone()));
        Ok(Self {
            bytes: file.metadata()?.len(),
            file,
            last,
            first_sequence,
            anchor,
            remarks,
        })
    }

    /// Whether nobody else has written since: a process that takes over begins before the one before it has ended.
    fn is_newest(&self, dir: &Path) -> bool {
        let at = fs::metadata(dir.join(LOG));
        let (Ok(at), Ok(own)) = (at, self.file.metadata()) else {
            return false;
        };
        (at.dev(), at.ino(), at.len()) == (own.dev(), own.ino(), self.bytes)
    }

    fn append(
        &mut self,
        unix_ms: u64,
        (record, lost): (Record, u64),
        counters: &AuditCounters,
    ) -> io::Result<()> {
        let (text, link) = entry::seal(record, (unix_ms, lost), &self.last);
        // In one call, so that a crash leaves a part of one line at most.
        self.file.write_all(text.as_bytes())?;
        self.file.sync_data()?;
        self.bytes += u64::try_from(text.len()).unwrap_or(u64::MAX);
        tracing::info!(
            sequence = link.sequence,
            hash = link.hash,
            "an audit entry is written"
        );
        self.last = link;
        counters.written.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn head(&self) -> Head {
        Head {
            first_sequence: self.first_sequence,
            anchor: self.anchor.clone(),
            last_sequence: self.last.sequence,
            last_hash: self.last.hash.clone(),
        }
    }
}

/// Where the chain goes on: at the last line, or where the head says if the log ends before that. Then the gap stays to be
/// seen.
fn settle(last: Option<Link>, head: Option<&Head>, remarks: &mut Vec<Record>) -> Link {
    let last = last.unwrap_or_else(Link::none);
    let Some(head) = head.filter(|head| head.last_sequence > last.sequence) else {
        return last;
    };
    let remark = Record::new(Kind::Log, "entries_missing")
        .what("from", last.sequence + 1)
        .what("to", head.last_sequence);
    remarks.push(remark);
    Link {
        sequence: head.last_sequence,
        hash: head.last_hash.clone(),
    }
}

/// Cuts off the part of a line that a crash left at the end; what is to be told of it.
fn mend(file: &mut File) -> io::Result<Option<Record>> {
    let tail = tail(file)?;
    let whole = tail.iter().rposition(|byte| *byte == b'\n');
    let partial = tail.get(whole.map_or(0, |at| at + 1)..).unwrap_or_default();
    if partial.is_empty() {
        return Ok(None);
    }
    if matches!(entry::open(partial), Line::Sound(_)) {
        // Only its end is missing.
        file.write_all(b"\n")?;
        file.sync_data()?;
        return Ok(None);
    }
    let bytes = u64::try_from(partial.len()).unwrap_or(u64::MAX);
    let shown = partial.get(..SHOWN_BYTES).unwrap_or(partial);
    let record = Record::new(Kind::Log, "cut_short")
        .what("bytes", bytes)
        .what("digest", Digest::of(partial).to_string())
        .what("text", String::from_utf8_lossy(shown));
    let length = file.metadata()?.len();
    file.set_len(length.saturating_sub(bytes))?;
    file.sync_all()?;
    Ok(Some(record))
}

/// The end of a file: more than the longest line.
fn tail(file: &mut File) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len();
    let most = 4 * u64::try_from(entry::MAX_LINE_BYTES).unwrap_or(u64::MAX);
    file.seek(SeekFrom::Start(length.saturating_sub(most)))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The newest entry that is sound, in the newest file that has one.
fn last_link(dir: &Path) -> io::Result<Option<Link>> {
    for path in files::find(dir).into_iter().rev() {
        let tail = tail(&mut regular::open(&path)?.0)?;
        let mut lines = tail.rsplit(|byte| *byte == b'\n');
        let sound = lines.find_map(|line| match entry::open(line) {
            Line::Sound(entry) => Some(Link {
                sequence: entry.sequence,
                hash: entry.hash,
            }),
            Line::Broken { .. } => None,
        });
        if sound.is_some() {
            return Ok(sound);
        }
    }
    Ok(None)
}

/// The number of the oldest entry in these files, and the hash before it.
fn first_entry(paths: &[PathBuf]) -> io::Result<Option<(u64, String)>> {
    for path in paths {
        let mut start = Vec::new();
        let most = u64::try_from(2 * entry::MAX_LINE_BYTES).unwrap_or(u64::MAX);
        regular::open(path)?.0.take(most).read_to_end(&mut start)?;
        let line = start.split(|byte| *byte == b'\n').next();
        if let Some(Line::Sound(entry)) = line.map(entry::open) {
            return Ok(Some((entry.sequence, entry.previous)));
        }
    }
    Ok(None)
}

/// Makes room: the log becomes the first of the older files, and each of those the next one, up to the first number that is
/// free; where none is, the oldest file goes, and the head says so before. Whatever a crash leaves of it is in order.
fn rotate(dir: &Path, head: Head) -> io::Result<()> {
    let is_there = |number: &usize| files::older(dir, *number).exists();
    if (1..=KEPT_FILES).all(|number| is_there(&number)) {
        let stay = files::find(dir).split_off(1);
        if let Some((first_sequence, anchor)) = first_entry(&stay)? {
            let head = Head {
                first_sequence,
                anchor,
                ..head
            };
            files::write_head(dir, &head)?;
        }
    }
    let free = (1..KEPT_FILES).find(|number| !is_there(number));
    for number in (1..free.unwrap_or(KEPT_FILES)).rev() {
        fs::rename(files::older(dir, number), files::older(dir, number + 1))?;
    }
    fs::rename(dir.join(LOG), files::older(dir, 1))?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests;
