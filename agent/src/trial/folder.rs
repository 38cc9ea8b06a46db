//! A trial's folder: two files for each presentation, whole or not at all, and never more than a bound.
//!
//! `DEVICE-NUMBER.json` says what was presented and what was found; `DEVICE-NUMBER.cbor` beside it is the recording that
//! the judge was given (`didar-matcher judge` reads it). Folders of several devices can be put together.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use didar_liveness::recorded::{self, RecordingError};
use didar_protocol::id::sha256;

use super::Presented;
use super::record::{Circumstances, Device, Kept, Record};

/// Presentations that a folder holds at most.
pub const PRESENTATIONS_MAX: usize = 5_000;
/// Longest file that says what was found.
const RECORD_BYTES_MAX: u64 = 64 * 1024;

/// A folder that takes presentations of one device.
pub struct Folder {
    path: PathBuf,
    device: Device,
    records: Vec<Record>,
    last: u32,
}

/// Why a trial's folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The system refuses.
    #[error("{path}: {cause}; name a folder that this user can write to")]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A file says what no trial writes.
    #[error("{path}: {why}; it is no record of `didar-agent trial`: remove it with its .cbor, or give another folder")]
    Record {
        /// Which file.
        path: PathBuf,
        /// Line, column or key, and what is wrong.
        why: String,
    },
    /// A recording is missing or is not the one that was written.
    #[error("{path}: {why}; remove it with its .json, the presentation cannot be judged again")]
    Changed {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// A recording cannot be read.
    #[error("{path}: {cause}")]
    Recording {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        cause: RecordingError,
    },
    /// No more room.
    #[error("{path} holds {found} presentations, {PRESENTATIONS_MAX} are the most; go on in another folder")]
    Full {
        /// Which folder.
        path: PathBuf,
        /// Presentations in it.
        found: usize,
    },
}

impl Folder {
    /// Opens the folder, which is made where there is none, for presentations on `device`. What is in it stays.
    ///
    /// # Errors
    /// It cannot be written to, or holds what no trial wrote.
    pub fn open(path: &Path, device: Device) -> Result<Self, FolderError> {
        std::fs::create_dir_all(path).map_err(|cause| FolderError::Io { path: path.to_owned(), cause })?;
        let mut last = 0;
        let mut records = Vec::new();
        for file in files(path)? {
            records.push(read_record(&file)?);
            last = last.max(number(&file, device.device.as_str()).unwrap_or(0));
        }
        Ok(Self { path: path.to_owned(), device, records, last })
    }

    /// How many presentations of these circumstances are in it.
    pub fn count(&self, circumstances: &Circumstances) -> usize {
        self.records.iter().filter(|record| record.is_of(circumstances)).count()
    }

    /// What was written down so far, in the order of the files' names.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Keeps one presentation; the name of its files without their endings. `made_at` in Unix seconds.
    ///
    /// # Errors
    /// It is full, or cannot be written to; then nothing counts.
    pub fn keep(
        &mut self,
        circumstances: &Circumstances,
        presented: &Presented,
        made_at: u64,
    ) -> Result<String, FolderError> {
        if self.records.len() >= PRESENTATIONS_MAX {
            return Err(FolderError::Full { path: self.path.clone(), found: self.records.len() });
        }
        let recording = match presented {
            Presented::Captured(recording) => Some(recording.to_cbor()),
            Presented::Missed(_) => None,
        };
        let record = Record::of(circumstances, &self.device, presented, recording.as_deref(), made_at);
        let name = format!("{}-{:04}", self.device.device, self.last + 1);
        let file = self.path.join(format!("{name}.json"));
        // The recording first: a record never names one that is not there.
        if let Some(bytes) = &recording {
            write(&file.with_extension("cbor"), bytes)?;
        }
        let text = serde_json::to_vec_pretty(&record).expect("texts and numbers always have JSON");
        write(&file, &text)?;
        self.last += 1;
        self.records.push(record);
        Ok(name)
    }
}

/// Every presentation in the folder, in the order of their names.
///
/// # Errors
/// It cannot be read, or holds what no trial wrote.
pub fn read(path: &Path) -> Result<Vec<Kept>, FolderError> {
    let kept = |file: PathBuf| {
        let record = read_record(&file)?;
        let recording = match &record.recording_sha256 {
            Some(hash) => Some(read_recording(&file.with_extension("cbor"), hash)?),
            None => None,
        };
        Ok(Kept { record, recording })
    };
    files(path)?.into_iter().map(kept).collect()
}

/// The records' files, in order.
fn files(path: &Path) -> Result<Vec<PathBuf>, FolderError> {
    let failed = |cause| FolderError::Io { path: path.to_owned(), cause };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if file.extension().is_some_and(|ending| ending == "json") {
            found.push(file);
        }
        if found.len() > PRESENTATIONS_MAX {
            return Err(FolderError::Full { path: path.to_owned(), found: found.len() });
        }
    }
    found.sort();
    Ok(found)
}

