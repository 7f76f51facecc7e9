//! What node sets and content classes are called from one edition to the next, and in both lanes of a snapshot.
//!
//! A position in a routing's tables is good for that routing only: a rule that moves, or a new one for another host,
//! renumbers what stands behind it. What is learned of a set or a class goes by a number instead, that stands for a
//! meaning: equal meaning, equal number. A class means its name. A set means its members; from one edition to the next it
//! also means the pool and the demands that it was made for, so that its hot keys stay when a node joins or leaves it.
//! What keeps requests on one node (affinity) is not part of it: keys of another kind are other keys, and those that
//! nobody asks for fade within a minute.
//!
//! Whoever compiles the same texts for the first time gets the same numbers, which are then the positions. Only a process
//! that has seen several editions has others; they are told to nobody.

use std::collections::{BTreeMap, BTreeSet};

use super::{Class, Demands, NodeSet, Routing, SetIndex};
use crate::hash::KeyHash;
use crate::model::{ClassIndex, NodeIndex};
use crate::topology::Topology;

/// What a set of nodes is called in signals, and in what is told of decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetNumber(pub u16);

impl SetNumber {
    /// A set that is gone: nobody's. No table has so many.
    pub const NONE: Self = Self(u16::MAX);

    /// The number as an offset into tables by set.
    pub fn get(self) -> usize {
        usize::from(self.0)
    }
}

/// What a content class is called there; 0 is what belongs to no class, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassNumber(pub u8);

impl ClassNumber {
    /// What belongs to no class.
    pub const NONE: Self = Self(0);

    /// The number as an offset into tables by class.
    pub fn get(self) -> usize {
        usize::from(self.0)
    }
}

/// What numbers stand for. A number whose meaning is gone is free until another meaning needs one.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Numbers {
    sets: Vec<Option<SetMeaning>>,
    /// From number 1 on.
    classes: Vec<Option<Box<str>>>,
}

/// What the sets and classes of one routing are called, by their positions.
#[derive(Debug, PartialEq, Eq, Default)]
pub struct Numbered {
    sets: Vec<SetNumber>,
    /// Position 0 is what belongs to no class.
    classes: Vec<ClassNumber>,
}

/// What a set of nodes was made for, whole pools first, and a hash of who is in it.
#[derive(Debug, Clone, PartialEq)]
struct SetMeaning {
    asked_for: Vec<(Box<str>, Demands)>,
    members: KeyHash,
}

/// Where the numbers of one table are in the next.
#[derive(Debug)]
pub(crate) struct Renumbered {
    /// By set.
    pub(crate) sets: Vec<Option<usize>>,
    /// By class, 0 among them.
    pub(crate) classes: Vec<Option<usize>>,
}

impl Numbers {
    /// How many numbers of sets there are, free ones among them.
    pub fn sets(&self) -> usize {
        self.sets.len()
    }

    /// How many numbers of classes there are, 0 and free ones among them.
    pub fn classes(&self) -> usize {
        self.classes.len() + 1
    }

