//! `build --call`: checks, outline and targets in place of a build.

use crate::failure::Failure;
use crate::render::{diagnostic, table};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use lighter_dockerfile::lint::Rule;
use lighter_dockerfile::{Code, Diagnostic, Lines};
use lighter_engine::build::{Aim, BuildFailure, Looked, SourceFile};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// What is to be found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call {
    method: Method,
    as_json: bool,
    /// Whether what is found leaves the exit code at 0.
    ignores_status: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Check,
    Outline,
    Targets,
    Describe,
}

/// The space between two columns.
const NARROW: usize = 1;
const WIDE: usize = 3;

const METHODS: &str = "NAME\tVERSION\tDESCRIPTION
outline\t1.0.0\tList all parameters current build target supports
targets\t1.0.0\tList all targets current build supports
subrequests.describe\t1.0.0\tList available subrequest types
";

impl Call {
    /// Reads `--call` and `--check`; none for a build.
    ///
    /// # Errors
    /// A method or format that does not exist.
    pub(super) fn read(call: &str, check: bool) -> Result<Option<Self>, Failure> {
        let mut parts = call.split(',');
        let method = match parts.next().unwrap_or_default() {
            "build" | "" if check => Method::Check,
            "build" | "" => return Ok(None),
            "check" | "lint" => Method::Check,
            "outline" => Method::Outline,
            "targets" => Method::Targets,
            "subrequests.describe" => Method::Describe,
            other => {
                return Err(Failure::new(format!(
                    "ERROR: --call={other}: it is build, check, outline or targets"
                )));
            }
        };
        let mut read = Self { method, as_json: false, ignores_status: false };
        for part in parts {
            match part.split_once('=') {
                Some(("format", "json")) => read.as_json = true,
                Some(("format", "text")) => read.as_json = false,
                Some(("ignorestatus", value)) => {
                    read.ignores_status = crate::args::switch(value).map_err(|why| {
                        Failure::new(format!("ERROR: invalid ignorestatus print value: {value}: {why}"))
                    })?;
                }
                _ => return Err(Failure::new(format!("ERROR: invalid print format {part:?} in --call"))),
            }
        }
        Ok(Some(read))
    }

    /// What must be known for it.
    pub(super) const fn aim(self) -> Aim {
        match self.method {
            Method::Check => Aim::Checks,
            Method::Outline => Aim::Outline,
            Method::Targets | Method::Describe => Aim::Targets,
        }
    }

    /// What is printed of a file with faults where a document was asked for.
    pub(super) fn told_of_faults(self, failure: &BuildFailure) -> Option<String> {
        let BuildFailure::Faults { file, diagnostics } = failure else { return None };
        if (self.method, self.as_json) != (Method::Check, true) {
            return None;
        }
        let error = diagnostics.iter().find(|diagnostic| diagnostic.is_error())?;
        let mut document = checked_json(file, &checks(file, diagnostics));
        document["buildError"] = json!({"message": diagnostic::message(&file.text, error), "location": location(lines(file, error))});
        Some(pretty(&document))
    }

    /// The checks of a file with faults, as a report of their own: the failure then tells of the faults alone.
    pub(super) fn take_checks(self, failure: &mut BuildFailure) -> Option<String> {
        let BuildFailure::Faults { file, diagnostics } = failure else { return None };
        let found = checks(file, diagnostics);
        if (self.method, self.as_json) != (Method::Check, false) || found.is_empty() {
            return None;
        }
        let report = checked(file, found);
        diagnostics.retain(Diagnostic::is_error);
        Some(report)
    }

