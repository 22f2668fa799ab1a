//! Roots and mounts.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use lighter_sandbox::{Exit, Mount, Root, Scratch, Stub};

use crate::fixture::{Fixture, output_of, run, start, succeed};

pub(crate) const CASES: &[crate::Case] = &[
    ("mounts::changes_go_to_the_upper", changes_go_to_the_upper),
    ("mounts::mount_points_leave_no_trace", mount_points_leave_no_trace),
    ("mounts::removals_hide_no_mount_point", removals_hide_no_mount_point),
    ("mounts::links_are_followed_inside_the_root", links_are_followed_inside_the_root),
    ("mounts::kept_mount_points_stay", kept_mount_points_stay),
    ("mounts::a_directory_root_is_left_clean", a_directory_root_is_left_clean),
    ("mounts::empty_root", empty_root),
    ("mounts::many_layers", many_layers),
    ("mounts::read_only", read_only),
    ("mounts::tmpfs_options", tmpfs_options),
    ("mounts::files_in_memory", files_in_memory),
    ("mounts::overlay_with_scratch", overlay_with_scratch),
    ("mounts::parts_lead_out_of_no_directory", parts_lead_out_of_no_directory),
    ("mounts::system_mounts_are_dockers", system_mounts_are_dockers),
    ("mounts::the_same_upper_again", the_same_upper_again),
    ("mounts::nothing_is_seen_outside", nothing_is_seen_outside),
];

fn changes_go_to_the_upper() {
    let fixture = Fixture::new();
    let out = succeed(&fixture.script("echo new > /etc/new; rm /etc/kept; mkdir /d; ls /"));
    assert_eq!(out, "bin\nd\ndev\netc\nlib\nlib64\nproc\nsbin\nsys\ntmp\nusr\n");
    assert_eq!(fixture.changes(), ["d", "etc", "etc/kept", "etc/new"]);
    let whiteout = fs::symlink_metadata(fixture.path("upper/etc/kept")).unwrap();
    assert_eq!((whiteout.mode() & 0o170_000, whiteout.rdev()), (0o020_000, 0));
}

fn mount_points_leave_no_trace() {
    let fixture = Fixture::new();
    fs::write(fixture.path("hosts"), "hosts\n").unwrap();
    let before = fs::metadata(fixture.path("lower/etc")).unwrap().mtime_nsec();
    let mut spec =
        fixture.script("cat /etc/hosts; ls -d /made/for/cache; touch /made/for/cache/x; stat -c %Y.%a /etc");
    spec.mounts.push(Mount::bind(fixture.path("hosts"), "/etc/hosts").with_read_only(true));
    spec.mounts.push(Mount::tmpfs("/made/for/cache"));
    let mtime = fs::metadata(fixture.path("lower/etc")).unwrap().mtime();
    assert_eq!(succeed(&spec), format!("hosts\n/made/for/cache\n{mtime}.755\n"));
    assert_eq!(fixture.changes(), Vec::<String>::new());
    assert_eq!(fs::metadata(fixture.path("lower/etc")).unwrap().mtime_nsec(), before);
    // What the step itself puts beside a mount point stays, and nothing else.
    let mut spec = fixture.script("touch /made/own");
    spec.mounts.push(Mount::tmpfs("/made/for/cache"));
    succeed(&spec);
    assert_eq!(fixture.changes(), ["made", "made/own"]);
}

fn removals_hide_no_mount_point() {
    let fixture = Fixture::new();
    succeed(&fixture.script("rm -r /etc"));
    let lowers = vec![fixture.path("lower"), fixture.path("upper")];
    let [upper, work] = ["second", "second-work"].map(|name| fixture.path(name));
    fs::create_dir(&upper).unwrap();
    fs::create_dir(&work).unwrap();
    fs::write(fixture.path("hosts"), "hosts\n").unwrap();
    let mut spec = fixture.script("cat /etc/hosts; ls /etc");
    spec.root = Root::Overlay { lowers, upper: upper.clone(), work };
    spec.mounts.push(Mount::bind(fixture.path("hosts"), "/etc/hosts").with_read_only(true));
    assert_eq!(succeed(&spec), "hosts\nhosts\n");
    assert_eq!(fs::read_dir(upper).unwrap().count(), 0);
}

