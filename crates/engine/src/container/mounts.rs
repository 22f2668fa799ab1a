//! What a new container mounts: which of several wishes for a place holds, and the volumes that are made for it.

use std::time::SystemTime;

use lighter_image::{ContainerConfig, ImagePath};
use lighter_layer::{CopyOptions, Destination, LayerWriter, Timestamp, View, WriteError, copy};
use lighter_store::{ContainerId, Store, Volume, VolumeError};

use super::create::CreateError;
use super::settings::{ContainerMount, HostSettings, MountSource, Settings};
use super::state::find;
use super::volume;

/// Settles what is mounted where: what was asked for, what other containers mount, and the image's volumes.
pub(super) fn settle(
    store: &Store,
    host: &mut HostSettings,
    volumes_from: &[String],
    config: &ContainerConfig,
) -> Result<(), CreateError> {
    add_volumes_from(store, host, volumes_from)?;
    give_way(&mut host.mounts);
    add_image_volumes(host, config);
    name_anonymous_volumes(host);
    let mut seen = Vec::new();
    // a mount that is asked for twice is one
    host.mounts.retain(|mount| {
        let is_new = !seen.contains(mount);
        seen.push(mount.clone());
        is_new
    });
    check_mounts(&host.mounts)
}

/// What other containers mount is mounted here as well, unless something else is there.
fn add_volumes_from(store: &Store, host: &mut HostSettings, others: &[String]) -> Result<(), CreateError> {
    for text in others {
        let (name, read_only) = match text.split_once(':') {
            None => (text.as_str(), false),
            Some((name, "rw" | "z")) => (name, false),
            Some((name, "ro" | "ro,z")) => (name, true),
            Some((_, mode)) => return Err(CreateError::VolumesFromMode(mode.to_owned())),
        };
        for mut mount in find(store, name)?.state.settings.host.mounts {
            let path = ImagePath::new(&mount.target);
            let is_taken = host.mounts.iter().any(|known| ImagePath::new(&known.target) == path);
            if is_taken || matches!(mount.source, MountSource::Tmpfs { .. }) {
                continue;
            }
            mount.read_only |= read_only;
            host.mounts.push(mount);
        }
    }
    Ok(())
}

/// `-v PATH` asks for a volume there, as an image does: what else is mounted there takes its place.
fn give_way(mounts: &mut Vec<ContainerMount>) {
    let is_wish = |mount: &ContainerMount| {
        !mount.long_form && matches!(mount.source, MountSource::Volume { anonymous: true, .. })
    };
    let place = |mount: &ContainerMount| ImagePath::new(&mount.target);
    let taken: Vec<ImagePath> = mounts.iter().filter(|mount| !is_wish(mount)).map(place).collect();
    mounts.retain(|mount| !is_wish(mount) || !taken.contains(&place(mount)));
}

fn name_anonymous_volumes(host: &mut HostSettings) {
    for mount in &mut host.mounts {
        if let MountSource::Volume { name, anonymous: true, .. } = &mut mount.source
            && name.is_empty()
        {
            *name = ContainerId::random().to_string();
        }
    }
}

/// Each of the image's volumes gets one of its own, unless something is mounted there.
fn add_image_volumes(host: &mut HostSettings, config: &ContainerConfig) {
    for target in &config.volumes {
        let path = ImagePath::new(target);
        if host.mounts.iter().any(|mount| ImagePath::new(&mount.target) == path) {
            continue;
        }
        host.mounts.push(ContainerMount {
            source: MountSource::anonymous_volume(),
            target: path.to_string(),
            read_only: false,
            mode: String::new(),
            long_form: false,
        });
    }
}

fn check_mounts(mounts: &[ContainerMount]) -> Result<(), CreateError> {
    for (place, mount) in mounts.iter().enumerate() {
        if !mount.target.starts_with('/') {
            return Err(CreateError::NotAbsolute(mount.target.clone()));
        }
        let path = ImagePath::new(&mount.target);
        if mounts[..place].iter().any(|earlier| ImagePath::new(&earlier.target) == path) {
            return Err(CreateError::DuplicateMount(mount.target.clone()));
        }
        if let MountSource::Bind { path, create: false, .. } = &mount.source
            && !path.exists()
        {
            return Err(CreateError::NoSource(path.clone()));
        }
    }
    Ok(())
}

/// Makes the volumes that are missing, and fills the empty ones with what the image has at their place.
pub(super) fn make_volumes(
    store: &Store,
    settings: &Settings,
    view: &View,
    now: SystemTime,
) -> Result<Vec<String>, CreateError> {
    let mut names = Vec::new();
    for mount in &settings.host.mounts {
        let MountSource::Volume { name, anonymous, no_copy, labels, options, .. } = &mount.source else {
            continue;
        };
        volume::check_options(options)?;
        let (labels, options) = (labels.clone(), options.clone());
        let volume = Volume { anonymous: *anonymous, labels, options, ..Volume::new(name.clone(), now) };
        store.create_volume(&volume)?;
        names.push(name.clone());
        let is_plain =
            store.volume(name).map_err(VolumeError::from)?.is_none_or(|volume| volume.options.is_empty());
        if !no_copy && is_plain {
            fill(store, name, &mount.target, view)?;
        }
    }
    Ok(names)
}

fn fill(store: &Store, name: &str, target: &str, view: &View) -> Result<(), CreateError> {
    let folder = store.volume_path(name)?;
    let is_empty = std::fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_none());
    let source = ImagePath::new(target);
    let Some((real, entry)) = view.resolve(&source)? else { return Ok(()) };
    if !is_empty || !entry.is_folder() {
        return Ok(());
    }
    let failed = |source: WriteError| CreateError::Fill { name: name.to_owned(), source: Box::new(source) };
    let writer = LayerWriter::open(&folder, View::empty(), Timestamp::default()).map_err(failed)?;
    // whoever owns the folder in the image is to own the volume
    writer.style_root_as(view, &real).map_err(failed)?;
    let top = Destination { path: ImagePath::root(), is_folder: true };
    copy(view, &source, &writer, &top, &CopyOptions::default()).map_err(failed)?;
    writer.finish().map_err(failed)
}
