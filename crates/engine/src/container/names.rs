//! Names of containers: what is wrong with one, and some for containers that were given none.

use lighter_store::{ContainerId, FindContainerError, NameContainerError, Store};

use super::state::FindError;

/// Why a container cannot have a name, in Docker's words.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// It has characters that Docker does not allow.
    #[error("Invalid container name ({0}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")]
    Invalid(String),
    /// Another container has it.
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{holder}\". You have to remove (or \
         rename) that container to be able to reuse that name."
    )]
    Taken {
        /// The name.
        name: String,
        /// Who has it.
        holder: ContainerId,
    },
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(NameContainerError),
}

impl From<NameContainerError> for NameError {
    fn from(error: NameContainerError) -> Self {
        match error {
            NameContainerError::InvalidName(name) => Self::Invalid(name),
            NameContainerError::NameTaken { name, holder } => Self::Taken { name, holder },
            other => Self::Store(other),
        }
    }
}

const FIRST: [&str; 32] = [
    "amber", "brave", "brisk", "calm", "candid", "clear", "deft", "eager", "fair", "fleet", "gentle", "glad",
    "hardy", "keen", "kind", "lively", "loyal", "mellow", "merry", "neat", "noble", "nimble", "patient",
    "plain", "quick", "quiet", "ready", "sage", "steady", "sunny", "swift", "warm",
];

const SECOND: [&str; 32] = [
    "barge", "barque", "brig", "canoe", "clipper", "coaster", "cog", "cutter", "dhow", "dinghy", "dory",
    "ferry", "frigate", "galley", "gig", "hoy", "jolly", "junk", "kayak", "ketch", "lugger", "packet",
    "pinnace", "punt", "schooner", "skiff", "sloop", "tender", "tug", "wherry", "yacht", "yawl",
];

/// A name that no container has.
pub(super) fn free(store: &Store) -> Result<String, FindError> {
    loop {
        let random = ContainerId::random();
        let digits = random.as_str().as_bytes();
        let pick =
            |from: usize| digits[from..from + 6].iter().map(|digit| usize::from(*digit)).sum::<usize>();
        // six digits add up to far more than 32 different values
        let name = format!("{}_{}", FIRST[pick(0) % 32], SECOND[pick(6) % 32]);
        let name = if pick(12).is_multiple_of(2) { name } else { format!("{name}{}", pick(18) % 100) };
        match store.find_container(&name) {
            Err(FindContainerError::NotFound(_)) => return Ok(name),
            Ok(_) | Err(FindContainerError::Ambiguous(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
