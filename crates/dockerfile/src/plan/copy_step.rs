//! COPY and ADD as steps.

use lighter_image::Digest;

use super::git::{self, GitReference};
use super::graph::Place;
use super::stage::{Scene, Stages};
use super::{Checksum, Chmod, Copy, Files, HttpSource, InlineFile, Op, PathSource, Source, naming};
use crate::diagnostic::Code;
use crate::expand::Lexer;
use crate::ignore::Patterns;
use crate::instruction::{Origin, Transfer};
use crate::lint;
use crate::syntax::Word;
use crate::{glob, path};

impl Stages<'_> {
    pub(super) fn transfer(
        &mut self,
        scene: &mut Scene<'_>,
        transfer: &Transfer,
        is_add: bool,
    ) -> Option<()> {
        let before = self.faults.len();
        let chown = self.optional(scene, transfer.chown.as_ref());
        let chmod_word = self.optional(scene, transfer.chmod.as_ref());
        let chmod = chmod_word.as_ref().and_then(|word| self.chmod(word));
        let checksum = self.optional(scene, transfer.checksum.as_ref());
        if let Some(checksum) = &checksum {
            self.check_checksum(scene, checksum, transfer);
        }
        let flags = SourceFlags {
            is_add,
            transfer,
            checksum: checksum.as_ref().map(|word| word.text.as_str()),
            takes_context: scene.item.places.first().is_none_or(|place| *place == Place::Unnamed),
        };
        for word in &transfer.excludes {
            self.check_exclude(word);
        }
        let (sources, texts) = self.sources(scene, &flags);
        let destination = self.expand(scene, &transfer.destination);
        if self.faults.len() > before {
            return None;
        }
        let destination = destination?.text;
        let place = scene.item.places.first().copied().unwrap_or(Place::Unnamed);
        let from = self.files(place, Files::Context);
        let made_by = made_by(is_add, transfer, chown.as_ref(), chmod_word.as_ref(), &texts, &destination);
        let shown = naming::shown(self.lexer, &scene.item.instruction.text, &scene.state.scope);
        let name = scene.name(&shown);
        let is_folder = matches!(destination.as_str(), "" | ".")
            || destination.ends_with('/')
            || destination.ends_with("/.");
        let copy = Copy {
            is_add,
            from,
            sources,
            destination: path::join(&scene.state.cwd, &destination),
            destination_is_folder: is_folder,
            chown: chown.map(|word| word.text).filter(|owner| !owner.is_empty()),
            chmod,
            link: transfer.link,
            parents: transfer.parents,
            excludes: transfer.excludes.iter().map(|word| word.text.clone()).collect(),
            unpack: transfer.unpack,
        };
        self.layer(scene, Op::Copy(copy), name, made_by);
        Some(())
    }

    fn optional(&mut self, scene: &Scene<'_>, word: Option<&Word>) -> Option<Word> {
        word.and_then(|word| self.expand(scene, word))
    }

    fn chmod(&mut self, word: &Word) -> Option<Chmod> {
        let text = word.text.as_str();
        if text.is_empty() {
            return None;
        }
        match u32::from_str_radix(text, 8) {
            Ok(bits) if bits <= 0o7777 && !text.starts_with('+') => return Some(Chmod::Bits(bits)),
            _ => {}
        }
        if is_symbolic(text) {
            return Some(Chmod::Symbolic(text.to_owned()));
        }
        let message =
            format!("invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777");
        self.fault(Code::Flag, word.span, message)
    }

    fn check_checksum(&mut self, scene: &Scene<'_>, checksum: &Word, transfer: &Transfer) -> Option<()> {
        let [Origin::Path(source)] = &transfer.sources[..] else {
            let message = "checksum can't be specified for multiple sources";
            return self.fault(Code::Flag, checksum.span, message);
        };
        let source = self.lexer.expand(&source.text, &scene.state.scope).ok()?.text;
        let is_git = GitReference::parse(&source).is_some();
        if !is_git && !is_http(&source) {
            return self.fault(Code::Flag, checksum.span, "checksum requires HTTP(S) or Git sources");
        }
        if !is_git && checksum.text.parse::<Digest>().is_err() {
            let message = format!("invalid checksum digest format: {:?}", checksum.text);
            return self.fault(Code::Flag, checksum.span, message);
        }
        Some(())
    }

    fn check_exclude(&mut self, word: &Word) -> Option<()> {
        let Err(error) = Patterns::new([&word.text]) else { return Some(()) };
        let message = format!("invalid excludepatterns: [{}]: {}", word.text, error.reason());
        self.fault(Code::Syntax, word.span, message)
    }

    /// The sources, and their texts for the history: paths before inline files.
    fn sources(&mut self, scene: &Scene<'_>, flags: &SourceFlags<'_>) -> (Vec<Source>, Vec<String>) {
        let mut paths = Vec::new();
        let mut inline = Vec::new();
        for origin in &flags.transfer.sources {
            match origin {
                Origin::Path(word) => {
                    let Some(word) = self.expand(scene, word) else { continue };
                    if let Some(source) = self.path_source(scene, &word, flags) {
                        paths.push((source, word.text));
                    }
                }
                Origin::Heredoc(index) => inline.extend(self.inline(scene, *index)),
            }
        }
        paths.into_iter().chain(inline).unzip()
    }

    fn inline(&mut self, scene: &Scene<'_>, index: usize) -> Option<(Source, String)> {
        let heredoc = scene.item.instruction.heredocs.get(index)?;
        self.check_document_name(scene, heredoc)?;
        let mut content = heredoc.text();
        if heredoc.expand {
            let lexer = Lexer { ignore_quotes: true, ..Lexer::new('\\') };
            content = self.expand_by(lexer, scene, &content, heredoc.span)?.text;
        }
        let text = format!("<<{}", heredoc.name);
        Some((Source::Inline(InlineFile { name: heredoc.name.clone(), content }), text))
    }

    fn path_source(&mut self, scene: &Scene<'_>, word: &Word, flags: &SourceFlags<'_>) -> Option<Source> {
        let text = word.text.as_str();
        if let Some(reference) = GitReference::parse(text) {
            if !flags.is_add {
                return self.fault(Code::Arguments, word.span, "source can't be a git ref for COPY");
            }
            let keep = flags.transfer.keep_git_dir;
            let source = reference.and_then(|git| git.into_source(keep, flags.checksum));
            return match source {
                Ok(source) => Some(Source::Git(source)),
                Err(message) => self.fault(Code::Arguments, word.span, message),
            };
        }
        if is_http(text) {
            if !flags.is_add {
                return self.fault(Code::Arguments, word.span, "source can't be a URL for COPY");
            }
            return Some(Source::Http(HttpSource {
                url: text.to_owned(),
                name: url_name(text),
                checksum: flags.checksum.map(|checksum| Checksum(checksum.to_owned())),
            }));
        }
        if let Some(patterns) = &self.inputs.request.ignore
            && flags.takes_context
        {
            lint::copy_ignored_file::check(&mut self.checks, scene.at(), flags.is_add, text, patterns);
        }
        let source = local(text, flags.transfer.parents);
        // what is in the context is read by its patterns, so they must be right
        if flags.takes_context && source.has_wildcards && !glob::is_valid(&source.pattern) {
            let message = format!("invalid includepatterns: [{text}]: syntax error in pattern");
            return self.fault(Code::Syntax, word.span, message);
        }
        Some(Source::Path(source))
    }
}

