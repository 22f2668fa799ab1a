use super::live::{self, Size};
use super::plain::Plain;
use super::raw_json::RawJson;
use super::screen::{Row, Screen, Tone};
use super::state::State;
use Tone::{Faint, Finished, Normal};
use lighter_engine::build::{Event, EventKind, Finish, Stream, Vertex, Warning};
use std::time::Duration;

fn event(vertex: u32, millis: u64, kind: EventKind) -> Event {
    Event { vertex: Vertex(vertex), at: Duration::from_millis(millis), kind }
}

fn announced(vertex: u32, name: &str) -> Event {
    event(vertex, 0, EventKind::Announced { name: name.to_owned(), inputs: Vec::new() })
}

fn started(vertex: u32, millis: u64) -> Event {
    event(vertex, millis, EventKind::Started)
}

fn output(vertex: u32, millis: u64, text: &str) -> Event {
    event(vertex, millis, EventKind::Output { stream: Stream::Stdout, bytes: text.as_bytes().to_vec() })
}

fn done(vertex: u32, millis: u64) -> Event {
    event(vertex, millis, EventKind::Done { took: Duration::ZERO })
}

fn failed(vertex: u32, millis: u64, error: &str) -> Event {
    event(vertex, millis, EventKind::Failed { error: error.to_owned() })
}

fn progress(vertex: u32, millis: u64, what: &str, current: u64, done: bool) -> Event {
    event(vertex, millis, EventKind::Progress { what: what.to_owned(), current, total: None, done })
}

/// A small build, whose last step fails.
fn recording() -> Vec<Event> {
    vec![
        announced(1, "[internal] load build definition from Dockerfile"),
        started(1, 1),
        progress(1, 2, "transferring dockerfile", 250, true),
        done(1, 3),
        announced(2, "[1/3] FROM docker.io/library/busybox:latest"),
        announced(3, "[2/3] RUN echo out-42"),
        announced(4, "[3/3] RUN exit 7"),
        event(2, 5, EventKind::Cached),
        started(3, 10),
        output(3, 153, "out-42\npart"),
        output(3, 200, "ly\nrest"),
        done(3, 610),
        started(4, 611),
        output(4, 741, "before\n"),
        failed(4, 800, "process \"/bin/sh -c exit 7\" did not complete successfully: exit code: 7"),
    ]
}

fn plain(events: &[Event]) -> String {
    let mut plain = Plain::default();
    events.iter().map(|event| plain.take(event)).collect()
}

#[test]
fn plain_lines() {
    assert_eq!(
        plain(&recording()),
        "#0 building with lighter

#1 [internal] load build definition from Dockerfile
#1 transferring dockerfile: 250B done
#1 DONE 0.0s

#2 [1/3] FROM docker.io/library/busybox:latest
#2 CACHED

#3 [2/3] RUN echo out-42
#3 0.143 out-42
#3 0.190 partly
#3 0.600 rest
#3 DONE 0.6s

#4 [3/3] RUN exit 7
#4 0.130 before
#4 ERROR: process \"/bin/sh -c exit 7\" did not complete successfully: exit code: 7
"
    );
}

#[test]
fn the_lines_of_a_step_stand_together() {
    let text = plain(&[
        announced(1, "one"),
        announced(2, "two"),
        announced(3, "three"),
        started(1, 0),
        started(2, 0),
        started(3, 0),
        output(1, 10, "a\n"),
        output(2, 20, "x\n"),
        output(1, 30, "b\n"),
        done(2, 40),
        output(1, 50, "c\n"),
        output(3, 6000, "late\n"),
        done(1, 6100),
        done(3, 6200),
    ]);
    assert_eq!(
        text,
        "#0 building with lighter

#1 one
#1 0.010 a
#1 0.030 b
#1 ...

#2 two
#2 0.020 x
#2 DONE 0.0s

#1 one
#1 0.050 c
#1 ...

#3 three
#3 6.000 late
#3 ...

#1 one
#1 DONE 6.1s

#3 three
#3 DONE 6.2s

"
    );
}

#[test]
fn failures_and_warnings_stand_at_the_end() {
    let mut state = State::default();
    for event in recording() {
        state.apply(&event);
    }
    let warning = Warning {
        code: "FromAsCasing".to_owned(),
        message: "'as' and 'FROM' keywords' casing do not match".to_owned(),
        span: None,
        line: Some(1),
        url: None,
    };
    state.apply(&event(0, 900, EventKind::Warning(warning)));
    assert_eq!(state.failures(), "------\n > [3/3] RUN exit 7:\n0.130 before\n------\n");
    assert_eq!(
        state.remarks(),
        "\n 1 warning found (use --check to see where):\n - FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 1)\n"
    );
}

