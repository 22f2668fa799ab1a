//! What the instructions say: one file each.

mod arg;
mod command_line;
mod flags;
mod from;
mod healthcheck;
mod mount;
mod onbuild;
mod pairs;
mod run;
mod transfer;
mod word;

use crate::diagnostic::{Code, Diagnostic, Span};
use crate::suggest::{did_you_mean, nearest};
use crate::syntax::{Flag, Heredoc, Joined, Json, Word, parse_json, split_blanks, split_words};

pub use arg::{Arg, ArgItem};
pub use command_line::CommandLine;
pub use from::From;
pub use healthcheck::Check;
pub(crate) use mount::{Mount, MountType};
pub use onbuild::Trigger;
pub use pairs::{Pair, Pairs};
pub use run::RunLine;
pub use transfer::{Origin, Transfer};

/// The instructions, in the order that people know them.
pub(crate) const NAMES: &[&str] = &[
    "FROM",
    "RUN",
    "COPY",
    "ADD",
    "ENV",
    "ARG",
    "WORKDIR",
    "USER",
    "CMD",
    "ENTRYPOINT",
    "EXPOSE",
    "LABEL",
    "VOLUME",
    "SHELL",
    "STOPSIGNAL",
    "HEALTHCHECK",
    "ONBUILD",
    "MAINTAINER",
];

/// What an instruction says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as the instructions are")]
pub enum Command {
    Add(Transfer),
    Arg(Arg),
    Cmd(CommandLine),
    Copy(Transfer),
    Entrypoint(CommandLine),
    Env(Pairs),
    Expose(Vec<Word>),
    From(From),
    Healthcheck(Check),
    Label(Pairs),
    Maintainer(Word),
    Onbuild(Trigger),
    Run(RunLine),
    Shell(Vec<String>),
    Stopsignal(Word),
    User(Word),
    Volume(Vec<Word>),
    Workdir(Word),
}

impl Command {
    /// The words in which variables count, as far as they are whole words.
    pub(crate) fn expanded_words(&self) -> Vec<&Word> {
        match self {
            Self::Add(transfer) | Self::Copy(transfer) => transfer.expanded_words(),
            Self::Arg(arg) => arg.items.iter().filter_map(|item| item.default.as_ref()).collect(),
            Self::Env(pairs) | Self::Label(pairs) => {
                pairs.pairs.iter().flat_map(|pair| [&pair.name, &pair.value]).collect()
            }
            Self::Expose(words) | Self::Volume(words) => words.iter().collect(),
            Self::Stopsignal(word) | Self::User(word) | Self::Workdir(word) => vec![word],
            Self::Cmd(_)
            | Self::Entrypoint(_)
            | Self::From(_)
            | Self::Healthcheck(_)
            | Self::Maintainer(_)
            | Self::Onbuild(_)
            | Self::Run(_)
            | Self::Shell(_) => Vec::new(),
        }
    }
}

/// An instruction's text, taken apart as far as all instructions are alike.
pub(crate) struct Statement<'a> {
    pub(crate) line: &'a Joined,
    pub(crate) keyword: &'a Word,
    pub(crate) flags: &'a [Flag],
    /// Where in the line the arguments are.
    pub(crate) args: (usize, usize),
    pub(crate) heredocs: &'a [Heredoc],
    pub(crate) comments: &'a [String],
    pub(crate) escape: char,
    pub(crate) faults: &'a mut Vec<Diagnostic>,
}

