use super::*;
use crate::testing::{busybox, lower_all, lower_on, request};

fn plan(source: &str) -> Plan {
    lower_all(source, &request()).1.unwrap_or_else(|faults| panic!("{source}: {faults:?}"))
}

fn history(source: &str) -> Vec<String> {
    let plan = plan(source);
    plan.config.history[plan.base_history_len..].iter().map(|entry| entry.created_by.clone()).collect()
}

fn check_fault(source: &str, line: u32, text: &str) {
    let (file, outcome) = lower_all(source, &request());
    let faults = outcome.err().unwrap_or_else(|| panic!("{source} is planned"));
    let found = faults.iter().any(|fault| {
        fault.is_error() && fault.message.contains(text) && file.lines_of(fault.span).first == line
    });
    assert!(found, "{source}: {faults:#?}");
}

fn run_of(plan: &Plan, name: &str) -> Run {
    let step =
        plan.steps.iter().find(|step| step.name.ends_with(name)).unwrap_or_else(|| panic!("no {name}"));
    match &step.op {
        Op::Run(run) => run.clone(),
        other => panic!("{other:?}"),
    }
}

fn copy_of(source: &str) -> Copy {
    let plan = plan(source);
    match plan.steps.last().map(|step| step.op.clone()) {
        Some(Op::Copy(copy)) => copy,
        other => panic!("{other:?}"),
    }
}

#[test]
fn history_is_docker_s() {
    let source = "FROM busybox\nARG A=1 B\nENV C=\"x y\"\nRUN echo $A\nRUN [\"a\", \"b c\"]\nCOPY --chown=1 f <<E /x/\nt\nE\n\
                  WORKDIR /\nWORKDIR a\nUSER 1\nEXPOSE 81 80/udp\nVOLUME /a /b\nHEALTHCHECK --interval=5m CMD x \"y\"\n\
                  CMD [\"a\", \"b\\u0001\"]\nENTRYPOINT x\nLABEL a=b c=\"d e\"\nSTOPSIGNAL 9\nSHELL [\"sh\", \"-x\"]\nMAINTAINER me\n\
                  ONBUILD RUN x\nRUN y\n";
    let expected = [
        "ARG A=1 B",
        "ENV C=x y",
        "RUN |2 A=1 B= /bin/sh -c echo $A # buildkit",
        "RUN |2 A=1 B= a b c # buildkit",
        "COPY --chown=1 f <<E /x/ # buildkit",
        "WORKDIR /",
        "WORKDIR /a",
        "USER 1",
        "EXPOSE [80/udp 81/tcp]",
        "VOLUME [/a /b]",
        "HEALTHCHECK &{[\"CMD-SHELL\" \"x \\\"y\\\"\"] \"5m0s\" \"0s\" \"0s\" \"0s\" '\\x00'}",
        "CMD [\"a\" \"b\\x01\"]",
        "ENTRYPOINT [\"/bin/sh\" \"-c\" \"x\"]",
        "LABEL a=b c=d e",
        "STOPSIGNAL 9",
        "SHELL [sh -x]",
        "MAINTAINER me",
        "RUN |2 A=1 B= sh -x y # buildkit",
    ];
    assert_eq!(history(source), expected);
    let plan = plan(source);
    let layers: Vec<bool> = plan.config.history.iter().map(|entry| !entry.empty_layer).collect();
    assert_eq!(layers.iter().filter(|layer| **layer).count(), plan.layers_from.len() + 1);
    assert_eq!(plan.config.config.on_build, ["RUN x"]);
    assert_eq!(plan.result, plan.layers_from.last().copied());
}

#[test]
fn steps_are_named_as_docker_names_them() {
    let plan =
        plan("FROM busybox AS b\nENV A=1\nRUN echo \"$A\" $B\nCOPY x$A y\nFROM scratch\ncopy --from=b / /\n");
    let names: Vec<&str> = plan.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "[b 1/3] FROM docker.io/library/busybox:latest",
            "[b 2/3] RUN echo \"1\" $B",
            "[b 3/3] COPY x1 y",
            "[stage-1 1/1] COPY --from=b / /",
        ]
    );
    assert_eq!(plan.steps[3].inputs(), [StepId(2)]);
    assert_eq!(plan.steps[3].parent, None);
    let one = self::plan("FROM busybox\nRUN x\n");
    assert_eq!(one.steps[1].name, "[2/2] RUN x");
    let mounts = self::plan("FROM busybox\nRUN --mount=type=tmpfs,target=/x y\n");
    assert_eq!(mounts.steps[1].name, "[stage-0 2/2] RUN --mount=type=tmpfs,target=/x y");
}

