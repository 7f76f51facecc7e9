//! Histograms in `HdrHistogram`'s encoding V2, as every implementation of it writes them, plain or compressed.
//!
//! Written here because the crate's reader makes the histogram that the header asks for, up to 50 MB of it, and is not to
//! be had without two more crates. Whatever a node chose, its counts are put into one shape of 24 kB with two significant
//! digits, which is more than signals tell apart.

use std::io::Read;

use flate2::read::ZlibDecoder;
use hdrhistogram::Histogram;

use super::proto;
use super::report::{Context, Fault, RefusedReason};
use tradewind_engine::model::NodeIndex;
use tradewind_engine::signal::observation::MAX_TIME_US;

/// Largest encoded histogram after decompression, in bytes: five digits over ten minutes, if most steps are empty.
const MAX_BYTES: usize = 64 << 10;

/// Most values of one histogram.
const MAX_COUNT: u64 = 1_000_000_000;

/// The first word of a plain and a compressed histogram; the bits of [`WORD_BITS`] are set as one likes.
const PLAIN: u32 = 0x1c84_9303;
const COMPRESSED: u32 = 0x1c84_9304;
const WORD_BITS: u32 = 0xf0;

/// Significant digits kept.
const DIGITS: u8 = 2;

/// Times in microseconds.
type Times = Box<Histogram<u64>>;

impl Context<'_> {
    /// Reads a node's histogram of service times in microseconds.
    pub fn histogram(&self, message: &proto::NodeHistogram) -> Result<(NodeIndex, Times), Fault> {
        let node = self.node(&message.node)?;
        match proto::HistogramKind::try_from(message.kind) {
            Ok(proto::HistogramKind::ServiceTime) => {}
            Ok(proto::HistogramKind::Unspecified) | Err(_) => {
                let words = format_args!("kind: is {}, must be 1", message.kind);
                return Err(Fault::new(RefusedReason::UnknownValue, words));
            }
        }
        Ok((node, Box::new(decode(&message.hdr_v2)?)))
    }
}

fn undecodable(what: &str) -> Fault {
    Fault::new(RefusedReason::Undecodable, format_args!("hdr_v2: {what}"))
}

fn out_of_range(what: &str) -> Fault {
    Fault::new(RefusedReason::OutOfRange, format_args!("hdr_v2: {what}"))
}

/// Reads an encoded histogram, decompressing it first if need be.
fn decode(bytes: &[u8]) -> Result<Histogram<u64>, Fault> {
    let mut input = Input(bytes);
    if input.word()? & !WORD_BITS != COMPRESSED {
        return decode_plain(bytes);
    }
    let length = usize::try_from(input.word()?).unwrap_or(usize::MAX);
    if length != input.0.len() {
        return Err(undecodable("its length is not what it says"));
    }
    let mut plain = Vec::new();
    let room = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX) + 1;
    ZlibDecoder::new(input.0)
        .take(room)
        .read_to_end(&mut plain)
        .map_err(|_| undecodable("cannot be decompressed"))?;
    decode_plain(&plain)
}

fn decode_plain(bytes: &[u8]) -> Result<Histogram<u64>, Fault> {
    if bytes.len() > MAX_BYTES {
        return Err(out_of_range("has more than 64 KiB"));
    }
    let mut input = Input(bytes);
    if input.word()? & !WORD_BITS != PLAIN {
        return Err(undecodable("is not an HdrHistogram of encoding V2"));
    }
    let length = usize::try_from(input.word()?).unwrap_or(usize::MAX);
    let offset = input.word()?;
    let digits = input.word()?;
    let lowest = input.long()?;
    let _highest = input.long()?;
    let ratio = f64::from_bits(input.long()?);
    if length != input.0.len() {
        return Err(undecodable("its length is not what it says"));
    }
    if offset != 0 || ratio.to_bits() != 1_f64.to_bits() {
        return Err(undecodable("is shifted or scaled"));
    }
    let steps = Steps::new(digits, lowest)
        .ok_or_else(|| out_of_range("must have 1 to 5 digits and a lowest value of 1 or more"))?;
    let mut times = Histogram::new_with_bounds(1, MAX_TIME_US, DIGITS)
        .map_err(|_| undecodable("cannot be kept"))?;
    let (mut step, mut total) = (0_u64, 0_u64);
    while !input.0.is_empty() {
        // Above 0 the count of one step, below it how many steps are empty.
        let read = input.zigzag()?;
        let count = u64::try_from(read).unwrap_or(0);
        if count == 0 {
            step = step.saturating_add(read.unsigned_abs().max(1));
            continue;
        }
        total = total.saturating_add(count);
        if total > MAX_COUNT {
            return Err(out_of_range("has more than 10^9 values"));
        }
        let value = steps
            .value_at(step)
            .filter(|value| *value <= MAX_TIME_US)
            .ok_or_else(|| out_of_range("has values above 10 min"))?;
        times.saturating_record_n(value.max(1), count);
        step = step.saturating_add(1);
    }
    Ok(times)
}

/// Which values the steps of a histogram stand for: some of equal width, then half as many of double width, and so
/// on.
struct Steps {
    /// Width of the first steps, as a power of two.
    unit: u32,
    /// Half the number of the first steps, as a power of two.
    half: u32,
}

impl Steps {
    fn new(digits: u32, lowest: u64) -> Option<Self> {
        if !(1..=5).contains(&digits) {
            return None;
        }
        let told_apart = 2 * 10_u64.pow(digits);
        Some(Self {
            unit: lowest.checked_ilog2()?,
            half: told_apart.next_power_of_two().ilog2() - 1,
        })
    }

