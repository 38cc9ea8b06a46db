//! The service without a network: bytes in, bytes out.
#![allow(clippy::unwrap_used, missing_docs)]

mod site;

use didar_matcher::identity::seal_keys;
use didar_matcher::pki::Certificate;
use didar_matcher::store::Notice;
use didar_protocol::light_code::CodeShape;
use didar_protocol::message::{
    AuditEntry, Challenge, ChallengeRequest, Ending, Kind, MatcherKeys, Outcome, Picture, Receipt, Stage, Verdict,
    VerdictOutcome,
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
    let mut site = site();
    let kiosk = site.kiosk("kiosk-1");
    site.enrol(PERSON, 20);
    (site, kiosk)
}

#[test]
fn the_right_person_is_granted_and_becomes_the_reference() {
    let (mut site, mut kiosk) = ready();
    let first = site.challenge(&mut kiosk, PERSON, NOW);
    assert_eq!((first.stage, first.picture), (Stage::Primary, true));
    let verdict = site.verdict(&kiosk, &kiosk.proof(&first, 50), NOW + 2000);
    assert_eq!(outcome(&verdict), GRANT);
    assert_eq!((verdict.attempt, verdict.reply_to), (Some(first.attempt), first.nonce));
    assert_eq!(verdict.threshold_class, 4);
    let second = site.challenge(&mut kiosk, PERSON, NOW + 5000);
    assert_eq!((second.stage, second.picture), (Stage::Subsequent, false));
    // 50 + 60 degrees: alike to the live reference (cosine .5), not to the document (cosine 0).
    assert_eq!(outcome(&site.verdict(&kiosk, &kiosk.proof(&second, 110), NOW + 6000)), GRANT);
    let told: Vec<String> = site.ledger().iter().map(|line| line["what"].as_str().unwrap().to_owned()).collect();
    assert_eq!(told, ["challenged", "decided", "referenced", "challenged", "decided"]);
    assert_eq!(site.ledger()[1]["policy"], site::POLICY, "which policy the centre judged by");
}

#[test]
fn another_person_is_denied_and_learns_no_score() {
    let (mut site, mut kiosk) = ready();
    let challenge = site.challenge(&mut kiosk, PERSON, NOW);
    let verdict = site.verdict(&kiosk, &kiosk.proof(&challenge, 100), NOW + 2000);
    assert_eq!(outcome(&verdict), DENY);
    assert_eq!((verdict.threshold_class, verdict.attempts_left), (4, 4));
    let score = site.ledger().pop().unwrap()["figures"]["similarity"].as_i64().unwrap();
    assert!((165..180).contains(&score), "cosine of 80 degrees x 1000: {score}");
    // A denied face never becomes a reference.
    assert_eq!(site.challenge(&mut kiosk, PERSON, NOW + 3000).stage, Stage::Primary);
}

#[test]
fn a_code_that_the_centre_did_not_derive_is_a_spoof() {
    let (mut site, mut kiosk) = ready();
    let challenge = site.challenge(&mut kiosk, PERSON, NOW);
    let mut another = challenge.clone();
    another.nonce[0] ^= 1;
    let code = didar_protocol::light_code::light_code(&another.nonce, &another.attempt, &kiosk.id, CodeShape::AT_30);
    let verdict = site.verdict(&kiosk, &kiosk.proof_with(&challenge, 20, code), NOW + 2000);
    assert_eq!(outcome(&verdict), (VerdictOutcome::Spoof, Reason::LightCodeWrong));
}

#[test]
fn a_template_that_does_not_fit_its_picture_is_a_swap() {
    let (mut site, mut kiosk) = ready();
    let challenge = site.challenge(&mut kiosk, PERSON, NOW);
    let mut attempt = kiosk.proof(&challenge, 120);
    if let Ending::Proved { picture: sent, .. } = &mut attempt.ending {
        *sent = Some(Picture::from_jpeg(picture(20)));
    }
    let verdict = site.verdict(&kiosk, &attempt, NOW + 2000);
    assert_eq!(outcome(&verdict), (VerdictOutcome::Spoof, Reason::FaceChanged));
}

#[test]
fn a_primary_attempt_without_a_usable_picture_is_not_granted() {
    let (mut site, mut kiosk) = ready();
    for (sent, expected) in [
        (None, (VerdictOutcome::Refuse, Reason::RequestMalformed)),
        (Some(255), (VerdictOutcome::Inconclusive, Reason::PoorQuality)),
    ] {
        let challenge = site.challenge(&mut kiosk, PERSON, NOW);
        let mut attempt = kiosk.proof(&challenge, 20);
        if let Ending::Proved { picture: place, .. } = &mut attempt.ending {
            *place = sent.map(|degrees| Picture::from_jpeg(picture(degrees)));
        }
        assert_eq!(outcome(&site.verdict(&kiosk, &attempt, NOW + 2000)), expected);
    }
}

