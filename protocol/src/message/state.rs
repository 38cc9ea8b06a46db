//! What the operator sees: a device's state, and events as they come. Neither names a person.

use super::attempt::ModelRef;
use super::verdict::{Outcome, VerdictOutcome};
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
    /// Connections over the device's whole life: a clone shows as a fork.
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

/// What kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EventKind {
    /// A device connected.
    DeviceOnline = 0,
    /// A device went.
    DeviceOffline = 1,
    /// A challenge was issued.
    Challenged = 2,
    /// An attempt was decided.
    Decided = 3,
    /// An audit record arrived.
    Audited = 4,
    /// A request or attempt was refused.
    Refused = 5,
    /// A person must look.
    Alarm = 6,
}
