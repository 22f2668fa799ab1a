//! Profiles of users, and what the kernel would make of them.

use super::custom::{ProfileError, filter};
use super::interpret::{Call, run};
use crate::capability::Capabilities;
use crate::spec::Seccomp;
use crate::sys::Instruction;

const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;
const KILL: u32 = 0;
const KERNEL: &str = "6.1.0-18-amd64";

fn read(text: &str) -> Result<Vec<Instruction>, ProfileError> {
    match filter(text, Capabilities::DOCKER_DEFAULT, KERNEL)? {
        Seccomp::Custom(filter) => Ok(filter.program),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn what_is_no_profile_is_told() {
    let check = |text: &str, expected: &str| match read(text) {
        Err(error) => assert!(error.to_string().contains(expected), "{text}: {error}"),
        Ok(program) => panic!("{text} is {} instructions", program.len()),
    };
    let call = |rest: &str| {
        format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{"names":["mkdir"],"action":"SCMP_ACT_ERRNO"{rest}}}]}}"#
        )
    };
    check("[]", "Decoding seccomp profile failed");
    check("{", "Decoding seccomp profile failed");
    check(&"[".repeat(100_000), "Decoding seccomp profile failed");
    check(&" ".repeat(super::LONGEST_PROFILE_BYTES + 1), "more than 1048576 bytes");
    check(r#"{"defaultAction":"SCMP_ACT_NOPE"}"#, "string SCMP_ACT_NOPE is not a valid action for seccomp");
    check(r#"{"syscalls":[{"names":["mkdir"]}]}"#, "string  is not a valid action for seccomp");
    check(r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#, "SCMP_ACT_NOTIFY");
    check(r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["NOPE"]}"#, "seccomp flag NOPE is not known");
    check(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["NOPE"]}"#,
        "string NOPE is not a valid arch for seccomp",
    );
    check(r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_MIPS"]}"#, "another byte order");
    check(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],"archMap":[{}]}"#,
        "use either 'architectures' or 'archMap'",
    );
    check(&call(r#","name":"mkdir""#), "use either 'name' or 'names'");
    check(&call(r#","errnoRet":4095"#), "errnoRet 4095 is out of range");
    check(&call(r#","errnoRet":-1"#), "Decoding seccomp profile failed");
    check(&call(r#","args":[{"op":"SCMP_CMP_FOO"}]"#), "string SCMP_CMP_FOO is not a valid operator");
    check(&call(r#","args":[{"index":6,"op":"SCMP_CMP_EQ"}]"#), "only have up to 6 arguments (6 given)");
    check(&call(r#","includes":{"minKernel":"abc"}"#), "invalid kernel version: \"abc\"");
    check(&call(r#"},{"names":[""],"action":"SCMP_ACT_ERRNO""#), "empty string is not a valid syscall");
    let twice = r#","args":[{"op":"SCMP_CMP_EQ"}]},{"names":["mkdir"],"action":"SCMP_ACT_TRAP","args":[{"op":"SCMP_CMP_EQ"}]"#;
    check(&call(twice), "syscall mkdir: there is one for the same arguments with another action");
}

#[test]
fn a_profile_that_says_nothing_is_no_filter() {
    for text in ["{}", "null", r#"{"architectures":["SCMP_ARCH_X86"]}"#] {
        let filter = filter(text, Capabilities::NONE, KERNEL);
        assert_eq!(filter.expect("is one"), Seccomp::Unconfined, "{text}");
    }
}

#[test]
fn more_than_the_kernel_holds_is_refused() {
    let rule = |value: u32| {
        format!(
            r#"{{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{{"value":{value},"op":"SCMP_CMP_EQ"}}]}}"#
        )
    };
    let profile = |count: u32| {
        let rules: Vec<String> = (0..count).map(rule).collect();
        read(&format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{}]}}"#, rules.join(",")))
    };
    assert!(profile(700).is_ok());
    assert!(matches!(profile(900), Err(ProfileError::TooLong)));
    assert!(matches!(profile(9000), Err(ProfileError::TooLong)));
}

#[cfg(target_arch = "x86_64")]
mod on_x86 {
    use super::*;

    const X86_64: u32 = 0xc000_003e;
    const X86: u32 = 0x4000_0003;
    const X32_BIT: u32 = 0x4000_0000;
    const MKDIR: u32 = 83;

    fn refusal(errno: u32) -> u32 {
        ERRNO | errno
    }

    fn answer(program: &[Instruction], architecture: u32, number: u32, arguments: [u64; 2]) -> u32 {
        let arguments = [arguments[0], arguments[1], 0, 0, 0, 0];
        run(program, &Call { architecture, number, arguments })
    }

    #[test]
    fn conditions_look_at_whole_arguments() {
        let check = |op: &str, value: u64, second: u64, cases: &[(u64, bool)]| {
            let text = format!(
                r#"{{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],"syscalls":[{{"names":["mkdir"],
                "action":"SCMP_ACT_ERRNO","errnoRet":5,"args":[{{"index":1,"value":{value},"valueTwo":{second},"op":"SCMP_CMP_{op}"}}]}}]}}"#
            );
            let program = read(&text).expect("is one");
            for (argument, holds) in cases {
                let expected = if *holds { refusal(5) } else { ALLOW };
                let given = answer(&program, X86_64, MKDIR, [0, *argument]);
                assert_eq!(given, expected, "{argument:#x} {op} {value:#x}");
                if u32::try_from(*argument).is_ok() && u32::try_from(value).is_ok() {
                    assert_eq!(
                        answer(&program, X86, 39, [0, *argument]),
                        expected,
                        "{argument:#x} {op}, x86"
                    );
                }
            }
        };
        let high = 1_u64 << 32;
        check("EQ", 7, 0, &[(7, true), (8, false), (high + 7, false)]);
        check("NE", 7, 0, &[(7, false), (8, true), (high + 7, true)]);
        check("GT", 7, 0, &[(7, false), (8, true), (high, true)]);
        check("GT", high + 7, 0, &[(8, false), (high + 7, false), (high + 8, true), (2 * high, true)]);
        check("GE", 7, 0, &[(6, false), (7, true), (high, true)]);
        check("LT", 7, 0, &[(6, true), (7, false), (high, false)]);
        check("LT", high, 0, &[(high - 1, true), (high, false)]);
        check("LE", 7, 0, &[(7, true), (8, false), (high + 1, false)]);
        check("MASKED_EQ", 0xf0, 0x1f0, &[(0xf1, true), (0xf, false), (high + 0xf0, true)]);
    }

    #[test]
    fn rules_are_weighed_as_docker_does() {
        let with = |rest: &str| {
            let text = format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{rest}]}}"#);
            let program = read(&text).expect("is one");
            answer(&program, X86_64, MKDIR, [1, 511]) & 0xffff
        };
        let rule = |errno: u32, args: &str| {
            format!(r#"{{"names":["mkdir"],"action":"SCMP_ACT_ERRNO","errnoRet":{errno},"args":[{args}]}}"#)
        };
        let equal = r#"{"index":1,"value":511,"op":"SCMP_CMP_EQ"}"#;
        let above = r#"{"index":1,"value":500,"op":"SCMP_CMP_GT"}"#;
        let check =
            |rules: &[String], expected: u32| assert_eq!(with(&rules.join(",")), expected, "{rules:?}");
        check(&[rule(5, ""), rule(6, "")], 5);
        check(&[rule(5, equal), rule(6, "")], 6);
        check(&[rule(6, ""), rule(5, equal)], 6);
        check(&[rule(6, above), rule(5, equal)], 5);
        check(&[rule(5, equal), rule(6, above)], 5);
        // all conditions of a rule must hold, but those on one argument stand alone
        check(&[rule(5, &format!(r#"{equal},{{"index":0,"value":2,"op":"SCMP_CMP_EQ"}}"#))], 0);
        check(&[rule(5, &format!(r#"{equal},{{"index":0,"value":1,"op":"SCMP_CMP_EQ"}}"#))], 5);
        check(&[rule(5, &format!(r#"{equal},{{"index":1,"value":2,"op":"SCMP_CMP_EQ"}}"#))], 5);
    }

    #[test]
    fn groups_count_where_their_conditions_hold() {
        let check = |condition: &str, counts: bool| {
            let text = format!(
                r#"{{"DefaultAction":"SCMP_ACT_ALLOW","defaultErrnoRet":9,"SYSCALLS":[{{"name":"mkdir","action":"SCMP_ACT_ERRNO",{condition}}}]}}"#
            );
            let program = read(&text).expect("is one");
            let expected = if counts { refusal(1) } else { ALLOW };
            assert_eq!(answer(&program, X86_64, MKDIR, [0, 0]), expected, "{condition}");
        };
        check(r#""comment":null"#, true);
        check(r#""includes":{"caps":["CAP_CHOWN","CAP_KILL"]}"#, true);
        check(r#""includes":{"caps":["CAP_CHOWN","CAP_SYS_ADMIN"]}"#, false);
        check(r#""includes":{"caps":["CAP_NOPE"]}"#, false);
        check(r#""excludes":{"caps":["CAP_SYS_ADMIN","CAP_CHOWN"]}"#, false);
        check(r#""excludes":{"caps":["CAP_SYS_ADMIN"]}"#, true);
        check(r#""includes":{"arches":["amd64","arm"]}"#, true);
        check(r#""includes":{"arches":["s390x"]}"#, false);
        check(r#""excludes":{"arches":["amd64"]}"#, false);
        check(r#""includes":{"minKernel":"4.8"}"#, true);
        check(r#""includes":{"minKernel":"6.1"}"#, true);
        check(r#""includes":{"minKernel":"6.2"}"#, false);
        check(r#""excludes":{"minKernel":"4.8"}"#, false);
    }

    #[test]
    fn architectures_are_let_in_as_asked() {
        let profile = |architectures: &str, action: &str| {
            read(&format!(
                r#"{{"defaultAction":"{action}",{architectures}"syscalls":[
                {{"names":["mkdir","socket","nosuchcall","statx"],"action":"SCMP_ACT_ERRNO","errnoRet":5}},
                {{"names":["read"],"action":"SCMP_ACT_ALLOW"}}]}}"#
            ))
            .expect("is one")
        };
        let own = profile("", "SCMP_ACT_ALLOW");
        assert_eq!(answer(&own, X86_64, MKDIR, [0, 0]), refusal(5));
        assert_eq!(answer(&own, X86_64, 0xffff_ffff, [0, 0]), ALLOW);
        assert_eq!(answer(&own, X86_64, X32_BIT, [0, 0]), KILL);
        assert_eq!(answer(&own, X86, 3, [0, 0]), KILL);
        let map = r#""archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86","SCMP_ARCH_X32"]},
            {"architecture":"SCMP_ARCH_AARCH64"}],"#;
        let all = profile(map, "SCMP_ACT_ALLOW");
        assert_eq!(answer(&all, X86_64, X32_BIT + MKDIR, [0, 0]), refusal(5));
        assert_eq!(answer(&all, X86_64, X32_BIT, [0, 0]), ALLOW);
        assert_eq!(answer(&all, X86, 359, [0, 0]), refusal(5));
        assert_eq!(answer(&all, X86, 102, [1, 0]), refusal(5), "socketcall(SYS_SOCKET)");
        assert_eq!(answer(&all, X86, 102, [2, 0]), ALLOW, "socketcall(SYS_BIND)");
        // newer calls than the profile names do not exist, where others are denied
        let strict = profile(map, "SCMP_ACT_ERRNO");
        assert_eq!(answer(&strict, X86_64, 0, [0, 0]), ALLOW);
        assert_eq!(answer(&strict, X86_64, 1, [0, 0]), refusal(1));
        assert_eq!(answer(&strict, X86_64, 333, [0, 0]), refusal(38));
        assert_eq!(answer(&strict, X86_64, X32_BIT + 333, [0, 0]), refusal(38));
        assert_eq!(answer(&strict, X86, 384, [0, 0]), refusal(38));
        assert_eq!(answer(&strict, X86, 382, [0, 0]), refusal(1));
        let told = profile(r#""defaultErrnoRet":38,"#, "SCMP_ACT_ERRNO");
        assert_eq!(answer(&told, X86_64, 1, [0, 0]), refusal(38));
    }

    #[test]
    fn actions_are_the_kernels() {
        let check = |action: &str, expected: u32| {
            let text = format!(r#"{{"defaultAction":"SCMP_ACT_{action}"}}"#);
            assert_eq!(answer(&read(&text).expect("is one"), X86_64, 0, [0, 0]), expected, "{action}");
        };
        check("ALLOW", ALLOW);
        check("ERRNO", refusal(1));
        check("KILL", KILL);
        check("KILL_THREAD", KILL);
        check("KILL_PROCESS", 0x8000_0000);
        check("TRAP", 0x0003_0000);
        check("TRACE", 0x7ff0_0001);
        check("LOG", 0x7ffc_0000);
    }
}
