//! Faults of a Dockerfile: the line, a mark under the fault, and what to do about it.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use lighter_dockerfile::{Code, Diagnostic, Severity, Span};
use std::fmt::Write as _;

/// How wide a rendered line may be.
const WIDTH: usize = 120;

/// All diagnostics of a file, one below the other.
pub(crate) fn rendered(name: &str, source: &[u8], diagnostics: &[Diagnostic], colours: bool) -> String {
    let text = readable(source);
    let renderer = if colours { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.term_width(WIDTH);
    diagnostics.iter().map(|diagnostic| one(&renderer, name, &text, diagnostic) + "\n\n").collect()
}

/// The errors in one line: the first of them, and how many more there are.
pub(crate) fn summary(name: &str, source: &[u8], diagnostics: &[Diagnostic]) -> String {
    let mut errors = diagnostics.iter().filter(|diagnostic| diagnostic.is_error());
    let Some(first) = errors.next() else { return format!("{name} has faults") };
    let more = match errors.count() {
        0 => String::new(),
        1 => " (and 1 more error)".to_owned(),
        count => format!(" (and {count} more errors)"),
    };
    let text = message(source, first);
    if is_of_parser(first) {
        format!("{text}{more}")
    } else {
        format!("{name}:{}: {text}{more}", line(source, first))
    }
}

/// A fault as BuildKit words it: with the line where the text cannot be parsed, and with the word that was likely meant.
pub(crate) fn message(source: &[u8], fault: &Diagnostic) -> String {
    let mut text = if is_of_parser(fault) {
        format!("dockerfile parse error on line {}: {}", line(source, fault), fault.message)
    } else {
        fault.message.clone()
    };
    let meant =
        fault.help.as_deref().and_then(|help| help.strip_prefix("did you mean `")?.strip_suffix("`?"));
    if let Some(meant) = meant {
        let _ = write!(text, " (did you mean {meant}?)");
    }
    text
}

fn line(source: &[u8], fault: &Diagnostic) -> usize {
    let before = source.get(..fault.span.start).unwrap_or(source);
    before.split(|byte| *byte == b'\n').count()
}

const fn is_of_parser(fault: &Diagnostic) -> bool {
    matches!(
        fault.code,
        Code::Arguments
            | Code::Flag
            | Code::StageName
            | Code::Trigger
            | Code::UnknownFlag
            | Code::UnknownInstruction
    )
}

fn one(renderer: &Renderer, name: &str, text: &str, diagnostic: &Diagnostic) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let place = AnnotationKind::Primary.span(within(text, diagnostic.span));
    let mut snippet = Snippet::source(text).path(name).annotation(place);
    for label in &diagnostic.labels {
        snippet =
            snippet.annotation(AnnotationKind::Context.span(within(text, label.span)).label(&label.text));
    }
    let title = level.primary_title(&diagnostic.message);
    let title = match &diagnostic.code {
        Code::Check(rule) => title.id(rule.name()),
        _ => title,
    };
    let mut group = title.element(snippet);
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help));
    }
    renderer.render(&[group])
}

/// The source as text of the same length, so that offsets stay true.
fn readable(source: &[u8]) -> String {
    let mut text = String::with_capacity(source.len());
    for chunk in source.utf8_chunks() {
        text.extend(chunk.valid().chars().map(|c| if c == '\0' { '?' } else { c }));
        text.extend(chunk.invalid().iter().map(|_| '?'));
    }
    text
}

/// A span that lies inside of the text, between whole characters.
fn within(text: &str, span: Span) -> std::ops::Range<usize> {
    let floor = |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let start = floor(span.start);
    start..floor(span.end).max(start)
}

/// The lines of a file around the ones that matter, as BuildKit shows them.
pub(crate) fn excerpt(name: &str, source: &[u8], first: usize, last: usize) -> String {
    let lines: Vec<&[u8]> = source.split(|byte| *byte == b'\n').collect();
    if first < 1 || first > lines.len() {
        return String::new();
    }
    let last = last.clamp(first, lines.len());
    let (from, to) = surroundings(first, last, lines.len());
    let mut shown = format!("{name}:{first}\n--------------------\n");
    for number in from..=to {
        let mark = if (first..=last).contains(&number) { ">>>" } else { "   " };
        let _ =
            writeln!(shown, " {number:3} | {mark} {}", readable(lines[number - 1]).trim_end_matches('\r'));
    }
    shown.push_str("--------------------\n");
    shown
}