    /// The numbers of classes that stand for something.
    pub fn known_classes(&self) -> impl Iterator<Item = ClassNumber> + '_ {
        let named = self.classes.iter().zip(1_u8..);
        let named = named.filter(|(name, _)| name.is_some());
        std::iter::once(ClassNumber::NONE).chain(named.map(|(_, number)| ClassNumber(number)))
    }

    /// The name of a class.
    pub fn class_name(&self, class: ClassNumber) -> Option<&str> {
        self.classes.get(class.get().checked_sub(1)?)?.as_deref()
    }

    /// The numbers of what these routings of a fleet have: what means the same keeps its number, and what is new gets one
    /// that has become free.
    #[must_use]
    pub fn after(&self, topology: &Topology, routings: &[&Routing]) -> Self {
        let wanted = Wanted::of(topology, routings);
        let index = Index::of(&self.sets);
        let sets = wanted.sets.into_iter().map(|set| (index.find(&set), set));
        let classes = wanted.classes.into_iter();
        let classes = classes.map(|name| (self.position_of(&name).map(Found::Same), name));
        Self {
            sets: place(sets.collect()),
            classes: place(classes.collect()),
        }
    }

    /// The same where nothing may have gone: what has no number yet gets one behind all others.
    #[must_use]
    pub(crate) fn with(&self, topology: &Topology, routings: &[&Routing]) -> Self {
        let wanted = Wanted::of(topology, routings);
        let mut all = self.clone();
        let known: BTreeSet<KeyHash> = self.sets.iter().flatten().map(|set| set.members).collect();
        let sets = wanted.sets.into_iter();
        let new = sets.filter(|set| !known.contains(&set.members));
        all.sets.extend(new.map(Some));
        let classes = wanted.classes.into_iter();
        let new = classes.filter(|name| self.position_of(name).is_none());
        all.classes.extend(new.map(Some));
        all
    }

    /// What the sets and classes of a routing are called; `None` if any of them has no number.
    pub(crate) fn of(&self, topology: &Topology, routing: &Routing) -> Option<Numbered> {
        let index = Index::of(&self.sets);
        let set_of = |set: &NodeSet| {
            let at = index
                .by_members
                .get(&members_hash(topology, set.members()))?;
            u16::try_from(*at).ok().map(SetNumber)
        };
        let class_of = |class: &Class| {
            let at = self.position_of(&class.name)?;
            u8::try_from(at + 1).ok().map(ClassNumber)
        };
        let classes = routing.classes().iter().map(class_of);
        let classes = std::iter::once(Some(ClassNumber::NONE)).chain(classes);
        Some(Numbered {
            sets: routing
                .node_sets()
                .iter()
                .map(set_of)
                .collect::<Option<_>>()?,
            classes: classes.collect::<Option<_>>()?,
        })
    }

    /// The same where all of them have one.
    pub(crate) fn of_known(&self, topology: &Topology, routing: &Routing) -> Numbered {
        let numbered = self.of(topology, routing);
        debug_assert!(numbered.is_some(), "the numbers are of another routing");
        numbered.unwrap_or_default()
    }

    /// Where the numbers of this table are in the next: where they were, unless they are gone. Of a set that is gone it is
    /// where another one has taken its place.
    pub(crate) fn moves_to(&self, next: &Self) -> Renumbered {
        let index = Index::of(&next.sets);
        let set_to = |(at, set): (usize, &Option<SetMeaning>)| {
            let now = next.sets.get(at).and_then(Option::as_ref);
            match (set, now) {
                // Free before and after: nothing has moved.
                (None, None) => (at < next.sets.len()).then_some(at),
                (None, Some(_)) => None,
                (Some(set), Some(now)) if set.is_alike(now) => Some(at),
                (Some(set), _) => index.find(set).map(Found::position),
            }
        };
        let class_to = |(at, name): (usize, &Option<Box<str>>)| match name {
            Some(name) => next.position_of(name),
            None => next.classes.get(at)?.is_none().then_some(at),
        };
        let sets = self.sets.iter().enumerate().map(set_to);
        let classes = self.classes.iter().enumerate().map(class_to);
        let classes = classes.map(|to| to.map(|at| at + 1));
        Renumbered {
            sets: sets.collect(),
            classes: std::iter::once(Some(0)).chain(classes).collect(),
        }
    }

    /// The position of a class, from 0 on.
    fn position_of(&self, name: &str) -> Option<usize> {
        let mut known = self.classes.iter();
        known.position(|known| known.as_deref() == Some(name))
    }
}

impl Numbered {
    /// What the set at a position is called.
    pub fn set(&self, set: SetIndex) -> SetNumber {
        let number = self.sets.get(set.get()).copied();
        debug_assert!(number.is_some(), "every set of a routing has a number");
        number.unwrap_or(SetNumber::NONE)
    }

    /// What the class at a position is called.
    pub fn class(&self, class: ClassIndex) -> ClassNumber {
        let number = self.classes.get(class.get()).copied();
        debug_assert!(number.is_some(), "every class of a routing has a number");
        number.unwrap_or(ClassNumber::NONE)
    }

    /// Whether numbers are positions, as they are for whoever compiles the text for the first time.
    pub fn is_by_position(&self) -> bool {
        let sets = self.sets.iter().map(|set| set.get());
        let classes = self.classes.iter().map(|class| class.get());
        sets.eq(0..self.sets.len()) && classes.eq(0..self.classes.len())
    }

    /// Where the set with a number is, if this routing has it.
    pub fn position_of(&self, set: SetNumber) -> Option<SetIndex> {
        let at = self.sets.iter().position(|known| *known == set)?;
        u16::try_from(at).ok().map(SetIndex)
    }

    /// What all sets are called, by position.
    pub fn sets(&self) -> &[SetNumber] {
        &self.sets
    }

    /// What all classes are called, by position.
    pub fn classes(&self) -> &[ClassNumber] {
        &self.classes
    }
}

impl SetMeaning {
    /// Whether one may be what the other has become.
    fn is_alike(&self, other: &Self) -> bool {
        let is_asked_for = |asked| other.asked_for.contains(asked);
        self.members == other.members || self.asked_for.iter().any(is_asked_for)
    }

