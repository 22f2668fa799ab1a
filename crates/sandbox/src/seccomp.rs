//! System call filters, as programs for the kernel.
//!
//! Docker's default: [`table`] says which calls are allowed, [`profile`] turns that into ranges of numbers for one
//! architecture and one set of capabilities, [`emit`] makes a binary search tree of them. Those of users: [`document`]
//! reads them, [`custom`] finds out which rules count, [`compile`] makes the same kind of tree, with their conditions
//! behind it.

mod compile;
mod custom;
#[cfg(test)]
mod custom_tests;
mod document;
mod emit;
#[cfg(test)]
mod interpret;
mod profile;
mod table;

use crate::capability::Capabilities;
use crate::spec::Seccomp;
use crate::sys::Instruction;

pub use custom::ProfileError;
pub use document::LONGEST_PROFILE_BYTES;

impl Seccomp {
    /// The filter of a container with these capabilities that a profile in Docker's JSON format asks for; a profile
    /// that says nothing is none.
    ///
    /// # Errors
    /// [`ProfileError`], where it is no such profile, or asks for what cannot be kept.
    pub fn from_profile(text: &str, capabilities: Capabilities) -> Result<Self, ProfileError> {
        let name = rustix::system::uname();
        custom::filter(text, capabilities, &name.release().to_string_lossy())
    }
}

/// Makes the filter of Docker's default profile for a container with these capabilities.
pub(crate) fn docker_default(capabilities: Capabilities) -> Vec<Instruction> {
    let sections: Vec<_> = profile::ARCHITECTURES
        .iter()
        .map(|architecture| (*architecture, profile::ranges(architecture.column, capabilities)))
        .collect();
    emit::filter(&sections)
}

#[cfg(test)]
mod tests {
    use super::interpret::{Call, run};
    use super::*;

    const ALLOW: u32 = 0x7fff_0000;
    const EPERM: u32 = 0x0005_0001;
    const ENOSYS: u32 = 0x0005_0026;
    const KILL: u32 = 0;

    const X86_64: u32 = 0xc000_003e;
    const X86: u32 = 0x4000_0003;
    const AARCH64: u32 = 0xc000_00b7;
    const ARM: u32 = 0x4000_0028;
    const X32_BIT: u32 = 0x4000_0000;

    fn default() -> Vec<Instruction> {
        docker_default(Capabilities::DOCKER_DEFAULT)
    }

    fn answer(filter: &[Instruction], architecture: u32, number: u32, argument: u64) -> u32 {
        run(filter, &Call { architecture, number, arguments: [argument, 0, 0, 0, 0, 0] })
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn calls_are_answered_as_by_docker_on_x86() {
        let filter = default();
        let check = |architecture: u32, number: u32, argument: u64, expected: u32| {
            let given = answer(&filter, architecture, number, argument);
            assert_eq!(given, expected, "{architecture:#x} {number} {argument:#x}");
        };
        check(X86_64, 0, 0, ALLOW); // read
        check(X86_64, 59, 0, ALLOW); // execve
        check(X86_64, 165, 0, EPERM); // mount
        check(X86_64, 250, 0, EPERM); // keyctl
        check(X86_64, 161, 0, ALLOW); // chroot
        check(X86_64, 425, 0, EPERM); // io_uring_setup
        check(X86_64, 435, 0, ENOSYS); // clone3
        check(X86_64, 466, 0, ALLOW); // removexattrat
        check(X86_64, 467, 0, ENOSYS); // open_tree_attr, newer than the profile
        check(X86_64, 0x3fff_ffff, 0, ENOSYS);
        check(X86_64, 41, 2, ALLOW); // socket(AF_INET)
        check(X86_64, 41, 40, EPERM); // socket(AF_VSOCK)
        check(X86_64, 41, 0x1_0000_0028, EPERM); // the kernel reads the lower half only
        check(X86_64, 56, 0x11, ALLOW); // clone(SIGCHLD)
        check(X86_64, 56, 0x1000_0000, EPERM); // clone(CLONE_NEWUSER)
        check(X86_64, 135, 0, ALLOW); // personality
        check(X86_64, 135, 0xffff_ffff, ALLOW);
        check(X86_64, 135, 0x0004_0000, EPERM); // ADDR_NO_RANDOMIZE
        check(X86_64, X32_BIT, 0, ALLOW); // x32 read
        check(X86_64, X32_BIT + 520, 0, ALLOW); // x32 execve
        check(X86_64, X32_BIT + 59, 0, EPERM); // no x32 call
        check(X86_64, X32_BIT + 600, 0, ENOSYS);
        check(X86, 3, 0, ALLOW); // read
        check(X86, 21, 0, EPERM); // mount
        check(X86, 102, 0, ALLOW); // socketcall
        check(X86, 359, 40, EPERM); // socket(AF_VSOCK)
        check(AARCH64, 63, 0, KILL);
        check(ARM, 3, 0, KILL);
    }

    #[cfg(target_arch = "aarch64")]
    #[test]
    fn calls_are_answered_as_by_docker_on_arm() {
        let filter = default();
        let check = |architecture: u32, number: u32, argument: u64, expected: u32| {
            let given = answer(&filter, architecture, number, argument);
            assert_eq!(given, expected, "{architecture:#x} {number} {argument:#x}");
        };
        check(AARCH64, 63, 0, ALLOW); // read
        check(AARCH64, 40, 0, EPERM); // mount
        check(AARCH64, 435, 0, ENOSYS); // clone3
        check(AARCH64, 198, 40, EPERM); // socket(AF_VSOCK)
        check(ARM, 3, 0, ALLOW); // read
        check(ARM, 0x000f_0005, 0, ALLOW); // set_tls
        check(X86_64, 0, 0, KILL);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn capabilities_open_their_calls() {
        let all = docker_default(Capabilities::all());
        assert_eq!(answer(&all, X86_64, 165, 0), ALLOW); // mount
        assert_eq!(answer(&all, X86_64, 435, 0), ALLOW); // clone3
        assert_eq!(answer(&all, X86_64, 56, 0x1000_0000), ALLOW); // clone(CLONE_NEWUSER)
        assert_eq!(answer(&all, X86_64, 250, 0), EPERM); // keyctl stays
        let none = docker_default(Capabilities::NONE);
        assert_eq!(answer(&none, X86_64, 161, 0), EPERM); // chroot
        let bpf = docker_default(Capabilities::from_name("BPF").expect("known"));
        assert_eq!(answer(&bpf, X86_64, 321, 0), ALLOW);
        assert_eq!(answer(&bpf, X86_64, 165, 0), EPERM);
    }

    #[test]
    fn the_tree_agrees_with_a_plain_look_up_of_every_number() {
        for capabilities in [Capabilities::NONE, Capabilities::DOCKER_DEFAULT, Capabilities::all()] {
            let filter = docker_default(capabilities);
            for architecture in profile::ARCHITECTURES {
                let ranges = profile::ranges(architecture.column, capabilities);
                for number in (0..1100).chain(0xf_0000..0xf_0010) {
                    let action = profile::action_of(&ranges, number);
                    for argument in [0, 2, 40, 0x1000_0000] {
                        let expected = interpret::apply(action, argument);
                        let asked = number | architecture.marking_bit;
                        let given = answer(&filter, architecture.audit, asked, argument);
                        assert_eq!(given, expected, "{architecture:?} {number} {argument:#x}");
                    }
                }
            }
        }
    }

    #[test]
    fn it_is_short_and_within_the_kernels_bound() {
        let length = docker_default(Capabilities::DOCKER_DEFAULT).len();
        assert!(length < 900, "{length} instructions");
    }
}
