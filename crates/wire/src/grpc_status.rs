//! What a gRPC status says of a node, in HTTP's terms: every gRPC answer is a 200, and how it went stands in its trailers,
//! or in its headers where there is nothing but a status ("trailers-only").
//!
//! The HTTP status that each code stands for is the one of `google/rpc/code.proto`. So `UNKNOWN` (a panic, with most
//! servers) and `DATA_LOSS` are the node's own failures like `INTERNAL`, and `UNIMPLEMENTED` is the request's.

/// The header and trailer.
pub const NAME: &str = "grpc-status";

/// What a code is written as.
pub const WANTED: &str = "a gRPC status, by number or by name: 0 (OK) to 16 (UNAUTHENTICATED)";

/// Codes by number: their names, and the HTTP status that each stands for.
const CODES: [(&str, u32); 17] = [
    ("OK", 200),
    ("CANCELLED", 499),
    ("UNKNOWN", 500),
    ("INVALID_ARGUMENT", 400),
    ("DEADLINE_EXCEEDED", 504),
    ("NOT_FOUND", 404),
    ("ALREADY_EXISTS", 409),
    ("PERMISSION_DENIED", 403),
    ("RESOURCE_EXHAUSTED", 429),
    ("FAILED_PRECONDITION", 400),
    ("ABORTED", 409),
    ("OUT_OF_RANGE", 400),
    ("UNIMPLEMENTED", 501),
    ("INTERNAL", 500),
    ("UNAVAILABLE", 503),
    ("DATA_LOSS", 500),
    ("UNAUTHENTICATED", 401),
];

/// The HTTP status that an answer stands for. Only of a 200 the gRPC status is asked: any other HTTP status is that of
/// something in between that speaks no gRPC.
pub fn of_answer(status: u32, grpc_status: Option<&str>) -> u32 {
    match grpc_status.and_then(http_status) {
        Some(stands_for) if status == 200 => stands_for,
        _ => status,
    }
}

/// The HTTP status that a code stands for, written as a number or as a name in any case; `None` for no code that there is.
pub fn http_status(code: &str) -> Option<u32> {
    let by_number = code.parse().ok().and_then(|at: usize| CODES.get(at));
    let by_name = || {
        let mut codes = CODES.iter();
        codes.find(|(name, _)| name.eq_ignore_ascii_case(code))
    };
    let found = by_number.or_else(by_name);
    found.map(|(_, status)| *status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_call_is_no_200() {
        assert_eq!(of_answer(200, Some("14")), 503);
        assert_eq!(of_answer(200, Some("UNAVAILABLE")), 503);
        assert_eq!(of_answer(200, Some("8")), 429);
        for own_failure in ["2", "13", "15"] {
            assert_eq!(of_answer(200, Some(own_failure)), 500);
        }
        assert_eq!(of_answer(200, Some("4")), 504);
        assert_eq!(of_answer(200, Some("5")), 404);
        assert_eq!(of_answer(200, Some("1")), 499);
    }

    #[test]
    fn what_is_no_failed_call_stays_as_it_is() {
        for none in [None, Some("0"), Some(""), Some("17"), Some("-1"), Some("x")] {
            assert_eq!(of_answer(200, none), 200, "{none:?}");
        }
        assert_eq!(of_answer(502, Some("14")), 502);
        assert_eq!(of_answer(0, Some("14")), 0);
    }
}
