//! Opening a store that may be damaged, and saving what is good in it.
//!
//! Every letter, intent and standing lies in a frame with a magic and a hash. So they can be found in the raw files of a
//! store that does not open any more, and a frame that reads at all is one that was written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use didar_protocol::id::{Hash, sha256};
use didar_protocol::message::Kind;

use super::Recovery;
use super::disk::{Change, Disk, DiskError, SledDisk, read_beside};
use super::standing::{self, Standing};
use super::store::{INTENT_KEY, LETTER_PREFIX, STANDING_KEY, letter_key};

/// Memory that the store may use for its cache, bytes.
const CACHE_BYTES: u64 = 2 * 1024 * 1024;

/// A store that is still locked after this many pauses (3 s) is another process's.
const LOCK_TRIES: u32 = 60;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Letters read at once.
const PAGE: usize = 512;

/// Name of the store's folder.
pub(super) const STORE: &str = "letters";
const DAMAGED: &str = "damaged";

const LETTER: &[u8; 4] = b"DLT1";
const INTENT: &[u8; 4] = b"DIN1";
/// Bytes before a letter or an intent: magic, number, length, hash.
const HEADER: usize = 4 + 8 + 4 + 32;
const LETTER_MAX: usize = Kind::AuditRecord.max_size();

/// Raw files are carved in pieces of this size, each overlapping the next by the largest frame.
const PIECE: usize = 1024 * 1024;

/// What taking over a store gave.
pub(super) struct Found {
    pub(super) held: u64,
    pub(super) standing: Standing,
    pub(super) recovery: Option<Recovery>,
}

/// A store in which every frame proves itself.
pub(super) struct Sound {
    pub(super) disk: SledDisk,
    /// What was wrong with the one that it was rebuilt from.
    pub(super) damage: Option<String>,
    good: Good,
}

/// The good part of a store: which letters, the last one's hash, and where it stood.
#[derive(Default)]
struct Good {
    numbers: BTreeSet<u64>,
    last: Option<(u64, Hash)>,
    standing: Option<Standing>,
}

impl Good {
    fn add(&mut self, number: u64, signed: &[u8]) {
        self.numbers.insert(number);
        if self.last.is_none_or(|(last, _)| last <= number) {
            self.last = Some((number, sha256(signed)));
        }
    }

    fn held_after(&self, acknowledged: u64) -> u64 {
        self.numbers.range(acknowledged.saturating_add(1)..).count() as u64
    }
}

/// What was found in the raw files of a store that does not open.
#[derive(Default)]
struct Carved {
    letters: BTreeMap<u64, Vec<u8>>,
    /// The latest, with the number that was next when it was intended.
    intent: Option<(u64, Vec<u8>)>,
    standing: Option<Standing>,
}

/// Opens the store in `folder` and takes it over.
pub(super) fn open_or_rebuild(folder: &Path) -> Result<(Box<dyn Disk>, Found), DiskError> {
    let Sound { mut disk, damage, good } = open_sound(folder)?;
    let beside = disk.read_beside().as_deref().and_then(Standing::read);
    let found = settle(&mut disk, &good, beside, damage)?;
    Ok((Box::new(disk), found))
}

/// Opens the store in `folder`; rebuilds it from its good part when it is damaged. What is missing is not counted yet.
pub(super) fn open_sound(folder: &Path) -> Result<Sound, DiskError> {
    let path = folder.join(STORE);
    // A power cut in the middle of a rebuild: the damaged store is still the only copy of what it holds.
    if !path.exists() && folder.join(DAMAGED).exists() {
        return rebuild(folder, "an earlier repair was interrupted".to_owned());
    }
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let store = open(&path).map_err(|cause| DiskError::Sled { doing: "opening", cause })?;
        let disk = SledDisk::new(store, folder);
        let good = read_all(&disk)?;
        Ok(Sound { disk, damage: None, good })
    }));
    let why = match opened {
        Ok(Ok(sound)) => return Ok(sound),
        Ok(Err(DiskError::Sled { cause, .. })) if is_locked(&cause) => return Err(DiskError::InUse),
        // Not the store's content but the place where it lies: nothing to repair there.
        Ok(Err(DiskError::Sled { cause: sled::Error::Io(cause), .. })) if is_environment(&cause) => {
            return Err(DiskError::File { file: path, cause });
        }
        Ok(Err(cause)) => cause.to_string(),
        Err(_) => "the store cannot read its own files".to_owned(),
    };
    set_aside(folder).map_err(|cause| DiskError::File { file: folder.join(DAMAGED), cause })?;
    rebuild(folder, why)
}

/// A letter as it lies in the store.
pub(super) fn frame_letter(number: u64, signed: &[u8]) -> Vec<u8> {
    frame(LETTER, number, signed)
}

/// Number and bytes of a whole letter at the beginning of `bytes`; `None` for anything else.
fn read_letter(bytes: &[u8]) -> Option<(u64, &[u8])> {
    read(LETTER, bytes)
}

