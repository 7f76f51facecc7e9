//! Who is at the other end of a connection, and what they may do.
//!
//! A connection shows where it comes from ([`Peer`]), and with TLS perhaps a certificate; a call may show a token. What of
//! that counts is settled by the operator: [`Grant`]s say which callers have which [`Role`]s. A call that needs a role its
//! caller does not have is not answered. Reporters are told apart by the same means ([`reporter`]).

pub mod access;
pub mod caller;
pub mod grant;
pub mod lease;
pub mod peer;
pub mod proof;
pub mod reporter;
pub mod role;
pub mod tokens;

pub use access::{Access, Denied, Pass};
pub use caller::Caller;
pub use grant::{Grant, Grantee};
pub use peer::{Peer, Peers};
pub use proof::Proof;
pub use role::{Role, Roles};
