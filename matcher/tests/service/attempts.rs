//! Attempts that are judged, consents, references.

use super::*;

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
fn nothing_that_goes_out_and_no_ledger_line_names_a_person() {
    let (mut site, mut kiosk) = ready();
    let challenge = site.challenge(&mut kiosk, PERSON, NOW);
    site.verdict(&kiosk, &kiosk.proof(&challenge, 20), NOW + 1000);
    assert!(site.ledger().iter().all(|line| !line.to_string().contains(PERSON)));
    let stored = std::fs::read(&site.config.store.database).unwrap();
    assert!(!stored.windows(PERSON.len()).any(|part| part == PERSON.as_bytes()));
}
