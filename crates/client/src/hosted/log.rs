//! What the client says goes into the proxy's log: in a library of its own, tracing's lines would go nowhere.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{self, Interest};
use tracing::{Event, Level, Metadata, Subscriber};

/// Whose lines are wanted; others, of libraries below, are for who debugs those.
const OURS: &str = "tradewind";

/// Takes a line, from any thread.
pub type Sink = fn(Level, &str);

/// Has lines of the client go to `sink`.
pub fn install(sink: Sink) {
    // It fails only where it was installed before.
    drop(subscriber::set_global_default(ProxyLog { sink }));
}

#[derive(Debug)]
struct ProxyLog {
    sink: Sink,
}

impl Subscriber for ProxyLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with(OURS) && *metadata.level() <= Level::INFO
    }

    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line("tradewind: ".to_owned());
        event.record(&mut line);
        (self.sink)(*event.metadata().level(), &line.0);
    }

    // There are no spans.
    fn new_span(&self, _attributes: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _span: &Id, _values: &Record<'_>) {}
    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}
    fn enter(&self, _span: &Id) {}
    fn exit(&self, _span: &Id) {}
}

/// A line as it is written: the message, then the fields.
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let space = if self.0.ends_with(' ') { "" } else { " " };
        self.0.push_str(space);
        let name = field.name();
        if name != "message" {
            self.0.push_str(name);
            self.0.push('=');
        }
        // Into a string nothing fails.
        let written = write!(self.0, "{value:?}");
        debug_assert!(written.is_ok(), "a value writes itself");
    }
}
