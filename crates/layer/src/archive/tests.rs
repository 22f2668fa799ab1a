use std::io::{Read as _, Write as _};

use super::*;
use crate::archive::header::Header;
use crate::entry::Timestamp;

fn member(path: &str, kind: Kind, size_bytes: u64) -> Member {
    Member {
        path: path.into(),
        kind: MemberKind::Entry(kind),
        link: if kind == Kind::Link { b"target".to_vec() } else { Vec::new() },
        metadata: Metadata { mode_bits: 0o644, mtime: Timestamp::at_second(7), ..Metadata::default() },
        device: Device::default(),
        size_bytes,
    }
}

fn written(member: &Member, content: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    writer.begin(member).unwrap();
    writer.write_all(content).unwrap();
    writer.finish().unwrap()
}

#[test]
fn what_is_written_is_read_again_by_us_and_by_others() {
    let deep = "deep/".repeat(60) + "file";
    let split = format!("{}/{}", "p".repeat(120), "n".repeat(90));
    let mut cases = vec![
        member("f", Kind::File, 4),
        member("d/", Kind::Folder, 0),
        member("l", Kind::Link, 0),
        member(&deep, Kind::File, 4),
        member(&split, Kind::File, 4),
        member("\u{e9}", Kind::File, 4),
        member(&"n".repeat(101), Kind::File, 4),
    ];
    let mut odd = member("odd", Kind::File, 4);
    odd.metadata.uid = 3_000_000;
    odd.metadata.mtime = Timestamp::at_second(-5);
    odd.metadata.xattrs =
        vec![(b"security.capability".to_vec(), vec![1, 0, b'\n', b'=']), (b"user.x".to_vec(), b"y".to_vec())];
    cases.push(odd);
    let mut device = member("null", Kind::CharDevice, 0);
    device.device = Device { major: 1, minor: 3 };
    cases.push(device);
    for case in cases {
        let content = &b"text"[..usize::try_from(case.size_bytes).unwrap()];
        let bytes = written(&case, content);
        assert_eq!(bytes.len() % BLOCK, 0);
        let mut reader = Reader::new(&*bytes);
        assert_eq!(reader.next_member().unwrap().unwrap(), case);
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert_eq!(read, content);
        assert_eq!(reader.next_member().unwrap(), None);
        let mut archive = tar::Archive::new(&*bytes);
        let entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(*entry.path_bytes(), *case.path);
        assert_eq!(entry.size(), case.size_bytes);
    }
}

#[test]
fn plain_entries_need_no_records() {
    assert_eq!(written(&member("f", Kind::File, 4), b"text").len(), 4 * BLOCK);
    let split = format!("{}/{}", "p".repeat(150), "n".repeat(100));
    assert_eq!(written(&member(&split, Kind::File, 0), b"").len(), 3 * BLOCK);
}

#[test]
fn content_must_be_as_long_as_was_said() {
    let mut writer = Writer::new(Vec::new());
    writer.begin(&member("f", Kind::File, 4)).unwrap();
    assert!(writer.write_all(b"too long").is_err());
    assert!(writer.begin(&member("g", Kind::File, 0)).is_err());
}

/// A raw header block with a sum that is right.
fn raw(name: &str, flag: u8, size: u64, magic: [u8; 6]) -> Header {
    let mut header = Header([0; BLOCK]);
    header.put_text(header::NAME, name.as_bytes());
    header.put_octal(header::SIZE, size);
    header.put_octal(header::MODE, 0o600);
    header.0[header::TYPE] = flag;
    header.put_text(header::MAGIC, &magic);
    header
}

fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

/// A file with extended records before it.
fn with_records(records: &[(&str, &str)], content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in records {
        pax::push(&mut bytes, key.as_bytes(), value.as_bytes());
    }
    let mut before = raw("pax", b'x', bytes.len() as u64, *b"ustar\0");
    before.seal();
    let mut header = raw("GNUSparseFile.0/new", b'0', content.len() as u64, *b"ustar\0");
    header.seal();
    [&before.0[..], &padded(&bytes), &header.0, &padded(content)].concat()
}

/// What a file with holes looks like, read and unpacked.
fn check_holes(archive: &[u8], name: &str, size: usize, data: &[(usize, &[u8])]) {
    let mut expected = vec![0; size];
    for (at, bytes) in data {
        expected[*at..at + bytes.len()].copy_from_slice(bytes);
    }
    let mut reader = Reader::new(archive);
    let member = reader.next_member().unwrap().unwrap();
    assert_eq!((&*member.path, member.size_bytes), (name.as_bytes(), size as u64));
    let mut read = Vec::new();
    reader.read_to_end(&mut read).unwrap();
    assert!(read == expected, "{name}");
    let mut reader = Reader::new(archive);
    reader.next_member().unwrap();
    let mut file = tempfile::tempfile().unwrap();
    reader.copy_content(&file).unwrap().unwrap();
    let mut unpacked = Vec::new();
    file.read_to_end(&mut unpacked).unwrap();
    assert!(unpacked == expected, "{name}");
    assert_eq!(reader.next_member().unwrap(), None);
}

