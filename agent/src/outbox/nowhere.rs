//! A disk that takes nothing: for who must speak to the centre where no store can be written.

use std::io;
use std::path::Path;

use super::disk::{Change, Disk, DiskError, Pair};
use super::standing::Standing;
use super::store::STANDING_KEY;

/// Holds the standing of a new device, and refuses every change as a read-only disk does.
pub(super) struct Nowhere;

fn refused() -> DiskError {
    DiskError::File { file: "no store".into(), cause: io::ErrorKind::ReadOnlyFilesystem.into() }
}

impl Disk for Nowhere {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, DiskError> {
        Ok((key == STANDING_KEY).then(|| Standing::default().frame()))
    }

    fn range(&self, _: &[u8], _: &[u8], _: usize) -> Result<Vec<Pair>, DiskError> {
        Ok(Vec::new())
    }

    fn keys(&self, _: &[u8], _: &[u8]) -> Result<Vec<Vec<u8>>, DiskError> {
        Ok(Vec::new())
    }

    fn apply(&mut self, _: Vec<Change>) -> Result<(), DiskError> {
        Err(refused())
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), DiskError> {
        Ok(())
    }

    fn write_beside(&mut self, _: &[u8]) -> Result<(), DiskError> {
        Err(refused())
    }

    fn read_beside(&self) -> Option<Vec<u8>> {
        None
    }

    fn place(&self) -> &Path {
        Path::new("no store")
    }
}
