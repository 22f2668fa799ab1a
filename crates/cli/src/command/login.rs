//! `login` and `logout`: credentials are tried before they are kept.

use crate::args::login::{Login, Logout};
use crate::failure::Failure;
use crate::registry;
use crate::session::Session;
use crate::verb::Verb;
use lighter_engine::registry::{Client, Credential, LoginError, Proof, Secret, Stored};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use std::io;
use std::sync::Arc;

/// The registry of names without a domain.
const HUB: &str = "docker.io";
/// What that registry is called in Docker's configuration and messages.
pub(crate) const HUB_ADDRESS: &str = "https://index.docker.io/v1/";

impl Verb for Login {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let server = self.server.as_deref().map_or(HUB, domain);
        let client = registry::client(session, &Arc::default())?;
        let (username, password) = match self.known(session, &client, server)? {
            Some(known) => known,
            None => self.credentials(session)?,
        };
        let stored = client.login(server, &username, password).map_err(|error| told(&error))?;
        if let Stored::File(path) = stored {
            session.remark(&format!(
                "\nWARNING! Your credentials are stored unencrypted in '{}'.\n\
                 Configure a credential helper to remove this warning. See\n\
                 https://docs.docker.com/go/credential-store/\n",
                path.display()
            ));
        }
        session.print("Login Succeeded\n").map(|()| 0)
    }
}

impl Login {
    /// What is kept already, where nothing else is given.
    fn known(
        &self,
        session: &Session,
        client: &Client,
        server: &str,
    ) -> Result<Option<(String, Secret)>, Failure> {
        if self.username.is_some() || self.password.is_some() || self.password_stdin {
            return Ok(None);
        }
        match client.stored_credential(server).map_err(|error| Failure::because(&error))? {
            Some(Credential { username, proof: Proof::Password(password) }) => {
                session.remark(&format!(
                    "Authenticating with existing credentials... [Username: {username}]\n\n \
                     Info -> To login with a different account, run 'lighter logout' followed by 'lighter login'\n\n"
                ));
                Ok(Some((username, password)))
            }
            _ => Ok(None),
        }
    }

    fn credentials(&self, session: &Session) -> Result<(String, Secret), Failure> {
        if self.password_stdin && self.password.is_some() {
            return Err(Failure::new(
                "conflicting options: cannot specify both --password and --password-stdin",
            ));
        }
        if self.password_stdin && self.username.is_none() {
            return Err(Failure::new("the --password-stdin option requires --username to be set"));
        }
        for (what, given) in [("username", &self.username), ("password", &self.password)] {
            if given.as_ref().is_some_and(String::is_empty) {
                return Err(Failure::new(format!("{what} is empty")));
            }
        }
        let needs_terminal = !self.password_stdin && (self.username.is_none() || self.password.is_none());
        if needs_terminal && !session.reads_from_terminal() {
            return Err(not_interactive());
        }
        let username = if let Some(name) = &self.username {
            name.clone()
        } else {
            session.print("Username: ")?;
            line()?
        };
        let password = match &self.password {
            _ if self.password_stdin => {
                let read = io::read_to_string(io::stdin())?.trim_end_matches(['\r', '\n']).to_owned();
                // as if none were given, which would be asked for
                if read.is_empty() && !session.reads_from_terminal() {
                    return Err(not_interactive());
                }
                read
            }
            Some(password) => {
                session.remark("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
                password.clone()
            }
            None => hidden_line(session)?,
        };
        if username.is_empty() || password.is_empty() {
            return Err(Failure::new("Error: username and password must not be empty"));
        }
        Ok((username, Secret::new(password)))
    }
}

impl Verb for Logout {
    fn run(self, session: &Session) -> Result<u8, Failure> {
        let server = self.server.as_deref().map_or(HUB, domain);
        let client = registry::client(session, &Arc::default())?;
        client.logout(server).map_err(|error| Failure::because(&error))?;
        let shown = if server == HUB { HUB_ADDRESS } else { server };
        session.print(&format!("Removing login credentials for {shown}\n")).map(|()| 0)
    }
}

fn not_interactive() -> Failure {
    Failure::new("Error: Cannot perform an interactive login from a non TTY device")
}

/// What could not be kept is not a login that was refused.
fn told(error: &LoginError) -> Failure {
    match error {
        LoginError::Credential(_) => {
            Failure::new(format!("Error saving credentials: {}", crate::failure::chain(error)))
        }
        error => Failure::because(error),
    }
}

/// The host of a server that is written as an address, as people write it.
fn domain(text: &str) -> &str {
    let bare = text.trim_start_matches("https://").trim_start_matches("http://");
    match bare.split('/').next().unwrap_or(bare) {
        "index.docker.io" | "registry-1.docker.io" => HUB,
        host => host,
    }
}

fn line() -> Result<String, Failure> {
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Reads a line that the terminal does not show.
fn hidden_line(session: &Session) -> Result<String, Failure> {
    session.print("Password: ")?;
    let terminal = io::stdin();
    let before = tcgetattr(&terminal).map_err(io::Error::from)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&terminal, OptionalActions::Flush, &silent).map_err(io::Error::from)?;
    let read = line();
    tcsetattr(&terminal, OptionalActions::Flush, &before).map_err(io::Error::from)?;
    session.print("\n")?;
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_hosts() {
        let check = |text, expected: &str| assert_eq!(domain(text), expected);
        check("127.0.0.1:5000", "127.0.0.1:5000");
        check("https://r.example/v2/", "r.example");
        check("https://index.docker.io/v1/", "docker.io");
    }
}
