//! Where a build reads from: contexts, Dockerfile, secrets, agents, proxies.

use super::request::attributes;
use crate::environment;
use crate::failure::{Failure, in_plain_words};
use crate::session::Session;
use lighter_engine::build::{ContextSource, FileSource, NamedContextSource, Secret, SecretSource, SshSource};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

/// The last word of `build`.
pub(super) fn context(text: &str) -> ContextSource {
    match text {
        "-" => ContextSource::Stdin,
        _ if is_remote(text) && !Path::new(text).exists() => ContextSource::Url(text.to_owned()),
        _ => ContextSource::Directory(text.into()),
    }
}

/// `--file`.
pub(super) fn file(text: &str) -> FileSource {
    match text {
        "-" => FileSource::Stdin,
        _ if text.starts_with("http://") || text.starts_with("https://") => FileSource::Url(text.to_owned()),
        _ => FileSource::Path(text.into()),
    }
}

/// Whether a text is an address, by the forms that Docker knows.
fn is_remote(text: &str) -> bool {
    let schemes = ["http://", "https://", "git://", "ssh://", "git@", "github.com/"];
    schemes.iter().any(|scheme| text.starts_with(scheme))
}

/// `--build-context`.
///
/// # Errors
/// One without a name.
pub(super) fn named(texts: &[String]) -> Result<BTreeMap<String, NamedContextSource>, Failure> {
    let mut contexts = BTreeMap::new();
    for text in texts {
        let (name, place) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
            Failure::new(format!("ERROR: invalid context value: {text}, expected key=value"))
        })?;
        let source = if let Some(image) = place.strip_prefix("docker-image://") {
            NamedContextSource::Image(image.to_owned())
        } else if let Some(layout) = place.strip_prefix("oci-layout://") {
            NamedContextSource::OciLayout(layout.to_owned())
        } else if let Some(stage) = place.strip_prefix("target:") {
            NamedContextSource::Stage(stage.to_owned())
        } else if is_remote(place) {
            NamedContextSource::Url(place.to_owned())
        } else {
            NamedContextSource::Directory(place.into())
        };
        contexts.insert(name.to_owned(), source);
    }
    Ok(contexts)
}

/// `--secret`.
///
/// # Errors
/// One without an id.
pub(super) fn secrets(
    texts: &[String],
    session: &Session,
) -> Result<BTreeMap<String, SecretSource>, Failure> {
    texts.iter().map(|text| secret(text, &|remark| session.remark(remark))).collect()
}

fn secret(text: &str, warn: &dyn Fn(&str)) -> Result<(String, SecretSource), Failure> {
    let invalid = |why: &str| Failure::new(format!("ERROR: invalid secret {text:?}: {why}"));
    let (mut id, mut file, mut variable, mut kind) = (None, None, None, None);
    for (key, value) in attributes("--secret", text)? {
        match key.as_str() {
            "id" => id = Some(value),
            "source" | "src" => file = Some(value),
            "env" => variable = Some(value),
            "type" if matches!(value.as_str(), "file" | "env") => kind = Some(value),
            "type" => return Err(invalid(&format!("unsupported secret type {value:?}"))),
            other => return Err(invalid(&format!("unexpected key '{other}'"))),
        }
    }
    let id = id.filter(|id| !id.is_empty()).ok_or_else(|| invalid("it has no id"))?;
    if kind.as_deref() == Some("env") && variable.is_none() {
        variable = file.take().or_else(|| Some(id.clone()));
    }
    let of_variable = |name: &str| {
        environment::passed_on(name).map(|value| SecretSource::Value(Secret::new(value.into_bytes())))
    };
    let source = match (file, variable) {
        (Some(path), None) => SecretSource::File(path.into()),
        (_, Some(name)) => {
            // as BuildKit has it, but not in silence
            of_variable(&name).unwrap_or_else(|| {
                warn(&format!("WARNING: secret {id} is empty: the variable {name} is not set"));
                SecretSource::Value(Secret::new(Vec::new()))
            })
        }
        (None, None) if kind.is_none() => {
            of_variable(&id).unwrap_or_else(|| SecretSource::File(PathBuf::from(&id)))
        }
        (None, None) => SecretSource::File(PathBuf::from(&id)),
    };
    Ok((id, source))
}

/// `--ssh`.
///
/// # Errors
/// When there is no agent, or a path is neither a socket nor a file.
pub(super) fn ssh(texts: &[String]) -> Result<BTreeMap<String, SshSource>, Failure> {
    texts.iter().map(|text| agent(text)).collect()
}

