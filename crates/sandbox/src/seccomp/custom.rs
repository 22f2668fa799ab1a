//! From a profile in Docker's JSON format to the rules of each architecture.
//!
//! Where several rules fit one call, one without conditions counts before any other, then those that ask for equality
//! alone, then the first.

use std::collections::BTreeMap;

use super::compile;
use super::document::{self, Argument, Condition as Where, Document, Group, KernelVersion};
use super::profile::{ARCHITECTURES, Architecture};
use super::table::{CALLS, OTHERS};
use crate::capability::Capabilities;
use crate::spec::{Filter, Seccomp};

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// It is too large to be one.
    #[error("the seccomp profile has more than {} bytes", document::LONGEST_PROFILE_BYTES)]
    TooLarge,
    /// It is no profile.
    #[error("Decoding seccomp profile failed: {0}")]
    Decode(String),
    /// Architectures are said in two ways.
    #[error(
        "both 'architectures' and 'archMap' are specified in the seccomp profile, use either 'architectures' or 'archMap'"
    )]
    BothArchitectures,
    /// Calls are named in two ways.
    #[error("both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'")]
    BothNames,
    /// An action, operator or architecture is none.
    #[error("string {word} is not a valid {kind} for seccomp")]
    Word {
        /// What stands there.
        word: String,
        /// What it should be.
        kind: &'static str,
    },
    /// A flag is none.
    #[error("seccomp flag {0} is not known")]
    Flag(String),
    /// An architecture is of the other byte order.
    #[error("error adding architecture {0} to seccomp filter: it has another byte order than this machine")]
    ByteOrder(String),
    /// A call without a name.
    #[error("empty string is not a valid syscall")]
    NoName,
    /// An error number is none.
    #[error("error adding seccomp filter rule for {call}: errnoRet {number} is out of range")]
    Errno {
        /// The call, or the default.
        call: String,
        /// The number.
        number: u64,
    },
    /// A call has fewer arguments.
    #[error(
        "error creating seccomp syscall condition for syscall {call}: syscalls only have up to 6 arguments ({index} given)"
    )]
    Index {
        /// The call.
        call: String,
        /// Which argument was asked for.
        index: u64,
    },
    /// Two answers to the same arguments.
    #[error(
        "error adding seccomp rule for syscall {0}: there is one for the same arguments with another action"
    )]
    Conflict(String),
    /// Nobody is there to be notified.
    #[error("SCMP_ACT_NOTIFY is not supported: nothing listens")]
    Notify,
    /// The kernel takes so many instructions.
    #[error("the seccomp profile has more rules than a filter of the kernel can hold")]
    TooLong,
}

/// What is compared of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Greater,
    AtLeast,
    Less,
    AtMost,
    /// Equal in the bits of the mask.
    Masked(u64),
}

/// What must hold for an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) argument: u8,
    pub(super) comparison: Comparison,
    pub(super) value: u64,
}

/// An answer, where all conditions hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) conditions: Vec<Condition>,
    pub(super) answer: u32,
}

/// The rules of one architecture.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) architecture: Architecture,
    pub(super) rules: BTreeMap<u32, Vec<Rule>>,
    /// The last call that the profile names, where those after it are said not to exist.
    pub(super) newest: Option<u32>,
}

pub(super) const ALLOW: u32 = 0x7fff_0000;
const LOG: u32 = 0x7ffc_0000;
const TRACE: u32 = 0x7ff0_0000;
const TRAP: u32 = 0x0003_0000;
pub(super) const ERRNO: u32 = 0x0005_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const EPERM: u64 = 1;
pub(super) const ENOSYS: u32 = 38;
/// Above all that the kernel takes in one filter.
const MOST_RULES: usize = 4096;

