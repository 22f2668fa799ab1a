//! `system df`: what occupies the disk.

use crate::args::system::Df;
use crate::command::container::list;
use crate::failure::Failure;
use crate::render::document;
use crate::render::listing::{Listing, ListingError};
use crate::render::units;
use crate::session::Session;
use crate::template::Schema;
use crate::verb::Verb;
use jiff::Timestamp;
use lighter_engine::Store;
use lighter_engine::container::{self, Container};
use lighter_engine::image;
use lighter_engine::system::Usage;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::SystemTime;

const SUMMARY: Listing = Listing {
    table: "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
    quiet: "{{.Type}}",
    headings: &[
        ("Type", "TYPE"),
        ("TotalCount", "TOTAL"),
        ("Active", "ACTIVE"),
        ("Size", "SIZE"),
        ("Reclaimable", "RECLAIMABLE"),
    ],
    methods: &[],
};

impl Verb for Df {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let store = session.open_store()?;
        let usage = store.usage().map_err(|error| Failure::because(&error))?;
        let containers = container::all(&store).map_err(|error| Failure::because(&error))?;
        let text = if self.verbose {
            self.detailed(&store, &usage, &containers)?
        } else {
            SUMMARY.render(self.format.as_deref(), false, &summary(&usage, &containers))?
        };
        session.print(&text).map(|()| 0)
    }
}

fn summary(usage: &Usage, containers: &[Container]) -> Vec<Value> {
    let of_image = |container: &Container, image| container.record.image == Some(image);
    let is_used = |image| containers.iter().any(|container| of_image(container, image));
    let used: Vec<_> = usage.images.iter().filter(|image| is_used(image.id)).collect();
    let used_bytes: u64 = used.iter().map(|image| image.size_bytes).sum();
    let running =
        |id| containers.iter().any(|container| container.record.id == id && container.state.is_running());
    let container_bytes: u64 = usage.containers.iter().map(|container| container.size_bytes).sum();
    let stopped: u64 = usage
        .containers
        .iter()
        .filter(|container| !running(container.id.clone()))
        .map(|container| container.size_bytes)
        .sum();
    let volume_bytes: u64 = usage.volumes.iter().map(|volume| volume.size_bytes).sum();
    let unused: u64 =
        usage.volumes.iter().filter(|volume| volume.users == 0).map(|volume| volume.size_bytes).sum();
    let busy = usage.steps.iter().filter(|step| step.in_use).count()
        + usage.mounts.iter().filter(|mount| mount.in_use).count();
    let active = containers.iter().filter(|container| container.state.is_running()).count();
    vec![
        row(
            "Images",
            usage.images.len(),
            used.len(),
            usage.images_bytes,
            usage.images_bytes.saturating_sub(used_bytes),
            true,
        ),
        row("Containers", containers.len(), active, container_bytes, stopped, true),
        row(
            "Local Volumes",
            usage.volumes.len(),
            usage.volumes.iter().filter(|volume| volume.users > 0).count(),
            volume_bytes,
            unused,
            true,
        ),
        row(
            "Build Cache",
            usage.steps.len() + usage.mounts.len(),
            busy,
            usage.cache_bytes + usage.other_bytes,
            usage.cache_bytes,
            false,
        ),
    ]
}

fn row(kind: &str, total: usize, active: usize, size: u64, reclaimable: u64, percent: bool) -> Value {
    let mut freeable = units::size(reclaimable);
    if percent && size > 0 {
        let _ = write!(freeable, " ({}%)", reclaimable.saturating_mul(100) / size);
    }
    json!({
        "Active": active.to_string(), "Reclaimable": freeable, "Size": units::size(size),
        "TotalCount": total.to_string(), "Type": kind,
    })
}

impl Df {
    /// Everything one by one, as `-v` shows it.
    fn detailed(&self, store: &Store, usage: &Usage, containers: &[Container]) -> Result<String, Failure> {
        let now = Timestamp::now();
        let images = images(store, usage, containers, now)?;
        let containers = of_containers(usage, containers, now);
        let volumes: Vec<Value> = usage
            .volumes
            .iter()
            .map(|volume| {
                json!({
                    "Driver": "local", "Links": volume.users.to_string(), "Name": volume.name, "Scope": "local",
                    "Size": units::size(volume.size_bytes),
                })
            })
            .collect();
        let cache = cache(usage, now);
        match self.format.as_deref().map(str::trim) {
            None | Some("" | "table") => tables(usage, &images, &containers, &volumes, &cache),
            Some(format) => {
                let all = json!({
                    "BuildCache": cache, "Containers": containers, "Images": images, "Volumes": volumes,
                });
                let template = format.strip_prefix("table ").unwrap_or(format);
                let template = template.replace("\\t", "\t").replace("\\n", "\n");
                let shown = document::formatted(&template, "", &all, &Schema::NOTHING);
                // here Docker ends no line that the template does not end
                let shown = shown.map_err(ListingError::from)?;
                Ok(shown.strip_suffix('\n').unwrap_or(&shown).to_owned())
            }
        }
    }
}

