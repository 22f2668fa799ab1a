use proptest::prelude::*;

use super::*;
use crate::instruction::{CommandLine, Origin};

fn only(source: &str) -> Instruction {
    let parsed = parse(source.as_bytes());
    assert_eq!(parsed.diagnostics, [], "{source}");
    parsed.file.instructions.last().cloned().expect("an instruction")
}

fn check_fault(source: &str, marked: &str, text: &str) {
    let parsed = parse(source.as_bytes());
    let found = parsed.diagnostics.iter().any(|fault| {
        fault.message.contains(text) && parsed.file.source().get(fault.span.range()) == Some(marked)
    });
    assert!(found, "{source}: {:#?}", parsed.diagnostics);
}

#[test]
fn continuations_comments_and_places() {
    let source = "\u{feff}# escape=`\r\n\r\nFROM a\r\n  RUN x `\r\n  # note\r\n\r\n  y `  \r\nz\r\n";
    let run = only(source);
    assert_eq!(run.text, "RUN x   y z");
    assert_eq!((run.lines.first, run.lines.last), (4, 8));
    assert_eq!(&source[run.span.range()], "RUN x `\r\n  # note\r\n\r\n  y `  \r\nz");
    assert!(run.empty_continuation.is_some());
    let copy = only("FROM x\nCOPY a \\\n  b /c\n");
    let Some(Command::Copy(transfer)) = &copy.command else { panic!() };
    let Origin::Path(word) = &transfer.sources[1] else { panic!() };
    assert_eq!((word.text.as_str(), word.span), ("b", Span::new(18, 19)));
}

#[test]
fn doubled_escapes_do_not_continue() {
    let parsed = parse(b"FROM a\nRUN x \\\\\nRUN y\n");
    assert_eq!(parsed.file.instructions.len(), 3);
    let parsed = parse(b"FROM a\nRUN x \\");
    assert_eq!(parsed.file.instructions[1].text, "RUN x");
}

#[test]
fn json_falls_back_to_the_shell() {
    let run = only("FROM a\nRUN ['x'] || y\n");
    assert!(matches!(&run.command, Some(Command::Run(run)) if matches!(&run.command, CommandLine::Shell(_))));
    let cmd = only("FROM a\nCMD [\"x\", \"y z\"]\n");
    assert!(matches!(&cmd.command, Some(Command::Cmd(CommandLine::Exec(words))) if words == &["x", "y z"]));
}

#[test]
fn here_documents() {
    let run = only("FROM a\nRUN <<A cat <<-\"B\"\nx\r\n A\nA\n\ty\n\tB\n");
    assert_eq!(run.heredocs.len(), 2);
    assert_eq!((run.heredocs[0].content.as_str(), run.heredocs[0].expand), ("x\r\n A\n", true));
    assert_eq!((run.heredocs[1].text().as_str(), run.heredocs[1].expand), ("y\n", false));
    assert_eq!(run.lines.last, 7);
    let shift = only("FROM a\nRUN echo $((1<<4))\n");
    assert!(shift.heredocs.is_empty());
    let json = only("FROM a\nRUN [\"<<A\"]\n");
    assert!(json.heredocs.is_empty());
    let trigger = only("FROM a\nONBUILD COPY <<A /x\nt\nA\n");
    assert!(matches!(&trigger.command, Some(Command::Onbuild(t)) if t.text == "COPY <<A /x\nt\nA"));
}

#[test]
fn comments_describe_what_follows() {
    let parsed = parse(b"# a\n#\n# V the version\nARG V\n# b\nFROM x AS y\n");
    assert_eq!(parsed.file.instructions[0].comments, ["V the version"]);
    assert_eq!(parsed.file.instructions[1].comments, ["b"]);
    assert!(parse(b"# escape=`\nFROM x\n").file.instructions[0].comments.is_empty());
}

