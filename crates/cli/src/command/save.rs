//! `save`: images as one archive.

use crate::args::save::Save;
use crate::command::{platform, whole};
use crate::failure::Failure;
use crate::render::output_file;
use crate::session::Session;
use crate::verb::Verb;
use lighter_engine::archive::save;
use lighter_engine::image::look_up;
use std::io::Write as _;

impl Verb for Save {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        if self.output.is_none() && session.writes_to_terminal() {
            return Err(Failure::new(
                "Error: cowardly refusing to save to a terminal. Use the -o flag or redirect",
            ));
        }
        let store = session.open_store()?;
        for name in &self.images {
            // a repository without the tag `latest` is no image, but stands for all its tags
            let Ok(image) = look_up(&store, name) else { continue };
            for wanted in &self.platform {
                platform::check(Some(wanted), name, &image)?;
            }
            whole::complete(session, &store, &image)?;
        }
        let Some(output) = &self.output else {
            let mut stdout = session.stdout();
            save(&store, &self.images, &mut stdout).map_err(|error| Failure::because(&error))?;
            stdout.flush()?;
            return Ok(0);
        };
        output_file::whole(output, output_file::PRIVATE, |file| {
            save(&store, &self.images, file).map_err(|error| Failure::because(&error))
        })?;
        Ok(0)
    }
}
