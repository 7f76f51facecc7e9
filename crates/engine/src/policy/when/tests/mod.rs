//! Expressions by what they come to; `oracle` compares them with the interpreter of the crate that parses them.

mod oracle;

use super::read::{Refusal, read};
use super::*;
use crate::geo::place::{Asn, Country};
use crate::query::Client;

/// A request to ask about.
#[derive(Debug, Clone, Default)]
struct Asked {
    path: String,
    method: String,
    query_string: String,
    headers: Vec<(String, String)>,
    class: Option<String>,
    ip: Option<&'static str>,
    country: Option<&'static str>,
    asn: Option<u32>,
}

const HOST: &str = "www.example.com";

impl Asked {
    fn example() -> Self {
        Self {
            path: "/video/1.mp4".into(),
            method: "get".into(),
            query_string: "w=100&flag&w=2&e=%20".into(),
            headers: vec![
                ("X-Beta".into(), "1".into()),
                ("x-plan".into(), "gold".into()),
            ],
            class: Some("video".into()),
            ip: Some("192.0.2.7"),
            country: Some("DE"),
            asn: Some(64_496),
        }
    }

    fn headers(&self) -> Vec<(&str, &str)> {
        let headers = self.headers.iter();
        headers.map(|(n, v)| (n.as_str(), v.as_str())).collect()
    }

    fn query<'a>(&'a self, headers: &'a [(&'a str, &'a str)]) -> Query<'a> {
        Query {
            host: HOST,
            path: &self.path,
            query_string: &self.query_string,
            method: &self.method,
            headers,
            class: self.class.as_deref(),
            client: Client {
                ip: self.ip.map(|ip| ip.parse().unwrap()),
                ..Client::default()
            },
            ..Query::default()
        }
    }

    fn origin(&self) -> Origin {
        Origin {
            country: self.country.map(|code| code.parse::<Country>().unwrap()),
            asn: self.asn.and_then(Asn::new),
        }
    }

    /// What we say of it: the answer, or why there is none.
    fn ask(&self, when: &When) -> Result<bool, String> {
        let headers = self.headers();
        let query = self.query(&headers);
        let holds = when.holds(&query, HOST, self.origin());
        holds.map_err(|fault| fault.to_string())
    }
}

fn when(text: &str) -> Result<When, Refusal> {
    let read = read(text, &mut Budget::default().patterns)?;
    Ok(When {
        test: read.test,
        headers: read.headers.into_iter().collect(),
    })
}

fn answer(text: &str, asked: &Asked) -> Result<bool, String> {
    asked.ask(&when(text).unwrap_or_else(|refusal| panic!("{text}: {refusal:?}")))
}

#[test]
fn facts_of_a_request_are_compared() {
    for (text, holds) in [
        ("request.host == 'www.example.com'", true),
        ("request.path.startsWith('/video/')", true),
        (
            "request.path.endsWith('.ts') || request.path.contains('1.m')",
            true,
        ),
        ("request.method == 'GET'", true),
        ("request.method in ['POST', 'PUT']", false),
        ("request.class == 'video'", true),
        ("request.headers['x-beta'] == '1'", true),
        ("request.headers['x-plan'] in ['gold', 'silver']", true),
        ("request.query.w == '100'", true),
        ("request.query['flag'] == ''", true),
        ("request.query.e == '%20'", true),
        ("'w' in request.query && !('x' in request.query)", true),
        ("has(request.headers.cookie)", false),
        ("client.ip == '192.0.2.7'", true),
        ("client.ip.startsWith('192.0.2.')", true),
        ("client.country in ['FR', 'DE']", true),
        ("client.asn == 64496 && client.asn > 1", true),
        ("client.asn in [1, 64496, -3]", true),
        ("size(request.path) == 12 && request.path.size() < 13", true),
        ("int(request.query.w) * 2 + 1 == 201", true),
        ("-int(request.query.w) == -100", true),
        ("request.path.matches('^/video/[0-9]+')", true),
        ("matches(request.path, r'\\.mp4$')", true),
        (
            "['/a', '/video'].exists(p, request.path.startsWith(p))",
            true,
        ),
        ("['/', 'mp4'].all(p, request.path.contains(p))", true),
        ("[1, 2].all(n, client.asn > n)", true),
        (
            "(client.country == 'DE' ? request.path : request.host) == request.path",
            true,
        ),
        ("(has(client.ip) ? 1 : 2) == 1", true),
        ("has(request.path) && has(client.asn)", true),
        (
            "(request.method == 'GET') != (client.country == 'DE')",
            false,
        ),
        ("'a' < 'b' && request.path >= '/'", true),
        ("true", true),
    ] {
        assert_eq!(answer(text, &Asked::example()), Ok(holds), "{text}");
    }
}

