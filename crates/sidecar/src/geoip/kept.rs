//! Compiled tables kept on disk: a start whose files are those they were made of need not compile again, and one whose
//! files are missing or spoilt has the last good tables.
//!
//! One file in the directory of the last good policy and topology, replaced as a whole. It begins with what made it and
//! of which files, then come the tables ([`stored`]), then a checksum of everything before. Whatever is wrong with it,
//! it is passed over; the files say it all again.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3Default;

use super::source::{ContentDigest, FileDigest};
use super::{FileInfo, MAX_FILES};
use crate::regular;
use tradewind_engine::geo::ranges::Ranges;
use tradewind_engine::geo::stored::{self, Damage};

/// What the file is called.
const NAME: &str = "geo-tables";

/// What it begins with; the number counts changes of this frame, not of the tables.
const MAGIC: &[u8] = b"tradewind geo tables 1\n";

/// What made it: of another release it is not read, since that may have read records otherwise.
const MADE_BY: &str = env!("CARGO_PKG_VERSION");

/// Most bytes of what is said of the files.
const MAX_HEADER_BYTES: u32 = 64 << 10;

/// Bytes of the checksum at the end.
const SUM_BYTES: usize = 16;

/// Most bytes that are read. The tables of the largest files allowed take less.
const MAX_BYTES: u64 = 4 << 30;

/// Tables as they were kept.
#[derive(Debug)]
pub struct Tables {
    /// The table for the engine.
    pub ranges: Ranges,
    /// The files it was made of.
    pub files: Vec<FileInfo>,
}

/// Why what was kept cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeptError {
    /// The system said so.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Another kind of file, or one that is cut or too large.
    #[error("it is not a file of kept tables")]
    Foreign,
    /// What it says of its files cannot be read.
    #[error("what it says of its files cannot be read: {0}")]
    Header(String),
    /// The tables are no tables.
    #[error("its tables are spoilt: {0}")]
    Damage(#[from] Damage),
    /// The bytes are not those that were written.
    #[error("its checksum differs")]
    Checksum,
}

/// What is said before the tables.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    made_by: String,
    tables: u32,
    files: Vec<KeptFile>,
}

/// A [`FileInfo`] as it is kept; digests in hexadecimal digits.
#[derive(Debug, Serialize, Deserialize)]
struct KeptFile {
    path: PathBuf,
    database_type: String,
    build_epoch_s: u64,
    sha256: String,
    xxh3: String,
    bytes: usize,
    network_count: usize,
    range_count: usize,
    class_count: usize,
    located_record_count: usize,
    country_record_count: usize,
    operator_record_count: usize,
    faulty_record_count: usize,
}

impl KeptFile {
    fn of(file: &FileInfo) -> Self {
        let FileInfo {
            path,
            database_type,
            build_epoch_s,
            digest,
            content,
            bytes,
            network_count,
            range_count,
            class_count,
            located_record_count,
            country_record_count,
            operator_record_count,
            faulty_record_count,
        } = file;
        Self {
            path: path.clone(),
            database_type: database_type.clone(),
            build_epoch_s: *build_epoch_s,
            sha256: digest.to_string(),
            xxh3: format!("{:032x}", content.0),
            bytes: *bytes,
            network_count: *network_count,
            range_count: *range_count,
            class_count: *class_count,
            located_record_count: *located_record_count,
            country_record_count: *country_record_count,
            operator_record_count: *operator_record_count,
            faulty_record_count: *faulty_record_count,
        }
    }

    fn into_info(self) -> Option<FileInfo> {
        Some(FileInfo {
            digest: FileDigest::from_hex(&self.sha256)?,
            content: ContentDigest(u128::from_str_radix(&self.xxh3, 16).ok()?),
            path: self.path,
            database_type: self.database_type,
            build_epoch_s: self.build_epoch_s,
            bytes: self.bytes,
            network_count: self.network_count,
            range_count: self.range_count,
            class_count: self.class_count,
            located_record_count: self.located_record_count,
            country_record_count: self.country_record_count,
            operator_record_count: self.operator_record_count,
            faulty_record_count: self.faulty_record_count,
        })
    }
}

