//! Networks: namespaces, bridges, published ports, names.
//!
//! Everything is done by messages to the kernel; no `ip`, `nft` or `iptables` is started where nftables is there.
//!
//! - `netlink` writes and reads messages; `route` (links, addresses, routes) and `nftables` (rules) know their words.
//! - [`NetNs`] is a namespace, [`Bridge`] what joins namespaces to each other and to the world, [`Pool`] keeps those
//!   of a build, so that a step need not wait for one.
//! - [`publish`] opens the sockets of published ports, [`Proxy`] carries what arrives there into a container.
//! - [`Names`] keeps the names of a network's containers, [`Responder`] answers with them inside a container;
//!   [`resolver`] writes the files that lead programs there.
//! - [`Pasta`] is what ordinary users have in place of a bridge.
//! - `firewall` says what a bridge needs of nftables, `iptables` the same where only that is there.

mod bridge;
mod dns;
mod firewall;
mod iptables;
mod names;
mod namespace;
mod netlink;
mod nftables;
mod pasta;
mod pool;
mod ports;
mod proxy;
pub mod resolver;
mod responder;
mod route;
mod subnet;

pub use bridge::{Attachment, Bridge, BridgeError, BridgeSpec, DEFAULT_BRIDGE, Endpoint, Six};
pub use firewall::{FirewallError, Warning};
pub use iptables::IptablesError;
pub use names::{Names, NamesError};
pub use namespace::{NamespaceError, NetNs};
pub use netlink::NetlinkError;
pub(crate) use pasta::run_hidden_verb;
pub use pasta::{Pasta, PastaError};
pub use pool::{Connected, Lease, Pool, PoolError, connect};
pub use ports::{Binding, Bound, Publication, PublicationError, PublishError, Transport, publish};
pub use proxy::{Proxy, ProxyError, Target};
pub use responder::{Knowledge, Responder, ResponderError};
pub use subnet::{Subnet, Subnet6, SubnetError, free_subnet};

#[cfg(test)]
mod tests;
