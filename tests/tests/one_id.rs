//! An ordinary user without subordinate ids: only root exists in his namespaces.
#![expect(clippy::print_stderr, reason = "a test that cannot be run here says so")]

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::process::{Command, Output};

use lighter_tests::{Lighter, copy_program};

/// An id that no machine gives to anybody.
const ID: u32 = 54_321;

/// Runs a script as a user who has that id alone, with the program as `$0`; `None` where this test cannot become one.
fn as_one_id(script: &str) -> Option<Output> {
    let lighter = Lighter::with_busybox();
    // a folder and a program that he can reach
    let place = tempfile::TempDir::with_prefix_in("lighter-one.", "/tmp").expect("a folder");
    let (program, base) = (place.path().join("lighter"), place.path().join("base.tar"));
    copy_program(lighter.command([]).get_program().as_ref(), &program);
    std::fs::copy(lighter.path("busybox.tar"), &base).expect("the base");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("its mode");
    if chown(place.path(), Some(ID), Some(ID)).is_err() {
        eprintln!("skipped: only root becomes another user");
        return None;
    }
    let (user, group) = (format!("--reuid={ID}"), format!("--regid={ID}"));
    let output = Command::new("setpriv")
        .args([&user, &group, "--clear-groups", "sh", "-ec"])
        .arg(format!("\"$0\" import base.tar busybox > /dev/null; {script}"))
        .arg(&program)
        .current_dir(place.path())
        .env("HOME", place.path())
        .env("LIGHTER_ROOT", place.path().join("store"))
        .output();
    let Ok(output) = output else {
        eprintln!("skipped: there is no `setpriv`");
        return None;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("needs namespaces") || said.contains("which this machine denies") {
        eprintln!("skipped: no user namespaces: {said}");
        return None;
    }
    Some(output)
}

#[test]
fn a_secret_of_somebody_else_is_roots() {
    let Some(output) = as_one_id(
        "printf 'FROM busybox\\nRUN --mount=type=secret,id=s,uid=33,gid=44,mode=440 stat -c %%a:%%u:%%g /run/secrets/s > /o\\n' \
         > Dockerfile; echo 1 > secret; \"$0\" build -q --network none --secret id=s,src=secret -t x - < Dockerfile; \
         \"$0\" run --rm --network none x cat /o",
    ) else {
        return;
    };
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(out.ends_with("\n440:0:0\n"), "{out}{err}");
}

#[test]
fn another_user_is_refused_with_the_way_to_have_one() {
    let Some(output) = as_one_id("\"$0\" run --rm --network none -u 33:33 busybox true") else { return };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("too few subordinate ids"), "{said}");
}
