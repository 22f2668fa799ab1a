//! What is asked of a build: the typed form of its command line.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::PathBuf;

use lighter_build::{Attach, CacheRules, CancelToken, OnError, RunSettings, Secret};
use lighter_image::{Platform, Reference};

/// What is asked of a build.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// The build context.
    pub context: ContextSource,
    /// `--file`; none for `Dockerfile` in the context.
    pub file: Option<FileSource>,
    /// `--build-context`, by name.
    pub named_contexts: BTreeMap<String, NamedContextSource>,
    /// `--target`.
    pub target: Option<String>,
    /// `--build-arg`, in order, with values: the caller has looked up those without one, and has put the proxy
    /// variables of the client's configuration in front.
    pub build_args: Vec<(String, String)>,
    /// `--label`, in order.
    pub labels: Vec<(String, String)>,
    /// `--tag`, in order, as they were given.
    pub tags: Vec<Reference>,
    /// `--annotation`: level-qualified key and value, as `manifest:org.opencontainers.image.title`.
    pub annotations: Vec<(String, String)>,
    /// `--platform`; none for the host's.
    pub platform: Option<Platform>,
    /// `--pull`.
    pub pull: Pull,
    /// `--no-cache`, `--no-cache-filter`.
    pub cache: CacheRules,
    /// `--cache-from`.
    pub cache_from: Vec<CacheLocation>,
    /// `--cache-to`.
    pub cache_to: Vec<CacheLocation>,
    /// `--secret`, by id.
    pub secrets: BTreeMap<String, SecretSource>,
    /// `--ssh`, by id.
    pub ssh: BTreeMap<String, SshSource>,
    /// How commands are run: `--network`, `--add-host`, `--shm-size`, `--ulimit`, `--allow`, limits.
    pub run: RunSettings,
    /// `--layers`, `--squash`.
    pub layers: LayerForm,
    /// `--output`; empty for an image in the store.
    pub outputs: Vec<Output>,
    /// `--jobs`; none for the number of processors, but at least 8.
    pub jobs: Option<usize>,
    /// `SOURCE_DATE_EPOCH` of the caller's environment. A build argument of that name counts more.
    pub source_date_epoch: Option<i64>,
    /// `--explain`.
    pub explain: bool,
    /// `--on-error`.
    pub on_error: OnError,
    /// Shows the terminal of a shell in a failed step; none where the shell has the caller's streams.
    pub attach: Option<Attach>,
    /// How large the build cache may become, in bytes; none for no limit.
    pub cache_limit_bytes: Option<u64>,
    /// The time of this build.
    pub now: jiff::Timestamp,
    /// How registries and web servers are talked to, if that is needed.
    pub registry: lighter_registry::Config,
    /// Stops the build.
    pub cancel: CancelToken,
}

impl BuildRequest {
    /// A request for the Dockerfile of a context, with nothing special.
    pub fn new(context: ContextSource, now: jiff::Timestamp) -> Self {
        Self {
            context,
            file: None,
            named_contexts: BTreeMap::new(),
            target: None,
            build_args: Vec::new(),
            labels: Vec::new(),
            tags: Vec::new(),
            annotations: Vec::new(),
            platform: None,
            pull: Pull::Missing,
            cache: CacheRules::default(),
            cache_from: Vec::new(),
            cache_to: Vec::new(),
            secrets: BTreeMap::new(),
            ssh: BTreeMap::new(),
            run: RunSettings::default(),
            layers: LayerForm::PerStep,
            outputs: Vec::new(),
            jobs: None,
            source_date_epoch: None,
            explain: false,
            on_error: OnError::Remove,
            attach: None,
            cache_limit_bytes: None,
            now,
            registry: lighter_registry::Config::default(),
            cancel: CancelToken::new(),
        }
    }
}

/// Where the build context is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContextSource {
    /// A folder.
    Directory(PathBuf),
    /// Standard input: an archive (packed or not), or a Dockerfile without a context.
    Stdin,
    /// A git repository, an archive or a Dockerfile behind an address.
    Url(String),
}

