//! The device's audit records, chained by hash, and the matcher's receipts for them.

use super::verdict::Outcome;
use crate::codec::{List, Optional, Text, Within, choice, fields};
use crate::id::{AttemptId, DeviceId, Hash, InitiatorId, RequestId};
use crate::reason::Reason;

/// One link of the device's chain. Names no person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// The device.
    pub device: DeviceId,
    /// Number in the chain, from 1, without gaps over the device's whole life.
    pub number: u64,
    /// SHA-256 of the previous signed record's bytes; zeros before the first.
    pub previous: Hash,
    /// What happened.
    pub entry: AuditEntry,
}

/// What an audit record tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditEntry {
    /// An attempt ended.
    Attempt {
        /// The attempt, if a challenge had named it.
        attempt: Option<AttemptId>,
        /// The request.
        request: RequestId,
        /// On whose behalf.
        initiator: InitiatorId,
        /// How it ended.
        outcome: Outcome,
        /// Why.
        reason: Reason,
        /// When it was asked for, Unix milliseconds.
        started_ms: u64,
        /// When it ended, Unix milliseconds.
        ended_ms: u64,
        /// Version of the liveness policy that the device judges by; 0 without an attempt.
        policy_version: u32,
    },
    /// Records were lost: the outbox was full, or damaged.
    Lost {
        /// How many.
        count: u64,
    },
    /// Records that the matcher misses and that the device has lost: none of them will come.
    Gone {
        /// Number of the first, from 1.
        first: u64,
        /// Number of the last; before this record's own.
        last: u64,
    },
    /// The agent started.
    Started {
        /// Its version; 1 to 40 bytes.
        version: String,
        /// The kernel's boot id.
        boot: [u8; 16],
    },
}

/// Highest number of a record: what a double holds exactly (2^53), and far from where a count would overflow.
const NUMBER_MAX: u64 = 1 << 53;

/// The matcher holds these records; the device may forget them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The device addressed.
    pub device: DeviceId,
    /// This record is kept, and so is every one before it that is not told as [`AuditEntry::Gone`]; 0 for none.
    pub highest: u64,
    /// SHA-256 of the signed record `highest`: whoever holds another record of this number goes on keeping its own; zeros
    /// for none.
    pub hash: Hash,
    /// Number of the record that this answers, from 1; whatever was sent before it has come, or is missing.
    pub answers: u64,
    /// Numbers after `highest` that are missing before one that is kept, ascending; at most 64.
    pub missing: Vec<u64>,
    /// The matcher's clock, Unix milliseconds.
    pub server_time_ms: u64,
}

fields! {
    AuditRecord {
        1 => device,
        2 => number: Within(1, NUMBER_MAX as i128),
        3 => previous,
        4 => entry,
    }
    rule "only the first record follows none": |it| (it.number == 1) == (it.previous == Hash::default());
    rule "what is gone comes in order, before the record that tells it": |it| match it.entry {
        AuditEntry::Gone { first, last } => first <= last && last < it.number,
        AuditEntry::Attempt { .. } | AuditEntry::Lost { .. } | AuditEntry::Started { .. } => true,
    };
}

choice! {
    AuditEntry {
        0 => Attempt {
            1 => attempt: Optional,
            2 => request,
            3 => initiator,
            4 => outcome,
            5 => reason,
            6 => started_ms,
            7 => ended_ms,
            8 => policy_version,
        }
        1 => Lost { 1 => count, }
        2 => Started { 1 => version: Text(1, 40), 2 => boot, }
        3 => Gone { 1 => first: Within(1, NUMBER_MAX as i128), 2 => last, }
    }
}

fields! {
    Receipt {
        1 => device,
        2 => highest: Within(0, NUMBER_MAX as i128),
        3 => hash,
        4 => answers: Within(1, NUMBER_MAX as i128),
        5 => missing: List(0, 64),
        6 => server_time_ms,
    }
    rule "only a receipt for nothing has no hash": |it| (it.highest == 0) == (it.hash == Hash::default());
    rule "missing numbers ascend and lie above the highest": |it| ascending_after(it.highest, &it.missing);
}

fn ascending_after(highest: u64, numbers: &[u64]) -> bool {
    std::iter::once(&highest).chain(numbers).is_sorted_by(|a, b| a < b)
}
