//! Addresses: one spelling for each, sets of them that are searched in logarithmic time, and the
//! prefixes by which strangers are counted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// A set of addresses. Networks are merged to disjoint ranges once, then found by binary search.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressSet {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl AddressSet {
    pub fn new<'a>(nets: impl IntoIterator<Item = &'a IpNet>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for net in nets {
            match net {
                IpNet::V4(net) => v4.push((u32::from(net.network()), u32::from(net.broadcast()))),
                IpNet::V6(net) => v6.push((u128::from(net.network()), u128::from(net.broadcast()))),
            }
        }
        AddressSet {
            v4: merge(v4),
            v6: merge(v6),
        }
    }

    /// Every spelling of one address gives one answer: IPv4-mapped IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => holds(&self.v4, u32::from(address)),
            IpAddr::V6(address) => holds(&self.v6, u128::from(address)),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

fn merge<T: Ord + Copy>(mut ranges: Vec<(T, T)>) -> Vec<(T, T)> {
    ranges.sort_unstable();
    let mut merged: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (low, high) in ranges {
        match merged.last_mut() {
            Some((_, last)) if low <= *last => *last = high.max(*last),
            Some(_) | None => merged.push((low, high)),
        }
    }
    merged
}

fn holds<T: Ord + Copy>(ranges: &[(T, T)], address: T) -> bool {
    let after = ranges.partition_point(|(low, _)| *low <= address);
    after
        .checked_sub(1)
        .and_then(|at| ranges.get(at))
        .is_some_and(|(_, high)| address <= *high)
}

/// The network by which a stranger is counted: /24 for IPv4, /64 for IPv6, since whoever has one
/// address there usually has them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Prefix {
    V4([u8; 3]),
    V6([u8; 8]),
}

impl Prefix {
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let [a, b, c, _] = Ipv4Addr::octets(&address);
                Prefix::V4([a, b, c])
            }
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = Ipv6Addr::octets(&address);
                Prefix::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(nets: &[&str]) -> AddressSet {
        let nets: Vec<IpNet> = nets.iter().map(|n| n.parse().unwrap()).collect();
        AddressSet::new(&nets)
    }

    #[test]
    fn edges_of_a_network_belong_to_it_and_their_neighbours_do_not() {
        let set = set(&[
            "203.0.113.0/24",
            "10.0.0.5/32",
            "2001:db8::/32",
            "203.0.113.128/25",
        ]);
        for inside in [
            "203.0.113.0",
            "203.0.113.255",
            "10.0.0.5",
            "2001:db8::1",
            "::ffff:10.0.0.5",
        ] {
            assert!(set.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in [
            "203.0.112.255",
            "203.0.114.0",
            "10.0.0.4",
            "10.0.0.6",
            "2001:db9::",
            "::1",
        ] {
            assert!(!set.contains(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn an_empty_set_holds_nothing() {
        assert!(!set(&[]).contains("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn prefixes_are_24_and_64_bits() {
        let prefix = |a: &str| Prefix::of(a.parse().unwrap());
        assert_eq!(prefix("1.2.3.4"), prefix("1.2.3.255"));
        assert_eq!(prefix("1.2.3.4"), prefix("::ffff:1.2.3.9"));
        assert_ne!(prefix("1.2.3.4"), prefix("1.2.4.4"));
        assert_eq!(prefix("2001:db8:1:2::1"), prefix("2001:db8:1:2:ffff::"));
        assert_ne!(prefix("2001:db8:1:2::1"), prefix("2001:db8:1:3::1"));
    }

    proptest! {
        /// Threat 23: every spelling of one address, one verdict; and the same as asking each net.
        #[test]
        fn agrees_with_asking_each_network(
            nets in proptest::collection::vec((any::<u32>(), 1u8..=32), 0..12),
            address in any::<u32>(),
            near in any::<proptest::sample::Index>(),
        ) {
            let nets: Vec<IpNet> = nets
                .iter()
                .map(|(a, len)| IpNet::new(Ipv4Addr::from(*a).into(), *len).unwrap().trunc())
                .collect();
            let set = AddressSet::new(&nets);
            let mut asked = vec![Ipv4Addr::from(address)];
            if !nets.is_empty() && let IpAddr::V4(edge) = near.get(&nets).broadcast() {
                asked.push(edge);
                asked.push(Ipv4Addr::from(u32::from(edge).wrapping_add(1)));
            }
            for v4 in asked {
                let expected = nets.iter().any(|n| n.contains(&IpAddr::V4(v4)));
                prop_assert_eq!(set.contains(IpAddr::V4(v4)), expected);
                prop_assert_eq!(set.contains(IpAddr::V6(v4.to_ipv6_mapped())), expected);
            }
        }
    }
}