#[test]
fn what_the_device_ended_itself_is_never_a_match() {
    let (mut site, mut kiosk) = ready();
    for (ended, reason, expected) in [
        (Outcome::Spoof, Reason::NoRelief, VerdictOutcome::Spoof),
        (Outcome::TimeOut, Reason::NoAnswerInTime, VerdictOutcome::Inconclusive),
        (Outcome::Cancelled, Reason::CancelledByApplication, VerdictOutcome::Inconclusive),
    ] {
        let challenge = site.challenge(&mut kiosk, PERSON, NOW);
        let mut attempt = kiosk.proof(&challenge, 20);
        attempt.ending = Ending::Stopped { outcome: ended, reason };
        assert_eq!(site.verdict(&kiosk, &attempt, NOW + 2000).outcome, expected);
    }
}

#[test]
fn a_proof_without_a_transcript_or_by_other_models_is_refused() {
    let (mut site, mut kiosk) = ready();
    let challenge = site.challenge(&mut kiosk, PERSON, NOW);
    let mut attempt = kiosk.proof(&challenge, 20);
    attempt.models[0].sha256 = [8; 32];
    assert_eq!(outcome(&site.verdict(&kiosk, &attempt, NOW)), (VerdictOutcome::Refuse, Reason::ModelFault));
}

#[test]
fn a_repeat_gets_the_same_bytes_and_counts_nothing() {
    let (mut site, mut kiosk) = ready();
    let request = ask(&site, &mut kiosk);
    let once = site.handle(&kiosk, Lane::ChallengeRequest, &request, NOW);
    let again = site.handle(&kiosk, Lane::ChallengeRequest, &request, NOW + 5000);
    assert_eq!(once[0].payload, again[0].payload);
    assert_eq!(again.len(), 1);
    let challenge: Challenge = read(&once, Lane::Challenge).unwrap();
    let bytes = kiosk.send(&site.seal_key, &kiosk.proof(&challenge, 120));
    let once = site.handle(&kiosk, Lane::Attempt, &bytes, NOW + 6000);
    let lines = site.ledger().len();
    // The program may have been started again in between.
    site.service = service(&site.config);
    let again = site.handle(&kiosk, Lane::Attempt, &bytes, NOW + 90_000);
    assert_eq!(once[0].payload, again[0].payload);
    assert_eq!((again.len(), site.ledger().len()), (1, lines));
}

fn ask(site: &Site, kiosk: &mut Kiosk) -> Vec<u8> {
    let request = kiosk_request_of(kiosk);
    kiosk.ask(&site.seal_key, request)
}

fn kiosk_request_of(kiosk: &mut Kiosk) -> ChallengeRequest {
    kiosk_request(kiosk, PERSON, NOW)
}

#[test]
fn another_body_for_a_spent_challenge_is_refused_and_alarmed() {
    let (mut site, mut kiosk) = ready();
    let challenge = site.challenge(&mut kiosk, PERSON, NOW);
    assert_eq!(outcome(&site.verdict(&kiosk, &kiosk.proof(&challenge, 120), NOW + 1000)), DENY);
    let bytes = kiosk.send(&site.seal_key, &kiosk.proof(&challenge, 20));
    let out = site.handle(&kiosk, Lane::Attempt, &bytes, NOW + 2000);
    let verdict: Verdict = read(&out, Lane::Verdict).unwrap();
    assert_eq!(outcome(&verdict), (VerdictOutcome::Refuse, Reason::ChallengeSpent));
    assert_eq!(alarms(&out), ["another attempt on a spent challenge"]);
}

#[test]
fn a_spent_or_ended_request_gets_no_second_challenge() {
    let (mut site, mut kiosk) = ready();
    let request = ask(&site, &mut kiosk);
    let out = site.handle(&kiosk, Lane::ChallengeRequest, &request, NOW);
    let challenge: Challenge = read(&out, Lane::Challenge).unwrap();
    site.verdict(&kiosk, &kiosk.proof(&challenge, 20), NOW + 1000);
    let out = site.handle(&kiosk, Lane::ChallengeRequest, &request, NOW + 2000);
    assert_eq!(read::<Verdict>(&out, Lane::Verdict).unwrap().reason, Reason::ChallengeSpent);
}

#[test]
fn an_attempt_that_does_not_answer_its_challenge_spends_it() {
    let (mut site, mut kiosk) = ready();
    let challenge = site.challenge(&mut kiosk, PERSON, NOW);
    let mut wrong = challenge.clone();
    wrong.nonce = [9; 32];
    let verdict = site.verdict(&kiosk, &kiosk.proof(&wrong, 20), NOW + 1000);
    assert_eq!(outcome(&verdict), (VerdictOutcome::Refuse, Reason::RequestMalformed));
    let verdict = site.verdict(&kiosk, &kiosk.proof(&challenge, 20), NOW + 2000);
    assert_eq!(verdict.reason, Reason::ChallengeSpent);
}

