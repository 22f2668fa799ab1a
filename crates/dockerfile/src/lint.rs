//! The build checks: what builds, but is likely not what was meant. Names and lines are those of
//! `docker build --check`. Each rule has a file that explains it.

mod consistent_instruction_casing;
pub(crate) mod copy_ignored_file;
mod duplicate_stage_name;
pub(crate) mod expose_invalid_format;
pub(crate) mod expose_proto_casing;
mod from_as_casing;
pub(crate) mod from_platform_flag_const_disallowed;
pub(crate) mod invalid_base_image_platform;
pub(crate) mod invalid_default_arg_in_from;
mod invalid_definition_description;
pub(crate) mod json_args_recommended;
pub(crate) mod legacy_key_value_format;
mod maintainer_deprecated;
pub(crate) mod multiple_instructions_disallowed;
mod no_empty_continuation;
pub(crate) mod redundant_target_platform;
mod reserved_stage_name;
pub(crate) mod secrets_used_in_arg_or_env;
mod stage_name_casing;
pub(crate) mod undefined_arg_in_from;
pub(crate) mod undefined_var;
pub(crate) mod workdir_relative_path;

mod options;

use serde::Serialize;

use crate::diagnostic::{Code, Diagnostic, Span};
use crate::instruction::Command;
use crate::syntax::{File, Instruction};

pub use options::{Options, ParseOptionsError};

/// The name of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[expect(missing_docs, reason = "each rule has a file that explains it")]
pub enum Rule {
    ConsistentInstructionCasing,
    CopyIgnoredFile,
    DuplicateStageName,
    ExposeInvalidFormat,
    ExposeProtoCasing,
    FromAsCasing,
    FromPlatformFlagConstDisallowed,
    InvalidBaseImagePlatform,
    InvalidDefaultArgInFrom,
    InvalidDefinitionDescription,
    #[serde(rename = "JSONArgsRecommended")]
    JsonArgsRecommended,
    LegacyKeyValueFormat,
    MaintainerDeprecated,
    MultipleInstructionsDisallowed,
    NoEmptyContinuation,
    RedundantTargetPlatform,
    ReservedStageName,
    SecretsUsedInArgOrEnv,
    StageNameCasing,
    UndefinedArgInFrom,
    UndefinedVar,
    WorkdirRelativePath,
}

/// Name, end of the address of the documentation, description.
type About = (Rule, &'static str, &'static str, &'static str);

const RULES: &[About] = &[
    (
        Rule::ConsistentInstructionCasing,
        "ConsistentInstructionCasing",
        "consistent-instruction-casing",
        "All commands within the Dockerfile should use the same casing (either upper or lower)",
    ),
    (
        Rule::CopyIgnoredFile,
        "CopyIgnoredFile",
        "copy-ignored-file",
        "Attempting to Copy file that is excluded by .dockerignore",
    ),
    (Rule::DuplicateStageName, "DuplicateStageName", "duplicate-stage-name", "Stage names should be unique"),
    (
        Rule::ExposeInvalidFormat,
        "ExposeInvalidFormat",
        "expose-invalid-format",
        "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release",
    ),
    (
        Rule::ExposeProtoCasing,
        "ExposeProtoCasing",
        "expose-proto-casing",
        "Protocol in EXPOSE instruction should be lowercase",
    ),
    (
        Rule::FromAsCasing,
        "FromAsCasing",
        "from-as-casing",
        "The 'as' keyword should match the case of the 'from' keyword",
    ),
    (
        Rule::FromPlatformFlagConstDisallowed,
        "FromPlatformFlagConstDisallowed",
        "from-platform-flag-const-disallowed",
        "FROM --platform flag should not use a constant value",
    ),
    (
        Rule::InvalidBaseImagePlatform,
        "InvalidBaseImagePlatform",
        "",
        "Base image platform does not match expected target platform",
    ),
    (
        Rule::InvalidDefaultArgInFrom,
        "InvalidDefaultArgInFrom",
        "invalid-default-arg-in-from",
        "Default value for global ARG results in an empty or invalid base image name",
    ),
    (
        Rule::InvalidDefinitionDescription,
        "InvalidDefinitionDescription",
        "invalid-definition-description",
        "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not intended to be a description comment, add an empty line or comment between the instruction and the comment.",
    ),
    (
        Rule::JsonArgsRecommended,
        "JSONArgsRecommended",
        "json-args-recommended",
        "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
    ),
    (
        Rule::LegacyKeyValueFormat,
        "LegacyKeyValueFormat",
        "legacy-key-value-format",
        "Legacy key/value format with whitespace separator should not be used",
    ),
    (
        Rule::MaintainerDeprecated,
        "MaintainerDeprecated",
        "maintainer-deprecated",
        "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
    ),
    (
        Rule::MultipleInstructionsDisallowed,
        "MultipleInstructionsDisallowed",
        "multiple-instructions-disallowed",
        "Multiple instructions of the same type should not be used in the same stage",
    ),
    (
        Rule::NoEmptyContinuation,
        "NoEmptyContinuation",
        "no-empty-continuation",
        "Empty continuation lines will become errors in a future release",
    ),
    (
        Rule::RedundantTargetPlatform,
        "RedundantTargetPlatform",
        "redundant-target-platform",
        "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
    ),
    (
        Rule::ReservedStageName,
        "ReservedStageName",
        "reserved-stage-name",
        "Reserved words should not be used as stage names",
    ),
    (
        Rule::SecretsUsedInArgOrEnv,
        "SecretsUsedInArgOrEnv",
        "secrets-used-in-arg-or-env",
        "Sensitive data should not be used in the ARG or ENV commands",
    ),
    (Rule::StageNameCasing, "StageNameCasing", "stage-name-casing", "Stage names should be lowercase"),
    (
        Rule::UndefinedArgInFrom,
        "UndefinedArgInFrom",
        "undefined-arg-in-from",
        "FROM command must use declared ARGs",
    ),
    (Rule::UndefinedVar, "UndefinedVar", "undefined-var", "Variables should be defined before their use"),
    (
        Rule::WorkdirRelativePath,
        "WorkdirRelativePath",
        "workdir-relative-path",
        "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes",
    ),
];

impl Rule {
    /// All rules, by name.
    pub fn all() -> impl Iterator<Item = Self> {
        RULES.iter().map(|about| about.0)
    }

    fn about(self) -> &'static About {
        RULES.iter().find(|about| about.0 == self).unwrap_or(&RULES[0])
    }

    /// Its name, as users write it.
    pub fn name(self) -> &'static str {
        self.about().1
    }

    /// What it is about.
    pub fn description(self) -> &'static str {
        self.about().3
    }

    /// Where it is documented; empty for one that is not.
    pub fn url(self) -> String {
        match self.about().2 {
            "" => String::new(),
            end => format!("https://docs.docker.com/go/dockerfile/rule/{end}/"),
        }
    }

    /// Whether it must be asked for.
    pub const fn is_experimental(self) -> bool {
        matches!(self, Self::CopyIgnoredFile | Self::InvalidDefinitionDescription)
    }
}

