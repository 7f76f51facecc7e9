//! The ids of decisions, which are receipts: whoever tells an outcome with one shows that the decision was given.
//!
//! An id is 24 hexadecimal digits. The first 16 name the decision: 4 the process, 2 the worker, 10 its count. The last 8
//! are a tag, made of those with a key that each process draws at its start: SipHash-2-4, cut to 32 bits. Who guesses at
//! the 50,000 a second that a reporter may tell hits one in a day.
//!
//! Whoever follows decides from a copy while the sidecar does not answer. Each such stream is given numbers of its own and
//! a key of its own, made from the process's: so its ids are believed, and it can make none that are not its own.

use tradewind_engine::signal::observation::DecisionNumber;

/// Digits of an id without its tag, and with it.
const BARE_DIGITS: usize = 16;
/// Digits of an id.
pub const DIGITS: usize = 24;

/// Bits of the count of one who decides from a copy; those above them, below [`DecisionNumber::COPY`], tell copies apart.
const COPY_COUNT_BITS: u32 = 24;

/// What tags are made with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ReceiptKey(u64, u64);

impl std::fmt::Debug for ReceiptKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // It is nobody's business.
        f.write_str("ReceiptKey")
    }
}

impl ReceiptKey {
    /// A key of these two random numbers.
    pub const fn new(first: u64, second: u64) -> Self {
        Self(first, second)
    }

    /// As it is told to a follower.
    pub fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.0) << 64 | u128::from(self.1)).to_be_bytes()
    }

    /// As it was told; `None` where it is no key.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (first, second) = bytes.split_first_chunk::<8>()?;
        let second = second.try_into().ok()?;
        Some(Self(u64::from_be_bytes(*first), u64::from_be_bytes(second)))
    }

    /// The id of a decision, as it is answered.
    pub fn id(self, number: u64) -> DecisionId {
        DecisionId::new(number, self.tag(number))
    }

    /// The key of the copy whose ids begin with `first`.
    #[must_use]
    pub fn of_copy(self, first: u64) -> Self {
        // No id that the process itself gives has the mark of a copy, so no tag of it tells anything of these.
        Self(self.sip(first), self.sip(first | 1))
    }

    /// Whether a decision of this number was given, by the process itself or from a copy.
    fn gave(self, number: u64, tag: u32) -> bool {
        let key = if DecisionNumber::of(number).is_of_copy() {
            self.of_copy(first_of_copy(number))
        } else {
            self
        };
        key.tag(number) == tag
    }

    #[expect(clippy::cast_possible_truncation, reason = "half of it is kept")]
    fn tag(self, number: u64) -> u32 {
        self.sip(number) as u32
    }

    /// SipHash-2-4 of eight bytes.
    #[inline]
    fn sip(self, word: u64) -> u64 {
        /// The length of what is hashed, where the algorithm puts it.
        const LENGTH: u64 = 8 << 56;
        let mut v = [
            self.0 ^ 0x736f_6d65_7073_6575,
            self.1 ^ 0x646f_7261_6e64_6f6d,
            self.0 ^ 0x6c79_6765_6e65_7261,
            self.1 ^ 0x7465_6462_7974_6573,
        ];
        for block in [word, LENGTH] {
            v[3] ^= block;
            v = round(round(v));
            v[0] ^= block;
        }
        v[2] ^= 0xff;
        v = round(round(round(round(v))));
        v[0] ^ v[1] ^ v[2] ^ v[3]
    }
}

#[inline]
fn round([mut a, mut b, mut c, mut d]: [u64; 4]) -> [u64; 4] {
    a = a.wrapping_add(b);
    b = b.rotate_left(13) ^ a;
    a = a.rotate_left(32);
    c = c.wrapping_add(d);
    d = d.rotate_left(16) ^ c;
    a = a.wrapping_add(d);
    d = d.rotate_left(21) ^ a;
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    c = c.rotate_left(32);
    [a, b, c, d]
}

/// Where the ids of a copy begin, by one of them.
fn first_of_copy(number: u64) -> u64 {
    number & !((1 << COPY_COUNT_BITS) - 1)
}

/// Where the ids of the copy of this number begin, in the process `instance`. After 32,768 copies numbers come again.
pub fn copy_from(instance: u16, copy: u16) -> u64 {
    let copy = u64::from(copy & 0x7fff) << COPY_COUNT_BITS;
    u64::from(instance) << 48 | DecisionNumber::COPY | copy
}

/// Names decisions made from a copy.
#[derive(Debug)]
pub struct CopyNumbers {
    first: u64,
    key: ReceiptKey,
    made: std::sync::atomic::AtomicU64,
}

impl CopyNumbers {
    /// From what a follower was told.
    pub fn new(first: u64, key: ReceiptKey) -> Self {
        Self {
            first,
            key,
            made: std::sync::atomic::AtomicU64::new(0),
        }
    }

    /// The next decision's number and id; `None` when all sixteen million are used up.
    pub fn next(&self) -> Option<(u64, DecisionId)> {
        let made = self.made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let number = self.first | made;
        (made < 1 << COPY_COUNT_BITS).then(|| (number, self.key.id(number)))
    }

