//! Runs a filter as the kernel would, for tests.

use super::profile::Action;
use crate::sys::Instruction;

/// A system call that a filter looks at.
pub(super) struct Call {
    pub(super) architecture: u32,
    pub(super) number: u32,
    pub(super) arguments: [u64; 6],
}

impl Call {
    /// The kernel's `struct seccomp_data`.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(self.number.to_ne_bytes());
        bytes.extend(self.architecture.to_ne_bytes());
        bytes.extend(0_u64.to_ne_bytes());
        for argument in self.arguments {
            bytes.extend(argument.to_ne_bytes());
        }
        bytes
    }
}

/// Returns what the filter answers; panics on what the kernel would not accept.
pub(super) fn run(filter: &[Instruction], call: &Call) -> u32 {
    assert!(filter.len() <= 4096, "too long for the kernel");
    let data = call.bytes();
    let mut accumulator = 0_u32;
    let mut at = 0;
    loop {
        let instruction = filter[at];
        at += 1;
        let operand = instruction.operand;
        let holds = match instruction.code {
            0x20 => {
                let place = operand as usize;
                let word = data[place..place + 4].try_into().expect("four bytes");
                accumulator = u32::from_ne_bytes(word);
                continue;
            }
            0x05 => {
                at += operand as usize;
                continue;
            }
            0x06 => return operand,
            0x54 => {
                accumulator &= operand;
                continue;
            }
            0x15 => accumulator == operand,
            0x25 => accumulator > operand,
            0x35 => accumulator >= operand,
            0x45 => accumulator & operand != 0,
            code => panic!("unknown instruction {code:#x}"),
        };
        at += usize::from(if holds { instruction.jump_true } else { instruction.jump_false });
    }
}

/// What an action means for a first argument.
pub(super) fn apply(action: Action, argument: u64) -> u32 {
    let low = (argument & 0xffff_ffff) as u32;
    let allow_if = |allowed: bool| if allowed { 0x7fff_0000 } else { 0x0005_0001 };
    match action {
        Action::Allow => allow_if(true),
        Action::Deny => allow_if(false),
        Action::Unknown => 0x0005_0026,
        Action::AllowWithout(flags) => allow_if(low & flags == 0),
        Action::AllowExcept(value) => allow_if(low != value),
        Action::AllowOnly(values) => allow_if(values.contains(&low)),
    }
}
