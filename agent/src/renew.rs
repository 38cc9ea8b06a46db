//! The next certificate, in the background, once two thirds of the present one's life are over.
//!
//! The key stays: so the connection, the attempt in hand and every record already signed go on undisturbed. What is
//! signed from then on names the new certificate, which the centre registered before it gave it away; the broker sees it
//! with the next connection.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Enrolment;
use crate::edge::Clock;
use crate::est::{self, Answer, EstError};
use crate::identity::{Identity, day};
use crate::uplink::trust::TrustAnchor;

/// Between two looks at the calendar, and two tries.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// The first look, when the centre has had time to tell the device what day it is.
const FIRST_LOOK: Duration = Duration::from_secs(60);

/// Renews for ever, as long as the task lives.
pub async fn keep_current(at: Enrolment, trust: Arc<TrustAnchor>, identity: Arc<Identity>, clock: Arc<dyn Clock>) {
    let mut wait = FIRST_LOOK;
    loop {
        rest(wait).await;
        wait = LOOK_EVERY;
        // Without the centre's time a calendar that ran away would renew every hour.
        if !clock.calendar().is_signed() {
            continue;
        }
        let now_s = i64::try_from(clock.unix_ms(clock.now()) / 1000).unwrap_or(i64::MAX);
        if !identity.facts().is_due(now_s) {
            continue;
        }
        match renew(&at, &trust, &identity).await {
            Ok(()) => tracing::info!("the device's certificate is renewed until {}", day(identity.facts().not_after_s)),
            Err(why) => tracing::warn!(
                "the device's certificate is not renewed ({} days left): {why}",
                identity.facts().days_left(now_s)
            ),
        }
    }
}

/// Gets the next certificate and uses it.
///
/// # Errors
/// When the site's folder takes no file, or the authority refuses or cannot be reached; the present certificate stays in use.
pub async fn renew(at: &Enrolment, trust: &Arc<TrustAnchor>, identity: &Arc<Identity>) -> Result<(), EstError> {
    // Else the authority gives a certificate every hour, and none can be kept.
    identity.check_room()?;
    match est::simple_reenrol(at, trust, identity).await? {
        Answer::Issued(chain) => {
            trust.check_client(&chain)?;
            Ok(identity.adopt(chain)?)
        }
        // Asked again with the next look.
        Answer::Held(_) => Err(EstError::Answer("it waits for the operator's approval")),
    }
}

#[expect(clippy::disallowed_methods, reason = "a background task's pause, hours long")]
async fn rest(wait: Duration) {
    tokio::time::sleep(wait).await;
}