/// Number and bytes of the letter that lies under `key`.
pub(super) fn read_letter_at<'a>(key: &[u8], value: &'a [u8]) -> Result<(u64, &'a [u8]), DiskError> {
    let number = key.last_chunk().map_or(0, |digits| u64::from_be_bytes(*digits));
    let letter = read_letter(value).filter(|(found, _)| *found == number && key == letter_key(number));
    letter.ok_or(DiskError::Letter { number })
}

/// A record that is intended, as it lies in the store; `number` is the next one's.
pub(super) fn frame_intent(number: u64, encoded: &[u8]) -> Vec<u8> {
    frame(INTENT, number, encoded)
}

/// Number and bytes of a whole intent at the beginning of `bytes`; `None` for anything else.
pub(super) fn read_intent(bytes: &[u8]) -> Option<(u64, &[u8])> {
    read(INTENT, bytes)
}

fn frame(magic: &[u8; 4], number: u64, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("a record is far smaller than 4 GiB");
    let mut frame = magic.to_vec();
    frame.extend(number.to_be_bytes());
    frame.extend(length.to_be_bytes());
    frame.extend(sha256(content));
    frame.extend(content);
    frame
}

fn read<'a>(magic: &[u8; 4], bytes: &'a [u8]) -> Option<(u64, &'a [u8])> {
    let header = bytes.get(..HEADER)?.strip_prefix(magic)?;
    let number = u64::from_be_bytes(header.get(..8)?.try_into().ok()?);
    let length = u32::from_be_bytes(header.get(8..12)?.try_into().ok()?) as usize;
    let content = bytes.get(HEADER..HEADER.checked_add(length)?)?;
    (length <= LETTER_MAX && sha256(content) == header[12..]).then_some((number, content))
}

/// Waits for a store that was closed a moment ago: the threads of `sled` hold its lock a little longer than its handle.
#[expect(
    clippy::disallowed_methods,
    reason = "another thread's release of a file lock cannot be waited for as an event"
)]
pub(super) fn open(path: &Path) -> sled::Result<sled::Db> {
    let config =
        sled::Config::new().path(path).cache_capacity(CACHE_BYTES).flush_every_ms(None).mode(sled::Mode::LowSpace);
    for _ in 0..LOCK_TRIES {
        match config.open() {
            Err(cause) if is_locked(&cause) => std::thread::sleep(LOCK_PAUSE),
            opened => return opened,
        }
    }
    config.open()
}

fn is_locked(cause: &sled::Error) -> bool {
    matches!(cause, sled::Error::Io(cause) if cause.to_string().contains("could not acquire lock"))
}

/// Takes over what lies on a disk that reads well; `beside` is what else is known of where the chain stands.
pub(super) fn take_over(disk: &mut dyn Disk, beside: Option<Standing>) -> Result<Found, DiskError> {
    let good = read_all(disk)?;
    settle(disk, &good, beside, None)
}

/// What is in the store; an error when a frame is not what was written.
fn read_all(disk: &dyn Disk) -> Result<Good, DiskError> {
    let mut good = Good::default();
    let mut first = LETTER_PREFIX.to_vec();
    loop {
        let page = disk.range(&first, &letter_key(u64::MAX), PAGE)?;
        for (key, value) in &page {
            let (number, signed) = read_letter_at(key, value)?;
            good.add(number, signed);
        }
        let Some((last, _)) = page.last().filter(|_| page.len() == PAGE) else { break };
        // The next key in order: the last one with one byte more.
        first = [last.as_slice(), &[0]].concat();
    }
    if let Some(value) = disk.get(STANDING_KEY)? {
        good.standing = Some(Standing::read(&value).ok_or(DiskError::Standing)?);
    }
    Ok(good)
}

/// Takes over a store that reads well; counts what is missing all the same, as whole pages may be gone.
fn settle(
    disk: &mut dyn Disk,
    good: &Good,
    beside: Option<Standing>,
    damage: Option<String>,
) -> Result<Found, DiskError> {
    let in_store = good.standing;
    let (standing, lost) = account(good, beside);
    let held = good.held_after(standing.acknowledged);
    let rebuilt = damage.is_some();
    let why = damage.or((lost > 0).then(|| "letters are missing from the store".to_owned()));
    let recovery = why.map(|why| Recovery { saved: held, lost, why });
    if rebuilt || in_store != Some(standing) {
        // An older state of the store may hold letters that were acknowledged since.
        let mut changes: Vec<_> =
            good.numbers.range(..=standing.acknowledged).map(|&number| Change::Remove(letter_key(number))).collect();
        changes.push(Change::Put(STANDING_KEY.to_vec(), standing.frame()));
        let intent = disk.get(INTENT_KEY)?;
        let intended_at = intent.as_deref().and_then(read_intent).map(|(number, _)| number);
        if lost > 0 && intended_at.is_some_and(|number| number < standing.next) {
            // The intended record may be among the lost: what it said is not known, so nothing is said in its place.
            changes.push(Change::Remove(INTENT_KEY.to_vec()));
        }
        disk.apply(changes)?;
        disk.flush()?;
        disk.write_beside(&standing.frame())?;
    }
    Ok(Found { held, standing, recovery })
}

