//! Alarms about what the broker tells: clients that it turned away, and connections that throw each other off.

use std::collections::{BTreeMap, VecDeque};

use didar_protocol::id::DeviceId;
use tokio::sync::{mpsc, watch};

use crate::broker::{Incident, Turned};
use crate::quiet::Quiet;
use crate::store::{Notice, Store, StoreError};
use crate::time;

/// So many connections of a device that take each other's place within [`FIGHT_MS`] are no chance: two machines have its key
/// and connect again and again, or its link keeps breaking unnoticed.
const FIGHT: usize = 6;
/// Ten minutes, milliseconds.
const FIGHT_MS: u64 = 600_000;

/// Raises the alarms.
pub(crate) struct Watchman {
    store: Store,
    quiet: Quiet<Turned>,
    fights: Fights,
}

/// When connections were taken over, by device: those that have a certificate.
#[derive(Default)]
struct Fights(BTreeMap<DeviceId, VecDeque<u64>>);

impl Fights {
    /// Counts one; whether they are a fight. The count begins anew with each that is told.
    fn count(&mut self, device: &DeviceId, now_ms: u64) -> bool {
        let times = self.0.entry(device.clone()).or_default();
        times.retain(|at_ms| now_ms.abs_diff(*at_ms) < FIGHT_MS);
        times.push_back(now_ms);
        let fight = times.len() >= FIGHT;
        if fight {
            times.clear();
        }
        fight
    }
}

impl Watchman {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, quiet: Quiet::new(), fights: Fights::default() }
    }

    /// Until `ended` says stop.
    pub(crate) async fn watch(mut self, mut incidents: mpsc::Receiver<Incident>, mut ended: watch::Receiver<bool>) {
        loop {
            let incident = tokio::select! {
                _ = ended.wait_for(|ended| *ended) => return,
                incident = incidents.recv() => incident,
            };
            let Some(incident) = incident else { return };
            if let Err(error) = self.count(&incident, time::now_ms()) {
                tracing::error!(error = &error as &dyn std::error::Error, ?incident, "an alarm was not kept");
            }
        }
    }

    fn count(&mut self, incident: &Incident, now_ms: u64) -> Result<(), StoreError> {
        let (device, note) = match incident {
            Incident::Turned(turned) => (None, self.quiet.due(*turned, turned.note(), now_ms)),
            Incident::TakenOver(device) if self.fights.count(device, now_ms) => {
                let note =
                    format!("{FIGHT} connections took each other's place: a copy of its key, or a link that breaks");
                (Some(device.clone()), Some(note))
            }
            Incident::TakenOver(_) => return Ok(()),
        };
        let Some(note) = note else { return Ok(()) };
        tracing::warn!(device = device.as_ref().map(DeviceId::as_str), "{note}");
        let work = self.store.begin()?;
        work.raise(&Notice { at_ms: now_ms, device, note })?;
        work.commit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_throw_each_other_off_are_a_fight_and_a_bad_day_is_none() {
        let (one, two): (DeviceId, DeviceId) = ("kiosk-1".parse().unwrap(), "kiosk-2".parse().unwrap());
        let mut fights = Fights::default();
        let told: Vec<usize> = (0..20).filter(|at| fights.count(&one, *at as u64 * 30_000)).collect();
        assert_eq!(told, [5, 11, 17]);
        assert!((0..20).all(|at| !fights.count(&two, at * 150_000)));
    }
}
