//! What `RUN --mount` gives to a step.

use std::process::Command;

use lighter_tests::Lighter;

#[test]
fn cache_mounts_are_shared_as_they_say() {
    let lighter = Lighter::with_busybox();
    // two steps at once: with `locked` and `private` neither sees the other's mark
    for (sharing, meet) in [("shared", true), ("locked", false), ("private", false)] {
        // who shares waits for the other, however late it comes, and stays to be seen
        let (times, leave) = if meet { (1200, "true") } else { (10, "rm") };
        let step = |name: &str, other: &str| {
            format!(
                "FROM busybox AS {name}\nRUN --mount=type=cache,id=m-{sharing},target=/m,sharing={sharing} \
                 touch /met /m/here-{name}; for i in $(seq {times}); do \
                 if test -e /m/here-{other}; then echo met > /met; break; fi; sleep 0.1; done; {leave} /m/here-{name}\n"
            )
        };
        let text = format!(
            "{}{}FROM busybox\nCOPY --from=a /met /a\nCOPY --from=b /met /b\n",
            step("a", "b"),
            step("b", "a")
        );
        lighter.build("met", &text, &[]);
        let met = lighter.ok(["run", "--rm", "met", "cat", "/a", "/b"]).contains("met");
        assert_eq!(met, meet, "{sharing}");
    }
    let listed = lighter.ok(["builder", "mounts", "ls", "-q"]);
    let mut ids: Vec<&str> = listed.lines().collect();
    ids.sort_unstable();
    assert_eq!(ids, ["m-locked", "m-private", "m-shared"]);
    lighter.ok(["builder", "mounts", "rm", "m-locked", "m-private"]);
    assert_eq!(lighter.ok(["builder", "mounts", "ls", "-q"]), "m-shared\n");
    assert!(lighter.refused(["builder", "mounts", "rm", "m-locked"]).contains("no such cache mount"));
}

#[test]
fn a_secret_of_an_unset_variable_is_empty() {
    let lighter = Lighter::with_busybox();
    let dockerfile = "FROM busybox\nRUN --mount=type=secret,id=s,required wc -c < /run/secrets/s > /size\n";
    lighter.context(dockerfile, &[]);
    let said = lighter.run(["build", "-t", "x", "--secret", "id=s,env=NO_SUCH_VARIABLE", "context"]);
    assert_eq!(said.code, 0, "{}", said.all());
    assert!(
        said.err.contains("WARNING: secret s is empty: the variable NO_SUCH_VARIABLE is not set"),
        "{}",
        said.err
    );
    assert_eq!(lighter.ok(["run", "--rm", "x", "cat", "/size"]), "0\n");
}

#[test]
fn a_key_file_becomes_an_agent_of_the_step() {
    let lighter = Lighter::with_busybox();
    let key = lighter.path("key");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
    assert!(made.expect("ssh-keygen").success());
    let dockerfile = "FROM busybox\nRUN --mount=type=ssh,id=k,mode=0666,uid=7 \
        test -S $SSH_AUTH_SOCK && stat -c '%n %a %u' $SSH_AUTH_SOCK > /seen\n";
    lighter.context(dockerfile, &[]);
    let source = format!("k={}", key.display());
    let said = lighter.run(["build", "-t", "x", "--ssh", &source, "context"]);
    assert_eq!(said.code, 0, "{}", said.all());
    assert_eq!(lighter.ok(["run", "--rm", "x", "cat", "/seen"]), "/run/buildkit/ssh_agent.0 666 7\n");
}

#[test]
fn a_file_system_in_memory_has_the_mode_of_what_it_hides() {
    let lighter = Lighter::with_busybox();
    let dockerfile = "FROM busybox\nRUN mkdir -m 700 /own && mkdir -m 2750 /group\n\
                      RUN --mount=type=tmpfs,target=/own,readonly --mount=type=tmpfs,target=/group \
                      --mount=type=tmpfs,target=/not/there stat -c %a /own /group /not /not/there > /modes; \
                      touch /own/x 2>/dev/null || echo read-only >> /modes\n";
    let expected = "700\n2750\n755\n1777\n";
    for copies in [false, true] {
        if copies {
            std::fs::write(lighter.root().join("copies"), "").expect("the file");
        }
        lighter.context(dockerfile, &[]);
        lighter.ok(["build", "--no-cache", "-t", "modes", "context"]);
        let modes = lighter.ok(["run", "--rm", "modes", "cat", "/modes"]);
        assert_eq!(modes, format!("{expected}read-only\n"), "copies: {copies}");
        let flags = ["--tmpfs", "/own", "--mount", "type=tmpfs,target=/group", "--tmpfs", "/not/there"];
        let listed = ["modes", "stat", "-c", "%a", "/own", "/group", "/not", "/not/there"];
        let modes = lighter.ok(["run", "--rm"].into_iter().chain(flags).chain(listed));
        assert_eq!(modes, expected, "copies: {copies}");
    }
    let given = ["run", "--rm", "--tmpfs", "/own:mode=711", "modes", "stat", "-c", "%a", "/own"];
    assert_eq!(lighter.ok(given), "711\n");
}

#[test]
fn an_ssh_mount_says_where_its_socket_would_be() {
    let lighter = Lighter::with_busybox();
    let dockerfile = "FROM busybox\nRUN --mount=type=ssh echo \"$SSH_AUTH_SOCK\" > /said\n\
                      RUN --mount=type=ssh,target=/a/socket --mount=type=ssh,id=b echo \"$SSH_AUTH_SOCK\" >> /said\n\
                      ENV SSH_AUTH_SOCK=/own\nRUN --mount=type=ssh echo \"$SSH_AUTH_SOCK\" >> /said\n";
    lighter.build("ssh", dockerfile, &[]);
    let said = lighter.ok(["run", "--rm", "ssh", "cat", "/said"]);
    assert_eq!(said, "/run/buildkit/ssh_agent.0\n/a/socket\n/own\n");
}

#[test]
fn a_mount_may_hide_the_files_of_the_network() {
    let lighter = Lighter::with_busybox();
    let dockerfile = "FROM busybox\nRUN --mount=source=own,target=/etc ls /etc > /listed\n";
    lighter.build("hidden", dockerfile, &[("own/only", "")]);
    assert_eq!(lighter.ok(["run", "--rm", "hidden", "cat", "/listed"]), "only\n");
}
