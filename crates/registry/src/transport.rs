//! Transport: how requests get there and answers come back. One duty a file:
//!
//! | file | duty |
//! | --- | --- |
//! | `url` | addresses, and how they are shown |
//! | `dial`, `tls`, `proxy` | a connection |
//! | `exchange` | one request and its answer |
//! | `redirect` | where answers point to, and what may be told there |
//! | `challenge`, `scope`, `basic`, `token` | who asks, and for what |
//! | `session` | all of that for one host, remembered |
//! | `ping` | whether a host speaks https or plain http |
//! | `retry` | again, and when |
//! | `warning` | what registries want people to know |
//! | `error` | why not |

mod basic;
pub(crate) mod challenge;
mod dial;
pub(crate) mod error;
pub(crate) mod exchange;
mod ping;
mod proxy;
pub(crate) mod redirect;
pub(crate) mod retry;
pub(crate) mod scope;
pub(crate) mod session;
pub(crate) mod tls;
mod token;
pub(crate) mod url;
pub(crate) mod warning;
