use super::{Read, read};
use crate::failure::Failure;
use crate::session::Session;
use crate::verb::{Arguments, Arity, Entry, Spec, Verb};
use clap::FromArgMatches as _;
use std::ffi::OsString;

#[derive(Debug, PartialEq, clap::Args)]
struct Sample {
    /// Keep it open
    #[arg(short, long)]
    interactive: bool,
    /// A terminal
    #[arg(short, long)]
    tty: bool,
    /// Pass signals on
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    sig_proxy: bool,
    /// Set variables
    #[arg(short, long)]
    env: Vec<String>,
    /// A name
    #[arg(long)]
    name: Option<String>,
    /// Host
    #[arg(short = 'H', long)]
    hostname: Option<String>,
    /// How many
    #[arg(short, long, value_name = "int", default_value_t = -1)]
    number: i32,
    #[arg(required = true, trailing_var_arg = true)]
    image: Vec<String>,
}

impl Arguments for Sample {
    const SPEC: Spec = Spec {
        paths: &["container sample", "sample"],
        usage: "[OPTIONS] IMAGE [COMMAND]",
        about: "Does nothing",
        arity: Arity::AtLeast(1),
    };
}

impl Verb for Sample {
    fn run(self, _: &Session) -> Result<u8, Failure> {
        Ok(0)
    }
}

fn parse(line: &str) -> Result<Sample, Failure> {
    let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
    match read(&Entry::of::<Sample>(), "sample", &words)? {
        Read::Help(text) => Err(Failure::new(text).with_code(0)),
        Read::Matches(mut matches) => Ok(Sample::from_arg_matches_mut(&mut matches).expect("checked")),
    }
}

fn refuse(line: &str, first_line: &str, code: u8) {
    let failure = parse(line).expect_err(line);
    assert_eq!(failure.text.lines().next(), Some(first_line), "{line}");
    assert_eq!(failure.code, code, "{line}");
}

#[test]
fn switches() {
    let sample = |line| parse(line).expect(line);
    assert!(sample("-it x").interactive && sample("-it x").tty);
    assert!(!sample("-i=false x").interactive);
    assert!(sample("-ti=1 x").interactive);
    assert!(!sample("--interactive --interactive=F x").interactive);
    assert_eq!(sample("-i false").image, ["false"]);
    assert!(sample("x").sig_proxy && !sample("--sig-proxy=false x").sig_proxy);
}

#[test]
fn values() {
    let sample = |line| parse(line).expect(line);
    assert_eq!(sample("-e A=1 --env=B=2 -eC -e=D -itetE x").env, ["A=1", "B=2", "C", "D", "tE"]);
    assert_eq!(sample("--name a --name=-b x").name.as_deref(), Some("-b"));
    assert_eq!(sample("--name -- x").name.as_deref(), Some("--"));
    assert_eq!(sample("--name= x").name.as_deref(), Some(""));
    assert_eq!(sample("-n -3 x").number, -3);
    assert_eq!(sample("x").number, -1);
}

#[test]
fn options_end_at_the_image() {
    let sample = |line| parse(line).expect(line);
    assert_eq!(sample("-i x -i --name y --help").image, ["x", "-i", "--name", "y", "--help"]);
    assert_eq!(sample("x sh -c -- -x").image, ["x", "sh", "-c", "--", "-x"]);
    assert_eq!(sample("-- x -i").image, ["x", "-i"]);
    assert_eq!(sample("- -i").image, ["-", "-i"]);
}

#[test]
fn faults() {
    refuse("--frob x", "unknown flag: --frob", 125);
    refuse("--frob=1 x", "unknown flag: --frob", 125);
    refuse("-iZt x", "unknown shorthand flag: 'Z' in -iZt", 125);
    refuse("--name", "flag needs an argument: --name", 125);
    refuse("-ie", "flag needs an argument: 'e' in -ie", 125);
    let number =
        "invalid argument \"x\" for \"-n, --number\" flag: strconv.ParseInt: parsing \"x\": invalid syntax";
    refuse("-n x y", number, 125);
    refuse(
        "--tty=maybe x",
        "invalid argument \"maybe\" for \"-t, --tty\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax",
        125,
    );
    refuse("-i", "lighter: 'lighter sample' requires at least 1 argument", 1);
}

#[test]
fn help() {
    let text = parse("--help").expect_err("help").text;
    assert_eq!(
        text,
        "Usage:  lighter sample [OPTIONS] IMAGE [COMMAND]\n\nDoes nothing\n\n\
         Aliases:\n  lighter container sample, lighter sample\n\n\
         Options:\n  \
         -e, --env list          Set variables\n  \
         -H, --hostname string   Host\n  \
         -i, --interactive       Keep it open\n      \
         --name string       A name\n  \
         -n, --number int        How many (default -1)\n      \
         --sig-proxy         Pass signals on (default true)\n  \
         -t, --tty               A terminal\n"
    );
}
