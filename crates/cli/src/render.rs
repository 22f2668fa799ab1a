//! How results look: tables, sizes and ages, templates, progress, diagnostics.

pub(crate) mod diagnostic;
pub(crate) mod document;
pub(crate) mod listing;
pub(crate) mod output_file;
pub(crate) mod progress;
pub(crate) mod table;
pub(crate) mod transfer;
pub(crate) mod units;
