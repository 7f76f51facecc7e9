//! What Envoy's configuration says of the filter and of the logger: a Struct, which comes as JSON.

use std::path::PathBuf;

use serde_json::{Map, Value};

use tradewind_client::options::{Options, Places};
use tradewind_engine::model::MAX_ID_BYTES;
use tradewind_engine::query::MAX_CANDIDATES;

/// What becomes of a request while there is no copy to decide from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum WithoutCopy {
    /// Envoy balances it as if there were no Tradewind: no rule holds, those that refuse neither.
    #[default]
    Balance,
    /// It is answered with 503.
    Refuse,
}

/// What is said of a filter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct FilterConfig {
    /// Where the sidecar serves gRPC.
    pub(crate) sidecar: String,
    /// The header that holds the client's address, in lower case. Without one the client is whoever is at the other end of the
    /// connection: a header that anybody can set is believed only when told to.
    pub(crate) client_header: Option<String>,
    pub(crate) without_copy: WithoutCopy,
    /// The folder in which the last good copy is kept.
    pub(crate) last_good: Option<PathBuf>,
    /// A pool to use instead of matching rules; empty for none.
    pub(crate) pool: String,
    /// The node that Envoy stands before, if that asks for its parent; empty for none.
    pub(crate) child: String,
    /// How many nodes to name; 0 for as many as the rule says.
    pub(crate) candidates: u32,
    /// Who tells of outcomes, of several behind one peer.
    pub(crate) reporter: String,
}

impl FilterConfig {
    /// What the follower of its sidecar has to know.
    pub(crate) fn options(&self) -> Options {
        Options {
            reporter: self.reporter.clone(),
            places: Places::InBackground,
            last_good: self.last_good.clone(),
            // Nothing is asked for an answer that could be reused.
            cached_answers: 0,
            ..Options::at(&self.sidecar)
        }
    }

    /// Reads the configuration of the filter of this name, or says all that is wrong with it.
    pub(crate) fn read(name: &[u8], config: &[u8]) -> Result<Self, String> {
        let mut fields = Fields::of(("filter_config", config), ("filter_name", name, "route"));
        let config = Self {
            sidecar: fields.sidecar(),
            client_header: fields.header("client_header"),
            without_copy: fields.without_copy(),
            last_good: fields.folder("last_good"),
            pool: fields.short("pool", MAX_ID_BYTES),
            child: fields.short("child", MAX_ID_BYTES),
            candidates: fields.candidates(),
            reporter: fields.short("reporter", 64),
        };
        fields.end().map(|()| config)
    }
}

/// Reads the configuration of the logger of this name: the address of the sidecar, or all that is wrong.
pub(crate) fn logger(name: &[u8], config: &[u8]) -> Result<String, String> {
    let mut fields = Fields::of(("logger_config", config), ("logger_name", name, "attempts"));
    let sidecar = fields.sidecar();
    fields.end().map(|()| sidecar)
}

/// The fields of a configuration, taken one by one, and what is wrong so far.
struct Fields {
    /// Where they stand, for the faults.
    place: &'static str,
    left: Map<String, Value>,
    known: Vec<&'static str>,
    faults: Vec<String>,
}

impl Fields {
    fn of(
        (place, config): (&'static str, &[u8]),
        (name_place, name, wanted): (&'static str, &[u8], &str),
    ) -> Self {
        let mut fields = Self {
            place,
            left: Map::new(),
            known: Vec::new(),
            faults: Vec::new(),
        };
        if name != wanted.as_bytes() {
            let name = String::from_utf8_lossy(name);
            fields
                .faults
                .push(format!("{name_place} is `{name}`, must be `{wanted}`"));
        }
        match serde_json::from_slice(config) {
            Ok(Value::Object(given)) => fields.left = given,
            Ok(other) => fields.fault("", &format!("is {}, must be a Struct", shown(&other))),
            Err(_) => fields.fault(
                "",
                "is missing or no Struct (\"@type\": type.googleapis.com/google.protobuf.Struct, value: {...})",
            ),
        }
        fields
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

    fn sidecar(&mut self) -> String {
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

    fn header(&mut self, field: &'static str) -> Option<String> {
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

    /// A Struct has no whole numbers: three is 3 or 3.0.
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
    fn end(mut self) -> Result<(), String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_says_what_it_wants() {
        let folder = std::env::temp_dir();
        let config = format!(
            r#"{{"sidecar":"127.0.0.1:7070","client_header":"X-Client","without_copy":"refuse",
                "last_good":"{}","pool":"edge","child":"fra-1","candidates":3.0,"reporter":"e1"}}"#,
            folder.display()
        );
        let read = FilterConfig::read(b"route", config.as_bytes()).unwrap();
        let wanted = FilterConfig {
            sidecar: "127.0.0.1:7070".to_owned(),
            client_header: Some("x-client".to_owned()),
            without_copy: WithoutCopy::Refuse,
            last_good: Some(folder),
            pool: "edge".to_owned(),
            child: "fra-1".to_owned(),
            candidates: 3,
            reporter: "e1".to_owned(),
        };
        assert_eq!(read, wanted);
        let least = FilterConfig::read(b"route", br#"{"sidecar":"unix:/run/t"}"#).unwrap();
        assert_eq!(least.without_copy, WithoutCopy::Balance);
        let logged = logger(b"attempts", br#"{"sidecar":"a:1"}"#);
        assert_eq!(logged.as_deref(), Ok("a:1"));
    }

    #[test]
    fn all_faults_are_said_at_once() {
        let config =
            br#"{"sidecar":"here","client_header":"a b","without_copy":"wait","last_good":"state",
            "candidates":9,"pool":7,"retries":1}"#;
        let faults = FilterConfig::read(b"rout", config).unwrap_err();
        for part in [
            "filter_name is `rout`, must be `route`",
            "filter_config.sidecar is `here`, must be HOST:PORT or unix:PATH",
            "filter_config.client_header is `a b`, must be",
            "filter_config.without_copy is `wait`, must be `balance` or `refuse`",
            "filter_config.last_good is `state`, must be an absolute path",
            "filter_config.candidates is `9`, must be 0 to 8",
            "filter_config.pool is `7`, must be a text",
            "filter_config.retries is not known; there are sidecar, client_header,",
        ] {
            assert!(faults.contains(part), "{part} in {faults}");
        }
        let missing = FilterConfig::read(b"route", b"{}").unwrap_err();
        assert!(missing.contains("sidecar is missing"), "{missing}");
        for odd in [&b""[..], b"[1]", b"text"] {
            let faults = logger(b"attempts", odd).unwrap_err();
            assert!(faults.contains("logger_config"), "{faults}");
        }
    }
}
