//! Outcomes as JSON objects: of one attempt, or of all attempts of a request, as proxies log them.
//!
//! nginx writes what it knows of each attempt into one variable, `502, 200` or `127.0.0.1:9001, 127.0.0.1:9002`, with
//! ` : ` after an internal redirect. HAProxy tells how often it tried elsewhere, and how the session ended. Both write
//! `-` or `-1` for what they do not know, which is read as absent.

use serde_json::Value;

use super::Reader;
use super::logged::{LoggedAttempt, by_status, by_termination};
use super::words::{is_list, is_nobody, known, parts};
use crate::grpc_status;
use crate::proto::{self, AttemptResult};
use crate::report::{Fault, RefusedReason};

/// Most failed tries at one node that are told apart.
const MAX_RETRIES: u32 = 3;

/// Most attempts of one line.
const MAX_ATTEMPTS: usize = 16;

/// The outcomes that an object tells, or all that is wrong with it. None where no node was asked, or where the proxy cannot
///  say anything about the node (the client left before it answered).
///
/// ```
/// use tradewind_wire::json::outcomes;
///
/// let line = br#"{"node": "10.0.0.1:80, 10.0.0.2:80", "status": "502, 200", "total": "0.001, 0.012"}"#;
/// let told = outcomes(line).unwrap();
/// assert_eq!((told[0].attempt, &*told[0].node), (1, "10.0.0.1:80"));
/// assert_eq!((told[1].attempt, told[1].status), (2, 200));
/// ```
pub fn outcomes(bytes: &[u8]) -> Result<Vec<proto::Outcome>, Fault> {
    let mut reader = Reader::default();
    let fields = reader.document(bytes).unwrap_or_default();
    let fields = fields.iter().map(|(name, value)| (&**name, value));
    read(reader, fields)
}

/// The same of names and values as a proxy has them, which are texts.
pub fn outcomes_of<'f>(
    fields: impl Iterator<Item = (&'f str, &'f str)>,
) -> Result<Vec<proto::Outcome>, Fault> {
    let fields: Vec<(&str, Value)> = fields
        .map(|(name, text)| (name, Value::String(text.to_owned())))
        .collect();
    let fields = fields.iter().map(|(name, value)| (*name, value));
    read(Reader::default(), fields)
}

fn read<'f>(
    mut reader: Reader,
    fields: impl Iterator<Item = (&'f str, &'f Value)> + Clone,
) -> Result<Vec<proto::Outcome>, Fault> {
    let mut line = Line::default();
    // First, because the other columns must be as long.
    let nodes = fields.clone().find(|(name, _)| *name == "node");
    line.take_nodes(&mut reader, nodes.map(|(_, value)| value));
    for (name, value) in fields {
        line.take(&mut reader, name, value);
    }
    if reader.faults.is_empty() {
        return Ok(line.into_outcomes());
    }
    let words = reader.faults.join(", ");
    Err(Fault::new(RefusedReason::Undecodable, words))
}

/// What an object says.
#[derive(Debug, Default)]
struct Line {
    decision_id: String,
    attempts: Vec<Attempt>,
    /// The number of the first of them; 0 if it is not said.
    first: u32,
    /// HAProxy's termination state.
    termination: String,
    /// Which node was to be used.
    named: String,
    /// How often HAProxy tried again, with `+` if at another node in the end.
    retries: String,
    /// The gRPC status of the last answer, if there is one.
    grpc_status: Option<String>,
}

/// What it says of one attempt.
#[derive(Debug, Default)]
struct Attempt {
    /// With a result of 0 unless one is given.
    outcome: proto::Outcome,
    /// Whether there is a status, known or not.
    has_status: bool,
    /// Whether a first byte came, if that is said.
    answered: Option<bool>,
}

