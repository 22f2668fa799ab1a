//! `import`: a root filesystem's archive becomes an image.

use crate::args::import::Import;
use crate::failure::Failure;
use crate::registry;
use crate::session::Session;
use crate::verb::Verb;
use lighter_engine::archive::{ImportRequest, import};
use lighter_engine::registry::{Download, Known, Url, ignore_events};
use lighter_image::Platform;
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::SystemTime;

impl Verb for Import {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let name = self.repository.as_deref().map(registry::tagged).transpose()?;
        let platform: Platform = match &self.platform {
            Some(platform) => platform.parse().map_err(|error| Failure::because(&error))?,
            None => Platform::host(),
        };
        let request = ImportRequest {
            name,
            changes: self.change.clone(),
            message: self.message.clone(),
            platform,
            now: SystemTime::now(),
        };
        let source = self.open(session)?;
        let store = session.open_store()?;
        let id = import(&store, source, &request).map_err(|error| Failure::because(&error))?;
        session.print(&format!("{id}\n")).map(|()| 0)
    }
}

impl Import {
    fn open(&self, session: &Session) -> Result<Box<dyn Read + Send>, Failure> {
        if self.source == "-" {
            return Ok(Box::new(io::stdin()));
        }
        if self.source.starts_with("http://") || self.source.starts_with("https://") {
            return download(session, &self.source);
        }
        let file = File::open(&self.source)
            .map_err(|error| Failure::new(format!("Error: open {}: {error}", self.source)))?;
        Ok(Box::new(file))
    }
}

fn download(session: &Session, address: &str) -> Result<Box<dyn Read + Send>, Failure> {
    let url = Url::parse(address).map_err(|error| Failure::because(&error))?;
    let client = registry::client(session, &Arc::default())?;
    match client.download(&url, &Known::default(), &ignore_events) {
        Ok(Download::Found(file)) => Ok(Box::new(file)),
        Ok(Download::Unchanged) => Err(Failure::new(format!("Error: {address} was not sent"))),
        Err(error) => Err(Failure::because(&error)),
    }
}
