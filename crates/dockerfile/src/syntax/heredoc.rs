//! Here-documents: files that stand in the Dockerfile itself.

use crate::diagnostic::Span;
use crate::expand::{Lexer, Nothing};

/// A here-document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The word that ends it, which is also its name.
    pub name: String,
    /// Whether variables in it count: its name is not quoted.
    pub expand: bool,
    /// Whether leading tabs are taken off: `<<-`.
    pub strip: bool,
    /// Its lines, as written.
    pub content: String,
    /// Where the content stands.
    pub span: Span,
}

impl Heredoc {
    /// The content as it counts: without leading tabs where they are taken off.
    pub fn text(&self) -> String {
        if self.strip { strip_tabs(&self.content) } else { self.content.clone() }
    }
}

/// A text without the tabs at the start of its lines.
pub fn strip_tabs(content: &str) -> String {
    content.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
}

/// The word that begins a here-document: `<<EOF`, `<<-"EOF"`, `3<<EOF`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeredocWord {
    pub(crate) name: String,
    pub(crate) expand: bool,
    pub(crate) strip: bool,
}

impl HeredocWord {
    /// Reads a word; `None` if it begins no here-document.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
        let (strip, rest) = match rest.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let rest = rest.trim_start_matches(['\t', '\n', '\u{c}', '\r', ' ']);
        if rest.is_empty() || rest.contains('<') {
            return None;
        }
        let lexer = Lexer { keep_unset: true, ..Lexer::new('\\') };
        let words = lexer.expand(rest, &Nothing).ok()?.words;
        let raw = Lexer { keep_quotes: true, ..lexer }.expand(rest, &Nothing).ok()?.words;
        let ([name], [raw]) = (&words[..], &raw[..]) else { return None };
        let quotes = |text: &str| text.matches(['\'', '"']).count();
        Some(Self { name: name.clone(), expand: quotes(name) == quotes(raw), strip })
    }

    /// The here-documents that a line begins, in order.
    pub(super) fn all_in(line: &str) -> Vec<Self> {
        if !line.contains("<<") {
            return Vec::new();
        }
        let lexer = Lexer { keep_quotes: true, keep_escapes: true, keep_unset: true, ..Lexer::new('\\') };
        let words = lexer.expand(line, &Nothing).map(|expanded| expanded.words).unwrap_or_default();
        words.iter().filter_map(|word| Self::parse(word)).collect()
    }

    /// Whether the line ends it.
    pub(super) fn is_end(&self, line: &str) -> bool {
        let line = line.trim_end_matches(['\r', '\n']);
        let line = if self.strip { line.trim_start_matches('\t') } else { line };
        line == self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &[(&str, bool, bool)]) {
        let words = HeredocWord::all_in(line);
        let words: Vec<_> = words.iter().map(|word| (word.name.as_str(), word.expand, word.strip)).collect();
        assert_eq!(words, expected, "{line}");
    }

    #[test]
    fn words_that_begin_one() {
        check("RUN <<EOF", &[("EOF", true, false)]);
        check("RUN <<-'EOF' cat", &[("EOF", false, true)]);
        check("COPY <<\"a b\" /x", &[("a b", false, false)]);
        check("RUN 3<<A cat <<B", &[("A", true, false), ("B", true, false)]);
        check("RUN << EOF", &[("EOF", true, false)]);
        check("RUN cat <<<EOF", &[]);
        check("RUN echo '<<EOF'", &[]);
        check("RUN echo $((1<<4))", &[]);
        check("RUN echo \\<<EOF", &[]);
    }

    #[test]
    fn only_leading_tabs_go() {
        assert_eq!(strip_tabs("\t\ta\tb\n c\n\t"), "a\tb\n c\n");
    }
}
