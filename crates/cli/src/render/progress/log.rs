//! The output of a step, cut into lines.

use lighter_engine::build::Stream;
use std::time::Duration;

/// A line without end is cut after so many bytes.
const LONGEST: usize = 1 << 16;

/// One line that a step has written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// When it was complete, since the start of the step.
    pub(super) at: Duration,
    /// The line, without its end.
    pub(super) text: String,
}

impl Line {
    /// With its time, in five characters, in front.
    pub(super) fn timed(&self) -> String {
        let mut time = format!("{:.3}", self.at.as_secs_f64());
        time.truncate(5);
        format!("{} {}", time.trim_end_matches('.'), self.text)
    }
}

/// Cuts two streams of bytes into lines.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Splitter {
    /// The lines that are complete now.
    pub(super) fn push(&mut self, stream: Stream, bytes: &[u8], at: Duration) -> Vec<Line> {
        let partial = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        partial.extend_from_slice(bytes);
        let mut lines = Vec::new();
        while let Some(end) = partial.iter().position(|&byte| byte == b'\n') {
            let rest = partial.split_off(end + 1);
            let whole = std::mem::replace(partial, rest);
            lines.push(line(&whole, at));
        }
        if partial.len() > LONGEST {
            lines.push(line(&std::mem::take(partial), at));
        }
        lines
    }

    /// What is left when the step has ended: lines without an end.
    pub(super) fn rest(&mut self, at: Duration) -> Vec<Line> {
        [std::mem::take(&mut self.stdout), std::mem::take(&mut self.stderr)]
            .iter()
            .filter(|bytes| !bytes.is_empty())
            .map(|bytes| line(bytes, at))
            .collect()
    }
}

fn line(bytes: &[u8], at: Duration) -> Line {
    let end = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let end = end.strip_suffix(b"\r").unwrap_or(end);
    Line { at, text: String::from_utf8_lossy(end).into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_per_stream() {
        let mut splitter = Splitter::default();
        let at = Duration::from_millis(1234);
        let texts = |lines: Vec<Line>| lines.into_iter().map(|line| line.text).collect::<Vec<_>>();
        assert_eq!(texts(splitter.push(Stream::Stdout, b"a\r\nb", at)), ["a"]);
        assert_eq!(texts(splitter.push(Stream::Stderr, b"x\n\n", at)), ["x", ""]);
        assert_eq!(texts(splitter.push(Stream::Stdout, b"c\xff\nd", at)), ["bc\u{fffd}"]);
        assert_eq!(texts(splitter.rest(at)), ["d"]);
        assert_eq!(texts(splitter.rest(at)), [""; 0]);
    }

    #[test]
    fn times_take_five_characters() {
        let check = |millis, expected: &str| {
            let line = Line { at: Duration::from_millis(millis), text: "x".to_owned() };
            assert_eq!(line.timed(), expected);
        };
        check(123, "0.123 x");
        check(12_345, "12.34 x");
        check(123_456, "123.4 x");
        check(1_234_567, "1234 x");
    }
}
