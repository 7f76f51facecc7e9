//! Lines of a log shown to people, without what names a client.

/// Most characters that are shown.
const MAX_SHOWN: usize = 60;

/// Most bytes that are looked at.
const MAX_READ: usize = 240;

/// A line's beginning as its shape: digits, and the letters of what may be an IPv6 address, are `#`; what follows `?`
/// is left out, for it may open doors.
pub(super) fn sample(line: &[u8]) -> String {
    let cut = line.get(..MAX_READ);
    let text = String::from_utf8_lossy(cut.unwrap_or(line));
    let mut shown = String::new();
    for part in text.split_inclusive([' ', '"', '\t']) {
        match part.split_once('?') {
            Some((before, after)) => {
                push_masked(before, &mut shown);
                shown.push_str("?…");
                shown.extend(
                    after
                        .chars()
                        .next_back()
                        .filter(|c| [' ', '"', '\t'].contains(c)),
                );
            }
            None => push_masked(part, &mut shown),
        }
    }
    match shown.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => {
            shown.truncate(end);
            shown.push('…');
        }
        None if cut.is_some_and(|cut| cut.len() < line.len()) => shown.push('…'),
        None => {}
    }
    shown
}

fn push_masked(text: &str, shown: &mut String) {
    let is_of_address = |c: char| c.is_ascii_hexdigit() || c == ':' || c == '.';
    let mut rest = text;
    while !rest.is_empty() {
        let is_run = rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == ':' || c == '.');
        let ends = |c: char| (c.is_ascii_alphanumeric() || c == ':' || c == '.') != is_run;
        let end = rest.find(ends).unwrap_or(rest.len());
        let (run, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let may_be_address = run.contains(':') && run.chars().all(is_of_address);
        shown.extend(run.chars().map(|c| match c {
            '0'..='9' => '#',
            'a'..='f' | 'A'..='F' if may_be_address => '#',
            c if c.is_control() => '\u{fffd}',
            c => c,
        }));
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_is_shown() {
        for (line, shown) in [
            ("192.0.2.99 oops", "###.#.#.## oops"),
            ("client=2001:db8::beef,x", "client=####:###::####,x"),
            ("[fe80::1%eth0]:80 -", "[####::#%eth#]:## -"),
            ("ip-192-0-2-99.example", "ip-###-#-#-##.example"),
            ("nonsense", "nonsense"),
            (
                "\"GET /a?token=secret HTTP/1.1\" x",
                "\"GET /a?… HTTP/#.#\" x",
            ),
            ("a\u{1b}[m", "a\u{fffd}[m"),
            ("caf\u{e9}", "caf\u{e9}"),
            ("", ""),
        ] {
            assert_eq!(sample(line.as_bytes()), shown, "{line}");
        }
    }

    #[test]
    fn long_lines_are_cut() {
        let shown = sample("é x ".repeat(1_000).as_bytes());
        assert_eq!(shown.chars().count(), MAX_SHOWN + 1);
        assert!(shown.ends_with('…'));
        assert_eq!(sample(b"\xff"), "\u{fffd}");
    }
}
