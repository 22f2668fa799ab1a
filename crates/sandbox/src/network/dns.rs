//! Questions and answers of the domain name system: as much as a responder for containers needs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const HEADER_LEN: usize = 12;
const TYPE_A: u16 = 1;
const TYPE_PTR: u16 = 12;
const TYPE_AAAA: u16 = 28;
const TYPE_ANY: u16 = 255;
const CLASS_IN: u16 = 1;
/// How long an answer may be remembered, in seconds; as Docker says.
const TIME_TO_LIVE: u32 = 600;
/// Points at the name of the question, which always stands behind the header.
const NAME_OF_QUESTION: [u8; 2] = [0xc0, 12];
/// How many addresses fit an answer of 512 bytes in any case.
const MOST_ADDRESSES: usize = 12;
/// The same, where some of them are of IPv6.
const MOST_LONG_ADDRESSES: usize = 8;

/// Why a question is not answered with data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The question is malformed.
    Format = 1,
    /// No server could be asked.
    Server = 2,
}

/// A question of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question<'a> {
    header: &'a [u8],
    /// The question as it stands in the message, to be repeated.
    section: &'a [u8],
    /// The name, without a dot at its end.
    pub(crate) name: String,
    kind: u16,
    class: u16,
}

/// What a question asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject<'a> {
    /// Something about a name.
    Name(&'a str),
    /// The name of an address.
    Address(IpAddr),
}

impl<'a> Question<'a> {
    /// Reads a message; none when it is no question with exactly one entry.
    pub(crate) fn parse(message: &'a [u8]) -> Option<Self> {
        let header = message.get(..HEADER_LEN)?;
        let is_query = header[2] & 0xf8 == 0;
        let count = u16::from_be_bytes([header[4], header[5]]);
        if !is_query || count != 1 {
            return None;
        }
        let (name, name_len) = parse_name(&message[HEADER_LEN..])?;
        let end = HEADER_LEN + name_len + 4;
        let section = message.get(HEADER_LEN..end)?;
        let tail = &section[name_len..];
        Some(Self {
            header,
            section,
            name,
            kind: u16::from_be_bytes([tail[0], tail[1]]),
            class: u16::from_be_bytes([tail[2], tail[3]]),
        })
    }

    /// What is asked for.
    pub(crate) fn subject(&self) -> Subject<'_> {
        if self.class == CLASS_IN
            && self.kind == TYPE_PTR
            && let Some(address) = reversed_address(&self.name)
        {
            return Subject::Address(address);
        }
        Subject::Name(&self.name)
    }

    /// Whether an address is one of those that are asked for.
    pub(crate) fn wants(&self, address: &IpAddr) -> bool {
        let kind = if address.is_ipv4() { TYPE_A } else { TYPE_AAAA };
        self.class == CLASS_IN && (self.kind == kind || self.kind == TYPE_ANY)
    }

    /// An answer with addresses; with none it says that the name exists.
    pub(crate) fn addresses(&self, addresses: &[IpAddr]) -> Vec<u8> {
        let record = |address: &IpAddr| match address {
            IpAddr::V4(address) => (TYPE_A, address.octets().to_vec()),
            IpAddr::V6(address) => (TYPE_AAAA, address.octets().to_vec()),
        };
        let most = if addresses.iter().any(IpAddr::is_ipv6) { MOST_LONG_ADDRESSES } else { MOST_ADDRESSES };
        self.reply(0, &addresses.iter().take(most).map(record).collect::<Vec<_>>())
    }

    /// An answer with a name.
    pub(crate) fn name(&self, name: &str) -> Vec<u8> {
        match write_name(name) {
            Some(bytes) => self.reply(0, &[(TYPE_PTR, bytes)]),
            None => self.fault(Fault::Server),
        }
    }

    /// An answer that says why there is none.
    pub(crate) fn fault(&self, fault: Fault) -> Vec<u8> {
        self.reply(fault as u8, &[])
    }

    fn reply(&self, code: u8, records: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let mut reply = reply_header(self.header, code);
        reply[5] = 1;
        reply[7] = u8::try_from(records.len()).unwrap_or(u8::MAX);
        reply.extend_from_slice(self.section);
        for (kind, data) in records {
            reply.extend_from_slice(&NAME_OF_QUESTION);
            reply.extend_from_slice(&kind.to_be_bytes());
            reply.extend_from_slice(&CLASS_IN.to_be_bytes());
            reply.extend_from_slice(&TIME_TO_LIVE.to_be_bytes());
            reply.extend_from_slice(&u16::try_from(data.len()).unwrap_or(u16::MAX).to_be_bytes());
            reply.extend_from_slice(data);
        }
        reply
    }
}

/// The answer to a message that is no question; none when it cannot be answered at all.
pub(crate) fn malformed(message: &[u8]) -> Option<Vec<u8>> {
    let header = message.get(..HEADER_LEN)?;
    // An answer is never answered, lest two responders talk for ever.
    (header[2] & 0x80 == 0).then(|| reply_header(header, Fault::Format as u8))
}

/// Tells whether a message answers the question with the same number.
pub(crate) fn answers(answer: &[u8], question: &[u8]) -> bool {
    answer.len() >= HEADER_LEN && answer.get(..2) == question.get(..2) && answer[2] & 0x80 != 0
}

/// Tells whether an answer says that the server could not, so that another should be asked.
pub(crate) fn is_failure(answer: &[u8]) -> bool {
    answer.get(3).is_some_and(|flags| matches!(flags & 0xf, 2 | 5))
}

