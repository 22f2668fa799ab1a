//! A container's terminal on the caller's, driven through the pseudo-terminal that `script` makes.

use lighter_tests::Lighter;
use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A shell on a terminal of 31 rows and 97 columns, where `$L` is the program.
struct Terminal {
    shell: Child,
    keyboard: ChildStdin,
    screen: Arc<Mutex<String>>,
    seen: usize,
}

impl Terminal {
    fn new(lighter: &Lighter) -> Self {
        let program = lighter.command([]);
        let words: Vec<&str> = std::iter::once(program.get_program())
            .chain(program.get_args())
            .filter_map(|word| word.to_str())
            .collect();
        let mut command = Command::new("script");
        command.args(["-q", "-c", "sh", "/dev/null"]).env("L", words.join(" ")).env("PS1", "$ ");
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut shell = spawned.expect("`script` (Debian's package bsdutils)");
        let keyboard = shell.stdin.take().expect("piped");
        let mut output = shell.stdout.take().expect("piped");
        let screen = Arc::new(Mutex::new(String::new()));
        let drawn = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                drawn.lock().expect("whole").push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
        });
        let mut terminal = Self { shell, keyboard, screen, seen: 0 };
        terminal.types("stty rows 31 cols 97; stty -g; echo rea''dy\n");
        terminal.shows("ready");
        terminal
    }

    fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("the shell reads");
    }

    /// Waits until this is shown after what was waited for last; what came before it.
    fn shows(&mut self, text: &str) -> String {
        let began = Instant::now();
        loop {
            let screen = self.screen.lock().expect("whole").clone();
            if let Some(at) = screen[self.seen..].find(text) {
                let before = screen[self.seen..self.seen + at].to_owned();
                self.seen += at + text.len();
                return before;
            }
            assert!(began.elapsed() < Duration::from_mins(2), "no `{text}` in `{screen}`");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The terminal's settings, as the shell sees them.
    fn settings(&mut self) -> String {
        self.types("echo se''t: $(stty -g) :te''s\n");
        self.shows("set: ");
        self.shows(" :tes")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // it may have ended already
        drop(self.shell.kill());
        drop(self.shell.wait());
    }
}

#[test]
fn a_terminal_is_left_and_taken_again_and_always_as_it_was() {
    let lighter = Lighter::with_busybox();
    let mut terminal = Terminal::new(&lighter);
    let before = terminal.settings();
    // the size may come before the trap
    let tells_size = "until [ \"$(stty size)\" = '31 97' ]; do sleep 0.1; done; \
                      trap 'echo size $(stty size)' WINCH; echo size $(stty size); while :; do sleep 0.1; done";
    terminal.types(&format!(
        "$L run -it --name box busybox sh -c \"$(cat)\"; echo co''de $?\n{tells_size}\n\x04"
    ));
    terminal.shows("size 31 97");
    terminal.types("\x10\x11");
    terminal.shows("code 0");
    assert_eq!(terminal.settings(), before, "after the detach keys");

    terminal.types("$L attach --detach-keys ctrl-x,y box; echo co''de $?\n");
    terminal.shows("size 31 97");
    terminal.types("\x18y");
    terminal.shows("read escape sequence");
    terminal.shows("code 1");
    assert_eq!(terminal.settings(), before, "after other keys");

    terminal.types("$L attach box; echo co''de $?\n");
    terminal.shows("size 31 97");
    let pid = lighter.ok(["inspect", "-f", "{{.State.Pid}}", "box"]);
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", pid.trim())).expect("the process is there");
    let shim = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a parent").trim();
    assert!(Command::new("kill").args(["-9", shim]).status().expect("kill runs").success());
    terminal.shows("code 137");
    assert_eq!(terminal.settings(), before, "after the death of the shim");
    lighter.ok(["rm", "-f", "box"]);
}

#[test]
fn a_further_process_has_the_terminal_and_its_own_exit_code() {
    let lighter = Lighter::with_busybox();
    let mut terminal = Terminal::new(&lighter);
    let before = terminal.settings();
    lighter.ok(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    terminal.types("$L exec -it box sh -c 'stty size; read x; exit $x'; echo co''de $?\n");
    terminal.shows("31 97");
    terminal.types("42\r");
    terminal.shows("code 42");
    assert_eq!(terminal.settings(), before);

    terminal.types("$L exec -it box sh -c 'echo he''re; cat'; echo co''de $?\n");
    terminal.shows("here");
    terminal.types("\x10\x11");
    terminal.shows("read escape sequence");
    terminal.shows("code 1");
    assert_eq!(terminal.settings(), before);
    lighter.ok(["rm", "-f", "box"]);
}
