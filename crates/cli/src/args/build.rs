//! `build`.

use std::ffi::OsString;

use crate::verb::{Arguments, Arity, Spec};

/// `build`.
#[derive(Debug, Default, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
#[expect(clippy::struct_field_names, reason = "fields are named for their flags")]
pub(crate) struct Build {
    /// Add a custom host-to-IP mapping (format: "host:ip")
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    pub(crate) add_host: Vec<String>,
    /// Allow extra privileged entitlement (e.g., "network.host", "security.insecure")
    #[arg(long, value_name = "stringArray", value_delimiter = ',')]
    pub(crate) allow: Vec<String>,
    /// Add annotation to the image
    #[arg(long, value_name = "stringArray")]
    pub(crate) annotation: Vec<String>,
    /// Attestation parameters (not supported)
    #[arg(long, value_name = "stringArray")]
    pub(crate) attest: Vec<String>,
    /// Set build-time variables
    #[arg(long, value_name = "stringArray")]
    pub(crate) build_arg: Vec<String>,
    /// Additional build contexts (e.g., name=path)
    #[arg(long, value_name = "stringArray")]
    pub(crate) build_context: Vec<String>,
    /// Override the configured builder instance (lighter has one: "default")
    #[arg(long)]
    pub(crate) builder: Option<String>,
    /// External cache sources (e.g., "user/app:cache", "type=local,src=path/to/dir")
    #[arg(long, value_name = "stringArray")]
    pub(crate) cache_from: Vec<String>,
    /// Cache export destinations (e.g., "user/app:cache", "type=local,dest=path/to/dir")
    #[arg(long, value_name = "stringArray")]
    pub(crate) cache_to: Vec<String>,
    /// Set method for evaluating build ("check", "outline", "targets")
    #[arg(long, alias = "print", default_value = "build")]
    pub(crate) call: String,
    /// Set the parent cgroup for the "RUN" instructions during build
    #[arg(long)]
    pub(crate) cgroup_parent: Option<String>,
    /// Shorthand for "--call=check"
    #[arg(long)]
    pub(crate) check: bool,
    /// Compress the build context (there is no daemon to send it to)
    #[arg(long, hide = true)]
    pub(crate) compress: bool,
    /// Limit the CPU CFS (Completely Fair Scheduler) period
    #[arg(long, value_name = "int", hide = true)]
    pub(crate) cpu_period: Option<u64>,
    /// Limit the CPU CFS (Completely Fair Scheduler) quota
    #[arg(long, value_name = "int", hide = true)]
    pub(crate) cpu_quota: Option<i64>,
    /// CPU shares (relative weight)
    #[arg(short, long, value_name = "int", hide = true)]
    pub(crate) cpu_shares: Option<u64>,
    /// CPUs in which to allow execution (0-3, 0,1)
    #[arg(long, hide = true)]
    pub(crate) cpuset_cpus: Option<String>,
    /// MEMs in which to allow execution (0-3, 0,1)
    #[arg(long, hide = true)]
    pub(crate) cpuset_mems: Option<String>,
    /// Enable debug logging
    #[arg(short = 'D', long)]
    pub(crate) debug: bool,
    /// Skip image verification
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, hide = true)]
    pub(crate) disable_content_trust: bool,
    /// Tell for every step that runs which of its inputs has changed
    #[arg(long)]
    pub(crate) explain: bool,
    /// Name of the Dockerfile (default: "PATH/Dockerfile")
    #[arg(short, long)]
    pub(crate) file: Option<String>,
    /// Always remove intermediate containers (lighter keeps none)
    #[arg(long, hide = true)]
    pub(crate) force_rm: bool,
    /// Write the image ID to a file
    #[arg(long)]
    pub(crate) iidfile: Option<OsString>,
    /// Container isolation technology
    #[arg(long, hide = true)]
    pub(crate) isolation: Option<String>,
    /// Number of steps that run at the same time (default: the number of CPUs, at least 8)
    #[arg(long, value_name = "int")]
    pub(crate) jobs: Option<usize>,
    /// What makes a layer ("step", "merge-copy": neighbouring COPY and ADD instructions make one, "squash": all steps
    /// make one)
    #[arg(
        long,
        help = "What makes a layer (\"step\", \"merge-copy\": neighbouring COPY and ADD instructions make one, \
        \"squash\": all steps make one) (default \"step\")"
    )]
    pub(crate) layers: Option<String>,
    /// Set metadata for an image
    #[arg(long, value_name = "stringArray")]
    pub(crate) label: Vec<String>,
    /// Shorthand for "--output=type=docker"
    #[arg(long)]
    pub(crate) load: bool,
    /// Memory limit
    #[arg(short, long, value_name = "bytes", value_parser = crate::args::value::bytes, hide = true)]
    pub(crate) memory: Option<u64>,
    /// Swap limit equal to memory plus swap: -1 to enable unlimited swap
    #[arg(long, value_name = "bytes", value_parser = crate::args::value::swap, hide = true)]
    pub(crate) memory_swap: Option<i64>,
    /// Write build result metadata to a file
    #[arg(long)]
    pub(crate) metadata_file: Option<OsString>,
    /// Set the networking mode for the "RUN" instructions during build
    #[arg(long, default_value = "default")]
    pub(crate) network: String,
    /// Do not use cache when building the image
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Do not cache specified stages
    #[arg(long, value_name = "stringArray", value_delimiter = ',')]
    pub(crate) no_cache_filter: Vec<String>,
    /// What to do with the root of a step that fails ("remove", "keep", "shell")
    #[arg(long, default_value = "remove")]
    pub(crate) on_error: String,
    /// Output destination (format: "type=local,dest=path")
    #[arg(short, long, value_name = "stringArray")]
    pub(crate) output: Vec<String>,
    /// Set target platform for build
    #[arg(long, value_name = "stringArray", value_delimiter = ',')]
    pub(crate) platform: Vec<String>,
    /// Set type of progress output ("auto", "none", "plain", "quiet", "rawjson", "tty"). Use plain to show container
    /// output
    #[arg(
        long,
        help = "Set type of progress output (\"auto\", \"none\", \"plain\", \"quiet\", \"rawjson\", \"tty\"). \
        Use plain to show container output (default \"auto\")"
    )]
    pub(crate) progress: Option<String>,
    /// Shorthand for "--attest=type=provenance" (only "false" is supported)
    #[arg(long)]
    pub(crate) provenance: Option<String>,
    /// Always attempt to pull all referenced images
    #[arg(long)]
    pub(crate) pull: bool,
    /// Shorthand for "--output=type=registry"
    #[arg(long)]
    pub(crate) push: bool,
    /// Suppress the build output and print image ID on success
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Remove intermediate containers after a successful build (lighter keeps none)
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, hide = true)]
    pub(crate) rm: bool,
    /// Shorthand for "--attest=type=sbom" (only "false" is supported)
    #[arg(long)]
    pub(crate) sbom: Option<String>,
    /// Secret to expose to the build (format: "id=mysecret[,src=/local/secret]")
    #[arg(long, value_name = "stringArray")]
    pub(crate) secret: Vec<String>,
    /// Security options
    #[arg(long, value_name = "strings", value_delimiter = ',', hide = true)]
    pub(crate) security_opt: Vec<String>,
    /// Shared memory size for build containers
    #[arg(long, value_name = "bytes", value_parser = crate::args::value::bytes)]
    pub(crate) shm_size: Option<u64>,
    /// Squash the layers of this build into a single one on top of its base
    #[arg(long)]
    pub(crate) squash: bool,
    /// SSH agent socket or keys to expose to the build (format: "default|<id>[=<socket>|<key>[,<key>]]")
    #[arg(long, value_name = "stringArray")]
    pub(crate) ssh: Vec<String>,
    /// Name and optionally a tag (format: "name:tag")
    #[arg(short, long, value_name = "stringArray")]
    pub(crate) tag: Vec<String>,
    /// Set the target build stage to build
    #[arg(long)]
    pub(crate) target: Option<String>,
    /// Ulimit options
    #[arg(long, value_name = "ulimit", value_parser = crate::args::value::ulimit)]
    pub(crate) ulimit: Vec<crate::args::value::Ulimit>,
    pub(crate) context: String,
}

impl Build {
    /// Without the options whose value is empty: as in Docker they count as not given, so that a script may pass on a
    /// variable that is not set.
    #[must_use]
    pub(crate) fn without_empty(mut self) -> Self {
        let lists = [
            &mut self.add_host,
            &mut self.allow,
            &mut self.annotation,
            &mut self.build_context,
            &mut self.cache_from,
            &mut self.cache_to,
            &mut self.output,
            &mut self.secret,
            &mut self.ssh,
        ];
        for list in lists {
            list.retain(|text| !text.is_empty());
        }
        for text in [&mut self.file, &mut self.provenance, &mut self.sbom] {
            text.take_if(|text| text.is_empty());
        }
        for path in [&mut self.iidfile, &mut self.metadata_file] {
            path.take_if(|path| path.is_empty());
        }
        self
    }
}

impl Arguments for Build {
    const SPEC: Spec = Spec {
        paths: &["buildx build", "buildx b", "builder build", "image build", "build"],
        usage: "[OPTIONS] PATH | URL | -",
        about: "Build an image from a Dockerfile",
        arity: Arity::Exactly(1),
    };
}
