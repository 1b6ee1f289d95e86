//! How near an address is, and a resolver that gives none that is too near.
//!
//! A registry that anybody may run must not make us talk to our own network on its behalf. So a place that it sends us to may be as near
//! as the registry itself is, and no nearer. What counts is the address that is connected to, whatever name it goes by: a name is looked
//! up once, and what is left of the answer is what the connection is made to.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// How near an address is. The nearer, the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Nearness {
    /// Anywhere on the internet.
    Public,
    /// In a network that the internet does not reach: RFC 1918, shared address space (RFC 6598), unique local (RFC 4193), and whatever
    /// else is not for the internet.
    Private,
    /// On the same link, where clouds keep the credentials of their machines.
    Link,
    /// This machine.
    Loopback,
}

impl Nearness {
    /// How near `address` is.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        match address.octets() {
            // Linux takes 0.0.0.0 for the machine itself.
            [127 | 0, ..] => Self::Loopback,
            [169, 254, ..] => Self::Link,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Self::Private,
            // For protocols, benchmarks and books; multicast, and what is reserved.
            [192, 0, 0 | 2, _] | [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _] | [224..=255, ..] => {
                Self::Private
            }
            _ => Self::Public,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        if address.is_loopback() || address.is_unspecified() {
            return Self::Loopback;
        }
        if let Some(inside) = embedded(address) {
            return Self::of_v4(inside);
        }
        match address.segments() {
            [0xfe80..=0xfebf, ..] => Self::Link,
            // Global unicast, but for documentation.
            [0x2001, 0x0db8, ..] => Self::Private,
            [0x2000..=0x3fff, ..] => Self::Public,
            _ => Self::Private,
        }
    }
}

/// The IPv4 address that an IPv6 address leads to: mapped and compatible, NAT64, 6to4.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => Some(v4(high, low)),
        [0x0064, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

impl fmt::Display for Nearness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "on the internet",
            Self::Private => "in a private network",
            Self::Link => "on the local link",
            Self::Loopback => "on this machine",
        })
    }
}

/// Every address of a name is nearer than allowed.
#[derive(Debug, thiserror::Error)]
#[error("every address of the name is {0}")]
pub(crate) struct TooNear(pub(crate) Nearness);

/// The system's resolver, without the addresses that are too near.
pub(super) struct Guard {
    limit: Nearness,
    /// Proxies are the user's own, wherever they are.
    proxies: Arc<BTreeSet<String>>,
}

impl Guard {
    pub(super) fn new(limit: Nearness, proxies: Arc<BTreeSet<String>>) -> Self {
        Self { limit, proxies }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let limit = if self.proxies.contains(name.as_str()) { Nearness::Loopback } else { self.limit };
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let nearest = found.iter().map(|address| Nearness::of(address.ip())).max();
            let allowed: Vec<_> = found.into_iter().filter(|found| Nearness::of(found.ip()) <= limit).collect();
            match (nearest, allowed.is_empty()) {
                (Some(nearest), true) => Err(TooNear(nearest).into()),
                (None, _) => Err(io::Error::from(io::ErrorKind::AddrNotAvailable).into()),
                (Some(_), false) => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_near_address_is_seen() {
        use Nearness::{Link, Loopback, Private, Public};
        for (text, near) in [
            ("127.0.0.1", Loopback),
            ("127.255.0.3", Loopback),
            ("0.0.0.0", Loopback),
            ("::1", Loopback),
            ("::", Loopback),
            ("::ffff:127.0.0.1", Loopback),
            ("::127.0.0.1", Loopback),
            ("64:ff9b::7f00:1", Loopback),
            ("169.254.169.254", Link),
            ("::ffff:169.254.169.254", Link),
            ("fe80::1", Link),
            ("febf::1", Link),
            ("10.0.0.1", Private),
            ("172.16.0.1", Private),
            ("172.31.255.255", Private),
            ("192.168.1.1", Private),
            ("100.64.0.1", Private),
            ("100.127.0.1", Private),
            ("fd00:ec2::254", Private),
            ("fec0::1", Private),
            ("ff02::1", Private),
            ("2002:a00:1::", Private),
            ("64:ff9b::a00:1", Private),
            ("2001:db8::1", Private),
            ("192.0.2.1", Private),
            ("198.18.0.1", Private),
            ("224.0.0.1", Private),
            ("255.255.255.255", Private),
            ("172.15.0.1", Public),
            ("172.32.0.1", Public),
            ("100.63.0.1", Public),
            ("100.128.0.1", Public),
            ("8.8.8.8", Public),
            ("2606:4700::1111", Public),
            ("2002:808:808::", Public),
            ("::ffff:8.8.8.8", Public),
        ] {
            assert_eq!(Nearness::of(text.parse().expect(text)), near, "{text}");
        }
    }

    #[tokio::test]
    async fn the_resolver_gives_no_address_that_is_too_near() {
        let resolve = |limit, proxies: &[&str]| {
            let proxies = proxies.iter().map(|&host| host.to_owned()).collect();
            Guard::new(limit, Arc::new(proxies)).resolve("localhost".parse().expect("a name"))
        };
        let Err(refused) = resolve(Nearness::Link, &[]).await else { panic!("localhost is this machine") };
        assert!(refused.downcast_ref::<TooNear>().is_some_and(|near| near.0 == Nearness::Loopback), "{refused}");
        assert!(resolve(Nearness::Loopback, &[]).await.is_ok(), "a registry here may send us here");
        assert!(resolve(Nearness::Public, &["localhost"]).await.is_ok(), "a proxy may be here");
    }
}
