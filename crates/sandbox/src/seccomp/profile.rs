//! From the table of calls to ranges of numbers with one answer each.

use super::table::CALLS;
use crate::capability::Capabilities;

/// A call of the table.
pub(super) struct Call {
    /// Its name.
    pub(super) name: &'static str,
    /// When it is allowed.
    pub(super) when: When,
    /// Its numbers, by column.
    pub(super) numbers: [u32; 5],
}

/// When a call is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// In any container.
    Always,
    /// If the container holds one of these capabilities.
    Holds(u64),
    /// Without new namespaces, unless it holds `CAP_SYS_ADMIN`.
    Clone,
    /// If it holds `CAP_SYS_ADMIN`; else it "does not exist", so that programs fall back to `clone`.
    Clone3,
    /// For execution domains that do not weaken the program.
    Personality,
    /// For all address families but that of virtual machine sockets.
    Socket,
}

/// What the filter answers to a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Go ahead.
    Allow,
    /// "Operation not permitted".
    Deny,
    /// "Function not implemented".
    Unknown,
    /// It depends on the first argument, a set of flags.
    AllowWithout(u32),
    /// It depends on the first argument: all but this value.
    AllowExcept(u32),
    /// It depends on the first argument: these values only.
    AllowOnly(&'static [u32; DOMAIN_COUNT as usize]),
}

/// Flags of `clone` that make namespaces.
const NAMESPACE_FLAGS: u32 = 0x7e02_0000;
/// Address family of virtual machine sockets.
const AF_VSOCK: u32 = 40;
/// Linux, Linux with 32-bit uname, each also with System V layout; and the question for the present one.
const DOMAINS: &[u32; DOMAIN_COUNT as usize] = &[0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];
/// How many those are.
pub(super) const DOMAIN_COUNT: u8 = 5;

const SYS_ADMIN: u64 = 1 << 21;

/// Newest call that the profile knows about, and so denies on purpose: those after it are said not to exist.
const NEWEST: u32 = 466;

/// An architecture whose programs run in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Architecture {
    /// The kernel's name for it.
    pub(super) audit: u32,
    /// What all of its numbers have in common.
    pub(super) marking_bit: u32,
    /// Its column in the table.
    pub(super) column: usize,
}

/// Those of this machine; the marked ones after the unmarked ones.
#[cfg(target_arch = "x86_64")]
pub(super) const ARCHITECTURES: [Architecture; 3] = [
    Architecture { audit: 0xc000_003e, marking_bit: 0, column: 0 },
    Architecture { audit: 0xc000_003e, marking_bit: 0x4000_0000, column: 1 },
    Architecture { audit: 0x4000_0003, marking_bit: 0, column: 2 },
];

/// Those of this machine.
#[cfg(target_arch = "aarch64")]
pub(super) const ARCHITECTURES: [Architecture; 2] = [
    Architecture { audit: 0xc000_00b7, marking_bit: 0, column: 3 },
    Architecture { audit: 0x4000_0028, marking_bit: 0, column: 4 },
];

/// Numbers from `first` to the next range, with one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range<A = Action> {
    pub(super) first: u32,
    pub(super) action: A,
}

/// Places in the table by ascending number, for each column; sorted by the compiler.
static ORDER: [[u16; CALLS.len()]; 5] = [order(0), order(1), order(2), order(3), order(4)];

const fn order(column: usize) -> [u16; CALLS.len()] {
    let mut order = [0; CALLS.len()];
    let mut place = 0;
    while place < CALLS.len() {
        let number = CALLS[place].numbers[column];
        let mut hole = place;
        while hole > 0 && CALLS[order[hole - 1] as usize].numbers[column] > number {
            order[hole] = order[hole - 1];
            hole -= 1;
        }
        order[hole] = to_u16(place);
        place += 1;
    }
    order
}

