//! Judging a recorded transcript again, offline: the same judge as on the device and at the centre.

use std::path::{Path, PathBuf};

use didar_liveness::recorded::{self, RecordingError};
use didar_liveness::{Answer, Evidence, Policy};

/// Why a file was not judged.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    /// The file could not be read.
    #[error("cannot read {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: std::io::Error,
    },
    /// The file holds no recording.
    #[error("{path}")]
    Recording {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: RecordingError,
    },
}

/// Judges the recording in `path` (CBOR or JSON) by `policy`.
///
/// # Errors
/// When the file cannot be read or holds no recording.
pub fn judge(path: &Path, policy: &Policy) -> Result<Evidence, JudgeError> {
    let read = |cause| JudgeError::Read { path: path.to_owned(), cause };
    // One byte more than is lawful: enough for the reader to refuse it, and no more.
    let mut bytes = Vec::new();
    let limit = recorded::BYTES_MAX as u64 + 1;
    std::io::Read::read_to_end(&mut std::io::Read::take(std::fs::File::open(path).map_err(read)?, limit), &mut bytes)
        .map_err(read)?;
    let recording = recorded::read(&bytes).map_err(|cause| JudgeError::Recording { path: path.to_owned(), cause })?;
    Ok(recording.judge(policy))
}

/// The evidence as one JSON object; `evidence` are its bytes, hexadecimal: equal ones mean equal judgements.
pub fn to_json(evidence: &Evidence) -> serde_json::Value {
    let figures: serde_json::Map<String, serde_json::Value> =
        evidence.figures().iter().map(|(name, milli)| ((*name).to_owned(), (*milli).into())).collect();
    let answer = match evidence.answer() {
        Answer::Live(_) => "live",
        Answer::Spoof(_) => "spoof",
        Answer::Inconclusive(_) => "inconclusive",
    };
    serde_json::json!({
        "answer": answer,
        "reason": evidence.answer().reason().name(),
        "policy_version": evidence.policy_version(),
        "figures_milli": figures,
        "evidence": hex::encode(evidence.to_bytes()),
    })
}

/// The program's exit code for an answer: 0 live, 1 spoof, 2 inconclusive. (3: the file was not judged.)
pub fn exit_code(answer: &Answer) -> u8 {
    match answer {
        Answer::Live(_) => 0,
        Answer::Spoof(_) => 1,
        Answer::Inconclusive(_) => 2,
    }
}
