//! Agents of our own for the key files of `--ssh id=KEY`: `OpenSSH` reads the keys and answers for them.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use lighter_store::{Scratch, Store};

use super::failure::BuildFailure;
use super::request::SshSource;

/// The name of an agent's socket in its folder, by which it is bound: whole paths may be too long for a socket.
const SOCKET: &str = "agent";

/// What `ssh-agent` runs: it says when the agent listens, and ends it when its input ends, and so with us, even where
/// we are killed.
const COMMAND: &str = "echo; cat; kill $SSH_AGENT_PID";

/// The agents behind the SSH mounts of a build, by the ids of `--ssh`; our own run for as long as this lives.
pub(super) struct Agents(BTreeMap<String, Agent>);

enum Agent {
    /// The caller's, at this socket.
    Theirs(PathBuf),
    Own(KeyAgent),
}

impl Agents {
    /// Starts an agent wherever key files were given.
    ///
    /// # Errors
    /// When `OpenSSH` is missing, or a key cannot be read or has a passphrase.
    pub(super) fn start(store: &Store, sources: &BTreeMap<String, SshSource>) -> Result<Self, BuildFailure> {
        let agent = |(id, source): (&String, &SshSource)| {
            let agent = match source {
                SshSource::Agent(socket) => Agent::Theirs(socket.clone()),
                SshSource::Keys(keys) => {
                    let agent = KeyAgent::start(store).map_err(|source| BuildFailure::SshAgent { source })?;
                    keys.iter().try_for_each(|key| agent.add(id, key))?;
                    Agent::Own(agent)
                }
            };
            Ok((id.clone(), agent))
        };
        sources.iter().map(agent).collect::<Result<_, _>>().map(Self)
    }

    /// Where they listen.
    pub(super) fn sockets(&self) -> BTreeMap<String, PathBuf> {
        let socket = |agent: &Agent| match agent {
            Agent::Theirs(socket) => socket.clone(),
            Agent::Own(agent) => agent.folder.fs().join(SOCKET),
        };
        self.0.iter().map(|(id, agent)| (id.clone(), socket(agent))).collect()
    }
}

/// A running `ssh-agent`.
struct KeyAgent {
    command: Child,
    folder: Scratch,
}

impl KeyAgent {
    fn start(store: &Store) -> io::Result<Self> {
        let folder = store.new_layer().map_err(io::Error::other)?;
        let mut command = Command::new("ssh-agent")
            .args(["-a", SOCKET, "sh", "-c", COMMAND])
            .current_dir(folder.fs())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let listens = command.stdout.as_mut().map_or(Ok(()), |stdout| stdout.read_exact(&mut [0]));
        let agent = Self { command, folder };
        listens.map(|()| agent)
    }

    fn add(&self, id: &str, key: &Path) -> Result<(), BuildFailure> {
        let failed =
            |reason: String| BuildFailure::SshKey { id: id.to_owned(), path: key.to_owned(), reason };
        let run = || {
            // through standard input, as a file that others may read would be refused; and nobody is asked for a passphrase
            Command::new("ssh-add")
                .args(["-q", "-"])
                .current_dir(self.folder.fs())
                .env("SSH_AUTH_SOCK", SOCKET)
                .env("SSH_ASKPASS", "false")
                .env("SSH_ASKPASS_REQUIRE", "force")
                .env("LC_ALL", "C")
                .stdin(std::fs::File::open(key)?)
                .output()
        };
        let output = run().map_err(|error| failed(error.to_string()))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(failed(if said.trim().is_empty() {
            format!("it has a passphrase: add it to an agent with ssh-add, and give --ssh {id}")
        } else {
            format!("it holds no private key that can be read: {}", said.trim())
        }))
    }
}

impl Drop for KeyAgent {
    fn drop(&mut self) {
        drop(self.command.stdin.take());
        // it has nothing else to do than to end
        let _ = self.command.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn make_key(path: &Path, passphrase: &str) {
        let status = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", passphrase, "-f"])
            .arg(path)
            .status()
            .unwrap();
        assert!(status.success());
    }

    #[test]
    fn keys_are_served_for_as_long_as_the_agents_live() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let [one, two, locked] = ["one", "two", "locked"].map(|name| folder.path().join(name));
        make_key(&one, "");
        make_key(&two, "");
        make_key(&locked, "secret");
        let start = |keys: &[&Path]| {
            let keys = keys.iter().map(|key| (*key).to_owned()).collect();
            Agents::start(&store, &BTreeMap::from([("id".to_owned(), SshSource::Keys(keys))]))
        };

        let agents = start(&[&one, &two]).unwrap();
        let socket = agents.sockets()["id"].clone();
        let mut stream = UnixStream::connect(&socket).unwrap();
        // which identities are there: a message of one byte, answered by a message of five and more
        stream.write_all(&[0, 0, 0, 1, 11]).unwrap();
        let mut answer = [0; 9];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer[4..], [12, 0, 0, 0, 2]);
        drop(agents);
        assert!(UnixStream::connect(&socket).is_err());

        let fault = |key: &Path| start(&[key]).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(fault(&locked).contains("passphrase"), "{}", fault(&locked));
        std::fs::write(&two, "no key").unwrap();
        assert!(fault(&two).contains("holds no private key"), "{}", fault(&two));
    }
}
