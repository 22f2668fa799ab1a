//! What a step's result depends on, and so what its key is made of.
//!
//! | part | of | its value | hidden by |
//! | --- | --- | --- | --- |
//! | `instruction` | RUN | the final words; the names and contents of inline scripts | |
//! | | COPY, ADD | destination, patterns, flags; the names and contents of inline files | |
//! | | WORKDIR | the path and the owner | |
//! | `variable` | RUN | each ENV and ARG that the process gets, by name | the predefined proxy arguments, unless declared |
//! | `setting` | RUN | user, folder, network, security, host name, extra hosts, `/dev/shm`, limits on open files and the like, devices | |
//! | | COPY, ADD, WORKDIR | `SOURCE_DATE_EPOCH` | |
//! | `mount` | RUN | by target: kind, source and flags; for `bind` and `cache` also what the tree holds | the content of secrets and sockets is never in a key |
//! | `platform` | RUN, ADD of an address | the target platform | |
//! | `base` | first step of a stage | the layers of the image, by diff id | |
//! | `parent` | the other steps | the layers below, by identity | `--link` |
//! | `file` | COPY, ADD | the tree digest of what is selected: paths, types, modes, owners, link targets, extended attributes, contents; never times | modes by an octal `--chmod`, owners by `--chown`, owners in a context by rule |
//! | `url` | ADD | by address: the digest of the answer, or the checksum that is asked for | |
//! | `git` | ADD | by repository and reference: the commit | |
//!
//! What does not enter: names of stages, the wording of an instruction, comments, tags, labels and other metadata, the
//! context's place, the time, `--jobs`, cgroup limits.
//!
//! The parts of the instruction itself are the **definition**. The **quick key** is the digest of the definition and of
//! the identities of the inputs: a layer that this store has made is known by its name here, which costs no reading at
//! all. Where the quick key is not known but the definition is, the inputs are compared by content with those of the
//! earlier records: that is early cutoff, in the module of that name.

use lighter_dockerfile::plan::{
    CacheSharing, Chmod, Copy, Files, MountKind, Op, Run, RunMount, RunNetwork, RunSecurity, Source, Workdir,
};
use lighter_image::{Digest, Hasher, Platform};

use crate::RunSettings;
use crate::explain::{Part, PartKind};

/// Raised when the same parts shall no longer mean the same result.
const VERSION: &str = "lighter step 3";

/// The digest of named parts: each is written with its lengths, so that no two lists look the same.
pub(crate) fn digest_of(label: &str, parts: &[Part]) -> Digest {
    let mut hasher = Hasher::new();
    let mut field = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    field(VERSION);
    field(label);
    for part in parts {
        // where a variable comes from is told, but makes no other result
        let kind = if part.kind == PartKind::Argument { PartKind::Variable } else { part.kind };
        field(&[kind as u8 as char].iter().collect::<String>());
        field(&part.name);
        field(&part.value);
    }
    hasher.finish()
}

/// What a step does, without what it does it to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Definition {
    pub(crate) parts: Vec<Part>,
    pub(crate) digest: Digest,
}

impl Definition {
    /// The definition of an operation; none for an image, which is its own key.
    pub(crate) fn of(
        op: &Op,
        platform: &Platform,
        settings: &RunSettings,
        epoch: Option<i64>,
    ) -> Option<Self> {
        let mut parts = match op {
            Op::Image(_) => return None,
            Op::Run(run) => run_parts(run, platform, settings),
            Op::Copy(copy) => copy_parts(copy, platform),
            Op::Workdir(workdir) => workdir_parts(workdir),
        };
        // what these make has that time
        if let (Op::Copy(_) | Op::Workdir(_), Some(epoch)) = (op, epoch) {
            parts.push(setting("SOURCE_DATE_EPOCH", epoch.to_string()));
        }
        let digest = digest_of("definition", &parts);
        Some(Self { parts, digest })
    }

    /// The quick key: this, done to inputs with these identities.
    pub(crate) fn key(&self, inputs: &[Part]) -> Digest {
        let mut parts = vec![Part::new(PartKind::Instruction, "", self.digest.to_string())];
        parts.extend_from_slice(inputs);
        digest_of("key", &parts)
    }
}

fn instruction(name: impl Into<String>, value: impl Into<String>) -> Part {
    Part::new(PartKind::Instruction, name, value)
}

fn setting(name: impl Into<String>, value: impl Into<String>) -> Part {
    Part::new(PartKind::Setting, name, value)
}

