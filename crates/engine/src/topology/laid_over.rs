//! A topology with states laid over it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Topology;
use crate::model::AdminState;

/// Nodes, by id, and the states that are laid over theirs.
pub type States = BTreeMap<Box<str>, AdminState>;

/// The last topology that states were laid over.
///
/// It is made again only when there is something new, so that whoever compares published topologies by pointer sees a
/// change only where there is one.
#[derive(Debug, Clone, Default)]
pub struct LaidOver {
    last: Option<Last>,
}

#[derive(Debug, Clone)]
struct Last {
    base: Arc<Topology>,
    states: States,
    result: Arc<Topology>,
}

impl LaidOver {
    /// `base` with these states: the very same as the last time if neither has changed, and `base` itself if there are none.
    pub fn of(&mut self, base: &Arc<Topology>, states: States) -> Arc<Topology> {
        if let Some(last) = &self.last
            && Arc::ptr_eq(&last.base, base)
            && last.states == states
        {
            return Arc::clone(&last.result);
        }
        let result = if states.is_empty() {
            Arc::clone(base)
        } else {
            Arc::new(base.with_states(&states))
        };
        self.last = Some(Last {
            base: Arc::clone(base),
            states,
            result: Arc::clone(&result),
        });
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::compile;

    const TOPOLOGY: &str = "apiVersion: tradewind/v1\nkind: Topology\nspec:\n  sites: [{id: a, lat: 1, lon: 1}]\n  \
        nodes: [{id: a1, site: a, address: \"a1.example.net:80\"}, {id: a2, site: a, address: \"a2.example.net:80\"}]\n";

    #[test]
    fn it_is_made_again_only_when_there_is_something_new() {
        let fleet = compile("t", TOPOLOGY).topology.unwrap();
        let base = Arc::new(fleet);
        let drained = States::from([(base.nodes()[0].id.clone(), AdminState::Drain)]);
        let mut laid_over = LaidOver::default();
        assert!(Arc::ptr_eq(&laid_over.of(&base, States::new()), &base));
        let first = laid_over.of(&base, drained.clone());
        assert_eq!(first.nodes()[0].state, AdminState::Drain);
        assert!(Arc::ptr_eq(&laid_over.of(&base, drained.clone()), &first));
        let other = Arc::new((*base).clone());
        assert!(!Arc::ptr_eq(&laid_over.of(&other, drained), &first));
    }
}
