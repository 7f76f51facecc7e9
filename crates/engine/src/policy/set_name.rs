//! What sets of nodes are called, for people.

use super::{Routing, SetIndex};

/// What a set of nodes is called: the pool that it is the whole of, or the pool and the first rule that may use a part of
/// it only. No two sets of a policy have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SetName<'p> {
    /// The pool.
    pub pool: &'p str,
    /// The rule, where `require` or `geofence` leave it a part of the pool.
    pub rule: Option<&'p str>,
}

impl Routing {
    /// The name of every set, by position.
    pub fn set_names(&self) -> Vec<SetName<'_>> {
        let mut names = vec![None; self.node_sets().len()];
        let mut call = |set: SetIndex, name| {
            if let Some(known) = names.get_mut(set.get()) {
                known.get_or_insert(name);
            }
        };
        for pool in self.pools() {
            for tier in &pool.plan.tiers {
                let pool = &*pool.name;
                call(tier.set, SetName { pool, rule: None });
            }
        }
        for rule in self.rules() {
            for tier in &rule.plan.tiers {
                let pool = self.pool_name(tier.pool);
                let rule = Some(&*rule.name);
                call(tier.set, SetName { pool, rule });
            }
        }
        let nobody = SetName {
            pool: "",
            rule: None,
        };
        let names = names.into_iter();
        names.map(|name| name.unwrap_or(nobody)).collect()
    }
}