#[test]
fn faults_are_marked() {
    check_fault("", "", "the Dockerfile cannot be empty");
    check_fault("# x\n", "", "file with no instructions");
    check_fault("ARG A\n", "", "dockerfile contains no stages to build");
    check_fault("RUN x\nFROM a\n", "RUN", "no build stage in current context");
    check_fault("FROM a\nCOPPY x y\n", "COPPY", "unknown instruction: COPPY");
    check_fault("FROM a\nCOPY --frm=x a b\n", "--frm=x", "unknown flag: --frm");
    check_fault("FROM a\nCOPY --link=maybe a b\n", "--link=maybe", "expecting boolean value");
    check_fault("FROM a\nCOPY --from a b\n", "--from", "missing a value on flag: --from");
    check_fault("FROM a\nCOPY --from=x --from=y a b\n", "--from=y", "duplicate flag specified: --from");
    check_fault("FROM a\nCOPY x\n", "x", "Destination could not be determined");
    check_fault("FROM a\nCOPY x <<E\nE\n", "<<E", "cannot accept a heredoc as a destination");
    check_fault("FROM a b\n", "a b", "FROM requires either one or three arguments");
    check_fault("FROM a AS 1x\n", "1x", "invalid name for build stage: \"1x\"");
    check_fault("FROM a\nENV\n", "ENV", "ENV requires at least one argument");
    check_fault("FROM a\nENV x\n", "x", "ENV must have two arguments");
    check_fault("FROM a\nENV x=1 y\n", "y", "can't find = in \"y\"");
    check_fault("FROM a\nARG =1\n", "=1", "ARG names can not be blank");
    check_fault("FROM a\nCMD [1]\n", "[1]", "arrays must be comprised of strings only");
    check_fault("FROM a\nSHELL x\n", "x", "SHELL requires the arguments to be in JSON form");
    check_fault("FROM a\nUSER\n", "USER", "USER requires exactly one argument");
    check_fault("FROM a\nHEALTHCHECK RUN x\n", "RUN", "Unknown type \"RUN\" in HEALTHCHECK (try CMD)");
    check_fault("FROM a\nHEALTHCHECK NONE x\n", "NONE x", "HEALTHCHECK NONE takes no arguments");
    check_fault(
        "FROM a\nHEALTHCHECK --retries=-1 CMD x\n",
        "--retries=-1",
        "--retries cannot be negative (-1)",
    );
    check_fault("FROM a\nONBUILD ONBUILD RUN x\n", "ONBUILD", "Chaining ONBUILD");
    check_fault("FROM a\nONBUILD FROM x\n", "FROM", "FROM isn't allowed as an ONBUILD trigger");
    check_fault("FROM a\nONBUILD ENV x\n", "x", "ENV must have two arguments");
    check_fault("FROM a\nRUN --network= x\n", "--network=", "invalid network mode \"\"");
    check_fault("FROM a\nRUN --security= x\n", "--security=", "security \"\" is not valid");
    check_fault("FROM a\nRUN --network=hos x\n", "--network=hos", "invalid network mode \"hos\"");
    check_fault(
        "FROM a\nRUN --mount=from=$X,target=/x y\n",
        "--mount=from=$X,target=/x",
        "doesn't support variable expansion",
    );
    check_fault("FROM a\nRUN <<E\nx\nEE\n", "<<E", "unterminated heredoc");
    check_fault("# escape=@\nFROM a\n", "# escape=@", "invalid escape token '@'");
    check_fault(
        "# syntax=a\n# syntax=b\nFROM a\n",
        "# syntax=b",
        "only one syntax parser directive can be used",
    );
    check_fault("FROM a\nRUN a\0b\n", "\0", "NUL byte");
}

#[test]
fn rarer_faults_are_marked_too() {
    for (source, mark, text) in [
        ("FROM a\nVOLUME --x /y\n", "--x", "unknown flag: --x"),
        ("FROM a\nVOLUME [\"\"]\n", "[\"\"]", "VOLUME specified can not be an empty string"),
        ("FROM a\nHEALTHCHECK CMD\n", "CMD", "Missing command after HEALTHCHECK CMD"),
        ("FROM a\nHEALTHCHECK CMD [1]\n", "CMD [1]", "arrays must be comprised of strings only"),
        ("FROM a\nHEALTHCHECK --timeout=5 CMD x\n", "--timeout=5", "time: invalid duration \"5\""),
        (
            "FROM a\nHEALTHCHECK --interval=1us CMD x\n",
            "--interval=1us",
            "Interval \"interval\" cannot be less than 1ms",
        ),
        ("FROM a\nHEALTHCHECK --retries=x CMD x\n", "--retries=x", "--retries wants a number, not \"x\""),
        ("FROM a\nENV =1\n", "=1", "ENV names can not be blank"),
        ("FROM a\nLABEL =1\n", "=1", "LABEL names can not be blank"),
        ("FROM a\nRUN --device=required=x y\n", "--device=required=x", "invalid value for required: x"),
        ("FROM a\nRUN --device=a,b y\n", "--device=a,b", "unexpected key 'b' in 'a,b'"),
        ("FROM a\nRUN --device=required y\n", "--device=required", "invalid device name: it is empty"),
        ("FROM a\nONBUILD MAINTAINER x\n", "MAINTAINER", "MAINTAINER isn't allowed as an ONBUILD trigger"),
        ("# escape=`\n# escape=`\nFROM a\n", "# escape=`", "only one escape parser directive can be used"),
        (
            "# check=skip=all\n# check=skip=all\nFROM a\n",
            "# check=skip=all",
            "only one check parser directive can be used",
        ),
    ] {
        check_fault(source, mark, text);
    }
}

