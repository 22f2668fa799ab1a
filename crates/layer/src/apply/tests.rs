use std::io::Write as _;

use proptest::prelude::*;

use super::*;
use crate::archive::Writer;
use crate::entry::{Device, Timestamp};
use crate::pack::{PackOptions, pack};
use crate::trees::{NOW, grow, layer, list};

type Line<'a> = (&'a str, u8, &'a str);

/// Makes a tar stream of names, types and contents or targets.
fn tar(lines: &[Line<'_>]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (path, flag, text) in lines {
        let kind = match flag {
            b'f' => MemberKind::Entry(Kind::File),
            b'd' => MemberKind::Entry(Kind::Folder),
            b'l' => MemberKind::Entry(Kind::Link),
            b'c' => MemberKind::Entry(Kind::CharDevice),
            _ => MemberKind::HardLink,
        };
        let file = *flag == b'f';
        let mode_bits = if *flag == b'd' { 0o755 } else { 0o644 };
        writer
            .begin(&Member {
                path: path.as_bytes().to_vec(),
                kind,
                link: if file { Vec::new() } else { text.as_bytes().to_vec() },
                metadata: Metadata { mode_bits, mtime: NOW, ..Metadata::default() },
                device: Device { major: 1, minor: 3 },
                size_bytes: if file { text.len() as u64 } else { 0 },
            })
            .unwrap();
        if file {
            writer.write_all(text.as_bytes()).unwrap();
        }
    }
    writer.finish().unwrap()
}

fn apply_to(below: &[&std::path::Path], tar: &[u8]) -> Result<(tempfile::TempDir, Applied), ApplyError> {
    let dir = tempfile::tempdir().unwrap();
    let below = View::open(below).unwrap();
    let options = ApplyOptions { below, now: NOW, ..ApplyOptions::default() };
    apply(tar, dir.path(), &options).map(|applied| (dir, applied))
}

