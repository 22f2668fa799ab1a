//! Tables, chains and rules of nftables (nfnetlink): only what our firewall says.

use super::netlink::{Answer, Attributes, Intent, Message, NetlinkError, Socket};
use super::subnet::{Subnet, Subnet6};
use rustix::io::Errno;

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const GET_TABLE: u16 = SUBSYSTEM << 8 | 1;
const DELETE_TABLE: u16 = SUBSYSTEM << 8 | 2;
const NEW_CHAIN: u16 = SUBSYSTEM << 8 | 3;
const GET_CHAIN: u16 = SUBSYSTEM << 8 | 4;
const NEW_RULE: u16 = SUBSYSTEM << 8 | 6;
const GET_RULE: u16 = SUBSYSTEM << 8 | 7;
const DELETE_RULE: u16 = SUBSYSTEM << 8 | 8;

const TABLE_NAME: u16 = 1;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const CHAIN_TYPE: u16 = 7;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_HANDLE: u16 = 3;
const RULE_EXPRESSIONS: u16 = 4;
const RULE_USER_DATA: u16 = 7;
const LIST_ELEMENT: u16 = 1;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
/// The kind of user data that `nft` shows as a comment.
const USER_DATA_COMMENT: u8 = 0;

const FIXED_LEN: usize = 4;
const REGISTER_VERDICT: u32 = 0;
const REGISTER: u32 = 1;
const SECOND_REGISTER: u32 = 2;

/// Which packets a table sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// IPv4 and IPv6.
    Inet,
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    fn number(self) -> u8 {
        match self {
            Self::Inet => 1,
            Self::Ipv4 => 2,
            Self::Ipv6 => 10,
        }
    }
}

/// Where a chain is hooked into the path of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    /// Packets that pass through this machine.
    Forward,
    /// Packets that a process here sends.
    Output,
    /// Packets about to leave.
    Postrouting,
}

impl Hook {
    const fn number(self) -> u32 {
        match self {
            Self::Forward => 2,
            Self::Output => 3,
            Self::Postrouting => 4,
        }
    }
}

/// Where chains that let packets pass or drop them come.
pub(crate) const FILTER_PRIORITY: i32 = 0;
/// Where chains that change the sender come.
pub(crate) const SOURCE_NAT_PRIORITY: i32 = 100;
/// Where chains that change the receiver come.
pub(crate) const DESTINATION_NAT_PRIORITY: i32 = -100;

/// What happens to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is thrown away.
    Drop,
    /// It passes this chain.
    Accept,
}

impl Verdict {
    fn number(self) -> u32 {
        match self {
            Self::Drop => 0,
            Self::Accept => 1,
        }
    }
}

/// One part of a rule; a rule goes on to the next part while a packet matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expression {
    /// The packet came in through this link.
    InLink(String),
    /// The packet goes out through this link.
    OutLink(String),
    /// The packet goes out through another link.
    OutLinkIsNot(String),
    /// The sender is in this subnet.
    Source(Subnet),
    /// The sender is in this subnet of IPv6.
    Source6(Subnet6),
    /// The receiver is in this subnet.
    Destination(Subnet),
    /// The packet is of this transport protocol (6: TCP, 17: UDP).
    Transport(u8),
    /// The packet goes to this port.
    DestinationPort(u16),
    /// The packet belongs to, or is caused by, a connection that was let through.
    Established,
    /// Counts the packets that come this far.
    Counter,
    /// Puts the address of the outgoing link in place of the sender's.
    Masquerade,
    /// Sends the packet to another port of the same machine.
    RedirectToPort(u16),
    /// Ends the rule.
    End(Verdict),
}

/// The two ends of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Where packets come in.
    Head,
    /// Where packets go out.
    Tail,
}

/// A rule found in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundRule {
    /// Its name in its table.
    pub(crate) handle: u64,
    /// The comment, when it has one.
    pub(crate) comment: Option<String>,
}

/// A chain found in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundChain {
    /// The packets its table sees.
    pub(crate) family: Family,
    /// Its table.
    pub(crate) table: String,
    /// Its name.
    pub(crate) name: String,
    /// When packets that pass through this machine go through it: what happens to those that no rule decides about.
    pub(crate) forward_policy: Option<Verdict>,
}