/// A place of the table, which is far shorter.
#[expect(clippy::cast_possible_truncation, reason = "checked here, where the compiler works it out")]
const fn to_u16(place: usize) -> u16 {
    assert!(place <= u16::MAX as usize);
    place as u16
}

/// All ranges of one architecture, from 0 on, without gaps.
pub(super) fn ranges(column: usize, capabilities: Capabilities) -> Vec<Range> {
    let newest = newest(column);
    let mut ranges = vec![Range { first: 0, action: Action::Deny }];
    let mut next = 0;
    for place in &ORDER[column] {
        let call = &CALLS[usize::from(*place)];
        let number = call.numbers[column];
        if number == u32::MAX {
            break;
        }
        let action = action(call.when, capabilities);
        if number > next {
            push(&mut ranges, next, gap(next, newest));
            if next <= newest && number > newest + 1 {
                push(&mut ranges, newest + 1, Action::Unknown);
            }
        }
        push(&mut ranges, number, action);
        next = number + 1;
    }
    if next <= newest {
        push(&mut ranges, next, Action::Deny);
    }
    push(&mut ranges, next.max(newest + 1), Action::Unknown);
    ranges
}

/// Newest number that is denied on purpose; x32 has some of its own after the common ones.
fn newest(column: usize) -> u32 {
    if column == 1 { 547 } else { NEWEST }
}

fn gap(number: u32, newest: u32) -> Action {
    if number > newest { Action::Unknown } else { Action::Deny }
}

fn push(ranges: &mut Vec<Range>, first: u32, action: Action) {
    match ranges.last_mut() {
        Some(last) if last.action == action => {}
        Some(last) if last.first == first => {
            last.action = action;
            merge_last(ranges);
        }
        _ => ranges.push(Range { first, action }),
    }
}

fn merge_last(ranges: &mut Vec<Range>) {
    if let [.., before, last] = ranges.as_slice()
        && before.action == last.action
    {
        ranges.pop();
    }
}

fn action(when: When, capabilities: Capabilities) -> Action {
    let holds = |any: u64| capabilities.bits() & any != 0;
    match when {
        When::Always => Action::Allow,
        When::Holds(any) if holds(any) => Action::Allow,
        When::Holds(_) => Action::Deny,
        When::Clone | When::Clone3 if holds(SYS_ADMIN) => Action::Allow,
        When::Clone => Action::AllowWithout(NAMESPACE_FLAGS),
        When::Clone3 => Action::Unknown,
        When::Personality => Action::AllowOnly(DOMAINS),
        When::Socket => Action::AllowExcept(AF_VSOCK),
    }
}

/// The answer to a number, looked up the plain way.
#[cfg(test)]
pub(super) fn action_of(ranges: &[Range], number: u32) -> Action {
    let after = ranges.partition_point(|range| range.first <= number);
    ranges[after - 1].action
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_each_call_and_number_once() {
        let mut names: Vec<&str> = CALLS.iter().map(|call| call.name).collect();
        names.sort_unstable();
        let before = names.len();
        names.dedup();
        assert_eq!(names.len(), before);
        for column in 0..5 {
            let mut numbers: Vec<u32> =
                CALLS.iter().map(|call| call.numbers[column]).filter(|number| *number != u32::MAX).collect();
            numbers.sort_unstable();
            let before = numbers.len();
            numbers.dedup();
            assert_eq!(numbers.len(), before, "column {column}");
            assert!(before > 250, "column {column} has {before} calls");
        }
    }

    #[test]
    fn ranges_are_ordered_and_differ_from_their_neighbours() {
        for column in 0..5 {
            let ranges = ranges(column, Capabilities::DOCKER_DEFAULT);
            assert_eq!(ranges[0].first, 0);
            for pair in ranges.windows(2) {
                assert!(pair[0].first < pair[1].first, "{pair:?}");
                assert_ne!(pair[0].action, pair[1].action, "{pair:?}");
            }
            assert_eq!(ranges.last().map(|range| range.action), Some(Action::Unknown));
        }
    }
}
