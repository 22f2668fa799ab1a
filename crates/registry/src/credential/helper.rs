//! Helper programs that keep credentials: `docker-credential-NAME get|store|erase`.
//!
//! Secrets go through pipes, never through arguments, where any process could read them.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::CredentialError;
use crate::Secret;
use crate::cancel::Cancel;

/// The most that is read of an answer.
const LONGEST: u64 = 1 << 20;
/// What a helper prints where it has nothing.
const NOT_FOUND: &str = "credentials not found";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(rename = "ServerURL", default)]
    server_url: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

pub(super) struct Helper<'a> {
    program: String,
    path: PathBuf,
    patience: Duration,
    cancel: &'a Cancel,
}

impl<'a> Helper<'a> {
    /// The helper of this name, which is part of a program's name and no path.
    pub(super) fn new(
        name: &str,
        directories: &[PathBuf],
        patience: Duration,
        cancel: &'a Cancel,
    ) -> Result<Self, CredentialError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let program = format!("docker-credential-{name}");
        if !name.chars().all(fits) {
            let reason = "that is not the name of a helper".to_owned();
            return Err(CredentialError::Helper { program, action: "", reason });
        }
        let found = directories.iter().map(|directory| directory.join(&program)).find(|path| path.exists());
        let path = found.unwrap_or_else(|| PathBuf::from(&program));
        Ok(Self { program, path, patience, cancel })
    }

    pub(super) fn program(&self) -> &str {
        &self.program
    }

    pub(super) fn get(&self, server: &str) -> Result<Option<(String, Secret)>, CredentialError> {
        let (success, output) = self.run("get", server.as_bytes())?;
        if !success {
            let said = String::from_utf8_lossy(&output);
            if said.to_ascii_lowercase().contains(NOT_FOUND) {
                return Ok(None);
            }
            return Err(self.failed("get", said.trim()));
        }
        // the answer is never part of a message: it has the secret in it
        let entry: Entry = serde_json::from_slice(&output)
            .map_err(|_| self.failed("get", "the answer is not valid JSON"))?;
        Ok(Some((entry.username, Secret::new(entry.secret))))
    }

    pub(super) fn store(&self, server: &str, username: &str, secret: &Secret) -> Result<(), CredentialError> {
        let entry = Entry {
            server_url: server.to_owned(),
            username: username.to_owned(),
            secret: secret.expose().to_owned(),
        };
        let input = serde_json::to_vec(&entry).map_err(|error| self.failed("store", &error.to_string()))?;
        self.must("store", &input)
    }

    pub(super) fn erase(&self, server: &str) -> Result<(), CredentialError> {
        self.must("erase", server.as_bytes())
    }

    fn must(&self, action: &'static str, input: &[u8]) -> Result<(), CredentialError> {
        let (success, output) = self.run(action, input)?;
        if success { Ok(()) } else { Err(self.failed(action, String::from_utf8_lossy(&output).trim())) }
    }

    /// Runs the helper; what it prints on its error output is the user's to see.
    fn run(&self, action: &'static str, input: &[u8]) -> Result<(bool, Vec<u8>), CredentialError> {
        let error = |source| CredentialError::Run { program: self.program.clone(), source };
        let mut child = Command::new(&self.path)
            .arg(action)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(error)?;
        let mut stdin = child.stdin.take();
        let stdout = child.stdout.take();
        thread::scope(|scope| {
            let reader = scope.spawn(move || {
                let mut output = Vec::new();
                let read = stdout.map(|stdout| stdout.take(LONGEST).read_to_end(&mut output));
                read.transpose().map(|_| output)
            });
            // a helper may end without reading: what it says then is what counts
            let written = stdin.as_mut().map(|stdin| stdin.write_all(input));
            drop(stdin.take());
            let outcome = self.wait(&mut child, action);
            let output = reader.join().map_err(|_| self.failed(action, "reading its answer"))?;
            let success = outcome?;
            if let Some(Err(source)) = written.filter(|_| success) {
                return Err(error(source));
            }
            Ok((success, output.map_err(error)?))
        })
    }

    fn wait(&self, child: &mut Child, action: &'static str) -> Result<bool, CredentialError> {
        let end = Instant::now() + self.patience;
        let error = |source| CredentialError::Run { program: self.program.clone(), source };
        let mut pause = Duration::from_millis(1);
        loop {
            if let Some(status) = child.try_wait().map_err(error)? {
                return Ok(status.success());
            }
            let cancelled = self.cancel.is_set();
            if cancelled || Instant::now() >= end {
                child.kill().and_then(|()| child.wait()).map_err(error)?;
                self.cancel.check()?;
                return Err(self.failed(action, "it did not end in time"));
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    fn failed(&self, action: &'static str, reason: &str) -> CredentialError {
        let reason: String = reason.chars().filter(|c| !c.is_control()).take(300).collect();
        CredentialError::Helper { program: self.program.clone(), action, reason }
    }
}
