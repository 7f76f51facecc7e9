//! Operators and functions of an expression.

use cel::common::ast::{CallExpr, Expr, IdedExpr, ListExpr};
use regex_automata::meta::Regex;

use super::super::term::{Arithmetic, Choice, Number, Place, Relation, Test, Text};
use super::name::{shown, unknown};
use super::{Literal, Reader, Refusal, Term};

/// Functions that there are, for who misspells one.
const FUNCTIONS: &[&str] = &[
    "startsWith",
    "endsWith",
    "contains",
    "matches",
    "size",
    "int",
    "has",
    "exists",
    "all",
];

/// Largest compiled form of one pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 256 << 10;

impl<'p> Reader<'p> {
    /// An operator or function.
    pub(super) fn called(
        &mut self,
        part: &'p IdedExpr,
        call: &'p CallExpr,
    ) -> Result<Term<'p>, Refusal> {
        match (
            call.func_name.as_str(),
            call.target.as_deref(),
            call.args.as_slice(),
        ) {
            ("_&&_", None, [_, _]) => self.joined(part).map(|tests| Term::Test(Test::All(tests))),
            ("_||_", None, [_, _]) => self.joined(part).map(|tests| Term::Test(Test::Any(tests))),
            ("!_", None, [test]) => Ok(Term::Test(Test::Not(Box::new(self.test(test)?)))),
            ("-_", None, [number]) => self.negative(part, number).map(Term::Number),
            ("_?_:_", None, [test, then, otherwise]) => self.either(part, [test, then, otherwise]),
            ("_[_]", None, [owner, name]) => self.looked_up(part, [owner, name]),
            ("@in", None, [left, right]) => self.is_in(part, [left, right]),
            ("size", None, [text]) | ("size", Some(text), []) => {
                Ok(Term::Number(Number::Size(self.text(text)?)))
            }
            ("int", None, [text]) => Ok(Term::Number(Number::Said(self.text(text)?))),
            ("matches", None, [text, pattern]) | ("matches", Some(text), [pattern]) => {
                self.matches(part, [text, pattern])
            }
            (name, Some(whole), [sought]) => match place(name) {
                Some(place) => self.part_of(place, [whole, sought]),
                None => Err(self.no_function(part, call)),
            },
            (operator, None, [left, right]) => match (relation(operator), arithmetic(operator)) {
                (Some(relation), _) => self.compared(part, relation, [left, right]),
                (_, Some(arithmetic)) => self.calculated(part, arithmetic, [left, right]),
                _ => Err(self.no_function(part, call)),
            },
            _ => Err(self.no_function(part, call)),
        }
    }

    /// The parts of a chain of one of `&&` and `||`, which the parser gives as a tree of pairs.
    fn joined(&mut self, part: &'p IdedExpr) -> Result<Vec<Test>, Refusal> {
        let mut tests = Vec::new();
        self.join(part, &mut tests)?;
        Ok(tests)
    }

    fn join(&mut self, part: &'p IdedExpr, tests: &mut Vec<Test>) -> Result<(), Refusal> {
        let Expr::Call(call) = &part.expr else {
            return Ok(());
        };
        for side in &call.args {
            match &side.expr {
                Expr::Call(inner) if inner.func_name == call.func_name => self.join(side, tests)?,
                _ => tests.push(self.test(side)?),
            }
        }
        Ok(())
    }

    fn negative(&mut self, part: &IdedExpr, number: &'p IdedExpr) -> Result<Number, Refusal> {
        match self.number(number)? {
            // So that a list may have it.
            Number::Literal(number) => number.checked_neg().map(Number::Literal).ok_or_else(|| {
                let help = "numbers have 64 bits";
                Refusal::unusable(self.at(part), "a number that is too large", help)
            }),
            other => Ok(Number::Negative(Box::new(other))),
        }
    }

    fn either(
        &mut self,
        part: &IdedExpr,
        [test, then, otherwise]: [&'p IdedExpr; 3],
    ) -> Result<Term<'p>, Refusal> {
        let test = self.test(test)?;
        match (self.term(then)?, self.term(otherwise)?) {
            (Term::Test(then), Term::Test(otherwise)) => {
                Ok(Term::Test(Test::If(Box::new(Choice {
                    test,
                    then,
                    otherwise,
                }))))
            }
            (Term::Text(then), Term::Text(otherwise)) => {
                Ok(Term::Text(Text::If(Box::new(Choice {
                    test,
                    then,
                    otherwise,
                }))))
            }
            (Term::Number(then), Term::Number(otherwise)) => {
                Ok(Term::Number(Number::If(Box::new(Choice {
                    test,
                    then,
                    otherwise,
                }))))
            }
            (then, otherwise) => {
                let message = format!(
                    "one side is {}, the other {}",
                    then.kind(),
                    otherwise.kind()
                );
                let help = "both sides of `? :` must be texts, numbers, or true or false";
                Err(Refusal::unusable(self.at(part), message, help))
            }
        }
    }

    fn compared(
        &mut self,
        part: &IdedExpr,
        relation: Relation,
        [left, right]: [&'p IdedExpr; 2],
    ) -> Result<Term<'p>, Refusal> {
        let is_equality = matches!(relation, Relation::Equal | Relation::NotEqual);
        let test = match (self.term(left)?, self.term(right)?) {
            (Term::Text(left), Term::Text(right)) => Test::Texts(relation, Box::new((left, right))),
            (Term::Number(left), Term::Number(right)) => {
                Test::Numbers(relation, Box::new((left, right)))
            }
            (Term::Test(left), Term::Test(right)) if is_equality => {
                let same = Test::Same(Box::new((left, right)));
                match relation {
                    Relation::NotEqual => Test::Not(Box::new(same)),
                    _ => same,
                }
            }
            (left, right) => {
                let message = format!("{} compared with {}", left.kind(), right.kind());
                let help = "compare a text with a text, a number with a number; `int` reads a number from a text";
                return Err(Refusal::unusable(self.at(part), message, help));
            }
        };
        Ok(Term::Test(test))
    }

    fn calculated(
        &mut self,
        part: &IdedExpr,
        arithmetic: Arithmetic,
        [left, right]: [&'p IdedExpr; 2],
    ) -> Result<Term<'p>, Refusal> {
        match (self.term(left)?, self.term(right)?) {
            (Term::Number(left), Term::Number(right)) => Ok(Term::Number(Number::Of(
                arithmetic,
                Box::new((left, right)),
            ))),
            (left, right) => {
                let message = format!("a sum or product of {} and {}", left.kind(), right.kind());
                let help = "only numbers are added and multiplied; texts are compared one by one";
                Err(Refusal::unusable(self.at(part), message, help))
            }
        }
    }

    fn part_of(
        &mut self,
        place: Place,
        [whole, part]: [&'p IdedExpr; 2],
    ) -> Result<Term<'p>, Refusal> {
        let pair = (self.text(whole)?, self.text(part)?);
        Ok(Term::Test(Test::Part(place, Box::new(pair))))
    }

    fn is_in(
        &mut self,
        part: &IdedExpr,
        [left, right]: [&'p IdedExpr; 2],
    ) -> Result<Term<'p>, Refusal> {
        match self.term(right)? {
            Term::Table(table) => self.is_in_table(left, table),
            Term::List(list) => self.is_in_list(part, left, list).map(Term::Test),
            other => {
                let message = format!("`in` {}", other.kind());
                let help = "write a list, like client.country in [\"DE\", \"FR\"], or \
                            \"x-beta\" in request.headers; `contains` finds a part of a text";
                Err(Refusal::unusable(self.at(part), message, help))
            }
        }
    }

    fn is_in_list(
        &mut self,
        part: &IdedExpr,
        left: &'p IdedExpr,
        list: &'p ListExpr,
    ) -> Result<Test, Refusal> {
        let seen = self.term(left)?;
        let (mut texts, mut numbers) = (Vec::new(), Vec::new());
        for element in &list.elements {
            match (self.literal(element)?, &seen) {
                (Literal::Text(text), Term::Text(_)) => texts.push(text),
                (Literal::Number(number), Term::Number(_)) => numbers.push(number),
                _ => {
                    let message = format!("{} looked for among others", seen.kind());
                    let help = "texts are looked for in a list of texts, numbers in one of numbers";
                    return Err(Refusal::unusable(self.at(element), message, help));
                }
            }
        }
        texts.sort_unstable();
        numbers.sort_unstable();
        match seen {
            Term::Text(text) => Ok(Test::AmongTexts(text, texts.into())),
            Term::Number(number) => Ok(Test::AmongNumbers(number, numbers.into())),
            other => Err(self.unfit(part, &other, "a text or a number")),
        }
    }

    fn matches(
        &mut self,
        part: &IdedExpr,
        [text, pattern]: [&'p IdedExpr; 2],
    ) -> Result<Term<'p>, Refusal> {
        let text = self.text(text)?;
        let at = self.at(pattern);
        let Text::Literal(pattern) = self.text(pattern)? else {
            let help = "write the pattern itself: it is compiled when the policy is loaded";
            let message = "a pattern that only the request will tell";
            return Err(Refusal::costly(at, message, help));
        };
        let Some(left) = self.patterns_left.checked_sub(1) else {
            let message = "more than 256 patterns in all expressions of the policy";
            let help = "compare whole texts and prefixes where that is possible";
            return Err(Refusal::costly(self.at(part), message, help));
        };
        *self.patterns_left = left;
        let regex = compiled(at, &pattern)?;
        Ok(Term::Test(Test::Matches(text, Box::new(regex))))
    }

    fn no_function(&self, part: &IdedExpr, call: &CallExpr) -> Refusal {
        // The place noted is that of the bracket behind the name.
        let name = call.func_name.as_str();
        let at = self.at(part).saturating_sub(name.len());
        if FUNCTIONS.contains(&name) {
            let message = format!("`{name}` is not used so");
            let help = "write text.startsWith(text), endsWith, contains, matches(pattern), size(text), int(text), \
                        has(client.country), list.exists(x, ...) or list.all(x, ...)";
            return Refusal::unusable(at, message, help);
        }
        let message = format!("there is no function `{}`", shown(name));
        unknown(at, &message, (name, FUNCTIONS))
    }
}

