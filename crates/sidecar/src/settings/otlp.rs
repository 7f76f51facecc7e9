//! Where spans go: by a setting of our own, else by the variables that every program with OpenTelemetry reads.
//!
//! A sidecar must not fail to start because of variables that were set for all programs of a machine. What of those cannot be
//! followed (TLS, HTTP) is said in the log, and no spans are sent.

use clap::Args as ClapArgs;
use http::Uri;
use http::uri::Scheme;

/// A collector, and how we are called there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector {
    /// Where it takes OTLP over gRPC.
    pub uri: Uri,
    /// What stands in `service.name`.
    pub service_name: String,
}

/// The variables of OpenTelemetry that are heeded. They have no flags that are shown: `--otlp-endpoint` goes before them.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct Standard {
    /// Where spans go
    #[arg(long, hide = true, env = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")]
    pub otel_traces_endpoint: Option<String>,
    /// Where everything goes
    #[arg(long, hide = true, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otel_endpoint: Option<String>,
    /// How spans are sent
    #[arg(long, hide = true, env = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")]
    pub otel_traces_protocol: Option<String>,
    /// How everything is sent
    #[arg(long, hide = true, env = "OTEL_EXPORTER_OTLP_PROTOCOL")]
    pub otel_protocol: Option<String>,
    /// What the program is called
    #[arg(long, hide = true, env = "OTEL_SERVICE_NAME")]
    pub otel_service_name: Option<String>,
    /// Whether nothing is sent
    #[arg(long, hide = true, env = "OTEL_SDK_DISABLED")]
    pub otel_disabled: Option<String>,
}

/// What the settings come to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Otlp {
    /// Where spans go; `None` for nowhere.
    pub collector: Option<Collector>,
    /// Why variables for all programs are not followed.
    pub ignored: Option<String>,
}

impl Otlp {
    /// By our own setting, whose faults are errors, else by the variables.
    pub(super) fn settle(own: Option<&str>, standard: &Standard) -> Result<Self, String> {
        let service_name = given(standard.otel_service_name.as_ref());
        let service_name = service_name.unwrap_or("tradewind").to_owned();
        let collector = |uri| Self {
            collector: Some(Collector { uri, service_name }),
            ignored: None,
        };
        if let Some(own) = own {
            let read = read(own).map(collector);
            return read.map_err(|why| format!("otlp_endpoint is `{own}`, {why}"));
        }
        let is_disabled = given(standard.otel_disabled.as_ref());
        if is_disabled.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(Self::default());
        }
        let first = |one: &Option<String>, other: &Option<String>| {
            given(one.as_ref())
                .or(given(other.as_ref()))
                .map(str::to_owned)
        };
        let Some(endpoint) = first(&standard.otel_traces_endpoint, &standard.otel_endpoint) else {
            return Ok(Self::default());
        };
        let protocol = first(&standard.otel_traces_protocol, &standard.otel_protocol);
        let ignored = match protocol.as_deref() {
            None | Some("grpc") => match read(&endpoint) {
                Ok(uri) => return Ok(collector(uri)),
                Err(why) => format!("the endpoint is `{endpoint}`, {why}"),
            },
            Some(protocol) => format!("the protocol is `{protocol}`, must be grpc"),
        };
        Ok(Self {
            collector: None,
            ignored: Some(ignored),
        })
    }
}

/// A variable that is empty is not set.
fn given(value: Option<&String>) -> Option<&str> {
    value.map(String::as_str).filter(|value| !value.is_empty())
}

/// Where a collector is.
fn read(text: &str) -> Result<Uri, &'static str> {
    if !cfg!(feature = "otlp") {
        return Err("but this program was built without the feature `otlp`");
    }
    let uri: Uri = text
        .parse()
        .map_err(|_| "must be like http://127.0.0.1:4317")?;
    let is_plain = uri.scheme() == Some(&Scheme::HTTP) && uri.port().is_some();
    let has_path = uri.path() != "/" || uri.query().is_some();
    if is_plain && !has_path {
        Ok(uri)
    } else {
        Err("must be like http://127.0.0.1:4317: with a port, without a path, not https")
    }
}

#[cfg(all(test, feature = "otlp"))]
mod tests {
    use super::*;

    #[test]
    fn nothing_set_sends_nothing() {
        let none = Otlp::settle(None, &Standard::default()).unwrap();
        assert_eq!(none, Otlp::default());
    }

    #[test]
    fn our_own_setting_goes_before_the_variables() {
        let standard = Standard {
            otel_endpoint: Some("http://collector:4317".to_owned()),
            otel_service_name: Some("edge".to_owned()),
            ..Standard::default()
        };
        let uri = |own| {
            let otlp = Otlp::settle(own, &standard).unwrap();
            let collector = otlp.collector.unwrap();
            assert_eq!(collector.service_name, "edge");
            collector.uri.to_string()
        };
        assert_eq!(uri(None), "http://collector:4317/");
        assert_eq!(uri(Some("http://[::1]:9")), "http://[::1]:9/");
    }

    #[test]
    fn a_wrong_setting_is_an_error_and_a_wrong_variable_is_not() {
        for wrong in [
            "collector:4317",
            "https://collector:4317",
            "http://collector",
            "http://collector:4318/v1/traces",
            "",
        ] {
            let error = Otlp::settle(Some(wrong), &Standard::default()).unwrap_err();
            assert!(error.contains("must be like"), "{error}");
            let standard = Standard {
                otel_traces_endpoint: Some(wrong.to_owned()),
                ..Standard::default()
            };
            let otlp = Otlp::settle(None, &standard).unwrap();
            assert_eq!(otlp.collector, None, "{wrong}");
            assert_eq!(otlp.ignored.is_some(), !wrong.is_empty(), "{wrong}");
        }
        let standard = Standard {
            otel_endpoint: Some("http://collector:4318".to_owned()),
            otel_protocol: Some("http/protobuf".to_owned()),
            ..Standard::default()
        };
        let otlp = Otlp::settle(None, &standard).unwrap();
        let ignored = otlp.ignored.unwrap();
        assert_eq!(ignored, "the protocol is `http/protobuf`, must be grpc");
        let standard = Standard {
            otel_disabled: Some("TRUE".to_owned()),
            otel_protocol: None,
            ..standard
        };
        let disabled = Otlp::settle(None, &standard).unwrap();
        assert_eq!(disabled, Otlp::default());
    }
}
