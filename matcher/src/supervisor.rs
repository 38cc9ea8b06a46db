//! The supervisor: systemd, told when the matcher serves, and fed while the service's thread works. Where nobody
//! supervises, this does nothing.

use sd_notify::NotifyState;

/// Requests are answered.
pub fn ready() {
    tell(NotifyState::Ready);
}

/// The service's thread has come round.
pub fn alive() {
    tell(NotifyState::Watchdog);
}

fn tell(state: NotifyState<'_>) {
    if let Err(cause) = sd_notify::notify(&[state]) {
        tracing::warn!(%cause, "the supervisor was not told");
    }
}
