//! Lines that hold a JSON object each, whatever else is in them.
//!
//! A reader of its own, because what logs call JSON is not always: nginx writes `\xHH` unless it is told `escape=json`,
//! and bytes that are not UTF-8 as they are. It looks for values and is no judge of the rest.

use std::borrow::Cow;

use super::escape;
use super::names::{self, Names};
use super::record::Record;

/// Objects and lists within one another.
const MAX_DEPTH: usize = 16;

/// Hands the values of a line to `record`; false when it holds no JSON object. What stands before the object, as the
/// name that a collector of logs puts there, is passed over.
pub(super) fn read<'l>(line: &'l [u8], names: &Names, record: &mut Record<'l>) -> bool {
    let Some(start) = memchr::memchr(b'{', line) else {
        return false;
    };
    let rest = line.get(start..).unwrap_or_default();
    let mut reader = Reader {
        rest,
        names,
        record,
        path: Vec::new(),
    };
    reader.object(MAX_DEPTH).is_some()
}

struct Reader<'l, 'r> {
    rest: &'l [u8],
    names: &'r Names,
    record: &'r mut Record<'l>,
    /// The names on the way to the value, in normal form, joined by dots.
    path: Vec<u8>,
}

impl<'l> Reader<'l, '_> {
    fn object(&mut self, depth: usize) -> Option<()> {
        self.expect(b'{')?;
        if self.expect(b'}').is_some() {
            return Some(());
        }
        let length = self.path.len();
        loop {
            let name = self.string()?;
            if length > 0 {
                self.path.push(b'.');
            }
            names::push_normal(&unescaped(name), &mut self.path);
            self.expect(b':')?;
            self.value(depth)?;
            self.path.truncate(length);
            if self.expect(b',').is_none() {
                return self.expect(b'}');
            }
        }
    }

    /// The values of a list go by the name of the list.
    fn list(&mut self, depth: usize) -> Option<()> {
        self.expect(b'[')?;
        if self.expect(b']').is_some() {
            return Some(());
        }
        loop {
            self.value(depth)?;
            if self.expect(b',').is_none() {
                return self.expect(b']');
            }
        }
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        self.skip_space();
        match self.rest.first()? {
            b'{' => self.object(depth),
            b'[' => self.list(depth),
            b'"' => {
                let value = self.string()?;
                if let Some(place) = self.names.place(&self.path) {
                    self.record.put(&place, unescaped(value));
                }
                Some(())
            }
            _ => self.word(),
        }
    }

    /// A number, or one of the words that tell nothing.
    fn word(&mut self) -> Option<()> {
        let is_in_word = |byte: &&u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
        let length = self.rest.iter().take_while(is_in_word).count();
        let (word, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        match word.first()? {
            b'0'..=b'9' => {
                if let Some(place) = self.names.place(&self.path) {
                    self.record.put(&place, Cow::Borrowed(word));
                }
                Some(())
            }
            b'-' => Some(()),
            _ => [b"true".as_slice(), b"false", b"null"]
                .contains(&word)
                .then_some(()),
        }
    }

    /// What stands between quotes, as it is written.
    fn string(&mut self) -> Option<&'l [u8]> {
        self.expect(b'"')?;
        let mut end = 0;
        loop {
            end += memchr::memchr2(b'"', b'\\', self.rest.get(end..)?)?;
            if self.rest.get(end) == Some(&b'"') {
                break;
            }
            end += 2;
        }
        let (string, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest.get(1..)?;
        Some(string)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.skip_space();
        self.rest = self.rest.strip_prefix(&[byte])?;
        Some(())
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }
}

