//! What fuzzers need of the inside of this crate, each with what must hold for any input.

use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cgroup::hierarchy as reading;
use crate::message::{Order, Report};
use crate::network::resolver::ResolvConf;
use crate::spec::Seccomp;
use crate::subordinate;
use crate::{Capabilities, LONGEST_PROFILE_BYTES};

/// Reads a text as the files of the kernel and of the machine that say where this process is.
///
/// # Panics
/// Where something was understood that the text does not say.
pub fn check_machine_texts(text: &str) {
    let hierarchies = reading::parse_mounts(text);
    assert!(hierarchies.len() <= text.lines().count());
    for (index, hierarchy) in hierarchies.iter().enumerate() {
        let again = hierarchies[..index].iter().any(|other| other.controllers == hierarchy.controllers);
        assert!(!again, "{} is listed twice", hierarchy.controllers.join(","));
        for (_, path) in reading::parse_membership(text) {
            let directory = hierarchy.directory(&path);
            assert!(
                directory.starts_with(&hierarchy.mounted_at),
                "{path} is seen at {}",
                directory.display()
            );
        }
    }
    for line in text.lines() {
        assert_eq!(reading::unescape(&escape(line)), PathBuf::from(line));
    }
    if let Some(ranges) = subordinate::parse(text, 1000, Some("alice")) {
        assert!(!ranges.0.is_empty() && ranges.0.iter().all(|range| range.count > 0));
    }
    let resolver = ResolvConf::parse(text);
    assert_eq!(ResolvConf::parse(&resolver.render()), resolver);
}

/// As the kernel writes a path in `mountinfo`.
fn escape(path: &str) -> String {
    path.replace('\\', "\\134").replace(' ', "\\040").replace('\t', "\\011")
}

/// Reads a text as a profile for system calls; what was understood is a program that the kernel would take.
///
/// # Panics
/// Where it is not.
pub fn check_profile(text: &str) {
    assert!(text.len() <= LONGEST_PROFILE_BYTES, "shorter inputs, please");
    let Ok(Seccomp::Custom(filter)) = Seccomp::from_profile(text, Capabilities::DOCKER_DEFAULT) else {
        return;
    };
    let program = filter.program;
    assert!((2..=4096).contains(&program.len()));
    for (place, instruction) in program.iter().enumerate() {
        let (class, ways) = match instruction.code {
            0x05 => ("jump", vec![instruction.operand as usize]),
            0x06 => continue,
            code if code & 7 == 5 => {
                ("branch", vec![instruction.jump_true.into(), instruction.jump_false.into()])
            }
            _ => ("step", vec![0]),
        };
        assert!(ways.iter().all(|way| place + 1 + way < program.len()), "a {class} leaves the program");
    }
}

/// Reads bytes as the two sides of the control socket do; what was read is written and read the same.
///
/// # Panics
/// Where it is not.
pub fn check_messages(bytes: &[u8]) {
    for line in bytes.split(|byte| *byte == b'\n') {
        check::<Order>(line);
        check::<Report>(line);
    }
}

fn check<Message: Serialize + DeserializeOwned>(line: &[u8]) {
    let Ok(message) = serde_json::from_slice::<Message>(line) else { return };
    let written = serde_json::to_vec(&message).expect("what was read can be written");
    assert!(!written.contains(&b'\n'), "a message is one line");
    let again: Message = serde_json::from_slice(&written).expect("what was written can be read");
    assert_eq!(serde_json::to_vec(&again).expect("writes"), written);
}