    /// The middle of a step; `None` when it is far above what is believed.
    fn value_at(&self, step: u64) -> Option<u64> {
        let doubled = (step >> self.half).saturating_sub(1);
        let place = step - (doubled << self.half);
        let shift = u32::try_from(doubled).ok()?.checked_add(self.unit)?;
        // `place` has at most 18 bits.
        (shift < 40).then(|| (place << shift) + (1 << shift >> 1))
    }
}

/// What is left to read.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (first, rest) = self
            .0
            .split_first_chunk::<N>()
            .ok_or_else(|| undecodable("ends too soon"))?;
        self.0 = rest;
        Ok(*first)
    }

    fn word(&mut self) -> Result<u32, Fault> {
        self.take().map(u32::from_be_bytes)
    }

    fn long(&mut self) -> Result<u64, Fault> {
        self.take().map(u64::from_be_bytes)
    }

    /// A signed number of 1 to 9 bytes: seven bits in each, the lowest first, all eight in the ninth.
    fn zigzag(&mut self) -> Result<i64, Fault> {
        let mut bits = 0_u64;
        for place in 0..9 {
            let [byte] = self.take()?;
            let is_last = byte < 0x80 || place == 8;
            let kept = if place == 8 { byte } else { byte & 0x7f };
            bits |= u64::from(kept) << (7 * place);
            if is_last {
                break;
            }
        }
        Ok((bits >> 1).cast_signed() ^ -(bits & 1).cast_signed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by the crate `hdrhistogram` 7.6: 1..=3,600,000,000 with three digits, holding 300 times 250, twice 5,000 and
    /// once each 1, 700, 701, 2,047, 2,048, 123,456 and 1,000,000.
    const WRITTEN: &str = "1c849313000000170000000000000003000000000000000100000000d693a4003ff00000000000000\
        002ef03d8048107020281150202c11304cb4a02ad3002";
    const WRITTEN_COMPRESSED: &str = "1c8493140000004a789c013f00c0ff1c849313000000170000000000000003000000000000\
        000100000000d693a4003ff00000000000000002ef03d8048107020281150202c11304cb4a02ad3002\
        03750a62";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex
            .chars()
            .filter_map(|digit| u8::try_from(digit.to_digit(16)?).ok())
            .collect();
        digits
            .chunks(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect()
    }

    fn reason(encoded: &[u8]) -> RefusedReason {
        decode(encoded).unwrap_err().reason
    }

    #[test]
    fn what_the_usual_library_writes_is_read() {
        for text in [WRITTEN, WRITTEN_COMPRESSED] {
            let times = decode(&bytes(text)).unwrap();
            assert_eq!(times.len(), 309);
            let mut expected = Histogram::<u64>::new_with_bounds(1, MAX_TIME_US, DIGITS).unwrap();
            for value in [1, 700, 701, 2_047, 2_048, 5_000, 5_000, 123_456, 1_000_000] {
                expected.record(value).unwrap();
            }
            expected.record_n(250, 300).unwrap();
            assert_eq!(times, expected, "at two digits nothing is lost");
        }
    }

    #[test]
    fn every_cut_and_every_flipped_byte_is_refused_or_read_but_never_fatal() {
        for text in [WRITTEN, WRITTEN_COMPRESSED] {
            let good = bytes(text);
            for end in 0..good.len() {
                assert_eq!(reason(&good[..end]), RefusedReason::Undecodable, "{end}");
            }
            for at in 0..good.len() {
                for flip in [0x01, 0x80, 0xff] {
                    let mut bad = good.clone();
                    bad[at] ^= flip;
                    if let Ok(times) = decode(&bad) {
                        assert!(times.max() <= times.high() && times.len() <= MAX_COUNT);
                    }
                }
            }
        }
    }

    #[test]
    fn values_counts_and_sizes_are_bounded() {
        let header = bytes(WRITTEN)[..40].to_vec();
        let with = |counts: &[u8]| {
            let mut encoded = header.clone();
            encoded[7] = u8::try_from(counts.len()).unwrap();
            encoded.extend_from_slice(counts);
            encoded
        };
        assert_eq!(decode(&with(&[])).unwrap().len(), 0);
        // Forty thousand empty steps of three digits end above ten minutes.
        let far = with(&[0xff, 0xf0, 0x04, 0x02]);
        assert_eq!(reason(&far), RefusedReason::OutOfRange);
        let many = with(&[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
        assert_eq!(reason(&many), RefusedReason::OutOfRange);
        let endless = with(&[0xff; 18]);
        assert_eq!(decode(&endless).unwrap().len(), 0);
        let mut digits = with(&[]);
        digits[15] = 6;
        assert_eq!(reason(&digits), RefusedReason::OutOfRange);
        let mut lowest = with(&[]);
        lowest[23] = 0;
        assert_eq!(reason(&lowest), RefusedReason::OutOfRange);
    }

    #[test]
    fn a_small_message_does_not_grow_large() {
        let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut packed, &vec![0; 50 << 20]).unwrap();
        let packed = packed.finish().unwrap();
        let mut bomb = COMPRESSED.to_be_bytes().to_vec();
        bomb.extend(u32::try_from(packed.len()).unwrap().to_be_bytes());
        bomb.extend(packed);
        assert_eq!(reason(&bomb), RefusedReason::OutOfRange);
    }
}