impl Statement<'_> {
    fn args_text(&self) -> &str {
        &self.line.text[self.args.0..self.args.1]
    }

    fn args_word(&self) -> Word {
        self.line.word(self.args.0, self.args.1)
    }

    fn blanks(&self) -> Vec<Word> {
        split_blanks(self.line, self.args.0, self.args.1)
    }

    fn words(&self) -> Vec<Word> {
        split_words(self.line, self.args.0, self.args.1, self.escape)
    }

    /// All of the instruction but its here-documents.
    fn span(&self) -> Span {
        let end = self.line.text.trim_end().len();
        self.keyword.span.to(self.line.span(0, end))
    }

    /// The arguments; the keyword where there are none.
    fn args_span(&self) -> Span {
        if self.args.0 == self.args.1 { self.keyword.span } else { self.line.span(self.args.0, self.args.1) }
    }

    fn fault<T>(&mut self, code: Code, span: Span, message: impl Into<String>) -> Option<T> {
        self.faults.push(Diagnostic::error(code, span, message));
        None
    }

    fn name(&self) -> String {
        self.keyword.text.to_ascii_uppercase()
    }

    fn at_least_one<T>(&mut self) -> Option<T> {
        let message = format!("{} requires at least one argument", self.name());
        self.fault(Code::Arguments, self.span(), message)
    }

    /// The arguments as JSON, where they are that; a fault where they are the wrong JSON.
    fn json(&mut self) -> Option<Json> {
        match parse_json(self.args_text()) {
            json @ (Json::Strings(_) | Json::No) => Some(json),
            Json::Others => {
                let message = "when using JSON array syntax, arrays must be comprised of strings only";
                self.fault(Code::Syntax, self.args_span(), message)
            }
        }
    }

    /// The arguments as a JSON list, else as words between blanks.
    fn list(&mut self) -> Option<(Vec<Word>, bool)> {
        let span = self.args_span();
        Some(match self.json()? {
            Json::Strings(strings) => (strings.into_iter().map(|text| Word { text, span }).collect(), true),
            Json::No | Json::Others => (self.blanks(), false),
        })
    }
}

/// Reads an instruction; faults are pushed, and leave nothing.
pub(crate) fn read(statement: &mut Statement<'_>) -> Option<Command> {
    match statement.keyword.text.to_ascii_lowercase().as_str() {
        "add" => transfer::read(statement, true).map(Command::Add),
        "arg" => arg::read(statement).map(Command::Arg),
        "cmd" => command_line::read(statement).map(Command::Cmd),
        "copy" => transfer::read(statement, false).map(Command::Copy),
        "entrypoint" => command_line::read(statement).map(Command::Entrypoint),
        "env" => pairs::read(statement).map(Command::Env),
        "expose" => word::expose(statement).map(Command::Expose),
        "from" => from::read(statement).map(Command::From),
        "healthcheck" => healthcheck::read(statement).map(Command::Healthcheck),
        "label" => pairs::read(statement).map(Command::Label),
        "maintainer" => word::one(statement).map(Command::Maintainer),
        "onbuild" => onbuild::read(statement).map(Command::Onbuild),
        "run" => run::read(statement).map(Command::Run),
        "shell" => command_line::shell(statement).map(Command::Shell),
        "stopsignal" => word::stopsignal(statement).map(Command::Stopsignal),
        "user" => word::one(statement).map(Command::User),
        "volume" => word::volume(statement).map(Command::Volume),
        "workdir" => word::one(statement).map(Command::Workdir),
        _ => unknown(statement),
    }
}

fn unknown(statement: &mut Statement<'_>) -> Option<Command> {
    let keyword = statement.keyword;
    let near = nearest(&keyword.text, NAMES, false);
    let fault = Diagnostic::error(
        Code::UnknownInstruction,
        keyword.span,
        format!("unknown instruction: {}", keyword.text),
    );
    statement.faults.push(fault.with_help(did_you_mean(near)));
    None
}

/// Whether here-documents can begin on the line.
pub(crate) fn takes_heredocs(line: &Joined, keyword: &Word, args: (usize, usize), escape: char) -> bool {
    let takes = |keyword: &str| ["add", "copy", "run"].iter().any(|name| keyword.eq_ignore_ascii_case(name));
    if keyword.text.eq_ignore_ascii_case("onbuild") {
        let (keyword, args) = onbuild::inner(line, args, escape);
        return takes(&keyword.text) && !is_json(&line.text[args.0..args.1]);
    }
    takes(&keyword.text) && !is_json(&line.text[args.0..args.1])
}

fn is_json(text: &str) -> bool {
    matches!(parse_json(text), Json::Strings(_))
}
