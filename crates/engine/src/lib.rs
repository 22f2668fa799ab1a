//! One file per verb: what any front end would call. Nothing here prints or reads the environment.

mod annotations;
pub mod archive;
pub mod build;
pub mod container;
mod context;
mod fetch;
pub mod image;
pub mod manifest;
pub mod pull;
pub mod push;
pub mod system;

pub use lighter_registry as registry;
pub use lighter_sandbox::{EnterError, enter_user_namespace, hear_of_children};
pub use lighter_store::Store;
#[cfg(feature = "failpoints")]
pub use lighter_store::failpoint;
