//! `run`: makes a container, starts it, and stays with it unless told otherwise.

use super::cidfile::CidFile;
use super::keys::DetachKeys;
use super::request::request;
use super::view::{Caught, Outcome, View, show};
use super::{begin, exit_code};
use crate::args::container::options::Options;
use crate::args::container::run::Run;
use crate::environment;
use crate::failure::{Failure, chain};
use crate::session::Session;
use crate::verb::Verb;
use lighter_engine::Store;
use lighter_engine::container::{self, ClientError, CreateRequest, Streams, WaitingShim};
use std::error::Error;
use std::time::SystemTime;

/// The exit code of a container that could not be made or started.
const NOT_STARTED: u8 = 125;
/// The exit code where a program may not be run.
const NOT_RUNNABLE: u8 = 126;
/// The exit code where a program is not there.
const NOT_FOUND: u8 = 127;

impl Verb for Run {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        check(&self, session)?;
        let streams = streams(&self.options);
        let keys = DetachKeys::parse(self.detach_keys.as_deref()).map_err(|fault| refused(&fault))?;
        let view = View {
            stdin: streams.stdin,
            tty: self.options.tty,
            keys,
            sig_proxy: self.sig_proxy && !self.options.tty,
        };
        let cidfile = CidFile::make(self.options.cidfile.as_deref()).map_err(|fault| {
            let code = code_of(&fault, NOT_STARTED);
            refused(&fault).with_code(code)
        })?;
        let image = begin::Image::of(&self.options).map_err(|fault| refused(&fault))?;
        if host_network_discards(&self.options) {
            session.remark("WARNING: Published ports are discarded when using host network mode");
        }
        remark_on_kernel_memory(self.options.kernel_memory, session);
        let asks_for_network = !self.options.network.is_empty() || !self.options.publish.is_empty();
        let mut request = request(self.options).map_err(|fault| refused(fault.text()))?;
        request.stdin_once = !self.detach && streams.stdin;
        if !self.detach {
            request.attach_output = outputs(streams);
        }
        let store = session.open_store().map_err(|failure| failure.with_code(NOT_STARTED))?;
        let caught = (!self.detach).then(|| Caught::begin(&view)).transpose()?;
        // it gets ready beside the making of the container; where there is none, the start says why
        let shim = WaitingShim::begin().ok();
        let id = make(session, &store, &image, request)?;
        if let Some(file) = cidfile {
            file.keep(&id).map_err(|fault| refused(&fault))?;
        }
        let attach = (!self.detach).then_some(streams);
        let started = container::start_by(shim, &store, &environment::runtime(), &id, attach);
        if started.is_err() && self.detach {
            // the container is there, and whoever asked for it is to know how to remove it
            session.print(&format!("{id}\n"))?;
        }
        let mut attachment = started.map_err(|error| not_started(&error))?;
        // who did not ask for a network may do without one, and nothing that reads along is to stumble over it
        let tells = asks_for_network || session.reports_to_terminal();
        for warning in attachment.warnings.iter().chain(attachment.no_network.iter().filter(|_| tells)) {
            session.remark(&format!("WARNING: {warning}"));
        }
        let Some(caught) = caught else {
            return session.print(&format!("{id}\n")).map(|()| 0);
        };
        match show(session, &store, &id, &mut attachment, view, caught)? {
            Outcome::Ended(code) => Ok(exit_code(code)),
            Outcome::Detached => Ok(0),
        }
    }
}

/// Says that a limit of old is not kept.
pub(super) fn remark_on_kernel_memory(limit: Option<u64>, session: &Session) {
    if limit.is_some_and(|bytes| bytes != 0) {
        session.remark("WARNING: --kernel-memory is ignored: kernels no longer have that limit");
    }
}

/// Whether ports are published of a container that has the host's network anyway.
pub(super) fn host_network_discards(options: &Options) -> bool {
    let has_ports = !options.publish.is_empty() || options.publish_all;
    has_ports && options.network.iter().any(|name| name == "host")
}

/// What contradicts itself before anything is done.
fn check(run: &Run, session: &Session) -> Result<(), Failure> {
    if run.detach && !run.options.attach.is_empty() {
        return Err(Failure::new("conflicting options: cannot specify both --attach and --detach"));
    }
    if run.options.tty && run.options.interactive && !run.detach && !session.reads_from_terminal() {
        return Err(Failure::new("the input device is not a TTY"));
    }
    Ok(())
}

/// The streams that are shown: those of `-a`, else both outputs, and the input with `-i`.
pub(super) fn streams(options: &Options) -> Streams {
    let named = |name: &str| options.attach.iter().any(|stream| stream == name);
    if options.attach.is_empty() {
        return Streams { stdin: options.interactive, stdout: true, stderr: true };
    }
    Streams { stdin: named("stdin") && options.interactive, stdout: named("stdout"), stderr: named("stderr") }
}

/// The names of the outputs that are shown.
pub(super) fn outputs(streams: Streams) -> Vec<String> {
    let named = [("stdout", streams.stdout), ("stderr", streams.stderr)];
    named.into_iter().filter(|(_, wanted)| *wanted).map(|(name, _)| name.to_owned()).collect()
}

/// Makes the container, its image fetched first where it is missing; its id.
fn make(
    session: &Session,
    store: &Store,
    image: &begin::Image,
    request: CreateRequest,
) -> Result<String, Failure> {
    image.provide(session, store).map_err(|failure| refused(failure.text.trim_start_matches("Error: ")))?;
    match container::create(store, request, SystemTime::now()) {
        Ok(made) => Ok(made.to_string()),
        Err(error) => {
            let text = chain(&error);
            let code = code_of(&text, NOT_STARTED);
            Err(refused(&text).with_code(code))
        }
    }
}

/// The exit code of a container that was not made or started: what is not there counts as a program that is not, and
/// what may not be used as one that may not be run, as with Docker.
fn code_of(text: &str, otherwise: u8) -> u8 {
    let tells = |words: &[&str]| words.iter().any(|words| text.to_lowercase().contains(words));
    if otherwise != NOT_STARTED {
        otherwise
    } else if tells(&["executable file not found", "no such file or directory"]) {
        NOT_FOUND
    } else if tells(&["permission denied", "is a directory"]) {
        NOT_RUNNABLE
    } else {
        NOT_STARTED
    }
}

/// The failure to make or start a container, in Docker's form.
fn refused(text: &str) -> Failure {
    refused_by("run", text)
}

/// What a verb does not do, with the exit code that no program in a container gives.
pub(super) fn refused_by(verb: &str, text: &str) -> Failure {
    Failure::new(format!("lighter: {text}\n\nRun 'lighter {verb} --help' for more information"))
        .with_code(NOT_STARTED)
}

fn not_started(error: &ClientError) -> Failure {
    let code = match error {
        ClientError::Failed { exit_code, .. } => u8::try_from(*exit_code).unwrap_or(NOT_STARTED),
        _ => NOT_STARTED,
    };
    let text = chain(error as &(dyn Error + 'static));
    let code = code_of(&text, code);
    refused(&text).with_code(code)
}