fn links_are_followed_inside_the_root() {
    let fixture = Fixture::new();
    symlink("/tmp", fixture.path("lower/link")).unwrap();
    symlink("/nowhere/yet", fixture.path("lower/dangling")).unwrap();
    symlink("../../../../../etc", fixture.path("lower/escape")).unwrap();
    let mut spec = fixture.script("ls -d /tmp/a /nowhere/yet/b /etc/c; grep -c ' /etc/c ' /proc/mounts");
    spec.mounts.push(Mount::tmpfs("/link/a"));
    spec.mounts.push(Mount::tmpfs("/dangling/b"));
    spec.mounts.push(Mount::tmpfs("/escape/c"));
    assert_eq!(succeed(&spec), "/etc/c\n/nowhere/yet/b\n/tmp/a\n1\n");
    assert_eq!(fixture.changes(), Vec::<String>::new());
}

fn kept_mount_points_stay() {
    let fixture = Fixture::new();
    let mut spec = fixture.script("true");
    spec.mounts.push(Mount::tmpfs("/data/volume").with_stub(Stub::Kept));
    succeed(&spec);
    assert_eq!(fixture.changes(), ["data", "data/volume"]);
}

fn a_directory_root_is_left_clean() {
    let fixture = Fixture::new();
    let mut spec = fixture.script("echo x > /new; ls -d /made/for/cache");
    spec.root = Root::Directory(fixture.path("lower"));
    spec.mounts.push(Mount::tmpfs("/made/for/cache"));
    assert_eq!(succeed(&spec), "/made/for/cache\n");
    let mut names: Vec<_> = fs::read_dir(fixture.path("lower"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["bin", "etc", "lib", "lib64", "new", "sbin", "tmp", "usr"]);
}

fn empty_root() {
    let fixture = Fixture::new();
    let mut spec = fixture.command(&["/usr/bin/ls", "/"]);
    spec.root = Root::Overlay { lowers: vec![], upper: fixture.path("upper"), work: fixture.path("work") };
    spec.mounts.push(Mount::bind("/lib", "/lib"));
    spec.mounts.push(Mount::bind("/lib64", "/lib64"));
    assert_eq!(succeed(&spec), "dev\nlib\nlib64\nproc\nsys\nusr\n");
    assert_eq!(fixture.changes(), Vec::<String>::new());
    spec.args = vec!["/bin/sh".to_owned()];
    let error = start(&spec).expect_err("no shell");
    assert_eq!(error.exit_code(), 127);
}

fn many_layers() {
    let fixture = Fixture::new();
    let mut lowers = vec![fixture.path("lower")];
    for number in 0..60 {
        let layer = fixture.path(&format!("layer with, odd: name {number}"));
        fs::create_dir(&layer).unwrap();
        fs::write(layer.join("top"), number.to_string()).unwrap();
        fs::write(layer.join(format!("file{number}")), "").unwrap();
        lowers.push(layer);
    }
    // an image may have a layer twice
    lowers.push(fixture.path("layer with, odd: name 7"));
    let mut spec = fixture.script("cat /top; echo; ls -d /file* | wc -l");
    spec.root = Root::Overlay { lowers, upper: fixture.path("upper"), work: fixture.path("work") };
    assert_eq!(succeed(&spec), "7\n60\n");
    let twice = vec![fixture.path("lower"), fixture.path("lower")];
    spec.root = Root::ReadOnlyOverlay { lowers: twice.clone() };
    spec.args = vec!["/bin/cat".to_owned(), "/other/file".to_owned()];
    fs::write(fixture.path("lower/file"), "text").unwrap();
    spec.mounts.push(Mount::overlay(twice, None, "/other"));
    assert_eq!(succeed(&spec), "text");
}

fn read_only() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.path("data")).unwrap();
    let mut spec = fixture.script(
        "touch /x 2>/dev/null || echo root; touch /data/x 2>/dev/null || echo data; touch /rw/x /dev/shm/x && echo rw",
    );
    spec.readonly_root = true;
    spec.mounts.push(Mount::bind(fixture.path("data"), "/data").with_read_only(true));
    spec.mounts.push(Mount::bind(fixture.path("data"), "/rw"));
    assert_eq!(succeed(&spec), "root\ndata\nrw\n");
    assert!(fixture.path("data/x").exists());
    let mut spec = fixture.script("touch /x 2>/dev/null || echo read-only");
    spec.root = Root::ReadOnlyOverlay { lowers: vec![fixture.path("lower")] };
    assert_eq!(succeed(&spec), "read-only\n");
}

