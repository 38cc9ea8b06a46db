//! The centre: references, challenges, verdicts, ledger, the operator's view.
//!
//! **Here:** the service ([`service`]: bytes in, bytes out), the pure verdict ([`decide`], [`policy`], [`consent`]),
//! what it remembers ([`store`], [`ledger`]), its voice ([`mqtt`]), the one-machine site ([`site`], [`ca`],
//! [`broker`], [`est`]), and the operator's tools ([`watch`], [`judge`]).
//!
//! **Not here:** cameras and lamps; raw scores for anybody but the ledger; names of persons in logs, events or ledger.
//!
//! **Start** with [`service::Service::handle`].

pub mod broker;
pub mod ca;
pub mod config;
pub mod consent;
pub mod decide;
pub mod est;
pub mod files;
pub mod identity;
pub mod judge;
pub mod ledger;
pub mod mqtt;
pub mod pki;
pub mod policy;
mod quiet;
pub mod reference;
pub mod serve;
pub mod service;
pub mod site;
pub mod store;
pub mod supervisor;
pub mod time;
pub mod tls;
pub mod watch;
mod watchman;