/// What the sources of one instruction share.
struct SourceFlags<'a> {
    is_add: bool,
    transfer: &'a Transfer,
    checksum: Option<&'a str>,
    takes_context: bool,
}

fn local(text: &str, parents: bool) -> PathSource {
    let (before, kept) = match text.split_once("/./") {
        _ if !parents => (text, None),
        Some((before, kept)) => (before, Some(kept)),
        None => ("/", Some(text)),
    };
    let kept = kept.map(|kept| path::clean(&format!("/{kept}")).trim_start_matches('/').to_owned());
    let (pattern, kept) = (path::clean(&format!("/{before}")), kept.unwrap_or_default());
    // the clean form decides: `*/../a` is `a`
    let has_wildcards = glob::has_wildcards(&pattern) || glob::has_wildcards(&kept);
    PathSource { pattern, kept, text: text.to_owned(), has_wildcards }
}

fn is_http(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// The last part of an address's path.
fn url_name(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or(rest);
    let path = rest.split_once('/').map_or("", |(_, path)| path);
    match path::base(&git::decode(&format!("/{path}"))) {
        "/" | "." => "__unnamed__".to_owned(),
        name => name.to_owned(),
    }
}

/// Whether it is a mode as `chmod` takes it: `u=rwX,go-w`.
fn is_symbolic(text: &str) -> bool {
    text.split(',').all(|clause| {
        let rest = clause.trim_start_matches(['u', 'g', 'o', 'a']);
        let mut actions = rest.split_inclusive(['+', '-', '=']);
        // the first piece is the first operator alone
        let first = actions.next();
        if !first.is_some_and(|first| matches!(first, "+" | "-" | "=")) {
            return false;
        }
        actions.all(|action| {
            let perms = action.trim_end_matches(['+', '-', '=']);
            perms.chars().all(|c| matches!(c, 'r' | 'w' | 'x' | 'X' | 's' | 't' | 'u' | 'g' | 'o'))
        })
    })
}

fn made_by(
    is_add: bool,
    transfer: &Transfer,
    chown: Option<&Word>,
    chmod: Option<&Word>,
    sources: &[String],
    destination: &str,
) -> String {
    let mut text = if is_add { "ADD" } else { "COPY" }.to_owned();
    if transfer.parents {
        text.push_str(" --parents");
    }
    for (flag, value) in [("--chown", chown), ("--chmod", chmod)] {
        if let Some(value) = value.filter(|value| !value.text.is_empty()) {
            text.extend([" ", flag, "=", &value.text]);
        }
    }
    for source in sources {
        text.push(' ');
        text.push_str(source);
    }
    format!("{text} {destination} # buildkit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_addresses() {
        for (url, name) in [
            ("http://h/a/b.txt?x=1", "b.txt"),
            ("http://h/a%20b", "a b"),
            ("http://h/", "__unnamed__"),
            ("http://h", "__unnamed__"),
            ("http://h/a/", "a"),
        ] {
            assert_eq!(url_name(url), name, "{url}");
        }
    }

    #[test]
    fn symbolic_modes() {
        for text in ["u=rwX,go=rX", "+x", "go-rwx", "a+w,o-r", "u+s", "g=u", "+x-w", "a="] {
            assert!(is_symbolic(text), "{text}");
        }
        for text in ["0898", "", "rwx", "u", "u+q", "755", ",", "u=rw,"] {
            assert!(!is_symbolic(text), "{text}");
        }
    }

    #[test]
    fn the_pivot_divides() {
        let source = local("dir/./sub/c.txt", true);
        assert_eq!((&*source.pattern, &*source.kept), ("/dir", "sub/c.txt"));
        let source = local("./dir/c.txt", true);
        assert_eq!((&*source.pattern, &*source.kept), ("/", "dir/c.txt"));
        let source = local("*/../a", false);
        assert_eq!((&*source.pattern, source.has_wildcards), ("/a", false));
        let source = local("../a/./b", false);
        assert_eq!((&*source.pattern, &*source.kept), ("/a/b", ""));
    }
}
