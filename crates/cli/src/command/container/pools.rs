//! The addresses that a network is asked to have: each range, gateway and reserved address belongs to a subnet.

use crate::args::container::network::NetworkCreate;
use lighter_engine::container::AddressPool;
use serde_json::{Map, Value, json};
use std::net::IpAddr;

/// The subnets that are asked for, each with what lies in it.
///
/// # Errors
/// What lies in none of them; the words are Docker's.
pub(super) fn pools(asked: &NetworkCreate) -> Result<Vec<AddressPool>, String> {
    let most = asked.subnet.len();
    if most < asked.ip_range.len() || most < asked.gateway.len() {
        return Err("every ip-range or gateway must have a corresponding subnet".to_owned());
    }
    let mut pools: Vec<AddressPool> = Vec::new();
    for subnet in &asked.subnet {
        if pools.iter().any(|known| holds(&known.subnet, subnet) || holds(subnet, &known.subnet)) {
            return Err("multiple overlapping subnet configuration is not supported".to_owned());
        }
        pools.push(AddressPool { subnet: subnet.clone(), ..AddressPool::default() });
    }
    for range in &asked.ip_range {
        if block(range).is_none() {
            return Err(format!("invalid CIDR address: {range}"));
        }
        let pool =
            pool_of(&mut pools, range).ok_or_else(|| format!("no matching subnet for range {range}"))?;
        if let Some(other) = pool.range.replace(range.clone()) {
            let subnet = &pool.subnet;
            return Err(format!(
                "cannot configure multiple ranges ({range}, {other}) on the same subnet ({subnet})"
            ));
        }
    }
    for gateway in &asked.gateway {
        let missing = || format!("no matching subnet for gateway {gateway}");
        let pool = pool_of(&mut pools, gateway).ok_or_else(missing)?;
        if let Some(other) = pool.gateway.replace(gateway.clone()) {
            let subnet = &pool.subnet;
            return Err(format!(
                "cannot configure multiple gateways ({gateway}, {other}) for the same subnet ({subnet})"
            ));
        }
    }
    for (name, address) in &asked.aux_address {
        let missing = || format!("no matching subnet for aux-address {address}");
        let pool = pool_of(&mut pools, address).ok_or_else(missing)?;
        pool.auxiliary.insert(name.clone(), address.clone());
    }
    Ok(pools)
}

/// A pool as Docker's engine describes it.
pub(super) fn shown(pool: &AddressPool) -> Value {
    let mut shown = Map::from_iter([("Subnet".to_owned(), json!(pool.subnet))]);
    for (name, value) in [("IPRange", &pool.range), ("Gateway", &pool.gateway)] {
        shown.extend(value.iter().map(|value| (name.to_owned(), json!(value))));
    }
    if !pool.auxiliary.is_empty() {
        shown.insert("AuxiliaryAddresses".to_owned(), json!(pool.auxiliary));
    }
    Value::Object(shown)
}

fn pool_of<'a>(pools: &'a mut [AddressPool], text: &str) -> Option<&'a mut AddressPool> {
    pools.iter_mut().find(|pool| holds(&pool.subnet, text))
}

/// Whether an address, or the first of a block, lies in a block.
fn holds(subnet: &str, text: &str) -> bool {
    let address = block(text).map(|(address, _)| address).or_else(|| text.parse().ok());
    let (Some((network, prefix)), Some(address)) = (block(subnet), address) else { return false };
    let shared = |own: u128, other: u128, bits: u32| {
        let rest = bits - u32::from(prefix);
        own.checked_shr(rest).unwrap_or(0) == other.checked_shr(rest).unwrap_or(0)
    };
    match (network, address) {
        (IpAddr::V4(own), IpAddr::V4(other)) => shared(own.to_bits().into(), other.to_bits().into(), 32),
        (IpAddr::V6(own), IpAddr::V6(other)) => shared(own.to_bits(), other.to_bits(), 128),
        _ => false,
    }
}

fn block(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    let (address, prefix): (IpAddr, u8) = (address.parse().ok()?, prefix.parse().ok()?);
    (prefix <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_addresses() {
        for (subnet, text, expected) in [
            ("10.1.0.0/16", "10.1.2.3", true),
            ("10.1.0.0/16", "10.2.0.0/24", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("fd00::/64", "fd00::5", true),
            ("fd00::/64", "10.1.2.3", false),
            ("10.1.0.0", "10.1.0.0", false),
            ("10.1.0.0/16", "x", false),
        ] {
            assert_eq!(holds(subnet, text), expected, "{subnet} {text}");
        }
    }
}