fn picture(events: &[Event], size: Size, now: u64) -> Vec<Row> {
    let mut state = State::default();
    for event in events {
        state.apply(event);
    }
    live::frame(&state, size, Duration::from_millis(now))
}

fn text(rows: &[Row]) -> String {
    rows.iter().flat_map(|row| [&row.text, "|\n"]).collect()
}

#[test]
fn a_picture_of_a_running_build() {
    let events = &recording()[..11];
    let rows = picture(events, Size { columns: 60, rows: 24 }, 500);
    assert_eq!(
        text(&rows),
        "[+] Building 0.5s (2/4)|
 => [internal] load build definition from Dockerfile   0.0s|
 => => transferring dockerfile: 250B                   0.0s|
 => CACHED [1/3] FROM docker.io/library/busybox:latest 0.0s|
 => [2/3] RUN echo out-42                              0.5s|
 => => # out-42|
 => => # partly|
"
    );
    let tones: Vec<_> = rows.iter().map(|row| row.tone).collect();
    assert_eq!(tones, [Normal, Finished, Finished, Finished, Normal, Faint, Faint]);
}

#[test]
fn a_picture_of_the_end() {
    let mut events = recording();
    events.push(event(0, 810, EventKind::Finished(Finish::Failed { error: "x".to_owned() })));
    let rows = picture(&events, Size { columns: 40, rows: 24 }, 810);
    assert_eq!(rows[0].text, "[+] Building 0.8s (4/4) FINISHED");
    assert_eq!(
        rows[5],
        Row { tone: Tone::Failed, text: " => ERROR [3/3] RUN exit 7         0.2s".to_owned() }
    );
}

#[test]
fn a_picture_fits_the_terminal() {
    let mut events = Vec::new();
    for vertex in 1..40 {
        events.push(announced(vertex, &format!("step {vertex} with a long name")));
        events.push(started(vertex, 0));
        events.push(output(vertex, 1, "a\nb\nc\nd\ne\nf\ng\n"));
        if vertex < 36 {
            events.push(done(vertex, 2));
        }
    }
    for rows in 1..30 {
        for columns in [1, 5, 12, 20, 80] {
            let drawn = picture(&events, Size { columns, rows }, 3);
            assert!(drawn.len() <= rows.saturating_sub(1).max(2), "{} of {rows} rows", drawn.len());
            assert!(drawn.iter().all(|row| row.text.chars().count() <= columns));
        }
    }
    let drawn = text(&picture(&events, Size { columns: 80, rows: 12 }, 3));
    assert!(drawn.contains("step 39") && !drawn.contains("step 20 "), "{drawn}");
}

#[test]
fn the_cursor_comes_back() {
    let mut written = Vec::new();
    {
        let mut screen = Screen::new(&mut written, true);
        let row = |text: &str| Row { tone: Tone::Failed, text: text.to_owned() };
        screen.draw(&[row("a"), row("b")]).expect("a vector");
        screen.draw(&[row("c")]).expect("a vector");
    }
    assert_eq!(
        String::from_utf8(written).expect("text"),
        "\x1b[?25l\r\x1b[31ma\x1b[0m\x1b[K\r\n\x1b[31mb\x1b[0m\x1b[K\r\n\x1b[J\
         \x1b[?25l\x1b[2A\r\x1b[31mc\x1b[0m\x1b[K\r\n\x1b[J\x1b[?25h"
    );
}

#[test]
fn json_lines() {
    let mut raw = RawJson::new("2026-01-02T03:04:05Z".parse().expect("a time"));
    let lines: Vec<String> = recording().iter().map(|event| raw.take(event)).collect();
    let digest = |number: u32| format!("sha256:{number:064x}");
    assert_eq!(
        lines[0],
        format!(
            "{{\"vertexes\":[{{\"digest\":\"{}\",\"name\":\"[internal] load build definition from Dockerfile\"}}]}}\n",
            digest(1)
        )
    );
    assert!(lines[2].contains("\"id\":\"transferring dockerfile\"") && lines[2].contains("\"current\":250"));
    assert!(lines[7].contains("\"completed\":\"2026-01-02T03:04:05.005Z\",\"cached\":true"), "{}", lines[7]);
    assert!(
        lines[9].contains(
            "\"stream\":1,\"data\":\"b3V0LTQyCnBhcnQ=\",\"timestamp\":\"2026-01-02T03:04:05.153Z\""
        )
    );
    assert!(lines[14].contains("\"error\":\"process"));
}
