//! The protocol on the wire: against a registry in this process, and against the real one.

mod answers;
mod auth;
mod elsewhere;
mod protocol;
mod pull;
mod push;
mod real;
mod support;
mod tls;
