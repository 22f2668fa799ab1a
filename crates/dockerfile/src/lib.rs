//! The Dockerfile language: text becomes syntax, syntax becomes a plan, faults become diagnostics.
//!
//! Nothing here reads a file, a clock or the environment: all comes in as values. [`lower`] answers with a plan or
//! with what it must know first.

#![cfg_attr(not(test), warn(clippy::wildcard_enum_match_arm))]

mod change;
pub mod csv;
pub mod diagnostic;
mod duration;
pub mod expand;
pub mod fmt;
pub mod glob;
pub mod graph;
pub mod ignore;
pub mod instruction;
pub mod lint;
mod path;
pub mod plan;
mod suggest;
pub mod syntax;
pub mod targets;
#[cfg(test)]
mod testing;

pub use change::change;
pub use diagnostic::{Code, Diagnostic, Label, Lines, Severity, Span};
pub use plan::{
    Base, BaseNeed, Copy, Files, ImageSource, Lowered, NamedContext, Op, Plan, Request, Run, RunMount,
    Source, Step, StepId, Workdir,
};
pub use plan::{Bases, Outline, early_warnings, lower};
pub use syntax::{File, Parsed, parse};
