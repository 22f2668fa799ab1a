//! The caller's environment: the only place that reads its variables.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::OnceLock;

use crate::failure::Failure;

/// Where root's store is when nothing else is said.
const SYSTEM_STORE: &str = "/var/lib/lighter";

/// A variable that is set and not empty.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// A variable that is set, not empty, and text.
pub(crate) fn text(name: &str) -> Option<String> {
    variable(name).and_then(|value| value.into_string().ok())
}

/// A variable as text, even if empty: what `-e NAME` and `--build-arg NAME` pass on.
pub(crate) fn passed_on(name: &str) -> Option<String> {
    env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// Where the store is: `$LIGHTER_ROOT`, else a system directory for root and the data directory of anyone else.
pub(crate) fn store() -> Option<PathBuf> {
    if let Some(root) = variable("LIGHTER_ROOT") {
        // what serves a container works elsewhere
        return Some(std::path::absolute(&root).unwrap_or_else(|_| root.into()));
    }
    if rustix::process::geteuid().is_root() {
        return Some(SYSTEM_STORE.into());
    }
    let data = variable("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    data.or_else(|| home().map(|home| home.join(".local/share"))).map(|data| data.join("lighter"))
}

/// Where files are that a reboot may clear, the same for all processes of this user.
///
/// The first call decides: later the process may be root in a user namespace, which is not the machine's root.
pub(crate) fn runtime() -> PathBuf {
    static PLACE: OnceLock<PathBuf> = OnceLock::new();
    let place = || {
        let user = rustix::process::geteuid();
        if user.is_root() {
            return "/run/lighter".into();
        }
        match variable("XDG_RUNTIME_DIR") {
            Some(place) => PathBuf::from(place).join("lighter"),
            None => std::env::temp_dir().join(format!("lighter-{}", user.as_raw())),
        }
    };
    PLACE.get_or_init(place).clone()
}

/// Where `config.json` with the credentials is: `$DOCKER_CONFIG`, else `~/.docker`.
pub(crate) fn docker_config() -> Option<PathBuf> {
    variable("DOCKER_CONFIG").map(PathBuf::from).or_else(|| home().map(|home| home.join(".docker")))
}

/// Whether colours are unwelcome, as `NO_COLOR` and a terminal without any say.
pub(crate) fn no_color() -> bool {
    variable("NO_COLOR").is_some() || variable("TERM").is_none_or(|term| term == "dumb")
}

/// `SOURCE_DATE_EPOCH`, for a build.
pub(crate) fn source_date_epoch() -> Option<String> {
    text("SOURCE_DATE_EPOCH")
}

/// What developers want to see: `$LIGHTER_LOG`.
pub(crate) fn log() -> Option<String> {
    text("LIGHTER_LOG")
}

/// Where this process is to die: `$LIGHTER_FAILPOINT`.
#[cfg(feature = "failpoints")]
pub(crate) fn failpoint() -> Option<String> {
    text("LIGHTER_FAILPOINT")
}

/// How progress is shown when no option says: `$BUILDKIT_PROGRESS`.
pub(crate) fn progress() -> Option<String> {
    text("BUILDKIT_PROGRESS")
}

/// How large the build cache may become: `$LIGHTER_CACHE_LIMIT`.
pub(crate) fn cache_limit() -> Option<String> {
    text("LIGHTER_CACHE_LIMIT")
}

/// Whether a metadata file says where the result comes from: `$BUILDX_METADATA_PROVENANCE`.
///
/// # Errors
/// Where more is asked for than there is.
pub(crate) fn metadata_has_provenance() -> Result<bool, Failure> {
    match text("BUILDX_METADATA_PROVENANCE").as_deref() {
        None | Some("" | "min" | "true" | "1") => Ok(true),
        Some("disabled" | "false" | "0") => Ok(false),
        Some(other) => Err(Failure::new(format!(
            "ERROR: BUILDX_METADATA_PROVENANCE={other} is not supported: it is min or disabled"
        ))),
    }
}

/// Where the caller's settings are: `$XDG_CONFIG_HOME`, else `~/.config`.
pub(crate) fn config_home() -> Option<PathBuf> {
    let named = variable("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    named.or_else(|| home().map(|home| home.join(".config")))
}

fn home() -> Option<PathBuf> {
    variable("HOME").map(PathBuf::from).filter(|path| path.is_absolute())
}
