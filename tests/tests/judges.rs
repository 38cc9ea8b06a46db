//! One recording, judged by the kiosk, by the centre and by `didar-matcher judge`: the same evidence to the last byte.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use didar_agent::attempt::event::Findings;
use didar_liveness::{Answer, Policy, Recording, recorded};
use didar_matcher::decide::{Liveness, Witness};
use didar_protocol::id::{AttemptId, sha256};
use didar_protocol::message::{Attempt, Ending, Message, Outcome, Quality};
use didar_protocol::reason::Reason;
use didar_tests::process;

/// The golden recordings: living, lamps out, and each attack.
fn recordings() -> Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../liveness/vectors");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "cbor" || ending == "json") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// As the attempt's message brings it to the centre.
fn sent(recording: &Recording) -> Result<Attempt> {
    let attempt = Attempt {
        attempt: AttemptId::from_bytes([7; 16]),
        device: "kiosk-1".parse()?,
        request_hash: sha256(b"request"),
        nonce: [9; 32],
        transcript: Some(recording.transcript.clone()),
        passive: recording.passive,
        motion: recording.motion,
        quality: Quality::default(),
        models: Vec::new(),
        continuity_milli: recording.continuity_milli,
        ending: Ending::Stopped { outcome: Outcome::Spoof, reason: Reason::NoRelief },
        sent_at_ms: 1,
    };
    Ok(Attempt::decode(&attempt.encode()?)?)
}

#[test]
fn kiosk_centre_and_command_line_find_the_same_evidence() -> Result<()> {
    let policy = Policy::shipped();
    let matcher = process::sibling("didar-matcher")?;
    let files = recordings()?;
    assert!(files.len() > 10, "{files:?}");
    for file in files {
        let recording = recorded::read(&std::fs::read(&file)?)?;
        let findings = Findings {
            transcript: Some(recording.transcript.clone()),
            passive: recording.passive,
            motion: recording.motion,
            continuity_milli: recording.continuity_milli,
            ..Findings::default()
        };
        let kiosk = findings.judge(&recording.code, &policy).context("there is a transcript")?;
        assert_eq!(kiosk.to_bytes(), std::fs::read(file.with_extension("evidence"))?, "{}", file.display());

        // What the centre goes by, and its ledger keeps, is everything that the evidence's bytes are made of.
        let attempt = sent(&recording)?;
        let transcript = attempt.transcript.context("it was sent")?;
        let (centre, figures) = Witness::judge(
            &policy,
            &transcript,
            &recording.code,
            &attempt.passive,
            &attempt.motion,
            attempt.continuity_milli,
        );
        let answer = match kiosk.answer() {
            Answer::Live(_) => Liveness::Live,
            Answer::Spoof(reason) => Liveness::Spoof(*reason),
            Answer::Inconclusive(reason) => Liveness::Inconclusive(*reason),
        };
        assert_eq!((centre, &figures[..]), (answer, kiosk.figures()), "{}", file.display());
        assert_eq!(Witness::policy_version(&policy), kiosk.policy_version());

        let output = std::process::Command::new(&matcher).args(["judge", "--json"]).arg(&file).output()?;
        let said: serde_json::Value = serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        let bytes = kiosk.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(said["evidence"], bytes, "{}", file.display());
    }
    Ok(())
}
