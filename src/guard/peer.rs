//! Who is calling, where a proxy of the merchant's stands in front.

use std::net::{IpAddr, SocketAddr};

use crate::guard::Refusal;
use crate::listener::address::AddressSet;
use crate::message::Headers;

/// The address of the client. X-Forwarded-For counts only on connections from a trusted proxy, and
/// is read from the right: each proxy adds the address that it saw itself, and what stands further
/// left was written by whoever it was that it saw.
pub fn client_address(
    peer: IpAddr,
    headers: &Headers,
    trusted: &AddressSet,
) -> Result<IpAddr, Refusal> {
    if trusted.is_empty() || !trusted.contains(peer) {
        return Ok(peer);
    }
    let values: Vec<&[u8]> = headers.all("x-forwarded-for").collect();
    let mut client = peer;
    for entry in values
        .iter()
        .rev()
        .flat_map(|value| value.rsplit(|b| *b == b','))
    {
        client = parse(entry).ok_or(Refusal::ForwardedForMalformed)?;
        if !trusted.contains(client) {
            break;
        }
    }
    Ok(client)
}

/// An address, with a port or without: some load balancers add it.
fn parse(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim_matches([' ', '\t']);
    let address = text
        .parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|a| a.ip()))
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded: &[&'static str]) -> Result<String, Refusal> {
        let nets = ["10.0.0.0/8".parse().unwrap()];
        let headers: Headers = forwarded.iter().map(|v| ("x-forwarded-for", *v)).collect();
        client_address(peer.parse().unwrap(), &headers, &AddressSet::new(&nets))
            .map(|a| a.to_string())
    }

    #[test]
    fn threat_21_only_a_trusted_proxy_is_believed_and_only_from_the_right() {
        let ok = |s: &str| Ok(s.to_owned());
        assert_eq!(client("198.51.100.1", &["203.0.113.5"]), ok("198.51.100.1"));
        assert_eq!(client("10.0.0.1", &[]), ok("10.0.0.1"));
        assert_eq!(client("10.0.0.1", &["203.0.113.5"]), ok("203.0.113.5"));
        assert_eq!(
            client("10.0.0.1", &["1.1.1.1, 203.0.113.5"]),
            ok("203.0.113.5")
        );
        assert_eq!(
            client("10.0.0.1", &["1.1.1.1, 203.0.113.5, 10.2.3.4"]),
            ok("203.0.113.5")
        );
        assert_eq!(
            client("10.0.0.1", &["1.1.1.1", "203.0.113.5 ,10.2.3.4"]),
            ok("203.0.113.5")
        );
        assert_eq!(
            client("10.0.0.1", &["garbage, 203.0.113.5:443"]),
            ok("203.0.113.5")
        );
        assert_eq!(
            client("10.0.0.1", &["[2001:db8::1]:443"]),
            ok("2001:db8::1")
        );
        assert_eq!(client("10.0.0.1", &["[2001:db8::1]"]), ok("2001:db8::1"));
        assert_eq!(
            client("10.0.0.1", &["::ffff:203.0.113.5"]),
            ok("203.0.113.5")
        );
        assert_eq!(client("10.0.0.1", &["10.9.9.9, 10.2.3.4"]), ok("10.9.9.9"));
    }

    #[test]
    fn what_a_trusted_proxy_garbled_is_refused() {
        for bad in ["unknown", "", "203.0.113.005", "203.0.113.5, "] {
            assert_eq!(
                client("10.0.0.1", &[bad]),
                Err(Refusal::ForwardedForMalformed),
                "{bad:?}"
            );
        }
    }
}
