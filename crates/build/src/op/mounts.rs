//! The mounts of a RUN: what is there while the command runs, and leaves no trace.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use lighter_dockerfile::plan::{CacheSharing, Files, MountKind, Run, RunMount};
use lighter_image::ImagePath;
use lighter_layer::{CopyOptions, Destination, LayerWriter, Ownership, Policy, View, copy};
use lighter_sandbox::{self as sandbox, Mount, Tmpfs};
use lighter_store::{CacheMount, Sharing, Store};

use super::Below;
use super::agent::Agent;
use super::run::make_dir;
use super::select::{ignore_filter, missing};
use crate::StepError;
use crate::event::Work;
use crate::kept::{self, KeptMount, KeptSource};
use crate::site::Site;

/// Where the first SSH socket is, without its number.
const SSH_SOCKET: &str = "/run/buildkit/ssh_agent";

/// What was prepared for a command; dropping it frees it.
pub struct Mounted {
    /// The mounts, in order.
    pub mounts: Vec<Mount>,
    /// The variables that come with them.
    pub(crate) env: Vec<String>,
    held: Vec<Held>,
}

/// What lasts as long as the command.
#[expect(dead_code, reason = "held, not read")]
enum Held {
    Cache(CacheMount),
    Agent(Agent),
}

/// Prepares the mounts of a command. `beside` is a folder for what they need on the disk.
pub(crate) fn prepare(
    site: &Site<'_>,
    run: &Run,
    below: &Below<'_>,
    beside: &Path,
    work: &Work<'_>,
) -> Result<Mounted, StepError> {
    let mut mounted = Mounted { mounts: Vec::new(), env: Vec::new(), held: Vec::new() };
    let mut sockets = 0;
    for (index, mount) in run.mounts.iter().enumerate() {
        let folder = beside.join(format!("mount-{index}"));
        match &mount.kind {
            MountKind::Bind { from, source } => {
                let made = bind(site, below, (from, source), mount, &folder, work)?;
                mounted.mounts.push(made);
            }
            MountKind::Cache { .. } => cache(site, below, mount, work, &mut mounted)?,
            MountKind::Tmpfs { size_bytes } => {
                let made = tmpfs(target(mount)?, *size_bytes).with_read_only(mount.read_only);
                mounted.mounts.push(made);
            }
            MountKind::Secret { .. } => secret(site, mount, &mut mounted)?,
            MountKind::Ssh { .. } => {
                ssh(site, run, mount, &folder, sockets, &mut mounted)?;
                sockets += 1;
            }
        }
    }
    Ok(mounted)
}

/// Makes the mounts of a step that has failed once more, but for those that are gone.
pub(crate) fn again(store: &Store, mounts: &[KeptMount], beside: &Path) -> Result<Mounted, StepError> {
    let mut mounted = Mounted { mounts: Vec::new(), env: Vec::new(), held: Vec::new() };
    for (index, mount) in mounts.iter().enumerate() {
        let made = match &mount.source {
            KeptSource::Tmpfs { size_bytes } => tmpfs(&mount.target, *size_bytes),
            KeptSource::Cache { id, path } => {
                let held = store.cache_mount(id, Sharing::Shared, &|| false).map_err(StepError::store)?;
                if held.is_fresh() {
                    // it was pruned meanwhile; a build must fill it
                    continue;
                }
                let made = part(&held, path, &mount.target)?;
                mounted.held.push(Held::Cache(held));
                made
            }
            KeptSource::Layers { layers: ids, path } => {
                let folder = beside.join(format!("mount-{index}"));
                make_dir(&folder)?;
                let path = ImagePath::new(path);
                layers(kept::dirs(store, ids)?, &path, (&mount.target, mount.read_only), &folder)?
            }
            KeptSource::Gone(_) => continue,
        };
        mounted.mounts.push(made.with_read_only(mount.read_only));
    }
    Ok(mounted)
}

fn target(mount: &RunMount) -> Result<&str, StepError> {
    let missing = || StepError::Refused("a mount has no target".to_owned());
    mount.target.as_deref().ok_or_else(missing)
}

/// A file system in memory; 0 bytes are no limit.
fn tmpfs(target: &str, size_bytes: u64) -> Mount {
    let mut mount = Mount::tmpfs(target);
    if size_bytes > 0
        && let sandbox::MountKind::Tmpfs(tmpfs) = &mut mount.kind
    {
        *tmpfs = Tmpfs { size_bytes: Some(size_bytes), ..tmpfs.clone() };
    }
    mount.suid = false;
    mount
}

/// A bind mount: read-only, or with writes that are thrown away.
fn bind(
    site: &Site<'_>,
    below: &Below<'_>,
    (from, source): (&Files, &str),
    mount: &RunMount,
    folder: &Path,
    work: &Work<'_>,
) -> Result<Mount, StepError> {
    make_dir(folder)?;
    let path = ImagePath::new(source);
    let lowers = match from {
        Files::Step(id) => site.paths(below.snapshot(*id), work)?,
        Files::Empty => Vec::new(),
        Files::Context | Files::NamedContext(_) => vec![context_tree(site, from, &path, folder)?],
    };
    layers(lowers, &path, (target(mount)?, mount.read_only), folder)
}