fn reply_header(header: &[u8], code: u8) -> Vec<u8> {
    const ANSWER: u8 = 0x80;
    const RECURSION_AVAILABLE: u8 = 0x80;
    let mut reply = vec![0; HEADER_LEN];
    reply[..2].copy_from_slice(&header[..2]);
    // The wish for recursion is repeated.
    reply[2] = ANSWER | (header[2] & 0x79);
    reply[3] = RECURSION_AVAILABLE | code;
    reply
}

/// Reads a name; returns it with the length it takes. A name that refers elsewhere is refused: it is the first.
fn parse_name(bytes: &[u8]) -> Option<(String, usize)> {
    let (mut name, mut at) = (String::new(), 0);
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1;
        if length == 0 {
            return Some((name, at));
        }
        if length > 63 || at + length > 255 {
            return None;
        }
        let label = std::str::from_utf8(bytes.get(at..at + length)?).ok()?;
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(label);
        at += length;
    }
}

fn write_name(name: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
        bytes.push(length);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    (bytes.len() <= 255).then_some(bytes)
}

/// The address in `4.3.2.1.in-addr.arpa`, or in 32 digits and `ip6.arpa`.
fn reversed_address(name: &str) -> Option<IpAddr> {
    let lower = name.to_ascii_lowercase();
    if let Some(digits) = lower.strip_suffix(".ip6.arpa") {
        let digits: Vec<&str> = digits.split('.').collect();
        if digits.len() != 32 || digits.iter().any(|digit| digit.len() != 1) {
            return None;
        }
        let text: String = digits.into_iter().rev().collect();
        return u128::from_str_radix(&text, 16).ok().map(|bits| Ipv6Addr::from_bits(bits).into());
    }
    let reversed: Ipv4Addr = lower.strip_suffix(".in-addr.arpa")?.parse().ok()?;
    Some(Ipv4Addr::from_bits(reversed.to_bits().swap_bytes()).into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn query(name: &str, kind: u16) -> Vec<u8> {
        let mut message = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        message.extend(write_name(name).unwrap());
        message.extend(kind.to_be_bytes());
        message.extend([0, 1]);
        message
    }

    #[test]
    fn questions_are_told_apart() {
        let check = |name: &str, kind: u16, expected: Subject<'_>| {
            let message = query(name, kind);
            assert_eq!(Question::parse(&message).unwrap().subject(), expected);
        };
        check("db", TYPE_A, Subject::Name("db"));
        check("db.net", TYPE_AAAA, Subject::Name("db.net"));
        check("4.3.2.1.in-addr.arpa", TYPE_PTR, Subject::Address([1, 2, 3, 4].into()));
        check("4.3.2.in-addr.arpa", TYPE_PTR, Subject::Name("4.3.2.in-addr.arpa"));
        let six = format!("2.{}0.0.d.f.ip6.arpa", "0.".repeat(27));
        check(&six, TYPE_PTR, Subject::Address("fd00::2".parse().unwrap()));
        check("2.0.ip6.arpa", TYPE_PTR, Subject::Name("2.0.ip6.arpa"));
    }

    #[test]
    fn each_question_has_its_kind_of_address() {
        let (four, six): (IpAddr, IpAddr) = ("10.0.0.2".parse().unwrap(), "fd00::2".parse().unwrap());
        for (kind, expected) in [(TYPE_A, [true, false]), (TYPE_AAAA, [false, true]), (TYPE_ANY, [true; 2])] {
            let message = query("db", kind);
            let question = Question::parse(&message).unwrap();
            assert_eq!([question.wants(&four), question.wants(&six)], expected, "{kind}");
        }
        let message = query("db", TYPE_AAAA);
        let answer = Question::parse(&message).unwrap().addresses(&[six]);
        assert_eq!(answer[message.len()..][..4], [0xc0, 12, 0, 28]);
        assert_eq!(answer[message.len() + 10..][..4], [0, 16, 0xfd, 0]);
        assert_eq!(answer.last(), Some(&2));
    }

    #[test]
    fn an_answer_repeats_the_question() {
        let message = query("db", TYPE_A);
        let question = Question::parse(&message).unwrap();
        let answer = question.addresses(&[[10, 0, 0, 2].into()]);
        assert!(answers(&answer, &message));
        assert_eq!(answer[2..8], [0x81, 0x80, 0, 1, 0, 1]);
        assert_eq!(answer[HEADER_LEN..message.len()], message[HEADER_LEN..]);
        assert_eq!(answer[message.len()..], [0xc0, 12, 0, 1, 0, 1, 0, 0, 2, 88, 0, 4, 10, 0, 0, 2]);
        assert!(is_failure(&question.fault(Fault::Server)));
        assert!(!is_failure(&answer));
    }

    #[test]
    fn what_is_no_question_is_refused_once() {
        let mut message = query("db", TYPE_A);
        message[5] = 2;
        assert_eq!(Question::parse(&message), None);
        assert_eq!(malformed(&message).unwrap()[3], 0x81);
        message[2] |= 0x80;
        assert_eq!(malformed(&message), None);
        assert_eq!(malformed(&message[..8]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            if let Some(question) = Question::parse(&bytes) {
                let _ = question.subject();
                prop_assert!(answers(&question.fault(Fault::Server), &bytes));
            }
            let _ = malformed(&bytes);
        }

        #[test]
        fn names_survive(labels in prop::collection::vec("[a-z0-9_-]{1,20}", 1..6)) {
            let name = labels.join(".");
            let bytes = write_name(&name).unwrap();
            prop_assert_eq!(parse_name(&bytes), Some((name, bytes.len())));
        }
    }
}
