//! What came of simulated worlds, added up.

use crate::audit::Findings;

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
    /// What the audit found.
    #[serde(flatten)]
    pub findings: Findings,
}

impl Tally {
    /// One more thing broke, of this kind.
    pub(super) fn point(&mut self, kind: impl Fn(&mut Self) -> &mut u64) {
        self.points += 1;
        *kind(self) += 1;
    }

    /// Adds another world's.
    pub fn add(&mut self, other: &Self) {
        let Self { points, power_cuts, cuts, broker_deaths, matcher_deaths, full_disks, restarts, ref findings } =
            *other;
        self.points += points;
        self.power_cuts += power_cuts;
        self.cuts += cuts;
        self.broker_deaths += broker_deaths;
        self.matcher_deaths += matcher_deaths;
        self.full_disks += full_disks;
        self.restarts += restarts;
        self.findings.add(findings);
    }
}
