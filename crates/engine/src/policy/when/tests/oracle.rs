//! Random expressions about random requests: what we make of them is what the interpreter of the crate `cel` says, and
//! nothing that anybody writes or asks makes us panic.

use std::collections::{BTreeMap, HashMap};

use cel::{Context, Program, Value};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

use super::{Asked, HOST, when};
use crate::query::query_parameters;

impl Asked {
    /// The same as variables of the interpreter.
    fn context(&self) -> Context<'static, 'static> {
        let text = |text: &str| Value::from(text);
        let mut request: HashMap<String, Value> = HashMap::new();
        let method = match self.method.as_str() {
            "" => "GET".to_owned(),
            given => given.to_ascii_uppercase(),
        };
        request.insert("host".into(), text(HOST));
        request.insert("path".into(), text(&self.path));
        request.insert("method".into(), text(&method));
        if let Some(class) = &self.class {
            request.insert("class".into(), text(class));
        }
        let mut headers = HashMap::new();
        for (name, value) in self.headers.iter().rev() {
            headers.insert(name.to_ascii_lowercase(), value.clone());
        }
        request.insert("headers".into(), headers.into());
        let names: Vec<&str> = self.query_string.split('&').collect();
        let names = names
            .iter()
            .map(|p| p.split('=').next().unwrap_or_default());
        let parameters: HashMap<String, String> = names
            .filter_map(|name| {
                let mut values = query_parameters(&self.query_string, name);
                Some((name.to_owned(), values.next()?.to_owned()))
            })
            .collect();
        request.insert("query".into(), parameters.into());
        let mut client: HashMap<String, Value> = HashMap::new();
        if let Some(ip) = self.ip {
            client.insert("ip".into(), text(ip));
        }
        if let Some(country) = self.country {
            client.insert("country".into(), text(country));
        }
        if let Some(asn) = self.asn.filter(|asn| *asn > 0) {
            client.insert("asn".into(), Value::from(i64::from(asn)));
        }
        let mut context = Context::default();
        context.add_variable_from_value("request", request);
        context.add_variable_from_value("client", client);
        context
    }
}

/// Numbers, and sums of two.
fn numbers() -> impl Strategy<Value = String> + Clone {
    let numbers = prop::sample::select(vec![
        "client.asn",
        "1",
        "-1",
        "0",
        "9223372036854775807",
        "size(request.path)",
        "int(request.query.w)",
        "request.method.size()",
    ])
    .prop_map(str::to_owned);
    let arithmetic = (
        numbers.clone(),
        prop::sample::select(vec!["+", "-", "*", "/", "%"]),
        numbers.clone(),
    )
        .prop_map(|(a, operator, b)| format!("({a} {operator} {b})"));
    prop_oneof![3 => numbers, 1 => arithmetic]
}

/// Expressions that are most often of the right kind.
fn expressions() -> impl Strategy<Value = String> {
    let texts = prop::sample::select(vec![
        "request.host",
        "request.path",
        "request.method",
        "request.class",
        "request.headers['x-beta']",
        "request.headers.cookie",
        "request.query.w",
        "request.query['flag']",
        "client.ip",
        "client.country",
        "'/video'",
        "'DE'",
        "''",
        "'1'",
        "\"é\"",
        "p",
    ])
    .prop_map(str::to_owned);
    let numbers = numbers();
    let relation = || prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let part = prop::sample::select(vec!["startsWith", "endsWith", "contains", "matches"]);
    let leaf = prop_oneof![
        (texts.clone(), relation(), texts.clone()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        (numbers.clone(), relation(), numbers.clone())
            .prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        (texts.clone(), part, texts.clone()).prop_map(|(a, part, b)| format!("{a}.{part}({b})")),
        texts
            .clone()
            .prop_map(|a| format!("{a} in ['DE', '/video/1.mp4', 'GET', '1']")),
        numbers.prop_map(|a| format!("{a} in [1, 64496, 12]")),
        prop::sample::select(vec![
            "has(client.country)",
            "has(client.asn)",
            "has(request.headers.cookie)",
            "'w' in request.query",
            "true",
            "false",
            "request.nothing == 1",
        ])
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            inner.clone().prop_map(|a| format!("!({a})")),
            inner
                .clone()
                .prop_map(|a| format!("['/video', 'GET'].exists(p, {a})")),
            inner
                .clone()
                .prop_map(|a| format!("['/video', 'GET'].all(p, {a})")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("({a}) == ({b})")),
        ]
    })
}