#[test]
fn a_foreign_device_neither_spends_nor_touches_a_challenge() {
    let (mut site, mut kiosk) = ready();
    let thief = site.kiosk("kiosk-2");
    let challenge = site.challenge(&mut kiosk, PERSON, NOW);
    let stolen = Challenge { device: thief.id.clone(), ..challenge.clone() };
    let bytes = thief.send(&site.seal_key, &thief.proof(&stolen, 20));
    let out = site.handle(&thief, Lane::Attempt, &bytes, NOW + 1000);
    assert_eq!(read::<Verdict>(&out, Lane::Verdict).unwrap().reason, Reason::DeviceRefused);
    assert_eq!(alarms(&out), ["attempt on another device's challenge"]);
    assert_eq!(outcome(&site.verdict(&kiosk, &kiosk.proof(&challenge, 20), NOW + 2000)), GRANT);
}

#[test]
fn topic_envelope_and_signature_must_name_one_device() {
    let (mut site, mut kiosk) = ready();
    let mut other = site.kiosk("kiosk-2");
    // Its own bytes on another's topic.
    let request = ask(&site, &mut kiosk);
    let out = site.handle(&other, Lane::ChallengeRequest, &request, NOW);
    assert_eq!((alarms(&out).len(), out.len()), (1, 1));
    // Another's name inside its own envelope.
    let mut request = kiosk_request(&mut other, PERSON, NOW);
    request.device = kiosk.id.clone();
    let bytes = other.ask(&site.seal_key, request);
    let out = site.handle(&other, Lane::ChallengeRequest, &bytes, NOW + 20_000);
    assert_eq!(alarms(&out), ["request names another device"]);
    // Another's signature in an envelope of this name.
    let forged = Kiosk { id: kiosk.id.clone(), ..other };
    let bytes = forged.ask(&site.seal_key, kiosk_request_of(&mut kiosk));
    let out = site.handle(&kiosk, Lane::ChallengeRequest, &bytes, NOW + 40_000);
    assert_eq!((alarms(&out).len(), out.len()), (1, 1));
}

#[test]
fn an_unknown_certificate_gets_no_answer() {
    let (mut site, _kiosk) = ready();
    let mut stranger = kiosk(&site.ca, "kiosk-9", NOW, 365);
    let request = kiosk_request_of(&mut stranger);
    let bytes = stranger.ask(&site.seal_key, request);
    let out = site.handle(&stranger, Lane::ChallengeRequest, &bytes, NOW);
    assert_eq!(alarms(&out), ["signed under an unknown certificate"]);
    assert_eq!(out.len(), 1);
}

#[test]
fn an_expired_or_revoked_device_is_refused() {
    let (mut site, mut kiosk) = ready();
    let late = NOW + 366 * DAY_S * 1000;
    let request = kiosk_request(&mut kiosk, PERSON, late);
    assert_eq!(site.refused(&mut kiosk, request, late), Reason::DeviceRefused);
    let challenge = site.challenge(&mut kiosk, PERSON, NOW);
    let work = site.service.store().begin().unwrap();
    assert!(work.revoke_device(&kiosk.id, NOW).unwrap());
    work.commit().unwrap();
    let verdict = site.verdict(&kiosk, &kiosk.proof(&challenge, 20), NOW + 1000);
    assert_eq!(outcome(&verdict), (VerdictOutcome::Refuse, Reason::DeviceRefused));
    let request = kiosk_request_of(&mut kiosk);
    assert_eq!(site.refused(&mut kiosk, request, NOW), Reason::DeviceRefused);
    // The old certificate does not come back, a new one does; what the old one signs stays refused.
    let certificate = Certificate::from_pem(&kiosk.certificate_pem).unwrap();
    let work = site.service.store().begin().unwrap();
    assert!(work.add_device(&kiosk.id, &certificate, &[], NOW).is_err());
    drop(work);
    let mut renewed = site.kiosk("kiosk-1");
    renewed.requests = 10;
    site.challenge(&mut renewed, PERSON, NOW);
    let request = kiosk_request_of(&mut kiosk);
    assert_eq!(site.refused(&mut kiosk, request, NOW), Reason::DeviceRefused);
}

#[test]
fn an_expired_challenge_is_refused_and_counted_as_abandoned() {
    let (mut site, mut kiosk) = ready();
    let challenge = site.challenge(&mut kiosk, PERSON, NOW);
    let verdict = site.verdict(&kiosk, &kiosk.proof(&challenge, 20), challenge.expires_ms);
    assert_eq!(outcome(&verdict), (VerdictOutcome::Refuse, Reason::ChallengeExpired));
    let told: Vec<_> = site.ledger().iter().map(|line| line["what"].as_str().unwrap().to_owned()).collect();
    assert_eq!(told, ["challenged", "abandoned", "refused"]);
    let challenge = site.challenge(&mut kiosk, PERSON, NOW + 61_000);
    assert_eq!(outcome(&site.verdict(&kiosk, &kiosk.proof(&challenge, 20), challenge.expires_ms - 1)), GRANT);
}