#[test]
fn only_what_the_target_needs() {
    let mut request = request();
    let source =
        "FROM busybox AS a\nRUN a\nFROM busybox AS unused\nRUN b\nFROM a AS c\nRUN c\nFROM c\nRUN d\n";
    let names = |request: &Request| {
        let plan = lower_all(source, request).1.unwrap();
        plan.steps.iter().map(|step| step.text.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&request), ["FROM busybox AS a", "RUN a", "RUN c", "RUN d"]);
    request.target = Some("C".into());
    assert_eq!(names(&request), ["FROM busybox AS a", "RUN a", "RUN c"]);
}

#[test]
fn variables_of_a_command() {
    let plan = plan("FROM busybox\nARG Z=1\nENV A=2 Z=3\nARG Q\nRUN x\n");
    let run = run_of(&plan, "RUN x");
    let env: Vec<String> = run.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(env, ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "A=2", "Z=3"]);
    let mut request = request();
    request.build_args = vec![("HTTP_PROXY".into(), "p".into()), ("E".into(), "over".into())];
    let source = "FROM busybox\nENV E=env\nARG E=arg\nRUN x\n";
    let run = run_of(&lower_all(source, &request).1.unwrap(), "RUN x");
    assert_eq!(run.env.last().unwrap(), &("E".to_owned(), "over".to_owned()));
    assert_eq!(run.proxy_env, [("HTTP_PROXY".into(), "p".into()), ("http_proxy".into(), "p".into())]);
}

#[test]
fn here_documents_of_run() {
    let shell = plan("FROM busybox\nRUN <<E\n a\nE\n");
    assert_eq!(run_of(&shell, "(a)").args, ["/bin/sh", "-c", " a\n"]);
    let script = plan("FROM busybox\nRUN <<-E\n\t#!/bin/awk\n\tx\nE\n");
    let run = run_of(&script, "(#!/bin/awk...)");
    assert_eq!(run.args, ["/bin/sh", "-c", "/dev/pipes/E"]);
    assert_eq!(run.files, [InlineFile { name: "E".into(), content: "#!/bin/awk\nx\n".into() }]);
    let cat = plan("FROM busybox\nRUN <<A cat 3<<-B\na\nA\n\tb\n\tB\n");
    assert_eq!(run_of(&cat, "cat 3<<-B").args[2], "<<A cat 3<<-B\na\nA\n\tb\nB");
}

#[test]
fn mounts_of_run() {
    let source = "FROM busybox AS s\nFROM busybox\nWORKDIR /w\nARG X=x\nRUN --mount=target=.,rw --mount=type=cache,target=/c/$X,mode=700 \
                  --mount=type=secret,id=a,env=A --mount=type=secret,id=d/b,uid=3 --mount=type=ssh --mount=from=s,src=../e,dst=f true\n";
    let plan = plan(source);
    let run = run_of(&plan, "true");
    let targets: Vec<Option<&str>> = run.mounts.iter().map(|mount| mount.target.as_deref()).collect();
    assert_eq!(targets, [Some("/w"), Some("/c/x"), None, Some("/run/secrets/b"), None, Some("/w/f")]);
    let writable: Vec<bool> = run.mounts.iter().map(|mount| !mount.read_only).collect();
    assert_eq!(writable, [true, true, false, false, false, false]);
    assert!(
        matches!(&run.mounts[1].kind, MountKind::Cache { id, mode: Some(0o700), from: Files::Empty, .. } if id == "/c/x")
    );
    assert!(matches!(&run.mounts[3].kind, MountKind::Secret { id, mode: 0o400, uid: 3, .. } if id == "d/b"));
    assert!(
        matches!(&run.mounts[5].kind, MountKind::Bind { source, from: Files::Step(_) } if source == "/e")
    );
    assert_eq!(plan.outline.secrets.len(), 2);
}

#[test]
fn arguments_of_the_builder_itself() {
    let mut request = request();
    request.build_args = vec![
        ("BUILDKIT_CACHE_MOUNT_NS".into(), "ns".into()),
        ("BUILDKIT_SANDBOX_HOSTNAME".into(), "here".into()),
    ];
    let plan = lower_all("FROM busybox\nRUN --mount=type=cache,target=/c x\n", &request).1.unwrap();
    assert_eq!(plan.hostname.as_deref(), Some("here"));
    let run = run_of(&plan, " x");
    assert!(matches!(&run.mounts[0].kind, MountKind::Cache { id, .. } if id == "ns//c"), "{run:?}");
}

