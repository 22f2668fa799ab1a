//! `image prune`, `builder prune`, `system prune`: what nothing needs goes.

use crate::args::builder::BuilderPrune;
use crate::args::system::{ImagePrune, SystemPrune};
use crate::command::builder::only_default;
use crate::command::container::{network, prune as stopped, volume};
use crate::failure::Failure;
use crate::render::units;
use crate::session::Session;
use crate::verb::Verb;
use jiff::Timestamp;
use lighter_engine::Store;
use lighter_engine::image::{Filter, Removed};
use lighter_engine::system::{Freed, PruneSteps, prune_images};
use std::time::SystemTime;

const DANGLING_IMAGES: &str = "WARNING! This will remove all dangling images.";
const UNUSED_IMAGES: &str =
    "WARNING! This will remove all images without at least one container associated to them.";
const DANGLING_CACHE: &str = "WARNING! This will remove all dangling build cache.";
const ALL_CACHE: &str = "WARNING! This will remove all build cache.";
const QUESTION: &str = "Are you sure you want to continue?";

impl Verb for ImagePrune {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let filters = filters(&self.filter)?;
        let all = self.all || filters.contains(&Filter::Dangling(false));
        let warning = if all { UNUSED_IMAGES } else { DANGLING_IMAGES };
        if !self.force && !session.confirms(&format!("{warning}\n{QUESTION}"))? {
            return Ok(0);
        }
        let filters: Vec<Filter> =
            filters.into_iter().filter(|filter| !matches!(filter, Filter::Dangling(_))).collect();
        let store = session.open_store()?;
        let (removed, freed) =
            prune_images(&store, &filters, all).map_err(|error| Failure::because(&error))?;
        // what interrupted work left goes on this occasion too, but it was no image
        let bytes = if removed.is_empty() { 0 } else { freed.bytes };
        session.print(&format!("{}{}", images(&removed), total(bytes))).map(|()| 0)
    }
}

impl Verb for BuilderPrune {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        only_default(self.builder.as_deref())?;
        let until = self.until()?;
        let warning = if self.all { ALL_CACHE } else { DANGLING_CACHE };
        if !self.force && !session.confirms(&format!("{warning} {QUESTION}"))? {
            return Ok(0);
        }
        let store = session.open_store()?;
        let keep_bytes = match self.keep(&store)? {
            Keep::Nothing => None,
            Keep::AtMost(bytes) => Some(bytes),
            // the disk has room enough
            Keep::All => return session.print("Total:\t0B\n").map(|()| 0),
        };
        let wanted = PruneSteps { all: self.all, mounts: true, until, keep_bytes, only: None };
        let freed = store.prune_steps(&wanted).map_err(|error| Failure::because(&error))?;
        session.print(&format!("{}Total:\t{}\n", records(&freed), units::size(freed.bytes))).map(|()| 0)
    }
}

/// How much of the build cache is to stay.
enum Keep {
    Nothing,
    AtMost(u64),
    All,
}

impl BuilderPrune {
    /// As BuildKit reckons: as much as `--max-used-space` allows, less where `--min-free-space` wants it, but never less
    /// than `--reserved-space`.
    fn keep(&self, store: &Store) -> Result<Keep, Failure> {
        let reserved = self.reserved_space.or(self.keep_storage).filter(|bytes| *bytes > 0);
        let most = self.max_used_space.filter(|bytes| *bytes > 0);
        let Some(free) = self.min_free_space.filter(|bytes| *bytes > 0) else {
            let keep = most.max(reserved);
            return Ok(keep.map_or(Keep::Nothing, Keep::AtMost));
        };
        let disk = rustix::fs::statvfs(store.root()).map_err(|error| Failure::because(&error))?;
        let missing = free.saturating_sub(disk.f_bavail * disk.f_frsize);
        let most = match missing {
            0 => most,
            missing => {
                let used = store.usage().map_err(|error| Failure::because(&error))?.cache_bytes;
                let left = used.saturating_sub(missing);
                Some(most.map_or(left, |most| most.min(left)))
            }
        };
        Ok(most.map_or(Keep::All, |most| Keep::AtMost(most.max(reserved.unwrap_or(0)))))
    }

