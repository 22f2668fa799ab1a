//! Any changes to any tree: what `diff` tells is what differs, and a layer that is packed and applied says the same.
#![no_main]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use libfuzzer_sys::fuzz_target;
use lighter_image::ImagePath;
use lighter_layer::archive::{Member, MemberKind, Writer};
use lighter_layer::{
    ApplyOptions, ChangeKind, Device, Kind, Metadata, PackOptions, View, apply, changes, merge, pack,
};

/// An archive of few names, so that they meet: three bytes for each member.
fn archive(bytes: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for member in bytes.chunks_exact(3) {
        let [what, place, other] = *member else { continue };
        let kind = match what & 7 {
            0..=2 => MemberKind::Entry(Kind::File),
            3 => MemberKind::Entry(Kind::Link),
            4 => MemberKind::HardLink,
            _ => MemberKind::Entry(Kind::Folder),
        };
        let metadata = Metadata { mode_bits: 0o700 | u32::from(what >> 3), ..Metadata::default() };
        let link = if matches!(what & 7, 3 | 4) { name(other, "") } else { Vec::new() };
        let path = match what & 7 {
            1 => [name(place, ""), b"/.wh..wh..opq".to_vec()].concat(),
            0 => name(place, ".wh."),
            _ => name(place, ""),
        };
        let size_bytes = if what & 7 == 2 { u64::from(other & 3) } else { 0 };
        let member = Member { path, kind, link, metadata, device: Device::default(), size_bytes };
        writer.begin(&member).expect("memory takes it");
        std::io::Write::write_all(&mut writer, &b"xyz"[..size_bytes as usize]).expect("memory takes it");
    }
    writer.finish().expect("memory takes it")
}

/// One of a few names, at most three deep, with a mark before its last part.
fn name(place: u8, mark: &str) -> Vec<u8> {
    const PARTS: [&str; 4] = ["a", "b", "c", "d"];
    let part = |shift: u8| PARTS[usize::from(place >> shift & 3)];
    match place >> 6 {
        0 | 1 => format!("{mark}{}", part(0)),
        2 => format!("{}/{mark}{}", part(2), part(0)),
        _ => format!("{}/{}/{mark}{}", part(4), part(2), part(0)),
    }
    .into_bytes()
}

/// Everything in a view: path, and all that an image says of it.
fn list(view: &View) -> BTreeSet<(Vec<u8>, String)> {
    let mut found = BTreeSet::new();
    let mut folders = vec![ImagePath::root()];
    while let Some(folder) = folders.pop() {
        for (name, entry) in view.read_dir(&folder).expect("a folder") {
            let path = folder.join(&name);
            let link =
                if entry.kind == Kind::Link { view.read_link(&path).expect("a link") } else { Vec::new() };
            let size = if entry.is_folder() { 0 } else { entry.size_bytes };
            let text = format!("{} {:o} {size} {link:?}", entry.kind, entry.mode_bits);
            if entry.is_folder() {
                folders.push(path.clone());
            }
            found.insert((path.as_bytes().to_vec(), text));
        }
    }
    found
}

/// The paths of one listing that the other does not have.
fn only_in(one: &BTreeSet<(Vec<u8>, String)>, other: &BTreeSet<(Vec<u8>, String)>) -> BTreeSet<Vec<u8>> {
    let names: BTreeSet<&Vec<u8>> = other.iter().map(|(path, _)| path).collect();
    one.iter().map(|(path, _)| path).filter(|path| !names.contains(path)).cloned().collect()
}

fn new_folder(top: &Path, name: &str) -> PathBuf {
    let path = top.join(name);
    std::fs::create_dir(&path).expect("a folder");
    path
}

/// Whether a folder above is there already, which says it for all that is below.
fn is_covered(path: &[u8], told: &BTreeSet<Vec<u8>>) -> bool {
    let mut above = ImagePath::new(path).parent();
    while let Some(folder) = above {
        if told.contains(folder.as_bytes()) {
            return true;
        }
        above = folder.parent();
    }
    false
}

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    if input.0.len() + input.1.len() > 120 {
        return;
    }
    let top = tempfile::tempdir().expect("a folder");
    let (below, upper) = (new_folder(top.path(), "below"), new_folder(top.path(), "upper"));
    if apply(archive(&input.0).as_slice(), &below, &ApplyOptions::default()).is_err() {
        return;
    }
    let before = View::open(&[&below]).expect("a view");
    let over = || ApplyOptions { below: before.clone(), ..ApplyOptions::default() };
    if apply(archive(&input.1).as_slice(), &upper, &over()).is_err() {
        return;
    }
    let after = list(&View::open(&[&below, &upper]).expect("a view"));
    let was = list(&before);

    let told = changes(&upper, &before, &|_| false).expect("a comparison");
    let of = |kind| -> BTreeSet<Vec<u8>> {
        told.iter()
            .filter(|change| change.kind == kind)
            .map(|change| change.path.as_bytes().to_vec())
            .collect()
    };
    let (added, deleted) = (of(ChangeKind::Added), of(ChangeKind::Deleted));
    assert_eq!(added, only_in(&after, &was), "what was added");
    let lost = only_in(&was, &after);
    assert!(deleted.is_subset(&lost), "{deleted:?} are told to be gone, {lost:?} are");
    let replaced = of(ChangeKind::Changed);
    for path in &lost {
        let known = deleted.contains(path) || is_covered(path, &deleted) || is_covered(path, &replaced);
        assert!(known, "{} is gone, and nobody says so", String::from_utf8_lossy(path));
    }

    let mut tar = Vec::new();
    pack(&upper, &mut tar, &PackOptions::default()).expect("packs");
    let again = new_folder(top.path(), "again");
    apply(tar.as_slice(), &again, &over()).expect("applies what was packed");
    assert_eq!(list(&View::open(&[&below, &again]).expect("a view")), after, "packed and applied");

    let both = new_folder(top.path(), "both");
    merge(&[vec![below.clone()], vec![upper]], &both, &ApplyOptions::default()).expect("merges");
    assert_eq!(list(&View::open(&[&both]).expect("a view")), after, "merged");
});
