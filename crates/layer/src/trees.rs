//! Trees for tests: made from a short notation, listed in another.

use std::fmt::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use lighter_image::ImagePath;

use crate::entry::{Kind, Timestamp};
use crate::place::{self, Placer};
use crate::policy::Policy;
use crate::view::View;

/// The policy that tests write under: that of the process.
pub(crate) fn policy() -> Policy {
    Policy::of_process()
}

/// Makes a tree: `d/`, `f=content`, `l>target`, `h&first`, `w!` (whiteout), `d/*` (opaque), `p|` (pipe), each
/// perhaps with `@mode` behind its name.
pub(crate) fn grow(root: &Path, notation: &[&str]) {
    let placer = Placer::new(policy());
    for text in notation {
        let at = text.find(['=', '>', '&', '!', '*', '|']).unwrap_or(text.len());
        let (name, rest) = text.split_at(at);
        let (name, mode) = name.split_once('@').map_or((name, None), |(name, mode)| (name, Some(mode)));
        // A mode stands before the slash of a directory.
        let name =
            if mode.is_some_and(|mode| mode.ends_with('/')) { format!("{name}/") } else { name.into() };
        let mode = mode.map(|mode| mode.trim_end_matches('/'));
        let path = root.join(&name);
        // links may point anywhere, and what is made must not be there
        let itself = root.join(name.trim_end_matches('/'));
        let holders = itself.ancestors().skip(usize::from(!name.ends_with('/')));
        let first = rest.strip_prefix('&').map(|first| root.join(first)).unwrap_or_default();
        let is_inside = |path: &Path| path.starts_with(root) && path != root;
        let leads_out = holders.chain(first.ancestors()).filter(|path| is_inside(path)).any(Path::is_symlink);
        assert!(!leads_out, "`{text}` leads through a link");
        let parent = if name.ends_with('/') { &*path } else { path.parent().unwrap() };
        std::fs::create_dir_all(parent).unwrap();
        let dir = std::fs::File::open(path.parent().unwrap()).unwrap();
        let file = path.file_name().unwrap_or_default().as_encoded_bytes();
        match rest.as_bytes().first() {
            Some(b'=') => {
                let mut file = std::fs::File::create_new(&path).unwrap();
                std::io::Write::write_all(&mut file, &rest.as_bytes()[1..]).unwrap();
            }
            Some(b'>') => symlink(&rest[1..], &path).unwrap(),
            Some(b'&') => std::fs::hard_link(root.join(&rest[1..]), &path).unwrap(),
            Some(b'!') => place::make_whiteout(&dir, file).unwrap(),
            Some(b'*') => placer.make_opaque(std::fs::File::open(&path).unwrap()).unwrap(),
            Some(b'|') => placer
                .make_node(&dir, file, (Kind::Fifo, crate::Device::default()), &crate::Metadata::default())
                .unwrap(),
            _ => {}
        }
        if let Some(mode) = mode {
            let mode = u32::from_str_radix(mode, 8).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
    }
}

/// A layer directory with a tree in it.
pub(crate) fn layer(notation: &[&str]) -> tempfile::TempDir {
    // notations say what modes there are, whoever runs the tests
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    grow(dir.path(), notation);
    dir
}

/// Lists a view: path, kind, mode and owner where they are not the usual ones, and content.
pub(crate) fn list(view: &View) -> Vec<String> {
    let mut lines = Vec::new();
    walk(view, &ImagePath::root(), &mut lines);
    lines
}

fn walk(view: &View, folder: &ImagePath, lines: &mut Vec<String>) {
    for (name, entry) in view.read_dir(folder).unwrap() {
        let path = folder.join(&name);
        let shown = String::from_utf8_lossy(path.relative()).into_owned();
        let usual = if entry.is_folder() { 0o755 } else { 0o644 };
        let mut line = match entry.kind {
            Kind::Folder => format!("{shown}/"),
            Kind::File => {
                let content = view.read_file(&path, 1 << 20).unwrap();
                format!("{shown}={}", String::from_utf8_lossy(&content))
            }
            Kind::Link => format!("{shown}>{}", String::from_utf8_lossy(&view.read_link(&path).unwrap())),
            kind => format!("{shown} {kind}"),
        };
        if entry.mode_bits != usual && entry.kind != Kind::Link {
            write!(line, " @{:o}", entry.mode_bits).unwrap();
        }
        if (entry.uid, entry.gid) != (0, 0) {
            write!(line, " {}:{}", entry.uid, entry.gid).unwrap();
        }
        lines.push(line);
        if entry.is_folder() {
            walk(view, &path, lines);
        }
    }
}

/// A time for tests.
pub(crate) const NOW: Timestamp = Timestamp::at_second(1_700_000_000);