fn tmpfs_options() {
    let fixture = Fixture::new();
    let mut spec = fixture.script(
        "df -k --output=size /t /dev/shm | tail -n 2; stat -c %a /t; cp /bin/true /t/true; /t/true || echo $?",
    );
    let mut mount = Mount::tmpfs("/t").with_data_only();
    if let lighter_sandbox::MountKind::Tmpfs(tmpfs) = &mut mount.kind {
        tmpfs.size_bytes = Some(2 << 20);
        tmpfs.mode_bits = Some(0o700);
    }
    spec.mounts.push(mount);
    spec.shm_size_bytes = 20 << 20;
    let out = succeed(&spec);
    let words: Vec<&str> = out.split_whitespace().collect();
    assert_eq!(&words[..3], ["2048", "20480", "700"], "{out}");
    assert!(out.contains("126"), "{out}");
}

fn files_in_memory() {
    let fixture = Fixture::new();
    let mut spec = fixture.script(
        "cat /run/s/one; stat -c '%a %u %g %s' /run/s/one /two; echo x 2>/dev/null > /two || echo ro; cd /tmp && pwd",
    );
    let large = vec![b'x'; 3 << 20];
    spec.mounts.push(Mount::file(b"hush\n", 0o4640, (7, 8), "/run/s/one"));
    spec.mounts.push(Mount::file(&large, 0o400, (0, 0), "/two").with_read_only(true).with_data_only());
    assert!(!format!("{spec:?}").contains(&format!("{:?}", &b"hush"[..3])));
    assert_eq!(succeed(&spec), "hush\n4640 7 8 5\n400 0 0 3145728\nro\n/tmp\n");
    assert_eq!(fixture.changes(), Vec::<String>::new());
}

fn overlay_with_scratch() {
    let fixture = Fixture::new();
    for name in ["below", "above", "up", "wk"] {
        fs::create_dir(fixture.path(name)).unwrap();
    }
    fs::create_dir(fixture.path("below/x")).unwrap();
    fs::write(fixture.path("below/x/f"), "below\n").unwrap();
    fs::write(fixture.path("above/g"), "above\n").unwrap();
    let lowers = vec![fixture.path("below"), fixture.path("above")];
    let scratch = Scratch { upper: fixture.path("up"), work: fixture.path("wk") };
    let mut spec = fixture.script("cat /m/x/f /m/g; echo new > /m/new; echo x > /ro/x || cat /one/f /single");
    spec.mounts.push(Mount::overlay(lowers.clone(), Some(scratch), "/m"));
    spec.mounts.push(Mount::overlay(lowers.clone(), None, "/ro"));
    let mut part = Mount::overlay(vec![fixture.path("below")], None, "/one");
    if let lighter_sandbox::MountKind::Overlay { source, .. } = &mut part.kind {
        "/x".clone_into(source);
    }
    spec.mounts.push(part);
    let mut file = Mount::overlay(lowers, None, "/single");
    if let lighter_sandbox::MountKind::Overlay { source, .. } = &mut file.kind {
        "x/f".clone_into(source);
    }
    spec.mounts.push(file);
    let out = succeed(&spec);
    assert!(out.starts_with("below\nabove\n"), "{out}");
    assert!(out.ends_with("below\nbelow\n"), "{out}");
    assert!(fixture.path("up/new").exists());
    assert_eq!(fixture.changes(), Vec::<String>::new());
}

