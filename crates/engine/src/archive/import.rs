//! `import`: a root filesystem's archive becomes an image of one layer.

use crate::container::events::note_image;
use std::io::Read;
use std::time::SystemTime;

use lighter_dockerfile::Diagnostic;
use lighter_image::{ContainerConfig, History, ImageConfig, ImageId, Platform, Reference, RootFs};
use lighter_layer::compress::Decoder;
use lighter_layer::{ApplyError, ApplyOptions, PackError, PackOptions, apply, diff_id};
use lighter_store::{Batch, CommitError, FileError, ImageRecord, LayerError, NewLayer, Store};

/// Why an archive was not imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is no sound archive.
    #[error("unpacking the archive")]
    Apply(#[from] Box<ApplyError>),
    /// It cannot be read.
    #[error("reading the archive")]
    Read(#[source] std::io::Error),
    /// A change is none that an image can have.
    #[error("{}", diagnostic.message)]
    Change {
        /// The change.
        change: String,
        /// What is wrong.
        diagnostic: Box<Diagnostic>,
    },
    /// What was unpacked cannot be read.
    #[error(transparent)]
    Pack(#[from] Box<PackError>),
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
    Commit(#[from] CommitError),
}

/// What is asked of an import.
#[derive(Debug, Clone)]
pub struct ImportRequest {
    /// The image's name.
    pub name: Option<Reference>,
    /// `--change`, in order.
    pub changes: Vec<String>,
    /// `--message`.
    pub message: Option<String>,
    /// `--platform`.
    pub platform: Platform,
    /// The time of the import.
    pub now: SystemTime,
}

/// Makes an image from a root filesystem's archive, packed or not.
///
/// # Errors
/// [`ImportError`]; the store then holds no more than before.
pub fn import(
    store: &Store,
    archive: impl Read + Send + 'static,
    request: &ImportRequest,
) -> Result<ImageId, ImportError> {
    let config = changed(&ContainerConfig::default(), &request.changes)?;
    let scratch = store.new_layer()?;
    let stream = Decoder::new(archive).map_err(ImportError::Read)?;
    apply(stream, &scratch.fs(), &ApplyOptions::default()).map_err(Box::new)?;
    // the layer's name is the digest of the stream that we make of it, so that no archive need be kept
    let packed = diff_id(&scratch.fs(), &PackOptions::default()).map_err(Box::new)?;
    let new = NewLayer {
        diff_id: Some(packed.diff_id),
        size_bytes: Some(packed.size_bytes),
        ..NewLayer::default()
    };
    store.commit_layer(scratch, new)?;
    let created = jiff::Timestamp::try_from(request.now).ok().map(|now| now.to_string());
    let comment = request.message.clone().unwrap_or_else(|| "Imported from -".to_owned());
    let image = ImageConfig {
        architecture: request.platform.architecture.clone(),
        os: request.platform.os.clone(),
        variant: request.platform.variant.clone(),
        config,
        created: created.clone(),
        history: vec![History { created, comment, ..History::default() }],
        rootfs: RootFs { diff_ids: vec![packed.diff_id], ..RootFs::default() },
        ..ImageConfig::default()
    };
    let mut batch = Batch::new();
    let id = ImageId(batch.blob(image.to_json()?));
    let layers = vec![packed.diff_id];
    batch.image(ImageRecord::new(id, layers, request.now));
    if let Some(name) = &request.name {
        batch.tag(name, id, request.now);
    }
    store.commit(batch)?;
    let text = id.to_string();
    if let Some(name) = &request.name {
        note_image(store, "tag", &text, &name.familiar());
    }
    note_image(store, "import", &text, &text);
    Ok(id)
}

/// A configuration with the changes of `--change`.
///
/// # Errors
/// [`ImportError::Change`], where one of them is no instruction that changes a configuration.
pub(crate) fn changed(config: &ContainerConfig, changes: &[String]) -> Result<ContainerConfig, ImportError> {
    let mut config = config.clone();
    let mut command = None;
    for change in changes {
        config = lighter_dockerfile::change(&config, change).map_err(|diagnostic| ImportError::Change {
            change: change.clone(),
            diagnostic: Box::new(diagnostic),
        })?;
        // an entry point takes away the arguments of before, but not those that the same changes set
        let word = change.split_whitespace().next().unwrap_or_default();
        if word.eq_ignore_ascii_case("CMD") {
            command.clone_from(&config.cmd);
        } else if word.eq_ignore_ascii_case("ENTRYPOINT") && config.cmd.is_none() {
            config.cmd.clone_from(&command);
        }
    }
    Ok(config)
}
