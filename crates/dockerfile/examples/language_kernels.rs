//! Kernels for `cargo run -p xtask -- bench`: `kernels --count parse|plan 0|1`, without and with the work.

use std::error::Error;
use std::fmt::Write as _;
use std::hint::black_box;

use lighter_dockerfile::{Base, Bases, Lowered, Request, lower, parse};
use lighter_image::{ImageConfig, Platform};

/// Stages of ten lines; each takes from the one before.
fn source(stages: usize) -> Result<String, std::fmt::Error> {
    let mut source = String::new();
    for index in 0..stages {
        let from = index.saturating_sub(1);
        let copy = if index == 0 { "COPY a /a".to_owned() } else { format!("COPY --from=s{from} /out /in") };
        write!(
            source,
            "FROM base AS s{index}\n# stage {index}\nARG V=1\nENV N=\"{index}\" P=${{V:-x}}\nRUN make \\\n  \
             V=$V \\\n  install\n{copy}\nWORKDIR /w/$N\nCMD [\"x\", \"{index}\"]\n"
        )?;
    }
    Ok(source)
}

fn plan(source: &str) -> Result<(), Box<dyn Error>> {
    let parsed = parse(source.as_bytes());
    let request = Request::new(Platform::new("linux", "amd64", None));
    let mut bases = Bases::new();
    loop {
        match lower(&parsed.file, &request, &bases) {
            Lowered::Plan(plan) => {
                black_box(plan);
                return Ok(());
            }
            Lowered::NeedsBases(needs) => {
                for need in needs {
                    bases.insert(need.key(), Base { config: ImageConfig::default(), digest: None });
                }
            }
            Lowered::Faults(faults) => return Err(format!("{faults:?}").into()),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let source = source(200)?;
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--count", _, "0"] => Ok(()),
        ["--count", "parse", "1"] => {
            black_box(parse(source.as_bytes()));
            Ok(())
        }
        ["--count", "plan", "1"] => plan(&source),
        _ => Err("usage: kernels --count parse|plan 0|1".into()),
    }
}
