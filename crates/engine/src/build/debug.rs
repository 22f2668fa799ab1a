//! `build debug`: a look around in the root of a step that failed.

use lighter_build::{Attach, KeptRoot, StepError, plain};
use lighter_sandbox::{Network, Root, SandboxError, Spec, Stdio, User, WaitError, spawn};
use lighter_store::{FileError, LayerError, Store};

/// What is run where nothing is said.
const SHELL: &str = "/bin/sh";

/// Why nobody can look around.
#[derive(Debug, thiserror::Error)]
pub enum DebugError {
    /// Its root or its mounts cannot be made again.
    #[error(transparent)]
    Root(#[from] Box<StepError>),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] LayerError),
    /// There is no room for what is changed while looking around.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its root can neither be mounted nor copied.
    #[error(transparent)]
    Plain(#[from] plain::PlainError),
    /// The command could not be started.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// Its terminal could not be shown.
    #[error("showing the terminal")]
    Show(#[source] std::io::Error),
    /// The command could not be waited for.
    #[error(transparent)]
    Wait(#[from] WaitError),
}

/// Runs a command, a shell where none is named, in the root of a step that failed: as its user, with its variables, in
/// its folder, with its mounts but those that are gone, on the host's network, and with the caller's streams or terminal.
/// What it changes is thrown away.
///
/// # Errors
/// [`DebugError`].
pub fn debug(
    store: &Store,
    kept: &KeptRoot,
    command: &[String],
    attach: Option<&Attach>,
) -> Result<i32, DebugError> {
    let scratch = store.new_layer()?;
    let mounted = kept.mount_again(store, scratch.dir()).map_err(Box::new)?;
    let lowers = kept.dirs(store).map_err(Box::new)?;
    let root = Root::Overlay { lowers, upper: scratch.fs(), work: scratch.work()? };
    let args = if command.is_empty() { vec![SHELL.to_owned()] } else { command.to_vec() };
    let mut spec = Spec::new(root, args);
    spec.env.clone_from(&kept.env);
    spec.cwd.clone_from(&kept.cwd);
    spec.network = Network::Host;
    let (uid, gid, groups) = kept.ids.clone();
    spec.user = User { uid, gid, groups };
    spec.tty = attach.is_some();
    spec.window = attach.and_then(|attach| attach.window);
    spec.keeper = true;
    spec.mounts.clone_from(&mounted.mounts);
    let mut process = match spawn(&spec, Stdio::inherit()) {
        Err(error) if plain::refusal_behind(&error, store)?.is_some() => {
            plain::without_overlays(&mut spec, scratch.dir())?;
            spawn(&spec, Stdio::inherit())?
        }
        other => other?,
    };
    if let (Some(attach), Some(terminal)) = (attach, process.take_terminal()) {
        (attach.show)(terminal).map_err(DebugError::Show)?;
    }
    Ok(process.wait()?.status_code())
}