impl Line {
    fn take_nodes(&mut self, reader: &mut Reader, value: Option<&Value>) {
        let mut nodes = String::new();
        reader.text("node", value.unwrap_or(&Value::Null), &mut nodes);
        // nginx's `escape=json` leaves empty what there is none of. No `node` at all is somebody's mistake.
        if value.is_some() && nodes.is_empty() {
            nodes.push('-');
        }
        let of_node = |node| Attempt {
            outcome: proto::Outcome {
                node,
                ..proto::Outcome::default()
            },
            ..Attempt::default()
        };
        if is_list(&nodes) {
            let nodes = parts(&nodes).map(str::to_owned);
            self.attempts.extend(nodes.map(of_node));
        } else {
            self.attempts.push(of_node(nodes));
        }
        let count = self.attempts.len();
        if count > MAX_ATTEMPTS {
            reader.fault(format_args!(
                "node: has {count} attempts, at most {MAX_ATTEMPTS} are read"
            ));
        }
    }

    fn take(&mut self, reader: &mut Reader, name: &str, value: &Value) {
        match name {
            "node" => {}
            "decision_id" => reader.word(name, value, &mut self.decision_id),
            "attempt" => reader.number(name, value, &mut self.first),
            "termination" => reader.word(name, value, &mut self.termination),
            "named" => reader.word(name, value, &mut self.named),
            "retries" => reader.word(name, value, &mut self.retries),
            "grpc_status" => reader.grpc_status(name, known(value), &mut self.grpc_status),
            "result" => self.column(reader, (name, value), |reader, value, attempt| {
                let named = |name: &str| AttemptResult::from_str_name(name).map(i32::from);
                let target = &mut attempt.outcome.result;
                reader.enumeration(name, known(value), ("ATTEMPT_RESULT_", named), target);
            }),
            "status" => self.column(reader, (name, value), |reader, value, attempt| {
                attempt.has_status = true;
                reader.number(name, known(value), &mut attempt.outcome.status);
            }),
            "bytes" => self.column(reader, (name, value), |reader, value, attempt| {
                reader.number(name, known(value), &mut attempt.outcome.bytes);
            }),
            "time_to_first_byte" => self.column(reader, (name, value), |reader, value, attempt| {
                reader.duration(name, value, &mut attempt.outcome.time_to_first_byte);
                attempt.answered = Some(attempt.outcome.time_to_first_byte.is_some());
            }),
            "total" => self.column(reader, (name, value), |reader, value, attempt| {
                reader.duration(name, value, &mut attempt.outcome.total);
            }),
            "cache_status" => self.last(|last| {
                reader.cache_status(name, value, &mut last.outcome.cache_status);
            }),
            "client_round_trip" => self.last(|last| {
                reader.duration(name, value, &mut last.outcome.client_round_trip);
            }),
            _ => reader.unknown(name),
        }
    }

    /// Reads a field that has a value for each attempt. A single one is that of the last attempt, whose answer the client
    /// got.
    fn column(
        &mut self,
        reader: &mut Reader,
        (field, value): (&str, &Value),
        read: impl Fn(&mut Reader, &Value, &mut Attempt),
    ) {
        // Most lines tell of one attempt, and are read as they stand.
        let Some(list) = value.as_str().filter(|text| is_list(text)) else {
            return self.last(|last| read(reader, value, last));
        };
        let (given, attempts) = (parts(list).count(), self.attempts.len());
        if given != attempts {
            return reader.fault(format_args!(
                "{field}: has {given} values for {attempts} attempts, must be as many as `node` has, or 1"
            ));
        }
        for (attempt, text) in self.attempts.iter_mut().zip(parts(list)) {
            read(reader, &Value::String(text.to_owned()), attempt);
        }
    }

    fn last(&mut self, read: impl FnOnce(&mut Attempt)) {
        if let Some(last) = self.attempts.last_mut() {
            read(last);
        }
    }

    fn into_outcomes(mut self) -> Vec<proto::Outcome> {
        self.add_retries();
        if let Some(last) = self.attempts.last_mut() {
            let status = &mut last.outcome.status;
            *status = grpc_status::of_answer(*status, self.grpc_status.as_deref());
        }
        let count = self.attempts.len();
        let is_numbered = count > 1 || self.first > 0;
        let mut outcomes = Vec::with_capacity(count);
        let Self {
            attempts,
            decision_id,
            termination,
            ..
        } = self;
        let first = self.first.max(1);
        for (at, attempt) in attempts.into_iter().enumerate() {
            let is_last = at + 1 == count;
            let termination = if is_last { &*termination } else { "" };
            let Some(mut outcome) = attempt.into_outcome(termination, count) else {
                continue;
            };
            outcome.decision_id.clone_from(&decision_id);
            if is_numbered {
                let at = u32::try_from(at).unwrap_or(u32::MAX);
                outcome.attempt = first.saturating_add(at);
            }
            outcomes.push(outcome);
        }
        outcomes
    }

