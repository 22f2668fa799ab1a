//! `container inspect`, and what `inspect` knows of containers, volumes and networks.

use super::{network, told, volume};
use crate::args::container::look::Inspect;
use crate::command::inspect::all;
use crate::environment;
use crate::failure::Failure;
use crate::session::Session;
use crate::verb::Verb;
use lighter_engine::Store;
use lighter_engine::container::{self, NetworkError, UseVolumeError};
use serde_json::{Value, json};

impl Verb for Inspect {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let store = session.open_store()?;
        all(session, &self.containers, self.format.as_deref(), |name| {
            match of_kind(&store, "container", name, self.size)? {
                Some(document) => Ok(document),
                None => Err(Failure::new(format!("Error: No such container: {name}"))),
            }
        })
    }
}

/// Describes a container, a volume or a network; `None` where there is none of that name.
///
/// # Errors
/// What cannot be read.
pub(crate) fn of_kind(store: &Store, kind: &str, name: &str, size: bool) -> Result<Option<Value>, Failure> {
    match kind {
        "container" => match container::find(store, name) {
            Ok(found) => described(store, &found, size).map(Some),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(told(&error)),
        },
        "volume" => match container::find_volume(store, name) {
            Ok(found) => Ok(Some(volume::described(&found))),
            Err(UseVolumeError::NotFound(_)) => Ok(None),
            Err(error) => Err(told(&error)),
        },
        "network" => match container::find_network(store, name) {
            Ok(found) => network::described(store, &environment::runtime(), &found).map(Some),
            Err(NetworkError::NotFound(_)) => Ok(None),
            Err(error) => Err(told(&error)),
        },
        _ => Ok(None),
    }
}

fn described(store: &Store, found: &container::Container, size: bool) -> Result<Value, Failure> {
    let mut document = container::inspect(store, found);
    if let (true, Value::Object(fields)) = (size, &mut document) {
        let (own, whole) = container::sizes(store, found).map_err(|error| told(&error))?;
        fields.insert("SizeRw".to_owned(), json!(own));
        fields.insert("SizeRootFs".to_owned(), json!(whole));
    }
    Ok(document)
}
