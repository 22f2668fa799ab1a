//! Tidiness: what each source file must say and may not hold.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// From here on a file is split.
const LONGEST_FILE: usize = 600;

/// The only file that may hold unsafe code.
const UNSAFE_FILE: &str = "crates/sandbox/src/sys.rs";

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
    faults
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
    }
}