/// A path in layers: read-only, or with writes that are thrown away. `folder` is for what that needs on the disk.
fn layers(
    lowers: Vec<PathBuf>,
    path: &ImagePath,
    (target, read_only): (&str, bool),
    folder: &Path,
) -> Result<Mount, StepError> {
    let view = View::open(&lowers)?;
    if view.resolve(path)?.is_none() {
        return Err(missing(path));
    }
    let scratch = || -> Result<sandbox::Scratch, StepError> {
        let (upper, work) = (folder.join("upper"), folder.join("work"));
        make_dir(&upper)?;
        make_dir(&work)?;
        lighter_layer::prepare_root(&upper, &view)?;
        Ok(sandbox::Scratch { upper, work })
    };
    let lowers = if lowers.is_empty() {
        let empty = folder.join("empty");
        make_dir(&empty)?;
        vec![empty]
    } else {
        lowers
    };
    let scratch = if read_only { None } else { Some(scratch()?) };
    let mut made = Mount::overlay(lowers, scratch, target);
    if let sandbox::MountKind::Overlay { source, .. } = &mut made.kind {
        *source = path.to_string();
    }
    Ok(made)
}

/// The part of a context that a mount shows, as a layer: without what is ignored, and all of it root's.
fn context_tree(
    site: &Site<'_>,
    from: &Files,
    path: &ImagePath,
    folder: &Path,
) -> Result<PathBuf, StepError> {
    let context = site.context(from)?;
    let tree = folder.join("context");
    make_dir(&tree)?;
    let view = View::open_directory(&context.root)?;
    let (real, entry) = view.resolve(path)?.ok_or_else(|| missing(path))?;
    let filter = ignore_filter(context.ignore.as_deref(), &real);
    let writer = LayerWriter::open(&tree, View::empty(), site.timestamp())?;
    let options = CopyOptions {
        owner: (!context.keeps_owners).then_some((0, 0)),
        xattrs: context.keeps_owners,
        filter: Some(&filter),
        ..CopyOptions::default()
    };
    let destination = Destination { path: path.clone(), is_folder: entry.is_folder() };
    copy(&view, &real, &writer, &destination, &options)?;
    writer.finish()?;
    Ok(tree)
}

/// A cache mount: a new one is filled first.
fn cache(
    site: &Site<'_>,
    below: &Below<'_>,
    mount: &RunMount,
    work: &Work<'_>,
    mounted: &mut Mounted,
) -> Result<(), StepError> {
    let MountKind::Cache { id, from, source, sharing, mode, uid, gid } = &mount.kind else { return Ok(()) };
    let sharing = match sharing {
        CacheSharing::Shared => Sharing::Shared,
        CacheSharing::Private => Sharing::Private,
        CacheSharing::Locked => Sharing::Locked,
    };
    let id = &cache_id(below, id, &mount.kind);
    let mut held =
        site.store.cache_mount(id, sharing, &|| site.cancel.is_cancelled()).map_err(StepError::store)?;
    if held.is_fresh() {
        let data = held.path();
        if *from == Files::Empty {
            site.fetch.shared().fill_mount(id, &data, work)?;
        }
        let (mode, uid, gid) = match from {
            Files::Empty => (mode.unwrap_or(0o755), uid.unwrap_or(0), gid.unwrap_or(0)),
            _ => fill(site, below, (from, source), &data, work)?,
        };
        let owner = || {
            chown(&data, Some(uid), Some(gid))?;
            std::fs::set_permissions(&data, std::fs::Permissions::from_mode(mode))
        };
        owner().map_err(StepError::io(format!("preparing cache mount `{id}`")))?;
        held.filled().map_err(StepError::store)?;
    }
    let made = part(&held, part_of_cache(from, source), target(mount)?)?;
    mounted.mounts.push(made.with_read_only(mount.read_only));
    mounted.held.push(Held::Cache(held));
    Ok(())
}

/// What of a cache mount is shown: where it starts empty, `source` is a path in it.
pub(crate) fn part_of_cache<'a>(from: &Files, source: &'a str) -> &'a str {
    if *from == Files::Empty { source } else { "/" }
}

/// Shows a path in a cache mount, which must be there. Another command may have that mount as well and change what is on
/// the way: where it leads is for the sandbox to find, inside the mount.
fn part(held: &CacheMount, path: &str, target: &str) -> Result<Mount, StepError> {
    let (root, path) = (held.path(), ImagePath::new(path));
    if path.is_root() {
        return Ok(Mount::bind(root, target));
    }
    if View::open_directory(&root)?.resolve(&path)?.is_none() {
        return Err(missing(&path));
    }
    Ok(Mount::part(root, path.to_string(), target))
}

