//! What operators want of the log, read with every fault at once, and what they are told.

use tonic::Status;

use super::messages::{Faults, check_text};
use crate::log_filter::{
    self, Change, FilterSet, LASTS_MS, MAX_FILTER_BYTES, SwitchError, USUALLY_LASTS_MS, Wish,
};
use crate::wire::proto;

/// Reads what to write to the log.
pub(super) fn wish(request: proto::SetLogFilterRequest) -> Result<Wish, Faults> {
    let proto::SetLogFilterRequest {
        filter,
        lasts_ms,
        who,
        why,
    } = request;
    let mut faults = Faults::new();
    for (name, words) in [("who", &who), ("why", &why)] {
        check_text(&mut faults, name, words);
    }
    if filter.len() > MAX_FILTER_BYTES {
        faults.push(format!(
            "filter has {} bytes, at most {MAX_FILTER_BYTES} are allowed",
            filter.len()
        ));
    }
    if filter.chars().any(char::is_control) {
        faults.push("filter has unprintable characters".to_owned());
    }
    let lasts_ms = match lasts_ms {
        0 => USUALLY_LASTS_MS,
        given => {
            if filter.is_empty() {
                faults.push(format!(
                    "lasts_ms is {given}, but what is configured does not end by itself"
                ));
            } else if !LASTS_MS.contains(&given) {
                let (least, most) = (LASTS_MS.start(), LASTS_MS.end());
                faults.push(format!(
                    "lasts_ms is {given}, must be {least} to {most}, or 0 for {USUALLY_LASTS_MS}"
                ));
            }
            given
        }
    };
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(Wish {
        filter: (!filter.is_empty()).then_some(filter),
        lasts_ms,
        who,
        why,
    })
}

/// What came of it.
pub(super) fn set(set: &FilterSet, now_unix_ms: u64) -> proto::SetLogFilterResponse {
    proto::SetLogFilterResponse {
        previous: set.previous.clone(),
        now: Some(in_force(&set.now, now_unix_ms)),
    }
}

/// What is in force.
pub(super) fn in_force(status: &log_filter::Status, now_unix_ms: u64) -> proto::LogFilter {
    let Change {
        since_unix_ms,
        until_unix_ms,
        who,
        why,
    } = status.change.clone().unwrap_or_default();
    proto::LogFilter {
        filter: status.filter.clone(),
        configured: status.configured.clone(),
        until_unix_ms,
        left_ms: until_unix_ms.saturating_sub(now_unix_ms),
        since_unix_ms,
        who,
        why,
    }
}

pub(super) fn refused(error: &SwitchError) -> Status {
    match error {
        SwitchError::NoFilter(words) => Status::invalid_argument(format!("filter: {words}")),
        SwitchError::Fixed(_) => Status::failed_precondition(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(filter: &str, lasts_ms: u64) -> proto::SetLogFilterRequest {
        proto::SetLogFilterRequest {
            filter: filter.to_owned(),
            lasts_ms,
            ..proto::SetLogFilterRequest::default()
        }
    }

    #[test]
    fn a_change_has_an_end_whether_somebody_says_so_or_not() {
        let read = |lasts_ms| wish(asked("debug", lasts_ms)).map(|wish| wish.lasts_ms);
        assert_eq!(read(0), Ok(600_000));
        assert_eq!(read(1_000), Ok(1_000));
        assert_eq!(read(86_400_000), Ok(86_400_000));
        for beyond in [1, 999, 86_400_001, u64::MAX] {
            let faults = read(beyond).unwrap_err();
            assert!(faults[0].contains("must be 1000 to 86400000"), "{faults:?}");
        }
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let faults = wish(proto::SetLogFilterRequest {
            filter: "x".repeat(513) + "\n",
            lasts_ms: 5,
            who: "w".repeat(300),
            why: "\u{7}".to_owned(),
        });
        assert_eq!(faults.unwrap_err().len(), 5);
        let faults = wish(asked("", 5_000)).unwrap_err();
        assert!(faults[0].contains("does not end by itself"), "{faults:?}");
        assert_eq!(wish(asked("", 0)).unwrap().filter, None);
    }
}
