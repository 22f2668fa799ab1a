//! `--security-opt`: what a container may ask of the kernel.

use lighter_tests::Lighter;

fn with_profiles() -> Lighter {
    let lighter = Lighter::with_busybox();
    let profile = |rules: &str| format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{rules}]}}"#);
    let mkdir = |rest: &str| profile(&format!(r#"{{"names":["mkdir","nosuchcall"],{rest}}}"#));
    lighter.write("errno.json", mkdir(r#""action":"SCMP_ACT_ERRNO","errnoRet":5"#));
    lighter.write("kill.json", mkdir(r#""action":"SCMP_ACT_KILL_PROCESS""#));
    let mode = |op: &str| format!(r#""args":[{{"index":1,"value":511,"op":"SCMP_CMP_{op}"}}]"#);
    lighter.write("mode.json", mkdir(&format!(r#""action":"SCMP_ACT_ERRNO","errnoRet":6,{}"#, mode("EQ"))));
    lighter.write("mode2.json", mkdir(&format!(r#""action":"SCMP_ACT_ERRNO","errnoRet":6,{}"#, mode("NE"))));
    lighter.write("caps.json", mkdir(r#""action":"SCMP_ACT_ERRNO","excludes":{"caps":["CAP_SYS_ADMIN"]}"#));
    lighter.write("action.json", r#"{"defaultAction":"SCMP_ACT_NOPE"}"#);
    lighter.write("array.json", "[]");
    lighter.write("broken.json", "{");
    lighter.write("nothing.json", " { } ");
    lighter
}

fn option(lighter: &Lighter, profile: &str) -> String {
    format!("--security-opt=seccomp={}", lighter.path(profile).display())
}

#[test]
fn a_profile_decides_about_calls() {
    let lighter = with_profiles();
    let check = |profile: &str, more: &[&str], script: &str, code: i32, says: &str| {
        let option = option(&lighter, profile);
        let mut words = vec!["run", "--rm", &option];
        words.extend(more);
        words.extend(["busybox", "sh", "-c", script]);
        let said = lighter.run(words);
        assert_eq!(said.code, code, "{profile} {script}\n{}", said.all());
        assert!(said.all().contains(says), "{profile} {script}\n{}", said.all());
    };
    check("errno.json", &[], "exec mkdir /x", 1, "Input/output error");
    check(
        "errno.json",
        &["--user=7", "--security-opt=no-new-privileges"],
        "exec mkdir /tmp/x",
        1,
        "Input/output error",
    );
    check("errno.json", &["--privileged"], "exec mkdir /x", 1, "Input/output error");
    check("kill.json", &[], "exec mkdir /x", 159, "");
    check("mode.json", &[], "exec mkdir /x", 1, "No such device or address");
    check("mode2.json", &[], "exec mkdir /x", 0, "");
    check("caps.json", &[], "exec mkdir /x", 1, "Operation not permitted");
    check("caps.json", &["--cap-add=SYS_ADMIN"], "exec mkdir /x", 0, "");
    check("nothing.json", &[], "grep Seccomp: /proc/self/status", 0, "Seccomp:\t0");
}

#[test]
fn what_is_no_profile_is_refused() {
    let lighter = with_profiles();
    for (profile, says) in [
        ("none.json", "failed: open"),
        ("broken.json", "compacting json for seccomp profile"),
        ("array.json", "Decoding seccomp profile failed"),
        ("action.json", "string SCMP_ACT_NOPE is not a valid action for seccomp"),
    ] {
        let said = lighter.run(["run", "--rm", &option(&lighter, profile), "busybox", "true"]);
        assert_eq!(said.code, 125, "{profile}\n{}", said.all());
        assert!(said.err.contains(says), "{profile}\n{}", said.all());
    }
    assert_eq!(lighter.ok(["ps", "-aq"]), "");
    for option in ["seccomp", "seccomp=", "nope", "nope=x", "no-new-privileges=x", "systempaths=x"] {
        let said = lighter.run(["run", "--rm", "--security-opt", option, "busybox", "true"]);
        assert_eq!(said.code, 125, "{option}\n{}", said.all());
        assert!(said.err.to_lowercase().contains("invalid --security-opt"), "{option}\n{}", said.all());
    }
}

#[test]
fn a_profile_is_kept_with_its_container() {
    let lighter = with_profiles();
    lighter.ok(["create", "--name", "it", &option(&lighter, "errno.json"), "busybox", "sleep", "100"]);
    std::fs::remove_file(lighter.path("errno.json")).expect("it is there");
    let kept = lighter.ok(["inspect", "-f", "{{index .HostConfig.SecurityOpt 0}}", "it"]);
    assert!(kept.starts_with(r#"seccomp={"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":"#), "{kept}");
    lighter.ok(["start", "it"]);
    let said = lighter.run(["exec", "it", "mkdir", "/x"]);
    assert!(said.code == 1 && said.err.contains("Input/output error"), "{}", said.all());
    lighter.ok(["rm", "-f", "it"]);
    let said = lighter.ok([
        "run",
        "--rm",
        "--security-opt=seccomp=builtin",
        "busybox",
        "grep",
        "Seccomp:",
        "/proc/self/status",
    ]);
    assert_eq!(said, "Seccomp:\t2\n");
}
