//! What the binary is made of: where each package comes from, under which licence, and the list of all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::Write as _;
use std::process::Command;

use serde_json::{Value, json};

/// The one place that packages come from.
const SOURCE: &str = "registry+https://github.com/rust-lang/crates.io-index";
/// Licences that let the binary be passed on under ours; `deny.toml` has the same.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "bzip2-1.0.6",
];

/// Lists packages from elsewhere, and those that no allowed licence covers.
pub(crate) fn faults() -> Result<Vec<String>, Box<dyn Error>> {
    let mut faults = Vec::new();
    for package in shipped()? {
        let name = format!("{} {}", text(&package["name"]), text(&package["version"]));
        if package["source"].as_str().is_some_and(|source| source != SOURCE) {
            faults.push(format!("{name} comes from {}", package["source"]));
        }
        match package["license"].as_str() {
            Some(expression) if is_allowed(expression) => {}
            Some(expression) => faults.push(format!("{name} is under {expression}")),
            None => faults.push(format!("{name} names no licence")),
        }
    }
    Ok(faults)
}

/// Prints the bill of materials of the binary, in `CycloneDX`'s form.
pub(crate) fn print_sbom() -> Result<(), Box<dyn Error>> {
    let mut components = Vec::new();
    let mut root = Value::Null;
    for package in shipped()? {
        let (name, version) = (text(&package["name"]), text(&package["version"]));
        let mut component = json!({
            "type": if name == "lighter" { "application" } else { "library" },
            "bom-ref": format!("{name}@{version}"),
            "name": name,
            "version": version,
            "licenses": [{"expression": text(&package["license"]).replace('/', " OR ")}],
        });
        if package["source"].is_string() {
            component["purl"] = format!("pkg:cargo/{name}@{version}").into();
        }
        if name == "lighter" { root = component } else { components.push(component) }
    }
    let bill = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": root},
        "components": components,
    });
    let mut out = std::io::stdout();
    serde_json::to_writer_pretty(&mut out, &bill)?;
    Ok(writeln!(out)?)
}

/// The packages that end up in the binary, sorted by name: what `lighter` needs, but not what only builds or tests it.
fn shipped() -> Result<Vec<Value>, Box<dyn Error>> {
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let args = ["metadata", "--format-version", "1", "--locked", "--filter-platform", &target];
    let output = Command::new("cargo").args(args).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let packages: BTreeMap<String, Value> = list(&metadata["packages"])
        .into_iter()
        .map(|package| (text(&package["id"]).to_owned(), package))
        .collect();
    let nodes: BTreeMap<String, Value> = list(&metadata["resolve"]["nodes"])
        .into_iter()
        .map(|node| (text(&node["id"]).to_owned(), node["deps"].clone()))
        .collect();
    let is_root = |(_, package): &(&String, &Value)| package["name"] == "lighter";
    let mut todo: Vec<String> = packages.iter().filter(is_root).map(|(id, _)| id.clone()).collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = todo.pop() {
        if !seen.insert(id.clone()) {
            continue;
        }
        for dependency in list(nodes.get(&id).unwrap_or(&Value::Null)) {
            if list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null()) {
                todo.push(text(&dependency["pkg"]).to_owned());
            }
        }
    }
    let mut shipped: Vec<Value> = seen.iter().filter_map(|id| packages.get(id).cloned()).collect();
    shipped.sort_by_key(|package| (text(&package["name"]).to_owned(), text(&package["version"]).to_owned()));
    Ok(shipped)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Whether an SPDX expression can be met with allowed licences alone.
fn is_allowed(expression: &str) -> bool {
    let expression = expression.trim();
    let parts = |word: &str| split_outside(expression, word);
    for (word, all) in [(" OR ", false), ("/", false), (" AND ", true)] {
        let parts = parts(word);
        if parts.len() > 1 {
            let mut allowed = parts.into_iter().map(is_allowed);
            return if all { allowed.all(|one| one) } else { allowed.any(|one| one) };
        }
    }
    match expression.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        Some(inner) => is_allowed(inner),
        None => LICENCES.contains(&expression),
    }
}

/// Splits a text at a word, but not within parentheses.
fn split_outside<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_u32);
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 && text[at..].starts_with(word) && at >= start => {
                parts.push(&text[start..at]);
                start = at + word.len();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_needs_one_allowed_way() {
        for (expression, expected) in [
            ("MIT", true),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0 AND MIT", false),
            ("(MIT OR GPL-3.0) AND Unicode-3.0", true),
            ("(GPL-3.0 OR LGPL-2.1) AND MIT", false),
            ("Apache-2.0 WITH LLVM-exception OR GPL-3.0", true),
            ("", false),
        ] {
            assert_eq!(is_allowed(expression), expected, "{expression}");
        }
    }
}
