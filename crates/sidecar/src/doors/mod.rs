//! The doors by which others come in: proxies by [`grpc`], [`http`] and [`envoy`], their copies by [`follow`], balancers by [`health`],
//! operators by [`admin`]. Short calls that come often are answered by hand ([`unary`]); bodies of others are handed on
//! as they come ([`earned`]). The door of people and monitors is with what it shows, in [`observe`](crate::observe).

pub mod admin;
pub mod earned;
pub mod envoy;
pub mod follow;
pub mod grpc;
pub mod health;
pub mod http;
pub mod unary;

/// Longest message of an error, in bytes: clients take 8 KiB of headers, in which other bytes than letters take three each.
const MAX_WORDS_BYTES: usize = 1 << 10;

/// All faults of a request in one message; of many those that fit, and how many more there are.
fn in_words(faults: &[String]) -> String {
    let mut words = String::new();
    for (number, fault) in faults.iter().enumerate() {
        if number > 0 && words.len() + fault.len() > MAX_WORDS_BYTES {
            let more = faults.len() - number;
            return format!("{words}; and {more} more");
        }
        if number > 0 {
            words.push_str("; ");
        }
        words.push_str(fault);
    }
    words
}

#[cfg(test)]
mod tests;
