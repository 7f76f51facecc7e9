//! Messages written as JSON by people and scripts, read with all their faults at once.
//!
//! Fields have the names they have in `proto/`. The mapping is protobuf's own (a 64-bit number may be a string, `null` is
//! absent) with exceptions for those who write by hand: bytes are text, a value of an enumeration may be the end of its
//! name in any case, `ok` for `ATTEMPT_RESULT_OK`, and a duration may be written as policies and logs do. Outcomes may
//! come as proxies log them: [`outcomes`].

mod duration;
mod logged;
mod outcome;
mod words;

use serde_json::{Map, Value};

pub use outcome::{outcomes, outcomes_of};

use super::{Asked, proto};
use tradewind_engine::model::printable;

/// How much of a wrong value is shown, in bytes.
const SHOWN_BYTES: usize = 64;

/// A request, and all that is wrong with it.
pub fn request(bytes: &[u8]) -> Asked {
    let mut request = proto::DecideRequest::default();
    let mut reader = Reader::default();
    let Some(fields) = reader.document(bytes) else {
        return (request, reader.faults);
    };
    for (name, value) in &fields {
        match name.as_str() {
            "request_id" => reader.text(name, value, &mut request.request_id),
            "pool" => reader.text(name, value, &mut request.pool),
            "child_node" => reader.text(name, value, &mut request.child_node),
            "host" => reader.text(name, value, &mut request.host),
            "path" => reader.text(name, value, &mut request.path),
            "query" => reader.text(name, value, &mut request.query),
            "method" => reader.text(name, value, &mut request.method),
            "class" => reader.text(name, value, &mut request.class),
            "key" => {
                let mut key = String::new();
                reader.text(name, value, &mut key);
                request.key = key.into_bytes();
            }
            "headers" => reader.headers(value, &mut request.headers),
            "client" => request.client = Some(reader.client(value)),
            "size_hint_bytes" => reader.number(name, value, &mut request.size_hint_bytes),
            "object_version_floor" => reader.number(name, value, &mut request.object_version_floor),
            "candidates" => reader.number(name, value, &mut request.candidates),
            "only_nodes" => reader.texts(name, value, &mut request.only_nodes),
            "tried_nodes" => reader.texts(name, value, &mut request.tried_nodes),
            "dry_run" => reader.flag(name, value, &mut request.dry_run),
            "want_place" => reader.flag(name, value, &mut request.want_place),
            _ => reader.unknown(name),
        }
    }
    (request, reader.faults)
}

/// Reads values, and notes what they are not.
#[derive(Debug, Default)]
struct Reader {
    faults: Vec<String>,
}

/// The number of an enumeration's value, by its name.
type Named = fn(&str) -> Option<i32>;

