//! The instructions that change the configuration alone, and WORKDIR.

use lighter_image::ContainerConfig;

use super::lower::history;
use super::stage::{Scene, Stages, value_of};
use super::{Op, OutlineArg, Workdir, expose, go_text, naming, signal};
use crate::diagnostic::{Code, Diagnostic};
use crate::instruction::{Arg, ArgItem, Check, CommandLine, Pairs, Trigger};
use crate::lint;
use crate::path;
use crate::suggest::{did_you_mean, nearest};
use crate::syntax::Word;

/// How many ports a file may expose: all that there are, of each protocol, and then some. A few letters name thousands.
const MOST_PORTS: usize = 1 << 18;

const DEFAULT_SHELL: [&str; 2] = ["/bin/sh", "-c"];

impl Scene<'_> {
    fn note(&mut self, text: String) {
        self.state.config.history.push(history(text, false));
    }

    pub(super) fn container(&mut self) -> &mut ContainerConfig {
        &mut self.state.config.config
    }

    fn has_shell(&self) -> bool {
        self.state.config.config.shell.as_ref().is_some_and(|shell| !shell.is_empty())
    }

    /// The words that run a line: the shell, then the line.
    pub(super) fn through_shell(&self, line: &str) -> Vec<String> {
        let shell = self.state.config.config.shell.as_ref().filter(|shell| !shell.is_empty());
        let mut words = shell.map_or_else(|| DEFAULT_SHELL.map(str::to_owned).to_vec(), Clone::clone);
        words.push(line.to_owned());
        words
    }
}

