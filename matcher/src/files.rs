//! Files that hold keys: written with mode 0600, refused when anyone else could read them.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Longest file that is read as a key, a certificate, a request or a configuration, bytes.
pub const TEXT_MAX: u64 = 256 * 1024;

/// Why a file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Reading failed.
    #[error("cannot read {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// Writing failed.
    #[error("cannot write {path}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// Far longer than such a file is.
    #[error("{path} has {found} bytes: at most {TEXT_MAX} are read")]
    TooLong {
        /// Which file.
        path: PathBuf,
        /// Its length, bytes.
        found: u64,
    },
    /// Somebody else may read the key.
    #[error("key file {path} has mode {mode:o}: others may read it; run: chmod 600 {path}")]
    Open {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

/// Reads a text file of bounded length.
///
/// # Errors
/// When it is absent, unreadable, too long or not UTF-8.
pub fn read_text(path: &Path) -> Result<String, FileError> {
    let failed = |cause| FileError::Read { path: path.to_owned(), cause };
    let found = fs::metadata(path).map_err(failed)?.len();
    if found > TEXT_MAX {
        return Err(FileError::TooLong { path: path.to_owned(), found });
    }
    fs::read_to_string(path).map_err(failed)
}

/// Reads a key file; wiped on drop.
///
/// # Errors
/// As [`read_text`], and when its mode lets others read it.
pub fn read_secret(path: &Path) -> Result<Zeroizing<String>, FileError> {
    let failed = |cause| FileError::Read { path: path.to_owned(), cause };
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(FileError::Open { path: path.to_owned(), mode });
    }
    read_text(path).map(Zeroizing::new)
}

/// Writes a new key file with mode 0600.
///
/// # Errors
/// When it exists already, or cannot be written: a key is never overwritten.
pub fn write_secret(path: &Path, text: &str) -> Result<(), FileError> {
    let failed = |cause| FileError::Write { path: path.to_owned(), cause };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

/// Writes or replaces a file that everybody may read, whatever the umask, in one step.
///
/// # Errors
/// When the folder or the file cannot be written.
pub fn write_public(path: &Path, text: &str) -> Result<(), FileError> {
    let failed = |cause| FileError::Write { path: path.to_owned(), cause };
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let write = || {
        let mut file = fs::File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().map_err(failed)
}

/// Makes a folder that only its owner may enter; an existing one is left as it is.
///
/// # Errors
/// When it cannot be made.
pub fn make_folder(path: &Path) -> Result<(), FileError> {
    let failed = |cause| FileError::Write { path: path.to_owned(), cause };
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_written_for_its_owner_only_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        write_secret(&path, "one").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(write_secret(&path, "two").is_err());
        assert_eq!(read_secret(&path).unwrap().as_str(), "one");
    }

    #[test]
    fn a_key_that_others_may_read_is_refused_with_the_cure() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        write_public(&path, "one").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = read_secret(&path).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }
}
