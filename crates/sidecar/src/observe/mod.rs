//! What can be seen of the sidecar: pages of the [`debug`] door with the answers of `overview`, what a [`recorder`]
//! remembers of the past and what revisions moved ([`moves`]), events for those who look ([`frames`]), [`metrics`] in either format of [`exposition`] (of them
//! those of the control loop by [`signals`]), and what runs ([`process`], [`version`]).

pub mod debug;
mod doors;
pub mod exposition;
mod fleet;
pub mod frames;
mod members;
pub mod metrics;
pub mod moves;
mod nodes;
pub(crate) mod overview;
pub mod process;
mod purges;
pub mod recorder;
mod rollouts;
pub mod signals;
mod sites;
mod sources;
pub mod version;