impl Stages<'_> {
    pub(super) fn arg(&mut self, scene: &mut Scene<'_>, arg: &Arg) -> Option<()> {
        let mut texts = Vec::new();
        for item in &arg.items {
            let name = &item.name.text;
            lint::secrets_used_in_arg_or_env::check(&mut self.checks, scene.at(), "ARG", name);
            let (value, outlined) = self.arg_value(scene, item)?;
            match &value {
                Some(value) => {
                    scene.state.scope.set(name, value);
                    texts.push(format!("{name}={value}"));
                }
                None => texts.push(name.clone()),
            }
            let args = &mut scene.state.outline.args;
            args.retain(|known| known.name != *name);
            args.push(outlined);
            if !scene.state.args.contains(name) {
                scene.state.args.push(name.clone());
            }
        }
        scene.note(format!("ARG {}", texts.join(" ")));
        Some(())
    }

    /// The request's value, else the default, else that of the ARG before the first FROM.
    fn arg_value(&mut self, scene: &Scene<'_>, item: &ArgItem) -> Option<(Option<String>, OutlineArg)> {
        let name = &item.name.text;
        let mut outlined = OutlineArg {
            name: name.clone(),
            value: String::new(),
            description: item.description.clone(),
            lines: scene.item.instruction.lines,
            uses: Vec::new(),
            is_inherited: false,
        };
        let value = if let Some(value) = self.inputs.build_args.get(name) {
            Some(value.clone())
        } else if let Some(default) = &item.default {
            let expanded = self.expand_text(scene, &default.text, default.span)?;
            outlined.uses.extend(expanded.used);
            Some(expanded.text)
        } else {
            let global = crate::expand::Variables::get(self.inputs.globals, name).map(str::to_owned);
            outlined.uses.push(name.clone());
            outlined.is_inherited = global.is_some();
            global
        };
        outlined.value = value.clone().unwrap_or_default();
        Some((value, outlined))
    }

    pub(super) fn env(&mut self, scene: &mut Scene<'_>, pairs: &Pairs) -> Option<()> {
        let pairs = self.pairs(scene, pairs)?;
        let mut text = "ENV".to_owned();
        for (name, value) in pairs {
            lint::secrets_used_in_arg_or_env::check(&mut self.checks, scene.at(), "ENV", &name);
            let item = format!("{name}={value}");
            text.push(' ');
            text.push_str(&item);
            scene.state.scope.set(&name, &value);
            let env = &mut scene.container().env;
            match env.iter_mut().find(|old| old.split('=').next() == Some(name.as_str())) {
                Some(old) => *old = item,
                None => env.push(item),
            }
        }
        scene.note(text);
        Some(())
    }

    pub(super) fn label(&mut self, scene: &mut Scene<'_>, pairs: &Pairs) -> Option<()> {
        let pairs = self.pairs(scene, pairs)?;
        let mut text = "LABEL".to_owned();
        for (name, value) in pairs {
            text.extend([" ", &name, "=", &value]);
            scene.container().labels.insert(name, value);
        }
        scene.note(text);
        Some(())
    }

    /// All of an instruction is expanded before any of it counts.
    fn pairs(&mut self, scene: &Scene<'_>, pairs: &Pairs) -> Option<Vec<(String, String)>> {
        if pairs.is_legacy {
            lint::legacy_key_value_format::check(&mut self.checks, scene.at(), scene.keyword());
        }
        let expanded: Vec<Option<(String, String)>> = pairs
            .pairs
            .iter()
            .map(|pair| {
                let name = self.expand(scene, &pair.name);
                let value = self.expand(scene, &pair.value);
                Some((name?.text, value?.text))
            })
            .collect();
        expanded.into_iter().collect()
    }

    pub(super) fn cmd(&mut self, scene: &mut Scene<'_>, line: &CommandLine) {
        let earlier = scene.local.cmd.replace(scene.item.instruction.span);
        lint::multiple_instructions_disallowed::check(&mut self.checks, scene.at(), scene.keyword(), earlier);
        let words = self.command_words(scene, line);
        let text = format!("CMD {}", go_text::quoted_list(&words));
        let container = scene.container();
        container.cmd = Some(words).filter(|words| !words.is_empty());
        container.args_escaped = Some(true);
        scene.note(text);
    }

    pub(super) fn entrypoint(&mut self, scene: &mut Scene<'_>, line: &CommandLine) {
        let earlier = scene.local.entrypoint.replace(scene.item.instruction.span);
        lint::multiple_instructions_disallowed::check(&mut self.checks, scene.at(), scene.keyword(), earlier);
        let words = self.command_words(scene, line);
        let text = format!("ENTRYPOINT {}", go_text::quoted_list(&words));
        // a CMD of the base was meant for the base's entry point
        let keeps_cmd = scene.local.cmd.is_some();
        let container = scene.container();
        container.entrypoint = Some(words).filter(|words| !words.is_empty());
        if !keeps_cmd {
            container.cmd = None;
        }
        scene.note(text);
    }

    fn command_words(&mut self, scene: &Scene<'_>, line: &CommandLine) -> Vec<String> {
        match line {
            CommandLine::Exec(words) => words.clone(),
            CommandLine::Shell(line) => {
                if !scene.has_shell() {
                    lint::json_args_recommended::check(&mut self.checks, scene.at(), scene.keyword());
                }
                scene.through_shell(&line.text)
            }
        }
    }

    pub(super) fn expose(&mut self, scene: &mut Scene<'_>, words: &[Word]) -> Option<()> {
        if self.ports > MOST_PORTS {
            // that is said already
            return None;
        }
        let mut sorted: Vec<&Word> = words.iter().collect();
        sorted.sort_by(|a, b| a.text.cmp(&b.text));
        let mut ports = Vec::new();
        let before = self.faults.len();
        for word in sorted {
            let Some(expanded) = self.expand_text(scene, &word.text, word.span) else { continue };
            for raw in &expanded.words {
                match expose::parse(raw) {
                    Ok(found) => {
                        self.ports += found.list.len();
                        if self.ports > MOST_PORTS {
                            let message = format!("the file exposes more than {MOST_PORTS} ports");
                            return self.fault(Code::Arguments, word.span, message);
                        }
                        lint::expose_proto_casing::check(&mut self.checks, scene.at(), raw, &found.protocol);
                        if found.has_host {
                            lint::expose_invalid_format::check(&mut self.checks, scene.at(), raw);
                        }
                        ports.extend(found.list);
                    }
                    Err(message) => {
                        self.fault::<()>(Code::Arguments, word.span, message);
                    }
                }
            }
        }
        if self.faults.len() > before {
            return None;
        }
        scene.container().exposed_ports.extend(ports.iter().cloned());
        scene.note(format!("EXPOSE {}", go_text::list(&ports)));
        Some(())
    }

    pub(super) fn healthcheck(&mut self, scene: &mut Scene<'_>, check: &Check) {
        let earlier = scene.local.healthcheck.replace(scene.item.instruction.span);
        lint::multiple_instructions_disallowed::check(&mut self.checks, scene.at(), scene.keyword(), earlier);
        scene.container().healthcheck = Some(check.health.clone());
        scene.note(format!("HEALTHCHECK {}", go_text::healthcheck(&check.health)));
    }

    pub(super) fn stopsignal(&mut self, scene: &mut Scene<'_>, word: &Word) -> Option<()> {
        let word = self.expand(scene, word)?;
        if !signal::is_signal(&word.text) {
            let message = format!("STOPSIGNAL: invalid signal: {}", word.text);
            let help = did_you_mean(nearest(&word.text, signal::names(), false));
            self.faults.push(Diagnostic::error(Code::Arguments, word.span, message).with_help(help));
            return None;
        }
        scene.container().stop_signal = Some(word.text.clone());
        scene.note(format!("STOPSIGNAL {}", word.text));
        Some(())
    }

    pub(super) fn user(&mut self, scene: &mut Scene<'_>, word: &Word) -> Option<()> {
        let user = self.expand(scene, word)?.text;
        scene.container().user.clone_from(&user);
        scene.note(format!("USER {user}"));
        Some(())
    }

    pub(super) fn volume(&mut self, scene: &mut Scene<'_>, words: &[Word]) -> Option<()> {
        let mut volumes = Vec::new();
        for word in words {
            let volume = self.expand(scene, word)?.text;
            if volume.is_empty() {
                return self.fault(Code::Arguments, word.span, "VOLUME specified can not be an empty string");
            }
            volumes.push(volume);
        }
        scene.container().volumes.extend(volumes.iter().cloned());
        scene.note(format!("VOLUME {}", go_text::list(&volumes)));
        Some(())
    }

    pub(super) fn workdir(&mut self, scene: &mut Scene<'_>, word: &Word) -> Option<()> {
        let path = self.expand(scene, word)?.text;
        lint::workdir_relative_path::check(&mut self.checks, scene.at(), &path, scene.state.workdir_is_set);
        scene.state.workdir_is_set = true;
        let folder = if path.starts_with('/') { path } else { path::join(&scene.state.cwd, &path) };
        scene.container().working_dir.clone_from(&folder);
        scene.state.cwd.clone_from(&folder);
        let text = format!("WORKDIR {folder}");
        if folder == "/" {
            scene.note(text);
            return Some(());
        }
        let shown = naming::shown(self.lexer, &scene.item.instruction.text, &scene.state.scope);
        let name = scene.name(&shown);
        let op = Workdir { path: path::clean(&folder), owner: scene.state.config.config.user.clone() };
        self.layer(scene, Op::Workdir(op), name, text);
        Some(())
    }
}

pub(super) fn maintainer(scene: &mut Scene<'_>, name: &Word) {
    scene.state.config.author = Some(name.text.clone());
    scene.note(format!("MAINTAINER {}", name.text));
}

pub(super) fn onbuild(scene: &mut Scene<'_>, trigger: &Trigger) {
    scene.container().on_build.push(trigger.text.clone());
}

pub(super) fn shell(scene: &mut Scene<'_>, words: &[String]) {
    scene.container().shell = Some(words.to_vec());
    scene.note(format!("SHELL {}", go_text::list(words)));
}

/// `|2 A=1 B= /bin/sh -c …`: the arguments of the build in front of the words.
pub(super) fn with_args(scene: &Scene<'_>, words: &[String]) -> String {
    let state = &*scene.state;
    let mut parts = Vec::new();
    if !state.args.is_empty() {
        parts.push(format!("|{}", state.args.len()));
        parts.extend(
            state.args.iter().map(|name| format!("{name}={}", value_of(state, name).unwrap_or_default())),
        );
    }
    parts.extend(words.iter().cloned());
    parts.join(" ")
}
