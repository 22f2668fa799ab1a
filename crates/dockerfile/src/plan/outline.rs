//! What a target can be given: `--call=outline`.

use serde::Serialize;

use crate::diagnostic::Lines;

/// What a target can be given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Outline {
    /// The target's name, where it has one.
    pub name: String,
    /// What the comment before it says.
    pub description: String,
    /// Build arguments, by line.
    pub args: Vec<OutlineArg>,
    /// Secrets, by line.
    pub secrets: Vec<OutlineSecret>,
    /// SSH agents, by line.
    pub ssh: Vec<OutlineSecret>,
}

/// A build argument.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutlineArg {
    /// Its name.
    pub name: String,
    /// Its value in this request.
    pub value: String,
    /// What the comment before it says.
    pub description: Option<String>,
    /// Where it is declared.
    pub lines: Lines,
    /// The arguments that its default is made of.
    #[serde(skip)]
    pub(crate) uses: Vec<String>,
    /// Whether its value comes from outside of the stage alone: then it is the ARG there that counts.
    #[serde(skip)]
    pub(crate) is_inherited: bool,
}

/// A secret or an SSH agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutlineSecret {
    /// Its name.
    pub name: String,
    /// Whether the build fails without it.
    pub required: bool,
    /// Where it is asked for.
    pub lines: Lines,
}

impl Outline {
    /// By line, each name once.
    pub(super) fn sort(&mut self) {
        self.args.retain(|arg| !arg.is_inherited);
        let mut names = Vec::new();
        self.args.retain(|arg| {
            let new = !names.contains(&arg.name);
            names.push(arg.name.clone());
            new
        });
        self.args.sort_by_key(|arg| arg.lines.first);
        for secrets in [&mut self.secrets, &mut self.ssh] {
            secrets.sort_by_key(|secret| secret.lines.first);
            let mut seen = Vec::new();
            secrets.retain(|secret| {
                let new = !seen.contains(&secret.name);
                seen.push(secret.name.clone());
                new
            });
        }
    }
}
