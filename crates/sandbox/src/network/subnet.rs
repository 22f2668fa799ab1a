//! IPv4 subnets, and the choice of one that nothing on this machine uses.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A range of IPv4 addresses with a common prefix, written `10.1.0.0/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    network: Ipv4Addr,
    prefix_len: u8,
}

/// Why a text is no subnet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an IPv4 subnet such as 10.1.0.0/16")]
pub struct SubnetError(String);

impl Subnet {
    /// The subnet that holds `address`, with a prefix of `prefix_len` bits (at most 32).
    pub fn new(address: Ipv4Addr, prefix_len: u8) -> Self {
        let prefix_len = prefix_len.min(32);
        Self { network: Ipv4Addr::from_bits(address.to_bits() & mask(prefix_len)), prefix_len }
    }

    /// The first address, which names the subnet.
    pub fn network(self) -> Ipv4Addr {
        self.network
    }

    /// How many leading bits the addresses share.
    pub fn prefix_len(self) -> u8 {
        self.prefix_len
    }

    /// The shared bits as a mask.
    pub fn mask(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(mask(self.prefix_len))
    }

    /// The last address, which reaches all of the subnet.
    pub fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits() | !mask(self.prefix_len))
    }

    /// The first address that a host can have: the gateway, unless another is asked for.
    pub fn first_host(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits().saturating_add(1))
    }

    /// Tells whether the address is one of the subnet's.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix_len) == self.network.to_bits()
    }

    /// Tells whether a host can have this address: it is in the subnet, and neither names it nor reaches all of it.
    pub fn is_host(self, address: Ipv4Addr) -> bool {
        self.contains(address) && address != self.network && address != self.broadcast()
    }

    /// Tells whether the two share an address.
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.network) || other.contains(self.network)
    }

    /// All its addresses, in order.
    pub fn all(self) -> impl Iterator<Item = Ipv4Addr> {
        (self.network.to_bits()..=self.broadcast().to_bits()).map(Ipv4Addr::from_bits)
    }

    /// The addresses that hosts can have, in order.
    pub fn hosts(self) -> impl Iterator<Item = Ipv4Addr> {
        let (first, last) = (self.network.to_bits(), self.broadcast().to_bits());
        (first.saturating_add(1)..last).map(Ipv4Addr::from_bits)
    }
}

fn mask(prefix_len: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix_len)).unwrap_or(0)
}

impl fmt::Display for Subnet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.network, self.prefix_len)
    }
}

impl FromStr for Subnet {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let fault = || SubnetError(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(fault)?;
        let prefix_len: u8 = prefix.parse().map_err(|_| fault())?;
        if prefix_len > 32 {
            return Err(fault());
        }
        Ok(Self::new(address.parse().map_err(|_| fault())?, prefix_len))
    }
}

impl TryFrom<String> for Subnet {
    type Error = SubnetError;

    fn try_from(text: String) -> Result<Self, SubnetError> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

/// The first of our candidate subnets that overlaps nothing in `used`.
///
/// The candidates stay clear of the ranges that Docker hands out first (172.17.0.0/16 and up), so that both can live on
/// one machine; 255 of them exist before Docker's last range is tried.
pub fn free_subnet(used: &[Subnet]) -> Option<Subnet> {
    candidates().find(|candidate| !used.iter().any(|taken| taken.overlaps(*candidate)))
}

fn candidates() -> impl Iterator<Item = Subnet> {
    let wide = (88..=103).map(|second| Subnet::new(Ipv4Addr::new(10, second, 0, 0), 16));
    let other = (200..=219).map(|second| Subnet::new(Ipv4Addr::new(10, second, 0, 0), 16));
    let narrow = (0..=255).map(|third| Subnet::new(Ipv4Addr::new(192, 168, third, 0), 24));
    let last = (31..=254).map(|third| Subnet::new(Ipv4Addr::new(172, 31, third, 0), 24));
    wide.chain(other).chain(narrow).chain(last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn text_and_value_agree() {
        for (text, shown) in
            [("10.1.2.3/16", "10.1.0.0/16"), ("0.0.0.0/0", "0.0.0.0/0"), ("192.168.7.9/32", "192.168.7.9/32")]
        {
            assert_eq!(subnet(text).to_string(), shown);
        }
        for text in ["", "10.0.0.0", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/-1", "::1/128"] {
            assert!(text.parse::<Subnet>().is_err(), "{text}");
        }
    }

    #[test]
    fn hosts_leave_out_both_ends() {
        let hosts: Vec<_> = subnet("10.0.0.8/30").hosts().collect();
        assert_eq!(hosts, [Ipv4Addr::new(10, 0, 0, 9), Ipv4Addr::new(10, 0, 0, 10)]);
        assert!(!subnet("10.0.0.8/30").is_host(Ipv4Addr::new(10, 0, 0, 11)));
        assert_eq!(subnet("10.0.0.8/32").hosts().count(), 0);
    }

    #[test]
    fn a_free_subnet_avoids_what_is_used() {
        assert_eq!(free_subnet(&[]), Some(subnet("10.88.0.0/16")));
        assert_eq!(
            free_subnet(&[subnet("10.88.3.0/24"), subnet("10.89.0.0/16")]),
            Some(subnet("10.90.0.0/16"))
        );
        assert_eq!(free_subnet(&[subnet("10.0.0.0/8")]), Some(subnet("192.168.0.0/24")));
        assert_eq!(free_subnet(&[subnet("0.0.0.0/0")]), None);
    }

    proptest! {
        #[test]
        fn overlap_is_what_a_shared_address_shows(
            (a, a_len, b, b_len) in (any::<u32>(), 0_u8..=32, any::<u32>(), 0_u8..=32),
        ) {
            let one = Subnet::new(Ipv4Addr::from_bits(a), a_len);
            let two = Subnet::new(Ipv4Addr::from_bits(b), b_len);
            let shared = one.network().max(two.network()) <= one.broadcast().min(two.broadcast());
            prop_assert_eq!(one.overlaps(two), shared);
            prop_assert_eq!(one.to_string().parse::<Subnet>().unwrap(), one);
        }
    }
}
