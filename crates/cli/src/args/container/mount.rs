//! `--mount`, `-v` and `--tmpfs`: three languages for the same thing.

use crate::args::container::value;
use crate::args::switch;
use crate::args::value::{bytes, fields};
use lighter_engine::container::{ContainerMount, MountSource};
use std::path::{Component, Path, PathBuf};

/// A mount as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    kind: Kind,
    source: Option<String>,
    target: String,
    read_only: bool,
    no_copy: bool,
    size_bytes: Option<u64>,
    mode_bits: Option<u32>,
    create: bool,
    /// `bind-recursive=readonly` or `writable`, which are said of mounts that are read-only.
    recursion: Option<String>,
    propagation: Option<String>,
    labels: Vec<(String, String)>,
    options: Vec<(String, String)>,
    subpath: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bind,
    Volume,
    Tmpfs,
    Image,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Volume => "volume",
            Self::Tmpfs => "tmpfs",
            Self::Image => "image",
        }
    }
}

/// `--mount type=…,src=…,dst=…`.
///
/// # Errors
/// A field that is unknown, of another type of mount, or has no sense; the words are Docker's.
pub(crate) fn parse(text: &str) -> Result<Mount, String> {
    let mut mount = Mount {
        kind: Kind::Volume,
        source: None,
        target: String::new(),
        read_only: false,
        no_copy: false,
        size_bytes: None,
        mode_bits: None,
        create: false,
        recursion: None,
        propagation: None,
        labels: Vec::new(),
        options: Vec::new(),
        subpath: String::new(),
    };
    let mut of_kind = Vec::new();
    for field in fields(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.trim().to_ascii_lowercase(), Some(value.to_owned())),
            None => (field.trim().to_ascii_lowercase(), None),
        };
        let prefix = ["bind", "volume", "tmpfs", "image"]
            .into_iter()
            .find(|kind| key.starts_with(&format!("{kind}-")));
        of_kind.extend(prefix);
        mount.set(&key, value, &field)?;
    }
    if mount.target.is_empty() {
        return Err("target is required".to_owned());
    }
    if let Some(other) = of_kind.iter().find(|kind| **kind != mount.kind.name()) {
        return Err(format!("cannot mix '{other}-*' options with mount type '{}'", mount.kind.name()));
    }
    mount.check_recursion()?;
    Ok(mount)
}