fn run_parts(run: &Run, platform: &Platform, settings: &RunSettings) -> Vec<Part> {
    let mut parts = vec![
        instruction("", format!("RUN {}", quoted(&run.args))),
        Part::new(PartKind::Platform, "", platform.to_string()),
        setting("user", run.user.clone()),
        setting("folder", run.cwd.clone()),
        setting("network", network_name(settings.network_of(run))),
    ];
    for file in &run.files {
        parts.push(instruction(format!("script {}", file.name), Digest::of(&file.content).to_string()));
    }
    for (name, value) in &run.env {
        let kind = if run.arguments.contains(name) { PartKind::Argument } else { PartKind::Variable };
        parts.push(Part::new(kind, name.clone(), value.clone()));
    }
    if run.security == RunSecurity::Insecure {
        parts.push(setting("security", "insecure"));
    }
    if let Some(hostname) = &settings.hostname {
        parts.push(setting("hostname", hostname.clone()));
    }
    for (name, address) in &settings.extra_hosts {
        let address = address.map_or_else(|| "host-gateway".to_owned(), |address| address.to_string());
        parts.push(setting(format!("host {name}"), address));
    }
    if let Some(size_bytes) = settings.shm_size_bytes {
        parts.push(setting("shm-size", size_bytes.to_string()));
    }
    for (name, soft, hard) in &settings.ulimits {
        parts.push(setting(format!("ulimit {name}"), format!("{soft}:{hard}")));
    }
    for device in &run.devices {
        parts.push(setting(format!("device {}", device.name), device.required.to_string()));
    }
    parts.extend(run.mounts.iter().map(mount_part));
    parts
}

/// A mount by its target, with all that is said about it; trees come as inputs, secrets never.
fn mount_part(mount: &RunMount) -> Part {
    let access = if mount.read_only { "ro" } else { "rw" };
    let value = match &mount.kind {
        MountKind::Bind { from, source } => format!("bind {} {source} {access}", tree_name(from)),
        MountKind::Cache { id, from, source, sharing, mode, uid, gid } => {
            let sharing = match sharing {
                CacheSharing::Shared => "shared",
                CacheSharing::Private => "private",
                CacheSharing::Locked => "locked",
            };
            format!("cache {id} {} {source} {sharing} {mode:?} {uid:?} {gid:?} {access}", tree_name(from))
        }
        MountKind::Tmpfs { size_bytes } => format!("tmpfs {size_bytes}"),
        MountKind::Secret { id, mode, uid, gid, env, required } => {
            format!("secret {id} {mode:o} {uid} {gid} {env:?} {required}")
        }
        MountKind::Ssh { id, mode, uid, gid, required } => {
            format!("ssh {id} {mode:o} {uid} {gid} {required}")
        }
    };
    Part::new(PartKind::Mount, mount.target.as_deref().unwrap_or_default(), value)
}

/// What kind of tree it is: which one is an input, told by content.
const fn tree_name(files: &Files) -> &'static str {
    match files {
        Files::Context | Files::NamedContext(_) => "context",
        Files::Step(_) => "stage",
        Files::Empty => "scratch",
    }
}

const fn network_name(network: RunNetwork) -> &'static str {
    match network {
        RunNetwork::Default => "default",
        RunNetwork::None => "none",
        RunNetwork::Host => "host",
    }
}

fn copy_parts(copy: &Copy, platform: &Platform) -> Vec<Part> {
    let verb = if copy.is_add { "ADD" } else { "COPY" };
    let slash = if copy.destination_is_folder { "/" } else { "" };
    let mut parts = vec![
        instruction("", verb),
        instruction("destination", format!("{}{slash}", copy.destination)),
        instruction("from", tree_name(&copy.from)),
    ];
    if let Some(chown) = &copy.chown {
        parts.push(instruction("--chown", chown.clone()));
    }
    match &copy.chmod {
        Some(Chmod::Bits(bits)) => parts.push(instruction("--chmod", format!("{bits:o}"))),
        Some(Chmod::Symbolic(text)) => parts.push(instruction("--chmod", text.clone())),
        None => {}
    }
    for (name, given) in [("--link", copy.link), ("--parents", copy.parents)] {
        if given {
            parts.push(instruction(name, ""));
        }
    }
    if let Some(unpack) = copy.unpack {
        parts.push(instruction("--unpack", unpack.to_string()));
    }
    for exclude in &copy.excludes {
        parts.push(instruction("--exclude", exclude.clone()));
    }
    parts.extend(copy.sources.iter().map(source_part));
    if copy.sources.iter().any(|source| matches!(source, Source::Http(_) | Source::Git(_))) {
        parts.push(Part::new(PartKind::Platform, "", platform.to_string()));
    }
    parts
}

