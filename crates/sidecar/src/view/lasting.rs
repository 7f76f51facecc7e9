//! Since when each of some things has been there, told again and again which are.

use std::collections::BTreeMap;

use tradewind_engine::time::Moment;

/// Since when things are there; what is not told of any more is forgotten.
#[derive(Debug, Default)]
pub struct Lasting(BTreeMap<String, Moment>);

impl Lasting {
    /// Takes those that are there now.
    pub fn note<'n>(&mut self, now: Moment, there: impl Iterator<Item = &'n str>) {
        let there = there.map(|name| {
            let since = self.0.get(name).copied().unwrap_or(now);
            (name.to_owned(), since)
        });
        self.0 = there.collect();
    }

    /// How long this one has been there, in ms.
    pub fn ms(&self, now: Moment, name: &str) -> u64 {
        self.0.get(name).map_or(0, |since| now.since(*since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_and_comes_back_begins_anew() {
        let mut lasting = Lasting::default();
        lasting.note(Moment(1), ["a", "b"].into_iter());
        lasting.note(Moment(5), std::iter::once("a"));
        assert_eq!(
            (lasting.ms(Moment(9), "a"), lasting.ms(Moment(9), "b")),
            (8, 0)
        );
        lasting.note(Moment(10), ["a", "b"].into_iter());
        assert_eq!(
            (lasting.ms(Moment(12), "a"), lasting.ms(Moment(12), "b")),
            (11, 2)
        );
    }
}
