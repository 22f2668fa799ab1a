//! COPY, ADD and WORKDIR: files written straight into the new layer, without a mount.

use std::fs::File;
use std::io::{Seek as _, SeekFrom};
use std::path::Path;

use lighter_dockerfile::ignore::Patterns;
use lighter_dockerfile::plan::{
    Chmod, Copy, Files, GitSource, HttpSource, InlineFile, PathSource, Source, Workdir,
};
use lighter_image::ImagePath;
use lighter_layer::compress::Decoder;
use lighter_layer::{
    Copied, CopyOptions, Destination, Earlier, Extent, ExtractOptions, Filter, Inventory, LayerWriter,
    Listing, Metadata, ModeChange, NewFolders, OpenLayer, Packed, Timestamp, View, ViewError, WriteError,
    copy, copy_over, extract_archive, is_archive,
};
use lighter_store::Scratch;

use super::select::{Selected, Sieve, plain_prefix, select};
use super::user::{Accounts, has_names};
use super::{Below, Fetched, accounts};
use crate::event::Work;
use crate::site::Site;
use crate::{ContextFiles, StepError};

/// So many files are copied before it is worth while to write down which.
const WORTH_AN_INVENTORY: u64 = 64;
/// Up to this average size of files, it costs more to open and read them once more than to hash them.
const SMALL_ON_AVERAGE: u64 = 64 << 10;
/// The mode of a file given in the Dockerfile.
const INLINE_MODE: u32 = 0o644;
/// The mode of a file that was fetched.
const FETCHED_MODE: u32 = 0o600;

/// Copies. What is new is in the scratch layer then. Where most of it are small files of the caller's, its diff id is
/// known, too: to read them once more would take longer than to hash them by the way. With a listing, just what it has
/// is copied, and it learns the digests of the files.
pub(crate) fn copy_files(
    site: &Site<'_>,
    copy: &Copy,
    below: &Below<'_>,
    fetched: &[Option<Fetched>],
    (scratch, listing): (&Scratch, Option<&Listing>),
    work: &Work<'_>,
) -> Result<Option<Packed>, StepError> {
    let names = copy.chown.as_deref().is_some_and(has_names);
    let parent = if copy.link && !names { View::empty() } else { site.view(below.parent, work)? };
    let owner = owner(copy, &parent, names)?;
    let base = if copy.link { View::empty() } else { parent };
    let writer = LayerWriter::open(&scratch.fs(), base, site.timestamp())?;
    let job = Job { scratch: Some(scratch), listing, ..Job::new(site, copy, below, &writer, owner, work)? };
    for (index, source) in copy.sources.iter().enumerate() {
        if site.cancel.is_cancelled() {
            return Err(StepError::Cancelled);
        }
        match (source, fetched.get(index).and_then(Option::as_ref)) {
            (Source::Path(path), _) => job.path(path)?,
            (Source::Inline(file), _) => job.inline(file)?,
            (Source::Http(http), Some(Fetched::Http(file))) => job.http(http, file)?,
            (Source::Git(git), Some(Fetched::Git(commit))) => job.git(git, commit, work)?,
            (Source::Http(_) | Source::Git(_), _) => {
                return Err(StepError::Refused("a source was not fetched".to_owned()));
            }
        }
    }
    Ok(writer.finish_packed()?)
}

/// Writes only what differs from the layer of an earlier COPY, which this one's directory lies on. `false` where that
/// cannot be done: the scratch layer is worthless then.
pub(crate) fn copy_difference(
    site: &Site<'_>,
    copy: &Copy,
    below: &Below<'_>,
    (layer, inventory): (&Path, &Inventory),
    scratch: &Scratch,
    work: &Work<'_>,
) -> Result<bool, StepError> {
    let names = copy.chown.as_deref().is_some_and(has_names);
    let under = if copy.link && !names { View::empty() } else { site.view(below.parent, work)? };
    let owner = owner(copy, &under, names)?;
    let parent = if copy.link { View::empty() } else { under };
    let base = parent.with_layer(OpenLayer::open(layer)?);
    let writer = LayerWriter::open(&scratch.fs(), base, site.timestamp())?;
    let job = Job::new(site, copy, below, &writer, owner, work)?;
    let earlier = Earlier { parent: &parent, layer: &View::open(&[layer])?, inventory };
    let is_done = job.difference(earlier)?;
    writer.finish()?;
    Ok(is_done)
}

/// Whether all that a COPY takes is what is in one directory of the caller's.
pub(crate) fn is_of_folder(copy: &Copy) -> bool {
    let is_context = matches!(copy.from, Files::Context | Files::NamedContext(_));
    match &copy.sources[..] {
        [Source::Path(path)] => is_context && path.kept.is_empty() && !path.has_wildcards,
        _ => false,
    }
}

