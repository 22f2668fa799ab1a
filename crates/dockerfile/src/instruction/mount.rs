//! `RUN --mount`: keys and values.

use lighter_image::go_bool;

use crate::csv::quoted_field;
use crate::diagnostic::Code;
use crate::expand::ExpandError;
use crate::plan::CacheSharing;
use crate::suggest::{did_you_mean, nearest};

/// The kinds of mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum MountType {
    #[default]
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}

impl MountType {
    const NAMES: [(&'static str, Self); 5] = [
        ("bind", Self::Bind),
        ("cache", Self::Cache),
        ("tmpfs", Self::Tmpfs),
        ("secret", Self::Secret),
        ("ssh", Self::Ssh),
    ];

    fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, kind)| *kind == self).map_or("bind", |(name, _)| name)
    }
}

/// A mount, expanded and checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) kind: MountType,
    pub(crate) from: String,
    pub(crate) source: String,
    pub(crate) target: String,
    pub(crate) read_only: bool,
    pub(crate) size_bytes: u64,
    pub(crate) id: String,
    pub(crate) sharing: Option<CacheSharing>,
    pub(crate) required: bool,
    pub(crate) env: Option<String>,
    pub(crate) mode: Option<u32>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
}

/// Code, message, help.
pub(crate) type Fault = (Code, String, Option<String>);

const KEYS: &[&str] = &[
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
    "env",
];

fn fault<T>(message: impl Into<String>) -> Result<T, Fault> {
    Err((Code::Flag, message.into(), None))
}

impl Mount {
    /// The stage or image that a mount names, before anything is expanded.
    pub(crate) fn static_from(text: &str) -> Option<String> {
        let fields = fields(text)?;
        let mut from = None;
        for field in &fields {
            if let Some((key, value)) = field.split_once('=')
                && key.eq_ignore_ascii_case("from")
            {
                from = Some(value.to_owned());
            }
        }
        from.filter(|from| !from.is_empty())
    }

    /// What can be said about a mount before variables are known.
    pub(crate) fn check(text: &str) -> Result<(), Fault> {
        let Some(fields) = fields(text) else { return fault("failed to parse csv mounts") };
        for field in &fields {
            let Some((key, value)) = field.split_once('=') else { continue };
            let lower = key.to_lowercase();
            if lower == "from" && value.find('$').is_some_and(|at| at + 1 != value.len()) {
                return Err((
                    Code::Flag,
                    "'from' doesn't support variable expansion, define alias stage instead".to_owned(),
                    Some(format!("add `FROM {value} AS name` and mount from `name`")),
                ));
            }
            if !KEYS.contains(&lower.as_str()) {
                return Err(unexpected(&lower, field));
            }
        }
        // a mount without variables can be checked as a whole
        if !text.contains('$') {
            Self::read(text, &mut |value| Ok(value.to_owned()))?;
        }
        Ok(())
    }

    /// Reads a mount; values go through `expand`.
    pub(crate) fn read(
        text: &str,
        expand: &mut dyn FnMut(&str) -> Result<String, ExpandError>,
    ) -> Result<Self, Fault> {
        let Some(fields) = fields(text) else { return fault("failed to parse csv mounts") };
        let mut mount = Self::default();
        let mut read_only = None;
        for field in &fields {
            match field.split_once('=') {
                None => mount.switch(field, &mut read_only)?,
                Some((key, value)) => {
                    let value = expand(value).map_err(|error| (Code::Expansion, error.to_string(), None))?;
                    mount.set(&key.to_lowercase(), &value, field, &mut read_only)?;
                }
            }
        }
        mount.read_only = read_only.unwrap_or(!matches!(mount.kind, MountType::Cache | MountType::Tmpfs));
        mount.consistent()?;
        Ok(mount)
    }

    /// A key without a value.
    fn switch(&mut self, field: &str, read_only: &mut Option<bool>) -> Result<(), Fault> {
        let key = field.to_lowercase();
        match key.as_str() {
            "readonly" | "ro" => *read_only = Some(true),
            "readwrite" | "rw" => *read_only = Some(false),
            "required" if self.can_be_required() => self.required = true,
            "required" => return self.wrong_key(&key),
            _ => return fault(format!("invalid field '{field}' must be a key=value pair")),
        }
        Ok(())
    }

