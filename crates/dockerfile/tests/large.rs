//! Large files: 10,000 lines of 1,000 stages are read and planned in less time than anybody notices.

use std::fmt::Write as _;
use std::time::Duration;

use lighter_dockerfile::{Base, Bases, Lowered, Plan, Request, lower, parse};
use lighter_image::{ImageConfig, Platform};

/// Debug builds are slower by an order of magnitude; what they guard against is another order of growth.
const LIMIT: Duration =
    if cfg!(debug_assertions) { Duration::from_secs(2) } else { Duration::from_millis(50) };

/// The best of some attempts, by the time on the processor: a busy machine is not what is measured.
fn best(source: &str) -> (Plan, Duration) {
    let attempts = (0..if cfg!(debug_assertions) { 2 } else { 10 }).map(|_| {
        let before = processor_time();
        let plan = plan(source);
        (plan, processor_time().saturating_sub(before))
    });
    attempts.min_by_key(|(_, time)| *time).expect("there was an attempt")
}

/// How long this thread has been running.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).expect("time is positive");
    Duration::new(seconds, u32::try_from(time.tv_nsec).expect("less than a second"))
}

fn plan(source: &str) -> Plan {
    let parsed = parse(source.as_bytes());
    assert_eq!(parsed.diagnostics, []);
    let request = Request::new(Platform::new("linux", "amd64", None));
    let mut bases = Bases::new();
    loop {
        match lower(&parsed.file, &request, &bases) {
            Lowered::Plan(plan) => return *plan,
            Lowered::NeedsBases(needs) => {
                for need in needs {
                    bases.insert(need.key(), Base { config: ImageConfig::default(), digest: None });
                }
            }
            Lowered::Faults(faults) => panic!("{faults:?}"),
        }
    }
}

/// Ten lines a stage; each stage takes from the one before.
fn stages(count: usize, base: impl Fn(usize) -> String) -> String {
    let mut source = String::new();
    for index in 0..count {
        let base = base(index);
        let from = index.saturating_sub(1);
        let copy = if index == 0 { "COPY a /a".to_owned() } else { format!("COPY --from=s{from} /out /in") };
        write!(
            source,
            "FROM {base} AS s{index}\n# stage {index}\nARG V=1\nENV N=\"{index}\" P=${{V:-x}}\nRUN make \\\n  V=$V \\\n  \
             install\n{copy}\nWORKDIR /w/$N\nCMD [\"x\", \"{index}\"]\n"
        )
        .expect("a string grows");
    }
    source
}

#[test]
fn a_thousand_stages_side_by_side() {
    let source = stages(1_000, |_| "busybox".to_owned());
    assert_eq!(source.lines().count(), 10_000);
    let (plan, time) = best(&source);
    assert_eq!(plan.steps.len(), 3_000);
    println!("{time:?}");
    assert!(time < LIMIT, "{time:?}");
}

#[test]
fn a_chain_of_five_hundred_stages() {
    let mut source = String::from("FROM busybox AS s0\nRUN x\n");
    for index in 1..=500 {
        writeln!(source, "FROM s{} AS s{index}", index - 1).expect("a string grows");
    }
    let (plan, time) = best(&source);
    assert_eq!(plan.steps.len(), 1);
    println!("{time:?}");
    assert!(time < LIMIT, "{time:?}");
}

#[test]
fn five_thousand_stages_that_nobody_needs() {
    let mut source = String::new();
    for index in 0..5_000 {
        write!(source, "FROM busybox AS s{index}\nRUN {index}\n").expect("a string grows");
    }
    source.push_str("FROM scratch\nCOPY f /f\n");
    let (plan, time) = best(&source);
    assert_eq!(plan.steps.len(), 1);
    println!("{time:?}");
    assert!(time < LIMIT, "{time:?}");
}
