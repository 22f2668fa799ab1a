//! `--on-error=shell`: a shell in place of a command that has failed, with all that the command had.

use std::sync::{Arc, PoisonError};

use lighter_dockerfile::plan::Run;
use lighter_image::error_chain;
use lighter_sandbox::{SandboxError, Spec, Stdio, WaitError, spawn};

use crate::Stream;
use crate::event::{EventKind, Work};
use crate::site::Site;

/// What is run where the instruction names no shell.
const SHELL: &str = "/bin/sh";
/// The signal that ends it for good.
const KILL: i32 = 9;

#[derive(Debug, thiserror::Error)]
enum ShellError {
    #[error(transparent)]
    Start(#[from] SandboxError),
    #[error("showing its terminal")]
    Show(#[source] std::io::Error),
    #[error(transparent)]
    Wait(#[from] WaitError),
}

/// Runs a shell in the root of a command that has failed, as its user, with its variables, folder, mounts and network,
/// until it is left. One at a time has the caller's streams. That it cannot be had is told, and fails nothing further.
pub(super) fn open(site: &Site<'_>, spec: &Spec, run: &Run, work: &Work<'_>) {
    let _alone = site.terminal.lock().unwrap_or_else(PoisonError::into_inner);
    if site.cancel.is_cancelled() {
        return;
    }
    let shell = run.args.first().filter(|_| run.shell_form).map_or(SHELL, String::as_str);
    let text = format!("the command has failed: here is {shell}, where it ran; leave it to end the build\n");
    work.tell(EventKind::Output { stream: Stream::Stderr, bytes: text.into_bytes() });
    if let Err(error) = wait_for(site, spec, shell) {
        work.warn(format!("no shell for the failed command: {}", error_chain(&error)));
    }
}

fn wait_for(site: &Site<'_>, spec: &Spec, shell: &str) -> Result<(), ShellError> {
    let attach = site.inputs.attach.as_ref();
    let mut spec = spec.clone();
    spec.args = vec![shell.to_owned()];
    spec.tty = attach.is_some();
    spec.window = attach.and_then(|attach| attach.window);
    let mut process = spawn(&spec, Stdio::inherit())?;
    let terminal = process.take_terminal();
    let process = Arc::new(process);
    let to_stop = Arc::clone(&process);
    let _stop = site.cancel.while_running(move || {
        if let Err(error) = to_stop.kill(KILL) {
            tracing::warn!(%error, "a shell was not stopped");
        }
    });
    if let (Some(attach), Some(terminal)) = (attach, terminal) {
        (attach.show)(terminal).map_err(ShellError::Show)?;
    }
    process.wait()?;
    Ok(())
}
