//! What a door must know before a service is asked: who may call what, and what is spoken on the way in.

use std::sync::Arc;

use super::stranger::Signpost;
use super::tls::Keys;
use crate::identity::{Access, Role};

/// What holds for the calls of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each answers a question of its own, asked at another place"
)]
pub struct Method {
    /// The role that its callers need; `None` where everybody may call.
    pub needs: Option<Role>,
    /// Whether its calls live as long as their streams. They have no request deadline; the keepalive bounds how long a dead
    /// peer can hold one.
    pub is_streaming: bool,
    /// Of such: whether what is asked is one message, and only the answers are a stream. The message must be there, and the answer's
    /// head, by the request deadline: else who sends none holds a place for nothing.
    pub asks_once: bool,
    /// Whether the service wants to know who calls: the request's extensions then hold a
    /// [`Caller`](crate::identity::Caller). Not for every path, because that costs an allocation.
    pub names_caller: bool,
}

impl Method {
    /// A unary call that everybody may make.
    pub const OPEN: Self = Self {
        needs: None,
        is_streaming: false,
        asks_once: false,
        names_caller: false,
    };
}

/// Tells of a path (`/package.Service/Method`, or that of a page) what holds for its calls.
pub type Methods = fn(&str) -> Method;

/// The way in at a door.
#[derive(Debug, Clone)]
pub struct Entrance {
    /// What holds for which paths.
    pub methods: Methods,
    /// Who may do what.
    pub access: Arc<Access>,
    /// Keys for those that come by TCP, where the door speaks TLS; who comes by a Unix socket never needs it.
    pub keys: Option<Arc<Keys>>,
    /// What peers are told that speak something else.
    pub signpost: Signpost,
}

impl Entrance {
    /// A way in for everybody to everything.
    pub fn open() -> Self {
        Self {
            methods: |_path| Method::OPEN,
            access: Access::open(),
            keys: None,
            signpost: Signpost::none(),
        }
    }
}
