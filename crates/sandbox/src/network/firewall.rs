//! What a bridge needs of the firewall: hiding its addresses behind the machine's, and letting its packets pass.
//!
//! Each bridge has an nftables table of its own, named as the bridge: it is made in one transaction and removed as a
//! whole. A table can only forbid what another one lets pass, so where the administrator or Docker made the forward
//! chain drop by default, two rules that name our bridge are put into that chain as well, marked by a comment.
//! Those two let everything pass that names the bridge; what may really come in is decided in our own table.

use super::iptables::{self, IptablesError};
use super::netlink::{NetlinkError, Socket};
use super::nftables::{
    self, End, Expression, FILTER_PRIORITY, Family, FoundChain, FoundRule, Hook, SOURCE_NAT_PRIORITY,
    Transaction, Verdict,
};
use super::subnet::{Subnet, Subnet6};
use rustix::io::Errno;

/// The chain by which Docker lets administrators come first; where it exists, Docker rules the forward chain.
const DOCKER_CHAIN: &str = "DOCKER-USER";

/// The chain of packets that pass through, as iptables calls it.
const IPTABLES_CHAIN: &str = "FORWARD";

/// What a bridge wants to be let through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Passage<'a> {
    /// The name of the bridge.
    pub(crate) bridge: &'a str,
    /// Its addresses.
    pub(crate) subnet: Subnet,
    /// Its addresses of IPv6, where it has some.
    pub(crate) subnet6: Option<Subnet6>,
    /// Nothing comes in or goes out.
    pub(crate) internal: bool,
    /// What goes out hides behind the addresses of this machine.
    pub(crate) masquerade: bool,
}

/// Something about the firewall that the user should know; the network works but for what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// The old packet filter is in use, and no program to talk to it was found.
    UnreadableLegacyFilter,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::UnreadableLegacyFilter => out.write_str(
                "the legacy iptables filter is in use but no iptables program is installed; \
                 if it drops forwarded packets, containers reach only this machine",
            ),
        }
    }
}

/// Why the firewall could not be made to serve a bridge.
#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    /// The rules could not be read.
    #[error("reading the firewall's rules")]
    Read(#[source] NetlinkError),
    /// The rules of the bridge could not be written or removed.
    #[error("changing the firewall for bridge `{bridge}`")]
    Write {
        /// The bridge.
        bridge: String,
        /// What the kernel said.
        #[source]
        source: NetlinkError,
    },
    /// The kernel has no nftables, and `iptables` did not do either.
    #[error("changing the firewall for bridge `{bridge}` by iptables, as this kernel has no nftables")]
    Iptables {
        /// The bridge.
        bridge: String,
        /// What went wrong.
        #[source]
        source: IptablesError,
    },
}

/// Tells whether everything is in place for the bridge; cheap, and changes nothing.
pub(crate) fn is_ready(passage: Passage<'_>) -> Result<bool, FirewallError> {
    let Some(socket) = nftables_socket(passage.bridge)? else {
        return Ok(iptables::is_ready(passage));
    };
    for family in families(passage) {
        if !nftables::table_exists(&socket, family, passage.bridge).map_err(FirewallError::Read)? {
            return Ok(false);
        }
    }
    Ok(missing_in_foreign_chains(&socket, passage)?.is_empty())
}

/// Puts everything in place for the bridge that is not there yet.
pub(crate) fn ensure(passage: Passage<'_>) -> Result<Vec<Warning>, FirewallError> {
    let fail = |source| write_error(passage.bridge, source);
    let Some(socket) = nftables_socket(passage.bridge)? else {
        return iptables::ensure(passage)
            .map(|()| Vec::new())
            .map_err(|source| FirewallError::Iptables { bridge: passage.bridge.to_owned(), source });
    };
    for family in families(passage) {
        match own_table(passage, family).commit() {
            Err(error) if !error.is(Errno::EXIST) => return Err(fail(error)),
            _ => {}
        }
    }
    let mut foreign = Transaction::default();
    for (chain, end) in missing_in_foreign_chains(&socket, passage)? {
        let place = (chain.family, chain.table.as_str(), chain.name.as_str());
        for link in [Expression::InLink, Expression::OutLink] {
            let expressions =
                [link(passage.bridge.to_owned()), Expression::Counter, Expression::End(Verdict::Accept)];
            foreign.add_marked_rule(place, &expressions, &comment(passage.bridge), end);
        }
    }
    foreign.commit().map_err(fail)?;
    Ok(pass_legacy_filter(passage))
}

/// Removes everything that was put in place for the bridge.
pub(crate) fn remove(passage: Passage<'_>) -> Result<(), FirewallError> {
    let bridge = passage.bridge;
    let fail = |source| write_error(bridge, source);
    let Some(socket) = nftables_socket(bridge)? else {
        iptables::remove(passage);
        return Ok(());
    };
    let mut transaction = Transaction::default();
    for family in families(passage) {
        if nftables::table_exists(&socket, family, bridge).map_err(FirewallError::Read)? {
            transaction.delete_table(family, bridge);
        }
    }
    for chain in nftables::chains(&socket).map_err(FirewallError::Read)? {
        if chain.forward_policy.is_none() || chain.table == bridge {
            continue;
        }
        let place = (chain.family, chain.table.as_str(), chain.name.as_str());
        for rule in nftables::rules(&socket, place).map_err(FirewallError::Read)? {
            if rule.comment.as_deref() == Some(&comment(bridge)) {
                transaction.delete_rule(place, rule.handle);
            }
        }
    }
    transaction.commit().map_err(fail)?;
    if iptables::legacy_filter_in_use() {
        iptables::remove_legacy_forward(bridge);
    }
    Ok(())
}