/// A place that a rule speaks of, and the comments before it, which can silence the rule.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'a> {
    pub(crate) span: Span,
    pub(crate) comments: &'a [String],
}

impl<'a> At<'a> {
    pub(crate) fn of(instruction: &'a Instruction) -> Self {
        Self { span: instruction.span, comments: &instruction.comments }
    }
}

/// What the rules found.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    options: Options,
    found: Vec<Diagnostic>,
}

impl Checks {
    pub(crate) const fn new(options: Options) -> Self {
        Self { options, found: Vec::new() }
    }

    pub(crate) fn report(&mut self, at: At<'_>, rule: Rule, message: String) {
        let local = Options::from_comments(at.comments);
        let allowed = |options: &Options| options.allows(rule);
        let wanted = if rule.is_experimental() {
            allowed(&self.options) || local.as_ref().is_some_and(allowed)
        } else {
            allowed(&self.options) && local.as_ref().is_none_or(allowed)
        };
        if wanted {
            self.found.push(Diagnostic::warning(Code::Check(rule), at.span, message));
        }
    }

    /// The warnings by place, and the fault that they are where the file says so.
    pub(crate) fn finish(mut self) -> (Vec<Diagnostic>, Option<Diagnostic>) {
        self.found.sort_by_key(|warning| warning.span.start);
        let fault = (self.options.warnings_are_errors && !self.found.is_empty()).then(|| {
            let mut names: Vec<&str> = Vec::new();
            for warning in &self.found {
                if let Code::Check(rule) = warning.code
                    && !names.contains(&rule.name())
                {
                    names.push(rule.name());
                }
            }
            let message = format!("lint violation found for rules: {}", names.join(", "));
            let span = self.found.first().map(|warning| warning.span).unwrap_or_default();
            Diagnostic::error(Code::Directive, span, message)
        });
        (self.found, fault)
    }
}

/// The rules that look at the text alone.
pub(crate) fn check_syntax(file: &File, checks: &mut Checks) {
    for instruction in &file.instructions {
        if let Some(last_line) = instruction.empty_continuation {
            no_empty_continuation::check(checks, last_line);
        }
    }
    for instruction in &file.instructions {
        let at = At::of(instruction);
        match &instruction.command {
            Some(Command::Maintainer(_)) => maintainer_deprecated::check(checks, at),
            Some(Command::From(from)) => {
                stage_name_casing::check(checks, at, from);
                from_as_casing::check(checks, at, &instruction.keyword.text, from);
                if let Some(name) = &from.name {
                    invalid_definition_description::check(checks, at, "FROM", &[&name.text]);
                }
            }
            Some(Command::Arg(arg)) => {
                let names: Vec<&str> = arg.items.iter().map(|item| item.name.text.as_str()).collect();
                invalid_definition_description::check(checks, at, "ARG", &names);
            }
            _ => {}
        }
    }
    let stages = || {
        file.stages.iter().filter_map(|stage| {
            let instruction = &file.instructions[stage.from];
            match &instruction.command {
                Some(Command::From(from)) => Some((At::of(instruction), from)),
                _ => None,
            }
        })
    };
    for (at, from) in stages() {
        reserved_stage_name::check(checks, at, from);
    }
    duplicate_stage_name::check(stages(), checks);
    consistent_instruction_casing::check(file, checks);
}

#[cfg(test)]
mod tests;