#[test]
fn what_is_not_known_is_not_invented() {
    let nobody = Asked::default();
    for (text, outcome) in [
        ("client.country == 'DE'", Err("no such key client.country")),
        ("client.country != 'DE'", Err("no such key client.country")),
        ("client.asn == 1", Err("no such key client.asn")),
        ("client.ip == ''", Err("no such key client.ip")),
        ("request.class == ''", Err("no such key request.class")),
        (
            "request.headers['x-beta'] == ''",
            Err("no such key request.headers[\"x-beta\"]"),
        ),
        (
            "request.query.w == ''",
            Err("no such key request.query[\"w\"]"),
        ),
        ("has(client.country)", Ok(false)),
        ("has(client.country) && client.country == 'DE'", Ok(false)),
        ("!has(client.asn) || client.asn == 1", Ok(true)),
        // Where another part decides, what fails does not matter, wherever it stands.
        ("client.asn == 1 || true", Ok(true)),
        ("client.asn == 1 && false", Ok(false)),
        ("client.asn == 1 && true", Err("no such key client.asn")),
        (
            "client.asn == 1 ? true : true",
            Err("no such key client.asn"),
        ),
        ("request.method == 'GET'", Ok(true)),
        (
            "int(request.path) == 1",
            Err("`int` of a text that is no whole number"),
        ),
        ("1 / size(request.path) == 1", Err("division by zero")),
        ("1 % size(request.path) == 1", Err("division by zero")),
        (
            "9223372036854775807 + 1 == 1",
            Err("a number beyond 64 bits"),
        ),
    ] {
        let outcome = outcome.map_err(str::to_owned);
        assert_eq!(answer(text, &nobody), outcome, "{text}");
    }
}

#[test]
fn addresses_are_in_their_usual_form() {
    for (ip, text) in [
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        (
            "1111:2222:3333:4444:5555:6666:7777:8888",
            "1111:2222:3333:4444:5555:6666:7777:8888",
        ),
    ] {
        let asked = Asked {
            ip: Some(ip),
            ..Asked::default()
        };
        assert_eq!(answer(&format!("client.ip == '{text}'"), &asked), Ok(true));
    }
}

/// An expression, why it is refused, at which byte, and a part of what is said.
type Refused<'a> = (&'a str, Code, usize, &'a str);