fn check(lower: &[&str], lines: &[Line<'_>], expected: &[&str]) {
    let lower = layer(lower);
    let (upper, _) = apply_to(&[lower.path()], &tar(lines)).unwrap();
    let view = View::open(&[lower.path(), upper.path()]).unwrap();
    assert_eq!(list(&view), expected, "{lines:?}");
    // without what is below, the same, or the wish for it
    let alone = tempfile::tempdir().unwrap();
    let options = ApplyOptions { now: NOW, alone: true, ..ApplyOptions::default() };
    match apply(&*tar(lines), alone.path(), &options) {
        Err(ApplyError::NeedsBelow { .. }) => {}
        applied => {
            let below = View::open(&[lower.path()]).unwrap();
            let options = ApplyOptions { below, alone: false, ..options };
            inherit_root(alone.path(), &applied.unwrap(), &options).unwrap();
            let view = View::open(&[lower.path(), alone.path()]).unwrap();
            assert_eq!(list(&view), expected, "alone: {lines:?}");
        }
    }
}

#[test]
fn what_depends_on_layers_below_is_not_guessed_at() {
    let lower = layer(&["d/f", "to/", "link -> to"]);
    std::fs::set_permissions(lower.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let alone = |lines: &[Line<'_>]| {
        let dir = tempfile::tempdir().unwrap();
        let options = ApplyOptions { now: NOW, alone: true, ..ApplyOptions::default() };
        apply(&*tar(lines), dir.path(), &options).map(|applied| (dir, applied))
    };
    let needs = |lines: &[Line<'_>]| matches!(alone(lines), Err(ApplyError::NeedsBelow { .. }));
    assert!(needs(&[("d/new", b'f', "text")]), "whose mode has d?");
    assert!(needs(&[("link/new", b'f', "text")]), "where does it lead?");
    assert!(needs(&[("hard", b'h', "d/f")]));
    let (dir, applied) = alone(&[("d", b'd', ""), ("d/new", b'f', "text"), ("hard", b'h', "d/new")]).unwrap();
    assert!(!applied.has_root);
    let below = View::open(&[lower.path()]).unwrap();
    inherit_root(dir.path(), &applied, &ApplyOptions { below, ..ApplyOptions::default() }).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&dir.path().metadata().unwrap().permissions());
    assert_eq!(mode & 0o7777, 0o700, "the root is what it is below");
}

#[test]
fn what_an_opaque_directory_hides_lends_no_attributes() {
    let lower = layer(&["d/s/"]);
    let hidden = std::fs::File::open(lower.path().join("d/s")).unwrap();
    if dirfd::set_xattr(&hidden, b"", b"user.old", b"1").is_err() {
        return; // the file system has no such attributes
    }
    let stream = tar(&[("d/.wh..wh..opq", b'f', ""), ("d/s/", b'd', "")]);
    let (upper, _) = apply_to(&[lower.path()], &stream).unwrap();
    let made = std::fs::File::open(upper.path().join("d/s")).unwrap();
    assert_eq!(dirfd::xattrs(&made, b"").unwrap(), []);
}

#[test]
fn layers_change_what_is_below() {
    check(&["a=1"], &[("b/c", b'f', "2")], &["a=1", "b/", "b/c=2"]);
    check(&["a=1", "d/x=1"], &[(".wh.a", b'f', ""), ("d/.wh.x", b'f', "")], &["d/"]);
    check(&["d/x=1", "d/y=1"], &[("d/.wh..wh..opq", b'f', ""), ("d/z", b'f', "3")], &["d/", "d/z=3"]);
    check(&["d@700/", "d/x=1"], &[("d/y", b'f', "2")], &["d/ @700", "d/x=1", "d/y=2"]);
    check(&["d=file"], &[("d/", b'd', ""), ("d/y", b'f', "2")], &["d/", "d/y=2"]);
    check(&["d/x=1"], &[("d", b'f', "now")], &["d=now"]);
    check(&["x=low"], &[("y", b'h', "x")], &["x=low", "y=low"]);
    check(&[], &[("x", b'f', "1"), ("x", b'f', "2"), ("x/", b'd', ""), ("x/y", b'h', "x/y")][..3], &["x/"]);
    // A removal is about what is below, in whatever order it comes.
    check(&["d/x=1"], &[("d/y", b'f', "2"), (".wh.d", b'f', "")], &["d/", "d/y=2"]);
    check(&["d/x=1"], &[(".wh.d", b'f', ""), ("d/y", b'f', "2")], &["d/", "d/y=2"]);
    check(&["x=1"], &[(".wh..wh.plnk", b'f', ""), ("./", b'd', "")], &["x=1"]);
    check(&["x=1"], &[(".wh..wh.plnk/", b'd', ""), (".wh..wh.plnk/1.2", b'f', "1")], &["x=1"]);
}

#[test]
fn links_lead_where_they_lead_in_the_image() {
    check(&["real/", "l>/real"], &[("l/x", b'f', "1")], &["l>/real", "real/", "real/x=1"]);
    check(&["l>/new/place"], &[("l/x", b'f', "1")], &["l>/new/place", "new/", "new/place/", "new/place/x=1"]);
    check(&[], &[("l", b'l', "/etc"), ("l/x", b'f', "1")], &["etc/", "etc/x=1", "l>/etc"]);
    check(&[], &[("l", b'l', "../../../etc"), ("l", b'f', "1")], &["l=1"]);
    check(
        &["a/"],
        &[
            ("a/l", b'l', "../b"),
            ("b/", b'd', ""),
            ("a/l/x", b'f', "1"),
            ("a/l", b'd', ""),
            ("a/l/y", b'f', "2"),
        ],
        &["a/", "a/l/", "a/l/y=2", "b/", "b/x=1"],
    );
}

#[test]
fn hostile_streams_are_refused() {
    for lines in [
        &[("../x", b'f', "1")][..],
        &[("a/../../x", b'f', "1")],
        &[("h", b'h', "../x")],
        &[("h", b'h', "missing")],
        &[("h", b'h', "/etc/passwd")],
        &[("d/", b'd', ""), ("h", b'h', "d")],
        &[(".wh...", b'f', "")],
        &[(".wh.", b'f', "")],
        &[("d/.wh..", b'f', "")],
        &[(".wh./x", b'f', "1")],
        &[("d/.wh.x/y", b'f', "1")],
        &[("l", b'l', ".wh.x"), ("l/y", b'f', "1")],
        &[("l", b'l', "l"), ("l/x", b'f', "1")],
        &[("f", b'f', "1"), ("f/x", b'f', "1")],
    ] {
        assert!(apply_to(&[], &tar(lines)).is_err(), "{lines:?}");
    }
    let whole = tar(&[("f", b'f', "some content that is cut off")]);
    for length in [1, 511, 513, 520] {
        let error = apply_to(&[], &whole[..length]).unwrap_err();
        assert!(matches!(error, ApplyError::Archive(ArchiveError::Truncated)), "{length}: {error}");
    }
    assert!(apply_to(&[], &[b'x'; 1024]).is_err());
}

#[test]
fn archives_are_unpacked_below_a_directory() {
    let lower = layer(&["in/old=1", "in/link>/out", "out/"]);
    let upper = tempfile::tempdir().unwrap();
    let below = View::open(&[lower.path()]).unwrap();
    let writer = LayerWriter::open(upper.path(), below, NOW).unwrap();
    let lines: &[Line<'_>] = &[
        ("./", b'd', ""),
        ("link/x", b'f', "1"),
        ("/abs", b'f', "2"),
        (".wh.old", b'f', ""),
        ("h", b'h', "./abs"),
    ];
    let options = ExtractOptions { owner: Some((5, 6)), ..ExtractOptions::default() };
    extract_archive(&*tar(lines), &writer, &ImagePath::new("/in/new"), &options).unwrap();
    extract_archive(&*tar(lines), &writer, &ImagePath::new("/in"), &options).unwrap();
    writer.finish().unwrap();
    let view = View::open(&[lower.path(), upper.path()]).unwrap();
    assert_eq!(
        list(&view),
        [
            "in/",
            "in/.wh.old= 5:6",
            "in/abs=2 5:6",
            "in/h=2 5:6",
            "in/link>/out",
            "in/new/ 5:6",
            "in/new/.wh.old= 5:6",
            "in/new/abs=2 5:6",
            "in/new/h=2 5:6",
            "in/new/link/",
            "in/new/link/x=1 5:6",
            "in/old=1",
            "in/out/",
            "in/out/x=1 5:6",
            "out/",
        ]
    );
    for escape in [&[("../x", b'f', "")][..], &[("up", b'l', "../.."), ("up/x", b'f', "")]] {
        let writer = LayerWriter::open(upper.path(), View::empty(), NOW).unwrap();
        let unpacked = extract_archive(&*tar(escape), &writer, &ImagePath::new("/in"), &options);
        assert!(unpacked.is_err(), "{escape:?}");
    }
    assert!(is_archive(&*tar(lines)) && !is_archive(&b"text"[..]) && !is_archive(&[0; 1024][..]));
}

#[test]
fn foreign_writers_are_understood() {
    let mut builder = tar::Builder::new(Vec::new());
    let long = "long/".repeat(60) + "name";
    let mut header = tar::Header::new_gnu();
    header.set_size(4);
    header.set_mode(0o4755);
    header.set_mtime(1);
    header.set_cksum();
    builder.append_data(&mut header, &long, &b"text"[..]).unwrap();
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    builder.append_link(&mut link, "l", &long).unwrap();
    let (dir, applied) = apply_to(&[], &builder.into_inner().unwrap()).unwrap();
    assert_eq!(applied.members, 2);
    let view = View::open(&[dir.path()]).unwrap();
    let (_, entry) = view.resolve(&ImagePath::new("/l")).unwrap().unwrap();
    assert_eq!((entry.mode_bits, entry.size_bytes, entry.mtime), (0o4755, 4, Timestamp::at_second(1)));
}

#[test]
fn the_deepest_tree_is_no_trouble_and_a_deeper_one_is_refused() {
    let deep = |depth: usize| "d/".repeat(depth);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).unwrap();
    let (dir, applied) = apply_to(&[], &tar(&[(&deep(1000), b'd', "")])).unwrap();
    let packed = pack(dir.path(), &mut std::io::sink(), &PackOptions::default()).unwrap();
    assert_eq!((packed.members, applied.members), (1000, 1));
    let view = View::open(&[dir.path()]).unwrap();
    let to = tempfile::tempdir().unwrap();
    let copied =
        crate::export::export_dir(&view, to.path(), None, &crate::export::ExportOptions::default()).unwrap();
    assert_eq!(copied.folders, 1001);
    let digest = |dir: &std::path::Path| {
        let view = View::open_directory(dir).unwrap();
        crate::tree_digest(&view, &ImagePath::root(), &crate::DigestOptions::default()).unwrap()
    };
    assert_eq!(digest(dir.path()), digest(to.path()));
    let told = crate::changes(dir.path(), &View::empty(), &|_| false).unwrap();
    assert_eq!(told.len(), 1000);
    assert!(apply_to(&[], &tar(&[(&deep(2100), b'd', "")])).is_err());
}

fn packed(layer: &std::path::Path) -> (Vec<u8>, crate::pack::Packed) {
    let mut bytes = Vec::new();
    let packed = pack(layer, &mut bytes, &PackOptions::default()).unwrap();
    (bytes, packed)
}

/// Names that collide often, so that links and directories meet.
fn notation() -> impl Strategy<Value = Vec<String>> {
    let name = "[a-c]{1,2}(/[a-c]){0,2}";
    let content = "[x-z]{0,4}";
    let one = prop_oneof![
        (name, content).prop_map(|(name, content)| format!("{name}={content}")),
        name.prop_map(|name| format!("{name}!")),
        name.prop_map(|name| format!("{name}/")),
        name.prop_map(|name| format!("{name}|")),
        (name, "[0-7]{3,4}").prop_map(|(name, mode)| format!("{name}@{mode}=m")),
        (name, "[./a-c]{1,8}").prop_map(|(name, target)| format!("{name}>{target}")),
        (name, name).prop_map(|(name, first)| format!("{name}&{first}")),
        (name, "[a-c]{90,180}").prop_map(|(name, long)| format!("{name}/{long}=long")),
        name.prop_map(|name| format!("{name}-é=text")),
        name.prop_map(|name| format!("{name}/*")),
    ];
    proptest::collection::vec(one, 0..12)
}

/// Makes what of a notation can be made.
fn grow_what_goes(root: &std::path::Path, notation: &[String]) {
    for text in notation {
        let one = [text.as_str()];
        // A name that is taken, or leads through something else, is left out.
        drop(std::panic::catch_unwind(|| grow(root, &one)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn unpacking_what_was_packed_gives_the_same(notation in notation()) {
        std::panic::set_hook(Box::new(|_| {}));
        let dir = layer(&[]);
        grow_what_goes(dir.path(), &notation);
        drop(std::panic::take_hook());
        let (bytes, made) = packed(dir.path());
        prop_assert_eq!(made.size_bytes, bytes.len() as u64);
        let (again, applied) = apply_to(&[], &bytes).unwrap();
        prop_assert_eq!(applied.diff_id, made.diff_id);
        prop_assert_eq!(applied.members, made.members);
        let (bytes_again, _) = packed(again.path());
        prop_assert!(bytes_again == bytes, "{:?}", notation);
        let (before, after) = (View::open(&[dir.path()]).unwrap(), View::open(&[again.path()]).unwrap());
        prop_assert_eq!(list(&before), list(&after));
    }

    #[test]
    fn no_bytes_make_it_panic(mut bytes in Just(tar(&[("a/b", b'f', "text"), ("l", b'l', "a"), ("l/x", b'f', "y")])),
        at in 0_usize..3000, value in any::<u8>(), seal in any::<bool>()) {
        let at = at % bytes.len();
        bytes[at] = value;
        if seal {
            // Past the checksum, where the interesting mistakes are.
            for block in bytes.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar") {
                block[148..156].fill(b' ');
                let sum: u32 = block.iter().copied().map(u32::from).sum();
                block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
            }
        }
        drop(apply_to(&[], &bytes));
    }
}

#[test]
fn who_may_not_change_owners_makes_the_same_layer() {
    let mut writer = Writer::new(Vec::new());
    for (path, kind, owner) in [
        ("d/", Kind::Folder, (5, 6)),
        ("d/f", Kind::File, (7, 8)),
        ("d/l", Kind::Link, (9, 10)),
        ("d/m", Kind::Link, (0, 0)),
        ("d/p", Kind::Fifo, (11, 12)),
        ("z", Kind::File, (0, 0)),
    ] {
        let metadata =
            Metadata { mode_bits: 0o640, uid: owner.0, gid: owner.1, mtime: NOW, xattrs: Vec::new() };
        let metadata = if kind == Kind::Link { Metadata { mode_bits: 0o777, ..metadata } } else { metadata };
        let link = if kind == Kind::Link { b"x".to_vec() } else { Vec::new() };
        let (kind, device) = (MemberKind::Entry(kind), Device::default());
        writer.begin(&Member { path: path.into(), kind, link, metadata, device, size_bytes: 0 }).unwrap();
    }
    let bytes = writer.finish().unwrap();
    for policy in [Policy::of_process(), Policy::USER_SINGLE] {
        let dir = tempfile::tempdir().unwrap();
        let below = View::empty();
        let applied =
            apply(&*bytes, dir.path(), &ApplyOptions { below, policy, now: NOW, alone: false }).unwrap();
        let view = View::open_as(&[dir.path()], policy).unwrap();
        assert_eq!(
            list(&view),
            ["d/ @640 5:6", "d/f= @640 7:8", "d/l>x 9:10", "d/m>x", "d/p named pipe @640 11:12", "z= @640"],
            "{policy:?}"
        );
        let options = PackOptions { policy, clamp_mtime: None };
        let packed = pack(dir.path(), &mut std::io::sink(), &options).unwrap();
        assert_eq!(packed.diff_id, applied.diff_id, "{policy:?}");
    }
}

#[test]
fn the_last_name_of_a_file_says_what_it_is_like() {
    let mut writer = Writer::new(Vec::new());
    for (path, kind, mode_bits, uid) in [
        ("f", MemberKind::Entry(Kind::File), 0o4755, 5),
        ("closed", MemberKind::Entry(Kind::File), 0, 0),
        ("g", MemberKind::HardLink, 0o640, 7),
        ("open", MemberKind::HardLink, 0o600, 0),
        ("own", MemberKind::Entry(Kind::File), 0o600, 5),
        ("root", MemberKind::HardLink, 0o600, 0),
    ] {
        let link = match path {
            "g" => b"f".to_vec(),
            "open" => b"closed".to_vec(),
            "root" => b"own".to_vec(),
            _ => Vec::new(),
        };
        let metadata = Metadata { mode_bits, uid, mtime: NOW, ..Metadata::default() };
        let device = Device::default();
        writer.begin(&Member { path: path.into(), kind, link, metadata, device, size_bytes: 0 }).unwrap();
    }
    let (dir, _) = apply_to(&[], &writer.finish().unwrap()).unwrap();
    let listed = list(&View::open(&[dir.path()]).unwrap());
    assert_eq!(
        listed,
        ["closed= @600", "f= @640 7:0", "g= @640 7:0", "open= @600", "own= @600", "root= @600"]
    );
}

#[test]
fn folders_stay_folders_where_that_is_asked() {
    let lower = layer(&["d/", "d/x=1", "f=2", "l>d"]);
    let options = ExtractOptions { keep_kinds: true, ..ExtractOptions::default() };
    let check = |line: Line<'_>, expected: Option<&str>| {
        let upper = tempfile::tempdir().unwrap();
        let below = View::open(&[lower.path()]).unwrap();
        let writer = LayerWriter::open(upper.path(), below, NOW).unwrap();
        let told = extract_archive(&*tar(&[line]), &writer, &ImagePath::root(), &options);
        assert_eq!(told.err().map(|error| error.to_string()).as_deref(), expected, "{}", line.0);
    };
    check(("d", b'f', "3"), Some("cannot overwrite directory \"d\" with non-directory \"/\""));
    check(("d", b'h', "f"), Some("cannot overwrite directory \"d\" with non-directory \"/\""));
    check(("f/", b'd', ""), Some("cannot overwrite non-directory \"f\" with directory \"/\""));
    check(("l/", b'd', ""), Some("cannot overwrite non-directory \"l\" with directory \"/\""));
    for same in [("d/", b'd', ""), ("f", b'f', "3"), ("l", b'f', "3"), ("d/x", b'f', "3"), ("./", b'd', "")] {
        check(same, None);
    }
}
