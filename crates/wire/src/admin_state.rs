//! What operators set: the engine's words and the wire's.

use tradewind_engine::model::AdminState;

use crate::proto;

/// The engine's word for a state; `None` for none that may be set.
pub fn state(state: proto::AdminState) -> Option<AdminState> {
    match state {
        proto::AdminState::Unspecified => None,
        proto::AdminState::Ready => Some(AdminState::Ready),
        proto::AdminState::Drain => Some(AdminState::Drain),
        proto::AdminState::Maintenance => Some(AdminState::Maintenance),
    }
}

/// The wire's word for a state.
pub fn state_message(state: AdminState) -> proto::AdminState {
    match state {
        AdminState::Ready => proto::AdminState::Ready,
        AdminState::Drain => proto::AdminState::Drain,
        AdminState::Maintenance => proto::AdminState::Maintenance,
    }
}
