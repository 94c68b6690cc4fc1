//! Ranges of addresses: those that may be called by exception, and those that are blocked.

use std::{
    fmt,
    net::{AddrParseError, IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

/// A range of addresses, written as one address or as `address/prefix length`: `10.1.2.3`, `10.0.0.0/8`, `fd00::/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AddressRange(IpNet);

impl AddressRange {
    /// Whether `address` lies in it; an IPv4-mapped address does where its IPv4 address does.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address) || self.0.contains(&address.to_canonical())
    }

    pub(super) fn of(address: impl Into<IpAddr>, prefix_bits: u8) -> Self {
        Self(IpNet::new_assert(address.into(), prefix_bits).trunc())
    }
}

impl From<IpNet> for AddressRange {
    fn from(network: IpNet) -> Self {
        Self(network.trunc())
    }
}

impl FromStr for AddressRange {
    type Err = InvalidRange;

    fn from_str(text: &str) -> Result<Self, InvalidRange> {
        if text.contains('/') {
            return text.parse().map(|range: IpNet| Self(range.trunc())).map_err(InvalidRange::Range);
        }
        text.parse().map(|address: IpAddr| Self(address.into())).map_err(InvalidRange::Address)
    }
}

impl TryFrom<String> for AddressRange {
    type Error = InvalidRange;

    fn try_from(text: String) -> Result<Self, InvalidRange> {
        text.parse()
    }
}

impl From<AddressRange> for String {
    fn from(range: AddressRange) -> Self {
        range.to_string()
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Not a range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRange {
    /// Write one address, or a range with its prefix length.
    #[error("range must be an address such as 10.1.2.3, or one with a prefix length such as 10.0.0.0/8")]
    Address(#[source] AddrParseError),
    /// Check the address and the length, at most 32 or 128.
    #[error("range must be an address and a prefix length such as 10.0.0.0/8 or fd00::/8")]
    Range(#[source] ipnet::AddrParseError),
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix_bits: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix_bits)
}

const fn v6(first: u16, second: u16, third: u16, prefix_bits: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(first, second, third, 0, 0, 0, 0, 0), prefix_bits)
}

/// What IANA's IPv4 special-purpose registry calls not globally reachable, multicast, and cloud services that answer
/// under a public address. Where a block has reachable exceptions, it is blocked as a whole: they are for protocols.
const BLOCKED_V4: [(Ipv4Net, &str); 17] = [
    (v4(0, 0, 0, 0, 8), "unspecified"),
    (v4(10, 0, 0, 0, 8), "private"),
    (v4(100, 64, 0, 0, 10), "shared"),
    (v4(127, 0, 0, 0, 8), "loopback"),
    (v4(169, 254, 0, 0, 16), "link-local"),
    (v4(172, 16, 0, 0, 12), "private"),
    (v4(192, 0, 0, 0, 24), "reserved"),
    (v4(192, 0, 2, 0, 24), "documentation"),
    (v4(192, 88, 99, 0, 24), "reserved"),
    (v4(192, 168, 0, 0, 16), "private"),
    (v4(198, 18, 0, 0, 15), "benchmarking"),
    (v4(198, 51, 100, 0, 24), "documentation"),
    (v4(203, 0, 113, 0, 24), "documentation"),
    (v4(224, 0, 0, 0, 4), "multicast"),
    (v4(255, 255, 255, 255, 32), "broadcast"),
    (v4(240, 0, 0, 0, 4), "reserved"),
    // Azure's platform channel. The metadata services of other clouds lie in blocks above, or in unique local IPv6.
    (v4(168, 63, 129, 16, 32), "metadata"),
];

/// All unicast addresses that were ever given out.
const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 0, 3);

/// Blocks of [`GLOBAL_V6`] that IANA's IPv6 special-purpose registry calls not globally reachable, and 6to4.
const BLOCKED_V6: [(Ipv6Net, &str); 4] = [
    (v6(0x2001, 0, 0, 23), "reserved"),
    (v6(0x2001, 0xdb8, 0, 32), "documentation"),
    (v6(0x2002, 0, 0, 16), "6to4"),
    (v6(0x3fff, 0, 0, 20), "documentation"),
];

/// Names for what lies outside [`GLOBAL_V6`]; all of it is blocked.
const NAMED_V6: [(Ipv6Net, &str); 4] = [
    (Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128), "loopback"),
    (v6(0xfc00, 0, 0, 7), "private"),
    (v6(0xfe80, 0, 0, 10), "link-local"),
    (v6(0xff00, 0, 0, 8), "multicast"),
];

/// Of which blocked kind an address is, if it is.
pub(super) fn kind_of(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => BLOCKED_V4.iter().find(|(range, _)| range.contains(&address)).map(|(_, kind)| *kind),
        IpAddr::V6(address) if GLOBAL_V6.contains(&address) => named(&BLOCKED_V6, address),
        IpAddr::V6(address) => named(&NAMED_V6, address).or(Some("reserved")),
    }
}

fn named(ranges: &[(Ipv6Net, &'static str)], address: Ipv6Addr) -> Option<&'static str> {
    ranges.iter().find(|(range, _)| range.contains(&address)).map(|(_, kind)| *kind)
}
