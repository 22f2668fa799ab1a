//! `rmi`: names go first, the image when nothing holds it any more.

use crate::container::events::note_labelled_image;
use lighter_image::{ImageId, Reference};
use lighter_store::{RecordError, ResolvedBy, Store};
use std::collections::BTreeMap;

use super::stored::{LookError, StoredImage, look_up};

/// Why an image was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveImageError {
    /// There is no such image.
    #[error(transparent)]
    Look(#[from] LookError),
    /// The store cannot be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Several names lead to it, and its id was given.
    #[error(
        "conflict: unable to delete {} (must be forced) - image is referenced in multiple repositories", image.0.short()
    )]
    Names {
        /// The image.
        image: ImageId,
    },
    /// Its name was given, and a container was made from it.
    #[error(
        "conflict: unable to remove repository reference \"{name}\" (must force) - container {container} is using its \
         referenced image {}", image.0.short()
    )]
    NameUsed {
        /// The name, as it was given.
        name: String,
        /// The image.
        image: ImageId,
        /// The container's short id.
        container: String,
    },
    /// Its id was given, and a container was made from it.
    #[error(
        "conflict: unable to delete {} (must be forced) - image is being used by stopped container {container}",
        image.0.short()
    )]
    Used {
        /// The image.
        image: ImageId,
        /// The container's short id.
        container: String,
    },
    /// A running container needs it: not even force helps.
    #[error(
        "conflict: unable to delete {} (cannot be forced) - image is being used by running container {container}",
        image.0.short()
    )]
    Running {
        /// The image.
        image: ImageId,
        /// The container's short id.
        container: String,
    },
}

/// One thing that was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// A name.
    Untagged(Reference),
    /// An image.
    Deleted(ImageId),
}

/// Says which container uses an image: its short id, and whether it runs.
pub type UsedBy<'a> = &'a dyn Fn(&ImageId) -> Option<(String, bool)>;

/// Removes a name, and the image with its last name.
///
/// # Errors
/// [`RemoveImageError`], where there is no such image, or something still needs it and `force` does not help.
pub fn remove(
    store: &Store,
    text: &str,
    force: bool,
    used_by: UsedBy<'_>,
) -> Result<Vec<Removed>, RemoveImageError> {
    let image = look_up(store, text)?;
    let id = image.record.id.to_string();
    let labels = image.config.config.labels.clone();
    let removed = remove_found(store, image, text, force, used_by)?;
    for one in &removed {
        match one {
            Removed::Untagged(_) => note_labelled_image(store, "untag", &id, &id, labels.clone()),
            Removed::Deleted(deleted) => {
                note_labelled_image(store, "delete", &deleted.to_string(), &id, BTreeMap::new());
            }
        }
    }
    Ok(removed)
}

fn remove_found(
    store: &Store,
    image: StoredImage,
    text: &str,
    force: bool,
    used_by: UsedBy<'_>,
) -> Result<Vec<Removed>, RemoveImageError> {
    let id = image.record.id;
    let mut names: Vec<Reference> = store.tags_of(&id)?.into_iter().map(|tagged| tagged.reference).collect();
    // a digest goes with a tag, so it comes behind it
    names.sort_by_key(|name| name.digest().is_some());
    let tags = names.iter().filter(|name| name.digest().is_none()).count();
    let asked_for = match image.found_by {
        ResolvedBy::Name(name) => Some(name),
        ResolvedBy::Id => None,
    };
    if let Some(name) = &asked_for
        && tags > usize::from(name.digest().is_none())
    {
        return untag(store, name, &names);
    }
    if asked_for.is_none() && tags > 1 && !force {
        return Err(RemoveImageError::Names { image: id });
    }
    if let Some((container, running)) = used_by(&id) {
        match asked_for {
            _ if force && !running => {}
            Some(_) if !force => {
                return Err(RemoveImageError::NameUsed { name: text.to_owned(), image: id, container });
            }
            Some(_) => return untag_all(store, names),
            None if running => return Err(RemoveImageError::Running { image: id, container }),
            None => return Err(RemoveImageError::Used { image: id, container }),
        }
    }
    let gone = store.remove_image_with(&id, &names)?.is_some();
    let mut removed: Vec<Removed> = names.into_iter().map(Removed::Untagged).collect();
    if gone {
        removed.push(Removed::Deleted(id));
        // what the build cache does not hold goes at once; where that fails, `prune` finds it later
        if let Err(error) = store.collect_garbage() {
            tracing::warn!(%error, "what the image held stays until the next collection");
        }
    }
    Ok(removed)
}

/// Takes one of several names; digests of its repository go with the last tag that the image has there.
fn untag(store: &Store, name: &Reference, names: &[Reference]) -> Result<Vec<Removed>, RemoveImageError> {
    let beside = |other: &&Reference| *other != name && other.repository() == name.repository();
    let is_last =
        name.digest().is_none() && names.iter().filter(beside).all(|other| other.digest().is_some());
    let with_it = names.iter().filter(beside).filter(|_| is_last);
    let gone: Vec<&Reference> = std::iter::once(name).chain(with_it).collect();
    for name in &gone {
        store.untag(name)?;
    }
    Ok(gone.into_iter().cloned().map(Removed::Untagged).collect())
}

/// Takes the last names of an image that a running container still needs: the image stays without any.
fn untag_all(store: &Store, names: Vec<Reference>) -> Result<Vec<Removed>, RemoveImageError> {
    for name in &names {
        store.untag(name)?;
    }
    Ok(names.into_iter().map(Removed::Untagged).collect())
}
