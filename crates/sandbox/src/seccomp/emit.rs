//! From ranges to a program: a branch for each architecture, a binary search tree in each.

use super::profile::{Action, Architecture, DOMAIN_COUNT, Range};
use crate::sys::Instruction;

pub(super) const LOAD_WORD: u16 = 0x20;
pub(super) const JUMP: u16 = 0x05;
pub(super) const JUMP_IF_EQUAL: u16 = 0x15;
pub(super) const JUMP_IF_AT_LEAST: u16 = 0x35;
pub(super) const JUMP_IF_GREATER: u16 = 0x25;
const JUMP_IF_ANY_BIT: u16 = 0x45;
pub(super) const MASK: u16 = 0x54;
pub(super) const RETURN: u16 = 0x06;

pub(super) const OFFSET_NUMBER: u32 = 0;
pub(super) const OFFSET_ARCHITECTURE: u32 = 4;
/// Lower half of the first argument. For the calls that are looked at, the kernel reads no more of it.
pub(super) const OFFSET_FIRST_ARGUMENT: u32 = if cfg!(target_endian = "little") { 16 } else { 20 };

const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;
const KILL_THREAD: u32 = 0;
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

pub(super) const fn instruction(code: u16, operand: u32) -> Instruction {
    Instruction { code, jump_true: 0, jump_false: 0, operand }
}

pub(super) const fn branch(code: u16, operand: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction { code, jump_true, jump_false, operand }
}

/// A program under construction: written once from front to back, with jumps patched when their end is known.
#[derive(Default)]
pub(super) struct Code(Vec<Instruction>);

/// Makes the whole filter; sections of one architecture stand together, the one without a marking bit first.
pub(super) fn filter(sections: &[(Architecture, Vec<Range>)]) -> Vec<Instruction> {
    let mut code = Code(Vec::with_capacity(1024));
    code.push(instruction(LOAD_WORD, OFFSET_ARCHITECTURE));
    let mut rest = sections;
    while let Some((first, _)) = rest.first() {
        let audit = first.audit;
        let count = rest.iter().take_while(|(architecture, _)| architecture.audit == audit).count();
        let (same, others) = rest.split_at(count);
        code.push(branch(JUMP_IF_EQUAL, audit, 1, 0));
        let past = code.push(instruction(JUMP, 0));
        code.architecture(same);
        code.land(past);
        rest = others;
    }
    code.push(instruction(RETURN, KILL_THREAD));
    code.0
}

impl Code {
    /// Appends an instruction and returns its place.
    pub(super) fn push(&mut self, instruction: Instruction) -> usize {
        self.0.push(instruction);
        self.0.len() - 1
    }

    /// How many instructions a jump at `place` skips to get here.
    fn distance_from(&self, place: usize) -> u32 {
        u32::try_from(self.0.len() - place - 1).expect("a program has less than 2^32 instructions")
    }

    /// How many instructions there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn finish(self) -> Vec<Instruction> {
        self.0
    }

    /// Lets the jump at `place` lead here.
    pub(super) fn land(&mut self, place: usize) {
        self.0[place].operand = self.distance_from(place);
    }

    /// Lets one way of the branch at `place` lead here; it is near.
    pub(super) fn land_branch(&mut self, place: usize, holds: bool) {
        let distance = u8::try_from(self.distance_from(place));
        let distance =
            distance.expect("a rule has six conditions at most, each of seven instructions at most");
        let branch = &mut self.0[place];
        *(if holds { &mut branch.jump_true } else { &mut branch.jump_false }) = distance;
    }

    /// Looks at the number, with one tree for all marking bits.
    fn architecture(&mut self, sections: &[(Architecture, Vec<Range>)]) {
        let ranges: Vec<Range> = sections
            .iter()
            .flat_map(|(architecture, ranges)| {
                ranges.iter().map(|range| Range {
                    first: range.first | architecture.marking_bit,
                    action: range.action,
                })
            })
            .collect();
        self.push(instruction(LOAD_WORD, OFFSET_NUMBER));
        self.tree(&ranges, &mut Self::leaf);
    }

    /// A search for the range of the loaded number; there is at least one. A leaf takes seven instructions at most.
    pub(super) fn tree<Action: Copy>(
        &mut self,
        ranges: &[Range<Action>],
        leaf: &mut impl FnMut(&mut Self, Action),
    ) {
        let (lower, upper) = ranges.split_at(ranges.len() / 2);
        let [first, ..] = upper else {
            return;
        };
        if lower.is_empty() {
            return leaf(self, first.action);
        }
        // A short jump reaches 255 instructions; so few ranges never need more.
        if lower.len() <= 24 {
            let jump = self.push(branch(JUMP_IF_AT_LEAST, first.first, 0, 0));
            self.tree(lower, leaf);
            let distance = u8::try_from(self.distance_from(jump));
            self.0[jump].jump_true = distance.expect("24 ranges take less than 256 instructions");
        } else {
            self.push(branch(JUMP_IF_AT_LEAST, first.first, 0, 1));
            let jump = self.push(instruction(JUMP, 0));
            self.tree(lower, leaf);
            self.land(jump);
        }
        self.tree(upper, leaf);
    }

    /// Answers.
    fn leaf(&mut self, action: Action) {
        const ALLOWED: Instruction = instruction(RETURN, ALLOW);
        const DENIED: Instruction = instruction(RETURN, ERRNO | EPERM);
        const ARGUMENT: Instruction = instruction(LOAD_WORD, OFFSET_FIRST_ARGUMENT);
        match action {
            Action::Allow => self.0.push(ALLOWED),
            Action::Deny => self.0.push(DENIED),
            Action::Unknown => self.0.push(instruction(RETURN, ERRNO | ENOSYS)),
            Action::AllowWithout(flags) => {
                let any = branch(JUMP_IF_ANY_BIT, flags, 1, 0);
                self.0.extend([ARGUMENT, any, ALLOWED, DENIED]);
            }
            Action::AllowExcept(value) => {
                let equal = branch(JUMP_IF_EQUAL, value, 1, 0);
                self.0.extend([ARGUMENT, equal, ALLOWED, DENIED]);
            }
            Action::AllowOnly(values) => {
                self.push(ARGUMENT);
                for (after, value) in (1..=DOMAIN_COUNT).rev().zip(values) {
                    self.push(branch(JUMP_IF_EQUAL, *value, after, 0));
                }
                self.0.extend([DENIED, ALLOWED]);
            }
        }
    }
}
