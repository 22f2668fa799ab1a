//! The old packet filter, by its own program: only where nftables is missing or where both are in use.

use std::io;
use std::process::{Command, Output, Stdio};

use super::firewall::Passage;

/// Names the tables of the old packet filter that are in use in the calling thread's network namespace.
const LEGACY_TABLES: &str = "/proc/thread-self/net/ip_tables_names";
/// The program that always talks to the old packet filter; plain `iptables` may talk to nftables.
const LEGACY_PROGRAM: &str = "iptables-legacy";
const PROGRAM: &str = "iptables";
const PROGRAM6: &str = "ip6tables";

/// Why `iptables` did not do what was wanted.
#[derive(Debug, thiserror::Error)]
pub enum IptablesError {
    /// The program could not be started.
    #[error("running `{program}`")]
    Run {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program refused.
    #[error("`{command}`: {message}")]
    Refused {
        /// The command line.
        command: String,
        /// What it said.
        message: String,
    },
}

/// Tells whether the old packet filter looks at forwarded packets here.
pub(crate) fn legacy_filter_in_use() -> bool {
    std::fs::read_to_string(LEGACY_TABLES).is_ok_and(|tables| tables.lines().any(|table| table == "filter"))
}

/// Lets the bridge's packets pass the old filter, unless that lets everything pass anyway.
pub(crate) fn pass_legacy_forward(bridge: &str) -> Result<(), IptablesError> {
    let listed = run(LEGACY_PROGRAM, &["-S".to_owned(), "FORWARD".to_owned()])?;
    if String::from_utf8_lossy(&listed.stdout).trim() == "-P FORWARD ACCEPT" {
        return Ok(());
    }
    legacy_rules(bridge).iter().try_for_each(|rule| rule.add(LEGACY_PROGRAM))
}

/// Takes the bridge out of the old filter's forward chain.
pub(crate) fn remove_legacy_forward(bridge: &str) {
    for rule in legacy_rules(bridge) {
        rule.remove(LEGACY_PROGRAM);
    }
}

/// Tells whether all rules of a bridge are there, on a kernel without nftables.
pub(crate) fn is_ready(passage: Passage<'_>) -> bool {
    programs(passage).all(|(program, source)| rules(passage, &source).iter().all(|rule| rule.exists(program)))
}

/// Adds the rules of a bridge, on a kernel without nftables.
pub(crate) fn ensure(passage: Passage<'_>) -> Result<(), IptablesError> {
    // Each is put at the head of its chain, so the last one added comes first.
    for (program, source) in programs(passage) {
        rules(passage, &source).iter().rev().try_for_each(|rule| rule.add(program))?;
    }
    Ok(())
}

/// Removes the rules of a bridge, on a kernel without nftables.
pub(crate) fn remove(passage: Passage<'_>) {
    for (program, source) in programs(passage) {
        for rule in rules(passage, &source) {
            rule.remove(program);
        }
    }
}

/// The program for each family of addresses that a bridge has, and those addresses.
fn programs(passage: Passage<'_>) -> impl Iterator<Item = (&'static str, String)> {
    let six = passage.subnet6.map(|subnet| (PROGRAM6, subnet.to_string()));
    std::iter::once((PROGRAM, passage.subnet.to_string())).chain(six)
}

/// One rule: its table, its chain and its words.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    table: &'static str,
    chain: &'static str,
    words: Vec<String>,
}

impl Rule {
    fn new(table: &'static str, chain: &'static str, words: &str) -> Self {
        Self { table, chain, words: words.split_whitespace().map(str::to_owned).collect() }
    }

    fn command(&self, action: &str) -> Vec<String> {
        let head = ["-w", "-t", self.table, action, self.chain].map(str::to_owned);
        head.into_iter().chain(self.words.iter().cloned()).collect()
    }

    fn exists(&self, program: &str) -> bool {
        run(program, &self.command("-C")).is_ok()
    }

    fn add(&self, program: &str) -> Result<(), IptablesError> {
        if self.exists(program) {
            return Ok(());
        }
        run(program, &self.command("-I")).map(drop)
    }

    fn remove(&self, program: &str) {
        while self.exists(program) {
            if let Err(error) = run(program, &self.command("-D")) {
                tracing::warn!(%error, "a rule of the packet filter stays");
                return;
            }
        }
    }
}

fn legacy_rules(bridge: &str) -> Vec<Rule> {
    let forward = |words: String| Rule::new("filter", "FORWARD", &words);
    vec![forward(format!("-i {bridge} -j ACCEPT")), forward(format!("-o {bridge} -j ACCEPT"))]
}

fn rules(passage: Passage<'_>, source: &str) -> Vec<Rule> {
    let bridge = passage.bridge;
    let forward = |words: String| Rule::new("filter", "FORWARD", &words);
    let inside = forward(format!("-i {bridge} -o {bridge} -j ACCEPT"));
    let incoming = forward(format!("-o {bridge} -j DROP"));
    if passage.internal {
        return vec![inside, forward(format!("-i {bridge} -j DROP")), incoming];
    }
    let answers = "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT";
    let mut rules = vec![
        inside,
        forward(format!("-o {bridge} {answers}")),
        incoming,
        forward(format!("-i {bridge} -j ACCEPT")),
    ];
    if passage.masquerade {
        let words = format!("-s {source} ! -o {bridge} -j MASQUERADE");
        rules.push(Rule::new("nat", "POSTROUTING", &words));
    }
    rules
}

fn run(program: &str, arguments: &[String]) -> Result<Output, IptablesError> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| IptablesError::Run { program: program.to_owned(), source })?;
    if output.status.success() {
        return Ok(output);
    }
    Err(IptablesError::Refused {
        command: format!("{program} {}", arguments.join(" ")),
        message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_lets_answers_in_before_the_rest_is_dropped() {
        let subnet = "10.9.0.0/24".parse().unwrap();
        let passage = Passage { bridge: "lt0", subnet, subnet6: None, internal: false, masquerade: true };
        let rules = |passage| super::rules(passage, "10.9.0.0/24");
        let shown: Vec<String> =
            rules(passage).iter().map(|rule| rule.command("-A")[3..].join(" ")).collect();
        assert_eq!(
            shown,
            [
                "-A FORWARD -i lt0 -o lt0 -j ACCEPT",
                "-A FORWARD -o lt0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
                "-A FORWARD -o lt0 -j DROP",
                "-A FORWARD -i lt0 -j ACCEPT",
                "-A POSTROUTING -s 10.9.0.0/24 ! -o lt0 -j MASQUERADE",
            ]
        );
        assert_eq!(rules(Passage { internal: true, ..passage }).len(), 3);
        assert_eq!(rules(Passage { masquerade: false, ..passage }).len(), 4);
    }

    #[test]
    fn a_program_that_is_missing_is_named() {
        let error = run("no-such-program-for-tests", &[]).unwrap_err();
        assert_eq!(error.to_string(), "running `no-such-program-for-tests`");
    }
}
