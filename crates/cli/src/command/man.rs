//! `man`: a manual page for every verb, from the definitions that its help is made of.

use crate::args::completion::Man;
use crate::args::help;
use crate::failure::Failure;
use crate::session::Session;
use crate::tree;
use crate::verb::{Entry, Verb};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

impl Verb for Man {
    fn run(self, _session: &Session) -> Result<u8, Failure> {
        write(&self.folder, "lighter", &overview())?;
        for entry in tree::VERBS {
            let Some((first, others)) = entry.spec.paths.split_first() else { continue };
            write(&self.folder, &name(first), &page(entry, first))?;
            for other in others {
                write(&self.folder, &name(other), &format!(".so man1/{}.1\n", name(first)))?;
            }
        }
        Ok(0)
    }
}

fn write(folder: &Path, name: &str, text: &str) -> Result<(), Failure> {
    let path = folder.join(format!("{name}.1"));
    fs::write(&path, text).map_err(|error| {
        let text = error.to_string();
        let reason = text.split(" (os error").next().unwrap_or_default().to_lowercase();
        Failure::new(format!("Error: writing {}: {reason}", path.display()))
    })
}

/// What the page of a verb is called.
fn name(path: &str) -> String {
    format!("lighter-{}", path.replace(' ', "-"))
}

fn page(entry: &Entry, path: &'static str) -> String {
    let spec = entry.spec;
    let mut text = header(&name(path), spec.summary());
    let _ = write!(text, ".SH SYNOPSIS\n.B lighter {}\n{}\n", escaped(path), escaped(spec.usage));
    let _ = write!(text, ".SH DESCRIPTION\n{}\n", escaped(spec.about));
    let options = help::options(&entry.command(path));
    if !options.is_empty() {
        text.push_str(".SH OPTIONS\n");
        text.push_str(&items(&options));
    }
    if spec.paths.len() > 1 {
        let names: Vec<_> = spec.paths.iter().map(|path| escaped(&format!("lighter {path}"))).collect();
        let _ = write!(text, ".SH ALIASES\n{}\n", names.join(", "));
    }
    text.push_str(".SH SEE ALSO\n.BR lighter (1)\n");
    text
}

fn overview() -> String {
    let mut text = header("lighter", "builds and runs container images, without a daemon and without root");
    text.push_str(".SH SYNOPSIS\n.B lighter\n[OPTIONS] COMMAND\n.SH COMMANDS\n");
    let mut verbs: Vec<_> = tree::VERBS
        .iter()
        .filter_map(|entry| {
            let path = entry.spec.paths.first()?;
            Some((format!("{}(1)", name(path)), entry.spec.summary().to_owned()))
        })
        .collect();
    verbs.sort();
    text.push_str(&items(&verbs));
    text.push_str(".SH OPTIONS\n");
    text.push_str(&items(&tree::global_options()));
    text
}

fn header(name: &str, about: &str) -> String {
    format!(
        ".TH {} 1 \"\" \"lighter {}\" \"\"\n.SH NAME\n{} \\- {}\n",
        name.to_uppercase(),
        env!("CARGO_PKG_VERSION"),
        escaped(name),
        escaped(about)
    )
}

fn items(rows: &[(String, String)]) -> String {
    let mut text = String::new();
    for (left, right) in rows {
        let _ = write!(text, ".TP\n.B {}\n{}\n", escaped(left.trim()), escaped(right));
    }
    text
}

/// Text in which nothing is an order to `roff`.
fn escaped(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let line = line.replace('\\', "\\e").replace('-', "\\-");
        if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line }
    });
    lines.collect::<Vec<_>>().join("\n.br\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_page_is_an_order_by_accident() {
        assert_eq!(escaped(".so -a\n'x' \\n"), "\\&.so \\-a\n.br\n\\&'x' \\en");
    }

    #[test]
    fn a_page_has_the_options_of_its_verb() {
        let run = tree::VERBS.iter().find(|entry| entry.spec.paths.contains(&"run")).expect("is there");
        let text = page(run, "container run");
        assert!(text.starts_with(".TH LIGHTER-CONTAINER-RUN 1 "), "{text}");
        assert!(text.contains(".TP\n.B \\-d, \\-\\-detach\nRun container in background"), "{text}");
        assert!(text.contains("lighter container run, lighter run\n"), "{text}");
    }
}
