//! What a build writes: an image in the store, archives, folders.

mod archive;
mod files;
mod packing;
mod sink;

use std::time::SystemTime;

use lighter_build::{Built, Fetch as _, FetchError, Reporter, Work};
use lighter_dockerfile::plan::Plan;
use lighter_image::{Descriptor, DiffId, ImageConfig, ImageId, Reference};
use lighter_layer::View;
use lighter_layer::compress::Format;
use lighter_store::{Batch, CommitError, ImageRecord, Store};

use super::reshape;
use super::{
    BuildFailure, BuildRequest, Compression, Destination, Output, OutputKind, OutputOptions, Streams,
};
use crate::annotations::Notes;
use crate::container::events::note_labelled_image;
use crate::fetch::Fetcher;
use crate::image::{LookError, look_up};
use crate::push::{PushError, PushEvent, PushOptions, push};
use archive::{Form, Layout};
use packing::Packed;
pub(super) use packing::{PackStyle, pack_shared};

/// Why a result could not be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The image could not be stored.
    #[error("storing the image")]
    Commit(#[from] CommitError),
    /// This kind of output cannot be written.
    #[error("{0}")]
    Refused(String),
    /// A file or folder could not be written.
    #[error("writing {what}")]
    Write {
        /// Which.
        what: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A document could not be written.
    #[error("writing the documents of the image")]
    Json(#[from] serde_json::Error),
    /// The files could not be read.
    #[error("exporting the files")]
    View(#[from] lighter_layer::ViewError),
    /// The files could not be packed.
    #[error("exporting the files")]
    Export(#[source] Box<lighter_layer::PackError>),
    /// The files could not be written.
    #[error("exporting the files")]
    Unpack(#[source] Box<lighter_layer::WriteError>),
    /// A layer could not be packed.
    #[error(transparent)]
    Layer(#[from] crate::archive::LayerStreamError),
    /// A blob of the store could not be read.
    #[error(transparent)]
    Blob(#[from] lighter_store::ReadBlobError),
    /// A layer of the store could not be found.
    #[error(transparent)]
    Store(#[from] lighter_store::LayerError),
    /// A record of the store could not be read.
    #[error(transparent)]
    Record(#[from] lighter_store::RecordError),
    /// The store could not be written.
    #[error(transparent)]
    File(#[from] lighter_store::FileError),
    /// A packed layer could not be stored.
    #[error(transparent)]
    Put(#[from] lighter_store::PutBlobError),
    /// The image is not there any more.
    #[error(transparent)]
    Look(#[from] LookError),
    /// The image could not be pushed.
    #[error("pushing")]
    Push(#[from] Box<PushError>),
    /// Layers could not be made one.
    #[error("joining layers")]
    Join(#[source] Box<lighter_layer::CarryError>),
    /// A layer's blob could not be had.
    #[error(transparent)]
    Blobs(Box<lighter_registry::FetchError>),
    /// A layer of the base could not be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

/// What was written.
#[derive(Debug, Clone, Default)]
pub(super) struct Written {
    pub(super) image: Option<ImageId>,
    /// What an archive or a registry knows it by.
    pub(super) top: Option<Descriptor>,
    /// Its names, as `--metadata-file` tells them.
    pub(super) names: Vec<String>,
}

/// What all outputs of a build are made from.
#[derive(Clone, Copy)]
pub(super) struct Exporter<'a> {
    pub(super) store: &'a Store,
    pub(super) request: &'a BuildRequest,
    pub(super) plan: &'a Plan,
    pub(super) built: &'a Built,
    pub(super) fetcher: &'a Fetcher<'a>,
    pub(super) reporter: &'a Reporter<'a>,
    pub(super) now: SystemTime,
}

impl Exporter<'_> {
    /// Writes all that was asked for; without an output, an image in the store.
    pub(super) fn write(&self, streams: &mut Streams<'_>) -> Result<Written, BuildFailure> {
        let default = [Output {
            kind: OutputKind::Image,
            destination: Destination::Store,
            options: OutputOptions::default(),
        }];
        let outputs = if self.request.outputs.is_empty() { &default[..] } else { &self.request.outputs };
        let mut written = Written::default();
        for output in outputs.iter().filter(|output| output.kind != OutputKind::CacheOnly) {
            if self.request.cancel.is_cancelled() {
                return Err(BuildFailure::Cancelled);
            }
            let work = self.reporter.begin(title(output));
            let result = self.reshaped(output, streams, &work, &mut written);
            work.finish(result)?;
        }
        Ok(written)
    }

    /// Writes an output, with times brought down where it asks for that.
    fn reshaped(
        &self,
        output: &Output,
        streams: &mut Streams<'_>,
        work: &Work<'_>,
        written: &mut Written,
    ) -> Result<(), OutputError> {
        let is_image = !matches!(output.kind, OutputKind::Tar | OutputKind::Local | OutputKind::CacheOnly);
        match self.plan.epoch.filter(|_| output.options.rewrite_timestamp && is_image) {
            None => self.one(output, streams, work, written),
            Some(epoch) => {
                let site = reshape::Site {
                    store: self.store,
                    fetcher: self.fetcher,
                    cancel: &self.request.cancel,
                    plan: self.plan,
                    work,
                    now: self.now,
                };
                let built = site.clamped(self.built, epoch)?;
                let exporter = Exporter { built: &built, ..*self };
                exporter.one(output, streams, work, written)
            }
        }
    }

    fn one(
        &self,
        output: &Output,
        streams: &mut Streams<'_>,
        work: &Work<'_>,
        written: &mut Written,
    ) -> Result<(), OutputError> {
        // as in buildx, `--tag` counts more
        let names = if self.request.tags.is_empty() { &output.options.names } else { &self.request.tags };
        let is_kept = output.options.store != Some(false);
        match (output.kind, &output.destination) {
            (OutputKind::Image | OutputKind::Docker, Destination::Store) | (OutputKind::Registry, _) => {
                let pushes = output.options.push || output.kind == OutputKind::Registry;
                if is_kept || pushes {
                    self.image(output, if is_kept { names } else { &[] }, work)?;
                }
                written.image = Some(self.built.image);
                written.names.extend(names.iter().map(Reference::to_string));
                if pushes { self.push(output, names, work, written) } else { Ok(()) }
            }
            (OutputKind::Image | OutputKind::Docker | OutputKind::Oci, _) => {
                self.archive(output, names, streams, work, written)
            }
            (OutputKind::Tar | OutputKind::Local, destination) => {
                let view = self.view(work)?;
                let folder = if output.options.platform_split {
                    Some(self.plan.platform.to_string().replace('/', "_"))
                } else {
                    None
                };
                match destination {
                    Destination::Path(path) if output.kind == OutputKind::Local => {
                        let into = folder.map_or_else(|| path.clone(), |folder| path.join(folder));
                        files::folder(&view, self.plan.epoch, &into)
                    }
                    destination if output.kind == OutputKind::Tar => {
                        let epoch = self.plan.epoch;
                        sink::write_to(destination, streams, |out| {
                            files::archive(&view, epoch, folder.as_deref(), out)
                        })
                    }
                    _ => Err(OutputError::Refused("dest is required for local exporter".to_owned())),
                }
            }
            (OutputKind::CacheOnly, _) => Ok(()),
        }
    }

    /// Stores the image and its names: one durable step.
    fn image(&self, output: &Output, names: &[Reference], work: &Work<'_>) -> Result<(), OutputError> {
        let (built, now) = (self.built, self.now);
        let mut batch = Batch::new();
        batch.blob(built.config_bytes.clone());
        let layers = built.layers.iter().map(|layer| layer.diff_id).collect();
        let annotations = self.notes(output).qualified();
        batch.image(ImageRecord { annotations, ..ImageRecord::new(built.image, layers, now) });
        for name in names {
            batch.tag(&name.clone().with_default_tag(), built.image, now);
        }
        work.progress("exporting layers", 0, None, true);
        self.store.commit(batch)?;
        self.note(names);
        work.progress(format!("writing image {}", built.image), 0, None, true);
        for name in names {
            work.progress(format!("naming to {name}"), 0, None, true);
        }
        Ok(())
    }

    /// Writes down what others may hear of: that the image is there, and its names.
    fn note(&self, names: &[Reference]) {
        let config: Option<ImageConfig> = serde_json::from_slice(&self.built.config_bytes).ok();
        let labels = config.map(|config| config.config.labels).unwrap_or_default();
        let id = self.built.image.to_string();
        for name in names {
            note_labelled_image(self.store, "tag", &id, &name.familiar(), labels.clone());
        }
        note_labelled_image(self.store, "create", &id, &id, labels);
    }

    /// Pushes the image under its names.
    fn push(
        &self,
        output: &Output,
        names: &[Reference],
        work: &Work<'_>,
        written: &mut Written,
    ) -> Result<(), OutputError> {
        if names.is_empty() {
            return Err(OutputError::Refused("a name is needed to push: give one with -t".to_owned()));
        }
        let options = PushOptions {
            compression: match output.options.compression {
                Some(Compression::Uncompressed) => Format::Plain,
                Some(Compression::Zstd) => Format::Zstd,
                Some(Compression::Gzip) | None => Format::Gzip,
            },
            level: output.options.compression_level,
            recompress: output.options.force_compression,
            oci: output.options.oci_media_types.unwrap_or(false),
            by_digest: output.options.push_by_digest,
            ..PushOptions::default()
        };
        let image = look_up(self.store, &self.built.image.to_string())?;
        let client = self.fetcher.network().client(&self.request.cancel);
        let tell = |layer: &DiffId, event: PushEvent| match event {
            PushEvent::Exists | PushEvent::Pushed => {
                work.progress(format!("pushing layer {layer}"), 0, None, true);
            }
            PushEvent::Mounted(from) => {
                work.progress(format!("mounting layer {layer} from {from}"), 0, None, true);
            }
            PushEvent::Preparing | PushEvent::Transfer(_) => {}
        };
        for name in names {
            let pushed = push(self.store, client, (&image, name), &options, self.now, &tell);
            let pushed = pushed.map_err(Box::new)?;
            let (name, digest) = (pushed.reference, pushed.manifest.digest);
            work.progress(format!("pushing manifest for {name}@{digest}"), 0, None, true);
            written.top = Some(pushed.manifest);
        }
        Ok(())
    }

    /// Writes an image archive.
    fn archive(
        &self,
        output: &Output,
        names: &[Reference],
        streams: &mut Streams<'_>,
        work: &Work<'_>,
        written: &mut Written,
    ) -> Result<(), OutputError> {
        self.fetch_layers(work)?;
        let docker = output.kind != OutputKind::Oci;
        // what is loaded again at once need not be packed
        let usual = if docker { Compression::Uncompressed } else { Compression::Gzip };
        let packed = Packed::new(self.store, self.built, PackStyle::of(&output.options, usual))?;
        work.progress("exporting layers", 0, None, true);
        let names: Vec<Reference> = names.iter().cloned().map(Reference::with_default_tag).collect();
        let form = Form {
            docker,
            oci: output.options.oci_media_types.unwrap_or(!docker),
            created: self.created(),
            platform: self.plan.platform.clone(),
        };
        let layout = Layout::new(&packed, &names, &self.notes(output), form)?;
        work.progress(format!("exporting manifest {}", layout.top.digest), 0, None, true);
        work.progress(format!("exporting config {}", packed.image()), 0, None, true);
        match &output.destination {
            Destination::Path(path) if output.options.tar == Some(false) => {
                layout.write_folder(self.store, path)?;
            }
            destination => sink::write_to(destination, streams, |out| layout.write(self.store, out))?,
        }
        written.image.get_or_insert(packed.image());
        written.top = Some(layout.top.clone());
        written.names.extend(names.iter().map(Reference::to_string));
        Ok(())
    }

    /// When this is made, in whole seconds.
    fn created(&self) -> String {
        let now = jiff::Timestamp::try_from(self.now).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let seconds = self.plan.epoch.unwrap_or_else(|| now.as_second());
        jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
    }

    /// The annotations that were asked for, by where they stand.
    fn notes(&self, output: &Output) -> Notes {
        let mut notes = Notes::of(self.request.annotations.iter().map(|(key, value)| (key, value)));
        for (key, value) in &output.options.annotations {
            let (level, name) = match key.strip_prefix("annotation").map(|rest| rest.split_once('.')) {
                Some(Some(("", name))) => ("manifest", name),
                Some(Some((level, name))) => (level.trim_start_matches('-'), name),
                Some(None) | None => ("manifest", key.as_str()),
            };
            // `annotation-manifest[linux/amd64].KEY`: there is one platform
            notes.put(level.split('[').next().unwrap_or(level), name, value);
        }
        notes
    }

    /// All files of the result.
    fn view(&self, work: &Work<'_>) -> Result<View, OutputError> {
        self.fetch_layers(work)?;
        let mut paths = Vec::with_capacity(self.built.layers.len());
        for layer in &self.built.layers {
            let found = match &layer.layer {
                Some(id) => Some(id.clone()),
                None => self.store.layer_by_diff_id(&layer.diff_id)?,
            };
            let gone = || OutputError::Refused(format!("layer {} is no longer in the store", layer.diff_id));
            paths.extend(self.store.layer_dirs(&found.ok_or_else(gone)?)?);
        }
        Ok(View::open(&paths)?)
    }

    /// Sees to it that the base's layers are here.
    fn fetch_layers(&self, work: &Work<'_>) -> Result<(), OutputError> {
        let base: Vec<DiffId> =
            self.built.layers.iter().filter(|layer| !layer.is_own()).map(|layer| layer.diff_id).collect();
        if base.is_empty() {
            return Ok(());
        }
        Ok(self.fetcher.layers(&base, work, &self.request.cancel)?)
    }
}

fn title(output: &Output) -> &'static str {
    match output.kind {
        OutputKind::Image | OutputKind::Registry => "exporting to image",
        OutputKind::Docker if output.destination == Destination::Store => "exporting to image",
        OutputKind::Docker => "exporting to docker image format",
        OutputKind::Oci => "exporting to oci image format",
        OutputKind::Tar => "exporting to client tarball",
        OutputKind::Local => "exporting to client directory",
        OutputKind::CacheOnly => "exporting nothing",
    }
}
