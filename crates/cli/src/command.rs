//! One file per verb: calls the engine and renders what comes back.

mod build;
mod build_cache;
mod builder;
mod buildx;
mod check;
mod completion;
mod container;
mod context;
mod df;
mod dockerfile;
mod history;
mod images;
mod imagetools;
mod import;
mod info;
mod inspect;
mod load;
mod login;
mod man;
mod manifest;
mod platform;
mod prune;
mod pull;
mod push;
mod rmi;
mod save;
mod search;
mod tag;
mod version;
mod whole;

use crate::args;
use crate::verb::Entry;

/// All verbs.
pub(crate) const ALL: &[Entry] = &[
    Entry::of::<args::build::Build>(),
    Entry::of::<args::builder::BuilderPrune>(),
    Entry::of::<args::builder::Debug>(),
    Entry::of::<args::builder::DiskUsage>(),
    Entry::of::<args::builder::Explain>(),
    Entry::of::<args::builder::HistoryLogs>(),
    Entry::of::<args::builder::HistoryLs>(),
    Entry::of::<args::builder::HistoryRm>(),
    Entry::of::<args::builder::MountsLs>(),
    Entry::of::<args::builder::MountsRm>(),
    Entry::of::<args::buildx::BuilderInspect>(),
    Entry::of::<args::buildx::BuilderList>(),
    Entry::of::<args::buildx::BuilderUse>(),
    Entry::of::<args::buildx::BuilderVersion>(),
    Entry::of::<args::completion::Completion>(),
    Entry::of::<args::completion::Man>(),
    Entry::of::<args::container::create::Create>(),
    Entry::of::<args::container::exec::Attach>(),
    Entry::of::<args::container::exec::Exec>(),
    Entry::of::<args::container::files::Commit>(),
    Entry::of::<args::container::files::Copy>(),
    Entry::of::<args::container::files::Export>(),
    Entry::of::<args::container::life::Kill>(),
    Entry::of::<args::container::life::Pause>(),
    Entry::of::<args::container::life::Prune>(),
    Entry::of::<args::container::life::Remove>(),
    Entry::of::<args::container::life::Rename>(),
    Entry::of::<args::container::life::Restart>(),
    Entry::of::<args::container::life::Start>(),
    Entry::of::<args::container::life::Stop>(),
    Entry::of::<args::container::life::Unpause>(),
    Entry::of::<args::container::life::Wait>(),
    Entry::of::<args::container::look::Diff>(),
    Entry::of::<args::container::look::Events>(),
    Entry::of::<args::container::look::Inspect>(),
    Entry::of::<args::container::look::List>(),
    Entry::of::<args::container::look::Logs>(),
    Entry::of::<args::container::look::Port>(),
    Entry::of::<args::container::look::Stats>(),
    Entry::of::<args::container::look::Top>(),
    Entry::of::<args::container::network::NetworkConnect>(),
    Entry::of::<args::container::network::NetworkCreate>(),
    Entry::of::<args::container::network::NetworkDisconnect>(),
    Entry::of::<args::container::network::NetworkInspect>(),
    Entry::of::<args::container::network::NetworkList>(),
    Entry::of::<args::container::network::NetworkPrune>(),
    Entry::of::<args::container::network::NetworkRemove>(),
    Entry::of::<args::container::run::Run>(),
    Entry::of::<args::container::update::Update>(),
    Entry::of::<args::container::volume::VolumeCreate>(),
    Entry::of::<args::container::volume::VolumeInspect>(),
    Entry::of::<args::container::volume::VolumeList>(),
    Entry::of::<args::container::volume::VolumePrune>(),
    Entry::of::<args::container::volume::VolumeRemove>(),
    Entry::of::<args::context::ContextInspect>(),
    Entry::of::<args::context::ContextList>(),
    Entry::of::<args::context::ContextShow>(),
    Entry::of::<args::context::ContextUse>(),
    Entry::of::<args::dockerfile::Format>(),
    Entry::of::<args::dockerfile::Graph>(),
    Entry::of::<args::history::History>(),
    Entry::of::<args::images::Images>(),
    Entry::of::<args::imagetools::ImagetoolsCreate>(),
    Entry::of::<args::imagetools::ImagetoolsInspect>(),
    Entry::of::<args::import::Import>(),
    Entry::of::<args::inspect::ImageInspect>(),
    Entry::of::<args::inspect::Inspect>(),
    Entry::of::<args::load::Load>(),
    Entry::of::<args::login::Login>(),
    Entry::of::<args::login::Logout>(),
    Entry::of::<args::manifest::ManifestAnnotate>(),
    Entry::of::<args::manifest::ManifestCreate>(),
    Entry::of::<args::manifest::ManifestInspect>(),
    Entry::of::<args::manifest::ManifestPush>(),
    Entry::of::<args::manifest::ManifestRemove>(),
    Entry::of::<args::pull::Pull>(),
    Entry::of::<args::push::Push>(),
    Entry::of::<args::rmi::Rmi>(),
    Entry::of::<args::save::Save>(),
    Entry::of::<args::search::Search>(),
    Entry::of::<args::system::Check>(),
    Entry::of::<args::system::SystemStart>(),
    Entry::of::<args::system::Df>(),
    Entry::of::<args::system::ImagePrune>(),
    Entry::of::<args::system::Info>(),
    Entry::of::<args::system::SystemPrune>(),
    Entry::of::<args::tag::Tag>(),
    Entry::of::<args::version::Version>(),
];