    /// Puts the tries that HAProxy only counts before the one that it tells of.
    fn add_retries(&mut self) {
        let (elsewhere, count) = match self.retries.strip_prefix('+') {
            Some(count) => (true, count),
            None => (false, &*self.retries),
        };
        let count = count.parse().unwrap_or(0).min(MAX_RETRIES);
        let Some(last) = self.attempts.last().filter(|_| count > 0) else {
            return;
        };
        let own = &last.outcome.node;
        let (node, count) = match (elsewhere, &*self.named) {
            (false, _) => (own.clone(), count),
            // Of several tries it is only known where the first one and the last one were.
            (true, named) if !named.is_empty() && named != own => (named.to_owned(), 1),
            (true, _) => return,
        };
        let failed = || Attempt {
            outcome: proto::Outcome {
                node: node.clone(),
                result: AttemptResult::Error.into(),
                ..proto::Outcome::default()
            },
            ..Attempt::default()
        };
        for _ in 0..count {
            self.attempts.insert(0, failed());
        }
    }
}

impl Attempt {
    /// What this attempt says of its node; `None` for nothing. `count` is how many there were.
    fn into_outcome(self, termination: &str, count: usize) -> Option<proto::Outcome> {
        let mut outcome = self.outcome;
        if is_nobody(&outcome.node) || outcome.node.is_empty() && count > 1 {
            return None;
        }
        if outcome.result != i32::from(AttemptResult::Unspecified) {
            return Some(outcome);
        }
        if termination.is_empty() && !self.has_status && count == 1 {
            // Somebody forgot to say how it went, which is a fault: it is found where an outcome is read.
            return Some(outcome);
        }
        let verdict = if termination.is_empty() {
            by_status(outcome.status, self.answered)
        } else {
            by_termination(termination, outcome.status, self.answered)
        };
        let LoggedAttempt { result, status } = verdict?;
        outcome.result = result.into();
        outcome.status = status;
        Some(outcome)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::CacheStatus;

    /// Words that logs have, and some that they do not.
    fn word() -> impl Strategy<Value = Value> {
        let words = [
            "-",
            "",
            "-1",
            "a",
            "a, b",
            "a : b, c",
            ", ",
            " : ",
            "<NOSRV>",
            "200",
            "502, 200",
            "499",
            "+1",
            "+9",
            "3",
            "SC",
            "--",
            "é",
            "\u{0}",
            "0.012",
            "1ms, -",
            "9999999999999999999999",
            "HIT",
            "Mid; hit, Edge",
            "=;,",
        ];
        prop_oneof![
            proptest::sample::select(words.to_vec()).prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            Just(Value::Null),
            Just(Value::Bool(true)),
            Just(Value::Array(vec![Value::from("a")])),
        ]
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused_within_bounds(
            fields in proptest::collection::btree_map(
                proptest::sample::select(vec![
                    "node", "decision_id", "attempt", "result", "status", "time_to_first_byte", "total", "bytes",
                    "cache_status", "client_round_trip", "termination", "named", "retries", "grpc_status", "other",
                ]),
                word(),
                0..15,
            ),
        ) {
            let line = serde_json::to_vec(&fields).unwrap();
            if let Ok(told) = outcomes(&line) {
                prop_assert!(told.len() <= MAX_ATTEMPTS + usize::try_from(MAX_RETRIES).unwrap());
                for outcome in told {
                    prop_assert!(!is_nobody(&outcome.node));
                }
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            drop(outcomes(&bytes));
        }
    }

    /// Node, result and status of every attempt.
    #[track_caller]
    fn told(line: &str) -> Vec<(String, AttemptResult, u32)> {
        let told = outcomes(line.as_bytes()).unwrap_or_else(|fault| panic!("{line}: {fault}"));
        told.into_iter()
            .map(|outcome| (outcome.node.clone(), outcome.result(), outcome.status))
            .collect()
    }

    fn of(node: &str, result: AttemptResult, status: u32) -> (String, AttemptResult, u32) {
        (node.to_owned(), result, status)
    }

    #[test]
    fn an_outcome_is_read_in_the_words_of_logs() {
        let read = outcomes(
            br#"{"decision_id": "00000000000000af", "node": "a", "attempt": 1, "result": "ok", "status": 200,
                "time_to_first_byte": "0.012s", "total": "1s", "bytes": "5", "cache_status": "HIT",
                "client_round_trip": "0.000001s"}"#,
        );
        let [read] = &read.unwrap()[..] else {
            panic!("one attempt")
        };
        assert_eq!(read.result(), AttemptResult::Ok);
        assert_eq!(read.cache_status(), CacheStatus::Hit);
        let first = read.time_to_first_byte.unwrap();
        assert_eq!((first.seconds, first.nanos), (0, 12_000_000));
        assert_eq!(read.client_round_trip.unwrap().nanos, 1_000);
        let by_name = outcomes(br#"{"result": "ATTEMPT_RESULT_TIMEOUT"}"#).unwrap();
        assert_eq!(by_name[0].result(), AttemptResult::Timeout);
    }

    #[test]
    fn a_grpc_status_is_that_of_the_last_answer() {
        let of_code = |code: &str| {
            let line = format!(
                r#"{{"node": "a, b", "status": "502, 200", "time_to_first_byte": "-, 0.01", "grpc_status": "{code}"}}"#
            );
            told(&line).remove(1)
        };
        assert_eq!(of_code("14"), of("b", AttemptResult::Error, 503));
        assert_eq!(
            of_code("RESOURCE_EXHAUSTED"),
            of("b", AttemptResult::Shed, 429)
        );
        for well in ["0", "-", "", "-1", "ok"] {
            assert_eq!(of_code(well), of("b", AttemptResult::Ok, 200), "{well}");
        }
        let numbered = r#"{"node": "a", "result": "ok", "status": 200, "grpc_status": 13}"#;
        assert_eq!(told(numbered), [of("a", AttemptResult::Ok, 500)]);
        // The node gave up because the client did.
        assert_eq!(
            told(r#"{"node": "a", "status": 200, "grpc_status": 1}"#),
            []
        );
    }

    #[test]
    fn what_is_no_grpc_status_is_a_fault() {
        for none in ["\"foo\"", "17", "\"17\"", "-2", "1.5", "true", "[14]"] {
            let line = format!(r#"{{"node": "a", "status": 200, "grpc_status": {none}}}"#);
            let said = outcomes(line.as_bytes()).unwrap_err().to_string();
            let shown = format!("grpc_status: is `{none}`, must be a gRPC status");
            assert!(said.contains(&shown), "{none}: {said}");
            assert!(said.contains("0 (OK) to 16 (UNAUTHENTICATED)"), "{said}");
        }
    }

    #[test]
    fn an_unreadable_outcome_says_all_that_is_wrong() {
        let line = br#"{"result": "fine", "total": "soon", "colour": "red", "cache_status": 7}"#;
        let fault = outcomes(line).unwrap_err();
        assert_eq!(fault.reason, RefusedReason::Undecodable);
        let said = fault.to_string();
        for part in [
            "result: is `",
            "total: is `\"soon\"`, must be a duration like \"12ms\"",
            "`colour`",
            "cache_status: is `7`",
        ] {
            assert!(said.contains(part), "{part} in {said}");
        }
        for garbage in [&b"["[..], b"[]", b"\xff", b"", b"{\"a\":"] {
            outcomes(garbage).unwrap_err();
        }
    }

    #[test]
    fn lists_as_nginx_logs_them_are_attempts() {
        let line = r#"{"decision_id": "00000000000000af", "node": "127.0.0.1:9001, 127.0.0.1:9002 : [::1]:9003",
            "status": "502, 504 : 200", "time_to_first_byte": "-, - : 0.004", "total": "0.001, 1.000 : 0.005",
            "bytes": "0, 0 : 512", "cache_status": "HIT"}"#;
        let read = outcomes(line.as_bytes()).unwrap();
        let wanted = [
            of("127.0.0.1:9001", AttemptResult::Error, 0),
            of("127.0.0.1:9002", AttemptResult::Timeout, 0),
            of("[::1]:9003", AttemptResult::Ok, 200),
        ];
        assert_eq!(told(line), wanted);
        for (number, outcome) in (1..).zip(&read) {
            assert_eq!(outcome.attempt, number);
            assert_eq!(outcome.decision_id, "00000000000000af");
        }
        let caches: Vec<_> = read.iter().map(proto::Outcome::cache_status).collect();
        let unknown = CacheStatus::Unspecified;
        assert_eq!(caches, [unknown, unknown, CacheStatus::Hit]);
        assert_eq!(read[2].time_to_first_byte.unwrap().nanos, 4_000_000);
        assert_eq!((read[0].bytes, read[2].bytes), (0, 512));
    }

    #[test]
    fn columns_that_do_not_fit_together_are_a_fault() {
        let line = br#"{"node": "a, b, c", "status": "502, 200"}"#;
        let said = outcomes(line).unwrap_err().to_string();
        assert!(
            said.contains("status: has 2 values for 3 attempts"),
            "{said}"
        );
        let many = format!(
            r#"{{"node": "{}", "result": "ok"}}"#,
            vec!["a"; 17].join(", ")
        );
        let said = outcomes(many.as_bytes()).unwrap_err().to_string();
        assert!(said.contains("node: has 17 attempts, at most 16"), "{said}");
    }

    #[test]
    fn what_says_nothing_about_a_node_is_no_outcome() {
        for line in [
            // Answered from nginx's own cache, or refused by it.
            r#"{"node": "-", "status": "-", "time_to_first_byte": "-"}"#,
            r#"{"node": "", "status": "", "time_to_first_byte": "", "bytes": ""}"#,
            // The client left before the node answered.
            r#"{"node": "a", "status": "-", "time_to_first_byte": "-", "total": "0.100"}"#,
            r#"{"node": "<NOSRV>", "status": 403, "termination": "PR"}"#,
            r#"{"node": "a", "status": -1, "termination": "CH", "time_to_first_byte": "-1 ms"}"#,
        ] {
            assert_eq!(told(line), [], "{line}");
        }
        // A number that no attempt has is refused later, and no reason to fall over.
        let last = format!(
            r#"{{"node": "a, b", "result": "ok, ok", "attempt": {}}}"#,
            u32::MAX
        );
        assert_eq!(outcomes(last.as_bytes()).unwrap()[1].attempt, u32::MAX);
        // The attempt before it still counts.
        let line = r#"{"node": "a, b", "status": "502, -", "time_to_first_byte": "-, -"}"#;
        assert_eq!(told(line), [of("a", AttemptResult::Error, 0)]);
        // Nothing said at all is a fault, found later.
        let line = r#"{"node": "a"}"#;
        assert_eq!(told(line), [of("a", AttemptResult::Unspecified, 0)]);
    }

    #[test]
    fn haproxys_retries_are_attempts_too() {
        let line = r#"{"node": "fra-2", "named": "fra-1", "retries": "+1", "status": 200, "termination": "--"}"#;
        let wanted = [
            of("fra-1", AttemptResult::Error, 0),
            of("fra-2", AttemptResult::Ok, 200),
        ];
        assert_eq!(told(line), wanted);
        let line = r#"{"node": "fra-1", "named": "fra-1", "retries": 1, "status": 503, "termination": "SC"}"#;
        let wanted = vec![of("fra-1", AttemptResult::Error, 0); 2];
        assert_eq!(told(line), wanted);
        // Nobody was named: where the first try was is not known.
        let line = r#"{"node": "fra-2", "named": "-", "retries": "+1", "status": 200, "termination": "--"}"#;
        assert_eq!(told(line), [of("fra-2", AttemptResult::Ok, 200)]);
    }
}
