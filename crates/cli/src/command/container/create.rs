//! `create`: makes a container, and starts nothing.

use super::begin;
use super::cidfile::CidFile;
use super::request::{Refusal, request};
use super::run::refused_by;
use super::told;
use crate::args::container::create::Create;
use crate::failure::Failure;
use crate::session::Session;
use crate::verb::Verb;
use lighter_engine::container;
use std::time::SystemTime;

impl Verb for Create {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let fault = |text: String| Failure::new(format!("Error: {text}"));
        let cidfile = CidFile::make(self.options.cidfile.as_deref()).map_err(fault)?;
        let unread = |text: &str| refused_by("create", text);
        let image = begin::Image::of(&self.options).map_err(|text| unread(&text))?;
        super::run::remark_on_kernel_memory(self.options.kernel_memory, session);
        let outputs = super::run::outputs(super::run::streams(&self.options));
        let mut request = request(self.options).map_err(|refusal| match refusal {
            Refusal::Options(text) => unread(&text),
            Refusal::Engine(text) => fault(text),
        })?;
        request.stdin_once = request.open_stdin;
        request.attach_output = outputs;
        let store = session.open_store()?;
        image.provide(session, &store)?;
        let made = container::create(&store, request, SystemTime::now());
        let id = made.map_err(|error| told(&error))?.to_string();
        if let Some(file) = cidfile {
            file.keep(&id).map_err(fault)?;
        }
        session.print(&format!("{id}\n")).map(|()| 0)
    }
}