fn parts_lead_out_of_no_directory() {
    let fixture = Fixture::new();
    for name in ["shared/inner/part", "canary/part"] {
        fs::create_dir_all(fixture.path(name)).unwrap();
    }
    fs::write(fixture.path("shared/inner/part/f"), "inside\n").unwrap();
    fs::write(fixture.path("canary/part/f"), "canary\n").unwrap();
    let mut spec = fixture.script("cat /m/f; echo new > /m/new");
    spec.mounts.push(Mount::part(fixture.path("shared"), "/inner/part", "/m"));
    assert_eq!(succeed(&spec), "inside\n");
    assert!(fixture.path("shared/inner/part/new").exists());
    // another one who has the directory replaces what was found there
    let swap = |target: &std::path::Path| {
        let inner = fixture.path("shared/inner");
        if inner.is_symlink() {
            fs::remove_file(&inner).unwrap();
        } else {
            fs::rename(&inner, fixture.path("shared/moved")).unwrap();
        }
        symlink(target, &inner).unwrap();
    };
    for target in [fixture.path("canary"), "../canary".into(), "../../../../../../../../usr/..".into()] {
        swap(&target);
        let error = start(&spec).expect_err("it is not in the directory");
        assert!(error.to_string().contains("shared at /m"), "{error}");
    }
    assert!(!fixture.path("canary/part/new").exists());
    // a link is one inside the directory
    fs::remove_file(fixture.path("shared/moved/part/new")).unwrap();
    swap(std::path::Path::new("/moved"));
    assert_eq!(succeed(&spec), "inside\n");
    let mut spec = fixture.script("cat /file");
    spec.mounts.push(Mount::part(fixture.path("shared"), "inner/part/f", "/file"));
    assert_eq!(succeed(&spec), "inside\n");
}

fn system_mounts_are_dockers() {
    let out = output_of("cut -d ' ' -f 5,6 /proc/self/mountinfo; ls /dev | tr '\\n' ' '");
    let check = |line: &str| assert!(out.contains(line), "{line} in\n{out}");
    check("/proc rw,nosuid,nodev,noexec");
    check("/sys ro,nosuid,nodev,noexec");
    check("/dev/pts rw,nosuid,noexec");
    check("/dev/shm rw,nosuid,nodev,noexec");
    check("/dev/mqueue rw,nosuid,nodev,noexec");
    check("/proc/sys ro,nosuid,nodev,noexec");
    check("/sys/firmware ro");
    check("fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero");
    let out = output_of(
        "head -c 4 /dev/zero | wc -c; echo x > /dev/null; cat /proc/kcore 2>/dev/null | wc -c; cat /proc/keys | wc -c; cat /proc/timer_list 2>/dev/null| wc -c; umask",
    );
    assert_eq!(out, "4\n0\n0\n0\n0022\n");
}

fn the_same_upper_again() {
    let fixture = Fixture::new();
    succeed(&fixture.script("echo 1 > /f"));
    assert_eq!(succeed(&fixture.script("cat /f; echo 2 > /f")), "1\n");
    assert_eq!(succeed(&fixture.script("cat /f")), "2\n");
}

fn nothing_is_seen_outside() {
    let fixture = Fixture::new();
    let (process, reader) = start(&fixture.script("echo up; sleep 100")).unwrap();
    let mut line = [0; 3];
    std::io::Read::read_exact(&mut std::fs::File::from(reader), &mut line).unwrap();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(fixture.dir.path().to_str().unwrap()));
    process.kill(9).unwrap();
    assert_eq!(process.wait().unwrap(), Exit::Signal(9));
    assert_eq!(run(&fixture.script("true")).exit, Exit::Code(0));
}