#[test]
fn faults_come_with_advice() {
    for (source, help) in [
        ("RUN x\nFROM a\n", "begin with FROM; only ARG may stand before it"),
        ("FROM a b\n", "write `FROM image` or `FROM image AS name`"),
        ("FROM a\nCOPPY x y\n", "did you mean `COPY`?"),
        ("FROM a\nCOPY --frm=x a b\n", "did you mean `--from`?"),
        ("FROM a\nVOLUME --x /y\n", "VOLUME takes no flags"),
        ("FROM a\nENV x=1 y\n", "put quotes around a value with blanks"),
        ("FROM a\nSHELL sh -c\n", "write `SHELL [\"sh\", \"-c\"]`"),
        ("FROM a\nHEALTHCHECK CMB x\n", "did you mean `CMD`?"),
        (
            "FROM a\nHEALTHCHECK --timeout=5 CMD x\n",
            "a duration is a number and a unit: 500ms, 30s, 5m, 1h30m",
        ),
        ("FROM a\nRUN --network=hos x\n", "did you mean `host`?"),
        ("FROM a\nRUN --security=insecur x\n", "did you mean `insecure`?"),
        ("FROM a\nRUN --mount=from=$X,target=/x y\n", "add `FROM $X AS name` and mount from `name`"),
        ("FROM a\nRUN --mount=typ=bind y\n", "did you mean `type`?"),
        ("FROM a\nRUN <<E\nx\n", "put `E` alone on a line to end it"),
        ("# escape=@\nFROM a\n", "only a backslash or a backtick can be the escape"),
        ("# escpe=`\nFROM a\n", "did you mean the directive `escape`?"),
    ] {
        let faults = parse(source.as_bytes()).diagnostics;
        assert!(faults.iter().any(|fault| fault.help.as_deref() == Some(help)), "{source}: {faults:#?}");
    }
    let nearly = parse(b"FROM a\nRUN <<E\nx\n E\n").diagnostics;
    assert_eq!(nearly[0].labels[0].text, "this line is not exactly `E`");
}

#[test]
fn long_lines_are_refused_as_docker_does() {
    let source = format!("FROM a\nRUN true #{}\n", "x".repeat(1_000_000));
    assert!(
        parse(source.as_bytes()).diagnostics[0].message.contains("greater than max allowed size of 65535")
    );
    let source = format!("FROM a\nRUN {}\n", "x".repeat(65_536 - 5));
    assert_eq!(parse(source.as_bytes()).diagnostics, []);
}

#[test]
fn what_is_no_text_is_refused_where_it_counts() {
    assert_eq!(parse(b"# \xff\nFROM a\n").diagnostics, []);
    let parsed = parse(b"FROM a\nRUN \xff\n");
    assert!(parsed.diagnostics[0].message.contains("not UTF-8"));
}

proptest! {
    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let parsed = parse(&bytes);
        for fault in &parsed.diagnostics {
            prop_assert!(parsed.file.source().get(fault.span.range()).is_some(), "{fault:?}");
        }
    }

    #[test]
    fn any_words_are_read(words in proptest::collection::vec(
        prop_oneof![
            Just("FROM a\n"), Just("RUN "), Just("COPY "), Just("ONBUILD "), Just("<<E"), Just("E\n"), Just("\\\n"), Just("\n"),
            Just("--from="), Just("\""), Just("'"), Just("["), Just("]"), Just("${a:-"), Just("}"), Just("# x\n"), Just(" "),
            Just("é"), Just("\r\n"), Just("ENV a=b "), Just("HEALTHCHECK CMD "), Just("--mount=type=bind,"), Just("\t"),
        ], 0..40)) {
        let source = words.concat();
        let request = crate::testing::request();
        let (file, outcome) = crate::testing::lower_all(&source, &request);
        let diagnostics = match outcome {
            Ok(plan) => plan.warnings,
            Err(faults) => faults,
        };
        for fault in &diagnostics {
            prop_assert!(file.source().get(fault.span.range()).is_some(), "{fault:?}");
        }
        let _ = crate::fmt::format(source.as_bytes());
    }
}
