//! What a Dockerfile means for one request: a list of steps, each of which names all that it depends on.
//!
//! A plan is a value. Nothing in it points back to the text, except spans and line numbers for messages. The
//! metadata instructions (ENV, CMD, LABEL, …) are no steps: they are already in the steps that follow them
//! and in the final configuration.

mod args;
mod copy;
mod copy_step;
mod expose;
mod git;
mod go_text;
mod graph;
mod kept;
mod lower;
mod metadata;
mod names;
mod naming;
mod outline;
mod reach;
mod request;
mod run;
mod run_step;
mod scope;
mod signal;
mod stage;
mod stage_needs;

use lighter_image::ImageConfig;
use serde::Serialize;

pub use copy::{Checksum, Chmod, Copy, GitSource, HttpSource, InlineFile, PathSource, Source};
pub use git::GitReference;
pub use lower::{Bases, early_warnings, lower};
pub use outline::{Outline, OutlineArg, OutlineSecret};
pub use request::{Base, BaseNeed, NamedContext, Request};
pub use run::{CacheSharing, Device, MountKind, Run, RunMount, RunNetwork, RunSecurity};
pub use stage::DEFAULT_PATH;
pub(crate) use stage_needs::{StageNeeds, stage_needs};

use crate::diagnostic::{Diagnostic, Lines, Span};
use lighter_image::Platform;

/// What became of an attempt to plan.
#[derive(Debug, Clone)]
pub enum Lowered {
    /// The configurations of these images must be known first. Ask again with them; there may be further
    /// needs, as triggers of a base image can name other images.
    NeedsBases(Vec<BaseNeed>),
    /// The plan.
    Plan(Box<Plan>),
    /// All that is wrong with the file for this request. At least one is an error.
    Faults(Vec<Diagnostic>),
}

/// The steps that a target needs, and the configuration of the image that they make.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// The steps: each stands after those that it uses. A step's id is its index.
    pub steps: Vec<Step>,
    /// The step whose root file system is the result; `None` for an image without any layer.
    pub result: Option<StepId>,
    /// The image's configuration. `rootfs` is empty and `created` is absent; `history` holds the base's entries,
    /// then one per instruction of this build, whose `created` is absent too: all times are the builder's.
    pub config: ImageConfig,
    /// How many of the first entries of `config.history` are the base image's.
    pub base_history_len: usize,
    /// The base image at the bottom of the result: its layers come first.
    pub base: Option<StepId>,
    /// For each entry of this build in `config.history` that is not empty: the step that makes its layer.
    /// With the base's layers these are all the layers of the image, bottom first.
    pub layers_from: Vec<StepId>,
    /// The name of the stage that is built: `stage-1` where it has none.
    pub target: String,
    /// For what platform.
    pub platform: Platform,
    /// `SOURCE_DATE_EPOCH` of the request, in seconds: the time of the image, its history, and of the folders
    /// that WORKDIR makes.
    pub epoch: Option<i64>,
    /// What could be better.
    pub warnings: Vec<Diagnostic>,
    /// What the target can be given.
    pub outline: Outline,
    /// What RUN calls the machine, where the request says so.
    pub hostname: Option<String>,
}

impl Plan {
    /// The step with the id.
    pub fn step(&self, id: StepId) -> &Step {
        &self.steps[id.index()]
    }
}

/// A step of a plan, by its place in [`Plan::steps`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct StepId(pub u32);

impl StepId {
    /// Its index in [`Plan::steps`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// One node of the graph: it makes a root file system out of others.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// Its place.
    pub id: StepId,
    /// The step on whose root file system it stands; `None` for an empty one.
    pub parent: Option<StepId>,
    /// What it does. This, the parent and the steps named in it are all that its result depends on.
    pub op: Op,
    /// How it is shown: `[build 2/5] RUN make`.
    pub name: String,
    /// The stage it belongs to: the given name, else `stage-1`. Empty for an image that only a COPY or a mount
    /// names.
    pub stage: String,
    /// The instruction in the source. For a trigger: the FROM that pulled it.
    pub span: Span,
    /// The same, in lines.
    pub lines: Lines,
    /// The instruction's text, as written.
    pub text: String,
    /// `created_by` of the layer's history; empty for a base image.
    pub made_by: String,
}

impl Step {
    /// All the steps whose results it uses: the parent first, then sources of files.
    pub fn inputs(&self) -> Vec<StepId> {
        let files: Vec<&Files> = match &self.op {
            Op::Image(_) | Op::Workdir(_) => Vec::new(),
            Op::Run(run) => run.mounts.iter().filter_map(|mount| mount.kind.files()).collect(),
            Op::Copy(copy) => vec![&copy.from],
        };
        let mut inputs: Vec<StepId> = self.parent.into_iter().collect();
        for files in files {
            if let Files::Step(id) = files
                && !inputs.contains(id)
            {
                inputs.push(*id);
            }
        }
        inputs
    }
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Takes the file system of an image. Has no parent.
    Image(ImageSource),
    /// Runs a command.
    Run(Run),
    /// Copies files in: COPY and ADD.
    Copy(Copy),
    /// Makes a folder, with its parents.
    Workdir(Workdir),
}

/// An image by name: the reference and platform of the [`BaseNeed`] that its configuration came by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct ImageSource {
    /// Its full name, as `docker.io/library/busybox:latest`, or what a named context says.
    pub reference: String,
    /// For what platform.
    pub platform: Platform,
}

/// The folder that WORKDIR makes if it is absent: mode 0755, missing parents too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Workdir {
    /// Absolute and clean; never `/`.
    pub path: String,
    /// `USER` at that point: the owner of what is made; empty for root.
    pub owner: String,
}

/// A tree of files to take from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Files {
    /// The build context.
    Context,
    /// A named context of files.
    NamedContext(String),
    /// What a step has made.
    Step(StepId),
    /// Nothing: a stage or mount from `scratch`.
    Empty,
}

#[cfg(test)]
mod tests;