    fn ask_for(&mut self, pool: &str, demands: &Demands) {
        let is_it = |known: &(Box<str>, Demands)| *known.0 == *pool && known.1 == *demands;
        if !self.asked_for.iter().any(is_it) {
            self.asked_for.push((pool.into(), demands.clone()));
        }
    }
}

/// What some routings have, each meaning once: what the first has comes first, in its order.
#[derive(Default)]
struct Wanted {
    sets: Vec<SetMeaning>,
    classes: Vec<Box<str>>,
}

impl Wanted {
    fn of(topology: &Topology, routings: &[&Routing]) -> Self {
        let mut wanted = Self::default();
        let mut by_members = BTreeMap::new();
        for routing in routings {
            wanted.add_sets(topology, routing, &mut by_members);
            let names = routing.classes().iter().map(|class| &class.name);
            let known: BTreeSet<Box<str>> = wanted.classes.iter().cloned().collect();
            let new = names.filter(|name| !known.contains(*name));
            wanted.classes.extend(new.cloned());
        }
        wanted
    }

    fn add_sets(
        &mut self,
        topology: &Topology,
        routing: &Routing,
        by_members: &mut BTreeMap<KeyHash, usize>,
    ) {
        let mut places = Vec::with_capacity(routing.node_sets().len());
        for set in routing.node_sets() {
            let members = members_hash(topology, set.members());
            let place = *by_members.entry(members).or_insert(self.sets.len());
            if place == self.sets.len() {
                self.sets.push(SetMeaning {
                    asked_for: Vec::new(),
                    members,
                });
            }
            places.push(place);
        }
        let pools = routing.pools().iter().map(|pool| &pool.plan);
        let rules = routing.rules().iter().map(|rule| &rule.plan);
        for plan in pools.chain(rules) {
            for tier in &plan.tiers {
                let place = places.get(tier.set.get());
                if let Some(set) = place.and_then(|place| self.sets.get_mut(*place)) {
                    set.ask_for(routing.pool_name(tier.pool), &plan.demands);
                }
            }
        }
    }
}

/// Where a meaning was found.
#[derive(Debug, Clone, Copy)]
enum Found {
    /// It means the same in all.
    Same(usize),
    /// It was made for the same, or else has the same members.
    Alike(usize),
}

impl Found {
    fn position(self) -> usize {
        match self {
            Self::Same(at) | Self::Alike(at) => at,
        }
    }
}

/// The demands that a set of some pool was made for, and which set that is.
type MadeFor<'n> = (&'n Demands, usize);

/// Sets by what they mean.
struct Index<'n> {
    sets: &'n [Option<SetMeaning>],
    by_members: BTreeMap<KeyHash, usize>,
    by_pool: BTreeMap<&'n str, Vec<MadeFor<'n>>>,
}

impl<'n> Index<'n> {
    fn of(sets: &'n [Option<SetMeaning>]) -> Self {
        let (mut by_members, mut by_pool) = (BTreeMap::new(), BTreeMap::<_, Vec<_>>::new());
        for (at, set) in sets.iter().enumerate() {
            let Some(set) = set else {
                continue;
            };
            by_members.entry(set.members).or_insert(at);
            for (pool, demands) in &set.asked_for {
                by_pool.entry(&**pool).or_default().push((demands, at));
            }
        }
        Self {
            sets,
            by_members,
            by_pool,
        }
    }

    fn find(&self, wanted: &SetMeaning) -> Option<Found> {
        let with_members = self.by_members.get(&wanted.members).copied();
        let is_same = |at: &usize| {
            let known = self.sets.get(*at).and_then(Option::as_ref);
            known.is_some_and(|known| {
                let mut asked = known.asked_for.iter();
                asked.any(|asked| wanted.asked_for.contains(asked))
            })
        };
        if let Some(at) = with_members.filter(is_same) {
            return Some(Found::Same(at));
        }
        let made_for = |(pool, demands): &(Box<str>, Demands)| {
            let mut known = self.by_pool.get(&**pool)?.iter();
            known
                .find(|(known, _)| *known == demands)
                .map(|(_, at)| *at)
        };
        let alike = wanted.asked_for.iter().find_map(made_for);
        alike.or(with_members).map(Found::Alike)
    }
}

