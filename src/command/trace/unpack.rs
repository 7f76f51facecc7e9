//! Compressed logs, known by how they begin and not by their names: gzip, zstd, xz and bzip2.
//!
//! A file may hold several compressed parts one behind another, as `cat a.gz b.gz` makes, and may be filled up with zeros,
//! as copies to tapes and block devices are. What is broken is told where it breaks; all before it has been read by then.

use std::io::{self, BufRead, BufReader, Read};

use arrayvec::ArrayVec;
use bzip2::bufread::BzDecoder;
use flate2::bufread::GzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

/// Room for reading, in bytes.
const READ_BYTES: usize = 64 << 10;

/// Bytes that tell what a file holds.
const MAGIC_BYTES: usize = 6;

/// Most memory to decompress xz in, in KiB. `xz -9` asks for 65 MiB.
const MAX_XZ_KIB: u32 = 256 << 10;

/// How a log is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum Packing {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// The xz file format.
    Xz,
    /// bzip2.
    Bzip2,
}

/// What a file begins with, or one of its parts.
enum Start {
    Part(Packing),
    /// A part of zstd that holds nothing to read.
    Skippable,
    Other,
    End,
}

/// A log as text, however it is compressed.
pub(in crate::command) struct Unpacked<R: Read> {
    state: State<R>,
    packing: Option<Packing>,
    remark: Option<String>,
}

enum State<R: Read> {
    /// Before a part, or behind the last.
    Between(Source<R>),
    Plain(Source<R>),
    Gzip(Box<GzDecoder<Source<R>>>),
    Zstd(Box<StreamingDecoder<Source<R>, FrameDecoder>>),
    Xz(Box<XzReader<Source<R>>>),
    Bzip2(Box<BzDecoder<Source<R>>>),
    Over,
}

/// Bytes of a file, of which the next few can be looked at.
struct Source<R> {
    input: BufReader<R>,
    /// Looked at, and still to be read.
    next: ArrayVec<u8, MAGIC_BYTES>,
}

impl Packing {
    /// What people call it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
        }
    }
}

impl Start {
    fn of(bytes: &[u8]) -> Self {
        match bytes {
            [] => Self::End,
            [0x1f, 0x8b, ..] => Self::Part(Packing::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Part(Packing::Zstd),
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Skippable,
            [0xfd, b'7', b'z', b'X', b'Z', 0] => Self::Part(Packing::Xz),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Part(Packing::Bzip2),
            _ => Self::Other,
        }
    }
}

impl<R: Read> Unpacked<R> {
    /// The text in `input`.
    pub(in crate::command) fn new(input: R) -> Self {
        Self {
            state: State::Between(Source {
                input: BufReader::with_capacity(READ_BYTES, input),
                next: ArrayVec::new(),
            }),
            packing: None,
            remark: None,
        }
    }

    /// How the part that is being read is compressed, or the last one.
    pub(in crate::command) fn packing(&self) -> Option<Packing> {
        self.packing
    }

    /// What is odd about the file, though its text was read to the end.
    pub(in crate::command) fn remark(&self) -> Option<&str> {
        self.remark.as_deref()
    }

    /// Goes on to the next part.
    fn begin(&mut self, mut source: Source<R>) -> io::Result<()> {
        let is_first = self.packing.is_none();
        self.state = match Start::of(source.look()?) {
            Start::End => State::Over,
            Start::Skippable => {
                source.skip_frame()?;
                self.packing = Some(Packing::Zstd);
                State::Between(source)
            }
            Start::Part(packing) => {
                self.packing = Some(packing);
                State::open(packing, source)?
            }
            Start::Other if is_first => State::Plain(source),
            Start::Other => match source.skip_zeros()? {
                0 => {
                    self.remark =
                        Some("what follows its compressed part is none and is left out".to_owned());
                    State::Over
                }
                zeros => {
                    self.remark = Some(format!(
                        "{zeros} zero bytes behind its compressed part are left out"
                    ));
                    State::Between(source)
                }
            },
        };
        Ok(())
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = match &mut self.state {
                State::Over => return Ok(0),
                State::Plain(source) => return source.read(buffer),
                State::Gzip(part) => part.read(buffer)?,
                State::Zstd(part) => part.read(buffer)?,
                State::Xz(part) => part.read(buffer)?,
                State::Bzip2(part) => part.read(buffer)?,
                State::Between(_) => 0,
            };
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let source = match std::mem::replace(&mut self.state, State::Over) {
                State::Over => return Ok(0),
                State::Between(source) | State::Plain(source) => source,
                State::Gzip(part) => part.into_inner(),
                State::Zstd(part) => check_zstd(*part)?,
                State::Xz(part) => part.into_inner(),
                State::Bzip2(part) => part.into_inner(),
            };
            self.begin(source)?;
        }
    }
}

