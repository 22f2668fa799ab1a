//! The dependency table: which of our crates may use which, and which crate alone may use a library.

use std::error::Error;
use std::process::Command;

use serde_json::Value;

/// Each crate of ours, and those of ours that it may use.
const TABLE: &[(&str, &[&str])] = &[
    ("lighter-image", &[]),
    ("lighter-dockerfile", &["lighter-image"]),
    ("lighter-layer", &["lighter-image"]),
    ("lighter-sandbox", &[]),
    ("lighter-store", &["lighter-image", "lighter-layer"]),
    ("lighter-registry", &["lighter-image"]),
    (
        "lighter-build",
        &["lighter-dockerfile", "lighter-store", "lighter-layer", "lighter-sandbox", "lighter-image"],
    ),
    (
        "lighter-engine",
        &[
            "lighter-build",
            "lighter-registry",
            "lighter-dockerfile",
            "lighter-store",
            "lighter-layer",
            "lighter-sandbox",
            "lighter-image",
        ],
    ),
    ("lighter", &["lighter-engine", "lighter-dockerfile", "lighter-image"]),
];

/// Libraries that one crate alone may use: each is a fence.
const FENCES: &[(&str, &str)] = &[
    ("ureq", "lighter-registry"),
    ("rustls", "lighter-registry"),
    ("libc", "lighter-sandbox"),
    ("clap", "lighter"),
];

/// Lists the edges of the real graph that the table does not allow.
pub(crate) fn faults() -> Result<Vec<String>, Box<dyn Error>> {
    let output = Command::new("cargo").args(["metadata", "--format-version", "1", "--no-deps"]).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let mut faults: Vec<String> = stale_lock()?.into_iter().collect();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = TABLE.iter().find(|(crate_name, _)| *crate_name == name) else {
            if !matches!(name, "xtask" | "lighter-tests") {
                faults.push(format!("{name} is not in the dependency table (xtask/src/deps.rs)"));
            }
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            // tests may look anywhere
            if dependency["kind"].is_null() {
                let used = dependency["name"].as_str().unwrap_or_default();
                faults.extend(fault(name, used, allowed));
            }
        }
    }
    Ok(faults)
}

/// The fuzz targets have a lock file of their own, which a change of our crates leaves behind.
fn stale_lock() -> Result<Option<String>, Box<dyn Error>> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", &target])
        .args(["--manifest-path", "fuzz/Cargo.toml"])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    Ok((!output.status.success()).then(|| format!("fuzz/Cargo.lock: {}", said.trim_end())))
}

fn fault(user: &str, library: &str, allowed: &[&str]) -> Option<String> {
    let ours = library == "lighter" || library.starts_with("lighter-");
    if ours && !allowed.contains(&library) {
        return Some(format!("{user} may not use {library}: the table in ARCHITECTURE.md has no such edge"));
    }
    let owner = FENCES.iter().find(|(fenced, _)| *fenced == library).map(|(_, owner)| *owner)?;
    (owner != user).then(|| format!("{user} may not use {library}: only {owner} does"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upward_edges_and_broken_fences_are_faults() {
        assert_eq!(fault("lighter-build", "lighter-store", &["lighter-store"]), None);
        assert!(fault("lighter-store", "lighter-build", &["lighter-layer"]).is_some());
        assert!(fault("lighter-store", "ureq", &[]).is_some());
        assert_eq!(fault("lighter-registry", "ureq", &[]), None);
    }

    #[test]
    fn the_table_only_points_down() {
        for (place, (name, allowed)) in TABLE.iter().enumerate() {
            for used in *allowed {
                let below = TABLE.iter().position(|(other, _)| other == used);
                assert!(below.is_some_and(|below| below < place), "{name} → {used}");
            }
        }
    }
}
