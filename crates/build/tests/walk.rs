//! Builds for real: a store, a sandbox, a Dockerfile. It needs the right to make namespaces, and the base images of
//! `LIGHTER_BASES`; without them it says so and passes.
//!
//! A harness of its own, because a sandbox begins as this very program, executed again.
#![expect(clippy::print_stdout, reason = "a harness tells what it does")]

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use lighter_build::{
    BuildError, Built, CacheRules, CancelToken, ContextFiles, Event, EventKind, Fetch, FetchError,
    FetchedTree, HttpFile, ImageInput, Inputs, OnError, Reason, Reporter, RunSettings, SharedCache,
    SharedStep, StepError, What, Work, build,
};
use lighter_dockerfile::parse;
use lighter_dockerfile::plan::{Base, Bases, GitSource, HttpSource, Lowered, Plan, Request, lower};
use lighter_image::{DiffId, Digest, ImageConfig, ImageId, ImagePath, Platform, RootFs, error_chain};
use lighter_layer::{ApplyOptions, View, apply};
use lighter_store::{NewLayer, Store};

type Test = fn(&Bench);

const TESTS: &[(&str, Test)] = &[
    ("a run, a copy and a second time from the cache", first_walk),
    ("a rebuilt step with the same bytes stops the rest", early_cutoff),
    ("times do not matter, modes and contents do", precise_copy),
    ("what is edited while it is copied is not kept under the key of before", touched),
    ("many new files are copied before their key is known, and found again by it", ahead),
    ("of two stages that copy the same at once, one does", ahead_twice),
    ("what is edited while it is copied ahead is copied as it is", ahead_and_touched),
    ("a failing command is told with its code and its last words", failing),
    ("nothing of a cancelled build stays", cancelled),
    ("stages without a path between them run side by side", side_by_side),
    ("what changed is named", explained),
];

fn main() {
    lighter_sandbox::run_hidden_verb();
    let Some(bases) = std::env::var_os("LIGHTER_BASES").map(PathBuf::from) else {
        println!("skipped: LIGHTER_BASES is not set");
        return;
    };
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    for (name, test) in TESTS {
        if wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str())) {
            println!("{name}");
            test(&Bench::new(&bases));
        }
    }
}

/// A store with a base image, and a context.
struct Bench {
    bases: PathBuf,
    folder: tempfile::TempDir,
    store: Store,
    base: DiffId,
}

#[derive(Default)]
struct Nothing {
    /// Whether steps may be elsewhere, as far as is known.
    is_shared: bool,
}

impl SharedCache for Nothing {
    fn is_empty(&self) -> bool {
        !self.is_shared
    }
    fn find(&self, _: &Digest, _: &Work<'_>) -> Result<Option<SharedStep>, FetchError> {
        Ok(None)
    }
}

impl Fetch for Nothing {
    fn shared(&self) -> &dyn SharedCache {
        self
    }
    fn layers(&self, layers: &[DiffId], _: &Work<'_>, _: &CancelToken) -> Result<(), FetchError> {
        Err(FetchError::NotFound { what: format!("{layers:?}"), reason: "nothing is elsewhere".to_owned() })
    }
    fn http(&self, source: &HttpSource, _: &Work<'_>, _: &CancelToken) -> Result<HttpFile, FetchError> {
        Err(FetchError::NotFound { what: source.url.clone(), reason: "nothing is elsewhere".to_owned() })
    }
    fn git_commit(&self, source: &GitSource, _: &Work<'_>, _: &CancelToken) -> Result<String, FetchError> {
        Err(FetchError::NotFound { what: source.remote.clone(), reason: "nothing is elsewhere".to_owned() })
    }
    fn git_tree(
        &self,
        source: &GitSource,
        _: &str,
        _: &Work<'_>,
        _: &CancelToken,
    ) -> Result<FetchedTree, FetchError> {
        Err(FetchError::NotFound { what: source.remote.clone(), reason: "nothing is elsewhere".to_owned() })
    }
}

struct Run {
    result: Result<Built, BuildError>,
    events: Vec<Event>,
}

impl Run {
    fn built(&self) -> &Built {
        match &self.result {
            Ok(built) => built,
            Err(BuildError::Step(failure)) => {
                panic!("{}: {}", failure.cause, String::from_utf8_lossy(&failure.tail));
            }
            Err(error) => panic!("{}", error_chain(error)),
        }
    }

    fn cached(&self) -> usize {
        self.events.iter().filter(|event| event.kind == EventKind::Cached).count()
    }

    fn done(&self) -> usize {
        self.events.iter().filter(|event| matches!(event.kind, EventKind::Done { .. })).count()
    }
}