    /// What was found out, and the exit code.
    pub(super) fn told(self, looked: &Looked) -> (String, u8) {
        let checks = checks(&looked.file, &looked.warnings);
        let found = u8::from(self.method == Method::Check && !self.ignores_status && !checks.is_empty());
        let text = match (self.method, self.as_json) {
            (Method::Describe, _) => table::columns(METHODS, 0, NARROW),
            (Method::Check, false) => checked(&looked.file, checks),
            (Method::Outline, false) => outline(looked),
            (Method::Targets, false) => targets(looked),
            (Method::Check, true) => pretty(&checked_json(&looked.file, &checks)),
            (Method::Outline, true) => pretty(&outline_json(looked)),
            (Method::Targets, true) => pretty(&targets_json(looked)),
        };
        (text, found)
    }
}

/// The warnings that come from rules, with the lines they are about.
fn checks<'a>(file: &SourceFile, warnings: &'a [Diagnostic]) -> Vec<(Rule, &'a Diagnostic, Lines)> {
    let rule = |warning: &Diagnostic| match warning.code {
        Code::Check(rule) => Some(rule),
        _ => None,
    };
    warnings.iter().filter_map(|warning| Some((rule(warning)?, warning, lines(file, warning)))).collect()
}

fn lines(file: &SourceFile, warning: &Diagnostic) -> Lines {
    let line = |at: usize| {
        let before = file.text.get(..at).unwrap_or(&file.text);
        u32::try_from(before.split(|byte| *byte == b'\n').count()).unwrap_or(u32::MAX)
    };
    let first = line(warning.span.start);
    Lines { first, last: line(warning.span.end.saturating_sub(1)).max(first) }
}

fn checked(file: &SourceFile, checks: Vec<(Rule, &Diagnostic, Lines)>) -> String {
    let mut text = match checks.len() {
        0 => return "Check complete, no warnings found.\n".to_owned(),
        1 => "Check complete, 1 warning has been found!\n".to_owned(),
        count => format!("Check complete, {count} warnings have been found!\n"),
    };
    for (rule, warning, lines) in checks {
        let _ = write!(text, "\nWARNING: {} - {}\n{}\n", rule.name(), rule.url(), warning.message);
        let (first, last) = (lines.first as usize, lines.last as usize);
        text.push_str(&diagnostic::excerpt(&file.name, &file.text, first, last));
    }
    text
}

fn outline(looked: &Looked) -> String {
    let outline = &looked.outline;
    let mut text = String::new();
    let mut block = |rows: &[String], padding| {
        let _ = writeln!(text, "{}", table::columns(&rows.concat(), 0, padding));
    };
    if !outline.name.is_empty() || !outline.description.is_empty() {
        let name = if outline.name.is_empty() { "(default)" } else { &outline.name };
        let mut rows = vec![format!("TARGET:\t{name}\n")];
        if !outline.description.is_empty() {
            rows.push(format!("DESCRIPTION:\t{}\n", outline.description));
        }
        block(&rows, NARROW);
    }
    if !outline.args.is_empty() {
        let args = outline.args.iter().map(|arg| {
            format!("{}\t{}\t{}\n", arg.name, arg.value, arg.description.as_deref().unwrap_or_default())
        });
        let heading = "BUILD ARG\tVALUE\tDESCRIPTION\n".to_owned();
        block(&std::iter::once(heading).chain(args).collect::<Vec<_>>(), WIDE);
    }
    for (heading, secrets) in [("SECRET\tREQUIRED\n", &outline.secrets), ("SSH\tREQUIRED\n", &outline.ssh)] {
        if !secrets.is_empty() {
            let rows = secrets
                .iter()
                .map(|secret| format!("{}\t{}\n", secret.name, if secret.required { "true" } else { "" }));
            block(&std::iter::once(heading.to_owned()).chain(rows).collect::<Vec<_>>(), WIDE);
        }
    }
    text
}

fn targets(looked: &Looked) -> String {
    let mut text = "TARGET\tDESCRIPTION\n".to_owned();
    for target in looked.targets.iter().filter(|target| !target.name.is_empty() || target.is_default) {
        let name = match (target.name.as_str(), target.is_default) {
            ("", _) => "(default)".to_owned(),
            (name, true) => format!("{name} (default)"),
            (name, false) => name.to_owned(),
        };
        let _ = writeln!(text, "{name}\t{}", target.description);
    }
    table::columns(&text, 0, NARROW)
}

