//! The program is killed at the write points of each verb, and everything is looked at afterwards.
//!
//! Needs the feature `failpoints`. A few points of each verb are taken; with `LIGHTER_CRASH_POINTS=all`, every one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests")]

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;

use lighter_registry::testing::Registry;
use lighter_tests::{Lighter, eventually};

const PROGRAM: &str = env!("CARGO_BIN_EXE_lighter");

/// How many points of a verb are taken when not all are.
const SOME: u64 = 4;

/// A verb, and what must be so after it has been repeated.
struct Verb {
    words: Vec<String>,
    /// Whether the shim is killed, not the program.
    shim: bool,
    is_done: fn(&Lighter),
}

impl Verb {
    fn new(words: &str, is_done: fn(&Lighter)) -> Self {
        Self { words: words.split(' ').map(|word| word.replace('~', " ")).collect(), shim: false, is_done }
    }

    fn of_shim(self) -> Self {
        Self { shim: true, ..self }
    }
}

/// A store with an image that must survive, a container of it, a volume, and things that may go.
struct Ground {
    lighter: Lighter,
    registry: Registry,
}

impl Ground {
    fn new() -> Self {
        let registry = Registry::start();
        let lighter = Lighter::of(PROGRAM).and_busybox();
        let name = format!("{}/a/remote:1", registry.host());
        lighter.build(&name, "FROM busybox\nCOPY f /remote\nCMD cat /remote\n", &[("f", "remote\n")]);
        lighter.ok(["push", "-q", &name]);
        lighter.ok(["save", "-o", "remote.tar", &name]);
        lighter.ok(["rmi", &name]);
        lighter.build("keep", "FROM busybox\nCOPY f /kept\nCMD cat /kept\n", &[("f", "kept\n")]);
        lighter.build("junk", "FROM busybox\nRUN echo junk > /junk\n", &[]);
        lighter.ok(["volume", "create", "data"]);
        lighter.ok([
            "run",
            "--name",
            "box",
            "-v",
            "data:/data",
            "keep",
            "sh",
            "-c",
            "echo own >/own; cat /kept >/data/kept",
        ]);
        lighter.ok(["create", "--name", "idle", "junk"]);
        lighter.ok(["builder", "prune", "-af"]);
        lighter.context("FROM keep AS one\nRUN cat /kept > /ran\nFROM keep\nCOPY --from=one /ran /ran\nCOPY f /f\nCMD cat /ran /f\n", &[("f", "file\n")]);
        fs::rename(lighter.root(), lighter.path("before")).unwrap();
        Self { lighter, registry }
    }

    /// The store as it was in the beginning.
    fn renew(&self) {
        let root = self.lighter.root();
        // shims of before must not find a store that is not theirs
        eventually("the shims end", || !is_open(&root));
        if root.exists() {
            fs::remove_dir_all(&root).unwrap();
        }
        let copied = Command::new("cp").arg("-a").arg(self.lighter.path("before")).arg(&root).status();
        assert!(copied.unwrap().success());
    }

    /// Runs a verb under an order; whether it was killed, or its shim was.
    fn obey(&self, verb: &Verb, order: &str) -> bool {
        let order = if verb.shim { format!("shim {order}") } else { order.to_owned() };
        let mut command = self.lighter.command(verb.words.iter().map(String::as_str));
        let output = command.env("LIGHTER_FAILPOINT", order).output().expect("starts");
        output.status.signal() == Some(9) || verb.shim
    }

    /// How many write points a verb has.
    fn points(&self, verb: &Verb) -> u64 {
        self.renew();
        let place = self.lighter.path("count");
        assert!(!self.obey(verb, &format!("count {}", place.display())) || verb.shim, "{:?}", verb.words);
        // a shim lives a little longer than its client
        let mut count = None;
        eventually("it is told how often it writes", || {
            count = fs::read_to_string(&place).ok().and_then(|text| text.parse().ok());
            count.is_some()
        });
        fs::remove_file(&place).unwrap();
        count.expect("it is told")
    }

