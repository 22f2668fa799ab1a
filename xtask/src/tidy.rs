//! Tidiness: what each source file must say and may not hold.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// From here on a file is split.
const LONGEST_FILE: usize = 600;

/// The only file that may hold unsafe code.
const UNSAFE_FILE: &str = "crates/sandbox/src/sys.rs";

/// Crates, and what their code may not say: some are pure, and one alone reads the environment.
const FENCES: &[(&[&str], &[&str])] = &[
    (
        &["image", "dockerfile"],
        &["std::fs", "fs::read", "std::net::Tcp", "std::process", "SystemTime::now", "Instant::now"],
    ),
    (
        &["image", "dockerfile", "layer", "store", "registry", "sandbox", "build", "engine"],
        &["env::var(", "env::var_os("],
    ),
];

/// Lists what is untidy in the sources below the current folder.
pub(crate) fn faults() -> Result<Vec<String>, Box<dyn Error>> {
    let mut files = Vec::new();
    for top in ["crates", "tests", "xtask"] {
        collect(Path::new(top), &mut files)?;
    }
    files.sort();
    let mut faults = Vec::new();
    for file in files {
        faults.extend(faults_of(&file.to_string_lossy(), &fs::read_to_string(&file)?));
    }
    Ok(faults)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn faults_of(file: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let is_test = file.contains("/tests/") || file.ends_with("/tests.rs");
    if !is_test && !text.starts_with("//!") {
        faults.push(format!("{file}: the first line must say the file's duty"));
    }
    let lines = text.lines().count();
    if lines > LONGEST_FILE && !is_test {
        faults.push(format!("{file}: {lines} lines; split it at {LONGEST_FILE}"));
    }
    let has_unsafe = text.lines().any(|line| {
        let code = line.split("//").next().unwrap_or_default();
        code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl")
    });
    if has_unsafe && file != UNSAFE_FILE && !file.starts_with("xtask/") {
        faults.push(format!("{file}: unsafe code outside of {UNSAFE_FILE}"));
    }
    if !is_test {
        faults.extend(fence_faults(file, text));
    }
    faults
}

/// What the part of a crate's source that is no test says though its room may not.
fn fence_faults(file: &str, text: &str) -> Vec<String> {
    let mut parts = file.strip_prefix("crates/").unwrap_or_default().split('/');
    let (Some(room), Some("src")) = (parts.next(), parts.next()) else { return Vec::new() };
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let code: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let fences = FENCES.iter().filter(|(rooms, _)| rooms.contains(&room));
    fences
        .flat_map(|(_, words)| *words)
        .filter(|word| code.iter().any(|line| line.contains(**word)))
        .map(|word| format!("{file}: `{word}` is for other rooms, see ARCHITECTURE.md"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_finds_its_fault() {
        assert_eq!(faults_of("crates/a.rs", "//! Duty.\n"), Vec::<String>::new());
        assert_eq!(faults_of("crates/a.rs", "fn main() {}\n").len(), 1);
        assert_eq!(faults_of("crates/a.rs", &"//! Duty.\n".repeat(LONGEST_FILE + 1)).len(), 1);
        assert_eq!(faults_of("crates/a.rs", "//! Duty.\nunsafe { x() }\n").len(), 1);
        assert_eq!(faults_of(UNSAFE_FILE, "//! Duty.\nunsafe { x() }\n").len(), 0);
        let reads = "//! Duty.\nfn x() { std::env::var(\"A\"); }\n";
        assert_eq!(faults_of("crates/store/src/a.rs", reads).len(), 1);
        assert_eq!(faults_of("crates/cli/src/a.rs", reads).len(), 0);
        assert_eq!(
            faults_of("crates/store/src/a.rs", &format!("//! Duty.\n#[cfg(test)]\nmod t {{{reads}}}")),
            [""; 0]
        );
    }
}
