//! `manifest` and `buildx imagetools`: lists of manifests, drafted here and put together from what registries have.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use lighter_image::{Descriptor, Digest, Platform, Reference, media_type};
use lighter_registry::{
    Annotation, Client, CopyError, Draft, IndexError, IndexKind, Member, PushError, RawManifest,
    ResolveError, combine, ignore_events,
};
use serde::{Deserialize, Serialize};

/// Why a list of manifests could not be made, changed or pushed.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// A registry does not have something, or it is not what it should be.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// It cannot be made so.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A manifest could not be brought into the list's repository.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The registry did not take it.
    #[error(transparent)]
    Push(#[from] PushError),
    /// There is no such draft.
    #[error("No such manifest: {0}")]
    NotFound(String),
    /// The draft has no such manifest.
    #[error("manifest for image {member} does not exist in {list}")]
    NoMember {
        /// The manifest's name.
        member: String,
        /// The draft.
        list: String,
    },
    /// There is such a draft already.
    #[error("refusing to amend an existing manifest list with no --amend flag")]
    Exists,
    /// What is to be in a list is one itself.
    #[error("{0} is a manifest list")]
    List(String),
    /// None of the manifests is for a platform that was asked for.
    #[error("none of the manifests match the provided platforms")]
    NoPlatform(Platform),
    /// It can be for no such platform.
    #[error("manifest entry for image has unsupported os/arch combination: {os}/{architecture}")]
    Unsupported {
        /// The operating system that was given.
        os: String,
        /// The architecture that was given.
        architecture: String,
    },
    /// A source has no name that leads to it.
    #[error("{0} names no repository: give one name with -t, whose repository is taken")]
    NoRepository(Digest),
    /// A draft cannot be read or written.
    #[error("{doing} `{path}`", path = .path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A draft is damaged.
    #[error("`{path}` is not valid", path = .path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
}

/// The drafts of lists, which are files in one folder.
#[derive(Debug, Clone)]
pub struct Drafts {
    folder: PathBuf,
}

/// What such a file holds.
#[derive(Serialize, Deserialize)]
struct Stored {
    name: Reference,
    draft: Draft,
}

impl Drafts {
    /// The drafts in this folder, which need not be there.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Begins a list with these manifests, or adds them to one.
    ///
    /// # Errors
    /// [`ManifestError::Exists`], where there is one and it is not to be amended.
    pub fn create(
        &self,
        client: &Client,
        list: &Reference,
        members: &[Reference],
        amend: bool,
    ) -> Result<(), ManifestError> {
        let before = self.find(list)?;
        if before.is_some() && !amend {
            return Err(ManifestError::Exists);
        }
        let mut draft = before.unwrap_or_default();
        for member in members {
            draft.add_named(single(client, member)?);
        }
        // Docker keeps them in a folder each, and puts them together in that order
        draft.members.sort_by_key(|member| member.source.to_string().replace(':', "-").replace('/', "_"));
        self.write(list, &draft)
    }

    /// Changes what a list says about a manifest's platform.
    ///
    /// # Errors
    /// [`ManifestError`], where there is no such list, or no such manifest in it.
    pub fn annotate(
        &self,
        list: &Reference,
        member: &Reference,
        annotation: &Annotation,
    ) -> Result<(), ManifestError> {
        let missing = || ManifestError::NoMember { member: member.familiar(), list: list.familiar() };
        let mut draft = self.find(list)?.ok_or_else(missing)?;
        let place = draft.position(member).ok_or_else(missing)?;
        draft.annotate(place, annotation)?;
        if let Some(platform) = &draft.members[place].descriptor.platform
            && !is_supported(&platform.os, &platform.architecture)
        {
            let given = |text: &Option<String>| text.clone().unwrap_or_default();
            let (os, architecture) = (given(&annotation.os), given(&annotation.architecture));
            return Err(ManifestError::Unsupported { os, architecture });
        }
        self.write(list, &draft)
    }