#[test]
fn abandoned_challenges_are_swept_into_the_ledger_and_count_against_the_device() {
    let mut site = site_with("device_failures = 2");
    let mut kiosk = site.kiosk("kiosk-1");
    site.enrol(PERSON, 20);
    for _ in 0..2 {
        site.challenge(&mut kiosk, PERSON, NOW);
    }
    assert!(site.service.sweep(NOW + 59_999).is_empty());
    assert_eq!(told(&site.service.sweep(NOW + 60_000)), vec!["refused: challenge abandoned"; 2]);
    assert!(site.service.sweep(NOW + 61_000).is_empty());
    assert_eq!(site.last_line(), "abandoned challenge-expired");
    let request = kiosk_request(&mut kiosk, PERSON, NOW + 61_000);
    assert_eq!(site.refused(&mut kiosk, request, NOW + 61_000), Reason::TooManyFailures);
}

#[test]
fn no_attempt_without_a_consent_that_covers_it() {
    let (mut site, mut kiosk) = ready();
    let mut refused = |change: &dyn Fn(&mut ChallengeRequest)| {
        let mut request = kiosk_request(&mut kiosk, PERSON, NOW);
        change(&mut request);
        site.refused(&mut kiosk, request, NOW)
    };
    assert_eq!(refused(&|r| r.consent.expires_at_s = NOW / 1000 - 1), Reason::ConsentExpired);
    assert_eq!(refused(&|r| r.consent.purpose = "loan".into()), Reason::ConsentPurpose);
    assert_eq!(refused(&|r| r.consent.given_at_s = NOW / 1000 + DAY_S), Reason::ConsentMissing);
    assert_eq!(refused(&|r| r.initiator = "bank".parse().unwrap()), Reason::InitiatorNotServed);
    assert_eq!(refused(&|r| r.subject = OTHER.parse().unwrap()), Reason::SubjectUnknown);
    assert_eq!(site.ledger().len(), 5);
    assert_eq!(site.last_line(), "refused subject-unknown");
}

#[test]
fn a_withdrawal_destroys_the_reference_and_ends_open_challenges() {
    let (mut site, mut kiosk) = ready();
    let challenge = site.challenge(&mut kiosk, PERSON, NOW);
    assert_eq!(outcome(&site.verdict(&kiosk, &kiosk.proof(&challenge, 20), NOW + 500)), GRANT);
    let challenge = site.challenge(&mut kiosk, PERSON, NOW + 600);
    let person = site.ledger()[0]["person"].clone();
    let iin = PERSON.parse().unwrap();
    let work = site.service.store().begin().unwrap();
    let gone = work.withdraw(&iin, NOW + 1000).unwrap().unwrap();
    work.commit().unwrap();
    assert_eq!(gone.references, 2);
    assert_eq!(person, hex::encode(gone.person));
    let verdict = site.verdict(&kiosk, &kiosk.proof(&challenge, 20), NOW + 2000);
    assert_eq!(outcome(&verdict), (VerdictOutcome::Refuse, Reason::ConsentWithdrawn));
    let mut request = kiosk_request(&mut kiosk, PERSON, NOW + 3000);
    request.consent.given_at_s = NOW / 1000 + 2;
    assert_eq!(site.refused(&mut kiosk, request, NOW + 3000), Reason::SubjectUnknown);
    // Enrolled anew, the person has another name in the ledger: the old entries lead nowhere.
    site.enrol(PERSON, 20);
    let mut request = kiosk_request(&mut kiosk, PERSON, NOW + 4000);
    request.consent.given_at_s = NOW / 1000 + 2;
    let bytes = kiosk.ask(&site.seal_key, request);
    site.handle(&kiosk, Lane::ChallengeRequest, &bytes, NOW + 4000);
    assert_ne!(site.ledger().pop().unwrap()["person"], person);
}

#[test]
fn after_destruction_no_byte_of_the_reference_is_left_in_the_files() {
    let (mut site, mut kiosk) = ready();
    let challenge = site.challenge(&mut kiosk, PERSON, NOW);
    assert_eq!(outcome(&site.verdict(&kiosk, &kiosk.proof(&challenge, 20), NOW + 500)), GRANT);
    let sealed: Vec<Vec<u8>> = {
        let outside = rusqlite::Connection::open(&site.config.store.database).unwrap();
        let mut rows = outside.prepare("SELECT row_key, body FROM portraits").unwrap();
        let pairs = rows.query_map([], |row| Ok([row.get(0)?, row.get(1)?])).unwrap();
        pairs.flat_map(|pair: rusqlite::Result<[Vec<u8>; 2]>| pair.unwrap()).collect()
    };
    assert_eq!(sealed.len(), 4);
    let found = |site: &Site| {
        let folder = site.config.store.database.parent().unwrap();
        let files: Vec<Vec<u8>> =
            std::fs::read_dir(folder).unwrap().filter_map(|entry| std::fs::read(entry.unwrap().path()).ok()).collect();
        let holds = |needle: &Vec<u8>| files.iter().any(|file| file.windows(needle.len()).any(|part| part == needle));
        sealed.iter().filter(|needle| holds(needle)).count()
    };
    assert_eq!(found(&site), 4);
    let work = site.service.store().begin().unwrap();
    work.withdraw(&PERSON.parse().unwrap(), NOW + 1000).unwrap();
    work.commit().unwrap();
    site.service.store().settle().unwrap();
    assert_eq!(found(&site), 0);
}

