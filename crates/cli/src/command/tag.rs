//! `tag`: gives an image a further name.

use crate::args::tag::Tag;
use crate::failure::Failure;
use crate::session::Session;
use crate::verb::Verb;
use lighter_engine::image;
use std::time::SystemTime;

impl Verb for Tag {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let store = session.open_store()?;
        image::tag(&store, &self.source, &self.target, SystemTime::now())
            .map(|_| 0)
            .map_err(|error| Failure::because(&error))
    }
}
