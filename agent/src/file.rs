//! Files that after a power cut are what they were or what they shall be.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

/// Writes `file` in one step, and returns when it is on the disk: after a power cut it is the old one or the new one. The
/// draft lies beside it as `*.new`.
///
/// # Errors
/// The system refuses; the old file is untouched.
pub(crate) fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = file.with_extension("new");
    let mut open = File::create(&fresh)?;
    open.write_all(bytes)?;
    open.sync_all()?;
    fs::rename(&fresh, file)?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