impl Bench {
    fn new(bases: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&folder.path().join("store")).expect("a store");
        let scratch = store.new_layer().expect("a layer");
        let tar = std::fs::File::open(bases.join("busybox.tar")).expect("busybox.tar");
        let applied = apply(tar, &scratch.fs(), &ApplyOptions::default()).expect("a sound archive");
        let new = NewLayer {
            diff_id: Some(applied.diff_id),
            size_bytes: Some(applied.size_bytes),
            ..NewLayer::default()
        };
        store.commit_layer(scratch, new).expect("commits");
        std::fs::create_dir(folder.path().join("context")).expect("a context");
        Self { bases: bases.to_owned(), folder, store, base: applied.diff_id }
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.folder.path().join("context").join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        std::fs::write(path, content).expect("writes");
    }

    fn plan(
        &self,
        dockerfile: &str,
        args: &[(&str, &str)],
    ) -> (Plan, HashMap<lighter_dockerfile::ImageSource, ImageInput>) {
        let parsed = parse(dockerfile.as_bytes());
        let mut request = Request::new(Platform::host());
        request.build_args =
            args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut bases = Bases::new();
        let mut images = HashMap::new();
        loop {
            match lower(&parsed.file, &request, &bases) {
                Lowered::Plan(plan) => return (*plan, images),
                Lowered::Faults(faults) => panic!("{faults:?}"),
                Lowered::NeedsBases(needs) => {
                    for need in needs {
                        let rootfs = RootFs { diff_ids: vec![self.base], ..RootFs::default() };
                        let config = ImageConfig {
                            rootfs,
                            os: "linux".to_owned(),
                            architecture: request.platform.architecture.clone(),
                            ..ImageConfig::default()
                        };
                        bases.insert(need.key(), Base { config, digest: None });
                        let input = ImageInput {
                            id: ImageId(Digest::of("base")),
                            layers: vec![self.base],
                            shown: need.reference.clone(),
                        };
                        images.insert(need.key(), input);
                    }
                }
            }
        }
    }

    fn inputs(&self, dockerfile: &str, args: &[(&str, &str)]) -> Inputs {
        let (plan, images) = self.plan(dockerfile, args);
        let context = ContextFiles {
            root: self.folder.path().join("context"),
            ignore: None,
            index: None,
            keeps_owners: false,
        };
        Inputs {
            plan: Arc::new(plan),
            context: Some(context),
            named_contexts: BTreeMap::new(),
            images,
            secrets: BTreeMap::new(),
            ssh: BTreeMap::new(),
            run: RunSettings::default(),
            cache: CacheRules::default(),
            jobs: 8,
            now: SystemTime::now(),
            place: "here".to_owned(),
            runtime_dir: self.folder.path().join("run"),
            explain: true,
            is_shared: false,
            earlier: BTreeMap::new(),
            clamp_seconds: None,
            on_error: OnError::Remove,
            attach: None,
            cancel: CancelToken::new(),
        }
    }

    fn build_with(&self, inputs: &Inputs) -> Run {
        self.build_from(inputs, &Nothing::default())
    }

    fn build_from(&self, inputs: &Inputs, fetch: &dyn Fetch) -> Run {
        let events = Mutex::new(Vec::new());
        let sink = |event: Event| events.lock().expect("a lock").push(event);
        let reporter = Reporter::new(&sink);
        let result = build(&self.store, inputs, fetch, &reporter);
        Run { result, events: events.into_inner().expect("a lock") }
    }

    fn build(&self, dockerfile: &str) -> Run {
        self.build_with(&self.inputs(dockerfile, &[]))
    }

    fn read(&self, built: &Built, path: &str) -> String {
        let paths: Vec<PathBuf> = built
            .layers
            .iter()
            .map(|layer| {
                let id = self.store.layer_by_diff_id(&layer.diff_id).expect("a store").expect("a layer");
                self.store.layer_path(&id)
            })
            .collect();
        let view = View::open(&paths).expect("a view");
        let bytes = view.read_file(&ImagePath::new(path), 1 << 20).unwrap_or_else(|error| panic!("{error}"));
        String::from_utf8(bytes).expect("text")
    }
}

fn first_walk(bench: &Bench) {
    bench.write("f", "hello\n");
    let dockerfile = "FROM busybox AS a\nWORKDIR /w\nCOPY f .\nRUN cat f > g && echo out && echo $HOME >> g\n\
        FROM busybox\nCOPY --from=a /w /w\n";
    let first = bench.build(dockerfile);
    assert_eq!(bench.read(first.built(), "/w/g"), "hello\n/root\n");
    assert_eq!(first.built().layers.len(), 2);
    let second = bench.build(dockerfile);
    assert_eq!(second.built().image, first.built().image);
    assert_eq!((second.done(), second.cached()), (0, 5));
}

