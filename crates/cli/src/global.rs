//! The options before the verb.

use crate::failure::Failure;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// The exit code of an option that cannot be understood.
const BAD_OPTION: u8 = 125;

/// What stands before the verb, and the rest.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Global {
    /// `--version`.
    pub(crate) version: bool,
    /// `--help`.
    pub(crate) help: bool,
    /// `--debug`.
    pub(crate) debug: bool,
    /// `--log-level`.
    pub(crate) log_level: Option<String>,
    /// `--config`.
    pub(crate) config: Option<PathBuf>,
    /// The verb and all behind it.
    pub(crate) words: Vec<OsString>,
}

impl Global {
    /// Reads the options before the verb.
    ///
    /// # Errors
    /// An unknown option, or one that is about a daemon: there is none.
    pub(crate) fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, Failure> {
        let mut global = Self::default();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let Some(text) = word.to_str().filter(|text| text.starts_with('-') && text.len() > 1) else {
                global.words = std::iter::once(word).chain(words).collect();
                return Ok(global);
            };
            match text.strip_prefix("--") {
                Some("") => {
                    global.words = words.collect();
                    return Ok(global);
                }
                Some(long) => {
                    let (name, value) = match long.split_once('=') {
                        Some((name, value)) => (name, Some(OsString::from(value))),
                        None => (long, None),
                    };
                    global.option(name, &format!("--{name}"), value, &mut words)?;
                }
                None => global.letters(&text[1..], &mut words)?,
            }
        }
        Ok(global)
    }

    fn letters(&mut self, letters: &str, words: &mut impl Iterator<Item = OsString>) -> Result<(), Failure> {
        for (at, letter) in letters.char_indices() {
            let name = match letter {
                'v' => "version",
                'h' => "help",
                'D' => "debug",
                'l' => "log-level",
                'H' => "host",
                'c' => "context",
                _ => return Err(bad(&format!("unknown shorthand flag: '{letter}' in -{letters}"))),
            };
            let rest = letters[at + letter.len_utf8()..].trim_start_matches('=');
            if matches!(name, "log-level" | "host" | "context") {
                let value = (!rest.is_empty()).then(|| OsString::from(rest));
                return self.option(name, &format!("-{letter}, --{name}"), value, words);
            }
            self.option(name, &format!("-{letter}, --{name}"), None, words)?;
        }
        Ok(())
    }

    fn option(
        &mut self,
        name: &str,
        spelled: &str,
        value: Option<OsString>,
        words: &mut impl Iterator<Item = OsString>,
    ) -> Result<(), Failure> {
        match name {
            "version" => self.version = switch(value.as_deref(), spelled)?,
            "help" => self.help = switch(value.as_deref(), spelled)?,
            "debug" => self.debug = switch(value.as_deref(), spelled)?,
            "tls" | "tlsverify" if !switch(value.as_deref(), spelled)? => {}
            "config" => self.config = Some(argument(value, spelled, words)?.into()),
            "log-level" => {
                let level = argument(value, spelled, words)?.to_string_lossy().into_owned();
                if !matches!(level.as_str(), "debug" | "info" | "warn" | "error" | "fatal") {
                    return Err(bad(&format!("unable to parse logging level: {level}")));
                }
                self.log_level = Some(level);
            }
            "context" if argument(value.clone(), spelled, words)? == "default" => {}
            "context" | "host" | "tls" | "tlsverify" | "tlscacert" | "tlscert" | "tlskey" => {
                return Err(no_daemon(spelled));
            }
            _ => return Err(bad(&format!("unknown flag: {spelled}"))),
        }
        Ok(())
    }
}

fn argument(
    value: Option<OsString>,
    spelled: &str,
    words: &mut impl Iterator<Item = OsString>,
) -> Result<OsString, Failure> {
    value.or_else(|| words.next()).ok_or_else(|| bad(&format!("flag needs an argument: {spelled}")))
}

fn switch(value: Option<&OsStr>, spelled: &str) -> Result<bool, Failure> {
    let Some(value) = value else { return Ok(true) };
    let text = value.to_string_lossy();
    crate::args::switch(&text)
        .map_err(|why| bad(&format!("invalid argument {text:?} for {spelled:?} flag: {why}")))
}

/// An option that only means something where a daemon is.
fn no_daemon(spelled: &str) -> Failure {
    Failure::new(format!("lighter has no daemon that could be elsewhere: {spelled} is not supported"))
        .with_code(BAD_OPTION)
}

fn bad(message: &str) -> Failure {
    let rest = "Usage:  lighter [OPTIONS] COMMAND [ARG...]\n\nRun 'lighter --help' for more information";
    Failure::new(format!("{message}\n\n{rest}")).with_code(BAD_OPTION)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Global, Failure> {
        Global::read(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn options_end_at_the_verb() {
        let global = read("-D --log-level=debug --config /c run --version").expect("reads");
        assert!(global.debug && !global.version);
        assert_eq!(global.log_level.as_deref(), Some("debug"));
        assert_eq!(global.config, Some("/c".into()));
        assert_eq!(global.words, ["run", "--version"]);
    }

    #[test]
    fn letters_are_joined() {
        let global = read("-Dldebug -v").expect("reads");
        assert!(global.debug && global.version);
        assert_eq!(global.log_level.as_deref(), Some("debug"));
    }

    #[test]
    fn what_is_about_a_daemon() {
        assert!(read("--context default --tls=false ps").is_ok());
        let refused = |line, part: &str| {
            let failure = read(line).expect_err(line);
            assert!(failure.text.contains(part), "{}", failure.text);
            assert_eq!(failure.code, 125);
        };
        refused("-H tcp://x ps", "-H, --host is not supported");
        refused("--context far ps", "--context is not supported");
        refused("--frob", "unknown flag: --frob");
        refused("-Dx", "unknown shorthand flag: 'x' in -Dx");
        refused("--config", "flag needs an argument: --config");
        refused("--debug=maybe", "invalid argument \"maybe\"");
        refused("-l loud ps", "unable to parse logging level: loud");
    }
}