/// Compiles a pattern that may match anywhere in a text, as CEL has it.
fn compiled(at: usize, pattern: &str) -> Result<Regex, Refusal> {
    let config = Regex::config()
        .nfa_size_limit(Some(MAX_PATTERN_BYTES))
        .onepass_size_limit(Some(MAX_PATTERN_BYTES));
    let built = Regex::builder().configure(config).build(pattern);
    built.map_err(|error| {
        if error.size_limit().is_some() {
            let message = "a pattern of more than 256 KiB compiled";
            let help = "repeat less, or write [0-9] for \\d: the latter has hundreds of digits";
            return Refusal::costly(at, message, help);
        }
        let message = format!("`{}` is no pattern", shown(pattern));
        let help = "see the syntax of RE2 (and of Rust's regex); in quotes a backslash is written \\\\, or use r\"...\"";
        Refusal::unusable(at, message, help)
    })
}

fn place(function: &str) -> Option<Place> {
    match function {
        "startsWith" => Some(Place::Start),
        "endsWith" => Some(Place::End),
        "contains" => Some(Place::Anywhere),
        _ => None,
    }
}

fn relation(operator: &str) -> Option<Relation> {
    match operator {
        "_==_" => Some(Relation::Equal),
        "_!=_" => Some(Relation::NotEqual),
        "_<_" => Some(Relation::Less),
        "_<=_" => Some(Relation::LessOrEqual),
        "_>_" => Some(Relation::Greater),
        "_>=_" => Some(Relation::GreaterOrEqual),
        _ => None,
    }
}

fn arithmetic(operator: &str) -> Option<Arithmetic> {
    match operator {
        "_+_" => Some(Arithmetic::Sum),
        "_-_" => Some(Arithmetic::Difference),
        "_*_" => Some(Arithmetic::Product),
        "_/_" => Some(Arithmetic::Quotient),
        "_%_" => Some(Arithmetic::Remainder),
        _ => None,
    }
}