impl Reader {
    fn document(&mut self, bytes: &[u8]) -> Option<Map<String, Value>> {
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(fields)) => return Some(fields),
            Ok(_) => self.faults.push("must be a JSON object".to_owned()),
            Err(error) => self.faults.push(format!("not JSON: {error}")),
        }
        None
    }

    fn unknown(&mut self, name: &str) {
        let name = printable(name, SHOWN_BYTES);
        self.faults.push(format!("unknown field `{name}`"));
    }

    /// Sets `target` if the value is what is wanted; `null` leaves it alone.
    fn take<'v, T>(
        &mut self,
        (field, wanted): (&str, &str),
        value: &'v Value,
        read: impl FnOnce(&'v Value) -> Option<T>,
        target: &mut T,
    ) {
        if value.is_null() {
            return;
        }
        if let Some(read) = read(value) {
            *target = read;
        } else {
            let shown = value.to_string();
            let shown = printable(&shown, SHOWN_BYTES);
            self.faults
                .push(format!("{field}: is `{shown}`, must be {wanted}"));
        }
    }

    fn text(&mut self, field: &str, value: &Value, target: &mut String) {
        let read = |value: &Value| value.as_str().map(str::to_owned);
        self.take((field, "a text"), value, read, target);
    }

    fn texts(&mut self, field: &str, value: &Value, target: &mut Vec<String>) {
        let read = |value: &Value| {
            let texts = value.as_array()?.iter();
            texts.map(|text| text.as_str().map(str::to_owned)).collect()
        };
        self.take((field, "a list of texts"), value, read, target);
    }

    fn flag(&mut self, field: &str, value: &Value, target: &mut bool) {
        self.take((field, "true or false"), value, Value::as_bool, target);
    }

    fn number<T: TryFrom<u64>>(&mut self, field: &str, value: &Value, target: &mut T) {
        let read = |value: &Value| {
            let digits = value.as_str().map(|text| text.parse().ok());
            T::try_from(digits.unwrap_or_else(|| value.as_u64())?).ok()
        };
        let most = if size_of::<T>() > 4 {
            "2^64 - 1"
        } else {
            "2^32 - 1"
        };
        self.take(
            (field, &format!("a whole number of 0 to {most}")),
            value,
            read,
            target,
        );
    }

    fn duration(&mut self, field: &str, value: &Value, target: &mut Option<prost_types::Duration>) {
        let read = |value: &Value| duration::read(value).ok();
        self.take((field, duration::WANTED), value, read, target);
    }

    /// A value by its name, or by the end of its name in any case.
    fn enumeration(
        &mut self,
        field: &str,
        value: &Value,
        (prefix, named): (&str, Named),
        target: &mut i32,
    ) {
        let read = |value: &Value| {
            let text = value.as_str().filter(|text| text.len() <= SHOWN_BYTES)?;
            named(text).or_else(|| named(&format!("{prefix}{}", text.to_ascii_uppercase())))
        };
        self.take(
            (field, &format!("a name like {prefix}…, or its end")),
            value,
            read,
            target,
        );
    }

    fn headers(&mut self, value: &Value, target: &mut Vec<proto::Header>) {
        let empty = Vec::new();
        let mut list = &empty;
        self.take(("headers", "a list"), value, Value::as_array, &mut list);
        for (at, header) in list.iter().enumerate() {
            let mut read = proto::Header::default();
            for (name, value) in self.object(&format!("headers[{at}]"), header) {
                let field = format!("headers[{at}].{name}");
                match name.as_str() {
                    "name" => self.text(&field, value, &mut read.name),
                    "value" => self.text(&field, value, &mut read.value),
                    _ => self.unknown(&field),
                }
            }
            target.push(read);
        }
    }

    fn client(&mut self, value: &Value) -> proto::Client {
        let mut client = proto::Client::default();
        for (name, value) in self.object("client", value) {
            let field = format!("client.{name}");
            match name.as_str() {
                "ip" => self.text(&field, value, &mut client.ip),
                "asn" => self.number(&field, value, &mut client.asn),
                "country" => self.text(&field, value, &mut client.country),
                "location" => client.location = Some(self.location(value)),
                _ => self.unknown(&field),
            }
        }
        client
    }

    fn location(&mut self, value: &Value) -> proto::Location {
        // Out of range, so that a half of a place is no place.
        let mut place = (f64::NAN, f64::NAN);
        for (name, value) in self.object("client.location", value) {
            let field = format!("client.location.{name}");
            match name.as_str() {
                "latitude" => self.take((&field, "a number"), value, Value::as_f64, &mut place.0),
                "longitude" => self.take((&field, "a number"), value, Value::as_f64, &mut place.1),
                _ => self.unknown(&field),
            }
        }
        let (latitude, longitude) = place;
        proto::Location {
            latitude,
            longitude,
        }
    }

    /// The fields of an object; none of what is no object.
    fn object<'v>(
        &mut self,
        field: &str,
        value: &'v Value,
    ) -> impl Iterator<Item = (&'v String, &'v Value)> + use<'v> {
        let mut fields = None;
        let read = |value: &'v Value| value.as_object().map(Some);
        self.take((field, "an object"), value, read, &mut fields);
        fields.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_a_request_is_read() {
        let (request, faults) = request(
            br#"{"request_id": "1", "pool": "p", "host": "h", "path": "/a", "query": "q", "method": "PUT",
                "headers": [{"name": "n", "value": "v"}], "key": "k", "class": "c", "size_hint_bytes": "7",
                "client": {"ip": "192.0.2.1", "asn": 1, "country": "DE", "location": {"latitude": 1, "longitude": 2.5}},
                "object_version_floor": 18446744073709551615, "tried_nodes": ["x"], "only_nodes": ["y"], "candidates": 3, "dry_run": true,
                "want_place": true, "child_node": "z"}"#,
        );
        assert_eq!(faults, Vec::<String>::new());
        let wanted = proto::DecideRequest {
            request_id: "1".into(),
            pool: "p".into(),
            host: "h".into(),
            path: "/a".into(),
            query: "q".into(),
            method: "PUT".into(),
            headers: vec![proto::Header {
                name: "n".into(),
                value: "v".into(),
            }],
            key: b"k".to_vec(),
            client: Some(proto::Client {
                ip: "192.0.2.1".into(),
                asn: 1,
                country: "DE".into(),
                location: Some(proto::Location {
                    latitude: 1.0,
                    longitude: 2.5,
                }),
            }),
            class: "c".into(),
            size_hint_bytes: 7,
            object_version_floor: u64::MAX,
            tried_nodes: vec!["x".into()],
            only_nodes: vec!["y".into()],
            candidates: 3,
            dry_run: true,
            want_place: true,
            child_node: "z".into(),
        };
        assert_eq!(request, wanted);
    }

    #[test]
    fn every_fault_of_a_request_is_named() {
        let (_, faults) = request(
            br#"{"hots": 1, "path": 7, "headers": [{"nmae": "a"}, 3], "client": {"location": {"lat": 1}, "asn": -1},
                "candidates": 4294967296, "tried_nodes": [1], "dry_run": "yes", "pool": null}"#,
        );
        let said = faults.join("; ");
        for part in [
            "unknown field `hots`",
            "path: is `7`, must be a text",
            "unknown field `headers[0].nmae`",
            "headers[1]: is `3`",
            "unknown field `client.location.lat`",
            "client.asn: is `-1`",
            "candidates: is `4294967296`, must be a whole number of 0 to 2^32 - 1",
            "tried_nodes: is `[1]`",
            "dry_run: is `",
        ] {
            assert!(said.contains(part), "{part} in {said}");
        }
        assert!(!said.contains("pool"), "{said}");
    }
}
