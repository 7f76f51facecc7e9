//! What can be seen of the sidecar: pages of the [`debug`] door, [`metrics`] in either format of [`exposition`] (of them
//! those of the control loop by [`signals`]), and what runs ([`process`], [`version`]).

pub mod debug;
pub mod exposition;
pub mod metrics;
pub mod process;
mod rollouts;
pub mod signals;
pub mod version;