/// A few lines before and after, alternately, as many as BuildKit takes.
fn surroundings(first: usize, last: usize, count: usize) -> (usize, usize) {
    let (mut from, mut to) = (first, last);
    let enough = if first == last { 4 } else { 2 };
    let mut added = 0;
    while added < enough {
        if from > 1 {
            from -= 1;
            added += 1;
        }
        if to < count {
            to += 1;
            added += 1;
        }
        added += 1;
    }
    (from, to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lighter_dockerfile::Code;

    const SOURCE: &str = "FROM busybox\nRUNN make\nCOPY a b\n";

    #[test]
    fn a_fault_is_marked() {
        let diagnostic =
            Diagnostic::error(Code::UnknownInstruction, Span::new(13, 17), "unknown instruction: RUNN")
                .with_label(Span::new(0, 4), "the stage begins here")
                .with_help(Some("did you mean `RUN`?".to_owned()));
        let shown = rendered("Dockerfile", SOURCE.as_bytes(), &[diagnostic], false);
        assert_eq!(
            shown.trim_end(),
            "error: unknown instruction: RUNN\n --> Dockerfile:2:1\n  |\n1 | FROM busybox\n  | ---- the stage begins here\n\
             2 | RUNN make\n  | ^^^^\n  |\n  = help: did you mean `RUN`?"
        );
    }

    #[test]
    fn errors_are_summed_up() {
        let error = |at, text| Diagnostic::error(Code::Syntax, Span::new(at, at + 1), text);
        let check = |diagnostics: &[Diagnostic], expected: &str| {
            assert_eq!(summary("D", SOURCE.as_bytes(), diagnostics), expected);
        };
        check(&[error(13, "odd")], "D:2: odd");
        check(
            &[Diagnostic::warning(Code::Syntax, Span::new(0, 1), "w"), error(13, "odd"), error(0, "x")],
            "D:2: odd (and 1 more error)",
        );
        check(
            &[Diagnostic::error(Code::UnknownFlag, Span::new(21, 22), "unknown flag: --x")],
            "dockerfile parse error on line 2: unknown flag: --x",
        );
        let meant = Some("did you mean `RUN`?".to_owned());
        check(
            &[Diagnostic::error(Code::UnknownInstruction, Span::new(13, 17), "unknown instruction: RUNN")
                .with_help(meant)],
            "dockerfile parse error on line 2: unknown instruction: RUNN (did you mean RUN?)",
        );
        check(&[error(99, "far"), error(0, "x"), error(0, "y")], "D:4: far (and 2 more errors)");
    }

    #[test]
    fn any_source_and_span_can_be_shown() {
        for source in [&b""[..], b"\xff\xfe", b"a\0b", "ü".as_bytes(), b"\n\n"] {
            for (start, end) in [(0, 0), (0, 1), (1, 1), (1, 9), (9, 3)] {
                let diagnostic = Diagnostic::error(Code::Syntax, Span::new(start, end), "x");
                assert!(rendered("D", source, &[diagnostic], false).contains("error: x"));
            }
        }
    }

    #[test]
    fn excerpts() {
        let source = b"FROM first\nCOPY --from=first /f /g\nRUN echo before; \\\n    exit 7\n";
        assert_eq!(
            excerpt("Dockerfile", source, 3, 4),
            "Dockerfile:3\n--------------------\n   2 |     COPY --from=first /f /g\n   3 | >>> RUN echo before; \\\n   \
             4 | >>>     exit 7\n   5 |     \n--------------------\n"
        );
        assert_eq!(
            excerpt("D", b"FROM x\nCOPY n /\n", 2, 2),
            "D:2\n--------------------\n   1 |     FROM x\n   2 | >>> COPY n /\n   3 |     \n--------------------\n"
        );
        assert_eq!(excerpt("D", b"FROM x", 9, 9), "");
    }
}
