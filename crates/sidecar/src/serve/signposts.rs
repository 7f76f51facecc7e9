//! What the doors tell peers that speak another protocol.

use std::sync::Arc;

use crate::listen::stranger::Signpost;
use crate::state::State;
use crate::state::doors::Door;

/// The signpost of a door. Before all doors are open nobody knows where they are.
pub(super) fn signpost(state: &Arc<State>, here: Door) -> Signpost {
    let state = Arc::clone(state);
    Signpost::new(move |path| {
        let doors = state.doors.get();
        doors.map_or_else(
            || "this door speaks another protocol".to_owned(),
            |doors| doors.other_protocol(here, path),
        )
    })
}
