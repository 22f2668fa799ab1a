//! `rmi`: takes names away, and images with their last name.

use crate::args::rmi::Rmi;
use crate::command::platform;
use crate::failure::Failure;
use crate::session::Session;
use crate::verb::Verb;
use lighter_engine::Store;
use lighter_engine::container;
use lighter_engine::image::{self, RemoveImageError, Removed};
use lighter_image::ImageId;

impl Verb for Rmi {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let store = session.open_store()?;
        let mut failures = Vec::new();
        let mut fatal = false;
        for name in &self.images {
            match self.remove(&store, name) {
                Ok(removed) => session.print(&told(&removed))?,
                Err((failure, missing)) => {
                    fatal |= !missing;
                    failures.push(failure.text);
                }
            }
        }
        let text = failures.join("\n");
        match failures.is_empty() {
            true => Ok(0),
            false if self.force && !fatal => {
                session.remark(&text);
                Ok(0)
            }
            false => Err(Failure::new(text)),
        }
    }
}

impl Rmi {
    /// Removes one; an error says whether the image simply was not there.
    fn remove(&self, store: &Store, name: &str) -> Result<Vec<Removed>, (Failure, bool)> {
        for wanted in &self.platform {
            let image = image::look_up(store, name)
                .map_err(|error| (Failure::because(&error), error.is_missing()))?;
            platform::check(Some(wanted), name, &image).map_err(|failure| (failure, false))?;
        }
        let containers = container::all(store).map_err(|error| (Failure::because(&error), false))?;
        let used_by = |image: &ImageId| {
            let users = containers.iter().filter(|container| container.record.image == Some(*image));
            let user = users.max_by_key(|container| container.state.is_running())?;
            Some((user.record.id.short().to_owned(), user.state.is_running()))
        };
        image::remove(store, name, self.force, &used_by).map_err(|error| {
            let missing = matches!(&error, RemoveImageError::Look(look) if look.is_missing());
            (Failure::because(&error), missing)
        })
    }
}

fn told(removed: &[Removed]) -> String {
    removed
        .iter()
        .map(|one| match one {
            Removed::Untagged(name) => format!("Untagged: {}\n", name.familiar()),
            Removed::Deleted(id) => format!("Deleted: {id}\n"),
        })
        .collect()
}
