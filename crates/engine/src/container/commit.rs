//! `commit`: what a container wrote becomes a layer of a new image.

use std::time::SystemTime;

use lighter_image::{ContainerConfig, History, ImageConfig, ImageId, Reference};
use lighter_layer::{
    ApplyOptions, CarryError, PackError, PackOptions, ViewError, apply, carry, diff_id, pack,
};
use lighter_store::{Batch, CommitError, FileError, ImageRecord, LayerError, NewLayer, RecordError, Store};

use super::client::{self, ClientError};
use super::settings::Settings;
use super::state::{Container, FindError, Status, find_gathered};
use super::{events, files};
use crate::archive::{ImportError, changed};
use crate::image::LookError;

/// Why no image was made of a container.
#[derive(Debug, thiserror::Error)]
pub enum CommitContainerError {
    /// There is no such container.
    #[error(transparent)]
    Find(#[from] FindError),
    /// It cannot be paused.
    #[error(transparent)]
    Pause(#[from] ClientError),
    /// A change is none.
    #[error(transparent)]
    Change(#[from] ImportError),
    /// Its image is damaged.
    #[error(transparent)]
    Image(#[from] LookError),
    /// Its files cannot be read.
    #[error(transparent)]
    View(#[from] ViewError),
    /// The same.
    #[error(transparent)]
    Pack(#[from] Box<PackError>),
    /// They cannot be carried into a layer.
    #[error(transparent)]
    Carry(#[from] Box<CarryError>),
    /// The configuration cannot be written.
    #[error("writing the configuration")]
    Json(#[from] serde_json::Error),
    /// The store cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The same.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The same.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The same.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// What is asked of the new image.
#[derive(Debug, Clone, Default)]
pub struct CommitRequest {
    /// Its name.
    pub name: Option<Reference>,
    /// `--author`.
    pub author: String,
    /// `--message`.
    pub message: String,
    /// `--change`, in order.
    pub changes: Vec<String>,
    /// `--pause`.
    pub pause: bool,
}

/// Makes an image of a container as it is now.
///
/// # Errors
/// [`CommitContainerError`]; the store then holds no more than before.
pub fn commit(
    store: &Store,
    text: &str,
    request: &CommitRequest,
    now: SystemTime,
) -> Result<ImageId, CommitContainerError> {
    let container = find_gathered(store, text)?;
    let base = base_of(store, &container)?;
    let own = config_of(&container.state.settings);
    let config = filled_up(changed(&own, &request.changes)?, own);
    let pauses = request.pause && container.state.status == Status::Running;
    let held = pauses.then(|| client::hold(store, &container)).transpose()?;
    let written = write_layer(store, &container);
    held.map_or(Ok(()), client::Held::release)?;
    let new = written?;
    let image = image_of(base, config, &container, request, &new, now);
    let mut batch = Batch::new();
    let id = ImageId(batch.blob(image.to_json()?));
    batch.image(ImageRecord::new(id, image.rootfs.diff_ids, now));
    if let Some(name) = &request.name {
        batch.tag(name, id, now);
    }
    store.commit(batch)?;
    let text = id.to_string();
    events::note_image(store, "create", &text, &text);
    let name = request.name.as_ref().map(Reference::familiar);
    if let Some(name) = &name {
        events::note_image(store, "tag", &text, name);
    }
    let more =
        [("comment", request.message.clone()), ("imageID", text), ("imageRef", name.unwrap_or_default())];
    events::note(store, &container, "commit", &more);
    Ok(id)
}

/// The configuration of the container's image, or an empty one where it was removed.
fn base_of(store: &Store, container: &Container) -> Result<ImageConfig, CommitContainerError> {
    let Some(id) = container.record.image else { return Ok(ImageConfig::default()) };
    Ok(crate::image::look_up(store, &id.to_string())?.config)
}

/// The container's own configuration, as that of an image. What only builds need of its image, triggers and the shell,
/// a container does not have.
fn config_of(settings: &Settings) -> ContainerConfig {
    ContainerConfig {
        entrypoint: settings.entrypoint.clone().filter(|words| !words.is_empty()),
        cmd: settings.cmd.clone(),
        env: settings.env.clone(),
        user: settings.user.clone(),
        working_dir: settings.working_dir.clone(),
        labels: settings.labels.clone(),
        stop_signal: settings.stop_signal.clone(),
        healthcheck: settings.healthcheck.clone(),
        exposed_ports: settings.exposed_ports.iter().cloned().collect(),
        volumes: settings.anonymous_volumes().map(str::to_owned).collect(),
        ..ContainerConfig::default()
    }
}

/// A changed configuration, with the container's own wherever a change left nothing: nothing can be taken away.
fn filled_up(mut config: ContainerConfig, own: ContainerConfig) -> ContainerConfig {
    let is_empty = |words: &Option<Vec<String>>| words.as_ref().is_none_or(Vec::is_empty);
    if is_empty(&config.entrypoint) {
        if is_empty(&config.cmd) {
            config.cmd = own.cmd;
        }
        config.entrypoint = own.entrypoint;
    }
    for (text, own) in [(&mut config.user, own.user), (&mut config.working_dir, own.working_dir)] {
        if text.is_empty() {
            *text = own;
        }
    }
    if let (Some(check), Some(own)) = (&mut config.healthcheck, own.healthcheck) {
        let numbers = [
            (&mut check.interval, own.interval),
            (&mut check.timeout, own.timeout),
            (&mut check.start_period, own.start_period),
            (&mut check.start_interval, own.start_interval),
            (&mut check.retries, own.retries),
        ];
        for (number, own) in numbers {
            if *number == 0 {
                *number = own;
            }
        }
    }
    config
}

/// Copies the container's own layer into a new one of the store.
fn write_layer(store: &Store, container: &Container) -> Result<lighter_layer::Packed, CommitContainerError> {
    let upper = store.container_paths(&container.record.id).upper;
    let scratch = store.new_layer()?;
    let options = ApplyOptions { below: files::below(store, container)?, ..ApplyOptions::default() };
    carry(
        |out| pack(&upper, out, &PackOptions::default()).map(drop),
        |stream| apply(stream, &scratch.fs(), &options),
    )
    .map_err(Box::new)?;
    let packed = diff_id(&scratch.fs(), &PackOptions::default()).map_err(Box::new)?;
    let new = NewLayer {
        diff_id: Some(packed.diff_id),
        size_bytes: Some(packed.size_bytes),
        ..NewLayer::default()
    };
    store.commit_layer(scratch, new)?;
    Ok(packed)
}

fn image_of(
    base: ImageConfig,
    config: ContainerConfig,
    container: &Container,
    request: &CommitRequest,
    layer: &lighter_layer::Packed,
    now: SystemTime,
) -> ImageConfig {
    let created = jiff::Timestamp::try_from(now).ok().map(|now| now.to_string());
    let mut image = base;
    image.rootfs.diff_ids.push(layer.diff_id);
    image.history.push(History {
        created: created.clone(),
        // the command alone: Docker leaves out the entry point
        created_by: container.state.settings.cmd.clone().unwrap_or_default().join(" "),
        comment: request.message.clone(),
        author: request.author.clone(),
        ..History::default()
    });
    image.created = created;
    image.author = Some(request.author.clone()).filter(|author| !author.is_empty());
    image.config = config;
    // what the base's own document says of how the base came to be is not true of this image
    for field in ["comment", "container", "container_config", "docker_version", "id", "parent"] {
        image.other.remove(field);
    }
    image
}
