//! `import`.

use crate::verb::{Arguments, Arity, Spec};

/// `import`.
#[derive(Debug, clap::Args)]
pub(crate) struct Import {
    /// Apply Dockerfile instruction to the created image
    #[arg(short, long, value_name = "list")]
    pub(crate) change: Vec<String>,
    /// Set commit message for imported image
    #[arg(short, long, value_name = "string")]
    pub(crate) message: Option<String>,
    /// Set platform if server is multi-platform capable
    #[arg(long, value_name = "string")]
    pub(crate) platform: Option<String>,
    pub(crate) source: String,
    pub(crate) repository: Option<String>,
}

impl Arguments for Import {
    const SPEC: Spec = Spec {
        paths: &["image import", "import"],
        usage: "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
        about: "Import the contents from a tarball to create a filesystem image",
        arity: Arity::AtLeast(1),
    };
}
