//! RUN as a step.

use super::graph::Place;
use super::metadata::with_args;
use super::outline::OutlineSecret;
use super::scope::Masked;
use super::stage::{Scene, Stages};
use super::{CacheSharing, Files, InlineFile, MountKind, Op, Run, RunMount, args, naming};
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::expand::Lexer;
use crate::instruction::{CommandLine, Mount, MountType, RunLine};
use crate::path;
use crate::syntax::{Heredoc, HeredocWord, Word};

/// What a command line comes to.
struct Line {
    words: Vec<String>,
    files: Vec<InlineFile>,
    is_shell: bool,
    /// What is shown behind the text.
    summary: Option<String>,
}

impl Stages<'_> {
    pub(super) fn run(&mut self, scene: &mut Scene<'_>, run: &RunLine) -> Option<()> {
        let line = line(scene, run);
        if let Some(script) = line.files.first() {
            let heredoc =
                scene.item.instruction.heredocs.iter().find(|heredoc| heredoc.name == script.name)?;
            self.check_document_name(scene, heredoc)?;
        }
        let mut mounts = Vec::new();
        let mut secrets = Vec::new();
        let before = self.faults.len();
        for (word, place) in run.mounts.iter().zip(&scene.item.places) {
            if let Some(mount) = self.mount(scene, word) {
                secrets.extend(mount.env.clone().filter(|_| mount.kind == MountType::Secret));
                mounts.extend(self.run_mount(scene, mount, *place, word.span));
            }
        }
        if self.faults.len() > before {
            return None;
        }
        let name = self.run_name(scene, line.summary.as_deref(), &secrets);
        let made_by = format!("RUN {} # buildkit", with_args(scene, &line.words));
        let state = &*scene.state;
        let run = Run {
            args: line.words,
            env: state.scope.items().to_vec(),
            arguments: arguments(state.scope.items(), &state.config.config.env),
            proxy_env: args::proxies(self.inputs.build_args),
            user: state.config.config.user.clone(),
            cwd: path::clean(&state.cwd),
            mounts,
            network: run.network,
            security: run.security,
            files: line.files,
            devices: run.devices.clone(),
            shell_form: line.is_shell,
        };
        self.layer(scene, Op::Run(run), name, made_by);
        Some(())
    }

    /// A here-document that becomes a file must have a name that a file can have.
    pub(super) fn check_document_name(&mut self, scene: &Scene<'_>, heredoc: &Heredoc) -> Option<()> {
        let name = heredoc.name.as_str();
        if !name.contains('/') && !matches!(name, "" | "." | "..") {
            return Some(());
        }
        let message = format!("a here-document that becomes a file cannot be named {name:?}");
        self.fault(Code::Arguments, scene.item.instruction.span, message)
    }

    fn run_name(&self, scene: &mut Scene<'_>, summary: Option<&str>, secrets: &[String]) -> String {
        let mut text = scene.item.instruction.text.clone();
        if let Some(summary) = summary {
            text.extend([" (", summary, ")"]);
        }
        let lexer = Lexer { keep_quotes: true, keep_unset: true, ..self.lexer };
        let masked =
            Masked { scope: &scene.state.scope, names: secrets.iter().map(String::as_str).collect() };
        let shown = naming::shown(lexer, &text, &masked);
        scene.name(&shown)
    }

    fn mount(&mut self, scene: &Scene<'_>, word: &Word) -> Option<Mount> {
        let lexer = self.lexer;
        let mut expanded = Vec::new();
        let read = Mount::read(&word.text, &mut |value| {
            let value = lexer.expand(value, &scene.state.scope)?;
            let text = value.text.clone();
            expanded.push(value);
            Ok(text)
        });
        for value in &expanded {
            self.missing(scene, value);
        }
        match read {
            Ok(mount) => Some(mount),
            Err((code, message, help)) => {
                self.faults.push(Diagnostic::error(code, word.span, message).with_help(help));
                None
            }
        }
    }

    fn run_mount(
        &mut self,
        scene: &mut Scene<'_>,
        mount: Mount,
        place: Place,
        span: Span,
    ) -> Option<RunMount> {
        let read_only = mount.read_only;
        let (kind, target) = match mount.kind {
            MountType::Secret => secret(scene, &mount),
            MountType::Ssh => ssh(scene, &mount),
            MountType::Tmpfs => match source(&mount) {
                root if root == "/" => {
                    (MountKind::Tmpfs { size_bytes: mount.size_bytes }, Some(mount.target))
                }
                // there is no such thing in a new file system, which is for the step to find
                source => (MountKind::Bind { from: Files::Empty, source }, Some(mount.target)),
            },
            MountType::Bind => {
                let from = self.files(place, Files::Context);
                (MountKind::Bind { from, source: source(&mount) }, Some(mount.target))
            }
            MountType::Cache => {
                let from = self.files(place, Files::Empty);
                let namespace = self.inputs.build_args.get("BUILDKIT_CACHE_MOUNT_NS").map(String::as_str);
                (cache(&mount, from, namespace), Some(mount.target))
            }
        };
        let target = target.map(|target| path::join(&scene.state.cwd, &target));
        if target.as_deref() == Some("/") {
            return self.fault(Code::Flag, span, "invalid mount target \"/\"");
        }
        Some(RunMount { kind, target, read_only })
    }
}

