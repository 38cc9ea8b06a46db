//! The matcher's memory: devices, references, challenges, failures, ledger, the devices' audit records.
//!
//! All of it is one SQLite file (`sqlite`). [`Store::begin`] opens a transaction; everything happens within one and
//! counts only after [`Work::commit`], so that an attempt is either decided with all its traces or not at all.
//! References are encrypted under a key of their own each (`vault`), which is destroyed with them.

mod audit;
mod boots;
mod challenges;
mod devices;
mod enrolments;
mod failures;
mod notices;
mod references;
mod sqlite;
mod vault;

pub use audit::{AuditPlace, EndedChain, Shown};
pub use boots::Met;
pub use challenges::{Closing, Issued, NewChallenge, Spent};
pub use devices::{Device, DeviceState, Listed, Seen};
pub use enrolments::{Grant, Waiting};
pub use failures::Failure;
pub use notices::Notice;
pub use references::{Destroyed, Subject, SubjectTag};
pub use sqlite::{Store, StoreError, Work};
pub(crate) use sqlite::{from_sql, to_sql};
pub use vault::{VaultError, make_store_key};
