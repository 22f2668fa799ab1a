//! Checks of the house that no compiler makes: `cargo run -p xtask -- deps|tidy|supply`, the binary's bill of materials:
//! `-- sbom`, what things cost: `-- bench [--record]`, and how that grows: `-- growth [FOLDER]`.

mod bench;
mod deps;
mod growth;
mod supply;
mod tidy;
mod timed;

use std::process::ExitCode;

fn main() -> ExitCode {
    let verb = std::env::args().nth(1);
    let faults = match verb.as_deref() {
        Some("deps") => deps::faults(),
        Some("tidy") => tidy::faults(),
        Some("supply") => supply::faults(),
        Some("sbom") => supply::print_sbom().map(|()| Vec::new()),
        Some("bench") => bench::run(&std::env::args().skip(2).collect::<Vec<_>>()),
        Some("growth") => growth::run(&std::env::args().skip(2).collect::<Vec<_>>()),
        _ => Err("usage: cargo run -p xtask -- deps|tidy|supply|sbom|bench|growth".into()),
    };
    report(faults)
}

#[expect(clippy::print_stderr, reason = "a developer's tool, with no output but its findings")]
fn report(faults: Result<Vec<String>, Box<dyn std::error::Error>>) -> ExitCode {
    match faults {
        Ok(faults) if faults.is_empty() => ExitCode::SUCCESS,
        Ok(faults) => {
            for fault in &faults {
                eprintln!("{fault}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
