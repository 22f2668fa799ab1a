//! `system df`: what occupies the disk.

use crate::args::system::Df;
use crate::command::container::list;
use crate::failure::Failure;
use crate::render::listing::Listing;
use crate::render::units;
use crate::session::Session;
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
            detailed(&store, &usage, &containers)?
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

/// Everything one by one, as `-v` shows it.
fn detailed(store: &Store, usage: &Usage, containers: &[Container]) -> Result<String, Failure> {
    let now = Timestamp::now();
    let mut text = String::new();
    let _ = write!(text, "Images space usage:\n\n{}\n", images(store, usage, containers, now)?);
    let _ = write!(text, "Containers space usage:\n\n{}\n", of_containers(usage, containers, now)?);
    let rows: Vec<Value> = usage
        .volumes
        .iter()
        .map(|volume| json!({"Name": volume.name, "Links": volume.users.to_string(), "Size": units::size(volume.size_bytes)}))
        .collect();
    let volumes = Listing {
        table: "{{.Name}}\t{{.Links}}\t{{.Size}}",
        quiet: "",
        headings: &[("Name", "VOLUME NAME"), ("Links", "LINKS"), ("Size", "SIZE")],
        methods: &[],
    };
    let _ = write!(text, "Local Volumes space usage:\n\n{}\n", volumes.render(None, false, &rows)?);
    let _ = write!(text, "Build cache usage: {}\n\n{}\n", units::size(usage.cache_bytes), cache(usage, now)?);
    let _ = write!(
        text,
        "Records, history and leftovers: {}\nWhole store: {}\n",
        units::size(usage.other_bytes),
        units::size(usage.total_bytes)
    );
    Ok(text)
}

fn images(store: &Store, usage: &Usage, containers: &[Container], now: Timestamp) -> Result<String, Failure> {
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
            "Repository": repository, "Tag": tag, "ID": image.id.0.short(),
            "CreatedSince": image.created.map_or_else(|| "N/A".to_owned(), |then| units::age(then, now)),
            "Size": units::size(usage.size_bytes), "SharedSize": units::size(usage.shared_bytes),
            "UniqueSize": units::size(usage.unique_bytes), "Containers": users.to_string(),
        }));
    }
    let listing = Listing {
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
    Ok(listing.render(None, false, &rows)?)
}

fn of_containers(usage: &Usage, containers: &[Container], now: Timestamp) -> Result<String, Failure> {
    let measured: BTreeMap<_, _> =
        usage.containers.iter().map(|container| (&container.id, container.size_bytes)).collect();
    let rows: Vec<Value> = containers
        .iter()
        .map(|container| {
            let created = Timestamp::try_from(container.record.created_at).unwrap_or(now);
            json!({
                "ID": container.record.id.short(),
                "Image": container.record.image.map(|image| image.0.short()).unwrap_or_default(),
                "Command": list::shown_command(&container.state.settings.command(), false),
                "LocalVolumes": container.record.volumes.len().to_string(),
                "Size": units::size(measured.get(&container.record.id).copied().unwrap_or(0)),
                "RunningFor": units::age(created, now),
                "Status": container.state.status.name(),
                "Names": container.record.name,
            })
        })
        .collect();
    let listing = Listing {
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
    Ok(listing.render(None, false, &rows)?)
}

fn cache(usage: &Usage, now: Timestamp) -> Result<String, Failure> {
    let age = |time: SystemTime| {
        Timestamp::try_from(time).map_or_else(|_| "N/A".to_owned(), |time| units::age(time, now))
    };
    let steps = usage.steps.iter().map(|step| {
        json!({
            "ID": step.key.short(), "CacheType": "regular", "Size": units::size(step.size_bytes),
            "CreatedSince": age(step.created_at), "LastUsedSince": age(step.last_used),
            "Shared": step.shared.to_string(), "Description": units::ellipsis(&step.description, 50),
        })
    });
    let mounts = usage.mounts.iter().map(|mount| {
        json!({
            "ID": mount.id, "CacheType": "exec.cachemount", "Size": units::size(mount.size_bytes),
            "CreatedSince": "N/A", "LastUsedSince": mount.last_used.map_or_else(|| "N/A".to_owned(), age),
            "Shared": "false", "Description": "",
        })
    });
    let rows: Vec<Value> = steps.chain(mounts).collect();
    let listing = Listing {
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
    Ok(listing.render(None, false, &rows)?)
}
