//! The fields of an encoded message, borrowed.
//!
//! Reads what encoders write, and gives up (`None`) at all else that Protocol Buffers allow or forbid: groups, numbers that
//! are too long, bytes that are missing. Whoever reads by it has prost's message to fall back on, which then decides.

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'m> {
    /// A number or a truth.
    Varint(u64),
    /// Eight bytes.
    Eight([u8; 8]),
    /// A text, bytes or a message.
    Bytes(&'m [u8]),
    /// Four bytes.
    Four([u8; 4]),
}

/// Calls `take` with the number and the value of each field, in order, until it gives up.
#[inline]
pub fn each<'m>(
    mut message: &'m [u8],
    mut take: impl FnMut(u32, Value<'m>) -> Option<()>,
) -> Option<()> {
    while !message.is_empty() {
        let key = u32::try_from(varint(&mut message)?).ok()?;
        let value = match key & 7 {
            0 => Value::Varint(varint(&mut message)?),
            1 => Value::Eight(take_chunk(&mut message)?),
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                Value::Bytes(message.split_off(..length)?)
            }
            5 => Value::Four(take_chunk(&mut message)?),
            _ => return None,
        };
        match key >> 3 {
            0 => return None,
            number => take(number, value)?,
        }
    }
    Some(())
}

/// A field that must be a text.
#[inline]
pub fn text(value: Value<'_>) -> Option<&str> {
    str::from_utf8(bytes(value)?).ok()
}

/// A field that must be bytes or a message.
#[inline]
pub fn bytes(value: Value<'_>) -> Option<&[u8]> {
    match value {
        Value::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

/// A field that must be a number or a truth.
#[inline]
pub fn number(value: Value<'_>) -> Option<u64> {
    match value {
        Value::Varint(number) => Some(number),
        _ => None,
    }
}

/// A field that must be a number of 32 bits: of a longer one the lower bits count, as everywhere in Protocol Buffers.
#[inline]
pub fn short_number(value: Value<'_>) -> Option<u32> {
    let [a, b, c, d, ..] = number(value)?.to_le_bytes();
    Some(u32::from_le_bytes([a, b, c, d]))
}

/// A field that must be a `double`.
#[inline]
pub fn double(value: Value<'_>) -> Option<f64> {
    match value {
        Value::Eight(bytes) => Some(f64::from_le_bytes(bytes)),
        _ => None,
    }
}

fn take_chunk<const LENGTH: usize>(message: &mut &[u8]) -> Option<[u8; LENGTH]> {
    let (chunk, rest) = message.split_first_chunk()?;
    *message = rest;
    Some(*chunk)
}

#[inline]
fn varint(message: &mut &[u8]) -> Option<u64> {
    match message.split_first()? {
        (&byte @ ..0x80, rest) => {
            *message = rest;
            Some(u64::from(byte))
        }
        _ => long_varint(message),
    }
}

/// Of two to nine bytes; ten are only written for negative numbers, which our messages have none of.
fn long_varint(message: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let byte = *message.split_off_first()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}