impl<R: Read> State<R> {
    fn open(packing: Packing, source: Source<R>) -> io::Result<Self> {
        Ok(match packing {
            Packing::Gzip => Self::Gzip(Box::new(GzDecoder::new(source))),
            Packing::Bzip2 => Self::Bzip2(Box::new(BzDecoder::new(source))),
            Packing::Xz => {
                let part = XzReader::new_mem_limit(source, false, MAX_XZ_KIB);
                Self::Xz(Box::new(part))
            }
            Packing::Zstd => {
                let part = StreamingDecoder::new(source).map_err(io::Error::other)?;
                Self::Zstd(Box::new(part))
            }
        })
    }
}

/// Compares the checksum at the part's end, which the decoder leaves to others.
fn check_zstd<R: Read>(part: StreamingDecoder<R, FrameDecoder>) -> io::Result<R> {
    let (source, decoder) = part.into_parts();
    let written = decoder.get_checksum_from_data();
    if written.is_some() && written != decoder.get_calculated_checksum() {
        let text = "checksum of a zstd part is wrong";
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(source)
}

impl<R: Read> Source<R> {
    /// The next few bytes; fewer at the end.
    fn look(&mut self) -> io::Result<&[u8]> {
        while !self.next.is_full() {
            let Some(byte) = self.input.fill_buf()?.first().copied() else {
                break;
            };
            self.input.consume(1);
            self.next.push(byte);
        }
        Ok(&self.next)
    }

    fn skip_zeros(&mut self) -> io::Result<u64> {
        let mut skipped = 0;
        loop {
            let bytes = self.fill_buf()?;
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            if zeros == 0 {
                return Ok(skipped);
            }
            self.consume(zeros);
            skipped += zeros as u64;
        }
    }

    /// Reads past a skippable frame: magic number, length, so many bytes.
    fn skip_frame(&mut self) -> io::Result<()> {
        let mut head = [0; 8];
        self.read_exact(&mut head)?;
        let [_, _, _, _, a, b, c, d] = head;
        let length = u64::from(u32::from_le_bytes([a, b, c, d]));
        let skipped = io::copy(&mut self.take(length), &mut io::sink())?;
        if skipped < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.next.is_empty() {
            return self.input.read(buffer);
        }
        let read = self.next.as_slice().read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl<R: Read> BufRead for Source<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.next.is_empty() {
            return self.input.fill_buf();
        }
        Ok(&self.next)
    }

    fn consume(&mut self, read: usize) {
        if self.next.is_empty() {
            self.input.consume(read);
        } else {
            self.next.drain(..read.min(self.next.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const TEXT: &str = "a line of text, and another one\n";

    fn packed(packing: Packing, text: &str) -> Vec<u8> {
        match packing {
            Packing::Gzip => {
                let level = flate2::Compression::fast();
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(text.as_bytes()).unwrap();
                encoder.finish().unwrap()
            }
            Packing::Zstd => {
                let level = ruzstd::encoding::CompressionLevel::Fastest;
                ruzstd::encoding::compress_to_vec(text.as_bytes(), level)
            }
            Packing::Xz => {
                let options = lzma_rust2::XzOptions::with_preset(1);
                let mut writer = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
                writer.write_all(text.as_bytes()).unwrap();
                writer.finish().unwrap()
            }
            Packing::Bzip2 => {
                let level = bzip2::Compression::fast();
                let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), level);
                encoder.write_all(text.as_bytes()).unwrap();
                encoder.finish().unwrap()
            }
        }
    }

    const ALL: [Packing; 4] = [Packing::Gzip, Packing::Zstd, Packing::Xz, Packing::Bzip2];

    /// What could be read, whether to the end, and what is odd.
    fn unpacked(bytes: &[u8]) -> (Vec<u8>, bool, Option<String>) {
        let mut unpacked = Unpacked::new(bytes);
        let mut text = Vec::new();
        let whole = unpacked.read_to_end(&mut text).is_ok();
        (text, whole, unpacked.remark().map(str::to_owned))
    }

    #[test]
    fn text_is_read_however_it_is_packed() {
        for text in ["", TEXT, &TEXT.repeat(10_000)] {
            let plain = text.as_bytes().to_vec();
            assert_eq!(unpacked(text.as_bytes()), (plain.clone(), true, None));
            for packing in ALL {
                let bytes = packed(packing, text);
                assert_eq!(unpacked(&bytes), (plain.clone(), true, None), "{packing:?}");
                let mut unpacked = Unpacked::new(bytes.as_slice());
                io::copy(&mut unpacked, &mut io::sink()).unwrap();
                assert_eq!(unpacked.packing(), Some(packing));
            }
        }
    }

    #[test]
    fn parts_may_follow_one_another() {
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        for packing in ALL {
            let part = packed(packing, TEXT);
            let mut bytes = [part.as_slice(), &part, &part].concat();
            if packing == Packing::Zstd {
                bytes = [
                    &skippable,
                    part.as_slice(),
                    &skippable,
                    &part,
                    &part,
                    &skippable,
                ]
                .concat();
            }
            let expected = TEXT.repeat(3).into_bytes();
            assert_eq!(unpacked(&bytes), (expected, true, None), "{packing:?}");
        }
    }

    #[test]
    fn padding_and_rubbish_behind_are_left_out_and_told() {
        for packing in ALL {
            let part = packed(packing, TEXT);
            let padded = [part.as_slice(), &[0; 512]].concat();
            let (text, whole, remark) = unpacked(&padded);
            assert_eq!(
                (text.as_slice(), whole),
                (TEXT.as_bytes(), true),
                "{packing:?}"
            );
            assert!(remark.unwrap().starts_with("512 zero bytes"));
            let more = [padded.as_slice(), &part].concat();
            assert_eq!(unpacked(&more).0, TEXT.repeat(2).as_bytes(), "{packing:?}");
            let rubbish = [part.as_slice(), b"rubbish"].concat();
            let (text, whole, remark) = unpacked(&rubbish);
            assert_eq!(
                (text.as_slice(), whole),
                (TEXT.as_bytes(), true),
                "{packing:?}"
            );
            assert!(remark.unwrap().starts_with("what follows"));
        }
    }

    #[test]
    fn what_is_cut_anywhere_gives_what_is_before_and_ends_in_an_error() {
        // Numbers, so that there is something to compress in many blocks.
        let numbers = (0_u32..100).map(|n| n.wrapping_mul(2_654_435_761).to_string());
        let text = numbers.collect::<Vec<_>>().join(
            "
",
        );
        for packing in ALL {
            let bytes = packed(packing, &text);
            for length in MAGIC_BYTES..bytes.len() {
                let (read, whole, _) = unpacked(&bytes[..length]);
                assert!(
                    !whole && text.as_bytes().starts_with(&read),
                    "{packing:?} {length}"
                );
            }
            for at in MAGIC_BYTES..bytes.len() {
                let mut bytes = bytes.clone();
                bytes[at] ^= 0x55;
                // Either it is found out, or it was in a byte that means nothing.
                drop(unpacked(&bytes));
            }
        }
    }
}
