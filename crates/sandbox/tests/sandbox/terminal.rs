//! Terminals.

use std::io::{Read, Write};

use lighter_sandbox::{Exit, Stdio, Window, resize, spawn};

use crate::fixture::Fixture;

pub(crate) const CASES: &[crate::Case] = &[("terminal::it_has_one_of_its_own", it_has_one_of_its_own)];

fn it_has_one_of_its_own() {
    let fixture = Fixture::new();
    let mut spec = fixture
        .script("tty; stty size; test -c /dev/console && echo console; read line; stty size; echo $line");
    spec.tty = true;
    spec.window = Some(Window { rows: 33, columns: 77 });
    let mut process = spawn(&spec, Stdio::null()).unwrap();
    let terminal = process.take_terminal().expect("terminal");
    assert!(process.take_terminal().is_none());
    let mut file = std::fs::File::from(terminal);
    let mut seen = String::new();
    read_until(&mut file, &mut seen, "console\r\n");
    assert_eq!(seen, "/dev/pts/0\r\n33 77\r\nconsole\r\n");
    resize(&file, Window { rows: 10, columns: 20 }).unwrap();
    file.write_all(b"word\n").unwrap();
    read_until(&mut file, &mut seen, "20\r\nword\r\n");
    assert!(seen.ends_with("10 20\r\nword\r\n"), "{seen:?}");
    assert_eq!(process.wait().unwrap(), Exit::Code(0));
}

fn read_until(file: &mut std::fs::File, seen: &mut String, end: &str) {
    let mut chunk = [0; 256];
    while !seen.ends_with(end) {
        match file.read(&mut chunk) {
            Ok(0) | Err(_) => break,
            Ok(count) => seen.push_str(std::str::from_utf8(&chunk[..count]).unwrap()),
        }
    }
}