#[test]
fn what_copy_takes_and_where_to() {
    let copy = copy_of("FROM busybox\nWORKDIR /w\nCOPY --chmod=0751 --exclude=*.md a* ../b ./d/\n");
    assert_eq!((copy.destination.as_str(), copy.destination_is_folder), ("/w/d", true));
    assert_eq!(copy.chmod, Some(Chmod::Bits(0o751)));
    assert_eq!(copy.excludes, ["*.md"]);
    let Source::Path(first) = &copy.sources[0] else { panic!() };
    assert_eq!((first.pattern.as_str(), first.has_wildcards), ("/a*", true));
    let Source::Path(second) = &copy.sources[1] else { panic!() };
    assert_eq!(second.pattern, "/b");
    let add = copy_of("FROM busybox\nADD https://h/a.git#v1:d http://h/f%20x.txt?q /x\n");
    assert!(matches!(&add.sources[0], Source::Git(git) if git.reference == "v1" && git.subdirectory == "d"));
    assert!(matches!(&add.sources[1], Source::Http(http) if http.name == "f x.txt"));
    let inline = copy_of("FROM busybox\nARG A=1\nCOPY <<E <<'F' /x/\n$A \\$A \"$A\"\nE\n$A\nF\n");
    assert!(matches!(&inline.sources[0], Source::Inline(file) if file.content == "1 $A \"1\"\n"));
    assert!(matches!(&inline.sources[1], Source::Inline(file) if file.content == "$A\n"));
}

#[test]
fn triggers_of_stages_and_images() {
    let source =
        "FROM busybox AS p\nONBUILD COPY --from=q /a /b\nONBUILD ENV T=1\nFROM busybox AS q\nFROM p\nRUN x\n";
    let planned = plan(source);
    let names: Vec<&str> = planned.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "[p 1/1] FROM docker.io/library/busybox:latest",
            "[stage-2 1/3] ONBUILD COPY --from=q /a /b",
            "[stage-2 2/3] RUN x"
        ]
    );
    assert!(planned.config.config.on_build.is_empty());
    assert!(planned.config.config.env.contains(&"T=1".to_owned()));
    let mut base = busybox();
    base.config.on_build = vec!["RUN <<E\nx\nE".into(), "WORKDIR /w$A".into()];
    let (_, outcome) = lower_on("FROM busybox\nRUN y\n", &request(), &base);
    let texts: Vec<String> = outcome.unwrap().steps.iter().map(|step| step.text.clone()).collect();
    assert_eq!(texts, ["FROM busybox", "RUN <<E", "WORKDIR /w$A", "RUN y"]);
    base.config.on_build = vec!["FROBNICATE".into()];
    let (_, outcome) = lower_on("FROM busybox\n", &request(), &base);
    assert_eq!(outcome.unwrap_err()[0].message, "unknown instruction: FROBNICATE");
}

