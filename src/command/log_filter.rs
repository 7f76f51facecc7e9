//! The log of `serve`: which lines it takes, how they are written, and the switch by which operators change that.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::sidecar::log_filter::{Switch, SwitchError};
use crate::sidecar::settings::LogFormat;

/// What a filter is made of.
const ALLOWED: &str =
    "off, error, warn, info, debug or trace, alone or as TARGET=LEVEL, several with commas";

/// Why a text is no filter.
#[derive(Debug, thiserror::Error)]
#[error("`{part}` {why}, allowed are {ALLOWED}")]
pub struct FilterError {
    /// The part of the text.
    part: String,
    why: String,
}

/// Reads a filter. A word that is no level would be taken for a target of which everything is wanted, and nothing else: a
/// typing error that nobody notices, so it must say its level.
pub fn read(text: &str) -> Result<EnvFilter, FilterError> {
    let parts = text.split(',').map(str::trim);
    let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    let refused = |part: &str, why: &str| FilterError {
        part: part.to_owned(),
        why: why.to_owned(),
    };
    for part in &parts {
        let is_level = part.parse::<LevelFilter>().is_ok();
        if !is_level && !part.contains('=') {
            return Err(refused(part, "is no level"));
        }
        // Values of fields are compared as they are written: a pattern of somebody's could take long.
        let alone = EnvFilter::builder().with_regex(false).parse(part);
        alone.map_err(|error| refused(part, &format!("cannot be read ({error})")))?;
    }
    let whole = EnvFilter::builder()
        .with_regex(false)
        .parse(parts.join(","));
    whole.map_err(|error| refused(text, &format!("cannot be read ({error})")))
}

/// The same for a switch, and the lines of the audit log besides: whoever rewrites its file is found by them, so nobody may
/// turn them off from outside.
pub fn read_to_put(text: &str) -> Result<EnvFilter, SwitchError> {
    let refused = |error: &dyn std::fmt::Display| SwitchError::NoFilter(error.to_string());
    let filter = read(text).map_err(|error| refused(&error))?;
    let audit = "tradewind_sidecar::audit=info".parse();
    Ok(filter.add_directive(audit.map_err(|error| refused(&error))?))
}

/// Begins to log what `filter` lets through on the standard error stream.
pub(super) fn begin(filter: EnvFilter, format: LogFormat, colour: bool) -> Box<dyn Switch> {
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(colour && io::stderr().is_terminal());
    match format {
        LogFormat::Text => {
            let logs = logs.with_filter_reloading();
            let handle = logs.reload_handle();
            logs.init();
            Box::new(Reloading(move |filter| handle.reload(filter)))
        }
        LogFormat::Json => {
            let logs = logs.json().with_filter_reloading();
            let handle = logs.reload_handle();
            logs.init();
            Box::new(Reloading(move |filter| handle.reload(filter)))
        }
    }
}

/// A log whose filter is put in force by this.
struct Reloading<F>(F);

impl<F> Switch for Reloading<F>
where
    F: Fn(EnvFilter) -> Result<(), tracing_subscriber::reload::Error> + Send + Sync,
{
    fn check(&self, filter: &str) -> Result<(), SwitchError> {
        read_to_put(filter).map(drop)
    }

    fn put(&self, filter: &str) -> Result<(), SwitchError> {
        (self.0)(read_to_put(filter)?).map_err(|error| SwitchError::Fixed(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_targets_are_read() {
        for good in [
            "",
            "info",
            "INFO",
            "0",
            "off",
            "info,tradewind_sidecar::writer=debug",
            " info , tradewind=debug ",
            "warn,,tradewind=trace,",
            "info,[call{id=7}]=debug",
        ] {
            assert!(read(good).is_ok(), "{good:?}: {:?}", read(good).err());
        }
    }

    #[test]
    fn what_is_none_is_told_with_what_is_allowed() {
        for (bad, part) in [
            ("deubg", "`deubg` is no level"),
            ("info,tradewind_sidecar", "`tradewind_sidecar` is no level"),
            ("info,tradewind=loud", "`tradewind=loud` cannot be read"),
            ("info,=debug=", "`=debug=` cannot be read"),
        ] {
            let said = read(bad).map(drop).unwrap_err().to_string();
            assert!(said.starts_with(part), "{bad:?}: {said}");
            assert!(said.ends_with("several with commas"), "{said}");
        }
    }
}
