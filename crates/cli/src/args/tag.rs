//! `tag`.

use crate::verb::{Arguments, Arity, Spec};

/// `tag`.
#[derive(Debug, clap::Args)]
pub(crate) struct Tag {
    pub(crate) source: String,
    pub(crate) target: String,
}

impl Arguments for Tag {
    const SPEC: Spec = Spec {
        paths: &["image tag", "tag"],
        usage: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
        about: "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
        arity: Arity::Exactly(2),
    };
}