fn early_cutoff(bench: &Bench) {
    let dockerfile = "FROM busybox\nARG x\nRUN echo same > /f && : $x\nARG x\nCOPY --from=busybox /etc/passwd /p\n\
        WORKDIR /w\n";
    let build = |value: &str| bench.build_with(&bench.inputs(dockerfile, &[("x", value)]));
    build("1").built();
    let second = build("2");
    second.built();
    assert_eq!(second.done(), 1, "only the step whose argument changed: {:#?}", second.events);
}

fn precise_copy(bench: &Bench) {
    use std::os::unix::fs::PermissionsExt as _;
    bench.write("d/f", "one");
    let dockerfile = "FROM busybox\nCOPY d /d\nRUN head -c 16 /dev/urandom | md5sum > /r\n";
    let random = || {
        let run = bench.build(dockerfile);
        bench.read(run.built(), "/r")
    };
    let first = random();
    let path = bench.folder.path().join("context/d/f");
    let file = std::fs::File::options().write(true).open(&path).expect("opens");
    file.set_modified(SystemTime::UNIX_EPOCH).expect("sets the time");
    assert_eq!(random(), first, "after a touch");
    bench.write("beside", "x");
    assert_eq!(random(), first, "after a new file that is not copied");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("sets the mode");
    let second = random();
    assert_ne!(second, first, "after a change of the mode");
    bench.write("d/f", "two");
    assert_ne!(random(), second, "after a change of the content");
}

fn touched(bench: &Bench) {
    bench.write("a", "a");
    bench.write("f", "one");
    // files as young as a look at them are not remembered
    std::thread::sleep(std::time::Duration::from_millis(100));
    let inputs = |dockerfile: &str| {
        let mut inputs = bench.inputs(dockerfile, &[]);
        let index = Some(bench.folder.path().join("index"));
        inputs.context = inputs.context.map(|context| ContextFiles { index, ..context });
        inputs
    };
    bench.build_with(&inputs("FROM busybox\nCOPY a f /d/\n")).built();
    let dockerfile = "FROM busybox\nCOPY a /a\nRUN echo begun\nCOPY f /f\n";
    let sink = |event: Event| {
        if matches!(event.kind, EventKind::Output { .. }) {
            bench.write("f", "two");
        }
    };
    let reporter = Reporter::new(&sink);
    let edited = build(&bench.store, &inputs(dockerfile), &Nothing::default(), &reporter).expect("builds");
    assert_eq!(bench.read(&edited, "/f"), "two");
    bench.write("f", "one");
    let run = bench.build_with(&inputs(dockerfile));
    assert_eq!(bench.read(run.built(), "/f"), "one");
    assert_eq!(run.done(), 1, "{:#?}", run.events);
    assert_eq!(bench.build_with(&inputs(dockerfile)).done(), 0);
}

/// Writes so many files that they are copied before their key is known.
fn write_many(bench: &Bench, word: &str) {
    for number in 0..100 {
        bench.write(&format!("d/{}/f{number}", number % 3), &format!("{word} {number:0>80}"));
    }
}

/// The key of the COPY after the base. Those of later steps have layers in them.
fn key(run: &Run) -> Option<Digest> {
    run.built().steps[1].key
}

fn ahead(bench: &Bench) {
    let bases = &bench.bases;
    let dockerfile = "FROM busybox\nCOPY --exclude=**/f7 d /d\nRUN md5sum /d/*/* > /sums\n";
    write_many(bench, "one");
    let first = bench.build(dockerfile);
    assert_eq!(first.done(), 2);
    assert!(!bench.read(first.built(), "/sums").contains("f7\n"));
    let again = bench.build(dockerfile);
    assert_eq!((again.done(), again.built().image), (0, first.built().image));
    // the other way leads to the same keys and the same layer
    let other = Bench::new(bases);
    let run = other.build_from(&bench.inputs(dockerfile, &[]), &Nothing { is_shared: true });
    assert_eq!((run.done(), key(&run)), (2, key(&first)));
    assert_eq!(run.built().layers[1].diff_id, first.built().layers[1].diff_id);
    let mut inputs = bench.inputs(dockerfile, &[]);
    inputs.cache.no_cache = true;
    let fresh = bench.build_with(&inputs);
    assert_eq!((fresh.done(), key(&fresh)), (2, key(&first)));
    write_many(bench, "two");
    let changed = bench.build(dockerfile);
    assert_eq!(changed.done(), 2);
    assert_ne!(bench.read(changed.built(), "/sums"), bench.read(first.built(), "/sums"));
    write_many(bench, "one");
    assert_eq!(key(&bench.build(dockerfile)), key(&first));
}

