//! Variables before the first FROM: those of the platform, and the ARGs there.

use std::collections::HashMap;

use lighter_image::Platform;

use super::graph::expand_fault;
use super::scope::Scope;
use super::{OutlineArg, Request};
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::expand::Lexer;
use crate::instruction::{Arg, Command, From};
use crate::lint::{self, At, Checks};
use crate::syntax::File;

const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// The build arguments of a request: the last of a name counts.
pub(super) fn build_args(request: &Request) -> HashMap<String, String> {
    let mut args: HashMap<String, String> = request.build_args.iter().cloned().collect();
    if let Some(epoch) = request.epoch {
        args.entry(EPOCH.to_owned()).or_insert_with(|| epoch.to_string());
    }
    args
}

/// What RUN calls the machine.
pub(super) fn hostname(request: &Request) -> Option<String> {
    let given = request.build_args.iter().rev().find(|(name, _)| name == "BUILDKIT_SANDBOX_HOSTNAME");
    request.hostname.clone().or_else(|| given.map(|(_, value)| value.clone()))
}

/// The variables that are there without an ARG; the request can set them too.
pub(super) fn predefined(file: &File, request: &Request, overrides: &HashMap<String, String>) -> Scope {
    let last = file.stages.last().and_then(|stage| match &file.instructions[stage.from].command {
        Some(Command::From(From { name: Some(name), .. })) => Some(name.text.as_str()),
        _ => None,
    });
    let stage = request.target.as_deref().filter(|name| !name.is_empty()).or(last).unwrap_or("default");
    let mut scope = Scope::default();
    let mut set = |name: &str, value: &str| {
        scope.set(name, overrides.get(name).map_or(value, String::as_str));
    };
    for (prefix, platform) in [("BUILD", &request.build_platform), ("TARGET", &request.platform)] {
        let Platform { os, architecture, os_version, variant, .. } = platform;
        set(&format!("{prefix}PLATFORM"), &platform.to_string());
        set(&format!("{prefix}OS"), os);
        set(&format!("{prefix}OSVERSION"), os_version.as_deref().unwrap_or_default());
        set(&format!("{prefix}ARCH"), architecture);
        set(&format!("{prefix}VARIANT"), variant.as_deref().unwrap_or_default());
    }
    set("TARGETSTAGE", stage);
    scope
}

/// The ARGs before the first FROM.
pub(super) fn globals(
    file: &File,
    overrides: &HashMap<String, String>,
    scope: &mut Scope,
    faults: &mut Vec<Diagnostic>,
) -> Vec<OutlineArg> {
    let lexer = Lexer::new(file.escape());
    let mut declared = Vec::new();
    for &index in &file.globals {
        let instruction = &file.instructions[index];
        let Some(Command::Arg(Arg { items })) = &instruction.command else { continue };
        for item in items {
            let mut uses = Vec::new();
            let value = match (overrides.get(&item.name.text), &item.default) {
                (Some(value), _) => Some(value.clone()),
                (None, Some(default)) => match lexer.expand(&default.text, scope) {
                    Ok(expanded) => {
                        uses.extend(expanded.used);
                        Some(expanded.text)
                    }
                    Err(error) => {
                        faults.push(expand_fault(default, &error));
                        None
                    }
                },
                (None, None) => None,
            };
            if let Some(value) = &value {
                scope.set(&item.name.text, value);
            }
            declared.push(OutlineArg {
                name: item.name.text.clone(),
                value: value.unwrap_or_default(),
                description: item.description.clone(),
                lines: instruction.lines,
                uses,
                is_inherited: false,
            });
        }
    }
    declared
}

/// Whether the bases have names without any build argument.
pub(super) fn check_defaults(file: &File, predefined: &Scope, checks: &mut Checks) {
    let mut scope = predefined.clone();
    let mut faults = Vec::new();
    globals(file, &HashMap::new(), &mut scope, &mut faults);
    if !faults.is_empty() {
        return;
    }
    let lexer = Lexer::new(file.escape());
    for stage in &file.stages {
        let instruction = &file.instructions[stage.from];
        let Some(Command::From(from)) = &instruction.command else { continue };
        let Ok(base) = lexer.expand(&from.base.text, &scope) else { return };
        lint::invalid_default_arg_in_from::check(checks, At::of(instruction), &from.base.text, &base.text);
    }
}

/// `SOURCE_DATE_EPOCH`; an empty one is none, and `context` stands for the time of the context.
pub(super) fn epoch(
    of_context: Option<i64>,
    overrides: &mut HashMap<String, String>,
    globals: &mut Scope,
    faults: &mut Vec<Diagnostic>,
) -> Option<i64> {
    let value = overrides.get(EPOCH).cloned().or_else(|| {
        crate::expand::Variables::get(globals, EPOCH).filter(|v| !v.is_empty()).map(str::to_owned)
    })?;
    if value == "context" {
        // a folder has no time of its own: then there is none
        let time = of_context.map(|time| time.to_string()).unwrap_or_default();
        overrides.insert(EPOCH.to_owned(), time.clone());
        globals.set(EPOCH, &time);
        return of_context;
    }
    if value.is_empty() {
        return None;
    }
    if let Ok(epoch) = value.parse() {
        return Some(epoch);
    }
    let help = "it is a number of seconds since 1970; or `context`; taking it from a named context or a stage is not supported";
    let message = format!("invalid SOURCE_DATE_EPOCH: {value}");
    let fault = Diagnostic::error(Code::Unsupported, Span::default(), message);
    faults.push(fault.with_help(Some(help.to_owned())));
    None
}

/// The variables that a process gets from the proxy arguments of a request, small and capital.
pub(super) fn proxies(overrides: &HashMap<String, String>) -> Vec<(String, String)> {
    let mut names: Vec<&String> = overrides.keys().collect();
    names.sort();
    let mut out = Vec::new();
    for kind in ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"] {
        // of several spellings the last in order counts
        let value =
            names.iter().rev().find(|name| name.eq_ignore_ascii_case(kind)).map(|name| &overrides[*name]);
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            out.push((kind.to_owned(), value.clone()));
            out.push((kind.to_lowercase(), value.clone()));
        }
    }
    out
}
