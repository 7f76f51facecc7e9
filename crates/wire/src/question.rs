//! A request as it is read: [`proto::DecideRequest`] with everything borrowed.
//!
//! The message owns every text, so reading one from the wire is a dozen allocations and copies for a decision that looks
//! at each text once. A [`Question`] borrows them from the bytes that came; a message is made of it only where a request
//! is kept.

use super::fields::{self, bytes, double, number, short_number, text};
use super::proto;

/// A request, its texts borrowed from the bytes that came or from a message. The fields are those of the message.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(missing_docs, reason = "as in the message")]
pub struct Question<'m> {
    pub request_id: &'m str,
    pub pool: &'m str,
    pub host: &'m str,
    pub path: &'m str,
    pub query: &'m str,
    pub method: &'m str,
    /// Names and values.
    pub headers: Vec<(&'m str, &'m str)>,
    pub key: &'m [u8],
    pub client: Option<Asker<'m>>,
    pub class: &'m str,
    pub size_hint_bytes: u64,
    pub object_version_floor: u64,
    pub tried_nodes: Vec<&'m str>,
    pub candidates: u32,
    pub dry_run: bool,
    pub only_nodes: Vec<&'m str>,
    pub want_place: bool,
    pub child_node: &'m str,
}

/// What is known of the client, as in [`proto::Client`].
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[expect(missing_docs, reason = "as in the message")]
pub struct Asker<'m> {
    pub ip: &'m str,
    pub asn: u32,
    pub country: &'m str,
    pub location: Option<proto::Location>,
}

impl<'m> Question<'m> {
    /// Reads an encoded [`proto::DecideRequest`]. `None` for what is no such message, and for good ones of a kind that is
    /// not written nowadays (see [`fields`]): read those as a message.
    pub fn of_bytes(message: &'m [u8]) -> Option<Self> {
        let mut question = Self::default();
        fields::each(message, |field, value| {
            match field {
                1 => question.request_id = text(value)?,
                2 => question.pool = text(value)?,
                3 => question.host = text(value)?,
                4 => question.path = text(value)?,
                5 => question.query = text(value)?,
                6 => question.method = text(value)?,
                7 => question.headers.push(header(bytes(value)?)?),
                8 => question.key = bytes(value)?,
                9 => {
                    let client = question.client.get_or_insert_default();
                    client.merge(bytes(value)?)?;
                }
                10 => question.class = text(value)?,
                11 => question.size_hint_bytes = number(value)?,
                12 => question.object_version_floor = number(value)?,
                13 => question.tried_nodes.push(text(value)?),
                14 => question.candidates = short_number(value)?,
                15 => question.dry_run = number(value)? != 0,
                16 => question.only_nodes.push(text(value)?),
                17 => question.want_place = number(value)? != 0,
                18 => question.child_node = text(value)?,
                _ => {}
            }
            Some(())
        })?;
        Some(question)
    }

    /// Borrows from a message.
    pub fn of(message: &'m proto::DecideRequest) -> Self {
        let headers = message.headers.iter();
        let nodes = |nodes: &'m [String]| nodes.iter().map(String::as_str).collect();
        Self {
            request_id: &message.request_id,
            pool: &message.pool,
            host: &message.host,
            path: &message.path,
            query: &message.query,
            method: &message.method,
            headers: headers
                .map(|header| (&*header.name, &*header.value))
                .collect(),
            key: &message.key,
            client: message.client.as_ref().map(Asker::of),
            class: &message.class,
            size_hint_bytes: message.size_hint_bytes,
            object_version_floor: message.object_version_floor,
            tried_nodes: nodes(&message.tried_nodes),
            candidates: message.candidates,
            dry_run: message.dry_run,
            only_nodes: nodes(&message.only_nodes),
            want_place: message.want_place,
            child_node: &message.child_node,
        }
    }

    /// The message, for keeping.
    pub fn message(&self) -> proto::DecideRequest {
        let header = |(name, value): &(&str, &str)| proto::Header {
            name: (*name).to_owned(),
            value: (*value).to_owned(),
        };
        let nodes = |nodes: &[&str]| nodes.iter().map(|id| (*id).to_owned()).collect();
        proto::DecideRequest {
            request_id: self.request_id.to_owned(),
            pool: self.pool.to_owned(),
            host: self.host.to_owned(),
            path: self.path.to_owned(),
            query: self.query.to_owned(),
            method: self.method.to_owned(),
            headers: self.headers.iter().map(header).collect(),
            key: self.key.to_owned(),
            client: self.client.map(Asker::message),
            class: self.class.to_owned(),
            size_hint_bytes: self.size_hint_bytes,
            object_version_floor: self.object_version_floor,
            tried_nodes: nodes(&self.tried_nodes),
            candidates: self.candidates,
            dry_run: self.dry_run,
            only_nodes: nodes(&self.only_nodes),
            want_place: self.want_place,
            child_node: self.child_node.to_owned(),
        }
    }
}

impl<'m> Asker<'m> {
    /// What is said twice of a client counts as it was said last.
    fn merge(&mut self, message: &'m [u8]) -> Option<()> {
        fields::each(message, |field, value| {
            match field {
                1 => self.ip = text(value)?,
                2 => self.asn = short_number(value)?,
                3 => self.country = text(value)?,
                4 => {
                    let location = self.location.get_or_insert_default();
                    merge_location(location, bytes(value)?)?;
                }
                _ => {}
            }
            Some(())
        })
    }

    fn of(message: &'m proto::Client) -> Self {
        Self {
            ip: &message.ip,
            asn: message.asn,
            country: &message.country,
            location: message.location,
        }
    }

