//! What things cost: kernels in instructions, whole commands in processor time, beside the last recorded result.
//!
//! Times on a machine that others use are noise; counts of instructions are not. They come from `perf stat` where the
//! processor's counters can be had, else from `valgrind --tool=callgrind`; with neither, kernels are left out, and it is
//! said. Each kernel is run twice, without and with its work, so that what prepares it does not count. The two counters do
//! not agree (valgrind shows programs another processor), and compilers differ: the record says what made it.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::timed::timed;

/// What was measured last, in the workspace: the compiler, then a name, a tab, a number, by line.
const RECORD: &str = "xtask/bench.tsv";
/// What is told: so many percent more than recorded.
const SLOWER_PERCENT: u64 = 10;
/// How often a command is run; the median counts.
const ROUNDS: usize = 5;

/// The examples that have kernels, by package, and their kernels.
const KERNELS: &[(&str, &str, &[&str])] = &[
    ("lighter-dockerfile", "language_kernels", &["parse", "plan"]),
    ("lighter-layer", "kernels", &["scan", "index", "tree-digest", "copy", "tar", "gzip", "apply"]),
    ("lighter-store", "speed", &["key-lookup"]),
];

type Figures = BTreeMap<String, u64>;

/// Measures, prints, and says what got slower. With `record`, what was measured is what the next run compares with.
pub(crate) fn run(args: &[String]) -> Result<Vec<String>, Box<dyn Error>> {
    let record = args.iter().any(|arg| arg == "--record");
    let before = read(Path::new(RECORD))?;
    let compiler = compiler()?;
    if let Some(other) = recorded_compiler(Path::new(RECORD))?.filter(|recorded| *recorded != compiler) {
        say(&format!("recorded with {other}, this is {compiler}: that alone can change counts"));
    }
    let mut figures = kernels()?;
    figures.extend(commands()?);
    let mut slower = Vec::new();
    for (name, now) in &figures {
        let Some(was) = before.get(name) else {
            say(&format!("{name:<32} {now:>14}"));
            continue;
        };
        say(&format!("{name:<32} {now:>14} {was:>14}"));
        // processor time of commands is told, but depends on the machine: it fails nothing
        if name.starts_with("kernel") && now.saturating_sub(*was) * 100 > was * SLOWER_PERCENT {
            slower.push(format!("{name} is slower: {now}, was {was}"));
        }
    }
    if record {
        let lines: Vec<String> = figures.iter().map(|(name, number)| format!("{name}\t{number}\n")).collect();
        fs::write(RECORD, format!("{compiler}\n{}", lines.concat()))?;
        return Ok(Vec::new());
    }
    Ok(slower)
}

#[expect(clippy::print_stdout, reason = "a developer's tool")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

fn read(path: &Path) -> Result<Figures, Box<dyn Error>> {
    if !path.exists() {
        return Ok(Figures::new());
    }
    let text = fs::read_to_string(path)?;
    let figures = text.lines().filter_map(|line| line.split_once('\t'));
    Ok(figures.filter_map(|(name, number)| Some((name.to_owned(), number.parse().ok()?))).collect())
}

fn compiler() -> Result<String, Box<dyn Error>> {
    Ok(String::from_utf8_lossy(&Command::new("rustc").arg("--version").output()?.stdout).trim().to_owned())
}

fn recorded_compiler(path: &Path) -> Result<Option<String>, Box<dyn Error>> {
    if !path.exists() {
        return Ok(None);
    }
    Ok(fs::read_to_string(path)?.lines().find(|line| !line.contains('\t')).map(str::to_owned))
}

fn kernels() -> Result<Figures, Box<dyn Error>> {
    let mut figures = Figures::new();
    let Some(counter) = Counter::find() else {
        say(
            "neither `perf stat` nor valgrind counts instructions here: kernels are left out, and nothing is compared",
        );
        return Ok(figures);
    };
    let target = target_dir();
    for (package, example, names) in KERNELS {
        let built = Command::new("cargo")
            .args(["build", "--locked", "--profile", "profiling", "-p", package, "--example", example])
            .status()?;
        if !built.success() {
            return Err(format!("the kernels of {package} do not build").into());
        }
        let program = target.join("profiling/examples").join(example);
        // examples of two packages may have one name: the next build replaces this one
        let kept = target.join(format!("bench-{package}"));
        fs::copy(program, &kept)?;
        for name in *names {
            // valgrind does not know the newest system calls, which some kernels need
            let counts = counter.count(&kept, name, false).and_then(|idle| {
                let busy = counter.count(&kept, name, true)?;
                Ok(busy.saturating_sub(idle))
            });
            match counts {
                Ok(count) => drop(figures.insert(format!("kernel {name}, instructions by {counter}"), count)),
                Err(error) => say(&format!("not counted here: {error}")),
            }
        }
        fs::remove_file(&kept)?;
    }
    Ok(figures)
}

pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from)
}

/// What counts instructions of user code.
enum Counter {
    Perf,
    Callgrind,
}

impl std::fmt::Display for Counter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Perf => "perf",
            Self::Callgrind => "callgrind",
        })
    }
}