fn tables(
    usage: &Usage,
    images: &[Value],
    containers: &[Value],
    volumes: &[Value],
    cache: &[Value],
) -> Result<String, Failure> {
    let part = |listing: &Listing, rows: &[Value]| listing.render(None, false, rows);
    let mut text = format!("Images space usage:\n\n{}\n", part(&IMAGES, images)?);
    let _ = write!(text, "Containers space usage:\n\n{}\n", part(&CONTAINERS, containers)?);
    let _ = write!(text, "Local Volumes space usage:\n\n{}\n", part(&VOLUMES, volumes)?);
    let cached = units::size(usage.cache_bytes);
    let _ = write!(text, "Build cache usage: {cached}\n\n{}\n", part(&CACHE, cache)?);
    let _ = write!(
        text,
        "Records, history and leftovers: {}\nWhole store: {}\n",
        units::size(usage.other_bytes),
        units::size(usage.total_bytes)
    );
    Ok(text)
}

const IMAGES: Listing = Listing {
    table: "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}",
    quiet: "",
    headings: &[
        ("Repository", "REPOSITORY"),
        ("Tag", "TAG"),
        ("ID", "IMAGE ID"),
        ("CreatedSince", "CREATED"),
        ("Size", "SIZE"),
        ("SharedSize", "SHARED SIZE"),
        ("UniqueSize", "UNIQUE SIZE"),
        ("Containers", "CONTAINERS"),
    ],
    methods: &[],
};

fn images(
    store: &Store,
    usage: &Usage,
    containers: &[Container],
    now: Timestamp,
) -> Result<Vec<Value>, Failure> {
    let measured: BTreeMap<_, _> = usage.images.iter().map(|image| (image.id, image)).collect();
    let mut rows = Vec::new();
    for image in image::list(store, &[]).map_err(|error| Failure::because(&error))? {
        let Some(usage) = measured.get(&image.id) else { continue };
        let users = containers.iter().filter(|container| container.record.image == Some(image.id)).count();
        let (repository, tag) = match image.references.iter().find(|name| name.tag().is_some()) {
            Some(name) => (name.familiar_repository(), name.tag().unwrap_or_default().to_owned()),
            None => ("<none>".to_owned(), "<none>".to_owned()),
        };
        rows.push(json!({
            "Containers": users.to_string(),
            "CreatedAt": image.created.map_or_else(|| "N/A".to_owned(), units::time),
            "CreatedSince": image.created.map_or_else(|| "N/A".to_owned(), |then| units::age(then, now)),
            "ID": image.id.0.short(), "Repository": repository,
            "SharedSize": units::size(usage.shared_bytes), "Size": units::size(usage.size_bytes),
            "Tag": tag, "UniqueSize": units::size(usage.unique_bytes),
        }));
    }
    Ok(rows)
}

const CONTAINERS: Listing = Listing {
    table: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}",
    quiet: "",
    headings: &[
        ("ID", "CONTAINER ID"),
        ("Image", "IMAGE"),
        ("Command", "COMMAND"),
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Size", "SIZE"),
        ("RunningFor", "CREATED"),
        ("Status", "STATUS"),
        ("Names", "NAMES"),
    ],
    methods: &[],
};

fn of_containers(usage: &Usage, containers: &[Container], now: Timestamp) -> Vec<Value> {
    let measured: BTreeMap<_, _> =
        usage.containers.iter().map(|container| (&container.id, container.size_bytes)).collect();
    let row = |container: &Container| {
        let created = Timestamp::try_from(container.record.created_at).unwrap_or(now);
        json!({
            "Command": list::shown_command(&container.state.settings.command(), false),
            "CreatedAt": units::time(created),
            "ID": container.record.id.short(),
            "Image": container.record.image.map(|image| image.0.short()).unwrap_or_default(),
            "LocalVolumes": container.record.volumes.len().to_string(),
            "Names": container.record.name,
            "RunningFor": units::age(created, now),
            "Size": units::size(measured.get(&container.record.id).copied().unwrap_or(0)),
            "State": container.state.status.name(),
            "Status": container.state.status.name(),
        })
    };
    containers.iter().map(row).collect()
}

const VOLUMES: Listing = Listing {
    table: "{{.Name}}\t{{.Links}}\t{{.Size}}",
    quiet: "",
    headings: &[("Name", "VOLUME NAME"), ("Links", "LINKS"), ("Size", "SIZE")],
    methods: &[],
};

const CACHE: Listing = Listing {
    table: "{{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.Shared}}\t{{.Description}}",
    quiet: "",
    headings: &[
        ("ID", "CACHE ID"),
        ("CacheType", "CACHE TYPE"),
        ("Size", "SIZE"),
        ("CreatedSince", "CREATED"),
        ("LastUsedSince", "LAST USED"),
        ("Shared", "SHARED"),
        ("Description", "DESCRIPTION"),
    ],
    methods: &[],
};

fn cache(usage: &Usage, now: Timestamp) -> Vec<Value> {
    let age = |time: SystemTime| {
        Timestamp::try_from(time).map_or_else(|_| "N/A".to_owned(), |time| units::age(time, now))
    };
    let steps = usage.steps.iter().map(|step| {
        json!({
            "CacheType": "regular", "CreatedSince": age(step.created_at),
            "Description": units::ellipsis(&step.description, 50), "ID": step.key.short(),
            "InUse": step.in_use.to_string(), "LastUsedSince": age(step.last_used),
            "Shared": step.shared.to_string(), "Size": units::size(step.size_bytes),
        })
    });
    let mounts = usage.mounts.iter().map(|mount| {
        json!({
            "CacheType": "exec.cachemount", "CreatedSince": "N/A", "Description": "", "ID": mount.id,
            "InUse": mount.in_use.to_string(),
            "LastUsedSince": mount.last_used.map_or_else(|| "N/A".to_owned(), age), "Shared": "false",
            "Size": units::size(mount.size_bytes),
        })
    });
    steps.chain(mounts).collect()
}
