//! The supervisor: systemd, told when the agent serves, and fed as long as it really does.
//!
//! **Here:** [`keep_fed`], which asks the loop for a sign of life and feeds the watchdog only when the loop answered and
//! the camera's thread has come round since. **Not here:** what happens when it is not fed: systemd kills the agent and
//! starts it again (`systemd/didar-agent.service`). Where nobody supervises, all of this does nothing.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::{mpsc, oneshot};

use crate::run::Call;

/// Signs of life within the time that the watchdog allows.
const SIGNS: u32 = 3;

/// The agent serves.
pub fn ready() {
    tell(NotifyState::Ready);
}

/// The agent was told to stop, and does.
pub fn stopping() {
    tell(NotifyState::Stopping);
}

/// The watchdog is content for another while.
pub fn alive() {
    tell(NotifyState::Watchdog);
}

/// How long the watchdog waits for a sign of life; `None` where there is none.
pub fn patience() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// Calls `feed` three times within `patience`, each time only if the loop behind `calls` answers and the camera's thread
/// has turned since the last time. Ends with the loop.
pub async fn keep_fed(calls: mpsc::Sender<Call>, patience: Duration, feed: impl Fn()) {
    let mut last = None;
    loop {
        let (answer, answered) = oneshot::channel();
        if calls.send(Call::Turns(answer)).await.is_err() {
            return;
        }
        let Ok(turns) = answered.await else { return };
        if last != Some(turns) {
            feed();
        }
        last = Some(turns);
        rest(patience / SIGNS).await;
    }
}

/// A supervisor that cannot be told ends the agent in time: there is nothing else to do about it.
fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!("the supervisor was not told: {error}");
    }
}

#[expect(clippy::disallowed_methods, reason = "signs of life come at their time")]
async fn rest(time: Duration) {
    tokio::time::sleep(time).await;
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// How often the watchdog is fed in ten minutes in which the loop answers this of each sign of life's number.
    async fn fed(answers: impl Fn(u64) -> Option<u64> + Send + 'static) -> u32 {
        let (calls, mut called) = mpsc::channel(1);
        let fed = Arc::<AtomicU32>::default();
        let count = Arc::clone(&fed);
        tokio::spawn(async move {
            let mut signs = 0;
            // What is never answered is held for ever.
            let mut held = Vec::new();
            while let Some(Call::Turns(answer)) = called.recv().await {
                match answers(signs) {
                    Some(turns) => drop(answer.send(turns)),
                    None => held.push(answer),
                }
                signs += 1;
            }
        });
        let feeding = keep_fed(calls, PATIENCE, move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let _ = tokio::time::timeout(20 * PATIENCE, feeding).await;
        fed.load(Ordering::Relaxed)
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_and_a_camera_that_turn_are_fed_in_time() {
        assert!(fed(Some).await >= 20 * SIGNS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_camera_that_hangs_starves_the_watchdog() {
        assert_eq!(fed(|sign| Some(sign.min(4))).await, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_hangs_starves_the_watchdog() {
        assert_eq!(fed(|sign| (sign < 7).then_some(sign)).await, 7);
    }
}
