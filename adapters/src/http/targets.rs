//! Which addresses may be called: none of this machine, of private networks or reserved, unless allowed by range.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use url::{Host, Url};

/// Which addresses may be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Targets {
    /// Those of the public internet.
    Public,
    /// Those, and what lies in the ranges.
    PublicAnd(Vec<Range>),
    /// Any at all.
    All,
}

/// A range of addresses: the first `bits` bits are those of `base`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// An address in it.
    pub base: IpAddr,
    /// Up to 32, or 128.
    pub bits: u8,
}

/// Why an address may not be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAllowed {
    address: IpAddr,
    kind: &'static str,
}

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, which may not be called unless its range is allowed", self.address, self.kind)
    }
}

impl std::error::Error for NotAllowed {}

impl Range {
    const fn v4(a: u8, b: u8, c: u8, bits: u8) -> Self {
        Self { base: IpAddr::V4(Ipv4Addr::new(a, b, c, 0)), bits }
    }

    const fn v6(first: u16, second: u16, bits: u8) -> Self {
        Self { base: IpAddr::V6(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0)), bits }
    }

    fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                let differ = u32::from(base) ^ u32::from(address);
                differ.leading_zeros() >= u32::from(self.bits)
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                let differ = u128::from(base) ^ u128::from(address);
                differ.leading_zeros() >= u32::from(self.bits)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// From the special-purpose address registries of IANA.
const SPECIAL: [(Range, &str); 25] = [
    (Range::v4(0, 0, 0, 8), "an address of this machine"),
    (Range::v4(10, 0, 0, 8), "a private address"),
    (Range::v4(100, 64, 0, 10), "an address shared behind a carrier"),
    (Range::v4(127, 0, 0, 8), "a loopback address"),
    (Range::v4(169, 254, 0, 16), "a link-local address"),
    (Range::v4(172, 16, 0, 12), "a private address"),
    (Range::v4(192, 0, 0, 24), "reserved"),
    (Range::v4(192, 0, 2, 24), "reserved for documentation"),
    (Range::v4(192, 88, 99, 24), "reserved"),
    (Range::v4(192, 168, 0, 16), "a private address"),
    (Range::v4(198, 18, 0, 15), "reserved for benchmarks"),
    (Range::v4(198, 51, 100, 24), "reserved for documentation"),
    (Range::v4(203, 0, 113, 24), "reserved for documentation"),
    (Range::v4(224, 0, 0, 4), "a multicast address"),
    (Range::v4(240, 0, 0, 4), "reserved"),
    (Range::v6(0xfc00, 0, 7), "a private address"),
    (Range::v6(0xfe80, 0, 10), "a link-local address"),
    (Range::v6(0xff00, 0, 8), "a multicast address"),
    (Range::v6(0x2001, 0, 23), "reserved"),
    (Range::v6(0x2001, 0xdb8, 32), "reserved for documentation"),
    (Range::v6(0x2002, 0, 16), "reserved for 6to4"),
    (Range::v6(0x3fff, 0, 20), "reserved for documentation"),
    (Range::v6(0x4000, 0, 2), "reserved"),
    (Range::v6(0x8000, 0, 1), "reserved"),
    (Range::v6(0, 0, 3), "reserved"),
];

impl Targets {
    /// Checks the host of `url`, if it is an address. Names are checked when they are resolved.
    pub fn check_url(&self, url: &Url) -> Result<(), NotAllowed> {
        match url.host() {
            Some(Host::Ipv4(address)) => self.check_address(address.into()),
            Some(Host::Ipv6(address)) => self.check_address(address.into()),
            Some(Host::Domain(_)) | None => Ok(()),
        }
    }

    /// Checks an address. What carries an IPv4 address inside is judged by that one.
    pub fn check_address(&self, address: IpAddr) -> Result<(), NotAllowed> {
        let address = innermost(address);
        let allowed = match self {
            Self::Public => false,
            Self::PublicAnd(ranges) => ranges.iter().any(|range| range.contains(address)),
            Self::All => true,
        };
        let kind = match address {
            IpAddr::V6(Ipv6Addr::LOCALHOST) => Some("a loopback address"),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Some("an address of this machine"),
            IpAddr::V4(_) | IpAddr::V6(_) => SPECIAL.iter().find(|(range, _)| range.contains(address)).map(|it| it.1),
        };
        match kind {
            Some(kind) if !allowed => Err(NotAllowed { address, kind }),
            Some(_) | None => Ok(()),
        }
    }
}

fn innermost(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => match v6.segments() {
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
                IpAddr::V4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)))
            }
            _ => IpAddr::V6(v6),
        },
        v4 @ IpAddr::V4(_) => v4,
    }
}
