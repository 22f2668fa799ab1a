//! Reads a text line by line, as far as it goes.

use super::directive::{self, DirectiveReader};
use super::words::take_flags;
use super::{Directives, File, Heredoc, HeredocWord, Instruction, Joined, Parsed, Stage, Word, is_go_blank};
use crate::diagnostic::{Code, Diagnostic, Lines, Span};
use crate::instruction::{self, Command, Statement};

/// The longest line that Docker reads, its end included.
const LONGEST_LINE: usize = 64 * 1024;

pub(super) fn read(bytes: &[u8]) -> Parsed {
    let (source, broken) = decode(bytes);
    let mut reader = Reader::new(&source);
    while let Some(line) = reader.next_line() {
        reader.statement(line);
    }
    reader.broken_text(&broken);
    let Reader { instructions, mut faults, directives, longest, .. } = reader;
    let directives = directives.found;
    if let Some(span) = longest {
        faults.push(too_long(span));
    }
    let line_starts =
        std::iter::once(0).chain(memchr::memchr_iter(b'\n', source.as_bytes()).map(|at| at + 1));
    let line_starts = line_starts.collect();
    let mut file = File {
        source,
        directives,
        instructions,
        stages: Vec::new(),
        globals: Vec::new(),
        diagnostics: Vec::new(),
        line_starts,
    };
    count_lines(&mut file);
    divide(&mut file, &mut faults);
    faults.sort_by_key(|fault| fault.span);
    file.diagnostics.clone_from(&faults);
    Parsed { file, diagnostics: faults }
}

/// Reads a trigger: instructions that stand in no file. All of it is placed at the FROM that pulls it.
pub(crate) fn parse_trigger(text: &str, place: Span) -> (Vec<Instruction>, Vec<Diagnostic>) {
    let mut reader = Reader { fixed: Some(place), ..Reader::new(text) };
    while let Some(line) = reader.next_line() {
        reader.statement(line);
    }
    let Reader { mut instructions, mut faults, longest, .. } = reader;
    faults.extend(longest.map(too_long));
    for fault in &mut faults {
        fault.span = place;
    }
    for instruction in &mut instructions {
        instruction.span = place;
        for heredoc in &mut instruction.heredocs {
            heredoc.span = place;
        }
    }
    (instructions, faults)
}

/// The text, and the places of what had to be replaced.
fn decode(bytes: &[u8]) -> (String, Vec<usize>) {
    let mut text = String::with_capacity(bytes.len());
    let mut broken = Vec::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            broken.push(text.len());
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    (text, broken)
}

fn too_long(span: Span) -> Diagnostic {
    let message = format!("dockerfile line greater than max allowed size of {}", LONGEST_LINE - 1);
    Diagnostic::error(Code::Syntax, span, message)
}

/// A line of the source with its end.
#[derive(Clone, Copy)]
struct Line<'a> {
    text: &'a str,
    start: usize,
}

impl<'a> Line<'a> {
    /// Without its end.
    fn body(self) -> &'a str {
        self.text.trim_end_matches(['\r', '\n'])
    }

    fn span(self) -> Span {
        Span::new(self.start, self.start + self.body().len())
    }

    fn comment(self) -> Option<&'a str> {
        self.text.trim_start().strip_prefix('#')
    }
}

struct Reader<'a> {
    source: &'a str,
    at: usize,
    directives: DirectiveReader,
    comments: Vec<String>,
    instructions: Vec<Instruction>,
    faults: Vec<Diagnostic>,
    /// A line that is too long: nothing behind it is read.
    longest: Option<Span>,
    /// Where everything is, for text that does not stand in the file.
    fixed: Option<Span>,
}

