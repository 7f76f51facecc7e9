//! The lines of a log of any length, each within a bound.

use std::io::{self, BufRead, BufReader, Read};

/// Longest line in bytes; longer ones are read past, not kept.
const MAX_LINE_BYTES: usize = 64 << 10;

/// Room for reading, in bytes.
const READ_BYTES: usize = 64 << 10;

/// What some editors put before the first line.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A log, line by line.
#[derive(Debug)]
pub(super) struct Lines<R> {
    input: BufReader<R>,
    number: u64,
}

/// What was found at a line's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// A line that holds something.
    Line,
    /// One that is longer than 64 KiB.
    TooLong,
    /// The end of the log.
    End,
}

impl<R: Read> Lines<R> {
    /// The lines of `input`.
    pub(super) fn new(input: R) -> Self {
        Self {
            input: BufReader::with_capacity(READ_BYTES, input),
            number: 0,
        }
    }

    /// The number of the last line, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// What the lines come from.
    pub(super) fn source(&self) -> &R {
        self.input.get_ref()
    }

    /// Puts the next line that is not empty into `line`, without its end and the space around it.
    pub(super) fn next(&mut self, line: &mut Vec<u8>) -> io::Result<Found> {
        loop {
            let fits = self.read_line(line)?;
            if line.is_empty() && fits {
                return Ok(Found::End);
            }
            self.number += 1;
            if !fits {
                return Ok(Found::TooLong);
            }
            trim(line, self.number == 1);
            if !line.is_empty() {
                return Ok(Found::Line);
            }
        }
    }

    /// Reads a line with its end, or reads past one that does not fit and says so.
    fn read_line(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        line.clear();
        let mut fits = true;
        loop {
            let available = self.input.fill_buf()?;
            if available.is_empty() {
                return Ok(fits);
            }
            // A log that was cut while its writer went on begins with zeros, and one on a full or broken disk ends so.
            if line.is_empty() && available.first() == Some(&0) {
                let zeros = available.iter().take_while(|byte| **byte == 0).count();
                self.input.consume(zeros);
                continue;
            }
            let end = memchr::memchr(b'\n', available);
            let taken = end.map_or(available.len(), |at| at + 1);
            if line.len() + taken > MAX_LINE_BYTES {
                fits = false;
                line.clear();
            }
            if fits {
                line.extend_from_slice(available.get(..taken).unwrap_or_default());
            }
            self.input.consume(taken);
            if end.is_some() {
                return Ok(fits);
            }
        }
    }
}

fn trim(line: &mut Vec<u8>, is_first: bool) {
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0;
    let length = line.iter().rposition(|byte| !is_blank(byte));
    line.truncate(length.map_or(0, |last| last + 1));
    let mark = if is_first && line.starts_with(BYTE_ORDER_MARK) {
        BYTE_ORDER_MARK.len()
    } else {
        0
    };
    let after = line.get(mark..).unwrap_or_default();
    let blanks = after.iter().take_while(|byte| is_blank(byte)).count();
    if mark + blanks > 0 {
        line.drain(..mark + blanks);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Numbered = (u64, Result<String, Found>);

    fn all(log: &[u8]) -> Vec<Numbered> {
        let mut lines = Lines::new(log);
        let mut line = Vec::new();
        let mut all = Vec::new();
        loop {
            match lines.next(&mut line).unwrap() {
                Found::End => return all,
                Found::TooLong => all.push((lines.number(), Err(Found::TooLong))),
                Found::Line => {
                    let text = String::from_utf8_lossy(&line).into_owned();
                    all.push((lines.number(), Ok(text)));
                }
            }
        }
    }

    #[test]
    fn lines_are_numbered_and_the_odd_ones_passed_over() {
        let long = "x".repeat(MAX_LINE_BYTES * 2);
        let text = format!("a\n\n{long}\r\n  b \r\n\t\nc");
        let line = |text: &str| Ok(text.to_owned());
        assert_eq!(
            all(text.as_bytes()),
            [
                (1, line("a")),
                (3, Err(Found::TooLong)),
                (4, line("b")),
                (6, line("c"))
            ]
        );
        assert_eq!(all(b""), []);
        assert_eq!(all(b"\n"), []);
    }

    #[test]
    fn zeros_around_lines_are_no_part_of_them() {
        let mut log = vec![0; MAX_LINE_BYTES * 2];
        log.extend_from_slice(b"a\nb\0\0\nc\n");
        log.resize(log.len() + MAX_LINE_BYTES * 2, 0);
        let texts = all(&log).into_iter().map(|(_, text)| text.unwrap());
        assert_eq!(texts.collect::<Vec<_>>(), ["a", "b", "c"]);
    }

    #[test]
    fn a_byte_order_mark_is_taken_off_the_first_line() {
        let texts = |log: &str| -> Vec<String> {
            let all = all(log.as_bytes()).into_iter();
            all.map(|(_, text)| text.unwrap()).collect()
        };
        assert_eq!(texts("\u{feff}a\n\u{feff}b"), ["a", "\u{feff}b"]);
        assert_eq!(texts("\u{feff}\n a"), ["a"]);
    }
}
