//! From an expression's text to its terms, or why not.

mod call;
mod name;

use std::collections::BTreeSet;
use std::panic::catch_unwind;

use cel::Program;
use cel::common::ast::{ComprehensionExpr, Expr, IdedExpr, ListExpr, LiteralValue, SourceInfo};
use cel::parser::ParseErrors;

use super::fact::Fact;
use super::scan;
use super::term::{Number, Test, Text};
use crate::document::Code;
use crate::model::printable;

/// Most parts of an expression: names, values and operators, those in `all` and `exists` once for each entry of the list.
const MAX_PARTS: usize = 512;

/// Longest word of the parser's that is passed on, in characters.
const MAX_SHOWN_CHARS: usize = 120;

/// An expression that can be used.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) test: Test,
    pub(super) headers: BTreeSet<Box<str>>,
    /// Whether it looks at any fact.
    pub(super) looks_at_request: bool,
}

/// Why an expression is not used.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: Code,
    /// The byte of the text where that shows.
    pub(super) at: usize,
    pub(super) message: String,
    pub(super) help: String,
}

impl Refusal {
    /// What cannot be used at all.
    fn unusable(at: usize, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            code: Code::P035,
            at,
            message: message.into(),
            help: help.into(),
        }
    }

    /// What may cost too much.
    fn costly(at: usize, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            code: Code::P036,
            ..Self::unusable(at, message, help)
        }
    }
}

/// Reads an expression. `patterns_left` is how many `matches` there may be.
pub(super) fn read(text: &str, patterns_left: &mut usize) -> Result<Read, Refusal> {
    scan::check(text).map_err(|excess| {
        let help = "write several rules, or move what can be said so to `match`";
        Refusal::costly(excess.at, excess.message, help)
    })?;
    let program = parse(text)?;
    let mut reader = Reader {
        info: program.source_info(),
        bound: None,
        parts_left: MAX_PARTS,
        patterns_left,
        headers: BTreeSet::new(),
        looks_at_request: false,
    };
    Ok(Read {
        test: reader.test(program.expression())?,
        headers: reader.headers,
        looks_at_request: reader.looks_at_request,
    })
}

fn parse(text: &str) -> Result<Program, Refusal> {
    // What somebody else's parser makes of a text that nobody foresaw must not take the writer along.
    let parsed = catch_unwind(|| Program::compile(text));
    let Ok(parsed) = parsed else {
        let help = "write it in another way";
        return Err(Refusal::unusable(
            0,
            "an expression that the parser gives up on",
            help,
        ));
    };
    parsed.map_err(|errors| syntax(text, &errors))
}

/// What the parser found first.
fn syntax(text: &str, errors: &ParseErrors) -> Refusal {
    let first = errors.errors.first();
    let said = first.map_or("", |error| &error.msg);
    let said = said.strip_prefix("Syntax error: ").unwrap_or(said);
    // What it expects is everything, most often.
    let said = said.split(" expecting {").next().unwrap_or(said);
    let message = format!("not an expression: {}", printable(said, MAX_SHOWN_CHARS));
    let help = "see the syntax of CEL (cel.dev), for example: request.method == \"GET\"";
    Refusal::unusable(
        first.map_or(0, |error| byte_at(text, error.pos)),
        message,
        help,
    )
}

/// The byte at a line and column, both from 1.
fn byte_at(text: &str, (line, column): (isize, isize)) -> usize {
    let before = |count: isize| usize::try_from(count - 1).unwrap_or_default();
    let starts = text.split_inclusive('\n').take(before(line));
    let start: usize = starts.map(str::len).sum();
    let rest = text.get(start..).unwrap_or_default();
    let column = rest.char_indices().nth(before(column));
    start + column.map_or(rest.len(), |(at, _)| at)
}

/// A value that is written out.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Literal {
    Truth(bool),
    Text(Box<str>),
    Number(i64),
}

/// What part of an expression is.
#[derive(Debug)]
enum Term<'p> {
    Test(Test),
    Text(Text),
    Number(Number),
    List(&'p ListExpr),
    Table(Table),
    Request,
    Client,
}

/// What is looked up by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Table {
    Headers,
    Parameters,
}

impl Term<'_> {
    /// The kind, for messages.
    fn kind(&self) -> &'static str {
        match self {
            Self::Test(_) => "true or false",
            Self::Text(_) => "a text",
            Self::Number(_) => "a number",
            Self::List(_) => "a list",
            Self::Table(Table::Headers) => "all headers",
            Self::Table(Table::Parameters) => "all parameters",
            Self::Request => "the whole request",
            Self::Client => "the whole client",
        }
    }
}

impl From<Literal> for Term<'_> {
    fn from(literal: Literal) -> Self {
        match literal {
            Literal::Truth(truth) => Self::Test(Test::Constant(truth)),
            Literal::Text(text) => Self::Text(Text::Literal(text)),
            Literal::Number(number) => Self::Number(Number::Literal(number)),
        }
    }
}

/// The state of one reading.
struct Reader<'p> {
    info: &'p SourceInfo,
    /// What the variable of the `all` or `exists` around is just now.
    bound: Option<(&'p str, Literal)>,
    parts_left: usize,
    patterns_left: &'p mut usize,
    headers: BTreeSet<Box<str>>,
    looks_at_request: bool,
}

impl<'p> Reader<'p> {
    /// Where a part stands.
    fn at(&self, part: &IdedExpr) -> usize {
        let offset = self.info.offset_for(part.id);
        offset.map_or(0, |(start, _)| usize::try_from(start).unwrap_or_default())
    }