fn source_part(source: &Source) -> Part {
    match source {
        Source::Path(path) => instruction("source", format!("{} {}", path.pattern, path.kept)),
        Source::Inline(file) => {
            instruction(format!("inline {}", file.name), Digest::of(&file.content).to_string())
        }
        Source::Http(http) => instruction("address", format!("{} {}", http.url, http.name)),
        Source::Git(git) => instruction(
            "repository",
            format!(
                "{}#{}:{} {} {}",
                git.remote, git.reference, git.subdirectory, git.keep_git_dir, git.submodules
            ),
        ),
    }
}

fn workdir_parts(workdir: &Workdir) -> Vec<Part> {
    vec![
        instruction("", "WORKDIR"),
        instruction("path", workdir.path.clone()),
        instruction("owner", workdir.owner.clone()),
    ]
}

/// Words as one line: quoted where a shell would need it.
pub(crate) fn quoted(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    let words = words.iter().map(|word| {
        if !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use lighter_dockerfile::plan::{InlineFile, PathSource};
    use proptest::prelude::*;

    use super::*;

    fn copy() -> Copy {
        let pattern = |text: &str| {
            Source::Path(PathSource {
                pattern: text.to_owned(),
                kept: String::new(),
                text: text.to_owned(),
                has_wildcards: false,
            })
        };
        Copy {
            is_add: false,
            from: Files::Context,
            sources: vec![pattern("/a"), pattern("/b")],
            destination: "/d".to_owned(),
            destination_is_folder: true,
            chown: None,
            chmod: None,
            link: false,
            parents: false,
            excludes: Vec::new(),
            unpack: None,
        }
    }

    fn digest(copy: Copy) -> Digest {
        let platform = "linux/amd64".parse().unwrap();
        Definition::of(&Op::Copy(copy), &platform, &RunSettings::default(), None).unwrap().digest
    }

    #[test]
    fn the_epoch_counts_where_it_is_seen() {
        let platform = "linux/amd64".parse().unwrap();
        let digest = |epoch| {
            let op = Op::Workdir(Workdir { path: "/w".to_owned(), owner: String::new() });
            Definition::of(&op, &platform, &RunSettings::default(), epoch).unwrap().digest
        };
        assert_ne!(digest(None), digest(Some(0)));
        assert_ne!(digest(Some(1)), digest(Some(0)));
    }

    #[test]
    fn every_flag_of_a_copy_counts() {
        let plain = digest(copy());
        assert_eq!(plain, digest(copy()));
        let variants = [
            Copy { is_add: true, ..copy() },
            Copy { destination: "/e".to_owned(), ..copy() },
            Copy { destination_is_folder: false, ..copy() },
            Copy { chown: Some("1".to_owned()), ..copy() },
            Copy { chmod: Some(Chmod::Bits(0o644)), ..copy() },
            Copy { link: true, ..copy() },
            Copy { parents: true, ..copy() },
            Copy { excludes: vec!["x".to_owned()], ..copy() },
            Copy { unpack: Some(false), ..copy() },
            Copy { sources: copy().sources.into_iter().rev().collect(), ..copy() },
            Copy {
                sources: vec![Source::Inline(InlineFile { name: "a".to_owned(), content: "x".to_owned() })],
                ..copy()
            },
        ];
        let mut digests: Vec<Digest> = variants.into_iter().map(digest).collect();
        digests.push(plain);
        let count = digests.len();
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), count);
    }

    #[test]
    fn the_wording_of_a_source_does_not_count() {
        let mut other = copy();
        if let Some(Source::Path(path)) = other.sources.first_mut() {
            path.text = "./a".to_owned();
        }
        assert_eq!(digest(other), digest(copy()));
    }

    #[test]
    fn words_are_quoted_where_a_shell_needs_it() {
        let words = ["/bin/sh", "-c", "echo 'a' b", ""].map(str::to_owned);
        assert_eq!(quoted(&words), r"/bin/sh -c 'echo '\''a'\'' b' ''");
    }

    proptest! {
        #[test]
        fn different_parts_have_different_digests(
            a in proptest::collection::vec(("[ab]{0,2}", "[ab]{0,2}"), 0..3),
            b in proptest::collection::vec(("[ab]{0,2}", "[ab]{0,2}"), 0..3),
        ) {
            let parts = |list: &[(String, String)]| -> Vec<Part> {
                list.iter().map(|(name, value)| setting(name.clone(), value.clone())).collect()
            };
            prop_assert_eq!(digest_of("x", &parts(&a)) == digest_of("x", &parts(&b)), a == b);
        }
    }
}
