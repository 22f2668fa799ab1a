//! What the files are that a step takes from a tree: digests by content, never by time.
//!
//! A context is listed once, for all steps together, and only where some of them can reach; the digests of its files
//! come from the stat index. Other trees are read when they must be.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lighter_dockerfile::ignore::Patterns;
use lighter_dockerfile::plan::{Chmod, Copy, Files, MountKind, Op, PathSource, Run, Source, Step, StepId};
use lighter_image::{Digest, Hasher, ImagePath};
use lighter_layer::{
    DigestOptions, Extent, Fact, Kind, Listing, ScanOptions, Sketch, Verdict, View, scan, tree_digest,
};

use crate::op::copy::is_of_folder;
use crate::op::select::{Selected, Sieve, ignore_filter, is_below, missing, plain_prefix, select};
use crate::record::FileList;
use crate::site::Site;
use crate::{ContextFiles, StepError};

/// How many threads read a context.
const THREADS: usize = 2;

/// The listings of a build's contexts.
#[derive(Debug, Default)]
pub(crate) struct Listings {
    known: Mutex<HashMap<(Files, bool), Arc<Listing>>>,
    /// Where steps can reach in a context.
    reach: Mutex<HashMap<Files, Arc<Reach>>>,
    /// Where what one step has taken is looked at once more: the step.
    only: Option<StepId>,
}

