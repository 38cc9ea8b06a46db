//! What an observer at a kiosk saw, against what the ledger says.
//!
//! **Here:** [`Witnessed`], which the simulated worlds and the chaos of real processes fill, and its comparison.
//! **Not here:** anything that breaks ([`crate::world`], [`crate::chaos`]).
//! **Start** with [`Witnessed::audit`].

use std::collections::HashMap;
use std::ops::RangeInclusive;

use didar_matcher::ledger::{Entry, What};
use didar_protocol::id::RequestId;

/// What the comparison of one or more kiosks with the ledger found.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Findings {
    /// Requests that the kiosk's application began.
    pub attempts: u64,
    /// Endings that it was told.
    pub told: u64,
    /// Of these: grants.
    pub grants: u64,
    /// Verdicts that the ledger marks as undelivered.
    pub undelivered: u64,
    /// Requests without a record at the centre, and numbers missing in the chain.
    pub lost: u64,
    /// Requests with more than one record, attempts with more than one decision.
    pub doubled: u64,
    /// Records out of the order in which things happened.
    pub reordered: u64,
    /// Endings that kiosk and ledger tell otherwise, verdicts whose fate the ledger does not tell, records of what nobody
    /// asked for.
    pub wrong_outcome: u64,
    /// Messages that a matcher did not trust or could not handle, forks, alarms: there must be none.
    pub troubles: u64,
}

impl Findings {
    /// Adds another kiosk's or world's.
    pub fn add(&mut self, other: &Self) {
        let Self { attempts, told, grants, undelivered, lost, doubled, reordered, wrong_outcome, troubles } = *other;
        self.attempts += attempts;
        self.told += told;
        self.grants += grants;
        self.undelivered += undelivered;
        self.lost += lost;
        self.doubled += doubled;
        self.reordered += reordered;
        self.wrong_outcome += wrong_outcome;
        self.troubles += troubles;
    }

    /// Whether nothing was lost, doubled, out of order or wrong.
    pub fn is_clean(&self) -> bool {
        [self.lost, self.doubled, self.reordered, self.wrong_outcome, self.troubles] == [0; 5]
    }
}

/// What a kiosk's application saw, in order.
#[derive(Default)]
pub struct Witnessed {
    requests: Vec<Request>,
}

struct Request {
    /// `None` where the connection or the power failed before the application had it.
    id: Option<RequestId>,
    /// It may have a record, and need not.
    unsure: bool,
    told: Option<String>,
    /// Its agent is gone: nothing more will be told.
    over: bool,
}

/// What the ledger says of one attempt.
#[derive(Default)]
struct Decided {
    outcomes: Vec<String>,
    /// The kiosk had ended the attempt by itself: nobody waits for the verdict.
    unawaited: bool,
    audited: Option<String>,
    undelivered: u32,
}

/// An audit record of the ledger: number, request, outcome.
type Record<'a> = (u64, Option<&'a str>, Option<&'a str>);

impl Witnessed {
    /// A request was begun; `unsure` where the power failed in that moment.
    pub fn begun(&mut self, id: RequestId, unsure: bool) {
        self.requests.push(Request { id: Some(id), unsure, told: None, over: false });
    }

    /// A request was made and never answered: it was begun, or it was not.
    pub fn unanswered(&mut self) {
        self.requests.push(Request { id: None, unsure: true, told: None, over: true });
    }

    /// The request whose ending is awaited.
    pub fn open(&self) -> Option<RequestId> {
        self.requests.last().filter(|request| request.told.is_none() && !request.over).and_then(|request| request.id)
    }

    /// Somebody was told that this request ended so.
    pub fn told(&mut self, id: RequestId, outcome: &str) {
        if let Some(request) = self.requests.iter_mut().rev().find(|request| request.id == Some(id)) {
            request.told = Some(outcome.to_owned());
        }
    }

    /// The agent is gone.
    pub fn died(&mut self) {
        if let Some(request) = self.requests.last_mut() {
            request.over = true;
        }
    }