    fn term(&mut self, part: &'p IdedExpr) -> Result<Term<'p>, Refusal> {
        let Some(left) = self.parts_left.checked_sub(1) else {
            let message = format!("an expression of more than {MAX_PARTS} parts");
            let help =
                "`all` and `exists` count once for each entry of their list; write several rules";
            return Err(Refusal::costly(self.at(part), message, help));
        };
        self.parts_left = left;
        match &part.expr {
            Expr::Literal(value) => self.literal_value(part, value),
            Expr::Ident(name) => self.named(part, name),
            Expr::Select(select) => self.selected(part, select),
            Expr::Call(call) => self.called(part, call),
            Expr::List(list) => Ok(Term::List(list)),
            Expr::Comprehension(fold) => self.over_list(part, fold).map(Term::Test),
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {
                let help = "compare texts, numbers and lists of them";
                Err(Refusal::unusable(
                    self.at(part),
                    "a map or message cannot be made here",
                    help,
                ))
            }
        }
    }

    fn literal_value(&self, part: &IdedExpr, value: &LiteralValue) -> Result<Term<'p>, Refusal> {
        let literal = match value {
            LiteralValue::Boolean(truth) => Literal::Truth(*truth.inner()),
            LiteralValue::Int(number) => Literal::Number(*number.inner()),
            LiteralValue::String(text) => Literal::Text(text.inner().into()),
            LiteralValue::Bytes(_)
            | LiteralValue::Double(_)
            | LiteralValue::Null
            | LiteralValue::UInt(_) => {
                let help = "write a text, a whole number, true or false";
                let message = "nothing of a request is compared with such a value";
                return Err(Refusal::unusable(self.at(part), message, help));
            }
        };
        Ok(literal.into())
    }

    /// A part that must be true or false.
    fn test(&mut self, part: &'p IdedExpr) -> Result<Test, Refusal> {
        match self.term(part)? {
            Term::Test(test) => Ok(test),
            other => Err(self.unfit(part, &other, "true or false")),
        }
    }

    /// A part that must be a text.
    fn text(&mut self, part: &'p IdedExpr) -> Result<Text, Refusal> {
        match self.term(part)? {
            Term::Text(text) => Ok(text),
            other => Err(self.unfit(part, &other, "a text")),
        }
    }

    /// A part that must be a number.
    fn number(&mut self, part: &'p IdedExpr) -> Result<Number, Refusal> {
        match self.term(part)? {
            Term::Number(number) => Ok(number),
            other => Err(self.unfit(part, &other, "a number")),
        }
    }

    /// A part that must be written out.
    fn literal(&mut self, part: &'p IdedExpr) -> Result<Literal, Refusal> {
        match self.term(part)? {
            Term::Test(Test::Constant(truth)) => Ok(Literal::Truth(truth)),
            Term::Text(Text::Literal(text)) => Ok(Literal::Text(text)),
            Term::Number(Number::Literal(number)) => Ok(Literal::Number(number)),
            _ => {
                let help = "write the value itself: a list is settled when the policy is loaded";
                let message = "an entry of a list that is no value";
                Err(Refusal::unusable(self.at(part), message, help))
            }
        }
    }

    fn unfit(&self, part: &IdedExpr, is: &Term<'_>, wanted: &str) -> Refusal {
        let message = format!("this is {}, and must be {wanted}", is.kind());
        let help = match is {
            Term::Request | Term::Client | Term::Table(_) => {
                "name what of it is meant, like request.path, client.country, request.headers[\"x-beta\"]"
            }
            _ => "compare it with something: the whole must come to true or false",
        };
        Refusal::unusable(self.at(part), message, help)
    }

    /// A fact, noted.
    fn fact(&mut self, fact: Fact) -> Term<'p> {
        self.looks_at_request = true;
        if let Fact::Header(name) = &fact {
            self.headers.insert(name.clone());
        }
        match fact {
            Fact::Asn => Term::Number(Number::Asn),
            fact => Term::Text(Text::Fact(fact)),
        }
    }

    /// `all` and `exists`, for each entry of a list one after the other.
    fn over_list(
        &mut self,
        part: &'p IdedExpr,
        fold: &'p ComprehensionExpr,
    ) -> Result<Test, Refusal> {
        let at = self.at(part);
        let Some((every, predicate)) = quantified(fold) else {
            let help = "use `all`, `exists`, or `in` with a list";
            let message = "`map`, `filter` and `exists_one` make lists as they go";
            return Err(Refusal::costly(at, message, help));
        };
        if self.bound.is_some() {
            let help = "write the inner one out, or a rule for each";
            let message = "an `all` or `exists` within another";
            return Err(Refusal::costly(at, message, help));
        }
        let Term::List(list) = self.term(&fold.iter_range)? else {
            let help = "they go over a list of values, like [\"/a\", \"/b\"].exists(p, request.path.startsWith(p))";
            let message = "`all` and `exists` of something that is no list";
            return Err(Refusal::costly(at, message, help));
        };
        let mut tests = Vec::with_capacity(list.elements.len());
        for element in &list.elements {
            let literal = self.literal(element)?;
            self.bound = Some((&fold.iter_var, literal));
            tests.push(self.test(predicate)?);
            self.bound = None;
        }
        Ok(if every {
            Test::All(tests)
        } else {
            Test::Any(tests)
        })
    }
}

/// Whether a comprehension is `all` (true) or `exists` (false), and of what; `None` for any other.
fn quantified(fold: &ComprehensionExpr) -> Option<(bool, &IdedExpr)> {
    let Expr::Literal(LiteralValue::Boolean(begin)) = &fold.accu_init.expr else {
        return None;
    };
    let Expr::Call(step) = &fold.loop_step.expr else {
        return None;
    };
    let every = *begin.inner();
    let joins = if every { "_&&_" } else { "_||_" };
    match step.args.as_slice() {
        [_, predicate] if step.func_name == joins => Some((every, predicate)),
        _ => None,
    }
}
