//! A table: a file, and the rules that speak of it, with their lines.

use crate::testing::{lower_all, request};
use crate::{Code, ignore};

fn check(source: &str, expected: &[(&str, u32)]) {
    let (file, outcome) = lower_all(source, &request());
    let warnings = outcome.unwrap_or_else(|faults| panic!("{source}: {faults:?}")).warnings;
    let found: Vec<(&str, u32)> = warnings
        .iter()
        .filter_map(|warning| match warning.code {
            Code::Check(rule) => Some((rule.name(), file.lines_of(warning.span).first)),
            _ => None,
        })
        .collect();
    assert_eq!(found, expected, "{source}");
}

#[test]
fn rules_of_the_text() {
    check("FROM busybox\nrun x\nRUN y\n", &[("ConsistentInstructionCasing", 2)]);
    check("FROM busybox\nRuN x\n", &[("ConsistentInstructionCasing", 2)]);
    check("from busybox\nrun x\n", &[]);
    check("FROM busybox AS Foo\n", &[("StageNameCasing", 1)]);
    check("FROM busybox as foo\n", &[("FromAsCasing", 1)]);
    check("FROM busybox AS context\n", &[("ReservedStageName", 1)]);
    check("FROM busybox AS a\nFROM busybox AS a\n", &[("DuplicateStageName", 2)]);
    check("FROM busybox\nMAINTAINER me\n", &[("MaintainerDeprecated", 2)]);
    check("FROM busybox\nRUN x \\\n\n y\n", &[("NoEmptyContinuation", 4)]);
}

#[test]
fn rules_of_from() {
    check("FROM busybox${X}\n", &[("UndefinedArgInFrom", 1)]);
    check("ARG X\nFROM busybox${X}\n", &[]);
    check("ARG X\nFROM busybox:${X:-1}\n", &[]);
    check("FROM --platform=linux/amd64 busybox\n", &[("FromPlatformFlagConstDisallowed", 1)]);
    check("FROM --platform=linux/amd64 busybox AS build_amd64\n", &[]);
    check("FROM --platform=$TARGETPLATFORM busybox\n", &[("RedundantTargetPlatform", 1)]);
    check("FROM --platform=linux/arm64 busybox AS arm64\n", &[("InvalidBaseImagePlatform", 1)]);
    let mut request = request();
    request.build_args.push(("T".into(), "latest".into()));
    let (_, outcome) = lower_all("ARG T\nFROM busybox:$T\n", &request);
    let names: Vec<_> = outcome.unwrap().warnings.iter().map(|warning| warning.code).collect();
    assert_eq!(names, [Code::Check(super::Rule::InvalidDefaultArgInFrom)]);
}

#[test]
fn rules_of_instructions() {
    check("FROM busybox\nENV a b\n", &[("LegacyKeyValueFormat", 2)]);
    check(
        "FROM busybox\nENV A_TOKEN=x\nARG KEY\nARG KEY_FILE\n",
        &[("SecretsUsedInArgOrEnv", 2), ("SecretsUsedInArgOrEnv", 3)],
    );
    check("FROM busybox\nWORKDIR a\nWORKDIR /b\nWORKDIR c\n", &[("WorkdirRelativePath", 2)]);
    check("FROM busybox\nCMD x\n", &[("JSONArgsRecommended", 2)]);
    check("FROM busybox\nSHELL [\"sh\"]\nCMD x\n", &[]);
    check("FROM busybox\nCMD [\"x\"]\nCMD [\"y\"]\n", &[("MultipleInstructionsDisallowed", 2)]);
    check("FROM busybox\nCOPY $A $PATH\n", &[("UndefinedVar", 2)]);
    check("FROM busybox\nEXPOSE $A 80\n", &[]);
    check("FROM busybox\nARG A\nCOPY x$A /\n", &[]);
    check("FROM busybox\nEXPOSE 80/TCP 1:2\n", &[("ExposeInvalidFormat", 2), ("ExposeProtoCasing", 2)]);
}

#[test]
fn what_is_ignored_is_not_there_to_copy() {
    let mut request = request();
    for (ignored, expected) in [("x\n", 1), ("x\n!x/y\n", 0), ("*\n", 1), ("y", 0)] {
        request.ignore = Some(ignore::Patterns::parse(ignored.as_bytes()).unwrap());
        let asked = "# check=experimental=CopyIgnoredFile\nFROM busybox\nCOPY x /\n";
        assert_eq!(lower_all(asked, &request).1.unwrap().warnings.len(), expected, "{ignored}");
        let (_, outcome) = lower_all("FROM busybox\nCOPY x /\n", &request);
        assert_eq!(outcome.unwrap().warnings, [], "{ignored}");
    }
    request.ignore = Some(ignore::Patterns::parse(b"*").unwrap());
    let (_, outcome) = lower_all(
        "# check=experimental=all\nFROM busybox AS b\nFROM b\nCOPY --from=b x /\nADD . /\n",
        &request,
    );
    let warnings = outcome.unwrap().warnings;
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].message, "Attempting to Add file \".\" that is excluded by .dockerignore");
}

#[test]
fn rules_can_be_switched() {
    check("# check=skip=all\nFROM busybox\nMAINTAINER x\n", &[]);
    check(
        "# check=skip=MaintainerDeprecated\nFROM busybox\nMAINTAINER x\nCMD x\n",
        &[("JSONArgsRecommended", 4)],
    );
    check("FROM busybox\n# check=skip=JSONArgsRecommended\nCMD x\n", &[]);
    check("# x\nARG Y\nFROM busybox\n", &[]);
    check("# check=experimental=all\n# x\nARG Y\nFROM busybox\n", &[("InvalidDefinitionDescription", 3)]);
    let (_, outcome) = lower_all("# check=error=true\nFROM busybox\nCMD x\n", &request());
    let faults = outcome.unwrap_err();
    assert_eq!(
        faults.iter().find(|f| f.is_error()).unwrap().message,
        "lint violation found for rules: JSONArgsRecommended"
    );
    let mut skipping = request();
    skipping.build_args = vec![("BUILDKIT_DOCKERFILE_CHECK".into(), "skip=all".into())];
    let (_, outcome) = lower_all("# check=error=true\nFROM busybox\nCMD x\n", &skipping);
    assert_eq!(outcome.unwrap().warnings, []);
    let (_, outcome) = lower_all("# check=skip\nFROM busybox\n", &request());
    assert!(outcome.unwrap_err()[0].message.contains("invalid check option"));
}

#[test]
fn every_rule_has_a_name_and_a_description() {
    let names: Vec<&str> = super::Rule::all().map(super::Rule::name).collect();
    assert_eq!(names.len(), 22);
    assert!(names.is_sorted());
    assert!(super::Rule::all().all(|rule| !rule.description().is_empty()));
}