impl Mount {
    fn set(&mut self, key: &str, value: Option<String>, field: &str) -> Result<(), String> {
        if let "readonly" | "ro" | "volume-nocopy" | "bind-nonrecursive" | "bind-create-src" = key {
            return self.set_switch(key, value.as_deref());
        }
        let Some(value) = value else {
            return Err(format!("invalid field '{field}' must be a key=value pair"));
        };
        let invalid = || format!("invalid value for {key}: {value}");
        match key {
            "type" => self.kind = kind(&value)?,
            "source" | "src" => self.source = Some(value),
            "target" | "dst" | "destination" => self.target = value,
            "tmpfs-size" => self.size_bytes = Some(bytes(&value).map_err(|_| invalid())?),
            "tmpfs-mode" => {
                self.mode_bits = Some(u32::from_str_radix(&value, 8).map_err(|_| invalid())?);
            }
            "volume-label" => self.labels.push(value::pair(&value)?),
            "volume-opt" => self.options.push(value::pair(&value)?),
            "volume-subpath" | "image-subpath" => self.subpath = value,
            "volume-driver" if value == "local" => {}
            "volume-driver" => return Err(format!("volume driver {value:?} is not supported")),
            "bind-propagation" => self.propagation = Some(value),
            "bind-recursive" if matches!(value.as_str(), "enabled" | "disabled") => {}
            "bind-recursive" if matches!(value.as_str(), "writable" | "readonly") => {
                self.recursion = Some(value);
            }
            "bind-recursive" => {
                let one_of = r#"(must be "enabled", "disabled", "writable", or "readonly")"#;
                return Err(format!("{} {one_of}", invalid()));
            }
            "consistency" if matches!(value.as_str(), "consistent" | "cached" | "delegated" | "default") => {}
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
        Ok(())
    }

    /// What is said of the mounts below a read-only one needs one, and that they stay as they are.
    fn check_recursion(&self) -> Result<(), String> {
        let Some(wish) = &self.recursion else { return Ok(()) };
        let needs = |what: &str| {
            Err(format!("option 'bind-recursive={wish}' requires '{what}' to be specified in conjunction"))
        };
        match (self.read_only, self.propagation.as_deref() == Some("rprivate")) {
            (false, _) => needs("readonly"),
            (true, false) if wish == "readonly" => needs("bind-propagation=rprivate"),
            (true, _) => Ok(()),
        }
    }

    fn set_switch(&mut self, key: &str, value: Option<&str>) -> Result<(), String> {
        let value = value.unwrap_or("true");
        let wanted = switch(value).map_err(|_| format!("invalid value for {key}: {value}"))?;
        match key {
            "volume-nocopy" => self.no_copy = wanted,
            "bind-create-src" => self.create = wanted,
            "bind-nonrecursive" => {}
            _ => self.read_only = wanted,
        }
        Ok(())
    }

    /// What the engine is asked for.
    ///
    /// # Errors
    /// A source that is missing, or that may not be there; a path that is not absolute.
    pub(crate) fn into_wish(self) -> Result<ContainerMount, String> {
        let fault = |what: &str| format!("invalid mount config for type {:?}: {what}", self.kind.name());
        let relative =
            |path: &str| fault(&format!("invalid mount path: '{path}' mount path must be absolute"));
        if !self.target.starts_with('/') {
            return Err(relative(&self.target));
        }
        if tidy(&self.target) == "/" {
            return Err(fault("invalid specification: destination can't be '/'"));
        }
        if !is_inside(&self.subpath) {
            return Err(fault("subpath must be a relative path within the volume"));
        }
        let source = match (self.kind, self.source) {
            (Kind::Bind, None) => return Err(fault("field Source must not be empty")),
            (Kind::Bind, Some(path)) if path.is_empty() => {
                return Err(fault("field Source must not be empty"));
            }
            (Kind::Bind, Some(path)) => {
                let path = from_here(&path);
                if !path.is_absolute() {
                    return Err(relative(&path.to_string_lossy()));
                }
                let propagation = self.propagation.filter(|word| !word.is_empty());
                if let Some(other) = propagation.as_deref().filter(|word| !is_propagation(word)) {
                    return Err(fault(&format!("invalid propagation mode: {other}")));
                }
                MountSource::Bind { path, create: self.create, propagation }
            }
            (Kind::Tmpfs, Some(_)) => return Err(fault("field Source must not be specified")),
            (Kind::Tmpfs, None) => MountSource::Tmpfs {
                size_bytes: self.size_bytes,
                mode_bits: self.mode_bits,
                exec: false,
                owner: (0, 0),
            },
            (Kind::Image, name) => {
                let name = name.filter(|name| !name.is_empty());
                let name = name.ok_or_else(|| fault("field Source must not be empty"))?;
                MountSource::Image { name, layers: Vec::new(), subpath: self.subpath }
            }
            (Kind::Volume, name) => {
                if !self.subpath.is_empty() && name.as_ref().is_none_or(String::is_empty) {
                    return Err(fault("must not set Subpath when using anonymous volumes"));
                }
                let mut source = volume(name.filter(|name| !name.is_empty()), self.no_copy);
                if let MountSource::Volume { subpath, labels, options, .. } = &mut source {
                    *subpath = self.subpath;
                    labels.extend(self.labels);
                    options.extend(self.options);
                }
                source
            }
        };
        Ok(ContainerMount {
            source,
            target: tidy(&self.target),
            read_only: self.read_only || self.kind == Kind::Image,
            mode: String::new(),
            long_form: true,
        })
    }
}

fn kind(name: &str) -> Result<Kind, String> {
    match name.to_ascii_lowercase().as_str() {
        "bind" => Ok(Kind::Bind),
        "volume" => Ok(Kind::Volume),
        "tmpfs" => Ok(Kind::Tmpfs),
        "image" => Ok(Kind::Image),
        _ => Err(format!("invalid mount config for type {name:?}: mount type unknown")),
    }
}

/// Whether a path leads nowhere above the place it begins at.
fn is_inside(path: &str) -> bool {
    let mut depth = 0_usize;
    Path::new(path).components().all(|part| match part {
        Component::Normal(_) => {
            depth += 1;
            true
        }
        Component::CurDir => true,
        Component::ParentDir => depth.checked_sub(1).map(|less| depth = less).is_some(),
        _ => false,
    })
}

fn volume(name: Option<String>, no_copy: bool) -> MountSource {
    // the engine gives one without a name its own
    let mut source = MountSource::anonymous_volume();
    if let MountSource::Volume { name: known, anonymous, no_copy: wish, .. } = &mut source {
        *anonymous = name.is_none();
        *known = name.unwrap_or_default();
        *wish = no_copy;
    }
    source
}

/// `-v [SOURCE:]TARGET[:OPTIONS]`.
///
/// # Errors
/// A text that is none, or options that are unknown; the words are Docker's.
pub(crate) fn parse_volume(text: &str) -> Result<ContainerMount, String> {
    if text.is_empty() {
        return Err("invalid empty volume spec".to_owned());
    }
    // what is so short is a place, whatever it is made of
    let parts: Vec<&str> = if text.len() <= 2 { vec![text] } else { text.split(':').collect() };
    if parts.iter().any(|part| part.is_empty()) {
        return Err(format!("invalid spec: {text}: empty section between colons"));
    }
    if parts.len() > 3 {
        return Err(format!("invalid volume specification: '{text}'"));
    }
    let (source, target, mode) = match parts[..] {
        [target] => (None, target, ""),
        [source, target] => (Some(source), target, ""),
        [source, target, mode] => (Some(source), target, mode),
        _ => return Err(format!("invalid spec: {text}")),
    };
    let options = VolumeOptions::parse(mode)?;
    let is_path = source.is_some_and(|source| source.starts_with(['/', '.', '~']));
    let fault = |what: &str| {
        let kind = if is_path { "bind" } else { "volume" };
        format!("invalid volume specification: '{text}': invalid mount config for type {kind:?}: {what}")
    };
    let target = match (target.starts_with('/'), source) {
        (false, None) => format!("/{target}"),
        (false, Some(_)) => {
            return Err(fault(&format!("invalid mount path: '{target}' mount path must be absolute")));
        }
        (true, _) => target.to_owned(),
    };
    let target = tidy(&target);
    if is_path && options.no_copy {
        return Err(fault("field VolumeOptions must not be specified"));
    }
    if !is_path && options.propagation.is_some() {
        return Err(fault("field BindOptions must not be specified"));
    }
    if target == "/" {
        return Err(fault("invalid specification: destination can't be '/'"));
    }
    let source = match source {
        Some(path) if is_path => {
            MountSource::Bind { path: from_here(path), create: true, propagation: options.propagation }
        }
        Some(name) if name.contains('/') => {
            return Err(format!(
                "create {name}: {name:?} includes invalid characters for a local volume name, only \
                 \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
            ));
        }
        name => volume(name.map(str::to_owned), options.no_copy),
    };
    let (read_only, mode) = (options.read_only, mode.to_owned());
    Ok(ContainerMount { source, target, read_only, mode, long_form: false })
}

#[derive(Default)]
struct VolumeOptions {
    read_only: bool,
    no_copy: bool,
    propagation: Option<String>,
}

/// Whether a word says which side of a mount sees what is mounted below it later.
fn is_propagation(word: &str) -> bool {
    matches!(word, "private" | "rprivate" | "slave" | "rslave" | "shared" | "rshared")
}

impl VolumeOptions {
    fn parse(mode: &str) -> Result<Self, String> {
        let mut options = Self::default();
        let mut access = false;
        let invalid = || format!("invalid mode: {mode}");
        for word in mode.split(',').filter(|_| !mode.is_empty()) {
            match word {
                "ro" | "rw" if access => return Err(invalid()),
                "ro" | "rw" => {
                    access = true;
                    options.read_only = word == "ro";
                }
                "nocopy" => options.no_copy = true,
                // labels of SELinux and promises of consistency mean nothing here
                "z" | "Z" | "consistent" | "cached" | "delegated" => {}
                _ if is_propagation(word) && options.propagation.is_none() => {
                    options.propagation = Some(word.to_owned());
                }
                _ => return Err(invalid()),
            }
        }
        Ok(options)
    }
}

/// `--tmpfs TARGET[:OPTIONS]`.
///
/// # Errors
/// Options that are unknown; the words are Docker's.
pub(crate) fn parse_tmpfs(text: &str) -> Result<ContainerMount, String> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    if !target.starts_with('/') {
        return Err(format!("invalid mount path: '{target}' mount path must be absolute"));
    }
    let mut mount = ContainerMount {
        source: MountSource::Tmpfs { size_bytes: None, mode_bits: None, exec: false, owner: (0, 0) },
        target: tidy(target),
        read_only: false,
        mode: options.to_owned(),
        long_form: false,
    };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let MountSource::Tmpfs { size_bytes, mode_bits, exec, owner } = &mut mount.source else { break };
        let invalid = || format!("invalid tmpfs option {option:?}");
        match option.split_once('=') {
            Some(("size", size)) => *size_bytes = Some(bytes(size).map_err(|_| invalid())?),
            Some(("mode", mode)) => *mode_bits = Some(u32::from_str_radix(mode, 8).map_err(|_| invalid())?),
            Some(("uid", uid)) => owner.0 = uid.parse().map_err(|_| invalid())?,
            Some(("gid", gid)) => owner.1 = gid.parse().map_err(|_| invalid())?,
            Some(("nr_inodes" | "nr_blocks", _)) => {
                return Err(format!("tmpfs option {option:?} is not supported"));
            }
            None if option == "exec" => *exec = true,
            None if option == "noexec" => *exec = false,
            None if matches!(option, "ro" | "rw") => mount.read_only = option == "ro",
            None if matches!(
                option,
                "nosuid"
                    | "suid"
                    | "nodev"
                    | "dev"
                    | "noatime"
                    | "atime"
                    | "relatime"
                    | "nodiratime"
                    | "sync"
                    | "async"
            ) => {}
            _ => return Err(invalid()),
        }
    }
    Ok(mount)
}