/// Reads a profile and makes the filter of a container with these capabilities, on a kernel of this release.
pub(super) fn filter(text: &str, capabilities: Capabilities, release: &str) -> Result<Seccomp, ProfileError> {
    let document = document::read(text)?;
    if document.default_action.is_empty() && document.syscalls.is_empty() {
        return Ok(Seccomp::Unconfined);
    }
    let names = architectures(&document)?;
    let architectures = on_this_machine(&names)?;
    let default = answer(&document.default_action, document.default_errno, "the default action")?;
    let flags = flags(&document.flags)?;
    let place = Place { capabilities, kernel: KernelVersion::of_release(release) };
    let groups = place.groups(&document.syscalls)?;
    let permissive =
        matches!(document.default_action.as_str(), "SCMP_ACT_ALLOW" | "SCMP_ACT_LOG" | "SCMP_ACT_TRACE");
    let hides_newer = !permissive && document.default_errno != Some(ENOSYS.into());
    let mut sections = Vec::new();
    for architecture in architectures {
        sections.push(section(architecture, &groups, default, hides_newer)?);
    }
    let program = compile::program(&sections, default).ok_or(ProfileError::TooLong)?;
    Ok(Seccomp::Custom(Filter { program, flags }))
}

/// The names of the architectures that it is for, beside the machine's own.
fn architectures(document: &Document) -> Result<Vec<String>, ProfileError> {
    match (document.architectures.is_empty(), document.architecture_map.is_empty()) {
        (false, false) => Err(ProfileError::BothArchitectures),
        (false, true) => Ok(document.architectures.clone()),
        _ => {
            let own = document.architecture_map.iter().find(|family| family.architecture == OWN.0);
            Ok(own.map(|family| family.sub_architectures.clone()).unwrap_or_default())
        }
    }
}

/// The machine's name in profiles, and in their conditions.
const OWN: (&str, &str) =
    if cfg!(target_arch = "x86_64") { ("SCMP_ARCH_X86_64", "amd64") } else { ("SCMP_ARCH_AARCH64", "arm64") };

/// Those whose programs run here, the machine's own always among them.
fn on_this_machine(names: &[String]) -> Result<Vec<Architecture>, ProfileError> {
    const BY_COLUMN: [&str; 5] = ["X86_64", "X32", "X86", "AARCH64", "ARM"];
    const LITTLE: [&str; 6] = ["MIPSEL", "MIPSEL64", "MIPSEL64N32", "PPC64LE", "RISCV64", "LOONGARCH64"];
    const BIG: [&str; 7] = ["MIPS", "MIPS64", "MIPS64N32", "PPC", "PPC64", "S390", "S390X"];
    let mut columns = vec![ARCHITECTURES[0].column];
    for name in names {
        let short = name.strip_prefix("SCMP_ARCH_").unwrap_or_default();
        if let Some(column) = BY_COLUMN.iter().position(|known| *known == short) {
            columns.push(column);
        } else if BIG.contains(&short) {
            return Err(ProfileError::ByteOrder(name.clone()));
        } else if !LITTLE.contains(&short) {
            return Err(ProfileError::Word { word: name.clone(), kind: "arch" });
        }
    }
    Ok(ARCHITECTURES.into_iter().filter(|architecture| columns.contains(&architecture.column)).collect())
}

fn flags(names: &[String]) -> Result<u32, ProfileError> {
    let mut flags = 0;
    for name in names {
        flags |= match name.as_str() {
            // there is one thread when the filter is installed
            "SECCOMP_FILTER_FLAG_TSYNC" => 0,
            "SECCOMP_FILTER_FLAG_LOG" => 2,
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => 4,
            _ => return Err(ProfileError::Flag(name.clone())),
        };
    }
    Ok(flags)
}

/// What the kernel is told to answer.
fn answer(action: &str, errno: Option<u64>, call: &str) -> Result<u32, ProfileError> {
    let data = |most: u64| match errno.unwrap_or(EPERM) {
        number if number <= most => Ok(u32::try_from(number).unwrap_or(u32::MAX)),
        number => Err(ProfileError::Errno { call: call.to_owned(), number }),
    };
    Ok(match action {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => compile::KILL_THREAD,
        "SCMP_ACT_KILL_PROCESS" => KILL_PROCESS,
        "SCMP_ACT_TRAP" => TRAP,
        "SCMP_ACT_ERRNO" => ERRNO | data(4094)?,
        "SCMP_ACT_TRACE" => TRACE | data(0xffff)?,
        "SCMP_ACT_LOG" => LOG,
        "SCMP_ACT_ALLOW" => ALLOW,
        "SCMP_ACT_NOTIFY" => return Err(ProfileError::Notify),
        _ => return Err(ProfileError::Word { word: action.to_owned(), kind: "action" }),
    })
}

