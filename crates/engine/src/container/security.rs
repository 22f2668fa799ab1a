//! `--security-opt`: what it says.

use lighter_image::go_bool;

/// A security option that can be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecurityOption<'a> {
    /// Whether set-user-ID programs gain nothing.
    NoNewPrivileges(bool),
    /// Docker's own filter of system calls.
    DefaultFilter,
    /// None.
    NoFilter,
    /// One of its own, as the text of its profile.
    Filter(&'a str),
    /// No path of the kernel's is hidden.
    OpenPaths,
    /// No label of a security module, as ever.
    NoLabel,
}

impl<'a> SecurityOption<'a> {
    /// Reads `KEY=VALUE`, or `KEY:VALUE` as of old.
    pub(crate) fn parse(text: &'a str) -> Result<Self, SecurityOptionError> {
        let invalid = || SecurityOptionError::Invalid(text.to_owned());
        let pair = text.split_once('=').or_else(|| text.split_once(':'));
        match pair {
            None if text == "no-new-privileges" => Ok(Self::NoNewPrivileges(true)),
            Some(("no-new-privileges", word)) => go_bool(word).map(Self::NoNewPrivileges).ok_or_else(invalid),
            Some(("seccomp", "builtin")) => Ok(Self::DefaultFilter),
            Some(("seccomp", "unconfined")) => Ok(Self::NoFilter),
            Some(("seccomp", profile)) => Ok(Self::Filter(profile)),
            Some(("systempaths", "unconfined")) => Ok(Self::OpenPaths),
            Some(("apparmor", "unconfined") | ("label", "disable")) => Ok(Self::NoLabel),
            Some(("apparmor" | "label" | "writable-cgroups", _)) => {
                Err(SecurityOptionError::Unsupported(text.to_owned()))
            }
            _ => Err(invalid()),
        }
    }
}

/// Why a security option is not kept.
#[derive(Debug, thiserror::Error)]
pub enum SecurityOptionError {
    /// It is none.
    #[error("invalid --security-opt: {0:?}")]
    Invalid(String),
    /// It is one that Docker has.
    #[error("security option `{0}` is not supported")]
    Unsupported(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_in_both_forms() {
        let check = |text: &str, expected: Option<SecurityOption<'_>>| {
            assert_eq!(SecurityOption::parse(text).ok(), expected, "{text}");
        };
        check("no-new-privileges", Some(SecurityOption::NoNewPrivileges(true)));
        check("no-new-privileges:false", Some(SecurityOption::NoNewPrivileges(false)));
        check("no-new-privileges=maybe", None);
        check("seccomp:unconfined", Some(SecurityOption::NoFilter));
        check("seccomp=builtin", Some(SecurityOption::DefaultFilter));
        check(r#"seccomp={"a":"b=c"}"#, Some(SecurityOption::Filter(r#"{"a":"b=c"}"#)));
        check("systempaths=unconfined", Some(SecurityOption::OpenPaths));
        check("systempaths=confined", None);
        check("label=disable", Some(SecurityOption::NoLabel));
        check("apparmor=mine", None);
        check("seccomp", None);
        check("other=x", None);
    }
}