fn requests() -> impl Strategy<Value = Asked> {
    let text =
        |texts: &[&'static str]| prop::sample::select(texts.to_vec()).prop_map(str::to_owned);
    (
        text(&["/", "/video/1.mp4", "", "1", "/é"]),
        text(&[
            "",
            "GET",
            "get",
            "PURGE",
            "a-method-of-more-than-thirty-two-letters",
        ]),
        text(&["", "w=1", "flag&w=9223372036854775808", "w=x&w=1", "&&="]),
        prop::collection::vec(
            (
                text(&["x-beta", "X-Beta", "cookie"]),
                text(&["1", "", "DE"]),
            ),
            0..3,
        ),
        prop::option::of(text(&["video", "DE"])),
        prop::option::of(prop::sample::select(vec!["192.0.2.7", "2001:db8::1"])),
        prop::option::of(prop::sample::select(vec!["DE", "FR"])),
        prop::option::of(prop::sample::select(vec![1, 64_496, u32::MAX])),
    )
        .prop_map(
            |(path, method, query_string, headers, class, ip, country, asn)| Asked {
                path,
                method,
                query_string,
                headers,
                class,
                ip,
                country,
                asn,
            },
        )
        // Long methods are compared as they came; the interpreter is told all in upper case.
        .prop_filter("a known method", |asked| asked.method.len() < 32)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn what_is_read_comes_to_what_the_interpreter_says(text in expressions(), asked in requests()) {
        let Ok(when) = when(&text) else {
            return Ok(());
        };
        // Patterns are the feature of the interpreter's that we do not build.
        prop_assume!(!text.contains("matches"));
        let ours = asked.ask(&when);
        let theirs = Program::compile(&text).unwrap().execute(&asked.context());
        match theirs {
            Ok(Value::Bool(theirs)) => prop_assert_eq!(ours, Ok(theirs), "{}", text),
            Ok(other) => prop_assert!(false, "{}: {:?}", text, other),
            Err(error) => prop_assert!(ours.is_err(), "{}: {:?}, but {}", text, ours, error),
        }
    }

    #[test]
    fn nothing_panics_whatever_is_written(
        pieces in prop::collection::vec(
            prop_oneof![
                4 => prop::sample::select(vec![
                    "request", "client", ".", "path", "headers", "[", "]", "(", ")", "'a'", "1", "==", "&&", "||", "!",
                    "?", ":", ",", "in", "has", "all", "exists", "x", "-", "+", "{", "}", "matches", "size", "\"", "'",
                    "r'", "b'", "0x", "1e9", "\\", "//", "\n", "é", "null", "@", "`", "\0", "$",
                ]).prop_map(str::to_owned),
                1 => "\\PC{1,3}",
            ],
            0..24,
        ),
        asked in requests(),
        blanks in any::<bool>(),
    ) {
        let text = pieces.join(if blanks { " " } else { "" });
        if let Ok(when) = when(&text) {
            // Nothing is said of what it comes to but that it comes to something.
            drop(asked.ask(&when));
        }
    }

    #[test]
    fn nothing_panics_whatever_is_asked(text in expressions(), asked in requests()) {
        if let Ok(when) = when(&text) {
            drop(asked.ask(&when));
        }
    }
}

#[test]
fn most_random_expressions_are_read() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut counts = BTreeMap::new();
    for _ in 0..200 {
        let tree = expressions().new_tree(&mut runner).unwrap();
        *counts.entry(when(&tree.current()).is_ok()).or_insert(0) += 1;
    }
    assert!(counts[&true] > 60, "{counts:?}");
}