fn write_error(bridge: &str, source: NetlinkError) -> FirewallError {
    FirewallError::Write { bridge: bridge.to_owned(), source }
}

/// A socket to nftables; none when this kernel has none.
fn nftables_socket(bridge: &str) -> Result<Option<Socket>, FirewallError> {
    let socket = match Socket::netfilter() {
        Err(NetlinkError::Socket(error))
            if error.raw_os_error() == Some(Errno::PROTONOSUPPORT.raw_os_error()) =>
        {
            return Ok(None);
        }
        opened => opened.map_err(FirewallError::Read)?,
    };
    match nftables::table_exists(&socket, Family::Ipv4, bridge) {
        Err(error) if error.is(Errno::INVAL) || error.is(Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(FirewallError::Read(error)),
        Ok(_) => Ok(Some(socket)),
    }
}

fn comment(bridge: &str) -> String {
    format!("lighter {bridge}")
}

/// The families of addresses that the bridge has.
fn families(passage: Passage<'_>) -> impl Iterator<Item = Family> {
    std::iter::once(Family::Ipv4).chain(passage.subnet6.map(|_| Family::Ipv6))
}

/// The table of the bridge for a family, as one transaction that fails when it exists.
fn own_table(passage: Passage<'_>, family: Family) -> Transaction {
    let table = passage.bridge;
    let mut transaction = Transaction::default();
    transaction.add_table(family, table);
    let forward = (family, table, "forward");
    transaction.add_base_chain(forward, (Hook::Forward, FILTER_PRIORITY), Verdict::Accept);
    for rule in forward_rules(passage) {
        transaction.append_rule(forward, &rule);
    }
    if !passage.internal && passage.masquerade {
        let outward = (family, table, "postrouting");
        let place = (Hook::Postrouting, SOURCE_NAT_PRIORITY);
        transaction.add_base_chain(outward, place, Verdict::Accept);
        let masquerade = [
            match passage.subnet6.filter(|_| family == Family::Ipv6) {
                Some(subnet) => Expression::Source6(subnet),
                None => Expression::Source(passage.subnet),
            },
            Expression::OutLinkIsNot(table.to_owned()),
            Expression::Masquerade,
        ];
        transaction.append_rule(outward, &masquerade);
    }
    transaction
}

/// Containers reach each other and the world; the world reaches them only in answer.
fn forward_rules(passage: Passage<'_>) -> Vec<Vec<Expression>> {
    let incoming = || Expression::InLink(passage.bridge.to_owned());
    let outgoing = || Expression::OutLink(passage.bridge.to_owned());
    let accept = || Expression::End(Verdict::Accept);
    let mut rules = vec![vec![incoming(), outgoing(), accept()]];
    if passage.internal {
        rules.push(vec![incoming(), Expression::End(Verdict::Drop)]);
    } else {
        rules.push(vec![outgoing(), Expression::Established, accept()]);
    }
    rules.push(vec![outgoing(), Expression::End(Verdict::Drop)]);
    rules
}

/// The chains of others that would drop the bridge's packets and do not name it yet, and where to name it.
///
/// Where Docker rules the chain our rules go last, so that Docker's own walls around its containers stand.
fn missing_in_foreign_chains(
    socket: &Socket,
    passage: Passage<'_>,
) -> Result<Vec<(FoundChain, End)>, FirewallError> {
    let chains = nftables::chains(socket).map_err(FirewallError::Read)?;
    let mut missing = Vec::new();
    for chain in &chains {
        let Some(policy) = chain.forward_policy.filter(|_| chain.table != passage.bridge) else {
            continue;
        };
        if chain.family == Family::Ipv6 && passage.subnet6.is_none() {
            continue;
        }
        let place = (chain.family, chain.table.as_str(), chain.name.as_str());
        let rules = nftables::rules(socket, place).map_err(FirewallError::Read)?;
        // Some systems come with an iptables chain that lets everything pass but ends with a rule that rejects.
        let may_reject = chain.name == IPTABLES_CHAIN && !rules.is_empty();
        let is_marked = |rule: &FoundRule| rule.comment.as_deref() == Some(&comment(passage.bridge));
        if !(policy == Verdict::Drop || may_reject) || rules.iter().any(is_marked) {
            continue;
        }
        let is_dockers = chains.iter().any(|other| {
            other.name == DOCKER_CHAIN && (other.family, &other.table) == (chain.family, &chain.table)
        });
        missing.push((chain.clone(), if is_dockers { End::Tail } else { End::Head }));
    }
    Ok(missing)
}

/// Names the bridge in the old packet filter as well, when that is in use beside nftables.
fn pass_legacy_filter(passage: Passage<'_>) -> Vec<Warning> {
    if !iptables::legacy_filter_in_use() {
        return Vec::new();
    }
    match iptables::pass_legacy_forward(passage.bridge) {
        Ok(()) => Vec::new(),
        Err(error) => {
            tracing::warn!(%error, "the legacy packet filter was not changed");
            vec![Warning::UnreadableLegacyFilter]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(internal: bool) -> Passage<'static> {
        let subnet = "10.9.0.0/24".parse().unwrap();
        Passage { bridge: "lt-test", subnet, subnet6: None, internal, masquerade: true }
    }

    #[test]
    fn an_internal_network_lets_nothing_out() {
        let drops = |internal| {
            forward_rules(passage(internal))
                .into_iter()
                .filter(|rule| rule.last() == Some(&Expression::End(Verdict::Drop)))
                .map(|rule| rule[0].clone())
                .collect::<Vec<_>>()
        };
        let (incoming, outgoing) =
            (Expression::InLink("lt-test".into()), Expression::OutLink("lt-test".into()));
        assert_eq!(drops(true), [incoming, outgoing.clone()]);
        assert_eq!(drops(false), [outgoing]);
    }
}
