//! Sandboxes for real: this binary is its own init, so it brings its own small harness.
//!
//! Run as root, or as a user who may make user namespaces. Programs come from the host's `/usr`, bound read-only.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::exit,
    clippy::allow_attributes,
    reason = "test code"
)]

mod exec;
mod fixture;
mod groups;
mod lifetime;
mod mounts;
mod program;
mod rights;
mod terminal;

use std::panic::catch_unwind;
use std::time::Instant;

/// A named test.
type Case = (&'static str, fn());

fn main() {
    lighter_sandbox::run_hidden_verb();
    lighter_sandbox::enter_user_namespace(None).expect("user namespace");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    lifetime::run_if_helper(&arguments);
    // files are made with the modes that cases speak of, whoever runs them
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let cases: Vec<Case> = [
        program::CASES,
        mounts::CASES,
        rights::CASES,
        terminal::CASES,
        exec::CASES,
        groups::CASES,
        lifetime::CASES,
    ]
    .concat();
    if arguments.iter().any(|argument| argument == "--list") {
        for (name, _) in &cases {
            println!("{name}: test");
        }
        return;
    }
    let is_exact = arguments.iter().any(|argument| argument == "--exact");
    let filters: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    let is_wanted = |name: &str| {
        filters.is_empty()
            || filters.iter().any(
                |filter| {
                    if is_exact { name == *filter } else { name.contains(filter.as_str()) }
                },
            )
    };
    let mut failed = Vec::new();
    for (name, case) in cases.iter().filter(|(name, _)| is_wanted(name)) {
        let begun = Instant::now();
        let is_ok = catch_unwind(case).is_ok();
        let verdict = if is_ok { "ok" } else { "FAILED" };
        println!("test {name} ... {verdict} ({:.1} ms)", begun.elapsed().as_secs_f64() * 1e3);
        if !is_ok {
            failed.push(*name);
        }
    }
    if !failed.is_empty() {
        println!("failed: {failed:?}");
        std::process::exit(101);
    }
}