#[test]
fn named_contexts() {
    let mut request = request();
    request.named_contexts.insert("alpine:3".into(), NamedContext::Image("busybox".into()));
    request.named_contexts.insert("files".into(), NamedContext::Files);
    request.named_contexts.insert("built".into(), NamedContext::Image("tools:1".into()));
    let source =
        "FROM nowhere AS built\nRUN never\nFROM alpine:3\nCOPY --from=files a b\nCOPY --from=built c d\n";
    let plan = lower_all(source, &request).1.unwrap();
    let images: Vec<String> = plan
        .steps
        .iter()
        .filter_map(|step| match &step.op {
            Op::Image(image) => Some(image.reference.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(images, ["docker.io/library/tools:1", "docker.io/library/busybox:latest"]);
    assert!(
        plan.steps.iter().any(
            |step| matches!(&step.op, Op::Copy(copy) if copy.from == Files::NamedContext("files".into()))
        )
    );
    assert!(!plan.steps.iter().any(|step| matches!(step.op, Op::Run(_))));
    // the layer of the context itself is told of last, as whatever the last layer is
    for (source, expected) in [
        ("FROM files\n", vec!["local source for files"]),
        ("FROM files AS x\nRUN y\nENV A=1\n", vec!["RUN /bin/sh -c y # buildkit", "ENV A=1", "[1/2] RUN y"]),
    ] {
        let plan = lower_all(source, &request).1.unwrap();
        let texts: Vec<&str> = plan.config.history.iter().map(|entry| entry.created_by.as_str()).collect();
        assert_eq!(texts, expected);
    }
}

#[test]
fn the_final_configuration() {
    let mut request = request();
    request.labels = vec![("a".into(), "cli".into())];
    request.platform = lighter_image::Platform::new("linux", "arm64", None);
    request.platform_is_explicit = true;
    let config = lower_all("FROM scratch\nLABEL a=b c=d\nCMD []\n", &request).1.unwrap().config;
    assert_eq!((config.architecture.as_str(), config.os.as_str()), ("arm64", "linux"));
    assert_eq!(config.config.labels["a"], "cli");
    assert_eq!(config.config.working_dir, "/");
    assert_eq!(config.config.cmd, None);
    let reset = plan("FROM busybox AS a\nCMD [\"x\"]\nFROM a\nENTRYPOINT [\"y\"]\n").config.config;
    assert_eq!((reset.entrypoint, reset.cmd), (Some(vec!["y".to_owned()]), None));
    let empty = plan("FROM scratch\n");
    assert_eq!((empty.result, empty.steps.len(), empty.target.as_str()), (None, 0, "stage-0"));
}

#[test]
fn the_epoch_is_a_number() {
    let mut request = request();
    request.epoch = Some(5);
    let source = "FROM busybox\nARG SOURCE_DATE_EPOCH\nRUN x\n";
    let plan = lower_all(source, &request).1.unwrap();
    assert_eq!(plan.epoch, Some(5));
    assert!(run_of(&plan, "RUN x").env.contains(&("SOURCE_DATE_EPOCH".into(), "5".into())));
    request.build_args.push(("SOURCE_DATE_EPOCH".into(), "soon".into()));
    assert!(
        lower_all(source, &request).1.unwrap_err()[0].message.contains("invalid SOURCE_DATE_EPOCH: soon")
    );
}

#[test]
fn an_empty_epoch_is_none_and_the_context_may_have_one() {
    let source = "FROM busybox\nARG SOURCE_DATE_EPOCH\n";
    let planned = |value: &str, of_context: Option<i64>| {
        let mut request = request();
        request.context_epoch = of_context;
        request.build_args.push(("SOURCE_DATE_EPOCH".into(), value.into()));
        let plan = lower_all(source, &request).1.unwrap();
        let last = plan.config.history.last().map(|entry| entry.created_by.clone()).unwrap_or_default();
        (plan.epoch, last)
    };
    assert_eq!(planned("", Some(7)), (None, "ARG SOURCE_DATE_EPOCH=".to_owned()));
    assert_eq!(planned("context", Some(7)), (Some(7), "ARG SOURCE_DATE_EPOCH=7".to_owned()));
    assert_eq!(planned("context", None), (None, "ARG SOURCE_DATE_EPOCH=".to_owned()));
    let mut request = request();
    request.context_epoch = Some(8);
    let global = lower_all("ARG SOURCE_DATE_EPOCH=context\nFROM busybox\n", &request).1.unwrap();
    assert_eq!(global.epoch, Some(8));
}

#[test]
fn proxies_of_the_request_stand_beside_env() {
    let mut request = request();
    request.build_args.push(("HTTP_PROXY".into(), "http://p".into()));
    let plan = lower_all("FROM busybox\nENV HTTP_PROXY=e A=b\nRUN x\n", &request).1.unwrap();
    let run = run_of(&plan, "RUN x");
    // what is declared belongs to the key, also where the process gets another value
    assert!(run.env.contains(&("HTTP_PROXY".into(), "e".into())));
    assert!(run.env.contains(&("A".into(), "b".into())));
    assert!(run.proxy_env.contains(&("HTTP_PROXY".into(), "http://p".into())));
    assert!(plan.config.config.env.contains(&"HTTP_PROXY=e".into()));
}

#[test]
fn devices_need_the_frontend_that_has_them() {
    check_fault("FROM busybox\nRUN --device=x y\n", 2, "device feature is only supported");
    let plan = plan("# syntax=docker/dockerfile:1-labs\nFROM busybox\nRUN --device=x y\n");
    assert_eq!(run_of(&plan, "y").devices.len(), 1);
}

#[test]
fn what_a_target_can_be_given() {
    let source = "ARG V=1\nARG UNUSED\nFROM busybox AS a\n# X what it is\nARG X=${V}2\nFROM a AS t\nARG V\nARG Y=y\nRUN --mount=type=ssh,required x\n";
    let outline = plan(source).outline;
    let args: Vec<(&str, &str, u32)> =
        outline.args.iter().map(|arg| (&*arg.name, &*arg.value, arg.lines.first)).collect();
    // an ARG that takes its value from outside of the stage is the one there
    assert_eq!(args, [("V", "1", 1), ("X", "2", 5), ("Y", "y", 8)]);
    let platform = plan("FROM busybox AS a\nARG X\nFROM a AS b\nARG TARGETARCH\nCOPY --from=a f /\n").outline;
    let names: Vec<&str> = platform.args.iter().map(|arg| arg.name.as_str()).collect();
    assert_eq!(names, ["X"]);
    assert_eq!(outline.args[1].description.as_deref(), Some("what it is"));
    assert_eq!((outline.ssh[0].name.as_str(), outline.ssh[0].required), ("default", true));
}

#[test]
fn faults_of_stages() {
    check_fault("FROM busybox\nCOPY --from=7 a b\n", 2, "invalid stage index 7");
    check_fault(
        "FROM busybox AS a\nCOPY --from=b x y\nFROM busybox AS b\nFROM a\n",
        2,
        "cannot copy from stage \"b\"",
    );
    check_fault(
        "FROM busybox AS a\nCOPY --from=b x y\nFROM busybox AS b\nCOPY --from=a x y\n",
        4,
        "circular dependency",
    );
    check_fault("FROM busybox AS a\nCOPY --from=a x y\n", 2, "circular dependency detected on stage: a");
    check_fault(
        "FROM busybox\nRUN --mount=from=x,target=/y z\nFROM busybox AS x\nCOPY --from=0 a b\n",
        2,
        "cannot mount from stage \"x\"",
    );
    check_fault("FROM busybox\nCOPY --from=$X a b\n", 2, "variable expansion is not supported for --from");
    check_fault("ARG X\nFROM $X\n", 2, "base name ($X) should not be blank");
    check_fault("FROM Busybox\n", 1, "must be lowercase");
    check_fault("FROM --platform=$X busybox\n", 1, "empty platform value");
    check_fault("FROM --platform=a/b/c/d busybox\n", 1, "failed to parse platform");
}

#[test]
fn faults_of_instructions() {
    check_fault("FROM busybox\nENV A=${B\n", 2, "syntax error: missing '}'");
    check_fault("FROM busybox\nENV A=${B:?gone}\n", 2, "B: gone");
    check_fault("FROM busybox\nEXPOSE http\n", 2, "invalid containerPort: http");
    let many = format!("FROM busybox\nEXPOSE 1-65535\nEXPOSE {}\n", "1-65535 ".repeat(4));
    check_fault(&many, 3, "the file exposes more than 262144 ports");
    check_fault("FROM busybox\nSTOPSIGNAL A B\n", 2, "STOPSIGNAL");
    check_fault("FROM busybox\nCOPY --chmod=0898 a b\n", 2, "invalid chmod parameter");
    check_fault("FROM busybox\nCOPY http://x/y b\n", 2, "source can't be a URL for COPY");
    check_fault("FROM busybox\nCOPY https://x/y.git b\n", 2, "source can't be a git ref for COPY");
    check_fault("FROM busybox\nADD --checksum=sha256:x a b\n", 2, "checksum requires HTTP(S) or Git sources");
    check_fault("FROM busybox\nRUN --mount=target=/ x\n", 2, "invalid mount target");
    check_fault("FROM busybox\nCOPY <<../a /x\n../a\n", 2, "cannot be named \"../a\"");
    check_fault("FROM busybox\nRUN <<a/b\n#!/bin/sh\na/b\n", 2, "cannot be named \"a/b\"");
    check_fault("FROM busybox\nVOLUME $X\n", 2, "VOLUME specified can not be an empty string");
    let digest = "--checksum=sha256:x";
    check_fault(&format!("FROM busybox\nADD {digest} http://x/a http://x/b c/\n"), 2, "for multiple sources");
    check_fault(
        &format!("FROM busybox\nADD {digest} http://x/a b\n"),
        2,
        "invalid checksum digest format: \"sha256:x\"",
    );
    check_fault("FROM busybox\nADD https://x/y.git?z=1 b\n", 2, "unexpected query \"z\"");
    check_fault(
        "FROM busybox\nCOPY --exclude=[ a b\n",
        2,
        "invalid excludepatterns: [[]: syntax error in pattern",
    );
    check_fault(
        "FROM busybox\nCOPY --exclude=! a b\n",
        2,
        "invalid excludepatterns: [!]: illegal exclusion pattern",
    );
    check_fault("FROM busybox\nCOPY [ b\n", 2, "invalid includepatterns: [[]: syntax error in pattern");
    check_fault(
        "# check=skp=all\nFROM busybox\n",
        1,
        "failed to parse check options: invalid check option \"skp=all\"",
    );
    check_fault(
        "# check=error=true\nFROM busybox\nMAINTAINER x\n",
        3,
        "lint violation found for rules: MaintainerDeprecated",
    );
}

#[test]
fn faults_of_triggers_name_the_image_s() {
    let mut base = busybox();
    for (trigger, text) in [
        ("RUN x\nRUN y", "onbuild trigger should be a single expression"),
        ("FROM x", "FROM isn't allowed as an ONBUILD trigger"),
        ("COPY x", "Destination could not be determined"),
    ] {
        base.config.on_build = vec![trigger.to_owned()];
        let fault = lower_on("FROM busybox\n", &request(), &base).1.unwrap_err().swap_remove(0);
        assert!(fault.message.contains(text), "{fault:?}");
        let label = format!("pulled by the base image: ONBUILD {}", trigger.lines().next().unwrap());
        assert_eq!(fault.labels[0].text, label);
    }
}

#[test]
fn faults_of_the_request() {
    let unnamed = "FROM busybox\n";
    let named = "FROM busybox AS one\nFROM busybox AS two\n";
    for (source, target, help) in [
        (unnamed, "x", "no stage has a name; give one by `FROM … AS name`"),
        (unnamed, "0", "a target is a stage's name, not its number"),
        (named, "ome", "did you mean `one`?"),
        (named, "other", "the stages are one, two"),
    ] {
        let request = Request { target: Some(target.to_owned()), ..request() };
        let fault = lower_all(source, &request).1.unwrap_err().swap_remove(0);
        assert_eq!(fault.message, format!("target stage {target:?} could not be found"));
        assert_eq!(fault.help.as_deref(), Some(help));
    }
    let mut request = Request { target: Some("one".into()), ..request() };
    request.named_contexts.insert("one".into(), NamedContext::Stage("two".into()));
    let fault = lower_all(named, &request).1.unwrap_err().swap_remove(0);
    assert_eq!(fault.message, "a named context means the stage \"two\", which is not above");
}

#[test]
fn faults_of_plans_come_with_advice() {
    for (source, help) in [
        ("FROM busybox\nCOPY --from=7 a b\n", "the stages are counted from 0 to 0"),
        ("FROM busybox\nCOPY --from=$X a b\n", "add `FROM $X AS name` and copy from `name`"),
        (
            "FROM busybox\nCOPY --from=b x y\nFROM busybox AS b\nCOPY --from=0 x y\n",
            "move that stage above this one",
        ),
        ("FROM busybox\nSTOPSIGNAL SIGTREM\n", "did you mean `SIGTERM`?"),
        ("FROM --platform=$TARGETPLATFOR busybox\n", "did you mean `$TARGETPLATFORM`?"),
        ("FROM busybox\nRUN --device=x y\n", "begin the file with `# syntax=docker/dockerfile:1-labs`"),
        ("# check=skp=all\nFROM busybox\n", "write `# check=skip=Rule,Rule;error=true`"),
    ] {
        let faults = lower_all(source, &request()).1.unwrap_err();
        assert!(faults.iter().any(|fault| fault.help.as_deref() == Some(help)), "{source}: {faults:#?}");
    }
}

#[test]
fn all_faults_at_once() {
    let (_, outcome) = lower_all("FROM busybox\nRUNN x\nENV A=${\nCOPY --frm=a b c\nEXPOSE\n", &request());
    let faults = outcome.unwrap_err();
    assert_eq!(faults.iter().filter(|fault| fault.is_error()).count(), 4, "{faults:#?}");
}

#[test]
fn a_misspelt_base_has_a_hint() {
    let file = crate::parse(b"FROM busybox AS builder\nFROM sratch\nCOPY --from=buildr a b\n").file;
    let Lowered::NeedsBases(needs) = lower(&file, &request(), &Bases::new()) else { panic!() };
    let helps: Vec<_> = needs.iter().map(|need| (need.written.as_str(), need.help.as_deref())).collect();
    assert!(helps.contains(&("sratch", Some("did you mean `scratch`?"))), "{helps:?}");
    assert!(helps.contains(&("buildr", Some("did you mean `builder`?"))), "{helps:?}");
}
