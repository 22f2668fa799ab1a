//! Generated files, and what is compared between them.

use proptest::prelude::*;

use lighter_image::{ImageConfig, Platform};

use crate::Diagnostic;
use crate::plan::{Base, Bases, Lowered, Plan, Request, lower};
use crate::syntax::{File, Instruction, parse};

/// A sound Dockerfile: any instructions, oddly laid out.
pub(crate) fn dockerfile() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        Just("FROM busybox".to_owned()),
        Just("from  busybox as  x1".to_owned()),
        "[a-z]{1,4}".prop_map(|word| format!("RUN echo {word} && \\\n   # note\n  true \\\n\n\tx")),
        "[a-z \"]{0,8}".prop_map(|word| format!("run {word}")),
        "[a-z]{1,3}".prop_map(|word| format!("COPY --chown={word} a b\\\nc \\\n d/")),
        "[a-z]{1,3}".prop_map(|word| format!("ENV {word}=1 B=\"x \\\n y\" \\\n C=3")),
        "[a-z]{1,3}".prop_map(|word| format!("ENV {word}   old  form \\\n  goes on")),
        "[a-z\t #\\\\]{0,12}".prop_map(|body| format!("RUN <<E  cat\n{body}\nE")),
        "[a-z\t ]{0,12}".prop_map(|body| format!("COPY <<-'E' /x\n\t{body}\n\tE")),
        Just("LA\\\nBEL a=b".to_owned()),
        " {0,2}".prop_map(|blanks| format!("ENV A=a{blanks}\\\n\\\n{blanks}b=1")),
        Just("CMD [\"a\",  \"b c\"]".to_owned()),
        Just("healthcheck --interval=5s   CMD  true".to_owned()),
        Just("ONBUILD  run   x  \\\n   y".to_owned()),
        Just("WORKDIR /a  b\\\n c".to_owned()),
        Just("EXPOSE  80 \\\n 81".to_owned()),
        Just("# a comment".to_owned()),
        Just("   # another".to_owned()),
        Just(String::new()),
        Just("  ".to_owned()),
    ];
    proptest::collection::vec(line, 0..12).prop_map(|lines| format!("FROM busybox\n{}\n", lines.join("\n")))
}

/// What a file means: everything but places, the case of keywords, and blanks that separate words.
pub(crate) fn meaning(source: &str) -> Vec<String> {
    let parsed = parse(source.as_bytes());
    parsed.file.instructions.iter().map(meaning_of).collect()
}

fn meaning_of(instruction: &Instruction) -> String {
    let free = super::fmt::is_free(instruction);
    let blanks = |text: &str| {
        if free { text.split_whitespace().collect::<Vec<_>>().join(" ") } else { text.to_owned() }
    };
    let text = instruction.text[instruction.keyword.text.len()..].trim_start();
    let text = if instruction.keyword.text.eq_ignore_ascii_case("from") {
        text.to_lowercase()
    } else {
        text.to_owned()
    };
    let heredocs: Vec<_> =
        instruction.heredocs.iter().map(|doc| (&doc.name, &doc.content, doc.expand, doc.strip)).collect();
    let keyword = instruction.keyword.text.to_uppercase();
    format!("{keyword} {} {heredocs:?} {:?}", blanks(&text), instruction.comments)
}

/// A request without anything special.
pub(crate) fn request() -> Request {
    Request::new(Platform::new("linux", "amd64", None))
}

/// A small image with a shell.
pub(crate) fn busybox() -> ImageConfig {
    serde_json::from_str(
        r#"{"architecture":"amd64","os":"linux","config":{"Cmd":["sh"]},"history":[{"comment":"Imported from -"}],
        "rootfs":{"type":"layers","diff_ids":["sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]}}"#,
    )
    .expect("is a configuration")
}

/// Plans a file with one configuration for all bases.
pub(crate) fn lower_on(
    source: &str,
    request: &Request,
    base: &ImageConfig,
) -> (File, Result<Plan, Vec<Diagnostic>>) {
    let file = parse(source.as_bytes()).file;
    let mut bases = Bases::new();
    loop {
        match lower(&file, request, &bases) {
            Lowered::NeedsBases(needs) => {
                assert!(!needs.is_empty());
                for need in needs {
                    bases.insert(need.key(), Base { config: base.clone(), digest: None });
                }
            }
            Lowered::Plan(plan) => return (file, Ok(*plan)),
            Lowered::Faults(faults) => return (file, Err(faults)),
        }
    }
}

/// Plans a file on small bases.
pub(crate) fn lower_all(source: &str, request: &Request) -> (File, Result<Plan, Vec<Diagnostic>>) {
    lower_on(source, request, &busybox())
}
