//! The stages that a file offers: `--call=targets`.

use serde::Serialize;

use crate::diagnostic::Lines;
use crate::instruction::Command;
use crate::syntax::File;

/// A stage, as something to build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Target {
    /// Its name; empty where it has none.
    pub name: String,
    /// What the comment before it says.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Whether it is built when nothing else is asked for.
    #[serde(rename = "default", skip_serializing_if = "std::ops::Not::not")]
    pub is_default: bool,
    /// Its base, as written.
    pub base: String,
    /// `--platform`, as written.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub platform: String,
    /// Where.
    pub lines: Lines,
}

/// The stages of a file, in order.
pub fn targets(file: &File) -> Vec<Target> {
    let last = file.stages.len().saturating_sub(1);
    let stages = file.stages.iter().enumerate().filter_map(|(index, stage)| {
        let instruction = &file.instructions[stage.from];
        let Some(Command::From(from)) = &instruction.command else { return None };
        Some(Target {
            name: from.name.as_ref().map(|name| name.text.clone()).unwrap_or_default(),
            description: from.description.clone().unwrap_or_default(),
            is_default: index == last,
            base: from.base.text.clone(),
            platform: from.platform.as_ref().map(|word| word.text.clone()).unwrap_or_default(),
            lines: instruction.lines,
        })
    });
    stages.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_descriptions_and_the_default() {
        let file = crate::parse(b"# base all of it\nFROM --platform=$P a AS Base\nFROM base\n").file;
        let targets = targets(&file);
        assert_eq!(targets[0].name, "base");
        assert_eq!(targets[0].description, "all of it");
        assert_eq!(targets[0].platform, "$P");
        assert!(!targets[0].is_default);
        assert!(targets[1].is_default);
        assert_eq!((targets[1].name.as_str(), targets[1].base.as_str()), ("", "base"));
    }
}