impl<'a> Reader<'a> {
    fn new(source: &'a str) -> Self {
        Self {
            source,
            at: if source.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 },
            directives: DirectiveReader::default(),
            comments: Vec::new(),
            instructions: Vec::new(),
            faults: Vec::new(),
            longest: None,
            fixed: None,
        }
    }

    fn next_line(&mut self) -> Option<Line<'a>> {
        let rest = self.source.get(self.at..).filter(|rest| !rest.is_empty())?;
        let length = memchr::memchr(b'\n', rest.as_bytes()).map_or(rest.len(), |at| at + 1);
        let line = Line { text: &rest[..length], start: self.at };
        let ends = line.text.ends_with('\n');
        if length > LONGEST_LINE || (length == LONGEST_LINE && !ends) {
            self.longest = Some(Span::new(line.start, line.start + 64.min(length)));
            self.at = self.source.len();
            return None;
        }
        self.at += length;
        Some(line)
    }

    fn escape(&self) -> char {
        self.directives.found.escape
    }

    /// Reads an instruction that begins on the line, if one does.
    fn statement(&mut self, first: Line<'a>) {
        let body = first.body();
        let indent = body.len() - body.trim_start().len();
        if self.directives.line(&body[indent..], first.span(), &mut self.faults) {
            return;
        }
        if let Some(comment) = first.comment() {
            self.comment(comment.trim(), first);
            return;
        }
        let mut line = Joined { fixed: self.fixed, ..Joined::default() };
        let (piece, mut goes_on) = self.continued(&body[indent..]);
        if !goes_on && piece.is_empty() {
            return;
        }
        line.push(piece, first.start + indent);
        let mut last = first;
        let mut empty = false;
        while goes_on {
            let Some(next) = self.next_line() else { break };
            last = next;
            if next.comment().is_some() {
                continue;
            }
            if next.text.trim().is_empty() {
                empty = true;
                continue;
            }
            let (piece, more) = self.continued(next.body());
            line.push(piece, next.start);
            goes_on = more;
        }
        let empty_at = empty.then(|| last.span());
        self.instruction(&line, first.start + indent, last, empty_at);
    }

    fn comment(&mut self, comment: &str, line: Line<'_>) {
        if comment.is_empty() {
            self.comments.clear();
            return;
        }
        if self.instructions.is_empty()
            && self.at_top(line.start)
            && let Some(name) = directive::misspelt(comment)
        {
            let help = format!("did you mean the directive `{name}`?");
            let message = "this is a comment, not a directive";
            self.faults
                .push(Diagnostic::warning(Code::Directive, line.span(), message).with_help(Some(help)));
        }
        self.comments.push(comment.to_owned());
    }

    /// Whether nothing but directives is above.
    fn at_top(&self, start: usize) -> bool {
        let above = self.source.get(self.directives.found.end..start).unwrap_or_default();
        above.trim_start_matches('\u{feff}').trim().is_empty()
    }

    /// A line without the mark of continuation, and whether it had one. A doubled mark is none.
    fn continued<'l>(&self, body: &'l str) -> (&'l str, bool) {
        let trimmed = body.trim_end_matches([' ', '\t']);
        match trimmed.strip_suffix(self.escape()) {
            Some(rest) if !rest.ends_with(self.escape()) => (rest, true),
            _ => (body, false),
        }
    }

    fn instruction(&mut self, line: &Joined, start: usize, last: Line<'_>, empty: Option<Span>) {
        let text = line.text.trim();
        let lead = line.text.len() - line.text.trim_start().len();
        let keyword_end = lead + text.find(is_go_blank).unwrap_or(text.len());
        let keyword = line.word(lead, keyword_end);
        let escape = self.escape();
        let (flags, rest) = take_flags(line, keyword_end, escape);
        let (args_start, args_end) = trim(line, rest);
        let heredocs = self.heredocs(line, &keyword, (args_start, args_end), last);
        let end = self.at.min(self.source.len());
        let end = start + self.source[start..end].trim_end_matches(['\r', '\n']).len();
        let comments = std::mem::take(&mut self.comments);
        let mut statement = Statement {
            line,
            keyword: &keyword,
            flags: &flags,
            args: (args_start, args_end),
            heredocs: &heredocs,
            comments: &comments,
            escape,
            faults: &mut self.faults,
        };
        let command = instruction::read(&mut statement);
        self.instructions.push(Instruction {
            span: Span::new(start, end),
            lines: Lines::default(),
            text: text.to_owned(),
            keyword,
            flags,
            heredocs,
            comments,
            empty_continuation: empty,
            command,
        });
    }

    /// The here-documents that an instruction begins.
    fn heredocs(
        &mut self,
        line: &Joined,
        keyword: &Word,
        args: (usize, usize),
        last: Line<'_>,
    ) -> Vec<Heredoc> {
        if !line.text.contains("<<") || !instruction::takes_heredocs(line, keyword, args, self.escape()) {
            return Vec::new();
        }
        let mut found = Vec::new();
        for word in HeredocWord::all_in(&line.text) {
            let start = self.at.min(self.source.len());
            let mut nearly: Option<Span> = None;
            let end = loop {
                let Some(next) = self.next_line() else {
                    self.unterminated(line, &word, last, nearly);
                    return found;
                };
                if word.is_end(next.text) {
                    break next.start;
                }
                if nearly.is_none() && is_nearly(next.text, &word.name) {
                    nearly = Some(next.span());
                }
            };
            found.push(Heredoc {
                name: word.name,
                expand: word.expand,
                strip: word.strip,
                content: self.source[start..end].to_owned(),
                span: Span::new(start, end),
            });
        }
        found
    }

    fn unterminated(&mut self, line: &Joined, word: &HeredocWord, last: Line<'_>, nearly: Option<Span>) {
        let at = line.text.rfind("<<").unwrap_or(0);
        let span = Span::new(line.span(at, line.text.len()).start, last.span().end);
        let mut fault = Diagnostic::error(Code::UnterminatedHeredoc, span, "unterminated heredoc");
        fault.help = Some(format!("put `{}` alone on a line to end it", word.name));
        if let Some(span) = nearly {
            fault = fault.with_label(span, format!("this line is not exactly `{}`", word.name));
        }
        self.faults.push(fault);
    }

    /// Faults for instructions that hold what is no text.
    fn broken_text(&mut self, broken: &[usize]) {
        for instruction in &self.instructions {
            let text = &instruction.text;
            let all = std::iter::once(text.as_str());
            let all: Vec<&str> =
                all.chain(instruction.heredocs.iter().map(|doc| doc.content.as_str())).collect();
            let range = instruction.span.range();
            if all.iter().any(|text| text.contains('\0')) {
                let at = self.source[range.clone()].find('\0').map_or(range.start, |at| range.start + at);
                let message = "the instruction holds a NUL byte";
                self.faults.push(Diagnostic::error(Code::Syntax, Span::new(at, at + 1), message));
            }
            if all.iter().any(|text| text.contains(char::REPLACEMENT_CHARACTER))
                && let Some(&at) = broken.iter().find(|at| range.contains(at))
            {
                let span = Span::new(at, at + char::REPLACEMENT_CHARACTER.len_utf8());
                let message = "the instruction holds bytes that are not UTF-8 text";
                self.faults.push(Diagnostic::error(Code::Syntax, span, message));
            }
        }
    }
}

