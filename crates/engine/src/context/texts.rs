//! The texts that stand beside the files of a context: the Dockerfile, and what it leaves out.
//!
//! A link leads no further than the folder that it is in, which is `/` to it: BuildKit is sent nothing else, either.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use lighter_image::ImagePath;
use lighter_layer::{View, ViewError};

use super::read_limited;

/// The path itself, or that of a `dockerfile` beside it, where a `Dockerfile` is meant and there is none.
pub(super) fn named(path: PathBuf) -> PathBuf {
    let is_there = |path: &Path| path.symlink_metadata().is_ok();
    lower(&path).filter(|lower| !is_there(&path) && is_there(lower)).unwrap_or(path)
}

/// `dockerfile` beside a `Dockerfile`.
pub(super) fn lower(path: &Path) -> Option<PathBuf> {
    (path.file_name()? == "Dockerfile").then(|| path.with_file_name("dockerfile"))
}

/// Reads a file of the caller's.
pub(super) fn read(path: &Path, limit_bytes: u64) -> io::Result<Vec<u8>> {
    // what a shell has at hand in `/dev/fd` is a link, too, but to no file of a folder
    let is_plain =
        !path.symlink_metadata()?.is_symlink() || path.metadata().is_ok_and(|found| !found.is_file());
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) if !is_plain => {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            read_in(folder, Path::new(name), limit_bytes)
        }
        _ => read_limited(std::fs::File::open(path)?, limit_bytes),
    }
}

/// Reads a file below a folder.
pub(super) fn read_in(root: &Path, path: &Path, limit_bytes: u64) -> io::Result<Vec<u8>> {
    let view = View::open_directory(root).map_err(io::Error::other)?;
    view.read_file(&ImagePath::new(path.as_os_str().as_bytes()), limit_bytes).map_err(|error| match error {
        ViewError::Missing { .. } => rustix::io::Errno::NOENT.into(),
        other => io::Error::other(other),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_in_their_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("in")).unwrap();
        std::fs::write(path("out"), "out").unwrap();
        std::fs::write(path("in/real"), "in").unwrap();
        for (name, target) in [("rooted", "/real"), ("escaping", "../out"), ("climbing", "../../../real")] {
            std::os::unix::fs::symlink(target, path("in").join(name)).unwrap();
        }
        let read = |name: &str| read(&path("in").join(name), 9).map_err(|error| error.kind());
        assert_eq!(read("real").as_deref(), Ok(&b"in"[..]));
        assert_eq!(read("rooted").as_deref(), Ok(&b"in"[..]));
        assert_eq!(read("climbing").as_deref(), Ok(&b"in"[..]));
        assert_eq!(read("escaping"), Err(io::ErrorKind::NotFound));
        assert_eq!(read("missing"), Err(io::ErrorKind::NotFound));
    }

    #[test]
    fn a_missing_dockerfile_may_be_in_lower_case() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("dockerfile"), "").unwrap();
        assert_eq!(named(path("Dockerfile")), path("dockerfile"));
        assert_eq!(named(path("Other")), path("Other"));
        std::os::unix::fs::symlink("nowhere", path("Dockerfile")).unwrap();
        assert_eq!(named(path("Dockerfile")), path("Dockerfile"));
        assert_eq!(lower(&path("Dockerfile")), Some(path("dockerfile")));
    }
}
