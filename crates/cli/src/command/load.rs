//! `load`: images from an archive.

use crate::args::load::Load;
use crate::failure::Failure;
use crate::session::Session;
use crate::verb::Verb;
use lighter_engine::archive::{Loaded, load};
use lighter_image::Platform;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::time::SystemTime;

impl Verb for Load {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let platform: Option<Platform> = match self.platform.as_slice() {
            [] => None,
            [one] => Some(one.parse().map_err(|error| Failure::because(&error))?),
            _ => return Err(Failure::new("Error: loading several platforms at once is not supported")),
        };
        let source: Box<dyn Read + Send> = match &self.input {
            Some(path) => Box::new(
                File::open(path)
                    .map_err(|error| Failure::new(format!("Error: open {}: {error}", path.display())))?,
            ),
            None if session.reads_from_terminal() => {
                return Err(Failure::new("Error: requested load from stdin, but stdin is empty"));
            }
            None => Box::new(io::stdin()),
        };
        let store = session.open_store()?;
        let loaded = load(&store, source, platform.as_ref(), SystemTime::now())
            .map_err(|error| Failure::because(&error))?;
        session.print(&loaded.iter().map(told).collect::<String>()).map(|()| 0)
    }
}

/// What is said of an image: also with `--quiet`, which only hides the progress.
fn told(loaded: &Loaded) -> String {
    let mut text = String::new();
    for (name, before) in &loaded.replaced {
        let name = name.familiar();
        let _ = writeln!(
            text,
            "The image {name} already exists, renaming the old one with ID {before} to empty string"
        );
    }
    if loaded.names.is_empty() {
        let _ = writeln!(text, "Loaded image ID: {}", loaded.image);
    }
    for name in &loaded.names {
        let _ = writeln!(text, "Loaded image: {}", name.familiar());
    }
    text
}
