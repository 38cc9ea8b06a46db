//! What the operator sees: a device's state, and events as they come. Neither names a person.

use super::attempt::ModelRef;
use super::verdict::{Outcome, VerdictOutcome};
use crate::codec::{List, Optional, Text, fields, numbered};
use crate::id::{AttemptId, DeviceId, Hash};
use crate::reason::Reason;

/// A device's state, retained on the broker; also its will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The device.
    pub device: DeviceId,
    /// False in the will.
    pub online: bool,
    /// The agent's version; 1 to 40 bytes.
    pub version: String,
    /// The kernel's boot id.
    pub boot: [u8; 16],
    /// Connections over the device's whole life: a clone shows as a fork. 0: nothing can be kept, so nothing is counted, and
    /// nobody is served.
    pub connects: u64,
    /// Number of the next audit record.
    pub audit_next: u64,
    /// Hash of the last one.
    pub audit_head: Hash,
    /// The models in use; at most 8.
    pub models: Vec<ModelRef>,
    /// What is broken now; at most 16.
    pub faults: Vec<Reason>,
    /// The device's clock, Unix milliseconds.
    pub at_ms: u64,
}

/// Something that the matcher tells operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The matcher's clock, Unix milliseconds.
    pub at_ms: u64,
    /// What happened.
    pub kind: EventKind,
    /// Where.
    pub device: Option<DeviceId>,
    /// In which attempt.
    pub attempt: Option<AttemptId>,
    /// What the matcher decided.
    pub verdict: Option<VerdictOutcome>,
    /// How it ended at the kiosk.
    pub outcome: Option<Outcome>,
    /// Why.
    pub reason: Reason,
    /// In words; at most 120 bytes, no person.
    pub note: String,
}

numbered! {
    /// What kind of event.
    EventKind {
        /// A device connected.
        0 DeviceOnline "device-online",
        /// A device went.
        1 DeviceOffline "device-offline",
        /// A challenge was issued.
        2 Challenged "challenged",
        /// An attempt was decided.
        3 Decided "decided",
        /// An audit record arrived.
        4 Audited "audited",
        /// A request or attempt was refused.
        5 Refused "refused",
        /// A person must look.
        6 Alarm "alarm",
    }
}

fields! {
    State {
        1 => device,
        2 => online,
        3 => version: Text(1, 40),
        4 => boot,
        5 => connects,
        6 => audit_next,
        7 => audit_head,
        8 => models: List(0, 8),
        9 => faults: List(0, 16),
        10 => at_ms,
    }
}

fields! {
    Event {
        1 => at_ms,
        2 => kind,
        3 => device: Optional,
        4 => attempt: Optional,
        5 => verdict: Optional,
        6 => outcome: Optional,
        7 => reason,
        8 => note: Text(0, 120),
    }
}