/// Whether there are many files, and most of them small.
pub(crate) const fn is_of_small_files(extent: Extent) -> bool {
    extent.files >= WORTH_AN_INVENTORY && extent.size_bytes / extent.files <= SMALL_ON_AVERAGE
}

/// Makes the folder of a WORKDIR.
pub(crate) fn make_workdir(
    site: &Site<'_>,
    workdir: &Workdir,
    below: &Below<'_>,
    scratch: &Scratch,
    work: &Work<'_>,
) -> Result<(), StepError> {
    let parent = site.view(below.parent, work)?;
    let path = ImagePath::new(&workdir.path);
    let found = parent.lookup(&parent.canonical(&path)?)?;
    let accounts = if has_names(&workdir.owner) { accounts(&parent)? } else { Accounts::default() };
    let owner = match workdir.owner.as_str() {
        "" => None,
        name => Some(accounts.owner(name).map_err(|error| StepError::Refused(error.to_string()))?),
    };
    let writer = LayerWriter::open(&scratch.fs(), parent, site.timestamp())?;
    if !found.is_some_and(|found| found.is_folder()) {
        writer.make_folders(&path, NewFolders { mode_bits: 0o755, owner })?;
    }
    writer.finish()?;
    Ok(())
}

fn owner(copy: &Copy, parent: &View, names: bool) -> Result<Option<(u32, u32)>, StepError> {
    let Some(chown) = &copy.chown else { return Ok(None) };
    let accounts = if names { accounts(parent)? } else { Accounts::default() };
    accounts.owner(chown).map(Some).map_err(|error| StepError::Refused(error.to_string()))
}

/// The tree that paths are taken from, and the context it belongs to.
pub(crate) fn source_tree<'a>(
    site: &'a Site<'_>,
    copy: &Copy,
    below: &Below<'_>,
    work: &Work<'_>,
) -> Result<(View, Option<&'a ContextFiles>), StepError> {
    if !copy.sources.iter().any(|source| matches!(source, Source::Path(_))) {
        return Ok((View::empty(), None));
    }
    match &copy.from {
        Files::Step(id) => Ok((site.view(below.snapshot(*id), work)?, None)),
        Files::Empty => Ok((View::empty(), None)),
        Files::Context | Files::NamedContext(_) => {
            let context = site.context(&copy.from)?;
            Ok((View::open_directory(&context.root)?, Some(context)))
        }
    }
}

struct Job<'a> {
    site: &'a Site<'a>,
    copy: &'a Copy,
    writer: &'a LayerWriter,
    owner: Option<(u32, u32)>,
    mode: Option<ModeChange>,
    excludes: Option<Patterns>,
    from: View,
    context: Option<&'a ContextFiles>,
    /// Where an inventory of what is copied may be left.
    scratch: Option<&'a Scratch>,
    /// What the source was listed as, where its files are not read yet.
    listing: Option<&'a Listing>,
}

impl<'a> Job<'a> {
    fn new(
        site: &'a Site<'a>,
        copy: &'a Copy,
        below: &Below<'_>,
        writer: &'a LayerWriter,
        owner: Option<(u32, u32)>,
        work: &Work<'_>,
    ) -> Result<Self, StepError> {
        let refused = |error: &dyn std::fmt::Display| StepError::Refused(error.to_string());
        let (from, context) = source_tree(site, copy, below, work)?;
        let mode = match &copy.chmod {
            Some(Chmod::Bits(bits)) => Some(ModeChange::Octal(*bits)),
            Some(Chmod::Symbolic(text)) => Some(ModeChange::parse(text).map_err(|error| refused(&error))?),
            None => None,
        };
        let excludes = if copy.excludes.is_empty() {
            None
        } else {
            Some(Patterns::new(&copy.excludes).map_err(|error| refused(&error))?)
        };
        Ok(Self { site, copy, writer, owner, mode, excludes, from, context, scratch: None, listing: None })
    }
}

