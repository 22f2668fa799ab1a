//! The verbs of containers, volumes and networks, with their options.

pub(crate) mod create;
pub(crate) mod device;
pub(crate) mod exec;
pub(crate) mod files;
pub(crate) mod life;
pub(crate) mod look;
pub(crate) mod mount;
pub(crate) mod network;
pub(crate) mod options;
pub(crate) mod run;
pub(crate) mod update;
pub(crate) mod value;
pub(crate) mod volume;
