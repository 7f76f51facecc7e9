//! What Envoy's configuration says of the filter and of the logger: a Struct, which comes as JSON.

use tradewind_client::hosted::config::{Fields, Wanted};

/// What is said of a filter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct FilterConfig {
    /// The header that holds the client's address, in lower case. Without one the client is whoever is at the other end of the
    /// connection: a header that anybody can set is believed only when told to.
    pub(crate) client_header: Option<String>,
    pub(crate) wanted: Wanted,
}

impl FilterConfig {
    /// Reads the configuration of the filter of this name, or says all that is wrong with it.
    pub(crate) fn read(name: &[u8], config: &[u8]) -> Result<Self, String> {
        let mut fields = Fields::of_struct("filter_config", config);
        is_named(&mut fields, ("filter_name", name, "route"));
        let config = Self {
            client_header: fields.header("client_header"),
            wanted: Wanted::take(&mut fields),
        };
        fields.end().map(|()| config)
    }
}

/// Reads the configuration of the logger of this name: the address of the sidecar, or all that is wrong.
pub(crate) fn logger(name: &[u8], config: &[u8]) -> Result<String, String> {
    let mut fields = Fields::of_struct("logger_config", config);
    is_named(&mut fields, ("logger_name", name, "attempts"));
    let sidecar = fields.sidecar();
    fields.end().map(|()| sidecar)
}

/// Envoy says which of a module's filters or loggers is meant, and there is one of each.
fn is_named(fields: &mut Fields, (place, name, wanted): (&str, &[u8], &str)) {
    if name != wanted.as_bytes() {
        let name = String::from_utf8_lossy(name);
        fields.say(format!("{place} is `{name}`, must be `{wanted}`"));
    }
}

#[cfg(test)]
mod tests {
    use tradewind_client::hosted::config::WithoutCopy;

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
            client_header: Some("x-client".to_owned()),
            wanted: Wanted {
                sidecar: "127.0.0.1:7070".to_owned(),
                without_copy: WithoutCopy::Refuse,
                last_good: Some(folder),
                pool: "edge".to_owned(),
                child: "fra-1".to_owned(),
                candidates: 3,
                reporter: "e1".to_owned(),
            },
        };
        assert_eq!(read, wanted);
        let least = FilterConfig::read(b"route", br#"{"sidecar":"unix:/run/t"}"#).unwrap();
        assert_eq!(least.wanted.without_copy, WithoutCopy::Balance);
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
            "filter_config.retries is not known; there are client_header, sidecar,",
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