/// What the conditions of a profile are about.
struct Place {
    capabilities: Capabilities,
    kernel: KernelVersion,
}

impl Place {
    /// The groups that count here.
    fn groups<'a>(&self, all: &'a [Group]) -> Result<Vec<Checked<'a>>, ProfileError> {
        let mut groups = Vec::new();
        for group in all {
            if !group.name.is_empty() && !group.names.is_empty() {
                return Err(ProfileError::BothNames);
            }
            if !self.excludes(&group.excludes) && self.includes(&group.includes) {
                groups.push(Checked::new(group)?);
            }
        }
        Ok(groups)
    }

    fn holds(&self, name: &str) -> bool {
        name.strip_prefix("CAP_").filter(|short| *short != "ALL").is_some_and(|short| {
            Capabilities::from_name(short).is_some_and(|capability| self.capabilities.contains(capability))
        })
    }

    fn excludes(&self, condition: &Where) -> bool {
        condition.architectures.iter().any(|name| name == OWN.1)
            || condition.capabilities.iter().any(|name| self.holds(name))
            || condition.least_kernel.is_some_and(|least| self.kernel >= least)
    }

    fn includes(&self, condition: &Where) -> bool {
        (condition.architectures.is_empty() || condition.architectures.iter().any(|name| name == OWN.1))
            && condition.capabilities.iter().all(|name| self.holds(name))
            && condition.least_kernel.is_none_or(|least| self.kernel >= least)
    }
}

/// A group whose words are understood.
struct Checked<'a> {
    names: &'a [String],
    answer: u32,
    args: &'a [Argument],
    comparisons: Vec<Comparison>,
}

impl<'a> Checked<'a> {
    fn new(group: &'a Group) -> Result<Self, ProfileError> {
        let names =
            if group.name.is_empty() { group.names.as_slice() } else { std::slice::from_ref(&group.name) };
        if names.iter().any(String::is_empty) {
            return Err(ProfileError::NoName);
        }
        let call = format!("syscall {}", names.first().map_or("", String::as_str));
        let answer = answer(&group.action, group.errno, &call)?;
        let comparisons = group.args.iter().map(comparison).collect::<Result<_, _>>()?;
        Ok(Self { names, answer, args: &group.args, comparisons })
    }

    /// The conditions of its rules: one rule, or one for each where an argument is looked at twice.
    fn alternatives(&self, call: &str) -> Result<Vec<Vec<Condition>>, ProfileError> {
        let mut conditions: Vec<Condition> = Vec::new();
        let mut twice = false;
        for (argument, comparison) in self.args.iter().zip(&self.comparisons) {
            let number = u8::try_from(argument.index).ok().filter(|number| *number < 6);
            let place =
                number.ok_or_else(|| ProfileError::Index { call: call.to_owned(), index: argument.index })?;
            twice |= conditions.iter().any(|known| known.argument == place);
            let value = match comparison {
                Comparison::Masked(mask) => argument.second_value & mask,
                _ => argument.value,
            };
            conditions.push(Condition { argument: place, comparison: *comparison, value });
        }
        Ok(if twice { conditions.into_iter().map(|one| vec![one]).collect() } else { vec![conditions] })
    }
}

fn comparison(argument: &Argument) -> Result<Comparison, ProfileError> {
    Ok(match argument.op.as_str() {
        "SCMP_CMP_EQ" => Comparison::Equal,
        "SCMP_CMP_NE" => Comparison::NotEqual,
        "SCMP_CMP_GT" => Comparison::Greater,
        "SCMP_CMP_GE" => Comparison::AtLeast,
        "SCMP_CMP_LT" => Comparison::Less,
        "SCMP_CMP_LE" => Comparison::AtMost,
        "SCMP_CMP_MASKED_EQ" => Comparison::Masked(argument.value),
        word => return Err(ProfileError::Word { word: word.to_owned(), kind: "operator" }),
    })
}