/// What the store calls a cache mount.
pub(crate) fn cache_id(below: &Below<'_>, id: &str, kind: &MountKind) -> String {
    beginning(below, kind).map_or_else(|| id.to_owned(), |beginning| format!("{id} ({beginning})"))
}

/// What a cache mount starts from, where that is not an empty folder: as in Docker, mounts of one name that start from
/// different things are different ones.
fn beginning(below: &Below<'_>, kind: &MountKind) -> Option<String> {
    let MountKind::Cache { from, source, mode, uid, gid, .. } = kind else { return None };
    match from {
        Files::Empty if mode.is_none() && uid.is_none() && gid.is_none() => None,
        Files::Empty => {
            let (mode, uid, gid) = (mode.unwrap_or(0o755), uid.unwrap_or(0), gid.unwrap_or(0));
            Some(format!("{mode:o} {uid}:{gid}"))
        }
        Files::Step(id) => Some(format!("from {} {source}", below.snapshot(*id).identity())),
        Files::Context => Some(format!("from context {source}")),
        Files::NamedContext(name) => Some(format!("from {name} {source}")),
    }
}

/// Copies into a new cache mount what it shall start from, and says its mode and owner.
fn fill(
    site: &Site<'_>,
    below: &Below<'_>,
    (from, source): (&Files, &str),
    data: &Path,
    work: &Work<'_>,
) -> Result<(u32, u32, u32), StepError> {
    let path = ImagePath::new(source);
    let (view, context) = match from {
        Files::Step(id) => (site.view(below.snapshot(*id), work)?, None),
        Files::Context | Files::NamedContext(_) => {
            let context = site.context(from)?;
            (View::open_directory(&context.root)?, Some(context))
        }
        Files::Empty => return Ok((0o755, 0, 0)),
    };
    let (real, entry) = view.resolve(&path)?.ok_or_else(|| missing(&path))?;
    let filter = ignore_filter(context.and_then(|context| context.ignore.as_deref()), &real);
    let is_local = context.is_some_and(|context| !context.keeps_owners);
    let writer = LayerWriter::open(data, View::empty(), site.timestamp())?;
    let options = CopyOptions {
        owner: is_local.then_some((0, 0)),
        xattrs: !is_local,
        filter: Some(&filter),
        ..CopyOptions::default()
    };
    copy(&view, &real, &writer, &Destination { path: ImagePath::root(), is_folder: true }, &options)?;
    writer.finish()?;
    // what has no owner here looks like root's, as the files in it do
    let keeps_owners = !is_local && Policy::of_process().ownership == Ownership::Real;
    let (uid, gid) = if keeps_owners { (entry.uid, entry.gid) } else { (0, 0) };
    Ok((entry.mode_bits, uid, gid))
}

/// A secret: a file, a variable, or both.
fn secret(site: &Site<'_>, mount: &RunMount, mounted: &mut Mounted) -> Result<(), StepError> {
    let MountKind::Secret { id, mode, uid, gid, env, required } = &mount.kind else { return Ok(()) };
    let Some(secret) = site.inputs.secrets.get(id) else {
        return if *required { Err(StepError::Refused(format!("secret {id}: not found"))) } else { Ok(()) };
    };
    if let Some(name) = env {
        let value = String::from_utf8_lossy(secret.reveal());
        mounted.env.push(format!("{name}={value}"));
    }
    if let Some(target) = &mount.target {
        let file = Mount::file(secret.reveal(), *mode, (*uid, *gid), target.clone());
        mounted.mounts.push(file.with_read_only(true).with_data_only());
    }
    Ok(())
}

/// A socket that leads to an agent of the caller's.
fn ssh(
    site: &Site<'_>,
    run: &Run,
    mount: &RunMount,
    folder: &Path,
    number: usize,
    mounted: &mut Mounted,
) -> Result<(), StepError> {
    let MountKind::Ssh { id, mode, uid, gid, required } = &mount.kind else { return Ok(()) };
    let target = mount.target.clone().unwrap_or_else(|| format!("{SSH_SOCKET}.{number}"));
    let is_set = run.env.iter().any(|(name, _)| name == "SSH_AUTH_SOCK");
    if number == 0 && !is_set {
        // also where nothing is: a program then says that the agent is missing, not that it was not asked for
        mounted.env.push(format!("SSH_AUTH_SOCK={target}"));
    }
    let Some(agent) = site.inputs.ssh.get(id) else {
        return if *required {
            Err(StepError::Refused(format!("ssh key \"{id}\" is not forwarded: give it with --ssh {id}")))
        } else {
            Ok(())
        };
    };
    make_dir(folder)?;
    let socket = folder.join("agent");
    let held = Agent::forward(&socket, agent).map_err(StepError::io("forwarding the SSH agent"))?;
    let own = || {
        chown(&socket, Some(*uid), Some(*gid))?;
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(*mode))
    };
    own().map_err(StepError::io("giving the SSH socket its owner"))?;
    mounted.mounts.push(Mount::bind(socket, target).with_data_only());
    mounted.held.push(Held::Agent(held));
    Ok(())
}
