//! IPv6 subnets.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A range of IPv6 addresses with a common prefix, written `fd00:1::/64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet6 {
    network: Ipv6Addr,
    prefix_len: u8,
}

/// Why a text is no subnet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an IPv6 subnet such as fd00:1::/64")]
pub struct Subnet6Error(String);

impl Subnet6 {
    /// The subnet that holds `address`, with a prefix of `prefix_len` bits (at most 128).
    pub fn new(address: Ipv6Addr, prefix_len: u8) -> Self {
        let prefix_len = prefix_len.min(128);
        Self { network: Ipv6Addr::from_bits(address.to_bits() & mask(prefix_len)), prefix_len }
    }

    /// A local one that is as good as unique, from the hexadecimal digits that name a network.
    pub fn local(id: &str) -> Self {
        let digits = id.get(..10).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(1);
        Self::new(Ipv6Addr::from_bits(0xfd << 120 | u128::from(digits) << 80), 64)
    }

    /// The first address, which names the subnet.
    pub fn network(self) -> Ipv6Addr {
        self.network
    }

    /// How many leading bits the addresses share.
    pub fn prefix_len(self) -> u8 {
        self.prefix_len
    }

    /// The shared bits as a mask.
    pub fn mask(self) -> Ipv6Addr {
        Ipv6Addr::from_bits(mask(self.prefix_len))
    }

    /// The address so far behind the first.
    pub fn nth(self, offset: u128) -> Option<Ipv6Addr> {
        let address = Ipv6Addr::from_bits(self.network.to_bits().checked_add(offset)?);
        self.contains(address).then_some(address)
    }

    /// Tells whether the address is one of the subnet's.
    pub fn contains(self, address: Ipv6Addr) -> bool {
        address.to_bits() & mask(self.prefix_len) == self.network.to_bits()
    }

    /// Tells whether the two share an address.
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.network) || other.contains(self.network)
    }
}

fn mask(prefix_len: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix_len)).unwrap_or(0)
}

impl fmt::Display for Subnet6 {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.network, self.prefix_len)
    }
}

impl FromStr for Subnet6 {
    type Err = Subnet6Error;

    fn from_str(text: &str) -> Result<Self, Subnet6Error> {
        let fault = || Subnet6Error(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(fault)?;
        let prefix_len: u8 = prefix.parse().map_err(|_| fault())?;
        if prefix_len > 128 {
            return Err(fault());
        }
        Ok(Self::new(address.parse().map_err(|_| fault())?, prefix_len))
    }
}

impl TryFrom<String> for Subnet6 {
    type Error = Subnet6Error;

    fn try_from(text: String) -> Result<Self, Subnet6Error> {
        text.parse()
    }
}

impl From<Subnet6> for String {
    fn from(subnet: Subnet6) -> Self {
        subnet.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_value_agree() {
        for (text, shown) in [("fd00:1::5/64", "fd00:1::/64"), ("::/0", "::/0"), ("::1/128", "::1/128")] {
            assert_eq!(text.parse::<Subnet6>().map(|subnet| subnet.to_string()).as_deref(), Ok(shown));
        }
        for text in ["", "fd00::", "fd00::/129", "10.0.0.0/8", "fd00::/-1"] {
            assert!(text.parse::<Subnet6>().is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_stay_inside() {
        let subnet: Subnet6 = "fd00::/126".parse().expect("a subnet");
        assert_eq!(subnet.nth(3), "fd00::3".parse().ok());
        assert_eq!(subnet.nth(4), None);
        assert!(subnet.overlaps("fd00::/64".parse().expect("a subnet")));
        assert!(!subnet.overlaps("fd00:0:0:1::/64".parse().expect("a subnet")));
    }

    #[test]
    fn local_subnets_are_named_after_their_network() {
        assert_eq!(Subnet6::local("0123456789abcdef").to_string(), "fd01:2345:6789::/64");
    }
}