/// Changes that happen together or not at all.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    messages: Vec<Message>,
}

impl Transaction {
    /// Creates a table; when it exists, the whole transaction fails.
    pub(crate) fn add_table(&mut self, family: Family, table: &str) {
        let message = Message::new(NEW_TABLE, Intent::Create, &header(family, 0));
        self.messages.push(message.string(TABLE_NAME, table));
    }

    /// Removes a table and all that is in it.
    pub(crate) fn delete_table(&mut self, family: Family, table: &str) {
        let message = Message::new(DELETE_TABLE, Intent::Plain, &header(family, 0));
        self.messages.push(message.string(TABLE_NAME, table));
    }

    /// Creates a chain that packets pass at a hook, in the order of the priorities.
    pub(crate) fn add_base_chain(
        &mut self,
        (family, table, chain): (Family, &str, &str),
        (hook, priority): (Hook, i32),
        policy: Verdict,
    ) {
        let kind = if priority == FILTER_PRIORITY { "filter" } else { "nat" };
        let message = Message::new(NEW_CHAIN, Intent::Create, &header(family, 0))
            .string(CHAIN_TABLE, table)
            .string(CHAIN_NAME, chain)
            .nested(CHAIN_HOOK, |inner| {
                inner
                    .network_u32(HOOK_NUMBER, hook.number())
                    .network_u32(HOOK_PRIORITY, priority.cast_unsigned())
            })
            .network_u32(CHAIN_POLICY, policy.number())
            .string(CHAIN_TYPE, kind);
        self.messages.push(message);
    }

    /// Adds a rule at the end of a chain.
    pub(crate) fn append_rule(&mut self, place: (Family, &str, &str), expressions: &[Expression]) {
        self.messages.push(rule(Intent::Append, place, expressions));
    }

    /// Adds a rule to a chain that is not ours, with a comment to find it by.
    pub(crate) fn add_marked_rule(
        &mut self,
        place: (Family, &str, &str),
        expressions: &[Expression],
        comment: &str,
        end: End,
    ) {
        let mut user_data = vec![USER_DATA_COMMENT];
        user_data.push(u8::try_from(comment.len() + 1).unwrap_or(u8::MAX));
        user_data.extend_from_slice(comment.as_bytes());
        user_data.push(0);
        let intent = match end {
            End::Head => Intent::Create,
            End::Tail => Intent::Append,
        };
        let message = rule(intent, place, expressions);
        self.messages.push(message.attribute(RULE_USER_DATA, &user_data));
    }

    /// Removes a rule.
    pub(crate) fn delete_rule(&mut self, (family, table, chain): (Family, &str, &str), handle: u64) {
        let message = Message::new(DELETE_RULE, Intent::Plain, &header(family, 0))
            .string(RULE_TABLE, table)
            .string(RULE_CHAIN, chain)
            .attribute(RULE_HANDLE, &handle.to_be_bytes());
        self.messages.push(message);
    }

    /// Does all of it.
    pub(crate) fn commit(self) -> Result<(), NetlinkError> {
        if self.messages.is_empty() {
            return Ok(());
        }
        let frame = |kind| {
            let fixed = [0, 0, 0, u8::try_from(SUBSYSTEM).unwrap_or_default()];
            Message::new(kind, Intent::Plain, &fixed)
        };
        Socket::netfilter()?.transaction(frame(BATCH_BEGIN), self.messages, frame(BATCH_END))
    }
}

