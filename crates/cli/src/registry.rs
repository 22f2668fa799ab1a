//! How registries are reached: what the environment and the files of this machine say.

use crate::environment;
use crate::failure::{self, Failure};
use crate::session::Session;
use lighter_engine::registry::config::{Certificates, CredentialSources, FileKind, Proxies, Registries};
use lighter_engine::registry::{Cancel, Client, Config, Secret, Warning};
use lighter_image::Reference;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The settings of all registries.
///
/// # Errors
/// A file of settings that cannot be used.
pub(crate) fn settings(session: &Session) -> Result<Config, Failure> {
    let own = environment::config_home();
    let of_user = |path: &str| own.iter().map(|home| home.join(path)).collect::<Vec<_>>();
    let mut files = vec![
        (FileKind::Containers, PathBuf::from("/etc/containers/registries.conf")),
        (FileKind::Own, PathBuf::from("/etc/lighter/registries.toml")),
    ];
    files.extend(of_user("containers/registries.conf").into_iter().map(|path| (FileKind::Containers, path)));
    files.extend(of_user("lighter/registries.toml").into_iter().map(|path| (FileKind::Own, path)));
    let mut per_host = vec![PathBuf::from("/etc/docker/certs.d"), PathBuf::from("/etc/containers/certs.d")];
    per_host.extend(of_user("containers/certs.d"));
    let proxy = |upper: &str, lower: &str| environment::text(lower).or_else(|| environment::text(upper));
    Ok(Config {
        credentials: CredentialSources {
            inline: environment::text("DOCKER_AUTH_CONFIG").map(Secret::new),
            config_json: session.docker_config().map(|place| place.join("config.json")),
            more: auth_files(),
            helper_directories: Vec::new(),
        },
        certificates: Certificates {
            bundle: environment::variable("SSL_CERT_FILE").map(PathBuf::from),
            directories: environment::variable("SSL_CERT_DIR")
                .map(|paths| std::env::split_paths(&paths).collect())
                .unwrap_or_default(),
            per_host,
        },
        proxies: Proxies {
            http: proxy("HTTP_PROXY", "http_proxy").map(Secret::new),
            https: proxy("HTTPS_PROXY", "https_proxy").map(Secret::new),
            direct: proxy("NO_PROXY", "no_proxy").unwrap_or_default(),
        },
        registries: Registries::load(&files).map_err(|error| Failure::because(&error))?,
        ..Config::default()
    })
}

/// A client that stops when the flag is set.
///
/// # Errors
/// As [`settings`].
pub(crate) fn client(session: &Session, stopped: &Arc<AtomicBool>) -> Result<Client, Failure> {
    Ok(Client::new(settings(session)?, Cancel::flag(Arc::clone(stopped))))
}

/// A name as a person typed it, as the configuration reads it.
///
/// # Errors
/// A text that is no name, in Docker's words.
pub(crate) fn read_name(client: &Client, text: &str) -> Result<Reference, Failure> {
    client.config().registries.read_name(text).map_err(|error| Failure::new(failure::chain(&error)))
}

/// A name as a person typed it, with the tag that it has where none is typed.
///
/// # Errors
/// A text that is no name.
pub(crate) fn tagged(text: &str) -> Result<Reference, Failure> {
    let parsed: Result<Reference, _> = text.parse();
    parsed.map(Reference::with_default_tag).map_err(|error| Failure::because(&error))
}

/// Passes on what registries want people to know: to standard error, once, whatever came of the command.
pub(crate) fn pass_warnings_on(session: &Session, client: &Client) {
    for Warning { host, text } in client.warnings() {
        session.remark(&format!("WARNING: {host}: {text}"));
    }
}

/// Where the containers tools keep credentials.
fn auth_files() -> Vec<PathBuf> {
    if let Some(file) = environment::variable("REGISTRY_AUTH_FILE") {
        return vec![file.into()];
    }
    let runtime = environment::variable("XDG_RUNTIME_DIR")
        .map(|place| PathBuf::from(place).join("containers/auth.json"));
    let config = environment::config_home().map(|place| place.join("containers/auth.json"));
    runtime.into_iter().chain(config).collect()
}