const REFUSED: &[Refused<'_>] = &[
    ("request.pat == '/'", Code::P035, 8, "did you mean `path`?"),
    ("client.group == ''", Code::P035, 7, "ip, country, asn"),
    ("req.path == '/'", Code::P035, 0, "request, client"),
    ("request.path", Code::P035, 7, "compare it"),
    ("'video'", Code::P035, 0, "compare it"),
    ("1 + 1", Code::P035, 2, "compare it"),
    ("request", Code::P035, 0, "request.path"),
    (
        "request.path == 1",
        Code::P035,
        13,
        "a number with a number",
    ),
    (
        "client.asn == 'a'",
        Code::P035,
        11,
        "a number with a number",
    ),
    ("request.path + 'x' == 'y'", Code::P035, 13, "only numbers"),
    ("request.path.lower() == 'x'", Code::P035, 13, "startsWith"),
    (
        "request.path.startswith('x')",
        Code::P035,
        13,
        "`startsWith`",
    ),
    (
        "request.path.startsWith()",
        Code::P035,
        13,
        "is not used so",
    ),
    ("size(1) == 1", Code::P035, 5, "a text"),
    (
        "request.headers['X-Beta'] == ''",
        Code::P035,
        16,
        "write x-beta",
    ),
    ("request.headers.host == ''", Code::P035, 16, "request.host"),
    ("request.headers['a b'] == ''", Code::P035, 16, "letters"),
    (
        "request.headers[request.path] == ''",
        Code::P035,
        23,
        "write the name itself",
    ),
    ("request.query['é'] == ''", Code::P035, 14, "%C3%A9"),
    (
        "request.query['a=b'] == ''",
        Code::P035,
        14,
        "the name alone",
    ),
    ("request.path in client.ip", Code::P035, 13, "write a list"),
    ("request.path in ['a', 1]", Code::P035, 22, "list of texts"),
    (
        "request.path in [request.host]",
        Code::P035,
        24,
        "write the value itself",
    ),
    ("client.asn == 1.5", Code::P035, 14, "whole number"),
    ("client.asn == null", Code::P035, 14, "whole number"),
    ("{'a': 1}.a == 1", Code::P035, 0, "compare texts"),
    ("request.path ==", Code::P035, 15, "syntax of CEL"),
    ("request.path = 'a'", Code::P035, 13, "syntax of CEL"),
    ("", Code::P035, 0, "syntax of CEL"),
    ("request.path == 'a' 'b'", Code::P035, 20, "syntax of CEL"),
    ("request.path.matches('(')", Code::P035, 21, "RE2"),
    (
        "request.path.matches(request.host)",
        Code::P036,
        28,
        "write the pattern itself",
    ),
    (
        "request.path.matches('\\\\d{4000}')",
        Code::P036,
        21,
        "[0-9]",
    ),
    ("[1].map(x, x) == [1]", Code::P036, 7, "`exists`"),
    ("[1].exists_one(x, x == 1)", Code::P036, 14, "`exists`"),
    (
        "request.headers.all(h, h == '')",
        Code::P036,
        19,
        "list of values",
    ),
    (
        "[1].all(a, [2].all(b, a < b))",
        Code::P036,
        18,
        "write the inner one out",
    ),
];

#[test]
fn what_is_refused_says_where_and_what_to_write() {
    let long = format!("request.path == '{}'", "x".repeat(4_100));
    let deep = format!("{}true", "!(".repeat(60));
    let wide = format!("[{}].all(n, client.asn > n)", vec!["1"; 300].join(","));
    let made = [
        (long.as_str(), Code::P036, 0, "write several rules"),
        (deep.as_str(), Code::P036, 17, "write several rules"),
        (wide.as_str(), Code::P036, 205, "once for each entry"),
    ];
    for (text, code, at, cure) in REFUSED.iter().copied().chain(made) {
        let refusal = when(text).unwrap_err();
        let shown = text.get(..60).unwrap_or(text);
        let said = format!("{} {}", refusal.message, refusal.help);
        assert_eq!(refusal.code, code, "{shown}: {said}");
        assert!(said.contains(cure), "{shown}: {said}");
        assert_eq!(refusal.at, at, "{shown}: {said}");
    }
}

#[test]
fn headers_are_named_once_and_only_those_looked_at() {
    let when = when(
        "request.headers['x-b'] == '1' || request.headers.a == request.headers['x-b'] || 'c' in request.headers \
         || has(request.headers.d) || request.query.e == ''",
    );
    let names: Vec<String> = when
        .unwrap()
        .headers()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(names, ["a", "c", "d", "x-b"]);
}

#[test]
fn whether_anything_is_looked_at_is_known() {
    let mut patterns = 9;
    for (text, looks) in [
        ("1 < 2", false),
        ("'a' in ['a']", false),
        ("has(request.path)", true),
        ("client.asn > 1", true),
    ] {
        assert_eq!(
            read(text, &mut patterns).unwrap().looks_at_request,
            looks,
            "{text}"
        );
    }
    assert_eq!(patterns, 9);
    assert!(read("'a'.matches('b') && 'b'.matches('b')", &mut 1).is_err());
}