#[test]
fn a_reference_ends_with_its_consent() {
    let (mut site, mut kiosk) = ready();
    let mut request = kiosk_request(&mut kiosk, PERSON, NOW);
    request.consent.expires_at_s = NOW / 1000 + 100;
    let bytes = kiosk.ask(&site.seal_key, request);
    let out = site.handle(&kiosk, Lane::ChallengeRequest, &bytes, NOW);
    let challenge: Challenge = read(&out, Lane::Challenge).unwrap();
    assert_eq!(outcome(&site.verdict(&kiosk, &kiosk.proof(&challenge, 20), NOW + 500)), GRANT);
    assert_eq!(site.challenge(&mut kiosk, PERSON, NOW + 99_000).stage, Stage::Subsequent);
    assert_eq!(site.challenge(&mut kiosk, PERSON, NOW + 101_000).stage, Stage::Primary);
    site.service.sweep(NOW + 102_000);
    assert_eq!(site.ledger().iter().filter(|line| line["what"] == "destroyed").count(), 1);
}

#[test]
fn failures_are_limited_per_person_and_a_match_forgives_them() {
    let (mut site, mut kiosk) = ready();
    for attempt in 1..TRIES_MAX {
        let challenge = site.challenge(&mut kiosk, PERSON, NOW);
        let verdict = site.verdict(&kiosk, &kiosk.proof(&challenge, 120), NOW + 1000);
        assert_eq!(u64::from(verdict.attempts_left), TRIES_MAX - attempt);
    }
    let challenge = site.challenge(&mut kiosk, PERSON, NOW + 2000);
    assert_eq!(outcome(&site.verdict(&kiosk, &kiosk.proof(&challenge, 20), NOW + 3000)), GRANT);
    for _ in 0..TRIES_MAX {
        let challenge = site.challenge(&mut kiosk, PERSON, NOW + 4000);
        assert_eq!(outcome(&site.verdict(&kiosk, &kiosk.proof(&challenge, 120), NOW + 5000)), DENY);
    }
    let request = kiosk_request(&mut kiosk, PERSON, NOW + 6000);
    assert_eq!(site.refused(&mut kiosk, request, NOW + 6000), Reason::TooManyFailures);
    // Another person is not held up, and the pause ends.
    site.enrol(OTHER, 20);
    site.challenge(&mut kiosk, OTHER, NOW + 6000);
    site.challenge(&mut kiosk, PERSON, NOW + 906_000);
}

#[test]
fn a_device_cannot_hoard_open_challenges() {
    let (mut site, mut kiosk) = ready();
    for _ in 0..4 {
        site.challenge(&mut kiosk, PERSON, NOW);
    }
    let request = kiosk_request_of(&mut kiosk);
    assert_eq!(site.refused(&mut kiosk, request, NOW), Reason::TooManyFailures);
}

#[test]
fn audit_records_are_kept_once_and_gaps_are_named() {
    let (mut site, kiosk) = ready();
    let mut chain = Vec::new();
    let mut previous = [0; 32];
    for number in 1..=4 {
        chain.push(kiosk.record(number, previous, AuditEntry::Started { version: "1".into(), boot: [1; 16] }));
        previous = hash_of(&chain[chain.len() - 1]);
    }
    let send = |site: &mut Site, index: usize| site.handle(&kiosk, Lane::Audit, &chain[index], NOW);
    assert_eq!(receipt(&send(&mut site, 0)), (1, vec![]));
    assert_eq!(receipt(&send(&mut site, 0)), (1, vec![]));
    let gap = send(&mut site, 3);
    assert_eq!(receipt(&gap), (1, vec![2, 3]));
    assert_eq!(alarms(&gap), ["audit records 2 to 3 are missing"]);
    assert_eq!(receipt(&send(&mut site, 2)), (1, vec![2]));
    assert_eq!(receipt(&send(&mut site, 1)), (4, vec![]));
    assert_eq!(site.ledger().iter().filter(|line| line["what"] == "audited").count(), 4);
}

