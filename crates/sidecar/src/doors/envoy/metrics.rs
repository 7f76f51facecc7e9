//! What is counted of Envoy's services, for `/metrics`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::access_log::{ATTEMPT_COUNTS, AccessLogCounters, Ending};
use super::subscribers::Subscribers;

/// Where the numbers come from.
#[derive(Debug, Clone)]
pub struct EnvoySources {
    /// What each worker counts of access logs.
    pub access_logs: Vec<Arc<AccessLogCounters>>,
    /// Those who subscribe to endpoints.
    pub subscribers: Arc<Subscribers>,
}

impl EnvoySources {
    /// Writes all families.
    pub fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let counter = MetricType::Counter;
        let help = "Requests that Envoy logged, by attempts made and how they ended";
        let mut family = encoder.encode_descriptor("envoy_requests", help, None, counter)?;
        for (ending, name) in Ending::ALL {
            for (at, attempts) in ATTEMPT_COUNTS.iter().enumerate() {
                let workers = self.access_logs.iter();
                let count: u64 = workers.map(|worker| worker.requests(ending, at)).sum();
                let labels = [("ended", name), ("attempts", *attempts)];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "Access log entries that say nothing of a node, by why";
        let counter = MetricType::Counter;
        let mut family = encoder.encode_descriptor("envoy_log_ignored", help, None, counter)?;
        let sum = |of: fn(&AccessLogCounters) -> &AtomicU64| -> u64 {
            let workers = self.access_logs.iter();
            workers
                .map(|worker| of(worker).load(Ordering::Relaxed))
                .sum()
        };
        let ignored = [
            ("nobody_asked", sum(|worker| &worker.ignored)),
            ("unknown_log_name", sum(|worker| &worker.unnamed)),
        ];
        for (why, count) in ignored {
            ConstCounter::new(count).encode(family.encode_family(&[("why", why)])?)?;
        }
        self.encode_pushes(encoder)
    }

    fn encode_pushes(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let subscribers = &self.subscribers;
        let help = "Endpoints pushed to Envoys, by what became of the push";
        let counter = MetricType::Counter;
        let mut family = encoder.encode_descriptor("xds_pushes", help, None, counter)?;
        let counts = [
            ("sent", &subscribers.pushes),
            ("taken", &subscribers.taken),
            ("refused", &subscribers.refused),
        ];
        for (result, count) in counts {
            let count = count.load(Ordering::Relaxed);
            ConstCounter::new(count).encode(family.encode_family(&[("result", result)])?)?;
        }
        let open = subscribers.list();
        let refusing = open.iter().filter(|own| own.refused.is_some()).count();
        let left_out = open.iter().map(|own| own.nodes_left_out).max();
        let gauges = [
            (
                "xds_nodes_left_out",
                "Nodes left out of an Envoy's endpoints because their address is a name, the most of any Envoy",
                left_out.unwrap_or(0),
            ),
            (
                "xds_subscribers",
                "Envoys that subscribe to endpoints",
                open.len(),
            ),
            (
                "xds_subscribers_refusing",
                "Envoys that refused the last push and keep what they had",
                refusing,
            ),
        ];
        for (name, help, value) in gauges {
            let family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            ConstGauge::new(value).encode(family)?;
        }
        Ok(())
    }
}