impl Counter {
    fn find() -> Option<Self> {
        let works = |program: &str, args: &[&str]| {
            let out = Command::new(program).args(args).output();
            out.ok().filter(|out| out.status.success())
        };
        if let Some(out) = works("perf", &["stat", "-x,", "-e", "instructions:u", "true"])
            && perf_count(&out.stderr).is_some()
        {
            return Some(Self::Perf);
        }
        works("valgrind", &["--version"]).map(|_| Self::Callgrind)
    }

    fn count(&self, program: &Path, kernel: &str, busy: bool) -> Result<u64, Box<dyn Error>> {
        let mut command = match self {
            Self::Perf => {
                let mut command = Command::new("perf");
                command.args(["stat", "-x,", "-e", "instructions:u"]);
                command
            }
            Self::Callgrind => {
                let mut command = Command::new("valgrind");
                command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
                command
            }
        };
        command.arg(program).args(["--count", kernel, if busy { "1" } else { "0" }]);
        let out = command.stdout(Stdio::null()).output()?;
        if !out.status.success() {
            let text = String::from_utf8_lossy(&out.stderr);
            let told = text.lines().find(|line| line.starts_with("Error")).unwrap_or("it failed");
            return Err(format!("{kernel}: {told}").into());
        }
        let found = match self {
            Self::Perf => perf_count(&out.stderr),
            Self::Callgrind => callgrind_count(&out.stderr),
        };
        found.ok_or_else(|| format!("{kernel}: nothing was counted").into())
    }
}

fn perf_count(bytes: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().find(|line| line.contains("instructions"))?.to_owned();
    line.split(',').next()?.parse().ok()
}

fn callgrind_count(bytes: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().find(|line| line.contains("Collected"))?.to_owned();
    line.rsplit(' ').next()?.parse().ok()
}

/// Whole commands of the release binary on a context of 20,000 files, in microseconds.
fn commands() -> Result<Figures, Box<dyn Error>> {
    let program = fs::canonicalize(target_dir().join("release/lighter"));
    let Ok(program) = program else {
        say("there is no release binary (scripts/build): whole commands are left out");
        return Ok(Figures::new());
    };
    let folder = std::env::temp_dir().join(format!("lighter-bench-{}", std::process::id()));
    let measured = Bench { program, folder: folder.clone() }.all();
    fs::remove_dir_all(folder)?;
    measured
}

struct Bench {
    program: PathBuf,
    folder: PathBuf,
}

impl Bench {
    fn all(&self) -> Result<Figures, Box<dyn Error>> {
        let context = self.folder.join("context");
        for number in 0..20_000_u32 {
            let folder = context.join(format!("m{}/p{}", number / 1000, number / 50 % 20));
            fs::create_dir_all(&folder)?;
            fs::write(
                folder.join(format!("f{number}")),
                format!("{number}\n").repeat(1 + number as usize % 800),
            )?;
        }
        // nothing is run in it: no base is needed
        self.dockerfile("copy", "FROM scratch\nCOPY . /c/\n")?;
        let mut figures = Figures::new();
        let mut keep =
            |name: &str, figure: u64| figures.insert(format!("command {name}, microseconds"), figure);
        keep("version", self.median(|_| Ok(()), &["version"])?);
        let build = ["build", "-q", "-f", "copy", "-t", "c", "context"];
        let fresh = |round: usize| self.dockerfile("copy", &format!("FROM scratch\nCOPY . /c{round}/\n"));
        keep("copy 20,000 files", self.median(fresh, &build)?);
        keep("rebuild, 20,000 files", self.median(|_| Ok(()), &build)?);
        let edit = |round: usize| Ok(fs::write(context.join("m3/p7/edited"), round.to_string())?);
        keep("edit 1 of 20,000 files", self.median(edit, &build)?);
        keep("save", self.median(|_| Ok(()), &["save", "-o", "saved.tar", "c"])?);
        Ok(figures)
    }

    fn dockerfile(&self, name: &str, text: &str) -> Result<(), Box<dyn Error>> {
        Ok(fs::write(self.folder.join(name), text)?)
    }

    fn median(
        &self,
        prepare: impl Fn(usize) -> Result<(), Box<dyn Error>>,
        args: &[&str],
    ) -> Result<u64, Box<dyn Error>> {
        let mut times = Vec::with_capacity(ROUNDS);
        for round in 0..ROUNDS {
            prepare(round)?;
            times.push(u64::try_from(timed(&self.program, &self.folder, args)?.as_micros())?);
        }
        times.sort_unstable();
        Ok(times[ROUNDS / 2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_found_in_what_the_tools_say() {
        assert_eq!(perf_count(b"# started\n\n1234567,,instructions:u,100,100.00,,\n"), Some(1_234_567));
        assert_eq!(perf_count(b"<not supported>,,instructions:u,0,100.00,,\n"), None);
        assert_eq!(callgrind_count(b"==7== \n==7== Collected : 4711\n==7==\n"), Some(4711));
        assert_eq!(callgrind_count(b"==7== nothing\n"), None);
    }
}