/// The words of a command, with its here-documents put where the shell finds them.
fn line(scene: &Scene<'_>, run: &RunLine) -> Line {
    let heredocs = &scene.item.instruction.heredocs;
    let text = match &run.command {
        CommandLine::Exec(words) => {
            return Line { words: words.clone(), files: Vec::new(), is_shell: false, summary: None };
        }
        CommandLine::Shell(word) => &word.text,
    };
    let shell = |line: &str| Line {
        words: scene.through_shell(line),
        files: Vec::new(),
        is_shell: true,
        summary: None,
    };
    let Some(first) = heredocs.first() else { return shell(text) };
    if HeredocWord::parse(text).is_none() {
        return shell(&with_documents(text, heredocs));
    }
    let script = first.text();
    let mut line = if script.starts_with("#!") {
        let program = format!("/dev/pipes/{}", first.name);
        let file = InlineFile { name: first.name.clone(), content: script };
        // the program is still given to the shell, as its line
        Line { files: vec![file], ..shell(&program) }
    } else {
        shell(&script)
    };
    line.summary = Some(naming::summary(&first.content));
    line
}

/// A line with its here-documents behind it, for the shell to read.
fn with_documents(line: &str, heredocs: &[Heredoc]) -> String {
    let mut text = line.to_owned();
    for heredoc in heredocs {
        text.push('\n');
        text.push_str(&heredoc.content);
        text.push_str(&heredoc.name);
    }
    text
}

/// The path that a mount shows of what it is from.
fn source(mount: &Mount) -> String {
    path::join("/", &format!("/{}", mount.source))
}

/// Owner and mode are those of a new, empty folder, even if `from` is given; a folder that is named by `source` stays
/// as it is.
fn cache(mount: &Mount, from: Files, namespace: Option<&str>) -> MountKind {
    let source = source(mount);
    let owned = (mount.mode, mount.uid, mount.gid);
    let (from, (mode, uid, gid)) = match (source.as_str(), owned) {
        ("/", (None, None, None)) => (from, owned),
        ("/", _) => (Files::Empty, owned),
        _ => (from, (None, None, None)),
    };
    let id = if mount.id.is_empty() { path::clean(&mount.target) } else { mount.id.clone() };
    let id = namespace.map_or_else(|| id.clone(), |namespace| format!("{namespace}/{id}"));
    MountKind::Cache {
        id,
        from,
        source,
        sharing: mount.sharing.unwrap_or(CacheSharing::Shared),
        mode,
        uid,
        gid,
    }
}

fn secret(scene: &mut Scene<'_>, mount: &Mount) -> (MountKind, Option<String>) {
    let named = [&mount.source, &mount.id].into_iter().find(|name| !name.is_empty());
    let id = named.map_or_else(|| path::base(&mount.target).to_owned(), Clone::clone);
    let target = match (mount.target.is_empty(), &mount.env) {
        (false, _) => Some(mount.target.clone()),
        (true, Some(_)) => None,
        (true, None) => Some(format!("/run/secrets/{}", path::base(&id))),
    };
    let lines = scene.item.instruction.lines;
    scene.state.outline.secrets.push(OutlineSecret { name: id.clone(), required: mount.required, lines });
    let kind = MountKind::Secret {
        id,
        mode: mount.mode.unwrap_or(0o400),
        uid: mount.uid.unwrap_or(0),
        gid: mount.gid.unwrap_or(0),
        env: mount.env.clone(),
        required: mount.required,
    };
    (kind, target)
}

fn ssh(scene: &mut Scene<'_>, mount: &Mount) -> (MountKind, Option<String>) {
    let id = if mount.id.is_empty() { "default".to_owned() } else { mount.id.clone() };
    let lines = scene.item.instruction.lines;
    scene.state.outline.ssh.push(OutlineSecret { name: id.clone(), required: mount.required, lines });
    let kind = MountKind::Ssh {
        id,
        mode: mount.mode.unwrap_or(0o600),
        uid: mount.uid.unwrap_or(0),
        gid: mount.gid.unwrap_or(0),
        required: mount.required,
    };
    (kind, Some(mount.target.clone()).filter(|target| !target.is_empty()))
}

/// The variables of a scope whose value is not ENV's.
fn arguments(scope: &[(String, String)], env: &[String]) -> Vec<String> {
    let is_env = |name: &str, value: &str| {
        env.iter().any(|have| have.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) == Some(value))
    };
    scope.iter().filter(|(name, value)| !is_env(name, value)).map(|(name, _)| name.clone()).collect()
}
