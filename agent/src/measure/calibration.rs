//! What was measured of this very device, beside the facts of its kind of board: a file in the state folder. The judgement
//! reckons with the delay; the other figures say how good the measurement is, for `doctor`.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::{Board, Config};

/// Measured facts. They replace those of the board's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// The board that was measured; another one's file is refused.
    pub board: String,
    /// From the order to the lamps until their light, microseconds: what the judgement reckons with.
    pub delay_us: u32,
    /// How far the measured delays lay apart, microseconds.
    pub spread_us: u32,
    /// Pulses that the delay comes from.
    pub pulses: u32,
    /// Frames a second, thousandths, as measured.
    pub rate_milli: u32,
    /// When, Unix seconds by the device's clock.
    pub measured_at: u64,
}

/// Why a calibration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CalibrationError {
    /// The file cannot be read.
    #[error("cannot read {path}: {cause}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {path}: {cause}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// It is no calibration.
    #[error("{path}: {cause}; remove it, or run `didar-agent calibrate` again")]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Line, column and reason.
        cause: Box<toml::de::Error>,
    },
    /// It is of another board, or out of range.
    #[error("{path}: {key} is {found}, lawful: {lawful}; remove the file, or run `didar-agent calibrate` again")]
    Range {
        /// Which file.
        path: PathBuf,
        /// Which key.
        key: &'static str,
        /// What it says.
        found: String,
        /// What it may say.
        lawful: String,
    },
}

/// The file's name in the state folder.
const FILE: &str = "calibration.toml";

impl Calibration {
    /// Where it is kept.
    pub fn path(state: &Path) -> PathBuf {
        state.join(FILE)
    }

    /// The calibration of `board` in the folder `state`; `None` where there is none.
    ///
    /// # Errors
    /// There is one, and it cannot be used.
    pub fn read(state: &Path, board: &Board) -> Result<Option<Self>, CalibrationError> {
        let path = Self::path(state);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(CalibrationError::Read { path, cause }),
        };
        let found: Self = toml::from_str(&text)
            .map_err(|cause| CalibrationError::Syntax { path: path.clone(), cause: Box::new(cause) })?;
        let refused = |key, found, lawful| Err(CalibrationError::Range { path, key, found, lawful });
        if found.board != board.name {
            return refused("board", found.board, board.name.clone());
        }
        if found.delay_us >= board.facts.frame_us {
            return refused("delay_us", found.delay_us.to_string(), format!("less than {}", board.facts.frame_us));
        }
        Ok(Some(found))
    }

    /// Writes it, whole or not at all, and onto the disk.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn write(&self, state: &Path) -> Result<PathBuf, CalibrationError> {
        let path = Self::path(state);
        let failed = |cause| CalibrationError::Write { path: path.clone(), cause };
        let text = toml::to_string(self).map_err(|error| failed(io::Error::other(error)))?;
        let text = format!("# Measured by `didar-agent calibrate`; removed, the board's file counts.\n{text}");
        std::fs::create_dir_all(state).map_err(failed)?;
        crate::file::replace(&path, text.as_bytes()).map_err(failed)?;
        Ok(path)
    }

    /// Puts the calibration of the device of `config` into its board's facts, where there is one that can be used. One that
    /// cannot be used is logged and the board's own figure counts: a kiosk that reckons with the delay of its kind of board
    /// lets nobody in who is not there, and a kiosk that does not start serves nobody.
    pub fn use_in(config: &mut Config) {
        match Self::read(&config.state, &config.board) {
            Ok(Some(found)) => {
                found.apply(&mut config.board);
                tracing::info!("delay of the lamps as calibrated: {} us", found.delay_us);
            }
            Ok(None) => {}
            Err(error) => {
                let delay_us = config.board.facts.delay_us;
                tracing::error!("{error}; the delay of the lamps is taken to be the board's {delay_us} us");
            }
        }
    }

    /// Whether the device's frames came at the board's rate when it was measured, one in twenty more or less: otherwise the
    /// board's file was changed since, or the camera was.
    pub fn is_of_rate(&self, board: &Board) -> bool {
        let promised_milli = u64::from(1_000_000 / board.facts.frame_us.max(1)) * 1000;
        u64::from(self.rate_milli).abs_diff(promised_milli) * 20 <= promised_milli
    }

    /// Puts what was measured into the board's facts.
    pub fn apply(&self, board: &mut Board) {
        board.facts.delay_us = self.delay_us;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn calibration() -> Calibration {
        Calibration {
            board: "bridge".to_owned(),
            delay_us: 2_500,
            spread_us: 300,
            pulses: 9,
            rate_milli: 29_970,
            measured_at: 1_800_000_000,
        }
    }

    #[test]
    fn kept_read_applied_and_refused_for_another_board() {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../firmware-config/agent.toml");
        let mut board = Config::read(&shipped).unwrap().board;
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Calibration::read(folder.path(), &board).unwrap(), None);
        calibration().write(folder.path()).unwrap();
        let found = Calibration::read(folder.path(), &board).unwrap().unwrap();
        assert_eq!(found, calibration());
        found.apply(&mut board);
        assert_eq!(board.facts.delay_us, 2_500);

        assert!(calibration().is_of_rate(&board));
        board.facts.frame_us = 66_666;
        assert!(!calibration().is_of_rate(&board));
        board.facts.frame_us = 33_333;

        board.name = "other".to_owned();
        let error = Calibration::read(folder.path(), &board).unwrap_err().to_string();
        assert!(error.contains("board is bridge"), "{error}");
        std::fs::write(Calibration::path(folder.path()), "delay = 1").unwrap();
        assert!(Calibration::read(folder.path(), &board).unwrap_err().to_string().contains("calibration.toml"));
    }

    #[test]
    fn one_that_cannot_be_used_leaves_the_boards_own_figure() {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../firmware-config/agent.toml");
        let folder = tempfile::tempdir().unwrap();
        let delay_us = |text: &str| {
            let mut config = Config::read(&shipped).unwrap();
            config.state = folder.path().to_owned();
            std::fs::write(Calibration::path(folder.path()), text).unwrap();
            Calibration::use_in(&mut config);
            config.board.facts.delay_us
        };
        let own_us = Config::read(&shipped).unwrap().board.facts.delay_us;
        assert_ne!(own_us, 2_500);
        // The second is what a power cut leaves of a file that was not synced.
        for unusable in ["delay = 1", "", "\0\0\0\0"] {
            assert_eq!(delay_us(unusable), own_us);
        }
        assert_eq!(delay_us(&toml::to_string(&calibration()).unwrap()), 2_500);
    }
}