    fn message(self) -> proto::Client {
        proto::Client {
            ip: self.ip.to_owned(),
            asn: self.asn,
            country: self.country.to_owned(),
            location: self.location,
        }
    }
}

fn header(message: &[u8]) -> Option<(&str, &str)> {
    let (mut name, mut header_value) = ("", "");
    fields::each(message, |field, value| {
        match field {
            1 => name = text(value)?,
            2 => header_value = text(value)?,
            _ => {}
        }
        Some(())
    })?;
    Some((name, header_value))
}

fn merge_location(location: &mut proto::Location, message: &[u8]) -> Option<()> {
    fields::each(message, |field, value| {
        match field {
            1 => location.latitude = double(value)?,
            2 => location.longitude = double(value)?,
            _ => {}
        }
        Some(())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    /// A message of which every field is set, so that none can be left out.
    fn full() -> proto::DecideRequest {
        let texts = |prefix: &str| vec![format!("{prefix}-1"), String::new(), "ä".repeat(100)];
        let header = |name: &str, value: &str| proto::Header {
            name: name.to_owned(),
            value: value.to_owned(),
        };
        proto::DecideRequest {
            request_id: "request".into(),
            pool: "pool".into(),
            host: "host".into(),
            path: "/path".into(),
            query: "query".into(),
            method: "method".into(),
            headers: vec![header("name", "value"), header("", ""), header("name", "")],
            key: vec![0, 255, 128],
            client: Some(proto::Client {
                ip: "192.0.2.1".into(),
                asn: u32::MAX,
                country: "DE".into(),
                location: Some(proto::Location {
                    latitude: 52.5,
                    longitude: -0.0,
                }),
            }),
            class: "class".into(),
            size_hint_bytes: u64::MAX >> 1,
            object_version_floor: 300,
            tried_nodes: texts("tried"),
            candidates: 1 << 31,
            dry_run: true,
            only_nodes: texts("only"),
            want_place: true,
            child_node: "child".into(),
        }
    }

    /// What is read is what prost reads; what is not may still be a message.
    fn agrees(bytes: &[u8]) -> bool {
        let Some(question) = Question::of_bytes(bytes) else {
            return false;
        };
        let message = proto::DecideRequest::decode(bytes).expect("prost reads it too");
        let bytes = |message: &proto::DecideRequest| message.encode_to_vec();
        // As bytes, because a latitude may be no number, which equals nothing.
        assert_eq!(bytes(&question.message()), bytes(&message));
        true
    }

    #[test]
    fn every_field_is_read() {
        let full = full();
        let bytes = full.encode_to_vec();
        let question = Question::of_bytes(&bytes).unwrap();
        assert_eq!(question, Question::of(&full));
        assert_eq!(question.message(), full);
        assert!(agrees(&[]));
    }

    #[test]
    fn the_last_of_a_field_counts_and_the_unknown_are_skipped() {
        let mut bytes = full().encode_to_vec();
        bytes.extend([0x0a, 1, b'z']);
        // Numbers 19 to 22, of each kind of value.
        bytes.extend([0x98, 1, 0x80, 1]);
        bytes.extend([0xa1, 1, 1, 2, 3, 4, 5, 6, 7, 8]);
        bytes.extend([0xaa, 1, 2, 0xff, 0xff]);
        bytes.extend([0xb5, 1, 1, 2, 3, 4]);
        assert!(agrees(&bytes));
        assert_eq!(Question::of_bytes(&bytes).unwrap().request_id, "z");
    }

    #[test]
    fn clients_are_merged() {
        let location = |latitude, longitude| {
            Some(proto::Location {
                latitude,
                longitude,
            })
        };
        let clients = [
            proto::Client {
                ip: "192.0.2.1".into(),
                ..Default::default()
            },
            proto::Client {
                location: location(1.0, 2.0),
                ..Default::default()
            },
            proto::Client {
                location: location(3.0, 0.0),
                asn: 7,
                ..Default::default()
            },
        ];
        let bytes = clients.map(|client| {
            let message = proto::DecideRequest {
                client: Some(client),
                ..Default::default()
            };
            message.encode_to_vec()
        });
        assert!(agrees(&bytes.concat()));
    }

    #[test]
    fn what_is_no_message_or_a_strange_one_is_left_to_prost() {
        // A group, a text that is none, a number where a text belongs.
        for bytes in [&[0x9b, 1, 0x9c, 1][..], &[0x0a, 1, 0xff], &[0x08, 1]] {
            assert!(!agrees(bytes));
        }
    }

    proptest! {
        #[test]
        fn random_bytes_are_read_as_prost_reads_them(
            bytes in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            agrees(&bytes);
        }

        /// Keys and lengths that are likely to fit together.
        #[test]
        fn random_fields_are_read_as_prost_reads_them(
            fields in prop::collection::vec((1..22_u8, 0..6_u8, prop::collection::vec(0..0xa0_u8, 0..8)), 0..6),
        ) {
            let mut message = Vec::new();
            for (number, wire, bytes) in fields {
                prost::encoding::encode_varint(u64::from(number) << 3 | u64::from(wire), &mut message);
                if wire == 2 {
                    message.push(u8::try_from(bytes.len()).unwrap_or(0));
                }
                message.extend(bytes);
            }
            agrees(&message);
        }

        #[test]
        fn damaged_messages_are_read_as_prost_reads_them(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            end in any::<prop::sample::Index>(),
        ) {
            let mut bytes = full().encode_to_vec();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            agrees(&bytes);
            agrees(&bytes[..end.index(bytes.len())]);
        }
    }
}
