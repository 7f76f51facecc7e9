//! What the system says of this process, under the names that every exporter for Prometheus uses.
//!
//! Read from `/proc` when somebody scrapes, so it costs nothing in between. Where there is no `/proc`, or a line of it is
//! not as expected, that number is absent; only the time of the start is always known.

use std::fmt;
use std::fs;
use std::path::Path;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::listen::limits;
use tradewind_engine::number::from_u64;

/// What the kernel counts processor time in, per second: `USER_HZ`, which is part of its interface and 100 on every
/// architecture that Rust compiles for. (Prometheus's own exporter takes it for given too, `procfs/proc_stat.go`.)
const TICKS_PER_SECOND: f64 = 100.0;

/// Where this process is told of.
const OWN: &str = "/proc/self";

/// This process.
#[derive(Debug, Clone, Copy)]
pub struct Process {
    /// When it began to serve, in milliseconds since 1970.
    pub started_unix_ms: u64,
}

/// What the system says, as far as it does.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Usage {
    cpu_seconds: Option<f64>,
    resident_bytes: Option<u64>,
    virtual_bytes: Option<u64>,
    open_files: Option<u64>,
    max_files: Option<u64>,
}

impl Usage {
    fn read(own: &Path) -> Self {
        let text = |name: &str| fs::read_to_string(own.join(name)).unwrap_or_default();
        let status = text("status");
        // The folder that is being listed is open itself, and gone when the list is read.
        let files = fs::read_dir(own.join("fd")).ok();
        let files = files.and_then(|files| u64::try_from(files.count()).ok());
        Self {
            cpu_seconds: cpu_seconds(&text("stat")),
            resident_bytes: kilobytes(&status, "VmRSS:"),
            virtual_bytes: kilobytes(&status, "VmSize:"),
            open_files: files.map(|files| files.saturating_sub(1)),
            max_files: limits::descriptor_limit().and_then(|files| u64::try_from(files).ok()),
        }
    }
}

/// Time in user mode and in the kernel, of all threads: fields 14 and 15 of `stat`. The second field is the program's
/// name in parentheses and may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let kernel: u64 = fields.next()?.parse().ok()?;
    Some(from_u64(user.saturating_add(kernel)) / TICKS_PER_SECOND)
}

/// A line of `status` such as `VmRSS:     1234 kB`, in bytes.
fn kilobytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1_024)
}

impl Process {
    /// Writes all families.
    fn encode_all(self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let usage = Usage::read(Path::new(OWN));
        if let Some(seconds) = usage.cpu_seconds {
            let help = "Processor time used, in user mode and in the kernel";
            let unit = Some(&Unit::Seconds);
            let counter = MetricType::Counter;
            let family = encoder.encode_descriptor("process_cpu", help, unit, counter)?;
            ConstCounter::new(seconds).encode(family)?;
        }
        let started = from_u64(self.started_unix_ms) / 1_000.0;
        let bytes = Some(&Unit::Bytes);
        let gauges = [
            (
                "process_resident_memory",
                "Memory that is in use and present",
                bytes,
                usage.resident_bytes.map(from_u64),
            ),
            (
                "process_virtual_memory",
                "Memory that is mapped",
                bytes,
                usage.virtual_bytes.map(from_u64),
            ),
            (
                "process_open_fds",
                "Files and sockets open",
                None,
                usage.open_files.map(from_u64),
            ),
            (
                "process_max_fds",
                "Files and sockets that may be open",
                None,
                usage.max_files.map(from_u64),
            ),
            (
                "process_start_time",
                "When the process began to serve, seconds since 1970",
                Some(&Unit::Seconds),
                Some(started),
            ),
        ];
        for (name, help, unit, value) in gauges {
            if let Some(value) = value {
                let family = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
                ConstGauge::new(value).encode(family)?;
            }
        }
        Ok(())
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_all(&mut encoder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "77 (a) b) c) S 1 77 77 0 -1 4194560 900 0 0 0 1234 66 0 0 20 0 9 0 5000 1 2";
        assert_eq!(cpu_seconds(stat), Some(13.0));
        for broken in [
            "",
            "77 (a",
            "77 (a) S 1 77",
            "77 (a) S 1 77 77 0 -1 4194560 900 0 0 0 x 66 0",
        ] {
            assert_eq!(cpu_seconds(broken), None, "{broken}");
        }
    }

    #[test]
    fn memory_is_told_in_kilobytes() {
        let status = "Name:\ta\nVmSize:\t    2048 kB\nVmRSS:\t   12 kB\nVmSwap:\tmuch\n";
        assert_eq!(kilobytes(status, "VmSize:"), Some(2_048 * 1_024));
        assert_eq!(kilobytes(status, "VmRSS:"), Some(12 * 1_024));
        for absent in ["VmSwap:", "VmPeak:"] {
            assert_eq!(kilobytes(status, absent), None);
        }
        assert_eq!(
            kilobytes("VmRSS: 99999999999999999999 kB", "VmRSS:"),
            None,
            "too large to be true"
        );
    }

    #[test]
    fn where_there_is_no_proc_nothing_is_said_of_it() {
        let usage = Usage::read(Path::new("/no/such/folder"));
        let known = Usage {
            max_files: usage.max_files,
            ..Usage::default()
        };
        assert_eq!(usage, known);
    }
}
