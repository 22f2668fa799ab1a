//! Whole commands of the program, timed.

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Runs a command in a folder, with its store in there, and says how long it took.
pub(crate) fn timed(program: &Path, folder: &Path, args: &[&str]) -> Result<Duration, Box<dyn Error>> {
    let started = Instant::now();
    let out = Command::new(program)
        .args(args)
        .env("LIGHTER_ROOT", folder.join("store"))
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()?;
    let taken = started.elapsed();
    if out.status.success() {
        return Ok(taken);
    }
    Err(format!("{}: {}", args.join(" "), String::from_utf8_lossy(&out.stderr)).into())
}
