//! The addresses of a network: subnets, and what is asked of them.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::IpAddr;

use lighter_sandbox::network::{Subnet, Subnet6};
use serde::{Deserialize, Serialize};

/// A subnet with what is asked of it, as text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AddressPool {
    /// `--subnet`.
    pub subnet: String,
    /// `--gateway`: the bridge's own address.
    pub gateway: Option<String>,
    /// `--ip-range`: where addresses are taken from that nobody asked for.
    pub range: Option<String>,
    /// `--aux-address`: addresses that nobody gets, by name.
    pub auxiliary: BTreeMap<String, String>,
    /// Whether nobody asked for it.
    pub chosen: bool,
}

/// A range of addresses of either kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Range {
    Four(Subnet),
    Six(Subnet6),
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        text.parse().map(Self::Four).or_else(|_| text.parse().map(Self::Six)).ok()
    }

    fn text(self) -> String {
        match self {
            Self::Four(subnet) => subnet.to_string(),
            Self::Six(subnet) => subnet.to_string(),
        }
    }

    fn contains(self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::Four(subnet), IpAddr::V4(address)) => subnet.contains(address),
            (Self::Six(subnet), IpAddr::V6(address)) => subnet.contains(address),
            _ => false,
        }
    }
}

impl AddressPool {
    /// One that was chosen for a network.
    pub(super) fn chosen(subnet: &dyn Display, gateway: &dyn Display) -> Self {
        Self {
            subnet: subnet.to_string(),
            gateway: Some(gateway.to_string()),
            chosen: true,
            ..Self::default()
        }
    }

    /// Whether it is of IPv6.
    pub fn is_six(&self) -> bool {
        self.subnet.contains(':')
    }

    /// What is wrong with it, in Docker's words.
    pub(super) fn faults(&self) -> Vec<String> {
        let subnet = &self.subnet;
        let Some(whole) = Range::parse(subnet) else {
            return vec![format!("invalid subnet {subnet}: invalid CIDR block notation")];
        };
        let mut faults = Vec::new();
        if !is_written_so(subnet, whole) {
            faults.push(format!("invalid subnet {subnet}: it should be {}", whole.text()));
        }
        faults.extend(self.range.as_ref().and_then(|range| fault_of_range(range, subnet, whole)));
        let gateway = self.gateway.iter().map(|address| ("gateway", address));
        let auxiliary = self.auxiliary.values().map(|address| ("auxiliary address", address));
        for (what, text) in gateway.chain(auxiliary) {
            match text.parse::<IpAddr>() {
                Err(_) => faults.push(format!("invalid {what} {text}: invalid address")),
                Ok(address) if !whole.contains(address) => {
                    let fault = format!("parent subnet {subnet} doesn't contain this address");
                    faults.push(format!("invalid {what} {text}: {fault}"));
                }
                Ok(_) => {}
            }
        }
        faults
    }

    /// The addresses that nobody gets.
    pub(super) fn reserved(&self) -> impl Iterator<Item = IpAddr> {
        self.auxiliary.values().filter_map(|text| text.parse().ok())
    }
}

fn fault_of_range(text: &str, subnet: &str, whole: Range) -> Option<String> {
    let fault = |why: String| Some(format!("invalid ip-range {text}: {why}"));
    let Some(part) = Range::parse(text) else {
        return fault("invalid CIDR block notation".to_owned());
    };
    if !is_written_so(text, part) {
        return fault(format!("it should be {}", part.text()));
    }
    let (network, is_bigger) = match (whole, part) {
        (Range::Four(whole), Range::Four(part)) => {
            (IpAddr::V4(part.network()), part.prefix_len() < whole.prefix_len())
        }
        (Range::Six(whole), Range::Six(part)) => {
            (IpAddr::V6(part.network()), part.prefix_len() < whole.prefix_len())
        }
        (Range::Four(_), _) => return fault("parent subnet is an IPv4 block".to_owned()),
        (Range::Six(_), _) => return fault("parent subnet is an IPv6 block".to_owned()),
    };
    if is_bigger {
        return fault(format!("CIDR block is bigger than its parent subnet {subnet}"));
    }
    if whole.contains(network) {
        return None;
    }
    fault(format!("parent subnet {subnet} doesn't contain ip-range"))
}

/// Whether the address before the slash is that of the range itself, in whatever spelling.
fn is_written_so(text: &str, range: Range) -> bool {
    let address = text.split('/').next().unwrap_or_default().parse();
    address.is_ok_and(|address: IpAddr| match range {
        Range::Four(subnet) => address == IpAddr::V4(subnet.network()),
        Range::Six(subnet) => address == IpAddr::V6(subnet.network()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_pools() {
        let check = |subnet: &str, gateway: &str, range: &str, auxiliary: &str, expected: &[&str]| {
            let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            let pool = AddressPool {
                subnet: subnet.to_owned(),
                gateway: given(gateway),
                range: given(range),
                chosen: false,
                auxiliary: given(auxiliary).map(|text| ("a".to_owned(), text)).into_iter().collect(),
            };
            assert_eq!(pool.faults(), expected);
        };
        check("10.1.0.0/16", "10.1.0.1", "10.1.2.0/24", "10.1.0.9", &[]);
        check("fd00::/64", "fd00::1", "fd00::/96", "", &[]);
        check("10.1.0.0", "", "", "", &["invalid subnet 10.1.0.0: invalid CIDR block notation"]);
        check("10.1.0.5/24", "", "", "", &["invalid subnet 10.1.0.5/24: it should be 10.1.0.0/24"]);
        check(
            "10.1.0.0/24",
            "10.2.0.1",
            "10.1.0.0/16",
            "x",
            &[
                "invalid ip-range 10.1.0.0/16: CIDR block is bigger than its parent subnet 10.1.0.0/24",
                "invalid gateway 10.2.0.1: parent subnet 10.1.0.0/24 doesn't contain this address",
                "invalid auxiliary address x: invalid address",
            ],
        );
    }
}
