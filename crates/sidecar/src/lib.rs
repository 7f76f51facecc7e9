//! The asynchronous shell: sockets, files, tasks, time.
//!
//! [`serve`] starts everything and ends it. Reading side: [`listen`] accepts, [`doors`] take calls, [`intake`] decides them
//! and takes in what is told. Writing side: [`writer`] alone changes [`state`], with what files say, what operators ask,
//! what the [`intake`] hands over, and what the [`probe`] found. [`view`] says what the control loop knows, [`observe`]
//! shows it. [`wire`] converts messages.

pub mod audit;
pub mod clock;
pub mod decision_log;
pub mod doors;
pub mod example;
pub mod fleet;
pub mod freshness;
pub mod geoip;
pub mod host;
pub mod identity;
pub mod intake;
pub mod listen;
pub mod log_filter;
pub mod observe;
pub mod probe;
pub mod reclaim;
pub mod regular;
pub mod serve;
pub mod settings;
pub mod signing;
pub mod state;
pub mod trace;
pub mod view;
pub mod writer;

pub use tradewind_wire as wire;
