//! How programs are found, run and ended.

use std::time::{Duration, Instant};

use lighter_sandbox::{Exit, SandboxError, User};

use crate::fixture::{Fixture, output_of, read_all, run, start, succeed};

pub(crate) const CASES: &[crate::Case] = &[
    ("program::exit_codes", exit_codes),
    ("program::faults_have_dockers_words", faults_have_dockers_words),
    ("program::refusals_are_said_by_the_init", refusals_are_said_by_the_init),
    ("program::it_sees_only_its_environment", it_sees_only_its_environment),
    ("program::process_one_takes_all_with_it", process_one_takes_all_with_it),
    ("program::signals_reach_it", signals_reach_it),
    ("program::init_reaps_and_forwards", init_reaps_and_forwards),
    ("program::no_descriptor_leaks", no_descriptor_leaks),
    ("program::many_at_once", many_at_once),
    ("program::a_large_order", a_large_order),
];

fn exit_codes() {
    let fixture = Fixture::new();
    let check = |script: &str, expected: Exit| {
        assert_eq!(run(&fixture.script(script)).exit, expected, "{script}");
    };
    check("true", Exit::Code(0));
    check("exit 37", Exit::Code(37));
    check("exit 255", Exit::Code(255));
    check("sh -c 'kill -9 $$'", Exit::Code(137));
}

fn faults_have_dockers_words() {
    let fixture = Fixture::new();
    let check = |program: &str, text: &str, code: i32| {
        let error = start(&fixture.command(&[program])).expect_err(program);
        assert_eq!(error.to_string(), text);
        assert_eq!(error.exit_code(), code, "{program}");
    };
    check("nosuch", "exec: \"nosuch\": executable file not found in $PATH", 127);
    check("/no/such", "exec: \"/no/such\": stat /no/such: no such file or directory", 127);
    check("/etc", "exec: \"/etc\": is a directory: permission denied", 126);
    check("/etc/kept", "exec: \"/etc/kept\": permission denied", 126);
    check("", "exec: \"\": executable file not found in $PATH", 127);
    let mut spec = fixture.script("true");
    "/nowhere".clone_into(&mut spec.cwd);
    let error = start(&spec).expect_err("cwd");
    assert!(matches!(error, SandboxError::Setup { .. }), "{error}");
    assert_eq!(fixture.changes(), Vec::<String>::new());
}

fn refusals_are_said_by_the_init() {
    use std::os::unix::fs::PermissionsExt;
    let fixture = Fixture::new();
    let check = |content: &str, text: &str| {
        let path = fixture.path("lower/program");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        let outcome = run(&fixture.command(&["/program"]));
        assert_eq!((outcome.output.as_str(), outcome.exit), (text, Exit::Code(255)));
    };
    check("#!/no/such\n", "exec /program: no such file or directory\n");
    check("echo no interpreter\n", "exec /program: exec format error\n");
}

fn it_sees_only_its_environment() {
    let fixture = Fixture::new();
    let mut spec = fixture.command(&["env"]);
    spec.env.push("A=b c".to_owned());
    assert_eq!(succeed(&spec), "PATH=/usr/sbin:/usr/bin\nA=b c\n");
}

fn process_one_takes_all_with_it() {
    let begun = Instant::now();
    assert_eq!(output_of("sleep 1000 & echo started"), "started\n");
    assert!(begun.elapsed() < Duration::from_secs(500));
}

fn signals_reach_it() {
    let fixture = Fixture::new();
    let (process, reader) =
        start(&fixture.script("trap 'exit 9' TERM; echo ready; sleep 100 & wait")).unwrap();
    let mut line = [0; 6];
    std::io::Read::read_exact(&mut std::fs::File::from(reader.try_clone().unwrap()), &mut line).unwrap();
    assert_eq!(process.try_wait().unwrap(), None);
    process.kill(15).unwrap();
    assert_eq!(process.wait().unwrap(), Exit::Code(9));
    assert_eq!(read_all(reader), "");
    // Once more changes nothing.
    process.kill(9).unwrap();
    assert_eq!(process.wait().unwrap(), Exit::Code(9));
    let (process, _reader) = start(&fixture.command(&["sleep", "100"])).unwrap();
    process.kill(9).unwrap();
    assert_eq!(process.wait().unwrap(), Exit::Signal(9));
}

fn init_reaps_and_forwards() {
    let fixture = Fixture::new();
    // an orphan that nobody reaps keeps its name
    let mut spec = fixture.script(
        "echo $$; (sleep 0.05 &); n=0; while grep -qs sleep /proc/[0-9]*/comm && [ $n -lt 600 ]; do n=$((n+1)); sleep 0.1; done; \
         [ $n -lt 600 ] && echo reaped; tr '\\0' ' ' < /proc/1/cmdline; exit 3",
    );
    spec.init = true;
    let outcome = run(&spec);
    assert_eq!(outcome.exit, Exit::Code(3), "{}", outcome.output);
    let lines: Vec<&str> = outcome.output.lines().collect();
    assert_ne!(lines[0], "1");
    assert_eq!(lines[1], "reaped");
    assert!(lines[2].starts_with("/sbin/docker-init -- sh -c"), "{}", lines[2]);
    let mut spec = fixture.script("trap 'exit 7' USR1; echo ready; while :; do sleep 0.02; done");
    spec.init = true;
    let (process, reader) = start(&spec).unwrap();
    let mut line = [0; 6];
    std::io::Read::read_exact(&mut std::fs::File::from(reader), &mut line).unwrap();
    process.kill(10).unwrap();
    assert_eq!(process.wait().unwrap(), Exit::Code(7));
    let mut spec = fixture.command(&["id", "-u"]);
    spec.init = true;
    spec.user = User::ROOT;
    assert_eq!(succeed(&spec), "0\n");
}

fn no_descriptor_leaks() {
    let leak = std::fs::File::open("/etc/passwd").unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    // The last is the directory that is being read.
    assert_eq!(output_of("ls /proc/self/fd | tr '\\n' ' '"), "0 1 2 3 ");
}

fn many_at_once() {
    std::thread::scope(|scope| {
        for number in 0..8 {
            scope.spawn(move || {
                for round in 0..3 {
                    let text = format!("{number} {round}");
                    assert_eq!(
                        output_of(&format!("echo {text}; echo {text} > /f; cat /f")),
                        format!("{text}\n{text}\n")
                    );
                }
            });
        }
    });
}

fn a_large_order() {
    let fixture = Fixture::new();
    let mut spec = fixture.script("echo ${#BIG} $LAST");
    spec.env.extend((0..2000).map(|number| format!("V{number}={}", "x".repeat(200))));
    spec.env.push(format!("BIG={}", "y".repeat(100_000)));
    spec.env.push("LAST=z".to_owned());
    assert_eq!(succeed(&spec), "100000 z\n");
}