    /// A list as the document that would be pushed, and its members; `None` where there is no such draft.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn document(&self, list: &Reference) -> Result<Option<(RawManifest, Vec<Member>)>, ManifestError> {
        let Some(draft) = self.find(list)? else { return Ok(None) };
        let document = draft.finish_as_docker(IndexKind::fitting(&draft.members))?;
        Ok(Some((document, draft.members)))
    }

    /// Pushes a list, and brings its manifests into its repository first; `told` is called for each that comes from
    /// another one.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn push(
        &self,
        client: &Client,
        list: &Reference,
        told: &dyn Fn(&Reference),
    ) -> Result<Digest, ManifestError> {
        let (document, members) =
            self.document(list)?.ok_or_else(|| ManifestError::NotFound(list.familiar()))?;
        for member in &members {
            client.copy_manifest(&member.source, list, &member.descriptor, &ignore_events)?;
            if member.source.repository() != list.repository() {
                told(&list.with_digest(member.descriptor.digest));
            }
        }
        Ok(client.put_manifest(list, &document.descriptor.media_type, &document.bytes)?)
    }

    /// Forgets a list.
    ///
    /// # Errors
    /// [`ManifestError::NotFound`] where there is none.
    pub fn remove(&self, list: &Reference) -> Result<(), ManifestError> {
        let path = self.path(list);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(ManifestError::NotFound(list.familiar()))
            }
            result => result.map_err(|source| ManifestError::File { doing: "removing", path, source }),
        }
    }

    fn find(&self, list: &Reference) -> Result<Option<Draft>, ManifestError> {
        let path = self.path(list);
        let bytes = match lighter_store::read_whole(&path, lighter_store::WHOLE_BYTES) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(None),
            Err(error) => {
                let source = lighter_store::FileError::from(error).source;
                return Err(ManifestError::File { doing: "reading", path, source });
            }
        };
        let stored: Stored =
            serde_json::from_slice(&bytes).map_err(|source| ManifestError::Json { path, source })?;
        Ok(Some(stored.draft))
    }

    fn write(&self, list: &Reference, draft: &Draft) -> Result<(), ManifestError> {
        let path = self.path(list);
        let stored = Stored { name: list.clone(), draft: draft.clone() };
        let bytes = serde_json::to_vec_pretty(&stored)
            .map_err(|source| ManifestError::Json { path: path.clone(), source })?;
        write_whole(&self.folder, &path, &bytes).map_err(|source| ManifestError::File {
            doing: "writing",
            path,
            source,
        })
    }

    /// A name may be longer than that of a file, and has slashes.
    fn path(&self, list: &Reference) -> PathBuf {
        self.folder.join(format!("{}.json", Digest::of(list.to_string()).hex()))
    }
}

fn write_whole(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let unnamed = folder.join(format!(".{}.new", std::process::id()));
    fs::write(&unnamed, bytes)?;
    fs::rename(&unnamed, path)
}

/// Whether Docker takes a manifest for this platform into a list.
///
/// # Source
/// The Go compiler's ports, as `docker manifest annotate` knows them.
fn is_supported(os: &str, architecture: &str) -> bool {
    let architectures: &[&str] = match os {
        "dragonfly" | "solaris" => &["amd64"],
        "linux" => {
            &["386", "amd64", "arm", "arm64", "loong64", "ppc64le", "mips64", "mips64le", "riscv64", "s390x"]
        }
        "darwin" | "freebsd" | "netbsd" | "openbsd" => &["386", "amd64", "arm", "arm64"],
        "plan9" => &["386", "amd64"],
        "windows" => &["386", "amd64", "arm64"],
        _ => &[],
    };
    architectures.contains(&architecture)
}

/// The manifest of a single image.
fn single(client: &Client, reference: &Reference) -> Result<Member, ManifestError> {
    let (raw, mut members) = client.members(reference)?;
    match members.pop() {
        Some(member) if members.is_empty() && !media_type::is_index(&raw.descriptor.media_type) => Ok(member),
        _ => Err(ManifestError::List(reference.familiar())),
    }
}

/// Where something comes from that an image is put together of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A name.
    Name(Reference),
    /// A descriptor, of what is in the repository of the new name.
    Described(Box<Descriptor>),
}

/// What is put together, and how.
#[derive(Debug, Clone, Default)]
pub struct Combination {
    /// The new names.
    pub names: Vec<Reference>,
    /// Whether what the first new name stands for now comes first.
    pub append: bool,
    /// What it is put together of.
    pub parts: Vec<Part>,
    /// Only manifests for these platforms, where any are named.
    pub platforms: Vec<Platform>,
    /// Notes for the index.
    pub annotations: BTreeMap<String, String>,
    /// Notes for the descriptors of manifests: of those for a platform, or of all.
    pub of_manifests: Vec<(Option<Platform>, String, String)>,
    /// Whether a single manifest becomes an index too.
    pub prefer_index: bool,
}