/// Puts each meaning where it was, and what is new where nothing is. Where several were one, the first keeps the place.
fn place<T>(found: Vec<(Option<Found>, T)>) -> Vec<Option<T>> {
    let mut places: Vec<Option<T>> = Vec::new();
    let mut put = |at: usize, meaning: T| {
        if places.len() <= at {
            places.resize_with(at + 1, || None);
        }
        match places.get_mut(at) {
            Some(place @ None) => {
                *place = Some(meaning);
                None
            }
            _ => Some(meaning),
        }
    };
    let is_same = |found: &Option<Found>| matches!(found, Some(Found::Same(_)));
    let (same, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|(found, _)| is_same(found));
    let mut new = Vec::new();
    for (found, meaning) in same.into_iter().chain(others) {
        match found {
            Some(found) => new.extend(put(found.position(), meaning)),
            None => new.push(meaning),
        }
    }
    let mut next = 0;
    for meaning in new {
        let mut left = Some(meaning);
        while let Some(meaning) = left {
            left = put(next, meaning);
            next += 1;
        }
    }
    places
}

/// A hash of the members' ids that their order does not matter to: a sum of their seeds, which are hashes already.
fn members_hash(topology: &Topology, members: &[NodeIndex]) -> KeyHash {
    let seeds = members.iter().map(|node| topology.node(*node).seed.0);
    KeyHash(seeds.fold(members.len() as u64, u64::wrapping_add))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pool: &str, members: u64) -> SetMeaning {
        SetMeaning {
            asked_for: vec![(pool.into(), Demands::default())],
            members: KeyHash(members),
        }
    }

    fn after(before: &[Option<SetMeaning>], wanted: &[SetMeaning]) -> Vec<Option<SetMeaning>> {
        let index = Index::of(before);
        let wanted = wanted.iter().cloned();
        place(wanted.map(|set| (index.find(&set), set)).collect())
    }

    fn numbers(sets: &[Option<SetMeaning>]) -> Numbers {
        Numbers {
            sets: sets.to_vec(),
            classes: Vec::new(),
        }
    }

    #[test]
    fn what_means_the_same_keeps_its_number() {
        let first = after(&[], &[set("edge", 1), set("shield", 2), set("origin", 3)]);
        assert_eq!(first.len(), 3, "positions, at first");
        let second = after(&first, &[set("new", 9), set("origin", 3), set("edge", 1)]);
        let kept = [
            Some(set("edge", 1)),
            Some(set("new", 9)),
            Some(set("origin", 3)),
        ];
        assert_eq!(second, kept, "the new one has the number that became free");
        let moved = numbers(&first).moves_to(&numbers(&second)).sets;
        assert_eq!(moved, [Some(0), None, Some(2)]);
        let third = after(&second, &[set("edge", 1)]);
        assert_eq!(third, [Some(set("edge", 1))], "nothing behind the last");
    }

    #[test]
    fn a_set_that_nodes_join_or_that_is_called_otherwise_stays() {
        let first = after(&[], &[set("edge", 1), set("shield", 2)]);
        let second = after(&first, &[set("caches", 2), set("edge", 7)]);
        assert_eq!(second, [Some(set("edge", 7)), Some(set("caches", 2))]);
        let moved = numbers(&first).moves_to(&numbers(&second)).sets;
        assert_eq!(moved, [Some(0), Some(1)]);
    }

    #[test]
    fn of_two_that_were_one_the_first_keeps_the_number_and_two_that_become_one_are_both_there() {
        let mut both = set("edge", 1);
        both.ask_for("copy", &Demands::default());
        let one = after(&[], std::slice::from_ref(&both));
        let two = after(&one, &[set("copy", 5), set("edge", 6)]);
        assert_eq!(two, [Some(set("copy", 5)), Some(set("edge", 6))]);
        let moved = numbers(&one).moves_to(&numbers(&two)).sets;
        assert_eq!(moved, [Some(0)]);
        let merged = after(&two, std::slice::from_ref(&both));
        let moved = numbers(&two).moves_to(&numbers(&merged)).sets;
        assert_eq!(moved, [Some(1), Some(1)]);
    }

    #[test]
    fn what_is_the_same_in_all_goes_before_what_only_was_made_for_the_same() {
        // A candidate had another `edge` beside the first one's, and is promoted.
        let both = [Some(set("edge", 1)), Some(set("edge", 2))];
        let promoted = after(&both, &[set("edge", 2)]);
        assert_eq!(promoted, [None, Some(set("edge", 2))]);
        let moved = numbers(&both).moves_to(&numbers(&promoted)).sets;
        assert_eq!(moved, [Some(1), Some(1)]);
        let moved = numbers(&promoted).moves_to(&numbers(&promoted)).sets;
        assert_eq!(moved, [Some(0), Some(1)], "a free number stays where it is");
    }
}