    const fn can_be_required(&self) -> bool {
        matches!(self.kind, MountType::Secret | MountType::Ssh)
    }

    fn wrong_key<T>(&self, key: &str) -> Result<T, Fault> {
        fault(format!("unexpected key '{key}' for mount type '{}'", self.kind.name()))
    }

    fn set(
        &mut self,
        key: &str,
        value: &str,
        field: &str,
        read_only: &mut Option<bool>,
    ) -> Result<(), Fault> {
        match key {
            "type" => self.kind = kind(value)?,
            "from" => value.clone_into(&mut self.from),
            "source" | "src" => value.clone_into(&mut self.source),
            "target" | "dst" | "destination" => value.clone_into(&mut self.target),
            "readonly" | "ro" => *read_only = Some(boolean(key, value)?),
            "readwrite" | "rw" => *read_only = Some(!boolean(key, value)?),
            "required" if self.can_be_required() => self.required = boolean(key, value)?,
            "size" if self.kind == MountType::Tmpfs => match size(value) {
                Some(bytes) => self.size_bytes = bytes,
                None => return fault(format!("invalid value for {key}: {value}")),
            },
            "required" | "size" => return self.wrong_key(key),
            "id" => value.clone_into(&mut self.id),
            "sharing" => self.sharing = Some(sharing(value)?),
            "mode" => self.mode = Some(number(key, value, 8)?),
            "uid" => self.uid = Some(number(key, value, 10)?),
            "gid" => self.gid = Some(number(key, value, 10)?),
            "env" => self.env = Some(value.to_owned()),
            _ => return Err(unexpected(key, field)),
        }
        Ok(())
    }

    fn consistent(&self) -> Result<(), Fault> {
        let kind = self.kind.name();
        if !matches!(self.kind, MountType::Secret | MountType::Ssh | MountType::Cache) {
            for (key, given) in
                [("mode", self.mode.is_some()), ("uid", self.uid.is_some()), ("gid", self.gid.is_some())]
            {
                if given {
                    return fault(format!("{key} not allowed for {kind:?} type mounts"));
                }
            }
        }
        if self.kind == MountType::Secret {
            if !self.from.is_empty() {
                return fault("secret mount should not have a from");
            }
            if self.sharing.is_some() {
                return fault("secret mount should not define sharing");
            }
            if self.source.is_empty() && self.target.is_empty() && self.id.is_empty() {
                return fault("invalid secret mount. one of source, target required");
            }
            if !self.source.is_empty() && !self.id.is_empty() {
                return fault("both source and id can't be set");
            }
        }
        if self.kind == MountType::Ssh && !self.source.is_empty() {
            return fault("ssh does not support source");
        }
        if self.sharing.is_some() && self.kind != MountType::Cache {
            return fault(format!("invalid cache sharing set for {kind} mount"));
        }
        Ok(())
    }
}

fn unexpected(key: &str, field: &str) -> Fault {
    let help = did_you_mean(nearest(key, KEYS, true));
    (Code::Flag, format!("unexpected key '{key}' in '{field}'"), help)
}

fn kind(value: &str) -> Result<MountType, Fault> {
    let lower = value.to_lowercase();
    if let Some((_, kind)) = MountType::NAMES.iter().find(|(name, _)| *name == lower) {
        return Ok(*kind);
    }
    let near = nearest(&lower, MountType::NAMES.iter().map(|(name, _)| name), true);
    Err((Code::Flag, format!("unsupported mount type {value:?}"), did_you_mean(near)))
}

fn sharing(value: &str) -> Result<CacheSharing, Fault> {
    match value.to_lowercase().as_str() {
        "shared" => Ok(CacheSharing::Shared),
        "private" => Ok(CacheSharing::Private),
        "locked" => Ok(CacheSharing::Locked),
        other => {
            let near = nearest(other, ["shared", "private", "locked"], true);
            Err((Code::Flag, format!("unsupported sharing value {value:?}"), did_you_mean(near)))
        }
    }
}

/// What Go takes for a truth value.
fn boolean(key: &str, value: &str) -> Result<bool, Fault> {
    go_bool(value).map_or_else(|| fault(format!("invalid value for {key}: {value}")), Ok)
}