/// Where tables are kept.
#[derive(Debug, Clone)]
pub struct Keep {
    dir: PathBuf,
}

impl Keep {
    /// In this directory, which is made when the first tables are kept.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The file.
    pub fn path(&self) -> PathBuf {
        self.dir.join(NAME)
    }

    fn aside(&self) -> PathBuf {
        self.dir.join(format!("{NAME}.new"))
    }

    /// The tables kept last; `None` if there are none, or another release made them.
    pub fn last_good(&self) -> Result<Option<Tables>, KeptError> {
        self.load(|_| true)
    }

    /// The tables of files with this content, in this order; `None` if others are kept.
    pub fn made_of(&self, content: &[ContentDigest]) -> Result<Option<Tables>, KeptError> {
        self.load(|files| {
            files
                .iter()
                .map(|file| file.content)
                .eq(content.iter().copied())
        })
    }

    fn load(&self, wanted: impl Fn(&[FileInfo]) -> bool) -> Result<Option<Tables>, KeptError> {
        let mut summed = match regular::open(&self.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                return Err(KeptError::Foreign);
            }
            Err(error) => return Err(error.into()),
            Ok((_, metadata)) if metadata.len() > MAX_BYTES => return Err(KeptError::Foreign),
            Ok((file, metadata)) => {
                let left = metadata.len().checked_sub(SUM_BYTES as u64);
                Summed {
                    file,
                    sum: Xxh3Default::new(),
                    left: left.ok_or(KeptError::Foreign)?,
                }
            }
        };
        let Some(files) = read_header(&mut summed)?.filter(|files| wanted(files)) else {
            return Ok(None);
        };
        let ranges = stored::read(summed.left, &mut |into| summed.fill(into).is_ok())?;
        let mut kept = [0; SUM_BYTES];
        summed.file.read_exact(&mut kept)?;
        if u128::from_le_bytes(kept) != summed.sum.digest128() {
            return Err(KeptError::Checksum);
        }
        Ok(Some(Tables { ranges, files }))
    }

    /// Keeps tables in place of those before: written aside, synced and renamed, so there is always one whole file.
    pub fn save(&self, ranges: &Ranges, files: &[FileInfo]) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let saved = self.write_aside(ranges, files).and_then(|()| {
            fs::rename(self.aside(), self.path())?;
            File::open(&self.dir)?.sync_all()
        });
        if saved.is_err() {
            // A part of it would only take the room that was missing.
            drop(fs::remove_file(self.aside()));
        }
        saved
    }

    fn write_aside(&self, ranges: &Ranges, files: &[FileInfo]) -> io::Result<()> {
        let header = serde_json::to_vec(&Header {
            made_by: MADE_BY.to_owned(),
            tables: stored::FORMAT_VERSION,
            files: files.iter().map(KeptFile::of).collect(),
        })?;
        let mut file = File::create(self.aside())?;
        let mut sum = Xxh3Default::new();
        let mut result = Ok(());
        let mut put = |bytes: &[u8]| {
            if result.is_ok() {
                sum.update(bytes);
                result = file.write_all(bytes);
            }
        };
        put(MAGIC);
        put(&u32::try_from(header.len())
            .unwrap_or(u32::MAX)
            .to_le_bytes());
        put(&header);
        stored::write(ranges, &mut put);
        result?;
        file.write_all(&sum.digest128().to_le_bytes())?;
        file.sync_all()
    }

    /// Forgets what is kept, where no files are configured any more.
    pub fn clear(&self) -> io::Result<()> {
        for path in [self.path(), self.aside()] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// A file that is summed as it is read.
struct Summed {
    file: File,
    sum: Xxh3Default,
    /// Bytes before the checksum.
    left: u64,
}

impl Summed {
    fn fill(&mut self, into: &mut [u8]) -> io::Result<()> {
        let left = self.left.checked_sub(into.len() as u64);
        self.left = left.ok_or(io::ErrorKind::UnexpectedEof)?;
        self.file.read_exact(into)?;
        self.sum.update(into);
        Ok(())
    }
}

/// The files that the tables were made of; `None` if another release wrote it.
fn read_header(summed: &mut Summed) -> Result<Option<Vec<FileInfo>>, KeptError> {
    let mut magic = [0; MAGIC.len()];
    let mut length = [0; 4];
    let begun = summed
        .fill(&mut magic)
        .and_then(|()| summed.fill(&mut length));
    let length = u32::from_le_bytes(length);
    if begun.is_err() || magic != *MAGIC || length > MAX_HEADER_BYTES {
        return Err(KeptError::Foreign);
    }
    let mut header = vec![0; length as usize];
    summed.fill(&mut header).map_err(|_| KeptError::Foreign)?;
    let header: Header =
        serde_json::from_slice(&header).map_err(|error| KeptError::Header(error.to_string()))?;
    if header.made_by != MADE_BY || header.tables != stored::FORMAT_VERSION {
        return Ok(None);
    }
    let files: Option<Vec<FileInfo>> = header.files.into_iter().map(KeptFile::into_info).collect();
    let files = files.filter(|files| (1..=MAX_FILES).contains(&files.len()));
    let files = files.ok_or_else(|| KeptError::Header("no digest, or no file".to_owned()))?;
    Ok(Some(files))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;
    use crate::geoip::{self, Limits};

    fn keep() -> (tempfile::TempDir, Keep) {
        let directory = tempfile::tempdir().unwrap();
        let keep = Keep::new(directory.path().join("state"));
        (directory, keep)
    }

    fn saved(keep: &Keep) -> geoip::Loaded {
        let limits = Limits::default();
        let loaded = geoip::decode_and_compile(example::GEO.to_vec(), &limits).unwrap();
        keep.save(&loaded.ranges, &loaded.files).unwrap();
        loaded
    }

    #[test]
    fn tables_come_back_for_the_files_they_were_made_of() {
        let (_directory, keep) = keep();
        assert!(keep.last_good().unwrap().is_none());
        let loaded = saved(&keep);
        let content = ContentDigest::of(example::GEO);
        let kept = keep.made_of(&[content]).unwrap().unwrap();
        assert_eq!((kept.ranges, kept.files), (loaded.ranges, loaded.files));
        for other in [&[][..], &[ContentDigest(0)], &[content, content]] {
            assert!(keep.made_of(other).unwrap().is_none());
        }
        assert!(keep.last_good().unwrap().is_some());
        assert!(!keep.aside().exists());
        keep.clear().unwrap();
        keep.clear().unwrap();
        assert!(keep.last_good().unwrap().is_none());
    }

    #[test]
    fn a_kept_file_cut_or_changed_anywhere_is_passed_over() {
        let (_directory, keep) = keep();
        saved(&keep);
        let whole = fs::read(keep.path()).unwrap();
        let step = (whole.len() / 300).max(1);
        let near_the_ends = (0..64).chain(whole.len() - 64..whole.len());
        for at in near_the_ends.chain((0..whole.len()).step_by(step)) {
            fs::write(keep.path(), &whole[..at]).unwrap();
            assert!(keep.last_good().is_err(), "cut at {at}");
            let mut changed = whole.clone();
            changed[at] ^= 0x11;
            fs::write(keep.path(), changed).unwrap();
            let read = keep.last_good();
            assert!(!matches!(read, Ok(Some(_))), "changed at {at}");
        }
        fs::write(keep.path(), [&whole[..], b"more"].concat()).unwrap();
        assert!(keep.last_good().is_err());
    }

    #[test]
    fn tables_of_another_release_are_passed_over() {
        let (_directory, keep) = keep();
        saved(&keep);
        let whole = fs::read(keep.path()).unwrap();
        let text = format!("\"made_by\":\"{MADE_BY}\"");
        let at = whole
            .windows(text.len())
            .position(|window| window == text.as_bytes())
            .unwrap();
        let mut other = whole;
        other[at + text.len() - 2] = b'x';
        fs::write(keep.path(), other).unwrap();
        assert!(keep.last_good().unwrap().is_none());
    }

    #[test]
    fn what_is_no_file_is_passed_over() {
        let (_directory, keep) = keep();
        fs::create_dir_all(keep.path()).unwrap();
        assert!(matches!(keep.last_good(), Err(KeptError::Foreign)));
    }
}