/// Where the chain stands by all that is known, and how many letters are newly missing.
fn account(good: &Good, beside: Option<Standing>) -> (Standing, u64) {
    let mut standing = stand(good, beside);
    let missing = standing.issued().saturating_sub(good.held_after(standing.acknowledged));
    let lost = missing.saturating_sub(standing.holes);
    standing.holes = missing;
    standing.lost += lost;
    (standing, lost)
}

/// Where the chain stands by all that is known.
fn stand(good: &Good, beside: Option<Standing>) -> Standing {
    let mut standing = match (good.standing, beside) {
        (Some(one), Some(other)) => one.later(other),
        (one, other) => one.or(other).unwrap_or_default(),
    };
    if let Some((number, hash)) = good.last
        && number >= standing.next
    {
        standing.next = number + 1;
        standing.head = hash;
    }
    if good.standing.is_none() && beside.is_none() {
        // Nothing tells what was acknowledged: what is before the first letter that is left was sent or is gone.
        standing.acknowledged = good.numbers.first().map_or(0, |number| number - 1);
    }
    standing
}

/// A store of what is good in the one that was set aside.
fn rebuild(folder: &Path, why: String) -> Result<Sound, DiskError> {
    let path = folder.join(STORE);
    let failed = |cause| DiskError::Sled { doing: "repairing", cause };
    let mut carved = Carved::default();
    let damaged = folder.join(DAMAGED);
    carve_folder(&damaged, &mut carved).map_err(|cause| DiskError::File { file: damaged, cause })?;
    let mut good = Good { standing: carved.standing, ..Good::default() };
    for (number, signed) in &carved.letters {
        good.add(*number, signed);
    }
    let beside = read_beside(folder).as_deref().and_then(Standing::read);
    let standing = stand(&good, beside);
    good.standing = Some(standing);
    good.numbers = good.numbers.split_off(&(standing.acknowledged + 1));
    // Built under another name, so that a half-built store is never taken for a whole one.
    let building = folder.join("building");
    remove(&building).map_err(|cause| DiskError::File { file: building.clone(), cause })?;
    {
        let store = open(&building).map_err(failed)?;
        for (number, signed) in carved.letters.range(standing.acknowledged + 1..) {
            store.insert(letter_key(*number), frame_letter(*number, signed)).map_err(failed)?;
        }
        // Any record since was the intended one's, or cannot be told from it.
        if let Some((number, encoded)) = carved.intent.filter(|(number, _)| *number == standing.next) {
            store.insert(INTENT_KEY, frame_intent(number, &encoded)).map_err(failed)?;
        }
        store.insert(STANDING_KEY, standing.frame()).map_err(failed)?;
        store.flush().map_err(failed)?;
    }
    fs::rename(&building, &path).map_err(|cause| DiskError::File { file: path.clone(), cause })?;
    Ok(Sound { disk: SledDisk::new(open(&path).map_err(failed)?, folder), damage: Some(why), good })
}

/// Finds every good frame in the raw files of a store.
fn carve_folder(folder: &Path, carved: &mut Carved) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            carve_folder(&entry.path(), carved)?;
        } else {
            carve_file(File::open(entry.path())?, carved)?;
        }
    }
    Ok(())
}

fn carve_file(file: File, carved: &mut Carved) -> io::Result<()> {
    let overlap = HEADER + LETTER_MAX;
    let mut file = file;
    let mut piece = Vec::new();
    loop {
        let before = piece.len();
        // A sector that cannot be read ends this file; what came before it counts.
        let ended = match (&mut file).take(PIECE as u64).read_to_end(&mut piece) {
            Ok(_) => piece.len() == before,
            Err(_) => true,
        };
        carve(&piece, carved);
        if ended {
            return Ok(());
        }
        piece.drain(..piece.len().saturating_sub(overlap));
    }
}

fn carve(bytes: &[u8], carved: &mut Carved) {
    for at in 0..bytes.len().saturating_sub(4) {
        if bytes[at] != b'D' {
            continue;
        }
        if let Some((number, signed)) = read_letter(&bytes[at..]) {
            carved.letters.insert(number, signed.to_vec());
        } else if let Some((number, encoded)) = read_intent(&bytes[at..]) {
            if carved.intent.as_ref().is_none_or(|(known, _)| *known <= number) {
                carved.intent = Some((number, encoded.to_vec()));
            }
        } else if let Some(found) = bytes.get(at..at + standing::FRAME).and_then(Standing::read) {
            carved.standing = Some(carved.standing.map_or(found, |known| known.later(found)));
        }
    }
}

fn set_aside(folder: &Path) -> io::Result<()> {
    let damaged = folder.join(DAMAGED);
    remove(&damaged)?;
    fs::rename(folder.join(STORE), damaged)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause),
        _ => Ok(()),
    }
}

fn is_environment(cause: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(cause.kind(), NotADirectory | PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | StorageFull)
}
