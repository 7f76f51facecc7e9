//! Which trace a request is part of, as callers say in `traceparent` (W3C Trace Context, level 2).

use std::fmt;

use http::{HeaderMap, HeaderName};
use xxhash_rust::xxh3;

use crate::wire::question::Question;

/// The header, or metadata, that says it; in lower case.
pub const TRACEPARENT: &str = "traceparent";

/// The same, ready to be looked up: 140 instructions, a tenth of what it costs by text.
static NAME: HeaderName = HeaderName::from_static(TRACEPARENT);

/// A span somewhere, and the trace it is part of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// Names the trace; not all zero.
    pub trace_id: [u8; 16],
    /// Names the span; not all zero.
    pub span_id: [u8; 8],
    /// What is said of the trace; see [`TraceContext::is_sampled`].
    pub flags: u8,
}

impl TraceContext {
    /// Reads a value of `traceparent`; `None` for what breaks its grammar, which is to be taken for no header.
    pub fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let [version, trace_id, span_id, flags] = std::array::from_fn(|_| parts.next());
        let [version] = hex(version?)?;
        // Of later versions the beginning is as now; of this one nothing may follow.
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return None;
        }
        let [flags] = hex(flags?)?;
        let context = Self {
            trace_id: hex(trace_id?)?,
            span_id: hex(span_id?)?,
            flags,
        };
        (context.trace_id != [0; 16] && context.span_id != [0; 8]).then_some(context)
    }

    /// What stands for the trace of a decision whose caller says of none: made from its id, so that whoever has that finds it.
    pub fn of_decision(id: &str) -> Self {
        Self {
            // Zero would take 2 to the power of 128 decisions.
            trace_id: xxh3::xxh3_128(id.as_bytes()).to_be_bytes(),
            span_id: Self::span_of(id),
            flags: 1,
        }
    }

    /// Names the span of a decision.
    pub fn span_of(id: &str) -> [u8; 8] {
        xxh3::xxh3_64(id.as_bytes()).max(1).to_be_bytes()
    }

    /// The same, as people write it.
    pub fn span_name(id: &str) -> String {
        format!("{:016x}", u64::from_be_bytes(Self::span_of(id)))
    }

    /// Whether the caller records this trace.
    pub fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }

    /// The trace's name, as people write it.
    pub fn trace(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.trace_id))
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = u64::from_be_bytes(self.span_id);
        write!(f, "00-{}-{span:016x}-{:02x}", self.trace(), self.flags)
    }
}

/// So many bytes, each as two digits in lower case.
fn hex<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let pairs: &[[u8; 2]; BYTES] = pairs.try_into().ok()?;
    let mut bytes = [0; BYTES];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

/// Where a caller may say which trace a request is part of, beside the headers that the request itself shows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Caller<'a> {
    /// The headers of the call: who asks us is the nearest parent.
    pub call: Option<&'a HeaderMap>,
    /// What is shown of the client's request and does not get into the question.
    pub shown: Option<&'a str>,
}

impl<'a> Caller<'a> {
    /// A caller with these headers.
    pub fn new(call: &'a HeaderMap) -> Self {
        Self {
            call: Some(call),
            shown: None,
        }
    }

    /// What the request is part of. Looks through headers: only for requests that are traced or kept.
    pub fn parent(&self, question: &Question<'_>) -> Option<TraceContext> {
        let call = self.call.and_then(|headers| headers.get(&NAME));
        if let Some(value) = call.and_then(|value| value.to_str().ok()) {
            return TraceContext::read(value);
        }
        if let Some(value) = self.shown {
            return TraceContext::read(value);
        }
        let mut shown = question.headers.iter();
        let (_, value) = shown.find(|(name, _)| name.eq_ignore_ascii_case(TRACEPARENT))?;
        TraceContext::read(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_good_parent_is_read() {
        let context = TraceContext::read(GOOD).unwrap();
        assert_eq!(format!("{context:?}"), GOOD);
        assert!(context.is_sampled());
        let unsampled = TraceContext::read(&GOOD.replace("-01", "-00")).unwrap();
        assert!(!unsampled.is_sampled());
        // The random flag of level 2 beside it, and a later version with more behind.
        assert!(TraceContext::read(&GOOD.replace("-01", "-03")).is_some());
        assert!(TraceContext::read(&GOOD.replace("00-", "01-").replace("-01", "-01-x")).is_some());
    }

    #[test]
    fn what_breaks_the_grammar_is_no_parent() {
        for text in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c8031-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01",
            "00-ä-b-01",
        ] {
            assert_eq!(TraceContext::read(text), None, "{text}");
        }
    }

    #[test]
    fn who_asks_goes_before_what_the_request_shows() {
        let of = |trace: &str| GOOD.replace("0af7", trace);
        let (call, shown, own) = (of("0001"), of("0002"), of("0003"));
        let question = Question {
            headers: vec![("accept", "*/*"), ("Traceparent", &own)],
            ..Question::default()
        };
        let mut headers = HeaderMap::new();
        let parent = |headers: &HeaderMap, shown: Option<&str>| {
            let call = Some(headers);
            let parent = Caller { call, shown }.parent(&question);
            parent.map(|parent| format!("{parent:?}"))
        };
        assert_eq!(parent(&headers, None), Some(own.clone()));
        assert_eq!(parent(&headers, Some(&shown)), Some(shown.clone()));
        headers.insert(TRACEPARENT, call.parse().unwrap());
        assert_eq!(parent(&headers, Some(&shown)), Some(call));
        headers.insert(TRACEPARENT, "rubbish".parse().unwrap());
        assert_eq!(parent(&headers, Some(&shown)), None);
    }
}