    /// Whether it is time to ask for others: three quarters are used up.
    pub fn is_running_out(&self) -> bool {
        let made = self.made.load(std::sync::atomic::Ordering::Relaxed);
        made >= 3 << (COPY_COUNT_BITS - 2)
    }
}

/// A decision's name, on the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecisionId([u8; DIGITS]);

impl DecisionId {
    fn new(number: u64, tag: u32) -> Self {
        let mut digits = [0; DIGITS];
        let bytes = number.to_be_bytes().into_iter().chain(tag.to_be_bytes());
        for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
            for (digit, nibble) in pair.iter_mut().zip([byte >> 4, byte & 0xf]) {
                *digit = nibble + if nibble < 10 { b'0' } else { b'a' - 10 };
            }
        }
        Self(digits)
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// What an id that was told says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// It is a receipt of this process.
    Receipt(DecisionNumber),
    /// It is of another process, or without a tag.
    NoReceipt,
    /// It says that it is of this process, which never gave it.
    Unknown,
    /// It has not the form of an id.
    Malformed,
}

/// The number of a decision whose id has the form of one, whoever made it.
pub fn number_of(id: &str) -> Option<u64> {
    let (number, _) = id.split_at_checked(BARE_DIGITS)?;
    u64::from_str_radix(number, 16).ok()
}

/// Reads an id that was told to the process `instance` with this key.
pub fn read(id: &str, (instance, key): (u16, ReceiptKey)) -> Reading {
    let is_hex = id.bytes().all(|digit| digit.is_ascii_hexdigit());
    let Some((number, tag)) = id.split_at_checked(BARE_DIGITS).filter(|_| is_hex) else {
        return Reading::Malformed;
    };
    let Ok(number) = u64::from_str_radix(number, 16) else {
        return Reading::Malformed;
    };
    match (id.len(), u32::from_str_radix(tag, 16)) {
        (BARE_DIGITS, _) => Reading::NoReceipt,
        (DIGITS, Ok(_)) if number >> 48 != u64::from(instance) => Reading::NoReceipt,
        (DIGITS, Ok(tag)) if key.gave(number, tag) => Reading::Receipt(DecisionNumber::of(number)),
        (DIGITS, Ok(_)) => Reading::Unknown,
        _ => Reading::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: ReceiptKey = ReceiptKey::new(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);

    /// The vector of the algorithm's authors for eight bytes.
    #[test]
    fn the_tag_is_siphash_2_4() {
        assert_eq!(KEY.sip(0x0706_0504_0302_0100), 0x93f5_f579_9a93_2462);
    }

    #[test]
    fn an_id_that_was_given_is_a_receipt_and_no_other_is() {
        let number = 0x0a0b_0300_0000_00af;
        let id = KEY.id(number);
        let read = |id: &str| read(id, (0x0a0b, KEY));
        assert!(id.as_str().starts_with("0a0b0300000000af") && id.as_str().len() == 24);
        let receipt = Reading::Receipt(DecisionNumber(0x0300_0000_00af));
        assert_eq!(read(id.as_str()), receipt);
        assert_eq!(read(&id.as_str().to_uppercase()), receipt);
        assert_eq!(read(KEY.id(number ^ 1 << 60).as_str()), Reading::NoReceipt);
        assert_eq!(read("0a0b0300000000af"), Reading::NoReceipt);
        for guess in 0..1_000_u64 {
            let guess = format!("0a0b0300000000af{guess:08x}");
            assert!(guess == id.as_str() || read(&guess) == Reading::Unknown);
        }
        for malformed in [
            "",
            "a",
            "0a0b0300000000a",
            "0a0b0300000000af0",
            "+a0b0300000000af",
        ] {
            assert_eq!(read(malformed), Reading::Malformed, "{malformed}");
        }
        assert_eq!(read(&"é".repeat(12)), Reading::Malformed);
    }

    #[test]
    fn numbers_run_out_and_say_so_before() {
        let numbers = CopyNumbers::new(copy_from(1, 1), KEY);
        let made = |count: u64| {
            numbers
                .made
                .store(count, std::sync::atomic::Ordering::Relaxed);
        };
        made(12_582_911);
        assert!(!numbers.is_running_out());
        assert!(numbers.next().is_some() && numbers.is_running_out());
        made(16_777_215);
        assert!(numbers.next().is_some());
        assert_eq!(numbers.next(), None);
    }

    #[test]
    fn a_copys_ids_are_receipts_and_it_can_make_no_others() {
        let first = copy_from(0x0a0b, 7);
        let copy = KEY.of_copy(first);
        let told = ReceiptKey::from_bytes(&copy.to_bytes());
        assert_eq!(told, Some(copy));
        assert_eq!(ReceiptKey::from_bytes(&[0; 15]), None);
        let numbers = CopyNumbers::new(first, copy);
        let read = |id: DecisionId| read(id.as_str(), (0x0a0b, KEY));
        for made in 0..3 {
            let receipt = Reading::Receipt(DecisionNumber::of(first | made));
            let (number, id) = numbers.next().unwrap();
            assert_eq!((read(id), number_of(id.as_str())), (receipt, Some(number)));
        }
        for other in [0x0a0b_0300_0000_00af, copy_from(0x0a0b, 8)] {
            assert_eq!(read(copy.id(other)), Reading::Unknown);
        }
    }
}