/// Puts an image together, and pushes nothing; its members too.
///
/// # Errors
/// [`ManifestError`].
pub fn put_together(
    client: &Client,
    wanted: &Combination,
) -> Result<(RawManifest, Vec<Member>), ManifestError> {
    let mut sources = Vec::new();
    if let (true, Some(name)) = (wanted.append, wanted.names.first()) {
        sources.push(client.members(name)?);
    }
    for part in &wanted.parts {
        match part {
            Part::Name(reference) => sources.push(client.members(reference)?),
            Part::Described(descriptor) => {
                let digest = descriptor.digest;
                let name = wanted.names.first().ok_or(ManifestError::NoRepository(digest))?;
                let (raw, mut members) = client.members(&name.with_digest(digest))?;
                if let [member] = &mut members[..] {
                    describe_further(&mut member.descriptor, descriptor);
                }
                sources.push((raw, members));
            }
        }
    }
    if !wanted.platforms.is_empty() {
        choose_platforms(&mut sources, &wanted.platforms)?;
    }
    let annotated = !wanted.of_manifests.is_empty();
    for member in sources.iter_mut().flat_map(|(_, members)| members) {
        annotate_descriptor(&mut member.descriptor, &wanted.of_manifests);
    }
    let whole = combine(&sources, &wanted.annotations, annotated, wanted.prefer_index)?;
    let members = sources.into_iter().flat_map(|(_, members)| members).collect();
    Ok((whole, members))
}

/// Gives a descriptor its notes, and its platform as Docker writes it.
fn annotate_descriptor(descriptor: &mut Descriptor, notes: &[(Option<Platform>, String, String)]) {
    for (wanted, key, value) in notes {
        let fits =
            |wanted: &Platform| descriptor.platform.as_ref().is_some_and(|offered| offered.satisfies(wanted));
        if wanted.as_ref().is_none_or(fits) {
            descriptor.annotations.insert(key.clone(), value.clone());
        }
    }
}

/// What a descriptor says beyond what the registry does.
fn describe_further(descriptor: &mut Descriptor, said: &Descriptor) {
    if said.platform.is_some() {
        descriptor.platform.clone_from(&said.platform);
    }
    descriptor.annotations.extend(said.annotations.clone());
}

/// Leaves only manifests for these platforms, and what is about them.
fn choose_platforms(
    sources: &mut Vec<(RawManifest, Vec<Member>)>,
    platforms: &[Platform],
) -> Result<(), ManifestError> {
    let all: Vec<Member> = sources.iter().flat_map(|(_, members)| members.clone()).collect();
    let fits = |member: &Member, wanted: &Platform| {
        member.descriptor.platform.as_ref().is_some_and(|offered| offered.satisfies(wanted))
    };
    for wanted in platforms {
        if !all.iter().any(|member| fits(member, wanted)) {
            return Err(ManifestError::NoPlatform(wanted.clone()));
        }
    }
    let chosen: Vec<Member> =
        all.iter().filter(|member| platforms.iter().any(|wanted| fits(member, wanted))).cloned().collect();
    let about = |member: &&Member| {
        let subject = member.descriptor.annotations.get("vnd.docker.reference.digest");
        subject.is_some_and(|subject| {
            chosen.iter().any(|member| member.descriptor.digest.to_string() == *subject)
        })
    };
    let notes: Vec<Member> = all.iter().filter(about).cloned().collect();
    if chosen.len() + notes.len() == all.len() {
        return Ok(());
    }
    // what is left is no longer any of the sources as it is
    let mut draft = Draft::default();
    chosen.into_iter().chain(notes).for_each(|member| draft.add(member));
    let raw = draft.finish(IndexKind::fitting(&draft.members))?;
    *sources = vec![(raw, draft.members)];
    Ok(())
}

/// Pushes what was put together under a name; `told` is called for each manifest that is brought there.
///
/// # Errors
/// [`ManifestError`].
pub fn publish(
    client: &Client,
    (whole, members): (&RawManifest, &[Member]),
    name: &Reference,
    told: &dyn Fn(&Member),
) -> Result<Digest, ManifestError> {
    for member in members {
        told(member);
        client.copy_manifest(&member.source, name, &member.descriptor, &ignore_events)?;
    }
    Ok(client.put_manifest(name, &whole.descriptor.media_type, &whole.bytes)?)
}