#[test]
fn what_a_device_tells_as_lost_holds_up_nothing() {
    let (mut site, kiosk) = ready();
    let started = || AuditEntry::Started { version: "1".into(), boot: [1; 16] };
    let first = kiosk.record(1, [0; 32], started());
    let fifth = kiosk.record(5, [5; 32], started());
    let told = kiosk.record(6, hash_of(&fifth), AuditEntry::Lost { count: 2 });
    let again = kiosk.record(7, hash_of(&told), AuditEntry::Lost { count: 1 });
    for (bytes, reach) in
        [(&first, (1, vec![])), (&fifth, (1, vec![2, 3, 4])), (&told, (3, vec![4])), (&again, (7, vec![]))]
    {
        assert_eq!(receipt(&site.handle(&kiosk, Lane::Audit, bytes, NOW)), reach);
    }
}

#[test]
fn a_fork_of_the_chain_raises_an_alarm() {
    let (mut site, kiosk) = ready();
    let started = |boot| AuditEntry::Started { version: "1".into(), boot: [boot; 16] };
    let first = kiosk.record(1, [0; 32], started(1));
    let second = kiosk.record(2, hash_of(&first), started(2));
    for bytes in [&first, &second] {
        assert!(alarms(&site.handle(&kiosk, Lane::Audit, bytes, NOW)).is_empty());
    }
    for forged in [
        kiosk.record(2, hash_of(&first), started(3)),
        kiosk.record(3, hash_of(&first), started(3)),
        kiosk.record(1, [0; 32], started(9)),
    ] {
        let out = site.handle(&kiosk, Lane::Audit, &forged, NOW);
        assert!(alarms(&out)[0].starts_with("audit chain forks"), "{:?}", alarms(&out));
        assert_eq!(receipt(&out), (2, vec![]));
    }
}

#[test]
fn a_verdict_that_the_kiosk_did_not_show_is_marked() {
    let (mut site, mut kiosk) = ready();
    let mut previous = [0; 32];
    for (number, (degrees, shown, marked)) in (1..).zip([
        (20, Outcome::Grant, "audited"),
        (20, Outcome::TimeOut, "undelivered"),
        (120, Outcome::Deny, "audited"),
        (120, Outcome::Grant, "alarm"),
    ]) {
        let challenge = site.challenge(&mut kiosk, PERSON, NOW);
        site.verdict(&kiosk, &kiosk.proof(&challenge, degrees), NOW + 1000);
        let record = kiosk.record(number, previous, ended(Some(challenge.attempt), shown));
        previous = hash_of(&record);
        site.handle(&kiosk, Lane::Audit, &record, NOW + 2000);
        assert_eq!(site.ledger().pop().unwrap()["what"], marked, "{shown:?}");
    }
}

#[test]
fn a_verdict_after_the_kiosks_record_is_marked_as_undelivered() {
    let (mut site, mut kiosk) = ready();
    let challenge = site.challenge(&mut kiosk, PERSON, NOW);
    let record = kiosk.record(1, [0; 32], ended(Some(challenge.attempt), Outcome::TimeOut));
    site.handle(&kiosk, Lane::Audit, &record, NOW + 1000);
    let audited = site.ledger().pop().unwrap();
    assert_eq!(
        (audited["what"].as_str(), audited["policy"].as_u64()),
        (Some("audited"), Some(1)),
        "the device's policy"
    );
    site.verdict(&kiosk, &kiosk.proof(&challenge, 20), NOW + 2000);
    let marks = site.ledger().iter().filter(|line| line["what"] == "undelivered").count();
    assert_eq!(marks, 1);
}

#[test]
fn a_verdict_whose_record_is_lost_is_marked_once_as_undelivered() {
    let (mut site, mut kiosk) = ready();
    let lost = site.challenge(&mut kiosk, PERSON, NOW);
    site.verdict(&kiosk, &kiosk.proof(&lost, 20), NOW + 1000);
    let mut previous = [0; 32];
    for number in 1..=2 {
        let later = NOW + number * 10_000;
        let challenge = site.challenge(&mut kiosk, PERSON, later);
        site.verdict(&kiosk, &kiosk.proof(&challenge, 20), later + 1000);
        let record = kiosk.record(number, previous, ended(Some(challenge.attempt), Outcome::Grant));
        previous = hash_of(&record);
        site.handle(&kiosk, Lane::Audit, &record, later + 2000);
    }
    let marked: Vec<_> = site
        .ledger()
        .into_iter()
        .filter(|line| line["what"] == "undelivered")
        .map(|line| line["attempt"].clone())
        .collect();
    assert_eq!(marked, [lost.attempt.to_string()]);
}

#[test]
fn states_tell_who_is_there() {
    let (mut site, kiosk) = ready();
    let mut send =
        |boot, connects, online| told(&site.handle(&kiosk, Lane::State, &kiosk.state(boot, connects, online), NOW));
    assert_eq!(send(1, 1, true), ["device-online: agent 0.1.0"]);
    assert!(send(1, 1, true).is_empty());
    assert_eq!(send(1, 2, true), ["device-online: agent 0.1.0"]);
    assert!(send(1, 1, false).is_empty(), "the will of an older connection");
    assert_eq!(send(1, 2, false), ["device-offline: agent 0.1.0"]);
    assert!(send(1, 1, true).is_empty(), "a message overtaken on its way");
    assert_eq!(send(2, 3, true), ["device-online: agent 0.1.0"], "after a restart");
}

