//! `cp`: which side is the container's, and what is told about it.

use super::told;
use crate::args::container::files::Copy;
use crate::failure::Failure;
use crate::session::Session;
use crate::verb::Verb;
use lighter_engine::container::{self, CopyFlags};

/// One side of a copy.
#[derive(Debug, PartialEq, Eq)]
enum Side<'a> {
    Container(&'a str, &'a str),
    Here(&'a str),
    Stream,
}

/// Reads `CONTAINER:PATH`, `PATH` or `-`; a path that begins with a slash or a dot is never a container's.
fn side(text: &str) -> Side<'_> {
    if text == "-" {
        return Side::Stream;
    }
    match text.split_once(':') {
        Some((name, path)) if !name.is_empty() && !text.starts_with(['/', '.']) => {
            Side::Container(name, path)
        }
        _ => Side::Here(text),
    }
}

impl Verb for Copy {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let flags = CopyFlags { archive: self.archive, follow: self.follow_link };
        let (source, destination) = (side(&self.source), side(&self.destination));
        for (one, what) in [(&self.source, "source"), (&self.destination, "destination")] {
            if one.is_empty() {
                return Err(Failure::new(format!("{what} can not be empty")));
            }
        }
        let fault = |text: &str| Err(Failure::new(text));
        if matches!(source, Side::Container(_, "")) {
            return fault("bad parameter: the path in the container cannot be empty");
        }
        let store = match (&source, &destination) {
            (Side::Container(..), Side::Container(..)) => {
                return fault("copying between containers is not supported");
            }
            (Side::Container(..), _) | (_, Side::Container(..)) => session.open_store()?,
            _ => return fault("must specify at least one container source"),
        };
        let copied = match (source, destination) {
            (Side::Container(name, path), Side::Stream) => {
                container::copy_to_archive(&store, name, path, flags.follow, &mut session.stdout())
            }
            (Side::Container(name, path), Side::Here(to)) => {
                container::copy_out(&store, name, path, to, flags)
            }
            (Side::Stream, Side::Container(name, path)) => {
                container::copy_from_archive(&store, std::io::stdin(), name, path, flags)
            }
            (Side::Here(from), Side::Container(name, path)) => {
                container::copy_in(&store, from, name, path, flags)
            }
            _ => Ok(()),
        };
        copied
            .map_err(|error| if error.is_ours() { Failure::new(error.to_string()) } else { told(&error) })?;
        let is_stream = self.source == "-" || self.destination == "-";
        if !self.quiet && !is_stream && session.reports_to_terminal() {
            session.remark(&format!("Successfully copied to {}", self.destination));
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides() {
        assert_eq!(side("-"), Side::Stream);
        assert_eq!(side("c:/x"), Side::Container("c", "/x"));
        assert_eq!(side("c:x:y"), Side::Container("c", "x:y"));
        assert_eq!(side("./c:x"), Side::Here("./c:x"));
        assert_eq!(side("/c:x"), Side::Here("/c:x"));
        assert_eq!(side("x"), Side::Here("x"));
    }
}
