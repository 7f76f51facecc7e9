//! What a simulated proxy asks.

use tradewind_engine::geo::Location;
use tradewind_engine::geo::place::Asn;
use tradewind_engine::query::{Client, Query};

/// The parts of a query, which borrows them.
#[derive(Debug)]
pub(super) struct Asked {
    key: [u8; 8],
    /// The path, of which the policy makes the key; `None` where the proxy has made it.
    path: Option<String>,
    request_id: [u8; 8],
    /// The content class, as the proxy tells it.
    class: Option<&'static str>,
}

impl Asked {
    /// For the object `key`.
    pub(super) fn new(key: u64, number: u64, has_path: bool) -> Self {
        Self {
            key: key.to_le_bytes(),
            path: has_path.then(|| format!("/{key}")),
            request_id: number.to_le_bytes(),
            class: None,
        }
    }

    /// The same, of a content class.
    pub(super) fn of_class(self, class: Option<&'static str>) -> Self {
        Self { class, ..self }
    }

    /// By a client there, in the network of that operator.
    pub(super) fn by(&self, location: Option<Location>, operator: Option<Asn>) -> Query<'_> {
        let path = self.path.as_deref();
        Query {
            host: "www.example.com",
            path: path.unwrap_or("/"),
            key: path.is_none().then_some(&self.key),
            request_id: &self.request_id,
            class: self.class,
            client: Client {
                location,
                asn: operator,
                ..Client::default()
            },
            ..Query::default()
        }
    }
}
