//! Measures what a step costs: `steps LOWER COUNT [host|none] PROGRAM…` runs a program in fresh sandboxes on a layer.

#![allow(clippy::print_stdout, clippy::allow_attributes, reason = "a program of its own")]

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use lighter_sandbox::{Network, Root, Spec, Stdio, run_hidden_verb, spawn};

fn main() -> Result<(), Box<dyn Error>> {
    run_hidden_verb();
    let mut arguments = std::env::args().skip(1);
    let (Some(lower), Some(count)) = (arguments.next(), arguments.next()) else {
        return Err("usage: steps LOWER COUNT [host|none] PROGRAM…".into());
    };
    let network = match arguments.next().as_deref() {
        Some("host") => Network::Host,
        _ => Network::None,
    };
    let args: Vec<String> = arguments.collect();
    let scratch = tempfile::tempdir()?;
    let mut times = Vec::new();
    for number in 0..count.parse()? {
        let (upper, work) = directories(scratch.path(), number)?;
        let root = Root::Overlay { lowers: vec![lower.clone().into()], upper, work };
        let mut spec = Spec::new(root, args.clone());
        spec.env = vec!["PATH=/usr/bin:/bin".to_owned()];
        spec.network = network.clone();
        let begun = Instant::now();
        let exit = spawn(&spec, Stdio::inherit())?.wait()?;
        times.push(begun.elapsed());
        if !exit.is_success() {
            return Err(format!("{exit:?}").into());
        }
    }
    report(times);
    Ok(())
}

fn directories(scratch: &Path, number: u32) -> std::io::Result<(std::path::PathBuf, std::path::PathBuf)> {
    let upper = scratch.join(format!("{number}/upper"));
    let work = scratch.join(format!("{number}/work"));
    std::fs::create_dir_all(&upper)?;
    std::fs::create_dir_all(&work)?;
    Ok((upper, work))
}

fn report(mut times: Vec<Duration>) {
    times.sort();
    let at = |part: usize| {
        let index = (times.len() * part / 100).min(times.len().saturating_sub(1));
        times.get(index).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    println!("ms: min {:.2}  median {:.2}  p90 {:.2}", at(0), at(50), at(90));
}
