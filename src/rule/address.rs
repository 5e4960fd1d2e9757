//! Which addresses are the internet's, and which a destination may have: a name that leads
//! elsewhere than it should is a way for strangers to make the gateway ask its neighbours.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which addresses the name of a destination may lead to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Addresses {
    /// Every one but those that no application has (`Addresses::allows`).
    #[default]
    Any,
    /// Those of this machine and of private networks (RFC 1918, RFC 6598, RFC 4193).
    Private,
    /// Those of the internet.
    Public,
}

impl Addresses {
    /// True when a connection to `address` may be made.
    ///
    /// Never to nobody's address (unspecified, "this network", multicast, broadcast). Link-local
    /// addresses and those under which clouds tell machines their secrets are allowed only when
    /// the rule names the address itself (`literal`): a name that suddenly leads there was changed
    /// by somebody who wants those secrets, or our events to get lost.
    pub fn allows(self, address: IpAddr, literal: bool) -> bool {
        let address = carried(address);
        if nobodys(address) || (is_link_local_or_metadata(address) && !literal) {
            return false;
        }
        match self {
            Addresses::Any => true,
            Addresses::Private => is_private(address) || is_link_local_or_metadata(address),
            Addresses::Public => is_public(address) && !is_link_local_or_metadata(address),
        }
    }
}

/// The IPv4 address that an IPv6 address carries (mapped, compatible, NAT64, 6to4), or itself.
fn carried(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let v4 = |high: u16, low: u16| {
        IpAddr::V4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
    };
    match (a, b) {
        (0, 0) if [c, d, e] == [0; 3] && f == 0xffff => v4(g, h),
        // Not `::` and `::1`, which are no IPv4 addresses.
        (0, 0) if [c, d, e, f] == [0; 4] && g != 0 => v4(g, h),
        (0x64, 0xff9b) if [c, d, e, f] == [0; 4] => v4(g, h),
        (0x2002, high) => v4(high, c),
        _ => address,
    }
}

fn nobodys(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.octets()[0] == 0 || v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unspecified() || v6.is_multicast(),
    }
}

/// Link-local, and the metadata services of AWS, Google and Oracle (IPv6), Azure and Alibaba Cloud
/// that are not.
fn is_link_local_or_metadata(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let metadata = [[168, 63, 129, 16], [100, 100, 100, 200]];
            v4.is_link_local() || metadata.contains(&v4.octets())
        }
        IpAddr::V6(v6) => {
            let metadata = [
                [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254],
                [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254],
                [0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe],
            ];
            v6.is_unicast_link_local() || metadata.contains(&v6.segments())
        }
    }
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private() || v4.is_loopback() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local(),
    }
}

/// False for addresses that the IANA special-purpose registries do not call global: loopback,
/// private, link-local (cloud metadata), shared, documentation, benchmarks, multicast, reserved.
/// IPv6 addresses that carry an IPv4 address count as that.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => public_v4(v4),
        IpAddr::V6(v6) => public_v6(v6),
    }
}

fn public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        // "This network" (RFC 791).
        || a == 0
        // Shared with the carrier (RFC 6598).
        || (a == 100 && (64..128).contains(&b))
        // Protocol assignments (RFC 6890).
        || (a == 192 && b == 0 && c == 0)
        // 6to4 relays (RFC 7526).
        || (a == 192 && b == 88 && c == 99)
        // Benchmarks (RFC 2544).
        || (a == 198 && (b == 18 || b == 19))
        // Reserved, and broadcast (RFC 1112).
        || a >= 240;
    !special
}

fn public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let embedded = |high: u16, low: u16| {
        public_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
    };
    match (a, b) {
        // Unspecified, loopback, IPv4-compatible and IPv4-mapped.
        (0, 0) if [c, d, e] == [0; 3] && (f == 0 || f == 0xffff) => embedded(g, h),
        // NAT64 (RFC 6052); its local-use prefix is not global.
        (0x64, 0xff9b) => [c, d, e, f] == [0; 4] && embedded(g, h),
        // 6to4 (RFC 3056).
        (0x2002, high) => embedded(high, c),
        // Protocol assignments with Teredo (RFC 6890), documentation (RFC 3849, RFC 9637).
        (0x2001, low) if low < 0x200 || low == 0xdb8 => false,
        (0x3fff, low) if low < 0x1000 => false,
        // Only 2000::/3 is given out.
        _ => (0x2000..0x4000).contains(&a),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_global_addresses_are_public() {
        let public = [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450:4001:80e::200e",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
            "2002:101:101::1",
        ];
        let private = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.0.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1.1.1.1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2002:a9fe:a9fe::1",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ];
        for text in public {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
        for text in private {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn a_destination_has_no_address_that_only_an_attacker_would_give_it() {
        let allowed = |text: &str, literal| {
            let address = text.parse().unwrap();
            [Addresses::Any, Addresses::Private, Addresses::Public]
                .map(|addresses| addresses.allows(address, literal))
        };
        for (text, by_name, literal) in [
            ("127.0.0.1", [true, true, false], [true, true, false]),
            ("10.1.2.3", [true, true, false], [true, true, false]),
            ("100.64.0.1", [true, true, false], [true, true, false]),
            ("::1", [true, true, false], [true, true, false]),
            ("fd12::1", [true, true, false], [true, true, false]),
            ("8.8.8.8", [true, false, true], [true, false, true]),
            ("2606:4700::1", [true, false, true], [true, false, true]),
            ("169.254.169.254", [false; 3], [true, true, false]),
            ("::ffff:169.254.169.254", [false; 3], [true, true, false]),
            ("64:ff9b::a9fe:a9fe", [false; 3], [true, true, false]),
            ("2002:a9fe:a9fe::1", [false; 3], [true, true, false]),
            ("168.63.129.16", [false; 3], [true, true, false]),
            ("100.100.100.200", [false; 3], [true, true, false]),
            ("fd00:ec2::254", [false; 3], [true, true, false]),
            ("fd20:ce::254", [false; 3], [true, true, false]),
            ("fd00:c1::a9fe:a9fe", [false; 3], [true, true, false]),
            ("fe80::1", [false; 3], [true, true, false]),
            ("0.0.0.0", [false; 3], [false; 3]),
            ("::", [false; 3], [false; 3]),
            ("224.0.0.1", [false; 3], [false; 3]),
            ("255.255.255.255", [false; 3], [false; 3]),
            ("ff02::1", [false; 3], [false; 3]),
            ("::ffff:10.0.0.1", [true, true, false], [true, true, false]),
        ] {
            assert_eq!(allowed(text, false), by_name, "{text}");
            assert_eq!(allowed(text, true), literal, "{text}");
        }
    }
}
