//! The binary: arguments, rendering, exit codes.
#![cfg_attr(
    doc,
    allow(
        rustdoc::invalid_html_tags,
        rustdoc::broken_intra_doc_links,
        reason = "the comments of options are the texts of their help, and no Markdown"
    )
)]

mod args;
mod command;
mod environment;
mod failure;
mod global;
mod interrupt;
mod registry;
mod render;
mod session;
mod template;
mod tree;
mod verb;

use failure::Failure;
use global::Global;
use session::Session;
use std::ffi::OsString;
use std::process::ExitCode;

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    #[cfg(feature = "failpoints")]
    let _order = environment::failpoint().map(|order| {
        lighter_engine::failpoint::Order::obey(&order).expect("`LIGHTER_FAILPOINT` is an order")
    });
    interrupt::survive_file_limit();
    interrupt::hear_of_children();
    if let Some(code) = lighter_engine::container::run_hidden_verb() {
        return ExitCode::from(u8::try_from(code).unwrap_or(1));
    }
    let mut session = Session::default();
    let failure = match call(std::env::args_os().skip(1), &mut session) {
        Ok(code) => return ExitCode::from(code),
        Err(_) if session.is_unread() => Failure::nobody_reads(),
        Err(failure) => failure,
    };
    if !failure.text.is_empty() {
        session.remark(&failure.text);
    }
    ExitCode::from(failure.code)
}

fn call(words: impl IntoIterator<Item = OsString>, session: &mut Session) -> Result<u8, Failure> {
    let global = Global::read(words)?;
    if global.version {
        return session.print(&format!("lighter version {}\n", env!("CARGO_PKG_VERSION"))).map(|()| 0);
    }
    session.config = global.config;
    session.debug = global.debug;
    trace(global.log_level.as_deref(), global.debug);
    if global.help { tree::call(&["help".into()], session) } else { tree::call(&global.words, session) }
}

/// Shows what goes on inside, if that was asked for.
fn trace(level: Option<&str>, debug: bool) {
    let asked = level.map(|level| if level == "fatal" { "error" } else { level });
    let Some(filter) = environment::log().or_else(|| asked.or(debug.then_some("debug")).map(str::to_owned))
    else {
        return;
    };
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .init();
}