    fn kill_everywhere(&self, verb: &Verb) {
        let points = self.points(verb);
        assert!(points > 0, "{:?} writes nothing", verb.words);
        let step = match std::env::var("LIGHTER_CRASH_POINTS") {
            Ok(all) if all == "all" => 1,
            _ => points.div_ceil(SOME),
        };
        let mut deaths = 0;
        for number in (1..=points).step_by(usize::try_from(step).unwrap()) {
            for power in [false, true] {
                let what = format!("{:?} at {number} of {points}, power {power}", verb.words);
                self.renew();
                let how = if power { "power" } else { "kill" };
                // other threads may have written less than when it was counted
                deaths += u64::from(self.obey(verb, &format!("{how} {number}")));
                if !power {
                    self.look(&what, "none");
                    self.repeat(verb, &what);
                } else if !verb.shim {
                    self.look(&what, "after");
                }
            }
        }
        println!("{:?}: {points} write points, {deaths} deaths", verb.words.join(" "));
        assert!(deaths > 0, "{:?} was never killed", verb.words);
    }

    fn after(&self, boot: &str, words: &[&str]) -> lighter_tests::Said {
        let mut command = self.lighter.command(words.iter().copied());
        if boot != "none" {
            command.env("LIGHTER_FAILPOINT", format!("kill 18446744073709551615; boot {boot}"));
        }
        let output = command.output().expect("starts");
        lighter_tests::Said {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// What was there before must be there still.
    fn look(&self, what: &str, boot: &str) {
        let ok = |words: &[&str]| {
            let said = self.after(boot, words);
            assert_eq!(said.code, 0, "{what}: {words:?}: {}", said.all());
            said.out
        };
        ok(&["images"]);
        ok(&["ps", "-a"]);
        assert_eq!(ok(&["run", "--rm", "keep"]), "kept\n", "{what}");
        ok(&["system", "check"]);
        let check = ok(&["system", "check"]);
        assert!(check.contains("all is well"), "{what}: {check}");
        assert_eq!(
            ok(&["run", "--rm", "-v", "data:/data", "keep", "cat", "/kept", "/data/kept"]),
            "kept\nkept\n"
        );
        assert!(ok(&["diff", "box"]).contains("A /own"), "{what}");
    }

    /// The same command again gives what it should, and nothing is left behind.
    fn repeat(&self, verb: &Verb, what: &str) {
        let said = self.lighter.run(verb.words.iter().map(String::as_str));
        let is_made = said.all().contains("already exists");
        assert!(said.code == 0 || is_made, "{what}: repeated: {}", said.all());
        (verb.is_done)(&self.lighter);
        self.lighter.ok(["system", "prune", "-af"]);
        self.lighter.ok(["builder", "prune", "-af"]);
        // shims of the containers above may live a little longer
        eventually(&format!("{what}: nothing is left"), || {
            let left = self.left();
            if !left.is_empty() {
                println!("{what}: left are {left:?}");
                self.lighter.ok(["builder", "prune", "-af"]);
            }
            left.is_empty()
        });
    }

    /// What no process needs any more, and is there all the same.
    fn left(&self) -> Vec<String> {
        let root = self.lighter.root();
        let pending: Vec<String> =
            entries(&root.join("pending")).iter().map(|boot| format!("pending/{boot}")).collect();
        let folders = ["leases", "scratch", "trash", "flights"].map(str::to_owned).into_iter().chain(pending);
        folders
            .flat_map(|folder| {
                entries(&root.join(&folder)).into_iter().map(move |name| format!("{folder}/{name}"))
            })
            .collect()
    }
}

/// Whether a process has something below a folder open.
fn is_open(folder: &Path) -> bool {
    let processes = entries(Path::new("/proc")).into_iter().filter(|name| name.parse::<u32>().is_ok());
    processes.into_iter().any(|process| {
        let Ok(open) = fs::read_dir(format!("/proc/{process}/fd")) else { return false };
        open.flatten().any(|entry| fs::read_link(entry.path()).is_ok_and(|path| path.starts_with(folder)))
    })
}

fn entries(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn prints(lighter: &Lighter, image: &str, expected: &str) {
    assert_eq!(lighter.ok(["run", "--rm", image]), expected);
}

fn remote_is_there(lighter: &Lighter) {
    let images = lighter.ok(["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    let remote = images.lines().find(|name| name.contains("/a/remote:1")).expect("the image");
    prints(lighter, remote, "remote\n");
}

#[test]
fn killed_builds_lose_nothing() {
    let ground = Ground::new();
    let built = |lighter: &Lighter| prints(lighter, "built", "kept\nfile\n");
    ground.kill_everywhere(&Verb::new("build -q -t built -t junk context", built));
    ground.kill_everywhere(&Verb::new("builder prune -af", |_| {}));
}

#[test]
fn killed_transfers_lose_nothing() {
    let ground = Ground::new();
    ground.kill_everywhere(&Verb::new("load -q -i remote.tar", remote_is_there));
    let pull = format!("pull -q {}/a/remote:1", ground.registry.host());
    ground.kill_everywhere(&Verb::new(&pull, remote_is_there));
    ground.kill_everywhere(&Verb::new("import busybox.tar fresh", |lighter| {
        assert_eq!(lighter.ok(["run", "--rm", "fresh", "echo", "yes"]), "yes\n");
    }));
}

#[test]
fn killed_containers_lose_nothing() {
    let ground = Ground::new();
    ground.kill_everywhere(&Verb::new("run --rm -v fresh:/v keep sh -c cat~/kept~>~/v/x", |_| {}));
    ground.kill_everywhere(&Verb::new("run --rm keep cat /kept", |_| {}).of_shim());
    ground.kill_everywhere(&Verb::new("commit box committed", |lighter| {
        assert_eq!(lighter.ok(["run", "--rm", "committed", "cat", "/own"]), "own\n");
    }));
    ground.kill_everywhere(&Verb::new("rm -f idle", |_| {}));
}

#[test]
fn killed_changes_of_names_and_prunes_lose_nothing() {
    let ground = Ground::new();
    ground.kill_everywhere(&Verb::new("tag keep other:1", |lighter| prints(lighter, "other:1", "kept\n")));
    ground.kill_everywhere(&Verb::new("tag keep junk", |lighter| prints(lighter, "junk", "kept\n")));
    ground.kill_everywhere(&Verb::new("rmi -f busybox", |_| {}));
    ground.kill_everywhere(&Verb::new("image prune -af", |_| {}));
    ground.kill_everywhere(&Verb::new("volume create more", |_| {}));
    ground.kill_everywhere(&Verb::new("network create --driver bridge net", |_| {}));
}

#[test]
fn layers_that_a_loss_of_power_tore_are_not_used() {
    let ground = Ground::new();
    ground.renew();
    let lighter = &ground.lighter;
    let ok = |words: &[&str]| {
        let said = ground.after("second", words);
        assert_eq!(said.code, 0, "{words:?}: {}", said.all());
        said.out
    };
    // whole layers are found to be so, and then are for good
    assert_eq!(ok(&["start", "-a", "box"]), "");
    assert!(ok(&["export", "box"]).contains("kept"));
    ground.renew();
    let layers = lighter.root().join("layers");
    let mut torn = 0;
    for group in entries(&layers) {
        for id in entries(&layers.join(&group)) {
            let file = layers.join(&group).join(id).join("fs/kept");
            if file.exists() {
                fs::write(file, "").unwrap();
                torn += 1;
            }
        }
    }
    assert!(torn > 0);
    for words in [
        ["start", "-a", "box"],
        ["export", "-o=x.tar", "box"],
        ["commit", "box", "wrong"],
        ["cp", "box:/kept", "x"],
    ] {
        let said = ground.after("second", &words);
        assert!(said.code != 0 && said.all().contains("machine stopped"), "{words:?}: {}", said.all());
    }
    let said = ground.after("second", &["run", "--rm", "keep"]);
    assert!(said.code != 0, "{}", said.all());
    let report = ground.after("second", &["system", "check"]);
    assert!(report.code == 1 && report.out.contains("a container stands on it"), "{}", report.all());
    ok(&["rm", "box"]);
    ok(&["system", "check"]);
    assert!(ok(&["system", "check"]).contains("all is well"));
}

#[test]
fn a_check_makes_layers_durable() {
    let ground = Ground::new();
    ground.renew();
    let unsynced = || {
        let layers = ground.lighter.root().join("layers");
        let ids = entries(&layers).into_iter().flat_map(|group| {
            let group = layers.join(group);
            entries(&group).into_iter().map(move |id| group.join(id).join("layer"))
        });
        ids.filter(|record| fs::read_to_string(record).unwrap().contains("\"boot\"")).count()
    };
    assert!(unsynced() > 0);
    ground.lighter.ok(["system", "check"]);
    assert_eq!(unsynced(), 0);
}