impl Listings {
    /// For a second look at what a step has taken.
    pub(crate) fn again(step: StepId) -> Self {
        Self { only: Some(step), ..Self::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Files, bool), Arc<Listing>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many files had to be read.
    pub(crate) fn files_read(&self) -> usize {
        self.lock().values().map(|listing| listing.files_read()).sum()
    }

    /// The listing of a context that has all that is at a real path: of where some step can reach, or, where a link has
    /// led out of that, of the whole.
    pub(crate) fn holding(
        &self,
        site: &Site<'_>,
        files: &Files,
        real: &ImagePath,
    ) -> Result<Arc<Listing>, StepError> {
        let is_whole = !self.reach(site, files).holds(real);
        self.of(site, files, is_whole)
    }

    fn of(&self, site: &Site<'_>, files: &Files, is_whole: bool) -> Result<Arc<Listing>, StepError> {
        let mut known = self.lock();
        if let Some(listing) = known.get(&(files.clone(), is_whole)) {
            return Ok(Arc::clone(listing));
        }
        let context = site.context(files)?;
        let reach = if is_whole { Arc::default() } else { self.reach(site, files) };
        let filter = reach.filter(context);
        let options = ScanOptions {
            filter: Some(&filter),
            index: context.index.as_deref(),
            now: site.clock(),
            threads: THREADS,
        };
        let listing = match self.before(site, files, is_whole) {
            Some(before) => before.again(&context.root, Some(&filter))?,
            None => scan(&context.root, &options)?,
        };
        let listing = Arc::new(listing);
        known.insert((files.clone(), is_whole), Arc::clone(&listing));
        Ok(listing)
    }

    /// For a second look: the listing at the first one.
    fn before(&self, site: &Site<'_>, files: &Files, is_whole: bool) -> Option<Arc<Listing>> {
        self.only?;
        let first = site.listings.lock();
        let known = |is_whole| first.get(&(files.clone(), is_whole)).cloned();
        known(is_whole).or_else(|| known(!is_whole))
    }

    fn reach(&self, site: &Site<'_>, files: &Files) -> Arc<Reach> {
        let mut known = self.reach.lock().unwrap_or_else(PoisonError::into_inner);
        let reach = known.entry(files.clone()).or_insert_with(|| Arc::new(Reach::of(site, files, self.only)));
        Arc::clone(reach)
    }

    /// Whether what a step can reach of a context is as it was listed. Where this says no, a closer look may say yes.
    pub(crate) fn is_still(&self, site: &Site<'_>, files: &Files, step: StepId) -> Result<bool, StepError> {
        let context = site.context(files)?;
        let listing = |is_whole| self.lock().get(&(files.clone(), is_whole)).cloned();
        let near = listing(false).map(|listing| (listing, Reach::of(site, files, Some(step))));
        let whole = listing(true).map(|listing| (listing, Reach::default()));
        if near.is_none() && whole.is_none() {
            return Ok(false);
        }
        for (listing, reach) in near.into_iter().chain(whole) {
            if !listing.is_still(&context.root, Some(&reach.filter(context)))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes down what was found out, for the next build.
    pub(crate) fn save(&self) {
        for listing in self.lock().values() {
            if let Err(error) = listing.save() {
                tracing::warn!(%error, "the stat index is not kept");
            }
        }
    }
}

/// Where steps can reach in a context: the parts before the first wildcard of what they take. By default that is
/// everywhere.
#[derive(Debug)]
struct Reach(Vec<Vec<u8>>);

impl Default for Reach {
    fn default() -> Self {
        Self(vec![Vec::new()])
    }
}

impl Reach {
    /// Of all steps, or of one.
    fn of(site: &Site<'_>, files: &Files, only: Option<StepId>) -> Self {
        let steps = site.inputs.plan.steps.iter();
        Self(prefixes(&mut steps.filter(|step| only.is_none_or(|only| step.id == only)), files))
    }

    /// Whether all that is at a real path is in it.
    fn holds(&self, real: &ImagePath) -> bool {
        self.0.iter().any(|prefix| is_below(real.relative(), prefix))
    }

    /// A walk's filter.
    fn filter<'a>(&'a self, context: &'a ContextFiles) -> impl Fn(&[u8], bool) -> Verdict + Sync + use<'a> {
        let ignore = ignore_filter(context.ignore.as_deref(), &ImagePath::root());
        move |path: &[u8], is_folder: bool| {
            let leads = self.0.iter().any(|prefix| is_below(path, prefix) || is_below(prefix, path));
            if leads { ignore(path, is_folder) } else { Verdict::Skip }
        }
    }
}

/// The parts before the first wildcard of all that steps take from a context.
fn prefixes(steps: &mut dyn Iterator<Item = &Step>, files: &Files) -> Vec<Vec<u8>> {
    let mut prefixes = Vec::new();
    for step in steps {
        match &step.op {
            Op::Copy(copy) if copy.from == *files => {
                for source in &copy.sources {
                    if let Source::Path(path) = source {
                        let mut prefix = plain_prefix(&path.pattern);
                        let kept = plain_prefix(&path.kept);
                        if !prefix.is_empty() && !kept.is_empty() {
                            prefix.push(b'/');
                        }
                        prefix.extend(kept);
                        prefixes.push(prefix);
                    }
                }
            }
            Op::Run(run) => {
                for mount in &run.mounts {
                    if let MountKind::Bind { from, source } | MountKind::Cache { from, source, .. } =
                        &mount.kind
                        && from == files
                    {
                        prefixes.push(plain_prefix(source));
                    }
                }
            }
            Op::Copy(_) | Op::Image(_) | Op::Workdir(_) => {}
        }
    }
    prefixes
}

/// A tree that digests are taken in.
enum Tree<'a> {
    /// A folder of the caller's.
    Listed { site: &'a Site<'a>, listings: &'a Listings, files: &'a Files },
    /// Anything else.
    View,
}

/// The digest of what a COPY takes from a context. None where it takes nothing from one.
pub(crate) fn of_copy(
    site: &Site<'_>,
    listings: &Listings,
    copy: &Copy,
) -> Result<Option<Digest>, StepError> {
    if !is_from_context(copy) {
        return Ok(None);
    }
    let context = site.context(&copy.from)?;
    let view = View::open_directory(&context.root)?;
    let tree =
        if context.keeps_owners { Tree::View } else { Tree::Listed { site, listings, files: &copy.from } };
    of_selection(&view, &tree, Some(context), copy).map(Some)
}

/// A sketch of the one directory that a COPY takes from a folder of the caller's, and the listing that it is made from.
/// None where it takes something else, and where the sketch is not worth while.
pub(crate) fn sketch_of_copy(
    site: &Site<'_>,
    copy: &Copy,
    is_worth_while: impl Fn(Extent) -> bool,
) -> Result<Option<(Arc<Listing>, Sketch)>, StepError> {
    if !is_of_folder(copy) {
        return Ok(None);
    }
    let context = site.context(&copy.from)?;
    if context.keeps_owners {
        return Ok(None);
    }
    let view = View::open_directory(&context.root)?;
    let mut found = None;
    for_each_selected(&view, Some(context), copy, |sieve, selected| {
        if selected.is_folder {
            let filter = sieve.filter(&selected.real);
            let options = DigestOptions { filter: Some(&filter), ..facets(copy, true) };
            let listing = site.listings.holding(site, &copy.from, &selected.real)?;
            let sketch = listing.sketch(&selected.real, &options, &is_worth_while)?;
            found = sketch.map(|sketch| (listing, sketch));
        }
        Ok(())
    })?;
    Ok(found)
}

/// What of an entry counts for a COPY.
fn facets<'a>(copy: &Copy, is_local: bool) -> DigestOptions<'a> {
    DigestOptions {
        mode: !matches!(copy.chmod, Some(Chmod::Bits(_))),
        owner: !is_local && copy.chown.is_none(),
        xattrs: !is_local,
        ..DigestOptions::default()
    }
}

/// The digest of what a COPY selects in the layers of another stage.
pub(crate) fn of_stage(view: &View, copy: &Copy) -> Result<Digest, StepError> {
    of_selection(view, &Tree::View, None, copy)
}

pub(crate) fn is_from_context(copy: &Copy) -> bool {
    matches!(copy.from, Files::Context | Files::NamedContext(_))
        && copy.sources.iter().any(|source| matches!(source, Source::Path(_)))
}

fn of_selection(
    view: &View,
    tree: &Tree<'_>,
    context: Option<&ContextFiles>,
    copy: &Copy,
) -> Result<Digest, StepError> {
    let facets = facets(copy, context.is_some_and(|context| !context.keeps_owners));
    let mut hasher = Hasher::new();
    for_each_selected(view, context, copy, |sieve, selected| {
        let name = selected.named.file_name().unwrap_or_default();
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name);
        let filter = sieve.filter(&selected.real);
        let options = DigestOptions { filter: Some(&filter), ..facets };
        let digest = tree.digest(view, &selected.real, &options)?;
        hasher.update(digest.as_bytes());
        Ok(())
    })?;
    Ok(hasher.finish())
}

impl Tree<'_> {
    fn digest(
        &self,
        view: &View,
        path: &ImagePath,
        options: &DigestOptions<'_>,
    ) -> Result<Digest, StepError> {
        let found = match self {
            Self::View => tree_digest(view, path, options)?,
            Self::Listed { site, listings, files } => {
                listings.holding(site, files, path)?.digest(path, options)?
            }
        };
        found.ok_or_else(|| missing(path))
    }
}