fn read_record(file: &Path) -> Result<Record, FolderError> {
    let refused = |why: String| FolderError::Record { path: file.to_owned(), why };
    let bytes = read_bounded(file, RECORD_BYTES_MAX)?;
    if bytes.len() as u64 > RECORD_BYTES_MAX {
        return Err(refused(format!("it is longer than {RECORD_BYTES_MAX} bytes")));
    }
    let record: Record = serde_json::from_slice(&bytes).map_err(|error| refused(error.to_string()))?;
    if record.version != Record::VERSION {
        return Err(refused(format!("its version is {}, {} is read", record.version, Record::VERSION)));
    }
    Ok(record)
}

fn read_recording(file: &Path, hash: &str) -> Result<didar_liveness::Recording, FolderError> {
    // One byte more than is lawful: enough for the reader to refuse it.
    let bytes = read_bounded(file, recorded::BYTES_MAX as u64)?;
    if hex::encode(sha256(&bytes)) != hash {
        return Err(FolderError::Changed { path: file.to_owned(), why: "its hash is not the one in its .json" });
    }
    recorded::read(&bytes).map_err(|cause| FolderError::Recording { path: file.to_owned(), cause })
}

/// At most one byte more than `most`.
fn read_bounded(file: &Path, most: u64) -> Result<Vec<u8>, FolderError> {
    let failed = |cause| FolderError::Io { path: file.to_owned(), cause };
    let mut bytes = Vec::new();
    std::fs::File::open(file).map_err(failed)?.take(most + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Whole or not at all, and on the disk.
fn write(file: &Path, bytes: &[u8]) -> Result<(), FolderError> {
    crate::file::replace(file, bytes).map_err(|cause| FolderError::Io { path: file.to_owned(), cause })
}

/// The number in the name of a file of `device`.
fn number(file: &Path, device: &str) -> Option<u32> {
    file.file_stem()?.to_str()?.strip_prefix(device)?.strip_prefix('-')?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use didar_liveness::Policy;
    use didar_protocol::reason::Reason;

    use super::super::record::Species;
    use super::*;

    fn device() -> Device {
        Device { device: "kiosk-1".parse().unwrap(), board: "bridge".into(), models: vec!["passive 00".into()] }
    }

    fn circumstances(species: &str) -> Circumstances {
        Circumstances { species: species.parse().unwrap(), subject: Some(3), distance: None, ambient: None }
    }

    /// The room's light hides everything: inconclusive.
    fn captured() -> Presented {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../liveness/vectors/too-much-infrared.cbor");
        Presented::Captured(Box::new(recorded::read(&std::fs::read(file).unwrap()).unwrap()))
    }

    #[test]
    fn a_trial_goes_on_where_it_stopped_and_reads_back_as_it_was_judged() {
        let folder = tempfile::tempdir().unwrap();
        let print = circumstances("flat-print");
        for round in 0..2 {
            let mut trial = Folder::open(folder.path(), device()).unwrap();
            assert_eq!(trial.count(&print), 2 * round);
            let names =
                [captured(), Presented::Missed(Reason::NoFaceInTime)].map(|p| trial.keep(&print, &p, 7).unwrap());
            assert_eq!(names, [1, 2].map(|n| format!("kiosk-1-{:04}", 2 * round + n)));
            assert_eq!(trial.count(&circumstances("live")), 0);
        }
        let kept = read(folder.path()).unwrap();
        assert_eq!(kept.len(), 4);
        for one in kept {
            assert!(one.agrees(one.judge(&Policy::shipped()).as_ref()));
            let mut other = Policy::shipped();
            other.version += 1;
            assert!(one.recording.is_none() || !one.agrees(one.judge(&other).as_ref()));
            assert_eq!(one.record.answer, "inconclusive");
        }
    }

    #[test]
    fn what_no_trial_wrote_is_named_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut trial = Folder::open(folder.path(), device()).unwrap();
        trial.keep(&circumstances("live"), &captured(), 7).unwrap();
        let [json, cbor] = ["json", "cbor"].map(|ending| folder.path().join(format!("kiosk-1-0001.{ending}")));
        let good = std::fs::read_to_string(&json).unwrap();
        let fails = || read(folder.path()).unwrap_err().to_string();

        std::fs::write(&json, good.replace("\"live\"", "\"alive\"")).unwrap();
        assert!(fails().contains("kiosk-1-0001.json: \"alive\" is no species"), "{}", fails());
        std::fs::write(&json, good.replace("\"version\": 1", "\"version\": 2")).unwrap();
        assert!(fails().contains("version is 2"), "{}", fails());
        std::fs::write(&json, " ".repeat(70_000)).unwrap();
        assert!(fails().contains("longer than"), "{}", fails());
        std::fs::write(&json, &good).unwrap();
        std::fs::write(&cbor, b"x").unwrap();
        assert!(fails().contains("kiosk-1-0001.cbor: its hash"), "{}", fails());
        std::fs::remove_file(&cbor).unwrap();
        assert!(fails().contains("kiosk-1-0001.cbor"), "{}", fails());
    }

    #[test]
    fn species_are_known_or_named_as_others() {
        assert!("live".parse::<Species>().unwrap().is_live());
        assert!(!"other-bust-of-plaster".parse::<Species>().unwrap().is_live());
        for bad in ["", "Live", "other-", "other-Ivan Petrov", "flat print", "other-../x"] {
            let error = bad.parse::<Species>().unwrap_err().to_string();
            assert!(error.contains("flat-print") && error.contains("other-NAME"), "{error}");
        }
    }
}
