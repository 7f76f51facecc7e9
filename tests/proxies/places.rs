//! Free ports in place of those that the examples name.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::ports::free_port;

/// The file of an example, as it is in the repository.
pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join(name)
}

/// Which port stands for which one of the examples.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places(BTreeMap<u16, u16>);

impl Places {
    /// `port` stands for what the examples call `named`.
    pub(crate) fn put(&mut self, named: u16, port: u16) {
        self.0.insert(named, port);
    }

    /// The address that stands for `127.0.0.1:named`; a free port is taken when it is first asked for.
    pub(crate) fn address(&mut self, named: u16) -> SocketAddr {
        let port = *self.0.entry(named).or_insert_with(free_port);
        (Ipv4Addr::LOCALHOST, port).into()
    }

    /// A text with the port of every `127.0.0.1:port` and `port_value: port` in its place, all at once.
    pub(crate) fn rewrite(&mut self, text: &str) -> String {
        ["127.0.0.1:", "port_value: "]
            .iter()
            .fold(text.to_owned(), |text, before| {
                self.rewrite_after(before, &text)
            })
    }

    fn rewrite_after(&mut self, before: &str, text: &str) -> String {
        let mut parts = text.split(before);
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let end = part
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(part.len());
            let (port, rest) = part.split_at(end);
            match port.parse() {
                Ok(named) => write!(out, "{before}{}{rest}", self.address(named).port()).unwrap(),
                Err(_) => write!(out, "{before}{part}").unwrap(),
            }
        }
        out
    }

    /// A text with each of these ports in its place wherever it stands as a number of its own, all at once.
    pub(crate) fn rewrite_numbers(&mut self, text: &str, named: &[u16]) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(begin) = rest.find(|c: char| c.is_ascii_digit()) {
            let (before, number) = rest.split_at(begin);
            let end = number
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(number.len());
            let (number, after) = number.split_at(end);
            out.push_str(before);
            match number.parse() {
                Ok(port) if named.contains(&port) => {
                    write!(out, "{}", self.address(port).port()).unwrap();
                }
                _ => out.push_str(number),
            }
            rest = after;
        }
        out + rest
    }

    /// Copies files of an example into `folder`, every port in its place.
    pub(crate) fn copy(&mut self, names: &[&str], folder: &Path) {
        for name in names {
            let path = example(name);
            let text = fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let target = folder.join(path.file_name().unwrap());
            fs::write(target, self.rewrite(&text)).unwrap();
        }
    }
}

#[test]
fn ports_are_put_in_their_places_all_at_once() {
    let mut places = Places::default();
    places.put(9001, 9002);
    places.put(9002, 9001);
    let text = "a 127.0.0.1:9001, \"127.0.0.1:9002\"; 127.0.0.1: 127.0.0.0/8 port_value: 9001 }";
    assert_eq!(
        places.rewrite(text),
        "a 127.0.0.1:9002, \"127.0.0.1:9001\"; 127.0.0.1: 127.0.0.0/8 port_value: 9002 }"
    );
}

#[test]
fn ports_are_put_in_their_places_wherever_they_stand() {
    let mut places = Places::default();
    places.put(9001, 9002);
    places.put(9002, 9001);
    let text = "parent 9001 0; port = \"9002\"; 19001 127.0.0.1:9001 max-age=9003 9002";
    assert_eq!(
        places.rewrite_numbers(text, &[9001, 9002]),
        "parent 9002 0; port = \"9001\"; 19001 127.0.0.1:9002 max-age=9003 9001"
    );
}
