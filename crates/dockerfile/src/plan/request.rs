//! What a plan is made for, and what must be known for it.

use std::collections::BTreeMap;

use lighter_image::{ImageConfig, Platform};
use serde::Serialize;

use crate::diagnostic::Span;

/// What is asked of a Dockerfile.
#[derive(Debug, Clone)]
pub struct Request {
    /// `--build-arg`, in order: the last of a name counts. `BUILDKIT_DOCKERFILE_CHECK` stands for the `# check=` of the
    /// file, `BUILDKIT_CACHE_MOUNT_NS` in front of the names of cache mounts.
    pub build_args: Vec<(String, String)>,
    /// `--target`: a stage's name; `None` for the last stage.
    pub target: Option<String>,
    /// The platform to build for.
    pub platform: Platform,
    /// Whether `--platform` was given: then the image is for that platform, whatever its base says.
    pub platform_is_explicit: bool,
    /// The platform that builds.
    pub build_platform: Platform,
    /// `--label`, in order.
    pub labels: Vec<(String, String)>,
    /// `--build-context`, by name.
    pub named_contexts: BTreeMap<String, NamedContext>,
    /// Whether several platforms are built: step names then say which.
    pub several_platforms: bool,
    /// `SOURCE_DATE_EPOCH` of the caller's environment, unless a build argument of that name is given.
    pub epoch: Option<i64>,
    /// The time of the context, for `SOURCE_DATE_EPOCH=context`: that of a repository's commit, or of a file of the web.
    pub context_epoch: Option<i64>,
    /// The patterns of `.dockerignore`, for the check that a COPY names an ignored file.
    pub ignore: Option<crate::ignore::Patterns>,
    /// What RUN shall call the machine; a build argument `BUILDKIT_SANDBOX_HOSTNAME` says the same.
    pub hostname: Option<String>,
    /// Whether every stage is looked at, as the checks do without a target.
    pub all_stages: bool,
}

impl Request {
    /// A request for the last stage, with nothing special.
    pub fn new(platform: Platform) -> Self {
        Self {
            build_args: Vec::new(),
            target: None,
            build_platform: platform.clone(),
            platform,
            platform_is_explicit: false,
            labels: Vec::new(),
            named_contexts: BTreeMap::new(),
            several_platforms: false,
            epoch: None,
            context_epoch: None,
            ignore: None,
            hostname: None,
            all_stages: false,
        }
    }
}

/// What a name means that `--build-context` gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NamedContext {
    /// An image: `docker-image://…` without the prefix, or another name that the caller understands, such as
    /// `oci-layout://…`. It comes back as [`BaseNeed::reference`], completed if it is an image's name.
    Image(String),
    /// Files: a folder, an archive, a git repository. The caller fetches them by the context's name.
    Files,
    /// Another stage of this file: `target:NAME`.
    Stage(String),
}

/// An image whose configuration must be known.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct BaseNeed {
    /// Its full name, as `docker.io/library/busybox:latest`, or what a named context says.
    pub reference: String,
    /// For what platform.
    pub platform: Platform,
    /// The name as written, for messages.
    pub written: String,
    /// The FROM, COPY or RUN that names it.
    pub span: Span,
    /// The nearest stage or common image name, if the name looks misspelt.
    pub help: Option<String>,
}

impl BaseNeed {
    /// What an answer is found by: the image and its platform.
    pub fn key(&self) -> super::ImageSource {
        super::ImageSource { reference: self.reference.clone(), platform: self.platform.clone() }
    }
}

/// What is known of an image.
#[derive(Debug, Clone)]
pub struct Base {
    /// Its configuration.
    pub config: ImageConfig,
    /// The digest of its manifest, if known: shown behind its name.
    pub digest: Option<lighter_image::Digest>,
}