fn checked_json(file: &SourceFile, checks: &[(Rule, &Diagnostic, Lines)]) -> Value {
    let warnings: Vec<Value> = checks
        .iter()
        .map(|(rule, warning, lines)| {
            json!({
                "ruleName": rule.name(),
                "description": rule.description(),
                "url": rule.url(),
                "detail": warning.message,
                "location": location(*lines),
            })
        })
        .collect();
    let source = json!({"filename": file.name, "data": BASE64.encode(&file.text), "language": "Dockerfile"});
    let warnings = if warnings.is_empty() { Value::Null } else { warnings.into() };
    json!({"warnings": warnings, "sources": [source]})
}

fn outline_json(looked: &Looked) -> Value {
    let outline = &looked.outline;
    let mut document = Map::new();
    let mut put = |name: &str, value: Value| {
        if value.as_array().is_none_or(|list| !list.is_empty()) && value != "" {
            document.insert(name.to_owned(), value);
        }
    };
    put("name", outline.name.as_str().into());
    put("description", outline.description.as_str().into());
    put(
        "args",
        outline
            .args
            .iter()
            .map(|arg| {
                let mut fields = json!({"name": arg.name});
                if let Some(description) = &arg.description {
                    fields["description"] = description.as_str().into();
                }
                if !arg.value.is_empty() {
                    fields["value"] = arg.value.as_str().into();
                }
                fields["location"] = location(arg.lines);
                fields
            })
            .collect(),
    );
    for (name, secrets) in [("secrets", &outline.secrets), ("ssh", &outline.ssh)] {
        put(
            name,
            secrets
                .iter()
                .map(|secret| {
                    let mut fields = json!({"name": secret.name});
                    if secret.required {
                        fields["required"] = true.into();
                    }
                    fields["location"] = location(secret.lines);
                    fields
                })
                .collect(),
        );
    }
    put("sources", json!([BASE64.encode(&looked.file.text)]));
    Value::Object(document)
}

fn targets_json(looked: &Looked) -> Value {
    let target = |target: &lighter_dockerfile::targets::Target| {
        let mut fields = Map::new();
        let is_default = if target.is_default { Value::Bool(true) } else { Value::Null };
        for (name, value) in [
            ("name", target.name.as_str().into()),
            ("default", is_default),
            ("description", target.description.as_str().into()),
            ("base", target.base.as_str().into()),
            ("platform", target.platform.as_str().into()),
        ] {
            if value != "" && !value.is_null() {
                fields.insert(name.to_owned(), value);
            }
        }
        fields.insert("location".to_owned(), location(target.lines));
        Value::Object(fields)
    };
    let targets: Vec<Value> = looked.targets.iter().map(target).collect();
    json!({"targets": targets, "sources": [BASE64.encode(&looked.file.text)]})
}

fn location(lines: Lines) -> Value {
    let range = |line: u32| json!({"start": {"line": line}, "end": {"line": line}});
    json!({"ranges": (lines.first..=lines.last).map(range).collect::<Vec<Value>>()})
}

fn pretty(document: &Value) -> String {
    format!("{document:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_and_formats() {
        let call = |method, as_json| Ok(Some(Call { method, as_json, ignores_status: false }));
        assert_eq!(Call::read("build", false), Ok(None));
        assert_eq!(Call::read("build", true), call(Method::Check, false));
        assert_eq!(Call::read("check,format=json", false), call(Method::Check, true));
        assert_eq!(Call::read("targets", false), call(Method::Targets, false));
        let ignoring = Call { method: Method::Check, as_json: false, ignores_status: true };
        assert_eq!(Call::read("check,ignorestatus=true", false), Ok(Some(ignoring)));
        assert!(Call::read("check,ignorestatus=x", false).is_err());
        assert!(Call::read("frob", false).is_err() && Call::read("outline,format=x", false).is_err());
    }
}
