//! A bus in this process: messages take their time, and may be lost, doubled, overtaken and cut off.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::sync::Arc;

use tradewind_engine::fleet::MemberId;
use tradewind_engine::fleet::evidence::Evidence;
use tradewind_engine::fleet::lease::{Action, Event, Held};
use tradewind_engine::fleet::member::State;
use tradewind_engine::number::to_u64;
use tradewind_engine::time::Moment;

use crate::random::Random;

/// What goes over the bus, and to whom.
#[derive(Debug, Clone)]
pub enum Message {
    /// What a member saw, to the chair.
    Evidence(Arc<Evidence>),
    /// What the chair says, to a member.
    State(Arc<State>),
    /// A value to be set, to the store.
    Set(Action),
    /// The store's answer, or what it holds now.
    Store(Event),
}

/// A message under way: to whom and from whom, by their places; the store has none.
#[derive(Debug, Clone)]
pub struct Letter {
    /// From whom.
    pub from: usize,
    /// To whom.
    pub to: usize,
    /// What.
    pub message: Message,
}

/// Chances of one message in a thousand.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    /// It is lost.
    pub lost: f64,
    /// It comes twice.
    pub doubled: f64,
    /// It takes 200 ms more, and is overtaken.
    pub late: f64,
}

impl Faults {
    /// One in a thousand of each.
    pub const USUAL: Self = Self {
        lost: 0.001,
        doubled: 0.001,
        late: 0.001,
    };
}

/// What was carried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Carried {
    /// Messages of members to the chair, and their bytes.
    pub evidence: (u64, u64),
    /// Messages of the chair, each counted once, and their bytes.
    pub states: (u64, u64),
    /// Those of them that came to a member.
    pub deliveries: u64,
}

/// The bus, and the store that stands on it.
#[derive(Debug)]
pub struct Hub {
    random: Random,
    faults: Faults,
    /// How far each member is from the bus, in ms.
    delays: Vec<f64>,
    under_way: BinaryHeap<Reverse<(u64, u64)>>,
    letters: std::collections::BTreeMap<u64, Letter>,
    count: u64,
    cut: BTreeSet<usize>,
    /// Whether messages of those cut off are kept, to come all together at the end of it.
    pub keeps: bool,
    kept: Vec<Letter>,
    store: (u64, Held),
    /// What was carried so far.
    pub carried: Carried,
}

impl Hub {
    /// A bus for so many members, from 5 to 110 ms away.
    pub fn new(members: usize, faults: Faults, seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x0062_7573);
        let delays = (0..members).map(|_| random.between(5.0, 110.0)).collect();
        let nobody = Held {
            holder: MemberId(0),
            epoch: None,
        };
        Self {
            random,
            faults,
            delays,
            under_way: BinaryHeap::new(),
            letters: std::collections::BTreeMap::new(),
            count: 0,
            cut: BTreeSet::new(),
            keeps: false,
            kept: Vec::new(),
            store: (0, nobody),
            carried: Carried::default(),
        }
    }

    /// These members are cut off from now on, and nobody else.
    pub fn cut(&mut self, now: Moment, members: BTreeSet<usize>) {
        self.cut = members;
        for letter in std::mem::take(&mut self.kept) {
            self.send(now, letter);
        }
    }

    /// Whether a member is cut off.
    pub fn is_cut(&self, member: usize) -> bool {
        self.cut.contains(&member)
    }

    /// Takes a letter. Faults concern evidence and states; what is said to the store is said over a connection.
    pub fn send(&mut self, now: Moment, letter: Letter) {
        match &letter.message {
            Message::Evidence(evidence) => {
                self.carried.evidence.0 += 1;
                self.carried.evidence.1 += evidence.size() as u64;
            }
            Message::State(_) => self.carried.deliveries += 1,
            Message::Set(_) | Message::Store(_) => {}
        }
        if self.cut.contains(&letter.from) || self.cut.contains(&letter.to) {
            if self.keeps && matches!(letter.message, Message::Evidence(_)) {
                self.kept.push(letter);
            }
            return;
        }
        let is_loose = matches!(letter.message, Message::Evidence(_) | Message::State(_));
        let chance = self.random.unit();
        if is_loose && chance < self.faults.lost {
            return;
        }
        if is_loose && self.random.unit() < self.faults.doubled {
            self.put(now, letter.clone());
        }
        self.put(now, letter);
    }

    fn put(&mut self, now: Moment, letter: Letter) {
        let delay = |member: usize| self.delays.get(member).copied().unwrap_or(5.0);
        let mut ms = match letter.message {
            Message::Evidence(_) | Message::State(_) => {
                f64::midpoint(delay(letter.from), delay(letter.to))
            }
            // The store stands where the bus does.
            Message::Set(_) | Message::Store(_) => delay(letter.from) / 2.0,
        };
        ms += self.random.exponential(3.0);
        if self.random.unit() < self.faults.late {
            ms += 200.0;
        }
        self.count += 1;
        let due = now.plus(to_u64(ms));
        self.under_way.push(Reverse((due.0, self.count)));
        self.letters.insert(self.count, letter);
    }

    /// The next letter that has come by `until`, and when it came.
    pub fn next(&mut self, until: Moment) -> Option<(Moment, Letter)> {
        let Reverse((due, number)) = *self.under_way.peek()?;
        if due > until.0 {
            return None;
        }
        self.under_way.pop();
        let letter = self.letters.remove(&number)?;
        Some((Moment(due), letter))
    }

    /// The store gets a request of a member; its answer, and whether the value is another now.
    pub fn set(&mut self, action: Action) -> Option<(Event, bool)> {
        let Action::Set {
            number,
            expected,
            value,
        } = action
        else {
            return None;
        };
        let (revision, held) = self.store;
        if expected != revision {
            return Some((
                Event::Refused {
                    revision,
                    value: held,
                },
                false,
            ));
        }
        self.store = (revision + 1, value);
        let revision = revision + 1;
        Some((Event::Set { number, revision }, true))
    }

    /// What the store holds.
    pub fn held(&self) -> Event {
        let (revision, value) = self.store;
        Event::Seen { revision, value }
    }
}
