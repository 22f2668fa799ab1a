//! `exec` and `attach`.

use crate::args::container::value;
use crate::verb::{Arguments, Arity, Spec};

/// `exec`.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(crate) struct Exec {
    /// Detached mode: run command in the background
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long)]
    pub(crate) detach_keys: Option<String>,
    /// Set environment variables
    #[arg(short, long, value_name = "list", value_parser = value::variable)]
    pub(crate) env: Vec<String>,
    /// Read in a file of environment variables
    #[arg(long, value_name = "list")]
    pub(crate) env_file: Vec<String>,
    /// Keep STDIN open even if not attached
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give extended privileges to the command
    #[arg(long)]
    pub(crate) privileged: bool,
    /// Allocate a pseudo-TTY
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Username or UID (format: "<name|uid>[:<group|gid>]")
    #[arg(short, long)]
    pub(crate) user: Option<String>,
    /// Working directory inside the container
    #[arg(short, long)]
    pub(crate) workdir: Option<String>,
    /// The container, and the command with its arguments.
    #[arg(required = true, trailing_var_arg = true, num_args = 2..)]
    pub(crate) words: Vec<String>,
}

impl Arguments for Exec {
    const SPEC: Spec = Spec {
        paths: &["container exec", "exec"],
        usage: "[OPTIONS] CONTAINER COMMAND [ARG...]",
        about: "Execute a command in a running container",
        arity: Arity::AtLeast(2),
    };
}

/// `attach`.
#[derive(Debug, clap::Args)]
pub(crate) struct Attach {
    /// Override the key sequence for detaching a container
    #[arg(long)]
    pub(crate) detach_keys: Option<String>,
    /// Do not attach STDIN
    #[arg(long)]
    pub(crate) no_stdin: bool,
    /// Proxy all received signals to the process
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub(crate) sig_proxy: bool,
    #[arg(required = true)]
    pub(crate) container: String,
}

impl Arguments for Attach {
    const SPEC: Spec = Spec {
        paths: &["container attach", "attach"],
        usage: "[OPTIONS] CONTAINER",
        about: "Attach local standard input, output, and error streams to a running container",
        arity: Arity::Exactly(1),
    };
}