#[test]
fn a_device_that_was_spoken_to_by_a_stranger_raises_an_alarm() {
    let (mut site, kiosk) = ready();
    let out = site.handle(&kiosk, Lane::State, &kiosk.state_with(1, 1, true, vec![Reason::PeerNotTrusted]), NOW);
    assert_eq!(alarms(&out), ["somebody who is no matcher or broker of this site speaks to the device"]);
}

#[test]
fn each_fault_of_a_device_is_one_alarm_until_it_is_mended() {
    let (mut site, kiosk) = ready();
    let mut tell = |connects: u64, online: bool, faults: &[Reason]| {
        let state = kiosk.state_with(1, connects, online, faults.to_vec());
        alarms(&site.handle(&kiosk, Lane::State, &state, NOW))
    };
    assert!(tell(1, true, &[]).is_empty());
    assert_eq!(tell(1, true, &[Reason::StorageFault]), ["the device tells of a fault: storage-fault"]);
    assert!(tell(1, true, &[Reason::StorageFault]).is_empty());
    // A will is what was true when the connection was made.
    assert!(tell(1, false, &[Reason::CameraFault]).is_empty());
    let both = [Reason::StorageFault, Reason::ProgramFault, Reason::NoConnection];
    assert_eq!(tell(2, true, &both), ["the device tells of a fault: program-fault"]);
    assert!(tell(2, true, &[]).is_empty());
    assert_eq!(tell(2, true, &[Reason::StorageFault]), ["the device tells of a fault: storage-fault"]);
    assert_eq!(site.last_line(), "alarm storage-fault");
}

#[test]
fn two_machines_with_one_identity_are_both_refused_until_an_operator_has_looked() {
    // The copy comes later, earlier, or more often than the original.
    for (first, second) in [((1, 5), (2, 5)), ((1, 5), (2, 2)), ((2, 9), (1, 6))] {
        let (mut site, mut kiosk) = ready();
        let send = |site: &mut Site, (boot, connects): (u8, u64)| {
            site.handle(&kiosk, Lane::State, &kiosk.state(boot, connects, true), NOW)
        };
        assert!(alarms(&send(&mut site, first)).is_empty());
        let out = send(&mut site, second);
        assert_eq!(alarms(&out), ["two machines use one identity: refused until device release"]);
        assert_eq!(site.last_line(), "alarm -");
        let later = (first.0, first.1 + 1);
        assert_eq!(alarms(&send(&mut site, later)), ["state of a quarantined device"]);
        let request = kiosk_request_of(&mut kiosk);
        assert_eq!(site.refused(&mut kiosk, request, NOW), Reason::DeviceRefused);
        let record = kiosk.record(1, [0; 32], AuditEntry::Lost { count: 1 });
        assert!(read::<Receipt>(&site.handle(&kiosk, Lane::Audit, &record, NOW), Lane::Receipt).is_none());

        let work = site.service.store().begin().unwrap();
        assert!(work.release_device(&kiosk.id).unwrap());
        work.commit().unwrap();
        assert!(alarms(&site.handle(&kiosk, Lane::State, &kiosk.state(1, 6, true), NOW)).is_empty());
        site.challenge(&mut kiosk, PERSON, NOW);
    }
}

#[test]
fn an_attempt_that_is_replayed_after_its_verdict_has_ended_is_refused_and_alarmed() {
    let (mut site, mut kiosk) = ready();
    let challenge = site.challenge(&mut kiosk, PERSON, NOW);
    let bytes = kiosk.send(&site.seal_key, &kiosk.proof(&challenge, 20));
    let first = site.handle(&kiosk, Lane::Attempt, &bytes, NOW + 1000);
    let repeat = site.handle(&kiosk, Lane::Attempt, &bytes, NOW + 2000);
    assert_eq!(first[0].payload, repeat[0].payload);
    assert!(alarms(&repeat).is_empty());
    let late = site.handle(&kiosk, Lane::Attempt, &bytes, NOW + 3_600_000);
    let verdict: Verdict = read(&late, Lane::Verdict).unwrap();
    assert_eq!(outcome(&verdict), (VerdictOutcome::Refuse, Reason::ChallengeSpent));
    assert_eq!(alarms(&late), ["replayed attempt"]);
}

#[test]
fn alarms_of_other_programs_are_told_once_and_stand_in_the_ledger() {
    let (mut site, _kiosk) = ready();
    let work = site.service.store().begin().unwrap();
    for number in 0..1000 {
        work.raise(&Notice { at_ms: NOW, device: None, note: format!("note {number}") }).unwrap();
    }
    work.commit().unwrap();
    let told = alarms(&site.service.sweep(NOW + 1));
    assert_eq!((told.len(), told[0].as_str()), (256, "note 0"), "bounded");
    assert!(alarms(&site.service.sweep(NOW + 2)).is_empty());
    assert_eq!(site.last_line(), "alarm -");
}

