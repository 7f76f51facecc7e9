//! What a proxy's configuration says of the library in it: an object of JSON.

use std::path::PathBuf;

use serde_json::{Map, Value};

use super::super::options::{Options, Places};
use tradewind_engine::model::MAX_ID_BYTES;
use tradewind_engine::query::MAX_CANDIDATES;

/// What becomes of a request while there is no copy to decide from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WithoutCopy {
    /// The proxy balances it as if there were no Tradewind: no rule holds, those that refuse neither.
    #[default]
    Balance,
    /// It is answered with 503.
    Refuse,
}

/// What is wanted in any proxy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Where the sidecar serves gRPC.
    pub sidecar: String,
    /// What becomes of requests before there is a copy.
    pub without_copy: WithoutCopy,
    /// The folder in which the last good copy is kept.
    pub last_good: Option<PathBuf>,
    /// A pool to use instead of matching rules; empty for none.
    pub pool: String,
    /// The node that the proxy stands before, if that asks for its parent; empty for none.
    pub child: String,
    /// How many nodes to name; 0 for as many as the rule says.
    pub candidates: u32,
    /// Who tells of outcomes, of several behind one peer.
    pub reporter: String,
}

impl Wanted {
    /// Takes these from the fields of a configuration.
    pub fn take(fields: &mut Fields) -> Self {
        Self {
            sidecar: fields.sidecar(),
            without_copy: fields.without_copy(),
            last_good: fields.folder("last_good"),
            pool: fields.short("pool", MAX_ID_BYTES),
            child: fields.short("child", MAX_ID_BYTES),
            candidates: fields.candidates(),
            reporter: fields.short("reporter", 64),
        }
    }

    /// What the follower of its sidecar has to know.
    pub fn options(&self) -> Options {
        Options {
            reporter: self.reporter.clone(),
            places: Places::InBackground,
            last_good: self.last_good.clone(),
            // Nothing is asked for an answer that could be reused.
            cached_answers: 0,
            ..Options::at(&self.sidecar)
        }
    }
}

/// The fields of a configuration, taken one by one, and what is wrong so far.
#[derive(Debug)]
pub struct Fields {
    /// Where they stand, for the faults.
    place: &'static str,
    left: Map<String, Value>,
    known: Vec<&'static str>,
    faults: Vec<String>,
}

impl Fields {
    /// Those of a JSON object; `place` is what it is called in what is wrong with it.
    pub fn of(place: &'static str, config: &[u8]) -> Self {
        Self::read(place, config, ("no JSON object", "a JSON object"))
    }

    /// The same of what is called a Struct where it is written.
    pub fn of_struct(place: &'static str, config: &[u8]) -> Self {
        let missing =
            "no Struct (\"@type\": type.googleapis.com/google.protobuf.Struct, value: {...})";
        Self::read(place, config, (missing, "a Struct"))
    }

    fn read(place: &'static str, config: &[u8], (missing, wanted): (&str, &str)) -> Self {
        let mut fields = Self {
            place,
            left: Map::new(),
            known: Vec::new(),
            faults: Vec::new(),
        };
        match serde_json::from_slice(config) {
            Ok(Value::Object(given)) => fields.left = given,
            Ok(other) => fields.fault("", &format!("is {}, must be {wanted}", shown(&other))),
            Err(_) => fields.fault("", &format!("is missing or {missing}")),
        }
        fields
    }

    /// Adds a fault of something beside the fields.
    pub fn say(&mut self, fault: String) {
        self.faults.push(fault);
    }

    fn fault(&mut self, field: &str, problem: &str) {
        let dot = if field.is_empty() { "" } else { "." };
        self.faults
            .push(format!("{}{dot}{field} {problem}", self.place));
    }

    fn take(&mut self, field: &'static str) -> Option<Value> {
        self.known.push(field);
        self.left.remove(field).filter(|value| !value.is_null())
    }

    fn text(&mut self, field: &'static str) -> Option<String> {
        match self.take(field)? {
            Value::String(text) => Some(text),
            other => {
                self.fault(field, &format!("is {}, must be a text", shown(&other)));
                None
            }
        }
    }

    fn short(&mut self, field: &'static str, most: usize) -> String {
        let text = self.text(field).unwrap_or_default();
        if text.len() > most {
            let length = text.len();
            self.fault(
                field,
                &format!("has {length} bytes, at most {most} are allowed"),
            );
        }
        text
    }

    /// Where the sidecar serves gRPC, which has to be said.
    pub fn sidecar(&mut self) -> String {
        const FIELD: &str = "sidecar";
        if !self.left.contains_key(FIELD) {
            self.known.push(FIELD);
            self.fault(
                FIELD,
                "is missing: where the sidecar serves gRPC, HOST:PORT or unix:PATH",
            );
            return String::new();
        }
        let address = self.text(FIELD).unwrap_or_default();
        if !Options::at(&address).has_address() {
            let problem = format!("is `{address}`, must be HOST:PORT or unix:PATH");
            self.fault(FIELD, &problem);
        }
        address
    }

    /// The name of a header, in lower case.
    pub fn header(&mut self, field: &'static str) -> Option<String> {
        let name = self.text(field)?.to_ascii_lowercase();
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_token) {
            self.fault(field, &format!("is `{name}`, must be the name of a header"));
            return None;
        }
        Some(name)
    }

    fn folder(&mut self, field: &'static str) -> Option<PathBuf> {
        let folder = PathBuf::from(self.text(field)?);
        if !folder.is_absolute() {
            let shown = folder.display();
            self.fault(
                field,
                &format!("is `{shown}`, must be an absolute path of a folder"),
            );
        } else if !folder.is_dir() {
            let shown = folder.display();
            self.fault(field, &format!("is `{shown}`, where there is no folder"));
        }
        Some(folder)
    }

    fn without_copy(&mut self) -> WithoutCopy {
        const FIELD: &str = "without_copy";
        match self.text(FIELD).as_deref() {
            None => WithoutCopy::default(),
            Some("balance") => WithoutCopy::Balance,
            Some("refuse") => WithoutCopy::Refuse,
            Some(other) => {
                self.fault(
                    FIELD,
                    &format!("is `{other}`, must be `balance` or `refuse`"),
                );
                WithoutCopy::default()
            }
        }
    }

    /// Neither a Struct nor JSON has whole numbers: three is 3 or 3.0.
    fn candidates(&mut self) -> u32 {
        const FIELD: &str = "candidates";
        let Some(given) = self.take(FIELD) else {
            return 0;
        };
        let mut allowed = (0..).take(MAX_CANDIDATES + 1);
        let found = allowed.find(|number: &u32| given.as_f64() == Some(f64::from(*number)));
        if found.is_none() {
            let problem = format!("is {}, must be 0 to {MAX_CANDIDATES}", shown(&given));
            self.fault(FIELD, &problem);
        }
        found.unwrap_or(0)
    }

    /// What is wrong, with the fields that are left.
    pub fn end(mut self) -> Result<(), String> {
        let left: Vec<String> = self.left.keys().cloned().collect();
        let known = self.known.join(", ");
        for field in left {
            self.fault(&field, &format!("is not known; there are {known}"));
        }
        if self.faults.is_empty() {
            Ok(())
        } else {
            Err(self.faults.join("; "))
        }
    }
}

/// A value in a message, cut where it is long.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    let short: String = text.chars().take(64).collect();
    format!("`{short}`")
}
