//! From the rules of a profile to a program: numbers by a search tree, then the conditions of those that have some.

use super::custom::{Comparison, Condition, ENOSYS, ERRNO, Rule, Section};
use super::emit::{
    Code, JUMP, JUMP_IF_AT_LEAST, JUMP_IF_EQUAL, JUMP_IF_GREATER, LOAD_WORD, MASK, OFFSET_ARCHITECTURE,
    OFFSET_FIRST_ARGUMENT, OFFSET_NUMBER, RETURN, branch, instruction,
};
use super::profile::Range;
use crate::sys::Instruction;

pub(super) const KILL_THREAD: u32 = 0;
/// Longest program that the kernel takes.
const MOST_INSTRUCTIONS: usize = 4096;
/// What all numbers of the x32 architecture have in common.
const X32_BIT: u32 = 0x4000_0000;
const X86_64: u32 = 0xc000_003e;

/// What is done with a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome<'a> {
    Answer(u32),
    Look(&'a [Rule]),
}

/// Makes the whole filter, if the kernel can hold it; sections of one architecture stand together.
pub(super) fn program(sections: &[Section], default: u32) -> Option<Vec<Instruction>> {
    let mut code = Code::default();
    code.push(instruction(LOAD_WORD, OFFSET_ARCHITECTURE));
    let mut rest = sections;
    while let Some(first) = rest.first() {
        let audit = first.architecture.audit;
        let (same, others) =
            rest.split_at(rest.iter().take_while(|section| section.architecture.audit == audit).count());
        code.push(branch(JUMP_IF_EQUAL, audit, 1, 0));
        let past = code.push(instruction(JUMP, 0));
        architecture(&mut code, same, default);
        code.land(past);
        rest = others;
        if code.len() > MOST_INSTRUCTIONS {
            return None;
        }
    }
    code.push(instruction(RETURN, KILL_THREAD));
    (code.len() <= MOST_INSTRUCTIONS).then(|| code.finish())
}

fn architecture(code: &mut Code, sections: &[Section], default: u32) {
    let mut ranges = Vec::new();
    for section in sections {
        of_section(&mut ranges, section, default);
    }
    if let [section] = sections
        && section.architecture.audit == X86_64
    {
        // what is not asked for is not let in by its numbers; the last one is what tracers put in a call's place
        push(&mut ranges, X32_BIT, Outcome::Answer(KILL_THREAD));
        push(&mut ranges, u32::MAX, Outcome::Answer(default));
    }
    code.push(instruction(LOAD_WORD, OFFSET_NUMBER));
    let wide = sections.iter().all(|section| section.architecture.audit & 0x8000_0000 != 0);
    let mut looks = Vec::new();
    code.tree(&ranges, &mut |code, outcome| match outcome {
        Outcome::Answer(answer) => drop(code.push(instruction(RETURN, answer))),
        Outcome::Look(rules) => looks.push((code.push(instruction(JUMP, 0)), rules)),
    });
    for (place, rules) in looks {
        code.land(place);
        for rule in rules {
            self::rule(code, rule, wide);
        }
        code.push(instruction(RETURN, default));
    }
}

fn of_section<'a>(ranges: &mut Vec<Range<Outcome<'a>>>, section: &'a Section, default: u32) {
    let marked = |number: u32| number | section.architecture.marking_bit;
    push(ranges, marked(0), Outcome::Answer(default));
    for (number, rules) in &section.rules {
        let outcome = match rules.as_slice() {
            [rule] if rule.conditions.is_empty() => Outcome::Answer(rule.answer),
            rules => Outcome::Look(rules),
        };
        push(ranges, marked(*number), outcome);
        push(ranges, marked(number + 1), Outcome::Answer(default));
    }
    if let Some(newest) = section.newest {
        push(ranges, marked(newest + 1), Outcome::Answer(ERRNO | ENOSYS));
    }
}

/// Begins a range; it takes the place of one that begins there too.
fn push<'a>(ranges: &mut Vec<Range<Outcome<'a>>>, first: u32, action: Outcome<'a>) {
    ranges.pop_if(|last| last.first == first);
    if ranges.last().is_none_or(|last| last.action != action) {
        ranges.push(Range { first, action });
    }
}

/// Where an instruction jumps to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Next,
    /// The condition holds.
    Pass,
    /// It does not: past the rule.
    Fail,
}

fn rule(code: &mut Code, rule: &Rule, wide: bool) {
    let mut failing = Vec::new();
    for condition in &rule.conditions {
        let mut passing = Vec::new();
        for (code_word, operand, ways) in steps(*condition, wide) {
            let place = code.push(instruction(code_word, operand));
            for (way, holds) in ways.into_iter().zip([true, false]) {
                match way {
                    Way::Next => {}
                    Way::Pass => passing.push((place, holds)),
                    Way::Fail => failing.push((place, holds)),
                }
            }
        }
        for (place, holds) in passing {
            code.land_branch(place, holds);
        }
    }
    code.push(instruction(RETURN, rule.answer));
    for (place, holds) in failing {
        code.land_branch(place, holds);
    }
}

/// The comparison of one argument, a half at a time.
fn steps(condition: Condition, wide: bool) -> Vec<(u16, u32, [Way; 2])> {
    use Way::{Fail, Next, Pass};
    let on = [Next, Next];
    let (high, low) = halves(condition.value);
    let offset = OFFSET_FIRST_ARGUMENT + 8 * u32::from(condition.argument);
    let other_half = if cfg!(target_endian = "little") { offset + 4 } else { offset - 4 };
    let masks = match condition.comparison {
        Comparison::Masked(mask) => Some(halves(mask)),
        _ => None,
    };
    let mut steps = Vec::new();
    if wide {
        steps.push((LOAD_WORD, other_half, on));
        steps.extend(masks.map(|(mask, _)| (MASK, mask, on)));
        match condition.comparison {
            Comparison::Equal | Comparison::Masked(_) => steps.push((JUMP_IF_EQUAL, high, [Next, Fail])),
            Comparison::NotEqual => steps.push((JUMP_IF_EQUAL, high, [Next, Pass])),
            Comparison::Greater | Comparison::AtLeast => {
                steps.push((JUMP_IF_GREATER, high, [Pass, Next]));
                steps.push((JUMP_IF_EQUAL, high, [Next, Fail]));
            }
            Comparison::Less | Comparison::AtMost => {
                steps.push((JUMP_IF_GREATER, high, [Fail, Next]));
                steps.push((JUMP_IF_EQUAL, high, [Next, Pass]));
            }
        }
    }
    steps.push((LOAD_WORD, offset, on));
    steps.extend(masks.map(|(_, mask)| (MASK, mask, on)));
    steps.push(match condition.comparison {
        Comparison::Equal | Comparison::Masked(_) => (JUMP_IF_EQUAL, low, [Next, Fail]),
        Comparison::NotEqual => (JUMP_IF_EQUAL, low, [Fail, Next]),
        Comparison::Greater => (JUMP_IF_GREATER, low, [Next, Fail]),
        Comparison::AtLeast => (JUMP_IF_AT_LEAST, low, [Next, Fail]),
        Comparison::Less => (JUMP_IF_AT_LEAST, low, [Fail, Next]),
        Comparison::AtMost => (JUMP_IF_GREATER, low, [Fail, Next]),
    });
    steps
}

#[expect(clippy::cast_possible_truncation, reason = "each is a half")]
const fn halves(value: u64) -> (u32, u32) {
    ((value >> 32) as u32, value as u32)
}
