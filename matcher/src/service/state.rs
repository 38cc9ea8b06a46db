//! What devices tell of their own state: who is there, what is broken, and who is there twice.

use didar_protocol::id::DeviceId;
use didar_protocol::message::{Connection, EventKind, State};
use didar_protocol::reason::Reason;

use super::pace::Said;
use super::voice::{Tidings, Worry};
use super::{Centre, Outgoing, ServiceError};
use crate::store::{Met, Notice, Seen, Work};

impl Centre {
    pub(super) fn on_state(
        &mut self,
        work: &Work<'_>,
        device: &DeviceId,
        bytes: &[u8],
        now_ms: u64,
    ) -> Result<Vec<Outgoing>, ServiceError> {
        let state = match self.admit_told(work, device, bytes, |state: &State| &state.device, now_ms)? {
            Ok(state) => state,
            Err(told) => return Ok(told),
        };
        if !self.pace.admits(device, Said::State, self.rules.state_rate(), now_ms) {
            let most = self.rules.limits.states_per_minute;
            return self.warn_of_flood(work, device, format!("more than {most} states a minute: not heard"), now_ms);
        }
        let Some(last) = work.seen(device)? else {
            return Ok(Vec::new());
        };
        work.set_heard(device, now_ms)?;
        if state.connects == 0 && state.online {
            // A device that can keep nothing does not count, so that it is taken for no copy; it says why, and serves nobody.
            return self.hear_faults(work, device, &state, now_ms);
        }
        match work.meet(device, &Connection { boot: state.boot, connects: state.connects }, now_ms)? {
            Met::Newest | Met::Known => {}
            Met::Copy if state.online => return Ok(vec![self.quarantine(work, device, now_ms)?]),
            // The will of a connection that a newer one has replaced, or a message overtaken on its way.
            Met::Copy | Met::Earlier | Met::Old => return Ok(Vec::new()),
        }
        let mut out = Vec::new();
        work.set_seen(device, &Seen { boot: Some(state.boot), connects: state.connects, online: state.online })?;
        if state.faults.contains(&Reason::PeerNotTrusted) {
            let note = "somebody who is no matcher or broker of this site speaks to the device";
            let tidings = Tidings::new(EventKind::Alarm, Reason::DeviceRefused, note).of(device, None);
            out.extend(self.warn(work, Worry::Stranger, tidings, now_ms)?);
        }
        out.extend(self.hear_faults(work, device, &state, now_ms)?);
        let faults: Vec<&str> = state.faults.iter().map(|fault| fault.name()).collect();
        let faults = if faults.is_empty() { String::new() } else { format!("; faults: {}", faults.join(", ")) };
        if state.online != last.online || state.connects > last.connects {
            let kind = if state.online { EventKind::DeviceOnline } else { EventKind::DeviceOffline };
            let note = format!("agent {}{faults}", state.version);
            out.push(self.tell(Tidings::new(kind, Reason::None, note).of(device, None), now_ms)?);
        }
        Ok(out)
    }

    /// Serves neither of two machines that have one identity, until an operator has looked.
    pub(super) fn quarantine(&self, work: &Work<'_>, device: &DeviceId, now_ms: u64) -> Result<Outgoing, ServiceError> {
        work.quarantine_device(device)?;
        let note = "two machines use one identity: refused until device release".to_owned();
        self.alarm(work, Notice { at_ms: now_ms, device: Some(device.clone()), note })
    }

    /// An alarm for each fault that this matcher has not heard of from the device since it was last mended.
    fn hear_faults(
        &mut self,
        work: &Work<'_>,
        device: &DeviceId,
        state: &State,
        now_ms: u64,
    ) -> Result<Vec<Outgoing>, ServiceError> {
        if !state.online {
            return Ok(Vec::new());
        }
        let broken: Vec<Reason> = state.faults.iter().copied().filter(|fault| is_broken(*fault)).collect();
        let known = if broken.is_empty() {
            self.broken.remove(device).unwrap_or_default()
        } else {
            self.broken.insert(device.clone(), broken.clone()).unwrap_or_default()
        };
        let mut out = Vec::new();
        for fault in broken.into_iter().filter(|fault| !known.contains(fault)) {
            let note = format!("the device tells of a fault: {}", fault.name());
            let tidings = Tidings::new(EventKind::Alarm, fault, note).of(device, None);
            out.extend(self.warn(work, Worry::Fault(fault), tidings, now_ms)?);
        }
        Ok(out)
    }
}

/// Whether somebody must go and mend something.
const fn is_broken(fault: Reason) -> bool {
    matches!(
        fault,
        Reason::CameraFault
            | Reason::LampFault
            | Reason::ModelFault
            | Reason::StorageFault
            | Reason::ClockFault
            | Reason::ScreenFault
            | Reason::ProgramFault
    )
}
