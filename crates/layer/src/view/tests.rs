use lighter_image::ImagePath;

use super::*;
use crate::trees::{layer, list};

fn path(text: &str) -> ImagePath {
    ImagePath::new(text)
}

fn stack(layers: &[&[&str]]) -> (Vec<tempfile::TempDir>, View) {
    let dirs: Vec<_> = layers.iter().map(|notation| layer(notation)).collect();
    let paths: Vec<_> = dirs.iter().map(tempfile::TempDir::path).collect();
    let view = View::open(&paths).unwrap();
    (dirs, view)
}

#[test]
fn layers_merge_as_overlayfs_merges_them() {
    for (layers, expected) in [
        (&[&["a=1", "d/x=1"][..], &["a=2", "d/y=2"]][..], &["a=2", "d/", "d/x=1", "d/y=2"][..]),
        (&[&["a=1", "d/x=1"], &["a!", "d/x!"]], &["d/"]),
        (&[&["d/x=1", "d/z=1"], &["d/", "d/*", "d/y=2"]], &["d/", "d/y=2"]),
        (&[&["d/x=1"], &["d=file"]], &["d=file"]),
        (&[&["d=file"], &["d/y=2"]], &["d/", "d/y=2"]),
        // What a whiteout or another kind hid stays hidden, though a directory comes back above it.
        (&[&["d/x=1"], &["d!"], &["d/y=3"]], &["d/", "d/y=3"]),
        (&[&["d/x=1"], &["d=file"], &["d/y=3"]], &["d/", "d/y=3"]),
        (&[&["d/e/x=1"], &["d/", "d/*", "d/e/y=2"], &["d/e/z=3"]], &["d/", "d/e/", "d/e/y=2", "d/e/z=3"]),
        (&[&["a=1"]], &["a=1"]),
        (&[], &[]),
    ] {
        let (_dirs, view) = stack(layers);
        assert_eq!(list(&view), expected, "{layers:?}");
    }
}

#[test]
fn links_are_resolved_in_the_root() {
    let lower: &[&str] =
        &["real/f=deep", "abs>/real", "rel>real", "up>../../../real", "loop>loop", "d/l>../real/f"];
    let upper: &[&str] = &["real/g=upper", "dangling>/no/where", "file>real/f"];
    let (_one, view) = stack(&[lower]);
    let (_two, merged) = stack(&[lower, upper]);
    for view in [&view, &merged] {
        for through in ["/abs/f", "/rel/f", "/up/f", "/d/l", "/abs/../rel/f"] {
            let (real, entry) = view.resolve(&path(through)).unwrap().unwrap();
            assert_eq!((real, entry.size_bytes), (path("/real/f"), 4), "{through}");
            assert_eq!(view.read_file(&path(through), 4).unwrap(), b"deep", "{through}");
        }
        assert_eq!(view.lookup(&path("/abs")).unwrap().unwrap().kind, Kind::Link);
        assert!(matches!(view.resolve(&path("/loop")), Err(ViewError::TooManyLinks { .. })));
        assert!(matches!(view.lookup(&path("/loop/x")), Err(ViewError::TooManyLinks { .. })));
        assert!(view.lookup(&path("/real/f/x")).unwrap().is_none());
        assert!(matches!(view.read_file(&path("/real/f"), 3), Err(ViewError::TooLarge { .. })));
    }
    assert_eq!(merged.read_file(&path("/up/g"), 10).unwrap(), b"upper");
    for (through, expected) in [
        ("/dangling", "/no/where"),
        ("/dangling/x/y", "/no/where/x/y"),
        ("/abs/new/x", "/real/new/x"),
        ("/file", "/real/f"),
        ("/../../etc", "/etc"),
    ] {
        assert_eq!(merged.canonical(&path(through)).unwrap(), path(expected), "{through}");
    }
    assert_eq!(merged.canonical_parent(&path("/abs/../file")).unwrap(), path("/file"));
}

#[test]
fn a_plain_directory_has_no_marks() {
    let dir = layer(&["w!", "d/", "d/*", "d/f=1"]);
    let view = View::open_directory(dir.path()).unwrap();
    assert_eq!(view.lookup(&path("/w")).unwrap().unwrap().kind, Kind::CharDevice);
    assert_eq!(view.read_dir(&path("/d")).unwrap().len(), 1);
    let layer = View::open(&[dir.path()]).unwrap();
    assert!(layer.lookup(&path("/w")).unwrap().is_none());
    assert!(layer.xattrs(&path("/d")).unwrap().is_empty());
}

/// Compares with what the kernel shows.
#[test]
#[ignore = "mounts an overlay: needs root"]
fn the_kernel_sees_the_same() {
    let layers: &[&[&str]] = &[
        &["a=1", "d/x=1", "d/e/f=1", "gone/x=1", "file/x=1", "l>d"],
        &["a!", "d/", "d/*", "d/e/g=2", "gone!", "file=2"],
        &["a=3", "d/e/h=3", "gone/y=3", "file/z=3", "l/new=3"],
    ];
    let (dirs, view) = stack(layers);
    let lowers: Vec<_> = dirs.iter().rev().map(|dir| dir.path().display().to_string()).collect();
    let script = "mount -t overlay overlay -o lowerdir=$1 $2 && cd $2 && find . -mindepth 1 \
                  \\( -type d -printf '%P/\\n' -o -type f -printf '%P=' -exec cat {} \\; -printf '\\n' \\)";
    let mount = tempfile::tempdir().unwrap();
    let output = std::process::Command::new("unshare")
        .args(["-m", "sh", "-c", script, "sh", &lowers.join(":")])
        .arg(mount.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut kernel: Vec<_> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    let mut ours = list(&view);
    kernel.sort();
    ours.sort();
    assert_eq!(ours, kernel);
}