/// Whether a line was perhaps meant to end a here-document.
fn is_nearly(line: &str, name: &str) -> bool {
    let line = line.trim();
    !line.is_empty()
        && (line == name || (name.len() > 1 && line.starts_with(name) && line.len() <= name.len() + 2))
}

fn trim(line: &Joined, start: usize) -> (usize, usize) {
    let rest = &line.text[start..];
    let lead = rest.len() - rest.trim_start().len();
    (start + lead, start + lead + rest.trim().len())
}

fn count_lines(file: &mut File) {
    let mut instructions = std::mem::take(&mut file.instructions);
    for instruction in &mut instructions {
        instruction.lines = file.lines_of(instruction.span);
    }
    file.instructions = instructions;
}

/// Divides the instructions into stages.
fn divide(file: &mut File, faults: &mut Vec<Diagnostic>) {
    let mut homeless: Option<Diagnostic> = None;
    for (index, instruction) in file.instructions.iter().enumerate() {
        let is_from = instruction.keyword.text.eq_ignore_ascii_case("from");
        if is_from {
            file.stages.push(Stage { from: index, instructions: Vec::new() });
        } else if let Some(stage) = file.stages.last_mut() {
            stage.instructions.push(index);
        } else {
            file.globals.push(index);
            let is_arg = matches!(instruction.command, None | Some(Command::Arg(_)));
            if !is_arg && homeless.is_none() {
                let message =
                    format!("no build stage in current context: {} before FROM", instruction.keyword.text);
                homeless = Some(
                    Diagnostic::error(Code::NoStage, instruction.keyword.span, message)
                        .with_help(Some("begin with FROM; only ARG may stand before it".to_owned())),
                );
            }
        }
    }
    faults.extend(homeless);
    if !file.stages.is_empty() || faults.iter().any(Diagnostic::is_error) {
        return;
    }
    let at = Span::new(0, 0);
    let message = match (file.source.is_empty(), file.instructions.is_empty()) {
        (true, _) => "the Dockerfile cannot be empty",
        (_, true) => "file with no instructions",
        _ => "dockerfile contains no stages to build",
    };
    faults.push(Diagnostic::error(Code::Empty, at, message));
}

impl Directives {
    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.end == 0
    }
}
