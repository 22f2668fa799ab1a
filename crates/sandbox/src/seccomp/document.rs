//! Docker's JSON documents for system call filters, as users write them.

use serde::Deserialize;
use serde_json::Value;

use super::custom::ProfileError;

/// Longest document that is read; Docker's own has a sixtieth of it.
pub const LONGEST_PROFILE_BYTES: usize = 1 << 20;

/// A whole document. Keys are in lower case: Go, which reads it for Docker, does not mind their case.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Document {
    #[serde(rename = "defaultaction")]
    pub(super) default_action: String,
    #[serde(rename = "defaulterrnoret")]
    pub(super) default_errno: Option<u64>,
    pub(super) architectures: Vec<String>,
    #[serde(rename = "archmap")]
    pub(super) architecture_map: Vec<Family>,
    pub(super) flags: Vec<String>,
    #[serde(rename = "listenerpath")]
    pub(super) listener_path: String,
    pub(super) syscalls: Vec<Group>,
}

/// An architecture with those whose programs run on it as well.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Family {
    pub(super) architecture: String,
    #[serde(rename = "subarchitectures")]
    pub(super) sub_architectures: Vec<String>,
}

/// System calls with one answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Group {
    /// The form of old.
    pub(super) name: String,
    pub(super) names: Vec<String>,
    pub(super) action: String,
    #[serde(rename = "errnoret")]
    pub(super) errno: Option<u64>,
    pub(super) args: Vec<Argument>,
    pub(super) includes: Condition,
    pub(super) excludes: Condition,
}

/// What an argument must be.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Argument {
    pub(super) index: u64,
    pub(super) value: u64,
    #[serde(rename = "valuetwo")]
    pub(super) second_value: u64,
    pub(super) op: String,
}

/// Where a group counts, or does not.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Condition {
    #[serde(rename = "caps")]
    pub(super) capabilities: Vec<String>,
    #[serde(rename = "arches")]
    pub(super) architectures: Vec<String>,
    #[serde(rename = "minkernel")]
    pub(super) least_kernel: Option<KernelVersion>,
}

/// The first two numbers of a kernel's release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct KernelVersion(pub(crate) u32, pub(crate) u32);

impl TryFrom<String> for KernelVersion {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let numbers = text
            .split_once('.')
            .and_then(|(kernel, major)| Some((kernel.parse::<u8>().ok()?, major.parse::<u8>().ok()?)));
        match numbers {
            Some((kernel, major)) if (kernel, major) != (0, 0) => Ok(Self(kernel.into(), major.into())),
            _ => Err(format!("invalid kernel version: {text:?}, expected \"<kernel>.<major>\"")),
        }
    }
}

impl KernelVersion {
    /// From what the kernel says of itself, such as `6.1.0-18-amd64`.
    pub(crate) fn of_release(release: &str) -> Self {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|word| word.parse().unwrap_or(0));
        Self(numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }
}

/// Reads a document.
pub(super) fn read(text: &str) -> Result<Document, ProfileError> {
    if text.len() > LONGEST_PROFILE_BYTES {
        return Err(ProfileError::TooLarge);
    }
    let decode = |error: serde_json::Error| ProfileError::Decode(error.to_string());
    match normal(serde_json::from_str(text).map_err(decode)?) {
        Value::Null => Ok(Document::default()),
        value @ Value::Object(_) => serde_json::from_value(value).map_err(decode),
        _ => Err(ProfileError::Decode("it is not an object".to_owned())),
    }
}

/// Keys in lower case, and nothing that is null: that counts as not given.
fn normal(value: Value) -> Value {
    match value {
        Value::Array(values) => {
            Value::Array(values.into_iter().filter(|value| !value.is_null()).map(normal).collect())
        }
        Value::Object(entries) => Value::Object(
            entries
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key.to_ascii_lowercase(), normal(value)))
                .collect(),
        ),
        value => value,
    }
}
