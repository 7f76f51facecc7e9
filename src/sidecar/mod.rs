//! The asynchronous shell: sockets, files, tasks, time.
//!
//! [`serve`] starts everything and ends it. Writing side: [`watch`] and signals tell [`writer`], which alone changes
//! [`state`]. Reading side: [`listen`] accepts, [`grpc`] and [`http`] take calls, [`decider`] decides, [`wire`] converts; [`debug`],
//! [`metrics`] (in either format of [`exposition`]) and [`audit`] show, [`process`] and [`version`] say what runs. Outwards:
//! [`probe`] asks the nodes whether they are well. And back: [`feedback`] takes what is told, within the quotas of
//! [`reporters`]; it and decisions go to the writer through the [`intake`]; [`tally`] counts. Operators: [`admin`] hands what
//! they ask to the writer, which keeps the states they set in the [`overlay`]. Where the sidecar itself is: [`here`].

pub mod admin;
pub mod audit;
pub mod clock;
pub mod debug;
pub mod decider;
pub mod doors;
pub mod envoy;
pub mod exposition;
pub mod feedback;
pub mod follow;
pub mod geoip;
pub mod grpc;
pub mod here;
pub mod http;
pub mod intake;
pub mod listen;
pub mod metrics;
pub mod overlay;
pub mod probe;
pub mod process;
pub mod reporters;
pub mod serve;
pub mod settings;
pub mod signals;
pub mod state;
pub mod store;
pub mod tally;
pub mod version;
pub mod view;
pub mod watch;
pub mod wire;
pub mod writer;
