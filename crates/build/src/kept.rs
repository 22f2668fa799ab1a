//! What a failed step leaves for `--on-error=keep`: its root, and what its command was given.

use std::fmt;
use std::path::{Path, PathBuf};

use lighter_dockerfile::plan::{Files, MountKind, Run, RunMount};
use lighter_image::ImagePath;
use lighter_store::{LayerId, NewLayer, Scratch, Store};
use serde::{Deserialize, Serialize};

use crate::StepError;
use crate::op::mounts::{self, Mounted, cache_id};
use crate::op::{Below, run};
use crate::snapshot::Snapshot;

/// The root of a failed step, and what its command was given: enough to look around in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptRoot {
    /// The layers, bottom first; the last one is what the command has changed before it failed.
    pub layers: Vec<LayerId>,
    /// Where the last one is.
    pub path: PathBuf,
    /// The words that were run.
    pub args: Vec<String>,
    /// The variables that they were given, `NAME=value`; no secret is among them.
    pub env: Vec<String>,
    /// `USER`; empty for root.
    pub user: String,
    /// The same in numbers: user, group, further groups.
    #[serde(default)]
    pub ids: (u32, u32, Vec<u32>),
    /// The working directory.
    pub cwd: String,
    /// What was mounted, in order.
    #[serde(default)]
    pub mounts: Vec<KeptMount>,
}

/// A mount of a failed step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptMount {
    /// Where.
    pub target: String,
    /// Whether the command could only read it.
    pub read_only: bool,
    /// What.
    pub source: KeptSource,
}

/// What can be mounted once more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeptSource {
    /// A new file system in memory; 0 bytes are no limit.
    Tmpfs {
        /// How large it may become.
        size_bytes: u64,
    },
    /// A cache mount, by the name that the store has for it.
    Cache {
        /// The name.
        id: String,
        /// What of it was shown.
        #[serde(default)]
        path: String,
    },
    /// A path in the layers of a stage or an image, bottom first.
    Layers {
        /// The layers.
        layers: Vec<LayerId>,
        /// The path.
        path: String,
    },
    /// What lasted only as long as the build, in words.
    Gone(String),
}

impl KeptRoot {
    /// All layers that are needed to look around.
    pub fn all_layers(&self) -> Vec<LayerId> {
        let mounted = self.mounts.iter().filter_map(|mount| match &mount.source {
            KeptSource::Layers { layers, .. } => Some(layers),
            _ => None,
        });
        let mut all = self.layers.clone();
        all.extend(mounted.flatten().cloned());
        all
    }

    /// The directories of its layers, bottom first.
    ///
    /// # Errors
    /// Where one is gone.
    pub fn dirs(&self, store: &Store) -> Result<Vec<PathBuf>, StepError> {
        dirs(store, &self.layers)
    }

    /// Makes its mounts once more, but for those that are gone; `beside` is a folder for what they need on the disk.
    ///
    /// # Errors
    /// Where one cannot be made.
    pub fn mount_again(&self, store: &Store, beside: &Path) -> Result<Mounted, StepError> {
        mounts::again(store, &self.mounts, beside)
    }
}

pub(crate) fn dirs(store: &Store, layers: &[LayerId]) -> Result<Vec<PathBuf>, StepError> {
    let mut dirs = Vec::with_capacity(layers.len());
    for layer in layers {
        if !store.is_usable(layer).map_err(StepError::store)? {
            return Err(StepError::Refused(format!("layer {layer} of the root is no longer in the store")));
        }
        dirs.extend(store.layer_dirs(layer).map_err(StepError::store)?);
    }
    Ok(dirs)
}

impl fmt::Display for KeptRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

/// Keeps the root of a command that failed; `scratch` is what it has changed.
pub(crate) fn keep(
    store: &Store,
    command: &Run,
    below: &Below<'_>,
    scratch: Scratch,
) -> Result<KeptRoot, StepError> {
    let mut layers = layer_ids(store, below.parent)?;
    let top = store.commit_layer(scratch, NewLayer::default()).map_err(StepError::store)?;
    let path = store.layer_path(&top);
    layers.push(top);
    let (user, home) = run::user_of(command, &dirs(store, &layers)?)?;
    let mut env: Vec<String> = run::variables(command).collect();
    env.extend(home.map(|home| format!("HOME={home}")));
    let mounts = command.mounts.iter().map(|mount| kept(store, mount, below)).collect::<Result<_, _>>()?;
    Ok(KeptRoot {
        layers,
        path,
        args: command.args.clone(),
        env,
        user: command.user.clone(),
        ids: (user.uid, user.gid, user.groups),
        cwd: command.cwd.clone(),
        mounts,
    })
}

fn kept(store: &Store, mount: &RunMount, below: &Below<'_>) -> Result<KeptMount, StepError> {
    let of_layers = |layers, source| KeptSource::Layers { layers, path: ImagePath::new(source).to_string() };
    let source = match &mount.kind {
        MountKind::Bind { from, source } => match from {
            Files::Step(id) => of_layers(layer_ids(store, below.snapshot(*id))?, source),
            Files::Empty => of_layers(Vec::new(), source),
            Files::Context => KeptSource::Gone("files of the build context".to_owned()),
            Files::NamedContext(name) => KeptSource::Gone(format!("files of the context {name}")),
        },
        MountKind::Cache { id, from, source, .. } => {
            let path = mounts::part_of_cache(from, source).to_owned();
            KeptSource::Cache { id: cache_id(below, id, &mount.kind), path }
        }
        MountKind::Tmpfs { size_bytes } => KeptSource::Tmpfs { size_bytes: *size_bytes },
        MountKind::Secret { id, .. } => KeptSource::Gone(format!("secret {id}")),
        MountKind::Ssh { id, .. } => KeptSource::Gone(format!("SSH agent {id}")),
    };
    let target = mount.target.clone().unwrap_or_default();
    Ok(KeptMount { target, read_only: mount.read_only, source })
}

/// The layers of a snapshot that are here.
fn layer_ids(store: &Store, snapshot: &Snapshot) -> Result<Vec<LayerId>, StepError> {
    let mut ids = Vec::new();
    for layer in snapshot.layers() {
        ids.extend(layer.id_in(store).map_err(StepError::store)?);
    }
    Ok(ids)
}
