//! Names in an expression: variables, their fields, headers and parameters.

use cel::common::ast::{IdedExpr, SelectExpr};

use super::super::fact::Fact;
use super::super::term::{Test, Text};
use super::{Reader, Refusal, Table, Term};
use crate::document::suggest;
use crate::model::printable;
use crate::request::path::normal_query;

/// What a request has.
const OF_REQUEST: &[&str] = &["host", "path", "method", "class", "query", "headers"];

/// What a client has.
const OF_CLIENT: &[&str] = &["ip", "country", "asn"];

/// Longest name of a header or parameter, in bytes.
const MAX_NAME_BYTES: usize = 256;

impl<'p> Reader<'p> {
    /// A name that stands alone.
    pub(super) fn named(&mut self, part: &IdedExpr, name: &str) -> Result<Term<'p>, Refusal> {
        if let Some((bound, literal)) = &self.bound
            && *bound == name
        {
            return Ok(literal.clone().into());
        }
        match name {
            "request" => Ok(Term::Request),
            "client" => Ok(Term::Client),
            _ => Err(unknown(
                self.at(part),
                &format!("there is no `{}`", shown(name)),
                (name, &["request", "client"]),
            )),
        }
    }

    /// `a.b`, or `has(a.b)`.
    pub(super) fn selected(
        &mut self,
        part: &'p IdedExpr,
        select: &'p SelectExpr,
    ) -> Result<Term<'p>, Refusal> {
        // The place noted is that of the dot, or of `has`.
        let at = self.at(part) + usize::from(!select.test);
        let field = select.field.as_str();
        let owner = self.term(&select.operand)?;
        let missing = |whose: &str, known: &'static [&'static str]| {
            let message = format!("`{whose}` has no `{}`", shown(field));
            Err(unknown(at, &message, (field, known)))
        };
        let found = match (&owner, field) {
            (Term::Request, "host") => self.fact(Fact::Host),
            (Term::Request, "path") => self.fact(Fact::Path),
            (Term::Request, "method") => self.fact(Fact::Method),
            (Term::Request, "class") => self.fact(Fact::Class),
            (Term::Request, "query") => Term::Table(Table::Parameters),
            (Term::Request, "headers") => Term::Table(Table::Headers),
            (Term::Request, _) => return missing("request", OF_REQUEST),
            (Term::Client, "ip") => self.fact(Fact::Ip),
            (Term::Client, "country") => self.fact(Fact::Country),
            (Term::Client, "asn") => self.fact(Fact::Asn),
            (Term::Client, _) => return missing("client", OF_CLIENT),
            (Term::Table(table), name) => self.entry(at, *table, name)?,
            (other, _) => {
                let message = format!("`.{}` of {}", shown(field), other.kind());
                let help =
                    "only `request`, `client`, `request.headers` and `request.query` have fields";
                return Err(Refusal::unusable(at, message, help));
            }
        };
        Ok(if select.test { is_known(found) } else { found })
    }

    /// `a["b"]`.
    pub(super) fn looked_up(
        &mut self,
        part: &IdedExpr,
        [owner, name]: [&'p IdedExpr; 2],
    ) -> Result<Term<'p>, Refusal> {
        let at = self.at(part);
        match self.term(owner)? {
            Term::Table(table) => {
                let name = self.written_name(name)?;
                self.entry(at + 1, table, &name)
            }
            other => {
                let message = format!("`[...]` of {}", other.kind());
                let help = "only `request.headers` and `request.query` are looked up in";
                Err(Refusal::unusable(at, message, help))
            }
        }
    }

    /// `"b" in a`.
    pub(super) fn is_in_table(
        &mut self,
        name: &'p IdedExpr,
        table: Table,
    ) -> Result<Term<'p>, Refusal> {
        let at = self.at(name);
        let name = self.written_name(name)?;
        self.entry(at, table, &name).map(is_known)
    }

    /// The name of a header or parameter. Callers are told which headers to send, so it must be known before they ask.
    fn written_name(&mut self, name: &'p IdedExpr) -> Result<Box<str>, Refusal> {
        if let Term::Text(Text::Literal(name)) = self.term(name)? {
            return Ok(name);
        }
        let help = "write the name itself, like request.headers[\"x-beta\"]";
        let message = "a name that only the request will tell";
        Err(Refusal::unusable(self.at(name), message, help))
    }

    fn entry(&mut self, at: usize, table: Table, name: &str) -> Result<Term<'p>, Refusal> {
        let (what, wrong) = match table {
            Table::Headers => ("header", wrong_header(name)),
            Table::Parameters => ("parameter", wrong_parameter(name)),
        };
        if let Some(help) = wrong {
            let message = format!("`{}` is the name of no {what}", shown(name));
            return Err(Refusal::unusable(at, message, help));
        }
        Ok(self.fact(match table {
            Table::Headers => Fact::Header(name.into()),
            Table::Parameters => Fact::Parameter(name.into()),
        }))
    }
}

/// Whether what was found is known of a request.
fn is_known(found: Term<'_>) -> Term<'_> {
    Term::Test(match found {
        Term::Text(Text::Fact(fact)) if !fact.is_always_known() => Test::Has(fact),
        Term::Number(_) => Test::Has(Fact::Asn),
        _ => Test::Constant(true),
    })
}

/// What to write instead of a name that no header of a request has here.
fn wrong_header(name: &str) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    match lower.as_str() {
        "host" | ":authority" => Some("the host is request.host".to_owned()),
        ":path" => Some("the path is request.path".to_owned()),
        ":method" => Some("the method is request.method".to_owned()),
        _ if lower.is_empty() || lower.len() > MAX_NAME_BYTES || !lower.bytes().all(is_letter) => {
            Some("names of headers are letters, digits and hyphens, up to 256".to_owned())
        }
        _ if lower != name => Some(format!("names of headers are in lower case: write {lower}")),
        _ => None,
    }
}

/// What to write instead of a name that no parameter has.
fn wrong_parameter(name: &str) -> Option<String> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.contains(['?', '&', '=', '#']) {
        return Some("write the name alone, up to 256 bytes".to_owned());
    }
    let mut room = String::new();
    match normal_query(name, &mut room) {
        Ok(normal) if normal == name => None,
        Ok(normal) => Some(format!("queries are read in normal form: write {normal}")),
        Err(fault) => Some(format!("no such query is read: it {fault}")),
    }
}

/// A name that nothing bears, with what was meant or what there is.
pub(super) fn unknown(at: usize, message: &str, (seen, known): (&str, &[&str])) -> Refusal {
    let help = match suggest::nearest(seen, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("there is {}", known.join(", ")),
    };
    Refusal::unusable(at, message, help)
}

/// Text of the expression as messages show it.
pub(super) fn shown(text: &str) -> String {
    printable(text, 80)
}
