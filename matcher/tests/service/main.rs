//! The service without a network: bytes in, bytes out.
#![allow(clippy::unwrap_used, missing_docs)]

mod abuse;
mod attempts;
mod chains;
mod clocks;
mod devices;
mod refusals;
#[path = "../site/mod.rs"]
mod site;

use didar_matcher::identity::seal_keys;
use didar_matcher::pki::Certificate;
use didar_matcher::store::Notice;
use didar_protocol::light_code::CodeShape;
use didar_protocol::message::{
    AuditEntry, AuditRecord, Challenge, ChallengeRequest, Connection, Ending, Kind, MatcherKeys, Message as _, Outcome,
    Picture, Receipt, Stage, Verdict, VerdictOutcome,
};
use didar_protocol::reason::Reason;
use didar_protocol::topic::Lane;
use site::*;

const TRIES_MAX: u64 = 5;

fn outcome(verdict: &Verdict) -> (VerdictOutcome, Reason) {
    (verdict.outcome, verdict.reason)
}

const GRANT: (VerdictOutcome, Reason) = (VerdictOutcome::Match, Reason::None);
const DENY: (VerdictOutcome, Reason) = (VerdictOutcome::NoMatch, Reason::NotSamePerson);

fn ready() -> (Site, Kiosk) {
    ready_with("away_hours = 72")
}

/// The same under another line of the configuration.
fn ready_with(line: &str) -> (Site, Kiosk) {
    let mut site = site_with(line);
    let kiosk = site.kiosk("kiosk-1");
    site.enrol(PERSON, 20);
    (site, kiosk)
}

fn ask(site: &Site, kiosk: &mut Kiosk) -> Vec<u8> {
    let request = kiosk_request_of(kiosk);
    kiosk.ask(&site.seal_key, request)
}

fn kiosk_request_of(kiosk: &mut Kiosk) -> ChallengeRequest {
    kiosk_request(kiosk, PERSON, NOW)
}