    fn until(&self) -> Result<Option<SystemTime>, Failure> {
        let mut until = None;
        for filter in &self.filter {
            match Filter::parse(filter, Timestamp::now()) {
                Ok(Filter::Until(time)) => until = Some(SystemTime::from(time)),
                Err(error) if filter.starts_with("until=") => return Err(Failure::because(&error)),
                _ => {
                    return Err(Failure::new(format!(
                        "Error: invalid filter `{filter}`: the build cache is filtered by until"
                    )));
                }
            }
        }
        Ok(until)
    }
}

impl Verb for SystemPrune {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let filters = filters(&self.filter)?;
        let until = filters.iter().find_map(|filter| match filter {
            Filter::Until(time) => Some(SystemTime::from(*time)),
            _ => None,
        });
        if self.volumes && until.is_some() {
            return Err(Failure::new("ERROR: The \"until\" filter is not supported with \"--volumes\""));
        }
        let of_containers = stopped::filters(&self.filter)?;
        if !self.force && !session.confirms(&self.warning())? {
            return Ok(0);
        }
        let store = session.open_store()?;
        let (mut text, mut freed) = stopped::stopped(&store, &of_containers)?;
        text.push_str(&network::prune(&store, &of_containers)?);
        if self.volumes {
            let (told, bytes) = volume::prune_anonymous(&store, &self.filter)?;
            text.push_str(&told);
            freed += bytes;
        }
        let (removed, of_images) =
            prune_images(&store, &filters, self.all).map_err(|error| Failure::because(&error))?;
        text.push_str(&images(&removed));
        // labels say nothing of it, as in Docker
        let wanted = PruneSteps { all: self.all, mounts: true, until, keep_bytes: None, only: None };
        // what the removal above has looked at is pinned while that store is open: the base of a step would stay
        drop(store);
        let store = session.open_store()?;
        let cache = store.prune_steps(&wanted).map_err(|error| Failure::because(&error))?;
        text.push_str(&records(&cache));
        text.push_str(&total(freed + of_images.bytes + cache.bytes));
        session.print(&text).map(|()| 0)
    }
}

impl SystemPrune {
    fn warning(&self) -> String {
        let images = if self.all {
            "all images without at least one container associated to them"
        } else {
            "all dangling images"
        };
        let volumes =
            if self.volumes { "\n  - all anonymous volumes not used by at least one container" } else { "" };
        let cache = if self.all { "all build cache" } else { "unused build cache" };
        let filters = match self.filter.as_slice() {
            [] => String::new(),
            filters => {
                let lines: String = filters.iter().flat_map(|filter| ["  - ", filter, "\n"]).collect();
                format!("\n  Items to be pruned will be filtered with:\n{lines}")
            }
        };
        format!(
            "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container{volumes}\n  - {images}\n  - {cache}\n{filters}\n{QUESTION}"
        )
    }
}

fn filters(texts: &[String]) -> Result<Vec<Filter>, Failure> {
    let now = Timestamp::now();
    texts
        .iter()
        .map(|text| Filter::parse(text, now))
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::because(&error))
}

fn images(removed: &[Removed]) -> String {
    if removed.is_empty() {
        return String::new();
    }
    let lines = removed.iter().map(|one| match one {
        Removed::Untagged(name) => format!("untagged: {}\n", name.familiar()),
        Removed::Deleted(id) => format!("deleted: {id}\n"),
    });
    format!("Deleted Images:\n{}\n", lines.collect::<String>())
}

fn records(freed: &Freed) -> String {
    if freed.steps.is_empty() && freed.mounts.is_empty() {
        return String::new();
    }
    let steps = freed.steps.iter().map(|step| format!("{}\n", step.short()));
    let lines: String = steps.chain(freed.mounts.iter().map(|mount| format!("{mount}\n"))).collect();
    format!("Deleted build cache objects:\n{lines}\n")
}

fn total(bytes: u64) -> String {
    format!("Total reclaimed space: {}\n", units::size(bytes))
}
