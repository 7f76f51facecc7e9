//! Why something told is not believed.

use crate::model::names;

/// Why something told is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unbelieved {
    /// Its decision was made too long ago.
    Old,
    /// It was told before.
    Repeated,
    /// It came without a receipt, beside others with one.
    Outweighed,
    /// It came without a receipt, and no request was sent that it could be of.
    Unsent,
    /// Of a node's load, from somebody who is neither the node nor a proxy that sends to it.
    Hearsay,
}

names! { Unbelieved {
    Old = "old",
    Repeated = "repeated",
    Outweighed = "outweighed",
    Unsent = "unsent",
    Hearsay = "hearsay",
} }
