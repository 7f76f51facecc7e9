//! Lists of entries with names: what is new, what is gone, what stands elsewhere, and what is the same entry.

use std::collections::{BTreeMap, BTreeSet};

use super::Place;
use super::field::Entries;
use super::value::Value;

/// What became of an entry.
#[derive(Debug, PartialEq)]
pub(super) struct Fate<'v> {
    /// Its name.
    pub(super) name: &'v str,
    /// What it said and where it stood, if it was there.
    pub(super) before: Option<Standing<'v>>,
    /// What it says and where it stands, if it is there.
    pub(super) after: Option<Standing<'v>>,
    /// Where it came to stand, if it is new or moved and the order counts.
    pub(super) place: Option<Place>,
    /// For one that is gone, the position in the new list where it would stand: behind the last before it that stayed.
    pub(super) gap: usize,
}

/// An entry in its list.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Standing<'v> {
    /// All that it says.
    pub(super) value: &'v Value,
    /// Where it stands.
    pub(super) position: usize,
}

/// An entry's name, and how many of that name stand before it: a document in which two have one name is refused when it is
/// put to use, and can be compared all the same.
type Name<'v> = (&'v str, usize);

/// What became of each entry of a list: first of those that are gone, then of all that are there.
pub(super) fn align<'v>(of: Entries, before: &'v [Value], after: &'v [Value]) -> Vec<Fate<'v>> {
    let positions: BTreeMap<Name<'_>, usize> = names(before, of).into_iter().zip(0..).collect();
    let names = names(after, of);
    let origins = names.iter().map(|name| positions.get(name).copied());
    let lists = Lists {
        of,
        before,
        after,
        origins: origins.collect(),
        names,
    };
    let mut fates = lists.gone();
    fates.extend(lists.there());
    fates
}

fn names(entries: &[Value], of: Entries) -> Vec<Name<'_>> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let numbered = entries.iter().map(|entry| {
        let name = name_of(entry, of);
        let count = counts.entry(name).or_default();
        *count += 1;
        (name, *count)
    });
    numbered.collect()
}

fn name_of(entry: &Value, of: Entries) -> &str {
    let name = entry.get(of.key).and_then(Value::as_text);
    name.unwrap_or_default()
}

/// The same list before and after.
struct Lists<'v> {
    of: Entries,
    before: &'v [Value],
    after: &'v [Value],
    /// Names of the entries after, by position.
    names: Vec<Name<'v>>,
    /// Where each of these stood before.
    origins: Vec<Option<usize>>,
}

impl<'v> Lists<'v> {
    /// Entries that are not there any more.
    fn gone(&self) -> Vec<Fate<'v>> {
        let stayed = self.origins.iter().zip(0..);
        let stayed: BTreeMap<usize, usize> = stayed
            .filter_map(|(origin, position)| origin.map(|origin| (origin, position)))
            .collect();
        let standing = standing(self.before);
        let gone = standing.filter(|entry| !stayed.contains_key(&entry.position));
        gone.map(|entry| Fate {
            name: name_of(entry.value, self.of),
            before: Some(entry),
            after: None,
            place: None,
            gap: stayed
                .range(..entry.position)
                .next_back()
                .map_or(0, |(_, last)| last + 1),
        })
        .collect()
    }

    /// Entries that are there, new ones among them.
    fn there(&self) -> Vec<Fate<'v>> {
        let in_place = longest_rising(&self.origins);
        let fate = |entry: Standing<'v>| {
            let position = entry.position;
            let origin = self.origins.get(position).copied().flatten();
            let before = origin.and_then(|origin| {
                let value = self.before.get(origin)?;
                Some(Standing {
                    value,
                    position: origin,
                })
            });
            let place = match before {
                _ if !self.of.is_ordered || in_place.contains(&position) => None,
                None => self.place_before(position),
                Some(_) => self.place_behind(position),
            };
            Fate {
                name: name_of(entry.value, self.of),
                before,
                after: Some(entry),
                place,
                gap: position,
            }
        };
        standing(self.after).map(fate).collect()
    }

    /// Where a new entry stands: what comes behind it is what it takes requests from.
    fn place_before(&self, position: usize) -> Option<Place> {
        let next = self.name_at(position.checked_add(1)).map(Place::Before);
        next.or_else(|| self.name_at(position.checked_sub(1)).map(Place::Behind))
    }

    /// Where an entry stands that moved.
    fn place_behind(&self, position: usize) -> Option<Place> {
        let last = self.name_at(position.checked_sub(1)).map(Place::Behind);
        last.or_else(|| self.name_at(position.checked_add(1)).map(Place::Before))
    }

    fn name_at(&self, position: Option<usize>) -> Option<String> {
        let (name, _) = self.names.get(position?)?;
        Some((*name).to_owned())
    }
}

fn standing(list: &[Value]) -> impl Iterator<Item = Standing<'_>> {
    let numbered = list.iter().enumerate();
    numbered.map(|(position, value)| Standing { value, position })
}

/// The positions of a longest rising sequence: as many entries as possible are taken to have stayed where they are, so that
/// one rule that was moved up is one that moved, and not all that it passed.
fn longest_rising(values: &[Option<usize>]) -> BTreeSet<usize> {
    // By length of a rising sequence: the least value that one of this length ends in, and where that stands.
    let mut ends: Vec<(usize, usize)> = Vec::new();
    let mut before: BTreeMap<usize, usize> = BTreeMap::new();
    for (position, value) in values.iter().enumerate() {
        let Some(value) = *value else { continue };
        let length = ends.partition_point(|(end, _)| *end < value);
        if let Some((_, last)) = length.checked_sub(1).and_then(|shorter| ends.get(shorter)) {
            before.insert(position, *last);
        }
        match ends.get_mut(length) {
            Some(end) => *end = (value, position),
            None => ends.push((value, position)),
        }
    }
    let mut at = ends.last().map(|(_, position)| *position);
    let mut found = BTreeSet::new();
    while let Some(position) = at {
        found.insert(position);
        at = before.get(&position).copied();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_possible_stay() {
        for (origins, stay) in [
            (vec![0, 1, 2], vec![0, 1, 2]),
            (vec![3, 0, 1, 2], vec![1, 2, 3]),
            (vec![1, 2, 3, 0], vec![0, 1, 2]),
            (vec![2, 1, 0], vec![2]),
            (vec![0, 4, 1, 2, 3], vec![0, 2, 3, 4]),
            (vec![], vec![]),
        ] {
            let values: Vec<Option<usize>> = origins.iter().copied().map(Some).collect();
            let found: Vec<usize> = longest_rising(&values).into_iter().collect();
            assert_eq!(found, stay, "{origins:?}");
        }
        let with_new = [Some(0), None, Some(1), None];
        assert_eq!(longest_rising(&with_new), BTreeSet::from([0, 2]));
    }
}
