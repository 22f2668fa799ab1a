//! Images in and out of archives: `save`, `load`, `import`, `export`.

mod import;
mod layer_stream;
pub(crate) mod layout;
mod load;
mod save;

pub(crate) use import::changed;
pub use import::{ImportError, ImportRequest, import};
pub(crate) use layer_stream::stream_length;
pub use layer_stream::{LayerStreamError, write_layer};
pub use load::{LoadError, Loaded, load};
pub use save::{SaveError, save};
