//! What an observer at the kiosk saw, against what the ledger says.

use std::collections::{HashMap, HashSet};

use didar_agent::attempt::Outcome;
use didar_matcher::ledger::{Entry, What};
use didar_protocol::id::RequestId;

/// What came of worlds, added up.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Tally {
    /// Things that broke.
    pub points: u64,
    /// Of these: power or process of the kiosk.
    pub power_cuts: u64,
    /// Connections.
    pub cuts: u64,
    /// Brokers, with most of what they held.
    pub broker_deaths: u64,
    /// Matchers, before or after a commit.
    pub matcher_deaths: u64,
    /// Disks without room for a while.
    pub full_disks: u64,
    /// Starts of the agent after the first.
    pub restarts: u64,
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
    /// Endings that kiosk and ledger tell otherwise, verdicts whose fate the ledger does not tell.
    pub wrong_outcome: u64,
    /// Messages that a matcher did not trust or could not handle, forks, alarms: there must be none.
    pub troubles: u64,
}

impl Tally {
    /// One more thing broke, of this kind.
    pub(super) fn point(&mut self, kind: impl Fn(&mut Self) -> &mut u64) {
        self.points += 1;
        *kind(self) += 1;
    }

    /// Adds another world's.
    pub fn add(&mut self, other: &Self) {
        let Self { points, power_cuts, cuts, broker_deaths, matcher_deaths, full_disks, restarts, .. } = *other;
        let Self { attempts, told, grants, undelivered, lost, doubled, reordered, wrong_outcome, troubles, .. } =
            *other;
        self.points += points;
        self.power_cuts += power_cuts;
        self.cuts += cuts;
        self.broker_deaths += broker_deaths;
        self.matcher_deaths += matcher_deaths;
        self.full_disks += full_disks;
        self.restarts += restarts;
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

/// What the kiosk's application saw.
#[derive(Default)]
pub(super) struct Witnessed {
    requests: Vec<Request>,
}

struct Request {
    id: RequestId,
    /// The power failed before the application had the request's id: it may have a record, and need not.
    unsure: bool,
    told: Option<Outcome>,
    /// Its agent is gone: nothing more will be told.
    over: bool,
}

/// What the ledger says of one attempt.
#[derive(Default)]
struct Decided {
    outcomes: Vec<String>,
    audited: Option<String>,
    undelivered: u32,
}

impl Witnessed {
    pub(super) fn begun(&mut self, id: RequestId, unsure: bool) {
        self.requests.push(Request { id, unsure, told: None, over: false });
    }

    /// The request whose ending is awaited.
    pub(super) fn open(&self) -> Option<RequestId> {
        self.requests.last().filter(|request| request.told.is_none() && !request.over).map(|request| request.id)
    }

    pub(super) fn told(&mut self, id: RequestId, outcome: Outcome) {
        if let Some(request) = self.requests.iter_mut().rev().find(|request| request.id == id) {
            request.told = Some(outcome);
        }
    }

    pub(super) fn died(&mut self) {
        if let Some(request) = self.requests.last_mut() {
            request.over = true;
        }
    }

    /// Compares with the ledger.
    pub(super) fn audit(&self, entries: &[Entry], tally: &mut Tally) {
        let mut records: Vec<(u64, Option<&str>, Option<&str>)> = Vec::new();
        let mut decided: HashMap<&str, Decided> = HashMap::new();
        for entry in entries {
            let attempt = entry.attempt.as_deref();
            match (entry.what, attempt) {
                (What::Audited, _) => {
                    records.push((entry.number.unwrap_or(0), entry.request.as_deref(), entry.outcome.as_deref()));
                    if let Some(attempt) = attempt {
                        decided.entry(attempt).or_default().audited = entry.outcome.clone();
                    }
                }
                (What::Decided, Some(attempt)) => {
                    decided.entry(attempt).or_default().outcomes.extend(entry.outcome.clone());
                }
                (What::Undelivered, Some(attempt)) => decided.entry(attempt).or_default().undelivered += 1,
                (What::Alarm, _) => tally.troubles += 1,
                _ => {}
            }
        }
        self.check_records(records, tally);
        for verdict in decided.values() {
            verdict.check(tally);
        }
    }

    fn check_records(&self, mut records: Vec<(u64, Option<&str>, Option<&str>)>, tally: &mut Tally) {
        records.sort_by_key(|(number, ..)| *number);
        for (expected, (number, ..)) in (1..).zip(&records) {
            tally.lost += u64::from(*number != expected);
        }
        let requests: Vec<(&str, &str)> =
            records.iter().filter_map(|(_, request, outcome)| Some(((*request)?, (*outcome)?))).collect();
        let mut found: HashMap<&str, &str> = HashMap::new();
        for (request, outcome) in &requests {
            tally.doubled += u64::from(found.insert(request, outcome).is_some());
        }
        let mut expected = Vec::new();
        for request in &self.requests {
            let id = request.id.to_string();
            match found.get(id.as_str()) {
                Some(outcome) => {
                    tally.wrong_outcome += u64::from(request.told.is_some_and(|told| told.name() != *outcome));
                    expected.push(id);
                }
                None => tally.lost += u64::from(!request.unsure),
            }
        }
        // In the chain they stand as they happened, and nothing stands there that did not.
        let seen: HashSet<&str> = expected.iter().map(String::as_str).collect();
        tally.wrong_outcome += requests.iter().filter(|(request, _)| !seen.contains(request)).count() as u64;
        let order = requests.iter().map(|(request, _)| *request).filter(|request| seen.contains(request));
        tally.reordered += order.zip(&expected).filter(|(found, expected)| found != expected).count() as u64;
    }
}

impl Decided {
    fn check(&self, tally: &mut Tally) {
        tally.doubled += (self.outcomes.len() as u64).saturating_sub(1);
        tally.undelivered += u64::from(self.undelivered);
        let Some(verdict) = self.outcomes.first() else {
            // Challenged and never decided: only a grant would be wrong.
            tally.wrong_outcome += u64::from(self.audited.as_deref() == Some("grant") || self.undelivered > 0);
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
        // A verdict on an attempt that the kiosk had ended by itself is an acknowledgement: nobody waits for it.
        let ended_there = matches!(verdict.as_str(), "inconclusive" | "refuse") && self.undelivered == 0;
        let marked = if same { self.undelivered == 0 } else { self.undelivered == 1 || ended_there };
        tally.wrong_outcome += u64::from(!marked || (shown == "grant" && verdict != "match"));
    }
}
