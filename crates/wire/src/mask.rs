//! What is left of a request that is kept for people to look at.

use std::net::IpAddr;

use super::proto;

/// Cuts a client's address to its network (/24 or /48) and its place to a tenth of a degree, and leaves out what
/// headers and queries say (cookies, credentials, signatures), so that what is kept names no person and opens no door.
pub fn mask(message: &mut proto::DecideRequest) {
    for header in &mut message.headers {
        header.value.clear();
    }
    message.query.clear();
    message.key.clear();
    let path_end = message.path.find('?').unwrap_or(message.path.len());
    message.path.truncate(path_end);
    if message.path.contains(';') {
        // Parameters of segments hold sessions, like `;jsessionid=`.
        let segments = message.path.split('/');
        let bare: Vec<&str> = segments
            .map(|segment| segment.split(';').next().unwrap_or_default())
            .collect();
        message.path = bare.join("/");
    }
    let Some(client) = message.client.as_mut() else {
        return;
    };
    if let Some(place) = client.location.as_mut() {
        place.latitude = (place.latitude * 10.0).round() / 10.0;
        place.longitude = (place.longitude * 10.0).round() / 10.0;
    }
    client.ip = match client.ip.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        Ok(IpAddr::V4(ip)) => {
            let [a, b, c, _] = ip.octets();
            format!("{a}.{b}.{c}.0")
        }
        Ok(IpAddr::V6(ip)) => {
            let [a, b, c, ..] = ip.segments();
            format!("{a:x}:{b:x}:{c:x}::")
        }
        Err(_) => String::new(),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_opens_no_door() {
        let mut message = proto::DecideRequest {
            path: "/a;jsessionid=4/b;c?signature=1".into(),
            query: "token=2".into(),
            key: b"secret".to_vec(),
            headers: vec![proto::Header {
                name: "cookie".into(),
                value: "id=3".into(),
            }],
            ..Default::default()
        };
        mask(&mut message);
        assert_eq!(
            (message.path.as_str(), message.query.as_str()),
            ("/a/b", "")
        );
        assert!(message.key.is_empty() && message.headers[0].value.is_empty());
    }

    #[test]
    fn kept_addresses_are_cut_to_their_network() {
        for (given, kept) in [
            ("203.0.113.77", "203.0.113.0"),
            ("2001:db8:1:2::3", "2001:db8:1::"),
            ("x", ""),
        ] {
            let client = Some(proto::Client {
                ip: given.into(),
                ..Default::default()
            });
            let mut message = proto::DecideRequest {
                client,
                ..Default::default()
            };
            mask(&mut message);
            assert_eq!(message.client.unwrap().ip, kept);
        }
    }
}
