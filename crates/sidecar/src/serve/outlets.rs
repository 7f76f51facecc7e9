//! Where decisions go besides their callers: the decision log, and a collector of spans.

use std::sync::Arc;

use super::ServeError;
use crate::decision_log::{self, DecisionLog};
use crate::settings::Settings;
use crate::settings::otlp::Otlp;
use crate::state::State;
use crate::trace::{self, TraceCounters, Traces};

/// The threads that take decisions, as far as they are wanted.
pub(super) struct Outlets {
    log: Option<decision_log::Running>,
    spans: Option<trace::Running>,
    counters: Arc<TraceCounters>,
}

impl Outlets {
    /// Begins what the settings want.
    pub(super) fn begin(
        settings: &Settings,
        state: &State,
        started_unix_ms: u64,
    ) -> Result<Self, ServeError> {
        let log = settings.decision_log.clone().map(|path| {
            let within = (path, settings.decision_log_max_bytes);
            DecisionLog::spawn(within, Arc::clone(&state.decision_log))
        });
        let Otlp { collector, ignored } = &settings.otlp;
        if let Some(why) = ignored {
            tracing::warn!(
                why,
                "no spans are sent: the variables of OpenTelemetry cannot be followed"
            );
        }
        let counters = Arc::new(TraceCounters::default());
        let spans = collector.as_ref().map(|collector| {
            tracing::info!(collector = %collector.uri, "spans are sent");
            // When it began to serve, and its number: no two processes of a machine have both, hardly any two of a fleet.
            let instance = format!("{started_unix_ms:x}-{:x}", std::process::id());
            Traces::spawn(collector, &instance, Arc::clone(&counters))
        });
        Ok(Self {
            log: log.transpose().map_err(ServeError::Start)?,
            spans: spans.transpose().map_err(ServeError::Start)?,
            counters,
        })
    }

    /// Where workers hand over what is to be written down.
    pub(super) fn log(&self) -> Option<Arc<DecisionLog>> {
        self.log.as_ref().map(|log| Arc::clone(log.log()))
    }

    /// Where workers hand over what is to be a span.
    pub(super) fn traces(&self) -> Option<Arc<Traces>> {
        self.spans.as_ref().map(|spans| Arc::clone(spans.traces()))
    }

    /// What became of spans; all 0 where none are made.
    pub(super) fn counters(&self) -> Arc<TraceCounters> {
        Arc::clone(&self.counters)
    }

    /// Ends after what was handed over. Waits for the disk, and a while for the collector.
    pub(super) fn stop(self) {
        if let Some(log) = self.log {
            log.stop();
        }
        if let Some(spans) = self.spans {
            spans.stop();
        }
    }
}