fn unescaped(text: &[u8]) -> Cow<'_, [u8]> {
    escape::Escapes::Backslash.undo(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Client, host, method, path, query, user agent.
    fn asked(line: &[u8]) -> Option<[String; 6]> {
        let mut record = Record::default();
        if !read(line, &Names::default(), &mut record) {
            return None;
        }
        let request = record.into_entry().unwrap().request("");
        let agent = request.headers.into_iter().find(|h| h.name == "user-agent");
        Some([
            request.client.unwrap().ip,
            request.host,
            request.method,
            request.path,
            request.query,
            agent.map(|h| h.value).unwrap_or_default(),
        ])
    }

    #[test]
    fn the_lines_of_many_programs_say_the_same() {
        let expected = ["192.0.2.7", "www.example.com", "PUT", "/a/b", "c=1", "x/1"];
        for (who, line) in [
            (
                "Envoy",
                r#"{":authority":"www.example.com","bytes_sent":5,"connection_termination_details":null,
                "downstream_remote_address":"192.0.2.7:4711","method":"PUT","protocol":"HTTP/2","response_code":200,
                "start_time":"2026-01-01T00:00:00.000Z","user-agent":"x/1","x-envoy-origin-path":"/a/b?c=1",
                "x-forwarded-for":"10.0.0.1"}"#,
            ),
            (
                "Istio",
                r#"{"authority":"www.example.com","method":"PUT","path":"/a/b?c=1","user_agent":"x/1","bytes_sent":5,
                "x_forwarded_for":"10.0.0.1","downstream_remote_address":"192.0.2.7:4711","upstream_host":null}"#,
            ),
            (
                "nginx, a request line",
                r#"{"remote_addr": "192.0.2.7", "http_host": "www.example.com", "request": "PUT /a/b?c=1 HTTP/1.1",
                "status": "200", "body_bytes_sent": "5", "http_user_agent": "x/1"}"#,
            ),
            (
                "nginx, parts",
                r#"{"remote_addr":"192.0.2.7","server_name":"_","host":"www.example.com","request_method":"PUT",
                "uri":"/a/b","args":"c=1","http_user_agent":"x\/1","bytes_sent":5}"#,
            ),
            (
                "Caddy",
                r#"{"level":"info","ts":1646861401.5,"logger":"http.log.access","msg":"handled request","request":{
                "remote_ip":"10.0.0.1","remote_port":"4711","client_ip":"192.0.2.7","proto":"HTTP/2.0","method":"PUT",
                "host":"www.example.com","uri":"/a/b?c=1","headers":{"User-Agent":["x/1"],"Accept":["a","b"]},
                "tls":{"resumed":false,"version":772}},"bytes_read":0,"size":5,"status":200,"resp_headers":{}}"#,
            ),
            (
                "Traefik",
                r#"{"ClientAddr":"192.0.2.7:4711","ClientHost":"192.0.2.7","DownstreamContentSize":5,
                "RequestHost":"www.example.com","RequestMethod":"PUT","RequestPath":"/a/b?c=1","request_User-Agent":"x/1"}"#,
            ),
            (
                "Cloudflare",
                r#"{"ClientIP":"192.0.2.7","ClientRequestHost":"www.example.com","ClientRequestMethod":"PUT",
                "ClientRequestURI":"/a/b?c=1","ClientRequestUserAgent":"x/1","EdgeResponseBytes":5}"#,
            ),
            (
                "Google Cloud",
                r#"{"httpRequest":{"remoteIp":"192.0.2.7","requestMethod":"PUT","responseSize":"5","userAgent":"x/1",
                "requestUrl":"https://www.example.com/a/b?c=1"}}"#,
            ),
            (
                "Elastic Common Schema",
                r#"{"source":{"ip":"192.0.2.7"},"url":{"domain":"www.example.com","path":"/a/b","query":"c=1"},
                "http":{"request":{"method":"PUT"}},"user_agent":{"original":"x/1"}}"#,
            ),
            (
                "a collector's name before it",
                r#"web-1  | {"clientip":"192.0.2.7","vhost":"www.example.com","verb":"PUT","request":"/a/b?c=1","agent":"x/1"}"#,
            ),
        ] {
            let found = asked(line.as_bytes());
            assert_eq!(found, Some(expected.map(str::to_owned)), "{who}");
        }
    }

    #[test]
    fn escapes_and_raw_bytes_become_bytes() {
        for (line, path) in [
            (br#"{"uri":"/caf\u00e9\""}"#.as_slice(), "/caf\u{e9}\""),
            (br#"{"uri":"/caf\xC3\xA9"}"#, "/caf\u{e9}"),
            (b"{\"uri\":\"/caf\xe9\"}", "/caf%E9"),
            (br#"{"u\u0072i":"/a\\"}"#, "/a\\"),
        ] {
            assert_eq!(asked(line).unwrap()[3], path);
        }
    }

    #[test]
    fn what_is_no_object_is_not_read() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(20), "]".repeat(20));
        for line in [
            "",
            "[]",
            "{",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1"#,
            r#"{"a":"b}"#,
            r#"{"a":"b\"#,
            r#"{"a":1,}"#,
            r#"{"a":nothing}"#,
            r#"{"a":[1,{"b":2]}"#,
            "{{}}",
            &deep,
        ] {
            let mut record = Record::default();
            assert!(
                !read(line.as_bytes(), &Names::default(), &mut record),
                "{line}"
            );
        }
    }
}