    /// Compares with the ledger's entries about this kiosk.
    pub fn audit<'a>(&self, entries: impl IntoIterator<Item = &'a Entry>) -> Findings {
        let mut findings = Findings::default();
        for request in &self.requests {
            findings.attempts += u64::from(request.id.is_some());
            findings.told += u64::from(request.told.is_some());
            findings.grants += u64::from(request.told.as_deref() == Some("grant"));
        }
        let mut records: Vec<Record<'_>> = Vec::new();
        let mut gone = Vec::new();
        let mut decided: HashMap<&str, Decided> = HashMap::new();
        for entry in entries {
            let attempt = entry.attempt.as_deref();
            match (entry.what, attempt) {
                (What::Audited, _) => {
                    records.push((entry.number.unwrap_or(0), entry.request.as_deref(), entry.outcome.as_deref()));
                    gone.extend(entry.note.as_deref().and_then(told_gone));
                    if let Some(attempt) = attempt {
                        decided.entry(attempt).or_default().audited = entry.outcome.clone();
                    }
                }
                (What::Decided, Some(attempt)) => {
                    let decided = decided.entry(attempt).or_default();
                    decided.outcomes.extend(entry.outcome.clone());
                    decided.unawaited = entry.awaited == Some(false);
                }
                (What::Undelivered, Some(attempt)) => decided.entry(attempt).or_default().undelivered += 1,
                (What::Alarm, _) => findings.troubles += u64::from(!is_fault(entry) && !is_gap(entry)),
                _ => {}
            }
        }
        // What is told as lost did not come.
        let has_come = |span: &RangeInclusive<u64>| records.iter().any(|(number, ..)| span.contains(number));
        findings.troubles += gone.iter().filter(|span| has_come(span)).count() as u64;
        self.check_records(records, &mut findings);
        for verdict in decided.values() {
            verdict.check(&mut findings);
        }
        findings
    }

    fn check_records(&self, mut records: Vec<Record<'_>>, findings: &mut Findings) {
        records.sort_by_key(|(number, ..)| *number);
        for (expected, (number, ..)) in (1..).zip(&records) {
            findings.lost += u64::from(*number != expected);
        }
        let mut places: HashMap<String, usize> =
            (0..).zip(&self.requests).filter_map(|(place, request)| Some((request.id?.to_string(), place))).collect();
        // In the chain they stand as they happened, and nothing stands there that did not.
        let mut recorded = vec![false; self.requests.len()];
        let mut next = 0;
        for (request, outcome) in records.iter().filter_map(|(_, request, outcome)| Some(((*request)?, (*outcome)?))) {
            // A name that the application never heard is that of a request which was never answered.
            let unanswered = || (next..self.requests.len()).find(|&place| self.requests[place].id.is_none());
            let Some(place) = places.get(request).copied().or_else(unanswered) else {
                findings.wrong_outcome += 1;
                continue;
            };
            places.insert(request.to_owned(), place);
            findings.doubled += u64::from(std::mem::replace(&mut recorded[place], true));
            findings.reordered += u64::from(place < next);
            next = next.max(place + 1);
            let told = self.requests[place].told.as_deref();
            findings.wrong_outcome += u64::from(told.is_some_and(|told| told != outcome));
        }
        let missing = self.requests.iter().zip(recorded).filter(|(request, recorded)| !recorded && !request.unsure);
        findings.lost += missing.count() as u64;
    }
}

/// Which records a record tells as lost.
fn told_gone(note: &str) -> Option<RangeInclusive<u64>> {
    let (first, last) = note.strip_prefix("records ")?.split_once(" are lost on the device")?.0.split_once(" to ")?;
    Some(first.parse().ok()?..=last.parse().ok()?)
}

/// What breaks on purpose, and is to be alarmed: a disk, a clock, or the simulated devices on a machine that is too busy
/// for them.
fn is_fault(entry: &Entry) -> bool {
    matches!(
        entry.reason.as_deref(),
        Some("storage-fault" | "clock-fault" | "camera-fault" | "lamp-fault" | "screen-fault")
    )
}

/// Records that overtake others are alarmed for a moment; what is missing in the end counts as lost.
fn is_gap(entry: &Entry) -> bool {
    entry.note.as_ref().is_some_and(|note| note.starts_with("audit records ") && note.contains(" are missing"))
}

impl Decided {
    fn check(&self, findings: &mut Findings) {
        findings.doubled += (self.outcomes.len() as u64).saturating_sub(1);
        findings.undelivered += u64::from(self.undelivered);
        let Some(verdict) = self.outcomes.first() else {
            // Challenged and never decided: only a grant would be wrong.
            findings.wrong_outcome += u64::from(self.audited.as_deref() == Some("grant") || self.undelivered > 0);
            return;
        };
        let shown = self.audited.as_deref().unwrap_or("nothing");
        let same = matches!(
            (verdict.as_str(), shown),
            ("match", "grant")
                | ("no-match", "deny")
                | ("spoof", "spoof")
                | ("inconclusive", "inconclusive")
                | ("refuse", "refused")
        );
        // A verdict on an attempt that the kiosk had ended by itself is an acknowledgement.
        let ended_there = matches!(verdict.as_str(), "inconclusive" | "refuse") && self.unawaited;
        let marks = u32::from(!same && !ended_there);
        let marked = self.undelivered == marks;
        findings.wrong_outcome += u64::from(!marked || (shown == "grant" && verdict != "match"));
    }
}
