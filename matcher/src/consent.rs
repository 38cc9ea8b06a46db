//! Whether a consent covers what is asked. Pure.

use didar_protocol::message::Consent;
use didar_protocol::reason::Reason;

/// How far a kiosk's clock may run ahead of ours before a consent counts as not yet given.
const AHEAD_MS: u64 = 5 * 60 * 1000;

/// Whether `consent` covers `purpose` at `now_ms`, given when the person last withdrew one.
///
/// # Errors
/// The reason to refuse with.
pub fn covers(consent: &Consent, purpose: &str, withdrawn_ms: Option<u64>, now_ms: u64) -> Result<(), Reason> {
    if consent.purpose != purpose {
        return Err(Reason::ConsentPurpose);
    }
    if consent.given_at_s.saturating_mul(1000) > now_ms.saturating_add(AHEAD_MS) {
        return Err(Reason::ConsentMissing);
    }
    lasts(consent.given_at_s, consent.expires_at_s, withdrawn_ms, now_ms)
}

/// Whether a consent that once covered its purpose still lasts.
///
/// # Errors
/// The reason to refuse with.
pub fn lasts(given_s: u64, expires_s: u64, withdrawn_ms: Option<u64>, now_ms: u64) -> Result<(), Reason> {
    if withdrawn_ms.is_some_and(|at| given_s.saturating_mul(1000) <= at) {
        return Err(Reason::ConsentWithdrawn);
    }
    if expires_s.saturating_mul(1000) <= now_ms {
        return Err(Reason::ConsentExpired);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use didar_protocol::message::ConsentMethod;

    fn check(given_at_s: u64, expires_at_s: u64, withdrawn_s: Option<u64>, now_s: u64) -> Result<(), Reason> {
        let consent = Consent {
            given_at_s,
            expires_at_s,
            purpose: "benefit".into(),
            method: ConsentMethod::Screen,
            text_version: "1".into(),
        };
        covers(&consent, "benefit", withdrawn_s.map(|s| s * 1000), now_s * 1000)
    }

    #[test]
    fn a_consent_counts_from_its_beginning_to_its_end() {
        assert_eq!(check(1000, 2000, None, 1500), Ok(()));
        assert_eq!(check(1000, 2000, None, 1999), Ok(()));
        assert_eq!(check(1000, 2000, None, 2000), Err(Reason::ConsentExpired));
        assert_eq!(check(1000, 2000, None, 701), Ok(()));
        assert_eq!(check(1000, 2000, None, 699), Err(Reason::ConsentMissing));
    }

    #[test]
    fn a_withdrawal_ends_what_was_given_before_and_nothing_given_after() {
        assert_eq!(check(1000, 2000, Some(1200), 1500), Err(Reason::ConsentWithdrawn));
        assert_eq!(check(1201, 2000, Some(1200), 1500), Ok(()));
    }

    #[test]
    fn another_purpose_is_not_covered() {
        let consent = Consent {
            given_at_s: 1,
            expires_at_s: 9,
            purpose: "benefit".into(),
            method: ConsentMethod::Portal,
            text_version: "1".into(),
        };
        assert_eq!(covers(&consent, "loan", None, 2000), Err(Reason::ConsentPurpose));
    }
}