fn agent(text: &str) -> Result<(String, SshSource), Failure> {
    let (id, paths) = text.split_once('=').map_or((text, None), |(id, paths)| (id, Some(paths)));
    let paths: Vec<PathBuf> = match paths {
        Some(paths) => paths.split(',').map(PathBuf::from).collect(),
        None => match environment::variable("SSH_AUTH_SOCK") {
            Some(socket) => vec![socket.into()],
            None => {
                return Err(Failure::new(format!(
                    "ERROR: invalid empty ssh agent socket for {id:?}: make sure SSH_AUTH_SOCK is set"
                )));
            }
        },
    };
    let is_socket = |path: &PathBuf| {
        let found = std::fs::metadata(path);
        found
            .map(|found| found.file_type().is_socket())
            .map_err(|error| Failure::new(format!("ERROR: --ssh {id}: {}: {error}", path.display())))
    };
    let sockets = paths.iter().map(is_socket).collect::<Result<Vec<_>, _>>()?;
    match (paths.as_slice(), sockets.as_slice()) {
        ([socket], [true]) => Ok((id.to_owned(), SshSource::Agent(socket.clone()))),
        (_, sockets) if sockets.contains(&true) => {
            Err(Failure::new(format!("ERROR: --ssh {id}: only a single socket can be given")))
        }
        _ => Ok((id.to_owned(), SshSource::Keys(paths))),
    }
}

/// The proxies of the client's configuration, as build arguments.
pub(super) fn proxies(session: &Session) -> Vec<(String, String)> {
    let config = client_config(session);
    let proxy = &config["proxies"]["default"];
    [
        ("httpProxy", "HTTP_PROXY"),
        ("httpsProxy", "HTTPS_PROXY"),
        ("noProxy", "NO_PROXY"),
        ("ftpProxy", "FTP_PROXY"),
        ("allProxy", "ALL_PROXY"),
    ]
    .iter()
    .filter_map(|(field, name)| proxy[field].as_str().map(|value| (name, value)))
    .flat_map(|(name, value)| {
        [((*name).to_owned(), value.to_owned()), (name.to_lowercase(), value.to_owned())]
    })
    .collect()
}

/// The client's configuration. One that cannot be read says nothing, as with Docker, which warns of it, too.
fn client_config(session: &Session) -> Value {
    let Some(path) = session.docker_config().map(|place| place.join("config.json")) else {
        return Value::Null;
    };
    let read = match std::fs::read(&path) {
        Ok(text) if text.trim_ascii().is_empty() => Ok(Value::Null),
        Ok(text) => serde_json::from_slice(&text).map_err(|error| error.to_string()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Value::Null),
        Err(error) => Err(in_plain_words(error.to_string())),
    };
    read.unwrap_or_else(|error| {
        session.remark(&format!("WARNING: Error parsing config file ({}): {error}", path.display()));
        Value::Null
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts() {
        assert_eq!(context("-"), ContextSource::Stdin);
        assert_eq!(context("."), ContextSource::Directory(".".into()));
        assert_eq!(context("git://h/r.git#v1"), ContextSource::Url("git://h/r.git#v1".to_owned()));
        assert_eq!(context("github.com/a/b"), ContextSource::Url("github.com/a/b".to_owned()));
    }

    #[test]
    fn named_contexts() {
        let read =
            |text: &str| named(&[text.to_owned()]).ok().and_then(|contexts| contexts.get("n").cloned());
        assert_eq!(read("n=dir"), Some(NamedContextSource::Directory("dir".into())));
        assert_eq!(read("n=docker-image://a:b"), Some(NamedContextSource::Image("a:b".to_owned())));
        assert_eq!(read("n=oci-layout:///x:t"), Some(NamedContextSource::OciLayout("/x:t".to_owned())));
        assert_eq!(read("n=target:s"), Some(NamedContextSource::Stage("s".to_owned())));
        assert_eq!(read("n=https://h/x.git"), Some(NamedContextSource::Url("https://h/x.git".to_owned())));
        assert_eq!(read("=x"), None);
    }

    #[test]
    fn secrets_by_file_and_variable() {
        let read = |text: &str| secret(text, &|_| ()).ok();
        assert_eq!(read("id=a,src=/f"), Some(("a".to_owned(), SecretSource::File("/f".into()))));
        assert_eq!(read("id=a,type=file,source=f"), Some(("a".to_owned(), SecretSource::File("f".into()))));
        assert_eq!(
            read("id=no-such-variable"),
            Some(("no-such-variable".to_owned(), SecretSource::File("no-such-variable".into())))
        );
        for path in ["id=a,env=PATH", "type=env,id=a,src=PATH", "type=env,id=PATH", "id=a,src=/f,env=PATH"] {
            assert!(matches!(read(path), Some((_, SecretSource::Value(_)))), "{path}");
        }
        let empty = SecretSource::Value(Secret::new(Vec::new()));
        assert_eq!(read("id=a,env=NO_SUCH_VARIABLE"), Some(("a".to_owned(), empty)));
        for fault in ["src=/f", "id=a,frob=b", "id=a,type=x", "a"] {
            assert_eq!(read(fault), None, "{fault}");
        }
    }
}
