//! What an expression is made of once it is read: terms of one kind each, and what they come to for a request.
//!
//! Kinds are settled when the policy is compiled, so of all that may go wrong with an expression only this is left: a fact
//! that is not known, a text that is no number, and numbers out of range. As CEL has it, `&&` and `||` pass over a part that
//! fails where another one decides. Nothing here allocates, and nothing goes deeper than the expression does.

use std::cmp::Ordering;
use std::fmt;

use regex_automata::meta::Regex;

use super::fact::{Fact, Facts};

/// What is true or false.
#[derive(Debug, Clone)]
pub(super) enum Test {
    Constant(bool),
    /// Whether a fact is known.
    Has(Fact),
    Not(Box<Test>),
    All(Vec<Test>),
    Any(Vec<Test>),
    If(Box<Choice<Test>>),
    Same(Box<(Test, Test)>),
    Texts(Relation, Box<(Text, Text)>),
    Numbers(Relation, Box<(Number, Number)>),
    /// Whether the first text has the second in this place.
    Part(Place, Box<(Text, Text)>),
    /// Whether a text is one of these, which are sorted.
    AmongTexts(Text, Box<[Box<str>]>),
    /// Whether a number is one of these, which are sorted.
    AmongNumbers(Number, Box<[i64]>),
    /// Whether an expression matches somewhere in a text.
    Matches(Text, Box<Regex>),
}

/// What is a text.
#[derive(Debug, Clone)]
pub(super) enum Text {
    Literal(Box<str>),
    Fact(Fact),
    If(Box<Choice<Text>>),
}

/// What is a whole number of 64 bits.
#[derive(Debug, Clone)]
pub(super) enum Number {
    Literal(i64),
    Asn,
    /// The length of a text, in characters.
    Size(Text),
    /// The number that a text says.
    Said(Text),
    Negative(Box<Number>),
    Of(Arithmetic, Box<(Number, Number)>),
    If(Box<Choice<Number>>),
}

/// One of two terms, as a test says.
#[derive(Debug, Clone)]
pub(super) struct Choice<T> {
    pub(super) test: Test,
    pub(super) then: T,
    pub(super) otherwise: T,
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Where a part of a text is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Start,
    End,
    Anywhere,
}

/// What is made of two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Sum,
    Difference,
    Product,
    Quotient,
    Remainder,
}

/// Why an expression says nothing of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Fault<'w> {
    /// A fact is not known.
    Unknown(&'w Fact),
    /// The client's network is not known.
    UnknownAsn,
    /// `int` of a text that is no whole number.
    NotANumber,
    /// A number beyond 64 bits.
    Overflow,
    /// Division by zero.
    ByZero,
}

impl fmt::Display for Fault<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(fact) => write!(f, "no such key {fact}"),
            Self::UnknownAsn => write!(f, "no such key {}", Fact::Asn),
            Self::NotANumber => f.write_str("`int` of a text that is no whole number"),
            Self::Overflow => f.write_str("a number beyond 64 bits"),
            Self::ByZero => f.write_str("division by zero"),
        }
    }
}

type Outcome<'w, T> = Result<T, Fault<'w>>;

impl Test {
    /// What it comes to for a request.
    pub(super) fn holds<'w>(&'w self, facts: &Facts<'_>) -> Outcome<'w, bool> {
        match self {
            Self::Constant(value) => Ok(*value),
            Self::Has(fact) => Ok(facts.has(fact)),
            Self::Not(test) => test.holds(facts).map(|holds| !holds),
            Self::All(tests) => unless_one_is(false, tests, facts),
            Self::Any(tests) => unless_one_is(true, tests, facts),
            Self::If(choice) => choice.made(facts)?.holds(facts),
            Self::Same(pair) => Ok(pair.0.holds(facts)? == pair.1.holds(facts)?),
            Self::Texts(relation, pair) => {
                let order = pair.0.read(facts)?.cmp(pair.1.read(facts)?);
                Ok(relation.is_met_by(order))
            }
            Self::Numbers(relation, pair) => {
                let order = pair.0.value(facts)?.cmp(&pair.1.value(facts)?);
                Ok(relation.is_met_by(order))
            }
            Self::Part(place, pair) => {
                let (whole, part) = (pair.0.read(facts)?, pair.1.read(facts)?);
                Ok(match place {
                    Place::Start => whole.starts_with(part),
                    Place::End => whole.ends_with(part),
                    Place::Anywhere => whole.contains(part),
                })
            }
            Self::AmongTexts(text, known) => {
                let text = text.read(facts)?;
                Ok(known.binary_search_by(|one| (**one).cmp(text)).is_ok())
            }
            Self::AmongNumbers(number, known) => {
                Ok(known.binary_search(&number.value(facts)?).is_ok())
            }
            Self::Matches(text, regex) => Ok(regex.is_match(text.read(facts)?)),
        }
    }
}

/// `decisive` if any of the tests comes to that, whatever the others do; else the first fault, or the opposite.
fn unless_one_is<'w>(decisive: bool, tests: &'w [Test], facts: &Facts<'_>) -> Outcome<'w, bool> {
    let mut undecided = Ok(!decisive);
    for test in tests {
        match test.holds(facts) {
            Ok(holds) if holds == decisive => return Ok(decisive),
            Ok(_) => {}
            Err(fault) => undecided = undecided.and(Err(fault)),
        }
    }
    undecided
}

impl Text {
    fn read<'a, 'w: 'a>(&'w self, facts: &'a Facts<'_>) -> Outcome<'w, &'a str> {
        match self {
            Self::Literal(text) => Ok(text),
            Self::Fact(fact) => facts.text(fact).ok_or(Fault::Unknown(fact)),
            Self::If(choice) => choice.made(facts)?.read(facts),
        }
    }
}

impl Number {
    fn value<'w>(&'w self, facts: &Facts<'_>) -> Outcome<'w, i64> {
        match self {
            Self::Literal(number) => Ok(*number),
            Self::Asn => facts.asn().ok_or(Fault::UnknownAsn),
            Self::Size(text) => {
                let size = text.read(facts)?.chars().count();
                i64::try_from(size).map_err(|_| Fault::Overflow)
            }
            Self::Said(text) => text.read(facts)?.parse().map_err(|_| Fault::NotANumber),
            Self::Negative(number) => number.value(facts)?.checked_neg().ok_or(Fault::Overflow),
            Self::Of(arithmetic, pair) => arithmetic.of(pair.0.value(facts)?, pair.1.value(facts)?),
            Self::If(choice) => choice.made(facts)?.value(facts),
        }
    }
}

impl<T> Choice<T> {
    fn made<'w>(&'w self, facts: &Facts<'_>) -> Outcome<'w, &'w T> {
        let holds = self.test.holds(facts)?;
        Ok(if holds { &self.then } else { &self.otherwise })
    }
}

impl Relation {
    fn is_met_by(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

impl Arithmetic {
    fn of(self, left: i64, right: i64) -> Outcome<'static, i64> {
        let result = match self {
            Self::Sum => left.checked_add(right),
            Self::Difference => left.checked_sub(right),
            Self::Product => left.checked_mul(right),
            Self::Quotient | Self::Remainder if right == 0 => return Err(Fault::ByZero),
            Self::Quotient => left.checked_div(right),
            Self::Remainder => left.checked_rem(right),
        };
        result.ok_or(Fault::Overflow)
    }
}
