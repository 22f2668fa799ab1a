//! Subnets of both families, and the choice of an IPv4 one that nothing on this machine uses.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An address of either family, as the number that it is.
pub trait Address: Copy + Eq + fmt::Display + FromStr {
    /// How many bits it has.
    const BITS: u8;
    /// What a text must be to be a subnet of its family.
    const SUBNET: &'static str;

    /// The number.
    fn number(self) -> u128;

    /// The address of the number's last [`Self::BITS`] bits.
    fn of(number: u128) -> Self;
}

impl Address for Ipv4Addr {
    const BITS: u8 = 32;
    const SUBNET: &'static str = "an IPv4 subnet such as 10.1.0.0/16";

    fn number(self) -> u128 {
        self.to_bits().into()
    }

    #[expect(clippy::cast_possible_truncation, reason = "the last bits are the address")]
    fn of(number: u128) -> Self {
        Self::from_bits(number as u32)
    }
}

impl Address for Ipv6Addr {
    const BITS: u8 = 128;
    const SUBNET: &'static str = "an IPv6 subnet such as fd00:1::/64";

    fn number(self) -> u128 {
        self.to_bits()
    }

    fn of(number: u128) -> Self {
        Self::from_bits(number)
    }
}

/// A range of addresses with a common prefix, written `10.1.0.0/16`; of IPv4, unless another family is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String", bound = "A: Address")]
pub struct Subnet<A = Ipv4Addr> {
    network: A,
    prefix_len: u8,
}

/// A range of IPv6 addresses, written `fd00:1::/64`.
pub type Subnet6 = Subnet<Ipv6Addr>;

/// Why a text is no subnet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {wanted}")]
pub struct SubnetError {
    text: String,
    wanted: &'static str,
}

impl<A: Address> Subnet<A> {
    /// The subnet that holds `address`, with a prefix of `prefix_len` bits (at most 32, of IPv6 128).
    pub fn new(address: A, prefix_len: u8) -> Self {
        let prefix_len = prefix_len.min(A::BITS);
        Self { network: A::of(address.number() & mask::<A>(prefix_len)), prefix_len }
    }

    /// The first address, which names the subnet.
    pub fn network(self) -> A {
        self.network
    }

    /// How many leading bits the addresses share.
    pub fn prefix_len(self) -> u8 {
        self.prefix_len
    }

    /// The shared bits as a mask.
    pub fn mask(self) -> A {
        A::of(mask::<A>(self.prefix_len))
    }

    /// Tells whether the address is one of the subnet's.
    pub fn contains(self, address: A) -> bool {
        address.number() & mask::<A>(self.prefix_len) == self.network.number()
    }

    /// Tells whether the two share an address.
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.network) || other.contains(self.network)
    }
}

impl Subnet {
    /// The last address, which reaches all of the subnet.
    pub fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits() | !self.mask().to_bits())
    }

    /// The first address that a host can have: the gateway, unless another is asked for.
    pub fn first_host(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits().saturating_add(1))
    }

    /// Tells whether a host can have this address: it is in the subnet, and neither names it nor reaches all of it.
    pub fn is_host(self, address: Ipv4Addr) -> bool {
        self.contains(address) && address != self.network && address != self.broadcast()
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

impl Subnet6 {
    /// A local one that is as good as unique, from the hexadecimal digits that name a network.
    pub fn local(id: &str) -> Self {
        let digits = id.get(..10).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(1);
        Self::new(Ipv6Addr::from_bits(0xfd << 120 | u128::from(digits) << 80), 64)
    }

    /// The address so far behind the first.
    pub fn nth(self, offset: u128) -> Option<Ipv6Addr> {
        let address = Ipv6Addr::from_bits(self.network.to_bits().checked_add(offset)?);
        self.contains(address).then_some(address)
    }
}

/// The number whose bits are those of a prefix.
fn mask<A: Address>(prefix_len: u8) -> u128 {
    let whole = u128::MAX >> (128 - A::BITS);
    whole & !whole.checked_shr(prefix_len.into()).unwrap_or(0)
}

impl<A: Address> fmt::Display for Subnet<A> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.network, self.prefix_len)
    }
}

impl<A: Address> FromStr for Subnet<A> {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let fault = || SubnetError { text: text.to_owned(), wanted: A::SUBNET };
        let (address, prefix) = text.split_once('/').ok_or_else(fault)?;
        let prefix_len: u8 = prefix.parse().map_err(|_| fault())?;
        if prefix_len > A::BITS {
            return Err(fault());
        }
        Ok(Self::new(address.parse().map_err(|_| fault())?, prefix_len))
    }
}

impl<A: Address> TryFrom<String> for Subnet<A> {
    type Error = SubnetError;

    fn try_from(text: String) -> Result<Self, SubnetError> {
        text.parse()
    }
}

impl<A: Address> From<Subnet<A>> for String {
    fn from(subnet: Subnet<A>) -> Self {
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
        let error = "10.0.0.0".parse::<Subnet>().expect_err("no prefix");
        assert_eq!(error.to_string(), "`10.0.0.0` is not an IPv4 subnet such as 10.1.0.0/16");
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

    #[test]
    fn text_and_value_of_ipv6_agree() {
        for (text, shown) in [("fd00:1::5/64", "fd00:1::/64"), ("::/0", "::/0"), ("::1/128", "::1/128")] {
            assert_eq!(text.parse::<Subnet6>().map(|subnet| subnet.to_string()).as_deref(), Ok(shown));
        }
        for text in ["", "fd00::", "fd00::/129", "10.0.0.0/8", "fd00::/-1"] {
            assert!(text.parse::<Subnet6>().is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_of_ipv6_stay_inside() {
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