/// A path with neither `.` nor doubled slashes.
fn tidy(path: &str) -> String {
    let mut tidied = PathBuf::from("/");
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => tidied.push(name),
            Component::ParentDir => drop(tidied.pop()),
            _ => {}
        }
    }
    tidied.to_string_lossy().into_owned()
}

/// A path that begins with a dot is seen from the working directory, one with a tilde from the home directory.
fn from_here(path: &str) -> PathBuf {
    let home = crate::environment::variable("HOME").map(PathBuf::from);
    if let Some(rest) = path.strip_prefix('~')
        && let Some(home) = home.filter(|_| rest.is_empty() || rest.starts_with('/'))
    {
        return PathBuf::from(tidy(&format!("{}{rest}", home.display())));
    }
    if path.starts_with('.')
        && let Ok(here) = std::env::current_dir()
    {
        return PathBuf::from(tidy(&here.join(path).to_string_lossy()));
    }
    if path.starts_with('/') { PathBuf::from(tidy(path)) } else { PathBuf::from(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(text: &str) -> Result<ContainerMount, String> {
        parse(text)?.into_wish()
    }

    #[test]
    fn mounts() {
        let bind = wish("type=bind,src=/a/,dst=/b/../c,readonly").expect("a mount");
        assert_eq!(bind.source, MountSource::Bind { path: "/a".into(), create: false, propagation: None });
        assert_eq!((bind.target.as_str(), bind.read_only), ("/c", true));
        let tmpfs = wish("type=tmpfs,destination=/t,tmpfs-size=1m,tmpfs-mode=0700").expect("a mount");
        let expected = MountSource::Tmpfs {
            size_bytes: Some(1 << 20),
            mode_bits: Some(0o700),
            exec: false,
            owner: (0, 0),
        };
        assert_eq!(tmpfs.source, expected);
        let text = "source=v,target=/v,volume-nocopy=true,volume-label=a=b,volume-subpath=s";
        let MountSource::Volume { name, anonymous, no_copy, subpath, labels, .. } =
            wish(text).expect("a mount").source
        else {
            panic!("a volume");
        };
        assert_eq!((name.as_str(), anonymous, no_copy, subpath.as_str()), ("v", false, true, "s"));
        assert_eq!(labels.get("a").map(String::as_str), Some("b"));
    }

    #[test]
    fn faults_of_mounts() {
        let check =
            |text: &str, expected: &str| assert_eq!(wish(text).err().as_deref(), Some(expected), "{text}");
        check("type=bind,src=/tmp,dst=/m,foo=1", "unexpected key 'foo' in 'foo=1'");
        check("type=bind,src=/tmp,foo", "invalid field 'foo' must be a key=value pair");
        check("src=/x", "target is required");
        check("type=bind,dst=/m", "invalid mount config for type \"bind\": field Source must not be empty");
        check("type=bind,src=/t,dst=/m,readonly=maybe", "invalid value for readonly: maybe");
        check("type=tmpfs,dst=/m,tmpfs-mode=9", "invalid value for tmpfs-mode: 9");
        check(
            "type=bind,dst=/m,src=/t,volume-nocopy",
            "cannot mix 'volume-*' options with mount type 'bind'",
        );
        check(
            "type=bind,src=/t,dst=/a/..",
            "invalid mount config for type \"bind\": invalid specification: destination can't be '/'",
        );
        let needs = |what: &str| {
            format!("option 'bind-recursive=readonly' requires '{what}' to be specified in conjunction")
        };
        check("type=bind,src=/t,dst=/m,bind-recursive=readonly", &needs("readonly"));
        check("type=bind,src=/t,dst=/m,bind-recursive=readonly,ro", &needs("bind-propagation=rprivate"));
        assert!(wish("type=bind,src=/t,dst=/m,bind-recursive=readonly,ro,bind-propagation=rprivate").is_ok());
        assert!(wish("type=bind,src=/t,dst=/m,bind-recursive=writable,ro").is_ok());
        check(
            "src=v,dst=/m,volume-subpath=../x",
            "invalid mount config for type \"volume\": subpath must be a relative path within the volume",
        );
        check("type=image,dst=/m", "invalid mount config for type \"image\": field Source must not be empty");
        for subpath in ["../x", "/x", "a/../../b"] {
            check(
                &format!("type=image,src=i,dst=/m,image-subpath={subpath}"),
                "invalid mount config for type \"image\": subpath must be a relative path within the volume",
            );
        }
        assert!(wish("type=image,src=i,dst=/m,image-subpath=a/../b").is_ok_and(|mount| mount.read_only));
        check("type=zz,dst=/m", "invalid mount config for type \"zz\": mount type unknown");
    }

    #[test]
    fn volumes() {
        let bind = parse_volume("/a:/b:ro").expect("a mount");
        assert_eq!(bind.source, MountSource::Bind { path: "/a".into(), create: true, propagation: None });
        assert!(bind.read_only);
        let named = parse_volume("data:/d").expect("a mount");
        assert!(matches!(named.source, MountSource::Volume { anonymous: false, .. }));
        let anonymous = parse_volume("/d").expect("a mount");
        assert!(matches!(anonymous.source, MountSource::Volume { anonymous: true, .. }));
        for text in
            ["", ":/x", "/a:/b:/c:/d", "/a:/b:zz", "/a:/b:ro,rw", "v:rel", "rel/x:/y", "/t:/", "v:/x:shared"]
        {
            assert!(parse_volume(text).is_err(), "{text}");
        }
    }

    #[test]
    fn propagation() {
        let of = |mount: ContainerMount| match mount.source {
            MountSource::Bind { propagation, .. } => propagation,
            _ => None,
        };
        for word in ["private", "rprivate", "slave", "rslave", "shared", "rshared"] {
            let short = parse_volume(&format!("/a:/b:ro,{word}")).map(of);
            assert_eq!(short, Ok(Some(word.to_owned())));
            let long = wish(&format!("type=bind,src=/a,dst=/b,bind-propagation={word}")).map(of);
            assert_eq!(long, Ok(Some(word.to_owned())));
        }
        assert_eq!(parse_volume("/a:/b:shared,slave"), Err("invalid mode: shared,slave".to_owned()));
        assert_eq!(
            wish("type=bind,src=/a,dst=/b,bind-propagation=x"),
            Err("invalid mount config for type \"bind\": invalid propagation mode: x".to_owned())
        );
        assert_eq!(parse_volume(":").map(|mount| mount.target), Ok("/:".to_owned()));
    }

    #[test]
    fn file_systems_in_memory() {
        let mount = parse_tmpfs("/t:size=2m,mode=0700,exec,uid=5").expect("a mount");
        let expected = MountSource::Tmpfs {
            size_bytes: Some(2 << 20),
            mode_bits: Some(0o700),
            exec: true,
            owner: (5, 0),
        };
        assert_eq!(mount.source, expected);
        assert!(parse_tmpfs("rel").is_err() && parse_tmpfs("/t:foo").is_err());
    }
}
