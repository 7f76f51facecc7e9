//! What several reporters say of one thing, each kept apart, in bounded room.
//!
//! Who comes when all seats are taken gets the seat of somebody who has been silent for as long as words count; without
//! such a one all latecomers share one more. So nobody is left unheard, and a crowd of latecomers is one voice.

use super::observation::Reporter;
use crate::time::Moment;

/// What one of them says, as an accumulator.
pub trait Word: Default {
    /// When it was last added to.
    fn last(&self) -> Moment;
}

/// What up to `SEATS` reporters say, and what all others say together.
#[derive(Debug, Clone, PartialEq)]
pub struct Voices<T, const SEATS: usize> {
    own: Vec<(Reporter, T)>,
    others: Option<Box<T>>,
}

impl<T, const SEATS: usize> Default for Voices<T, SEATS> {
    fn default() -> Self {
        Self {
            own: Vec::new(),
            others: None,
        }
    }
}

impl<T: Word, const SEATS: usize> Voices<T, SEATS> {
    /// What `reporter` says, to be added to. Words older than `silence_ms` count no more.
    pub fn of(&mut self, now: Moment, silence_ms: u64, reporter: Reporter) -> &mut T {
        let known = |(known, _): &(Reporter, T)| *known == reporter;
        let silent = |(_, word): &(Reporter, T)| now.since(word.last()) > silence_ms;
        let mut at = self.own.iter().position(known);
        if at.is_none() {
            let newcomer = (reporter, T::default());
            if self.own.len() < SEATS {
                self.own.push(newcomer);
                at = self.own.len().checked_sub(1);
            } else {
                at = self.own.iter().position(silent);
                if let Some(seat) = at.and_then(|at| self.own.get_mut(at)) {
                    *seat = newcomer;
                }
            }
        }
        match at.and_then(|at| self.own.get_mut(at)) {
            Some((_, word)) => word,
            None => self.others.get_or_insert_default(),
        }
    }

    /// What `reporter` has said, by itself or among those who share a seat.
    pub fn known(&mut self, reporter: Reporter) -> Option<&mut T> {
        let own = self.own.iter_mut().find(|(known, _)| *known == reporter);
        match own {
            Some((_, word)) => Some(word),
            None => self.others.as_deref_mut(),
        }
    }

    /// Everybody who said something: who, and what. Those who share a seat have no name.
    pub fn iter(&self) -> impl Iterator<Item = (Option<Reporter>, &T)> + Clone {
        let own = self.own.iter().map(|(who, word)| (Some(*who), word));
        own.chain(self.others.iter().map(|word| (None, &**word)))
    }

    /// Forgets those of whom nothing is to be kept; what is kept may be changed.
    pub fn keep(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        self.own.retain_mut(|(_, word)| keep(word));
        if self.others.as_deref_mut().is_some_and(|word| !keep(word)) {
            self.others = None;
        }
    }

    /// Whether nobody has said anything.
    pub fn is_empty(&self) -> bool {
        self.own.is_empty() && self.others.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Said(u32, Moment);

    impl Word for Said {
        fn last(&self) -> Moment {
            self.1
        }
    }

    fn say(voices: &mut Voices<Said, 2>, at: u64, who: u16) {
        let said = voices.of(Moment(at), 10_000, Reporter(who));
        *said = Said(said.0 + 1, Moment(at));
    }

    #[test]
    fn latecomers_share_a_seat_until_somebody_is_silent_for_long() {
        let mut voices = Voices::default();
        for who in [1, 2, 3, 4, 1] {
            say(&mut voices, 1_000, who);
        }
        let heard: Vec<_> = voices.iter().map(|(who, said)| (who, said.0)).collect();
        let named = |who| Some(Reporter(who));
        assert_eq!(heard, [(named(1), 2), (named(2), 1), (None, 2)]);
        say(&mut voices, 11_000, 1);
        say(&mut voices, 11_001, 3);
        let heard: Vec<_> = voices.iter().map(|(who, said)| (who, said.0)).collect();
        assert_eq!(heard, [(named(1), 3), (named(3), 1), (None, 2)]);
    }
}
