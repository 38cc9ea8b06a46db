//! The sealing keys' folder: one file a key, named by the second in which it was made. The newest is the current one;
//! the one before it opens messages until the overlap is over.

use std::path::{Path, PathBuf};

use didar_protocol::seal::{Entropy, SealKeyPair};

use super::{IdentityError, random};
use crate::files::{self, FileError};

/// Keys that count at once, as many as a `MatcherKeys` message holds.
pub const KEYS_MAX: usize = 4;
/// What a key's file is called behind its number.
const EXTENSION: &str = "key";

/// One key's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealFile {
    /// Where.
    pub path: PathBuf,
    /// When it was made, Unix seconds.
    pub made_s: u64,
    /// When it stops opening, Unix seconds; `None` for the current one.
    pub ends_s: Option<u64>,
}

impl SealFile {
    /// Whether messages sealed to it are opened at `now_s`.
    pub fn opens(&self, now_s: u64) -> bool {
        self.ends_s.is_none_or(|ends_s| now_s < ends_s)
    }
}

/// Every key's file in the folder, the current one first.
///
/// # Errors
/// When the folder cannot be read.
pub fn list(folder: &Path, overlap_hours: u32) -> Result<Vec<SealFile>, FileError> {
    let failed = |cause| FileError::Read { path: folder.to_owned(), cause };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let made_s = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        if let Some(made_s) = made_s.filter(|_| path.extension().is_some_and(|end| end == EXTENSION)) {
            found.push(SealFile { path, made_s, ends_s: None });
        }
    }
    found.sort_by_key(|file| std::cmp::Reverse(file.made_s));
    let overlap_s = u64::from(overlap_hours) * 3600;
    for at in 1..found.len() {
        found[at].ends_s = Some(found[at - 1].made_s + overlap_s);
    }
    Ok(found)
}

/// Makes a new current key, and deletes those that open nothing any more; gives the new one's file.
///
/// # Errors
/// When the folder cannot be written, there are no random bytes, or too many keys count already.
pub fn rotate(folder: &Path, overlap_hours: u32, now_s: u64) -> Result<PathBuf, IdentityError> {
    files::make_folder(folder)?;
    let (good, ended): (Vec<_>, Vec<_>) = list(folder, overlap_hours)?.into_iter().partition(|file| file.opens(now_s));
    if good.len() >= KEYS_MAX {
        return Err(IdentityError::TooManyKeys { folder: folder.to_owned(), overlap_hours });
    }
    for SealFile { path, .. } in ended {
        std::fs::remove_file(&path).map_err(|cause| FileError::Write { path, cause })?;
    }
    // Later than every other, also where two are made in one second or the clock was set back.
    let made_s = good.first().map_or(now_s, |newest| now_s.max(newest.made_s + 1));
    let path = folder.join(format!("{made_s}.{EXTENSION}"));
    let pair = SealKeyPair::generate(Entropy::new(random().map_err(IdentityError::Random)?));
    files::write_secret(&path, &pair.to_pkcs8_pem())?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_opens_for_the_overlap_after_its_successor_and_then_its_file_goes() {
        let folder = tempfile::tempdir().unwrap();
        let seal = folder.path().join("seal");
        let first = rotate(&seal, 1, 10_000).unwrap();
        let second = rotate(&seal, 1, 20_000).unwrap();
        let files = list(&seal, 1).unwrap();
        assert_eq!(files.iter().map(|file| file.path.clone()).collect::<Vec<_>>(), [second.clone(), first.clone()]);
        assert!(files[0].opens(u64::MAX));
        assert!(files[1].opens(23_599) && !files[1].opens(23_600));
        let third = rotate(&seal, 1, 30_000).unwrap();
        assert!(!first.exists() && second.exists() && third.exists());
        assert_eq!(rotate(&seal, 1, 30_000).unwrap(), seal.join("30001.key"));
        rotate(&seal, 1, 30_000).unwrap();
        let refused = rotate(&seal, 1, 30_000).unwrap_err().to_string();
        assert!(refused.contains("overlap"), "{refused}");
    }
}