impl Job<'_> {
    fn is_local(&self) -> bool {
        self.context.is_some_and(|context| !context.keeps_owners)
    }

    /// The owner of what comes from nowhere in particular.
    fn owner_or_root(&self) -> (u32, u32) {
        self.owner.unwrap_or((0, 0))
    }

    fn new_folders(&self) -> NewFolders {
        let mode_bits = self.mode.as_ref().map_or(0o755, ModeChange::of_new_folders);
        NewFolders { mode_bits, owner: self.owner }
    }

    fn options<'f>(&'f self, filter: Option<Filter<'f>>) -> CopyOptions<'f> {
        CopyOptions {
            owner: if self.is_local() { Some(self.owner_or_root()) } else { self.owner },
            folder_owner: self.owner,
            mode: self.mode.as_ref(),
            xattrs: !self.is_local(),
            filter,
            ..CopyOptions::default()
        }
    }

    /// A path or a pattern.
    fn path(&self, source: &PathSource) -> Result<(), StepError> {
        let ignore = self.context.and_then(|context| context.ignore.as_deref());
        let kept = if source.kept.is_empty() {
            None
        } else {
            let patterns = Patterns::new([source.kept.as_str()]);
            Some(patterns.map_err(|error| StepError::Refused(error.to_string()))?)
        };
        let sieve = Sieve {
            ignore,
            excludes: self.excludes.as_ref(),
            kept: kept.as_ref(),
            kept_prefix: plain_prefix(&source.kept),
        };
        for selected in select(&self.from, source, ignore)? {
            let unpacks = self.copy.is_add && self.copy.unpack != Some(false) && !selected.is_folder;
            if unpacks && self.unpack(&selected)? {
                continue;
            }
            let filter = sieve.filter(&selected.real);
            let destination = self.destination(&selected, !source.kept.is_empty())?;
            let packs = self.packs(&selected)?;
            let options = CopyOptions { packs, listing: self.listing, ..self.options(Some(&filter)) };
            let copied = copy(&self.from, &selected.real, self.writer, &destination, &options)?;
            self.leave_inventory(&selected, &options, copied)?;
        }
        Ok(())
    }

    /// Whether the diff id is taken while the files are copied.
    fn packs(&self, selected: &Selected) -> Result<bool, StepError> {
        let wants_another = self.site.inputs.clamp_seconds.is_some();
        if self.scratch.is_none()
            || !selected.is_folder
            || !self.is_local()
            || !is_of_folder(self.copy)
            || wants_another
        {
            return Ok(false);
        }
        let listing = self.site.listings.holding(self.site, &self.copy.from, &selected.real)?;
        let (files, size_bytes) = listing.size(&selected.real);
        Ok(is_of_small_files(Extent { files, size_bytes, unread: 0 }))
    }

    /// Writes down what was copied, where a later COPY can gain by it.
    fn leave_inventory(
        &self,
        selected: &Selected,
        options: &CopyOptions<'_>,
        copied: Copied,
    ) -> Result<(), StepError> {
        let Some(scratch) = self.scratch else { return Ok(()) };
        if copied.files < WORTH_AN_INVENTORY
            || !selected.is_folder
            || !self.is_local()
            || !is_of_folder(self.copy)
        {
            return Ok(());
        }
        let listing = self.site.listings.holding(self.site, &self.copy.from, &selected.real)?;
        match listing.inventory(&selected.real, options) {
            Some(inventory) if inventory.agrees_with(&copied) => {
                inventory.save(&scratch.inventory()).map_err(StepError::io("writing an inventory".to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// Writes only what differs from an earlier copy of the same directory.
    fn difference(&self, earlier: Earlier<'_>) -> Result<bool, StepError> {
        let [Source::Path(source)] = &self.copy.sources[..] else { return Ok(false) };
        let ignore = self.context.and_then(|context| context.ignore.as_deref());
        let sieve = Sieve { ignore, excludes: self.excludes.as_ref(), kept: None, kept_prefix: Vec::new() };
        let selected = select(&self.from, source, ignore)?;
        let [selected] = &selected[..] else { return Ok(false) };
        if !selected.is_folder || !self.is_local() {
            return Ok(false);
        }
        let filter = sieve.filter(&selected.real);
        let destination = self.destination(selected, false)?;
        let options = self.options(Some(&filter));
        let listing = self.site.listings.holding(self.site, &self.copy.from, &selected.real)?;
        let Some(now) = listing.inventory(&selected.real, &options) else { return Ok(false) };
        let real = &selected.real;
        Ok(copy_over(&self.from, real, self.writer, &destination, &options, (earlier, &now))?)
    }

    /// Where something selected goes. A link that was followed keeps the name that it was reached by.
    fn destination(&self, selected: &Selected, is_pivot: bool) -> Result<Destination, StepError> {
        let plain = Destination {
            path: ImagePath::new(&self.copy.destination),
            is_folder: self.copy.destination_is_folder || is_pivot,
        };
        if selected.is_folder || selected.real.file_name() == selected.named.file_name() {
            return Ok(plain);
        }
        self.file_at(&plain, selected.named.file_name().unwrap_or_default())
    }

    /// The exact path of a file with a name of its own.
    fn file_at(&self, destination: &Destination, name: &[u8]) -> Result<Destination, StepError> {
        let view = self.writer.view();
        let there = view.resolve(&destination.path)?;
        let into = destination.is_folder || there.is_some_and(|(_, entry)| entry.is_folder());
        let path = if into { destination.path.join(name) } else { destination.path.clone() };
        if view.lookup(&path)?.is_some_and(|entry| entry.is_folder()) {
            return Err(StepError::from(WriteError::IsFolder { path }));
        }
        Ok(Destination { path, is_folder: false })
    }

    /// A local archive is unpacked; `false` where it is none.
    fn unpack(&self, selected: &Selected) -> Result<bool, StepError> {
        match self.from.open_file(&selected.real) {
            Ok(file) => self.unpack_file(&file, &selected.named.to_string()),
            // a pipe or a device, which is copied
            Err(ViewError::WrongKind { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// An archive is unpacked, packed or not; `false` for any other file.
    fn unpack_file(&self, file: &File, name: &str) -> Result<bool, StepError> {
        let fail = || StepError::io(format!("reading `{name}`"));
        let mut rewound = file;
        // what cannot be unpacked is no archive, and is copied as it is
        let Ok(stream) = Decoder::new(file) else { return Ok(false) };
        if !is_archive(stream) {
            return Ok(false);
        }
        rewound.seek(SeekFrom::Start(0)).map_err(fail())?;
        let stream = Decoder::new(file).map_err(fail())?;
        let options = ExtractOptions { owner: self.owner, ..ExtractOptions::default() };
        let destination = ImagePath::new(&self.copy.destination);
        extract_archive(stream, self.writer, &destination, &options)
            .map_err(|source| StepError::Unpack { name: name.to_owned(), source: Box::new(source) })?;
        Ok(true)
    }

    /// A file given in the Dockerfile.
    fn inline(&self, file: &InlineFile) -> Result<(), StepError> {
        let plain = Destination {
            path: ImagePath::new(&self.copy.destination),
            is_folder: self.copy.destination_is_folder,
        };
        let destination = self.file_at(&plain, file.name.as_bytes())?;
        let (uid, gid) = self.owner_or_root();
        let mode_bits = self.mode.as_ref().map_or(INLINE_MODE, |mode| mode.apply(INLINE_MODE, false));
        let metadata = Metadata { mode_bits, uid, gid, mtime: self.site.timestamp(), xattrs: Vec::new() };
        self.writer.write_file(&destination.path, file.content.as_bytes(), &metadata, self.new_folders())?;
        Ok(())
    }

    /// A file behind an address.
    fn http(&self, source: &HttpSource, file: &crate::HttpFile) -> Result<(), StepError> {
        let opened = || File::open(&file.path);
        if self.copy.unpack == Some(true) {
            let archive = opened().map_err(StepError::io(format!("reading what {} has sent", source.url)))?;
            if self.unpack_file(&archive, &source.url)? {
                return Ok(());
            }
        }
        let plain = Destination {
            path: ImagePath::new(&self.copy.destination),
            is_folder: self.copy.destination_is_folder,
        };
        let destination = self.file_at(&plain, file.name.as_bytes())?;
        let missing = || StepError::Refused(format!("what {} has sent is gone", source.url));
        let (folder, name) = file.path.parent().zip(file.path.file_name()).ok_or_else(missing)?;
        let view = View::open_directory(folder)?;
        let fetched = ModeChange::Octal(FETCHED_MODE);
        let options = CopyOptions {
            owner: Some(self.owner_or_root()),
            folder_owner: self.owner,
            mode: Some(self.mode.as_ref().unwrap_or(&fetched)),
            // what comes without a time is as old as can be, as in BuildKit
            mtime: Some(Timestamp::at_second(file.modified.unwrap_or(0))),
            xattrs: false,
            ..CopyOptions::default()
        };
        // folders on the way are like any others, not like the file
        if let Some(parent) = destination.path.parent() {
            self.writer.make_folders(&parent, self.new_folders())?;
        }
        let name = std::os::unix::ffi::OsStrExt::as_bytes(name);
        copy(&view, &ImagePath::new(name), self.writer, &destination, &options)?;
        Ok(())
    }

    /// A folder of a git repository.
    fn git(&self, source: &GitSource, commit: &str, work: &Work<'_>) -> Result<(), StepError> {
        let tree = self.site.fetch.git_tree(source, commit, work, &self.site.cancel)?;
        let view = View::open_directory(&tree.root)?;
        let sieve =
            Sieve { ignore: None, excludes: self.excludes.as_ref(), kept: None, kept_prefix: Vec::new() };
        let filter = sieve.filter(&ImagePath::root());
        let options = CopyOptions {
            owner: Some(self.owner_or_root()),
            folder_owner: self.owner,
            mode: self.mode.as_ref(),
            xattrs: false,
            filter: Some(&filter),
            ..CopyOptions::default()
        };
        let destination = Destination { path: ImagePath::new(&self.copy.destination), is_folder: true };
        copy(&view, &ImagePath::root(), self.writer, &destination, &options)?;
        Ok(())
    }
}
