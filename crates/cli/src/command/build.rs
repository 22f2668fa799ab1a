//! `build`: makes an image of a Dockerfile.

mod call;
mod locations;
mod request;
pub(super) mod shell;
mod sources;

use crate::args::build::Build;
use crate::environment;
use crate::failure::{Failure, chain};
use crate::interrupt;
use crate::render::progress::{Display, Mode};
use crate::render::{diagnostic, output_file};
use crate::session::Session;
use crate::verb::Verb;
use lighter_engine::build::{self, BuildFailure, BuildOutcome, Streams};
use std::fmt::Write as _;
use std::path::Path;

impl Verb for Build {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        self.without_empty().made(session)
    }
}

impl Build {
    fn made(&self, session: &Session) -> Result<u8, Failure> {
        let mode = self.mode()?;
        let request = request::of(self, session)?;
        environment::metadata_has_provenance()?;
        if let Some(path) = &self.iidfile {
            // none must be there that an earlier build has left, should this one fail
            remove(Path::new(path))?;
        }
        let store = session.open_store()?;
        let _watch = interrupt::cancels(&request.cancel)?;
        let display = Display::new(mode, session);
        let mut streams = Streams { stdin: Box::new(std::io::stdin()), stdout: Box::new(session.stdout()) };
        if let Some(call) = call::Call::read(&self.call, self.check)? {
            let looked =
                build::look(&store, &request, call.aim(), &mut streams, &|event| display.take(&event));
            display.finish();
            let (text, code) = match looked {
                Ok(looked) => call.told(&looked),
                Err(mut failure) => {
                    let Some(text) = call.told_of_faults(&failure) else {
                        if let Some(report) = call.take_checks(&mut failure) {
                            session.print(&report)?;
                        }
                        return Err(told(&failure, session));
                    };
                    (text, 1)
                }
            };
            return session.print(&text).map(|()| code);
        }
        let built = build::build(&store, &environment::runtime(), &request, &mut streams, &|event| {
            display.take(&event);
        });
        display.finish();
        let outcome = built.map_err(|failure| told(&failure, session))?;
        self.report(&outcome, session)
    }

    fn mode(&self) -> Result<Mode, Failure> {
        if self.quiet {
            return Ok(Mode::Quiet);
        }
        // a picture that is drawn again and again leaves no room for a shell
        if self.on_error == "shell" && self.progress.as_deref().is_none_or(|progress| progress == "auto") {
            return Ok(Mode::Plain);
        }
        let wanted = self.progress.clone().or_else(environment::progress).unwrap_or_default();
        Mode::parse(&wanted).ok_or_else(|| Failure::new(format!("ERROR: invalid progress mode {wanted}")))
    }

    /// Writes what was asked for beside the image.
    fn report(&self, outcome: &BuildOutcome, session: &Session) -> Result<u8, Failure> {
        let id = outcome.image.map(|image| image.to_string());
        if let (Some(path), Some(id)) = (&self.iidfile, &id) {
            write(Path::new(path), id.as_bytes())?;
        }
        if let Some(path) = &self.metadata_file {
            let mut metadata = outcome.metadata.clone();
            if !environment::metadata_has_provenance()?
                && let Some(fields) = metadata.as_object_mut()
            {
                fields.remove("buildx.build.provenance");
            }
            let text = serde_json::to_vec_pretty(&metadata).map_err(|error| Failure::because(&error))?;
            write(Path::new(path), &text)?;
        }
        if let (true, Some(id)) = (self.quiet || self.progress.as_deref() == Some("quiet"), id) {
            session.print(&format!("{id}\n"))?;
        }
        Ok(0)
    }
}

/// Removes a file. What is no file of its own, a device or a pipe, stays.
fn remove(path: &Path) -> Result<(), Failure> {
    if output_file::is_special(path) {
        return Ok(());
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::new(format!("ERROR: removing {}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, bytes)
        .map_err(|error| Failure::new(format!("ERROR: writing {}: {error}", path.display())))
}

/// What is told of a build that did not succeed.
fn told(failure: &BuildFailure, session: &Session) -> Failure {
    let colours = session.reports_to_terminal() && !environment::no_color();
    let (details, reason) = match failure {
        BuildFailure::Cancelled => {
            return Failure::interrupted().with_text("ERROR: failed to build: the build was cancelled");
        }
        BuildFailure::Faults { file, diagnostics } => {
            let shown = diagnostic::rendered(&file.name, &file.text, diagnostics, colours);
            (shown, format!("failed to solve: {}", diagnostic::summary(&file.name, &file.text, diagnostics)))
        }
        BuildFailure::Step { file, failure } => {
            let (first, last) = (failure.lines.first as usize, failure.lines.last as usize);
            let mut shown = diagnostic::excerpt(&file.name, &file.text, first, last);
            if let Some(kept) = &failure.kept {
                let _ = writeln!(
                    shown,
                    "the root of the failed step is kept in {kept}: look around with `lighter builder debug`"
                );
            }
            (shown, format!("failed to solve: {}", chain(&failure.cause)))
        }
        other => (String::new(), chain(other)),
    };
    Failure::new(format!("{details}ERROR: failed to build: {reason}"))
}