#[test]
fn files_with_holes_of_all_formats() {
    let data: &[(usize, &[u8])] = &[(1024, b"first"), (4096, b"second")];
    let mut old = raw("old", b'S', 11, *b"ustar ");
    for (index, (offset, bytes)) in data.iter().enumerate() {
        let at = 386 + 24 * index;
        old.put_octal(at..at + 12, *offset as u64);
        old.put_octal(at + 12..at + 24, bytes.len() as u64);
    }
    old.put_octal(header::GNU_REAL_SIZE, 8000);
    old.seal();
    check_holes(&[&old.0[..], &padded(b"firstsecond")].concat(), "old", 8000, data);

    let first = with_records(
        &[
            ("GNU.sparse.size", "8000"),
            ("GNU.sparse.numblocks", "2"),
            ("GNU.sparse.offset", "1024"),
            ("GNU.sparse.numbytes", "5"),
            ("GNU.sparse.offset", "4096"),
            ("GNU.sparse.numbytes", "6"),
        ],
        b"firstsecond",
    );
    check_holes(&first, "GNUSparseFile.0/new", 8000, data);
    let second = with_records(
        &[("GNU.sparse.name", "new"), ("GNU.sparse.size", "8000"), ("GNU.sparse.map", "1024,5,4096,6")],
        b"firstsecond",
    );
    check_holes(&second, "new", 8000, data);
    let content = [&padded(b"2\n1024\n5\n4096\n6\n")[..], b"firstsecond"].concat();
    let third = with_records(
        &[
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.name", "new"),
            ("GNU.sparse.realsize", "8000"),
        ],
        &content,
    );
    check_holes(&third, "new", 8000, data);
    for map in ["0,5", "1024,5,4096,7", "4096,5,1024,6", "1024,5,18446744073709551615,6", "1"] {
        let bad = with_records(&[("GNU.sparse.size", "8000"), ("GNU.sparse.map", map)], b"firstsecond");
        assert!(Reader::new(&*bad).next_member().is_err(), "{map}");
    }
}

#[test]
fn headers_that_ask_for_too_much_are_refused() {
    for (flag, size) in [(b'x', 2 << 20), (b'L', 1 << 32), (b'g', 8 << 30), (b'K', 2 << 20)] {
        let mut header = raw("bomb", flag, size.min(8 << 30) - 1, *b"ustar\0");
        header.seal();
        let error = Reader::new(&header.0[..]).next_member().unwrap_err();
        assert!(matches!(error, ArchiveError::TooLarge { .. }), "{flag} {error}");
    }
    let mut unknown = raw("u", b'Z', 0, *b"ustar\0");
    unknown.seal();
    assert!(matches!(Reader::new(&unknown.0[..]).next_member(), Err(ArchiveError::Type { .. })));
    let mut broken = raw("b", b'0', 0, *b"ustar\0");
    broken.seal();
    broken.0[0] ^= 1;
    assert!(matches!(Reader::new(&broken.0[..]).next_member(), Err(ArchiveError::Header(_))));
}

#[test]
fn holes_count_as_what_they_would_take() {
    let records = [("GNU.sparse.size", "1099511627776"), ("GNU.sparse.map", "1024,5")];
    let member = with_records(&records, b"first");
    // a pebibyte
    let archive = member.repeat(1 << 10);
    let mut reader = Reader::new(&archive[..]);
    let file = tempfile::tempfile().unwrap();
    let refused = (0..1 << 10).find_map(|_| {
        reader.next_member().unwrap().unwrap();
        file.set_len(0).unwrap();
        reader.copy_content(&file).unwrap().err()
    });
    assert_eq!(refused.map(|error| error.kind()), Some(std::io::ErrorKind::StorageFull));
}

#[test]
fn a_map_of_holes_without_an_end_is_not_kept_in_memory() {
    let records = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "8000")];
    let archive = with_records(&records, &vec![b'1'; 4 << 20]);
    let mut left = &*archive;
    assert!(matches!(Reader::new(&mut left).next_member(), Err(ArchiveError::Header(_))));
    assert!(left.len() > 3 << 20, "{} bytes are left", left.len());
}

#[test]
fn the_largest_size_of_all_is_an_end_too_early() {
    let archive = with_records(&[("size", "18446744073709551615")], b"text");
    let mut reader = Reader::new(&*archive);
    assert!(reader.next_member().unwrap().is_some());
    assert!(matches!(reader.next_member(), Err(ArchiveError::Truncated)));
}

#[test]
fn an_archive_ends_at_zeros_or_where_the_stream_does() {
    let whole = written(&member("f", Kind::File, 4), b"text");
    for length in [2 * BLOCK, 3 * BLOCK, 4 * BLOCK] {
        let mut reader = Reader::new(&whole[..length]);
        assert!(reader.next_member().unwrap().is_some());
        assert_eq!(reader.next_member().unwrap(), None, "{length}");
    }
    assert_eq!(Reader::new(&b""[..]).next_member().unwrap(), None);
}
