//! Single instructions that change a configuration: `--change` of `import` and `commit`.

use lighter_image::{ContainerConfig, ImageConfig, Platform};

use crate::diagnostic::{Code, Diagnostic, Span};
use crate::plan::{Base, Bases, Lowered, Request, lower};
use crate::syntax::parse;

/// The instructions that an image's configuration can be changed by.
const ALLOWED: [&str; 11] = [
    "CMD",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "ONBUILD",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// A configuration after one more instruction.
///
/// # Errors
/// The fault, where the line is no instruction that changes a configuration. Its span counts from the line's start.
/// # Source
/// Docker's reference of `docker import` and `docker commit`, `--change`.
pub fn change(config: &ContainerConfig, line: &str) -> Result<ContainerConfig, Diagnostic> {
    let line = line.trim();
    let word = line.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    if !ALLOWED.contains(&word.as_str()) {
        let message = format!("{word} is not a valid change command");
        let help = format!("allowed are {}", ALLOWED.join(", "));
        let span = Span { start: 0, end: line.len() };
        return Err(Diagnostic::error(Code::UnknownInstruction, span, message).with_help(Some(help)));
    }
    let mut before = config.clone();
    let triggers = std::mem::take(&mut before.on_build);
    let has_path = before.env.iter().any(|entry| entry.starts_with("PATH="));
    if !has_path {
        // a build would add the default; one that is there already can be told apart and taken out again
        before.env.push(NO_PATH.to_owned());
    }
    let mut after = lowered(&before, line)?;
    after.env.retain(|entry| entry != NO_PATH);
    after.on_build.splice(0..0, triggers);
    after.args_escaped = config.args_escaped;
    after.other.clone_from(&config.other);
    Ok(after)
}

/// The FROM that the instruction stands on, in the text that is planned.
const GROUND: &str = "FROM ground\n";
const NO_PATH: &str = "PATH=\u{1}";

fn lowered(config: &ContainerConfig, line: &str) -> Result<ContainerConfig, Diagnostic> {
    let text = format!("{GROUND}{line}\n");
    let file = parse(text.as_bytes()).file;
    let request = Request::new(Platform::host());
    let mut bases = Bases::new();
    loop {
        match lower(&file, &request, &bases) {
            Lowered::Plan(plan) => return Ok(plan.config.config),
            Lowered::NeedsBases(needs) => {
                for need in needs {
                    let image = ImageConfig {
                        architecture: need.platform.architecture.clone(),
                        os: need.platform.os.clone(),
                        config: config.clone(),
                        ..ImageConfig::default()
                    };
                    bases.insert(need.key(), Base { config: image, digest: None });
                }
            }
            Lowered::Faults(faults) => {
                let mut fault = faults.into_iter().next().unwrap_or_else(|| {
                    Diagnostic::error(
                        Code::UnknownInstruction,
                        Span { start: 0, end: 0 },
                        "not valid".to_owned(),
                    )
                });
                fault.span.start = fault.span.start.saturating_sub(GROUND.len());
                fault.span.end = fault.span.end.saturating_sub(GROUND.len());
                return Err(fault);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(lines: &[&str]) -> ContainerConfig {
        lines.iter().fold(ContainerConfig::default(), |config, line| {
            change(&config, line).unwrap_or_else(|fault| panic!("{line}: {}", fault.message))
        })
    }

    #[test]
    fn changes_add_up() {
        let config = changed(&[
            "ENV A=1 B=2",
            "cmd [\"sh\", \"-c\", \"x\"]",
            "WORKDIR /a",
            "WORKDIR b",
            "EXPOSE 80",
            "LABEL k=\"v w\"",
            "ONBUILD RUN x",
            "ONBUILD RUN y",
        ]);
        assert_eq!(config.env, ["A=1", "B=2"]);
        assert_eq!(config.cmd.as_deref(), Some(&["sh", "-c", "x"].map(str::to_owned)[..]));
        assert_eq!(config.working_dir, "/a/b");
        assert!(config.exposed_ports.contains("80/tcp"));
        assert_eq!(config.labels["k"], "v w");
        assert_eq!(config.on_build, ["RUN x", "RUN y"]);
        assert_eq!(config.args_escaped, None);
    }

    #[test]
    fn a_path_is_only_there_where_somebody_set_it() {
        assert_eq!(changed(&["ENV A=1"]).env, ["A=1"]);
        assert_eq!(changed(&["ENV PATH=/x"]).env, ["PATH=/x"]);
        assert_eq!(changed(&["ENV B=1", "ENV PATH=/x", "ENV A=2"]).env, ["B=1", "PATH=/x", "A=2"]);
    }

    #[test]
    fn what_is_no_change_is_refused() {
        let refused = |line: &str| change(&ContainerConfig::default(), line).expect_err(line).message;
        assert!(refused("RUN x").contains("RUN is not a valid change command"));
        assert!(refused("SHELL [\"sh\"]").contains("SHELL is not a valid change command"));
        assert!(refused("").contains("not a valid change command"));
        refused("EXPOSE x");
        refused("HEALTHCHECK MAYBE");
    }
}