/// Calls for each entry that a COPY selects, with what it takes below it.
fn for_each_selected(
    view: &View,
    context: Option<&ContextFiles>,
    copy: &Copy,
    mut call: impl FnMut(&Sieve<'_>, &Selected) -> Result<(), StepError>,
) -> Result<(), StepError> {
    let ignore = context.and_then(|context| context.ignore.as_deref());
    let excludes = if copy.excludes.is_empty() { None } else { Some(patterns(&copy.excludes)?) };
    for path in path_sources(copy) {
        let kept = if path.kept.is_empty() { None } else { Some(patterns(&[path.kept.as_str()])?) };
        let sieve = Sieve {
            ignore,
            excludes: excludes.as_ref(),
            kept: kept.as_ref(),
            kept_prefix: plain_prefix(&path.kept),
        };
        for selected in select(view, path, ignore)? {
            call(&sieve, &selected)?;
        }
    }
    Ok(())
}

fn path_sources(copy: &Copy) -> impl Iterator<Item = &PathSource> {
    copy.sources.iter().filter_map(|source| match source {
        Source::Path(path) => Some(path),
        Source::Inline(_) | Source::Http(_) | Source::Git(_) => None,
    })
}

fn patterns<T: AsRef<str>>(texts: &[T]) -> Result<Patterns, StepError> {
    Patterns::new(texts.iter().map(AsRef::as_ref)).map_err(|error| StepError::Refused(error.to_string()))
}

/// The files that a COPY takes from a folder of the caller's, one by one, for explanations. Their digests must have been
/// taken.
pub(crate) fn files_of_copy(site: &Site<'_>, copy: &Copy) -> Result<Option<FileList>, StepError> {
    if !is_from_context(copy) || site.context(&copy.from)?.keeps_owners {
        return Ok(None);
    }
    let context = site.context(&copy.from)?;
    let view = View::open_directory(&context.root)?;
    let with_mode = !matches!(copy.chmod, Some(Chmod::Bits(_)));
    let mut files = FileList::default();
    for_each_selected(&view, Some(context), copy, |sieve, selected| {
        let listing = site.listings.holding(site, &copy.from, &selected.real)?;
        files.make_room(listing.len());
        let base = selected.real.relative();
        let filter = sieve.filter(&selected.real);
        listing.for_each_fact(|fact| {
            let verdict = if fact.path == base {
                Verdict::Keep
            } else if is_below(fact.path, base) {
                let below = fact.path[base.len()..].strip_prefix(b"/").unwrap_or(&fact.path[base.len()..]);
                filter(below, fact.entry.is_folder())
            } else if is_below(base, fact.path) {
                Verdict::Descend
            } else {
                Verdict::Skip
            };
            if verdict == Verdict::Keep && is_below(fact.path, base) {
                files.push(fact.path, |value| put_value(value, &fact, with_mode));
            }
            verdict
        });
        Ok(())
    })?;
    Ok(Some(files))
}

/// A file as it is shown: kind, mode, and what is in it.
fn put_value(value: &mut String, fact: &Fact<'_>, with_mode: bool) {
    let entry = &fact.entry;
    // writing to a string does not fail
    let _ = write!(value, "{}", entry.kind);
    if with_mode && entry.kind != Kind::Link {
        let _ = write!(value, " {:04o}", entry.mode_bits);
    }
    if let Some(digest) = fact.digest {
        let _ = write!(value, " {digest}");
    }
    if entry.kind == Kind::Link {
        let _ = write!(value, " -> {}", String::from_utf8_lossy(fact.target));
    }
}

/// The digests of what the mounts of a RUN show of contexts, by target.
pub(crate) fn of_mounts(
    site: &Site<'_>,
    listings: &Listings,
    run: &Run,
) -> Result<Vec<(String, Digest)>, StepError> {
    let mut digests = Vec::new();
    for mount in &run.mounts {
        let (MountKind::Bind { from, source } | MountKind::Cache { from, source, .. }) = &mount.kind else {
            continue;
        };
        if !matches!(from, Files::Context | Files::NamedContext(_)) {
            continue;
        }
        let context = site.context(from)?;
        let view = View::open_directory(&context.root)?;
        let path = ImagePath::new(source);
        let (real, _) = view.resolve(&path)?.ok_or_else(|| missing(&path))?;
        let filter = ignore_filter(context.ignore.as_deref(), &real);
        let tree =
            if context.keeps_owners { Tree::View } else { Tree::Listed { site, listings, files: from } };
        let options = DigestOptions { contents: false, filter: Some(&filter), ..DigestOptions::default() };
        let digest = tree.digest(&view, &real, &options)?;
        digests.push((mount.target.clone().unwrap_or_default(), digest));
    }
    Ok(digests)
}

/// The digest of a path in the layers of another stage, with all that is in it.
pub(crate) fn of_path(view: &View, path: &ImagePath) -> Result<Digest, StepError> {
    let options = DigestOptions { contents: false, ..DigestOptions::default() };
    tree_digest(view, path, &options)?.ok_or_else(|| missing(path))
}