/// Tells whether a table exists.
pub(crate) fn table_exists(socket: &Socket, family: Family, table: &str) -> Result<bool, NetlinkError> {
    let question = Message::new(GET_TABLE, Intent::Plain, &header(family, 0)).string(TABLE_NAME, table);
    match socket.ask(question) {
        Ok(_) => Ok(true),
        Err(error) if error.is(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Lists the chains that see packets of IPv4 and IPv6.
pub(crate) fn chains(socket: &Socket) -> Result<Vec<FoundChain>, NetlinkError> {
    let question = Message::new(GET_CHAIN, Intent::Plain, &[0, 0, 0, 0]);
    Ok(socket.list(&question)?.iter().filter_map(read_chain).collect())
}

/// Lists the rules of a chain.
pub(crate) fn rules(
    socket: &Socket,
    (family, table, chain): (Family, &str, &str),
) -> Result<Vec<FoundRule>, NetlinkError> {
    let question = Message::new(GET_RULE, Intent::Plain, &header(family, 0))
        .string(RULE_TABLE, table)
        .string(RULE_CHAIN, chain);
    match socket.list(&question) {
        Ok(answers) => Ok(answers.iter().filter_map(|answer| read_rule(answer, chain)).collect()),
        Err(error) if error.is(Errno::NOENT) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn header(family: Family, resource: u16) -> [u8; FIXED_LEN] {
    let resource = resource.to_be_bytes();
    [family.number(), 0, resource[0], resource[1]]
}

fn read_chain(answer: &Answer) -> Option<FoundChain> {
    let family = match answer.body.first()? {
        1 => Family::Inet,
        2 => Family::Ipv4,
        10 => Family::Ipv6,
        _ => return None,
    };
    let attributes = answer.attributes(FIXED_LEN);
    Some(FoundChain {
        family,
        table: attributes.string(CHAIN_TABLE)?,
        name: attributes.string(CHAIN_NAME)?,
        forward_policy: read_forward_policy(&attributes),
    })
}

fn read_forward_policy(chain: &Attributes<'_>) -> Option<Verdict> {
    let hook = Attributes::new(chain.find(CHAIN_HOOK)?);
    if hook.network_u32(HOOK_NUMBER)? != Hook::Forward.number() || chain.string(CHAIN_TYPE)? != "filter" {
        return None;
    }
    match chain.network_u32(CHAIN_POLICY) {
        Some(0) => Some(Verdict::Drop),
        _ => Some(Verdict::Accept),
    }
}

fn read_rule(answer: &Answer, chain: &str) -> Option<FoundRule> {
    let attributes = answer.attributes(FIXED_LEN);
    if attributes.string(RULE_CHAIN)? != chain {
        return None;
    }
    let handle = attributes.find(RULE_HANDLE)?.first_chunk::<8>()?;
    Some(FoundRule {
        handle: u64::from_be_bytes(*handle),
        comment: attributes.find(RULE_USER_DATA).and_then(read_comment),
    })
}

/// Finds the comment among a rule's user data: records of kind, length, value.
fn read_comment(mut user_data: &[u8]) -> Option<String> {
    while let [kind, length, rest @ ..] = user_data {
        let value = rest.get(..usize::from(*length))?;
        if *kind == USER_DATA_COMMENT {
            let text = value.strip_suffix(&[0]).unwrap_or(value);
            return Some(String::from_utf8_lossy(text).into_owned());
        }
        user_data = &rest[value.len()..];
    }
    None
}

fn rule(intent: Intent, (family, table, chain): (Family, &str, &str), expressions: &[Expression]) -> Message {
    Message::new(NEW_RULE, intent, &header(family, 0))
        .string(RULE_TABLE, table)
        .string(RULE_CHAIN, chain)
        .nested(RULE_EXPRESSIONS, |list| expressions.iter().fold(list, write))
}

/// Writes a part of a rule as the kernel's expressions.
fn write(list: Message, expression: &Expression) -> Message {
    match expression {
        Expression::InLink(name) => compare(meta(list, META_IN_NAME), EQUAL, &c_name(name)),
        Expression::OutLink(name) => compare(meta(list, META_OUT_NAME), EQUAL, &c_name(name)),
        Expression::OutLinkIsNot(name) => compare(meta(list, META_OUT_NAME), NOT_EQUAL, &c_name(name)),
        Expression::Source(subnet) => address_in(list, SOURCE_OFFSET, *subnet),
        Expression::Source6(subnet) => {
            let loaded = payload(list, NETWORK_HEADER, SOURCE6_OFFSET, 16);
            compare(mask(loaded, &subnet.mask().octets()), EQUAL, &subnet.network().octets())
        }
        Expression::Destination(subnet) => address_in(list, DESTINATION_OFFSET, *subnet),
        Expression::Transport(protocol) => compare(meta(list, META_TRANSPORT), EQUAL, &[*protocol]),
        Expression::DestinationPort(port) => {
            compare(payload(list, TRANSPORT_HEADER, 2, 2), EQUAL, &port.to_be_bytes())
        }
        Expression::Established => established(list),
        Expression::Counter => element(list, "counter", |data| data),
        Expression::Masquerade => element(list, "masq", |data| data),
        Expression::RedirectToPort(port) => redirect(list, *port),
        Expression::End(verdict) => element(list, "immediate", |data| {
            data.network_u32(1, REGISTER_VERDICT)
                .nested(2, |value| value.nested(DATA_VERDICT, |inner| inner.network_u32(1, verdict.number())))
        }),
    }
}

const META_IN_NAME: u32 = 6;
const META_OUT_NAME: u32 = 7;
const META_TRANSPORT: u32 = 16;
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const SOURCE_OFFSET: u32 = 12;
const SOURCE6_OFFSET: u32 = 8;
const DESTINATION_OFFSET: u32 = 16;
const CONNECTION_STATE: u32 = 0;
const STATE_ESTABLISHED_OR_RELATED: u32 = 2 | 4;

fn element(list: Message, name: &str, fill: impl FnOnce(Message) -> Message) -> Message {
    list.nested(LIST_ELEMENT, |element| element.string(EXPRESSION_NAME, name).nested(EXPRESSION_DATA, fill))
}

fn meta(list: Message, key: u32) -> Message {
    element(list, "meta", |data| data.network_u32(1, REGISTER).network_u32(2, key))
}

fn compare(list: Message, operation: u32, value: &[u8]) -> Message {
    element(list, "cmp", |data| {
        data.network_u32(1, REGISTER)
            .network_u32(2, operation)
            .nested(3, |inner| inner.attribute(DATA_VALUE, value))
    })
}

fn payload(list: Message, base: u32, offset: u32, len: u32) -> Message {
    element(list, "payload", |data| {
        data.network_u32(1, REGISTER).network_u32(2, base).network_u32(3, offset).network_u32(4, len)
    })
}

fn mask(list: Message, mask: &[u8]) -> Message {
    let (zeros, len) = ([0; 16], u32::try_from(mask.len()).unwrap_or_default());
    element(list, "bitwise", |data| {
        data.network_u32(1, REGISTER)
            .network_u32(2, REGISTER)
            .network_u32(3, len)
            .nested(4, |inner| inner.attribute(DATA_VALUE, mask))
            .nested(5, |inner| inner.attribute(DATA_VALUE, &zeros[..mask.len()]))
    })
}

fn address_in(list: Message, offset: u32, subnet: Subnet) -> Message {
    let loaded = payload(list, NETWORK_HEADER, offset, 4);
    compare(mask(loaded, &subnet.mask().octets()), EQUAL, &subnet.network().octets())
}

fn established(list: Message) -> Message {
    let loaded = element(list, "ct", |data| data.network_u32(1, REGISTER).network_u32(2, CONNECTION_STATE));
    let masked = mask(loaded, &STATE_ESTABLISHED_OR_RELATED.to_ne_bytes());
    compare(masked, NOT_EQUAL, &[0; 4])
}

/// Rewrites the destination port; the destination address stays by being written as it is (loopback).
fn redirect(list: Message, port: u16) -> Message {
    let loaded = element(list, "immediate", |data| {
        data.network_u32(1, SECOND_REGISTER)
            .nested(2, |value| value.attribute(DATA_VALUE, &port.to_be_bytes()))
    });
    element(loaded, "nat", |data| {
        data.network_u32(1, 1)
            .network_u32(2, u32::from(Family::Ipv4.number()))
            .network_u32(5, SECOND_REGISTER)
    })
}

/// A link's name as the kernel compares it: with its NUL, so that no longer name matches.
fn c_name(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_found_among_other_user_data() {
        assert_eq!(read_comment(&[5, 2, 9, 9, 0, 3, b'h', b'i', 0]).as_deref(), Some("hi"));
        assert_eq!(read_comment(&[5, 2, 9, 9]), None);
        assert_eq!(read_comment(&[0, 200, 1]), None);
        assert_eq!(read_comment(&[]), None);
    }

    #[test]
    fn a_name_is_compared_with_its_end() {
        assert_eq!(c_name("lighter0"), b"lighter0\0");
    }
}
