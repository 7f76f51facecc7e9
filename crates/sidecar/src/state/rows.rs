//! Where what policies name is counted: each name has a row for as long as the process lives, whatever the edition.

use std::sync::Arc;

use arc_swap::ArcSwap;

use tradewind_engine::policy::Routing;

/// Pools counted by name, and rules; later ones share the row `other`.
pub const MAX_ROWS: usize = 512;

/// The row of what has no name: decisions without a pool.
pub const NONE: usize = 0;

/// The row shared by all beyond the bound.
pub const OTHER: usize = 1;

/// Where what a policy names is counted.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// By pool.
    pub pools: Vec<usize>,
    /// By rule; empty where no rule has a `when`.
    pub rules: Vec<usize>,
    /// By rule: where its decisions are counted.
    pub decided: Vec<usize>,
}

impl Rows {
    /// The rows of a policy's pools, and of its rules with a `when`. What was not seen before gets a row of its own while
    /// there are any; `names` are those that have one.
    pub fn of(routing: &Routing, names: &RowNames) -> Self {
        let pools = routing.pools().iter().map(|pool| &*pool.name);
        let rules = routing.rules();
        let with_when = rules
            .iter()
            .map(|rule| rule.when.as_ref().map(|_| &*rule.name));
        Self {
            pools: rows(&names.pools, pools.map(Some)),
            rules: if rules.iter().any(|rule| rule.when.is_some()) {
                rows(&names.rules, with_when)
            } else {
                Vec::new()
            },
            decided: rows(&names.decided, rules.iter().map(|rule| Some(&*rule.name))),
        }
    }
}

/// The names of all that was ever counted, by their rows.
#[derive(Debug, Default)]
pub struct RowNames {
    /// Pools.
    pub pools: ArcSwap<Vec<String>>,
    /// Rules with a `when`.
    pub rules: ArcSwap<Vec<String>>,
    /// All rules.
    pub decided: ArcSwap<Vec<String>>,
}

/// The rows of some names; that of what has none is [`NONE`].
fn rows<'n>(
    names: &ArcSwap<Vec<String>>,
    wanted: impl Iterator<Item = Option<&'n str>>,
) -> Vec<usize> {
    let known = names.load();
    let mut all = if known.is_empty() {
        vec![String::new(), "other".to_owned()]
    } else {
        known.to_vec()
    };
    let before = all.len();
    let rows = wanted
        .map(|wanted| {
            let Some(wanted) = wanted else {
                return NONE;
            };
            let own = all.iter().skip(OTHER + 1);
            if let Some(row) = own.into_iter().position(|name| *name == *wanted) {
                return row + OTHER + 1;
            }
            if all.len() >= MAX_ROWS {
                return OTHER;
            }
            all.push(wanted.to_owned());
            all.len() - 1
        })
        .collect();
    if all.len() != before || known.is_empty() {
        names.store(Arc::new(all));
    }
    rows
}