/// The rules of an architecture; names that no architecture has are those of other kernels.
fn section(
    architecture: Architecture,
    groups: &[Checked<'_>],
    default: u32,
    hides_newer: bool,
) -> Result<Section, ProfileError> {
    let mut rules = BTreeMap::new();
    let mut newest = None;
    for group in groups {
        for name in group.names {
            let Some(numbers) = numbers(name) else { continue };
            let number = numbers[architecture.column];
            if number != u32::MAX && number > 0 {
                newest = newest.max(Some(number));
            }
            if group.answer == default {
                continue;
            }
            for conditions in group.alternatives(name)? {
                let through = multiplexed(architecture, name).filter(|_| conditions.is_empty());
                let rule = Rule { conditions, answer: group.answer };
                if let Some((number, which)) = through {
                    let only = Condition { argument: 0, comparison: Comparison::Equal, value: which };
                    add(&mut rules, number, Rule { conditions: vec![only], answer: group.answer }, name)?;
                }
                if number != u32::MAX {
                    add(&mut rules, number, rule, name)?;
                }
            }
        }
    }
    for rules in rules.values_mut() {
        let only_equal = |rule: &Rule| rule.conditions.iter().all(|c| c.comparison == Comparison::Equal);
        rules.sort_by_key(|rule| !only_equal(rule));
    }
    Ok(Section { architecture, rules, newest: newest.filter(|_| hides_newer) })
}

fn add(
    rules: &mut BTreeMap<u32, Vec<Rule>>,
    number: u32,
    rule: Rule,
    call: &str,
) -> Result<(), ProfileError> {
    let known = rules.entry(number).or_default();
    if known.iter().any(|known| known.conditions.is_empty() || *known == rule) {
        return Ok(());
    }
    if rule.conditions.is_empty() {
        known.clear();
    }
    if known.iter().any(|known| known.conditions == rule.conditions) {
        return Err(ProfileError::Conflict(call.to_owned()));
    }
    if known.len() == MOST_RULES {
        return Err(ProfileError::TooLong);
    }
    known.push(rule);
    Ok(())
}

fn numbers(name: &str) -> Option<[u32; 5]> {
    let of_profile = CALLS.iter().find(|call| call.name == name).map(|call| call.numbers);
    of_profile.or_else(|| OTHERS.iter().find(|(known, _)| *known == name).map(|(_, numbers)| *numbers))
}

/// On 32-bit x86 these can be made through a call that is told which one is meant: its number, and that.
fn multiplexed(architecture: Architecture, name: &str) -> Option<(u32, u64)> {
    const X86: usize = 2;
    const SOCKETCALL: (u32, [&str; 20]) = (
        102,
        [
            "socket",
            "bind",
            "connect",
            "listen",
            "accept",
            "getsockname",
            "getpeername",
            "socketpair",
            "send",
            "recv",
            "sendto",
            "recvfrom",
            "shutdown",
            "setsockopt",
            "getsockopt",
            "sendmsg",
            "recvmsg",
            "accept4",
            "recvmmsg",
            "sendmmsg",
        ],
    );
    const IPC: (u32, [(&str, u64); 12]) = (
        117,
        [
            ("semop", 1),
            ("semget", 2),
            ("semctl", 3),
            ("semtimedop", 4),
            ("msgsnd", 11),
            ("msgrcv", 12),
            ("msgget", 13),
            ("msgctl", 14),
            ("shmat", 21),
            ("shmdt", 22),
            ("shmget", 23),
            ("shmctl", 24),
        ],
    );
    if architecture.column != X86 {
        return None;
    }
    let socket = (1..).zip(SOCKETCALL.1).find(|(_, known)| *known == name);
    socket
        .map(|(which, _)| (SOCKETCALL.0, which))
        .or_else(|| IPC.1.iter().find(|(known, _)| *known == name).map(|(_, which)| (IPC.0, *which)))
}