#[test]
fn a_rotated_key_is_told_and_the_old_one_opens_until_the_overlap_ends() {
    let (mut site, mut kiosk) = ready();
    let old = site.seal_key.clone();
    assert!(site.service.refresh(NOW).is_empty());
    let hours = site.config.keys.overlap_hours;
    seal_keys::rotate(&site.config.keys.seal, hours, NOW / 1000 + 10).unwrap();
    let told: MatcherKeys = open(&site.service.refresh(NOW + 10_000)[0].payload);
    assert_eq!(told.seal_keys.len(), 2);
    assert_eq!(told.seal_keys[1].id(), old.id());
    // A device that has not heard of it yet is served, and hears of it with its challenge.
    let challenge = site.challenge(&mut kiosk, PERSON, NOW + 20_000);
    assert_eq!(challenge.seal_key.id(), told.seal_keys[0].id());
    let after = NOW + 10_000 + u64::from(hours) * 3_600_000;
    let told: MatcherKeys = open(&site.service.refresh(after)[0].payload);
    assert_eq!(told.seal_keys.len(), 1);
    let late = ask(&site, &mut kiosk);
    assert_eq!(
        alarms(&site.handle(&kiosk, Lane::ChallengeRequest, &late, after)),
        ["sealed to a key that is not ours"]
    );
}

#[test]
fn random_bytes_on_every_topic_are_refused_and_the_service_goes_on() {
    let (mut site, mut kiosk) = ready();
    let valid = ask(&site, &mut kiosk);
    let mut random = 7_u64;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize
    };
    let topics: Vec<String> = Lane::ALL
        .iter()
        .map(|lane| format!("didar/1/test/device/kiosk-1/{}", lane.path()))
        .chain(
            ["didar/1/production/device/kiosk-1/up/audit", "didar/1/test/matcher/keys", "didar/2/x", "", "\u{0}"]
                .map(Into::into),
        )
        .collect();
    let mut at = NOW;
    for round in 0..40 {
        for topic in &topics {
            let mut bytes: Vec<u8> =
                if round % 2 == 0 { (0..next() % 300).map(|_| next() as u8).collect() } else { valid.clone() };
            if let Some(byte) = bytes.get_mut(round) {
                *byte ^= 1 << (next() % 8);
            }
            at += 20_000;
            let out = site.service.handle(topic, &bytes, at);
            assert!(!alarms(&out).is_empty(), "round {round} on {topic:?}");
        }
    }
    let counters = site.service.counters();
    assert_eq!((counters.received, counters.distrusted, counters.failed), (480, 480, 0));
    let challenge = site.challenge(&mut kiosk, PERSON, NOW);
    assert_eq!(outcome(&site.verdict(&kiosk, &kiosk.proof(&challenge, 20), NOW + 1000)), GRANT);
}

#[test]
fn a_flood_of_garbage_is_one_alarm_with_a_count() {
    let (mut site, kiosk) = ready();
    let mut heard = Vec::new();
    for at in 0..101 {
        heard.extend(alarms(&site.handle(&kiosk, Lane::Attempt, b"garbage", NOW + at * 100)));
    }
    assert_eq!(heard, ["not a sealed message", "not a sealed message (99 more before)"]);
}

#[test]
fn an_understood_envelope_with_an_unreadable_attempt_spends_the_challenge() {
    let (mut site, mut kiosk) = ready();
    let challenge = site.challenge(&mut kiosk, PERSON, NOW);
    let bytes = kiosk.sealed(&site.seal_key, Kind::Attempt, Some(&challenge.attempt), b"\xa1\x00\x01");
    let out = site.handle(&kiosk, Lane::Attempt, &bytes, NOW + 1000);
    assert_eq!(read::<Verdict>(&out, Lane::Verdict).unwrap().reason, Reason::RequestMalformed);
    assert_eq!(alarms(&out), ["attempt cannot be read"]);
    assert_eq!(site.verdict(&kiosk, &kiosk.proof(&challenge, 20), NOW + 1500).reason, Reason::ChallengeSpent);
}

#[test]
fn nothing_that_goes_out_and_no_ledger_line_names_a_person() {
    let (mut site, mut kiosk) = ready();
    let challenge = site.challenge(&mut kiosk, PERSON, NOW);
    site.verdict(&kiosk, &kiosk.proof(&challenge, 20), NOW + 1000);
    assert!(site.ledger().iter().all(|line| !line.to_string().contains(PERSON)));
    let stored = std::fs::read(&site.config.store.database).unwrap();
    assert!(!stored.windows(PERSON.len()).any(|part| part == PERSON.as_bytes()));
}