/// Where the Dockerfile is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileSource {
    /// A file: relative to the caller's folder where the context is a folder, else to the context's top.
    Path(PathBuf),
    /// Standard input.
    Stdin,
    /// An address.
    Url(String),
}

/// What a named context is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedContextSource {
    /// A folder.
    Directory(PathBuf),
    /// `docker-image://NAME`.
    Image(String),
    /// `oci-layout://PATH[:TAG|@DIGEST]`.
    OciLayout(String),
    /// `target:STAGE`.
    Stage(String),
    /// A git repository or an archive behind an address.
    Url(String),
}

/// When bases are asked for at their registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pull {
    /// When the store lacks them.
    #[default]
    Missing,
    /// Always: `--pull`.
    Always,
}

/// Where a secret's content is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In a file.
    File(PathBuf),
    /// Here: the value of a variable.
    Value(Secret),
}

/// What stands behind an SSH mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SshSource {
    /// The agent whose socket `$SSH_AUTH_SOCK` named.
    Agent(PathBuf),
    /// Key files: an agent is made for them.
    Keys(Vec<PathBuf>),
}

/// `--cache-from` or `--cache-to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheLocation {
    /// `local`, `registry`, `inline`.
    pub kind: String,
    /// All else that was given: `dest`, `src`, `ref`, `mode`, …
    pub attributes: BTreeMap<String, String>,
}

/// What the layers of the image are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LayerForm {
    /// Each step makes one.
    #[default]
    PerStep,
    /// Neighbouring COPY and ADD instructions make one together.
    MergeCopy,
    /// All steps make one together, on top of the base.
    Squash,
}

/// Something that the build shall write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// What.
    pub kind: OutputKind,
    /// Where to.
    pub destination: Destination,
    /// How.
    pub options: OutputOptions,
}

/// What a build can write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputKind {
    /// An image in the store.
    Image,
    /// An image in the store, that is pushed to its registry too.
    Registry,
    /// An archive as `docker save` writes it; without a destination, an image in the store.
    Docker,
    /// An OCI layout: an archive, or a folder with `tar=false`.
    Oci,
    /// An archive of the files.
    Tar,
    /// The files, in a folder.
    Local,
    /// Nothing: the steps are made, and stay in the cache.
    CacheOnly,
}

/// Where an output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// To the store.
    Store,
    /// To a file or folder.
    Path(PathBuf),
    /// To standard output.
    Stdout,
}

/// How an output is written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct OutputOptions {
    /// `name=`: names, where there is no `--tag`.
    pub names: Vec<Reference>,
    /// `compression=`.
    pub compression: Option<Compression>,
    /// `compression-level=`.
    pub compression_level: Option<i32>,
    /// `force-compression=`: layers that are packed otherwise are packed anew.
    pub force_compression: bool,
    /// `rewrite-timestamp=`: times later than `SOURCE_DATE_EPOCH` become that.
    pub rewrite_timestamp: bool,
    /// `tar=`: whether an OCI layout is one archive.
    pub tar: Option<bool>,
    /// `push=`.
    pub push: bool,
    /// `store=`: whether the store keeps the image.
    pub store: Option<bool>,
    /// `platform-split=`: whether the files are in a folder named for their platform.
    pub platform_split: bool,
    /// `push-by-digest=`.
    pub push_by_digest: bool,
    /// `oci-mediatypes=`.
    pub oci_media_types: Option<bool>,
    /// `annotation.KEY=`, `annotation-index.KEY=`, …: by what stands before the `=`.
    pub annotations: BTreeMap<String, String>,
}

/// How layers are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// Not at all.
    Uncompressed,
    /// gzip.
    #[default]
    Gzip,
    /// Zstandard.
    Zstd,
}

/// The caller's standard streams.
pub struct Streams<'a> {
    /// What a context or Dockerfile on standard input is read from.
    pub stdin: Box<dyn Read + Send + 'a>,
    /// What an output to standard output is written to.
    pub stdout: Box<dyn Write + Send + 'a>,
}

impl std::fmt::Debug for Streams<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Streams")
    }
}