fn number(key: &str, value: &str, radix: u32) -> Result<u32, Fault> {
    let plain = !value.starts_with('+');
    match u32::from_str_radix(value, radix) {
        Ok(number) if plain => Ok(number),
        _ => fault(format!("invalid value {value} for {key}")),
    }
}

/// A number of bytes: `64m`, `1.5 GiB`, `512`.
fn size(value: &str) -> Option<u64> {
    let lower = value.trim().to_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let number: f64 = lower[..digits].parse().ok()?;
    let unit = lower[digits..].trim();
    let unit = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(unit);
    let shift = match unit {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    #[expect(clippy::cast_precision_loss, reason = "a power of two is exact")]
    let bytes = number * (1_u64 << shift) as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
    let bytes = (0.0..9.0e18).contains(&bytes).then_some(bytes as u64);
    bytes
}

/// The fields of one line of comma-separated values, as Go reads it; `None` where quotes are wrong.
fn fields(text: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (field, after) = quoted_field(quoted)?;
            fields.push(field);
            match after.strip_prefix(',') {
                Some(next) => rest = next,
                None if after.is_empty() => return Some(fields),
                None => return None,
            }
            continue;
        }
        let (field, next) = match rest.split_once(',') {
            Some((field, next)) => (field, Some(next)),
            None => (rest, None),
        };
        if field.contains('"') {
            return None;
        }
        fields.push(field.to_owned());
        match next {
            Some(next) => rest = next,
            None => return Some(fields),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Mount, Fault> {
        Mount::read(text, &mut |value| Ok(value.to_owned()))
    }

    fn check_error(text: &str, expected: &str) {
        assert_eq!(read(text).map_err(|(_, message, _)| message), Err(expected.to_owned()), "{text}");
    }

    #[test]
    fn every_key_is_read() {
        let mount =
            read("type=cache,id=x,target=/c,sharing=locked,mode=0700,uid=1,gid=2,from=a,src=/s,ro").unwrap();
        assert_eq!(mount.kind, MountType::Cache);
        assert_eq!((mount.mode, mount.uid, mount.gid), (Some(0o700), Some(1), Some(2)));
        assert_eq!((mount.from.as_str(), mount.source.as_str(), mount.target.as_str()), ("a", "/s", "/c"));
        assert!(mount.read_only);
        assert!(!read("type=cache,target=/c").unwrap().read_only);
        assert!(read("target=/c").unwrap().read_only);
        assert_eq!(read("type=tmpfs,target=/t,size=1.5m").unwrap().size_bytes, 1_572_864);
        assert_eq!(read("type=secret,id=a,env=A,required").unwrap().env.as_deref(), Some("A"));
        assert_eq!(read("type=bind,\"target=/a,b\"").unwrap().target, "/a,b");
    }

    #[test]
    fn faults_are_docker_s() {
        check_error("type=bnd", "unsupported mount type \"bnd\"");
        check_error("typ=bind", "unexpected key 'typ' in 'typ=bind'");
        check_error("target", "invalid field 'target' must be a key=value pair");
        check_error("required", "unexpected key 'required' for mount type 'bind'");
        check_error("size=1", "unexpected key 'size' for mount type 'bind'");
        check_error("type=tmpfs,mode=1", "mode not allowed for \"tmpfs\" type mounts");
        check_error("type=secret", "invalid secret mount. one of source, target required");
        check_error("type=secret,id=a,src=b", "both source and id can't be set");
        check_error("type=secret,id=a,from=b", "secret mount should not have a from");
        check_error("type=secret,id=a,sharing=shared", "secret mount should not define sharing");
        check_error("type=ssh,source=a", "ssh does not support source");
        check_error("type=tmpfs,size=lots", "invalid value for size: lots");
        check_error("type=bind,sharing=shared", "invalid cache sharing set for bind mount");
        check_error("type=cache,sharing=x", "unsupported sharing value \"x\"");
        check_error("type=cache,mode=9", "invalid value 9 for mode");
        check_error("rw=maybe", "invalid value for rw: maybe");
        check_error("a\"b", "failed to parse csv mounts");
    }
}