fn ahead_twice(bench: &Bench) {
    write_many(bench, "one");
    let dockerfile = "FROM busybox AS a\nCOPY d /d\nFROM busybox AS b\nCOPY d /d\nFROM busybox\nCOPY --from=a /d /a\n\
        COPY --from=b /d /b\n";
    let run = bench.build(dockerfile);
    assert_eq!((run.done(), run.cached()), (3, 2), "{:#?}", run.events);
}

fn ahead_and_touched(bench: &Bench) {
    write_many(bench, "one");
    let dockerfile = "FROM busybox\nCOPY d /d\n";
    let started = AtomicUsize::new(0);
    let sink = |event: Event| {
        // of the base, then of the COPY
        if matches!(event.kind, EventKind::Started) && started.fetch_add(1, Ordering::Relaxed) == 1 {
            bench.write("d/0/f99", "two");
        }
    };
    let built =
        build(&bench.store, &bench.inputs(dockerfile, &[]), &Nothing::default(), &Reporter::new(&sink));
    assert_eq!(bench.read(&built.expect("builds"), "/d/0/f99"), "two");
    write_many(bench, "one");
    let run = bench.build(dockerfile);
    assert!(bench.read(run.built(), "/d/0/f99").starts_with("one"));
    assert_eq!(run.done(), 1);
    assert_eq!(bench.build(dockerfile).done(), 0);
}

fn failing(bench: &Bench) {
    let run = bench.build("FROM busybox\nRUN true\nRUN echo last words >&2; exit 7\n");
    let Err(BuildError::Step(failure)) = run.result else { panic!("it did not fail") };
    assert!(matches!(failure.cause, StepError::Exit { code: 7, .. }), "{:?}", failure.cause);
    assert_eq!(failure.tail, b"last words\n");
    assert_eq!(failure.lines.first, 3);
    let run = bench.build("FROM busybox\nRUN [\"/no/such\"]\n");
    let Err(BuildError::Step(failure)) = run.result else { panic!("it did not fail") };
    assert!(String::from_utf8_lossy(&failure.tail).contains("no such file"), "{failure:?}");
}

fn cancelled(bench: &Bench) {
    let inputs = bench.inputs("FROM busybox\nRUN echo begun; sleep 1000\n", &[]);
    let cancel = inputs.cancel.clone();
    let sink = |event: Event| {
        if matches!(event.kind, EventKind::Output { .. }) {
            cancel.cancel();
        }
    };
    let reporter = Reporter::new(&sink);
    let result = build(&bench.store, &inputs, &Nothing::default(), &reporter);
    assert!(matches!(result, Err(BuildError::Cancelled)), "{result:?}");
    bench.build("FROM busybox\nRUN echo again\n").built();
}

fn side_by_side(bench: &Bench) {
    let mut dockerfile = String::new();
    // each waits until all have begun
    let all = "[ -e /meet/1 ] && [ -e /meet/2 ] && [ -e /meet/3 ] && [ -e /meet/4 ]";
    for number in 1..=4 {
        writeln!(
            dockerfile,
            "FROM busybox AS s{number}\nRUN --mount=type=cache,target=/meet touch /meet/{number}; n=0; \
             until {all}; do n=$((n+1)); [ $n -lt 1200 ] || exit 1; sleep 0.1; done; echo {number} > /o"
        )
        .expect("a string");
    }
    dockerfile.push_str("FROM busybox\n");
    for number in 1..=4 {
        writeln!(dockerfile, "COPY --from=s{number} /o /o{number}").expect("a string");
    }
    let run = bench.build(&dockerfile);
    assert_eq!(bench.read(run.built(), "/o4"), "4\n");
}

fn explained(bench: &Bench) {
    bench.write("d/f", "one");
    bench.write("d/g", "one");
    let dockerfile = "FROM busybox\nCOPY d /d\n";
    bench.build(dockerfile).built();
    bench.write("d/f", "two");
    let run = bench.build(dockerfile);
    run.built();
    let explanations: Vec<_> = run
        .events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::Explained(explanation) => Some(explanation),
            _ => None,
        })
        .collect();
    let [explanation] = explanations[..] else { panic!("{explanations:?}") };
    assert_eq!(explanation.reason, Reason::Changed);
    let names: Vec<&str> = explanation.changes.iter().map(|change| change.name.as_str()).collect();
    assert_eq!(names, ["d/f"], "{explanation:?}");
    assert_eq!(explanation.changes[0].what, What::FileContent);
}
