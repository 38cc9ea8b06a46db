//! The outbox across power cuts: nothing kept is lost, the chain never breaks, and loss is counted.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use didar_agent::edge::{Missed, Outbox};
use didar_agent::outbox::DiskOutbox;
use didar_protocol::id::{DeviceId, Hash, RequestId, sha256};
use didar_protocol::message::{AuditEntry, AuditRecord, Kind, Message, Outcome};
use didar_protocol::reason::Reason;
use didar_protocol::seal::{Signed, SoftwareSigner};
use rcgen::{CertificateParams, KeyPair};

/// A device with a key; opens its outbox in any folder.
struct Device {
    signer: Arc<SoftwareSigner>,
}

impl Device {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::default().self_signed(&key).unwrap();
        let signer = SoftwareSigner::from_pkcs8_pem(&key.serialize_pem(), certificate.der()).unwrap();
        Self { signer: Arc::new(signer) }
    }

    fn id() -> DeviceId {
        "kiosk-7".parse().unwrap()
    }

    fn open(&self, folder: &Path) -> DiskOutbox {
        self.open_for(folder, 1000)
    }

    fn open_for(&self, folder: &Path, capacity: u64) -> DiskOutbox {
        DiskOutbox::open(folder, Self::id(), self.signer.clone(), capacity).unwrap()
    }

    /// Reads every record, and checks signature, number and chain on the way; gaps only where `gaps` allows.
    fn records(&self, outbox: &DiskOutbox, gaps: Gaps) -> Vec<AuditRecord> {
        let mut before: Option<(u64, Hash)> = None;
        let mut records = Vec::new();
        for (number, bytes) in outbox.unacknowledged(0, usize::MAX).unwrap() {
            let signed = Signed::parse(Kind::AuditRecord, &bytes).unwrap();
            let record = AuditRecord::decode(signed.verify(&self.signer.verifying_key()).unwrap()).unwrap();
            assert_eq!(record.number, number);
            if let Some((last, hash)) = before {
                assert!(number > last);
                if number == last + 1 {
                    assert_eq!(record.previous, hash, "record {number} does not follow {last}");
                } else {
                    assert_eq!(gaps, Gaps::Allowed, "records between {last} and {number} are missing");
                }
            }
            before = Some((number, sha256(&bytes)));
            records.push(record);
        }
        if let Some(last) = before {
            assert_eq!(outbox.head(), (last.0 + 1, last.1));
        }
        records
    }

    fn numbers(&self, outbox: &DiskOutbox, gaps: Gaps) -> Vec<u64> {
        self.records(outbox, gaps).iter().map(|record| record.number).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gaps {
    Allowed,
    None,
}

fn started() -> AuditEntry {
    AuditEntry::Started { version: "0.1.0".to_owned(), boot: [7; 16] }
}

/// A receipt for everything up to this record; nothing for one that has its receipt already.
fn acknowledge(outbox: &mut DiskOutbox, number: u64) {
    if let Some((_, bytes)) = outbox.unacknowledged(number, 1).unwrap().first().filter(|letter| letter.0 == number) {
        assert!(outbox.acknowledge(number, &sha256(bytes)).unwrap());
    }
}

fn append(outbox: &mut DiskOutbox, count: u64) {
    for _ in 0..count {
        outbox.append(&started()).unwrap();
    }
}

fn lost(records: &[AuditRecord]) -> u64 {
    records
        .iter()
        .map(|record| match record.entry {
            AuditEntry::Lost { count } => count,
            AuditEntry::Attempt { .. } | AuditEntry::Gone { .. } | AuditEntry::Started { .. } => 0,
        })
        .sum()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Random numbers from a seed (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

#[test]
fn records_outlive_a_restart_byte_by_byte() {
    let (device, folder) = (Device::new(), tempfile::tempdir().unwrap());
    let mut outbox = device.open(folder.path());
    append(&mut outbox, 5);
    acknowledge(&mut outbox, 2);
    let before = (outbox.unacknowledged(0, 99).unwrap(), outbox.head());
    drop(outbox);
    let mut outbox = device.open(folder.path());
    assert_eq!((outbox.unacknowledged(0, 99).unwrap(), outbox.head()), before);
    assert_eq!(outbox.append(&started()).unwrap(), 6);
    assert_eq!(device.numbers(&outbox, Gaps::None), [3, 4, 5, 6]);
    assert_eq!(outbox.unacknowledged(4, 2).unwrap().iter().map(|letter| letter.0).collect::<Vec<_>>(), [4, 5]);
    assert_eq!(outbox.recovery(), None);
}

#[test]
fn a_store_that_is_mended_goes_on_where_it_was() {
    let (device, folder) = (Device::new(), tempfile::tempdir().unwrap());
    let mut outbox = device.open(folder.path());
    append(&mut outbox, 3);
    acknowledge(&mut outbox, 1);
    for _ in 0..2 {
        outbox.mend().unwrap();
        append(&mut outbox, 1);
    }
    assert_eq!((device.numbers(&outbox, Gaps::None), outbox.held()), (vec![2, 3, 4, 5], 4));
    drop(outbox);
    let outbox = device.open(folder.path());
    assert_eq!((device.numbers(&outbox, Gaps::None), outbox.recovery()), (vec![2, 3, 4, 5], None));
}

/// A request's record with this outcome.
fn ended(outcome: Outcome) -> AuditEntry {
    AuditEntry::Attempt {
        attempt: None,
        request: RequestId::from_bytes([3; 16]),
        initiator: "bank".parse().unwrap(),
        outcome,
        reason: Reason::Stopping,
        started_ms: 1,
        ended_ms: 2,
        policy_version: 0,
    }
}

#[test]
fn a_request_that_a_power_cut_ended_has_its_record_once() {
    let (device, folder) = (Device::new(), tempfile::tempdir().unwrap());
    let mut outbox = device.open(folder.path());
    append(&mut outbox, 1);
    outbox.intend(&ended(Outcome::Cancelled)).unwrap();
    outbox.intend(&ended(Outcome::Fault)).unwrap();
    // A start's record is no attempt's: the intent stays.
    append(&mut outbox, 1);
    drop(outbox);
    for _ in 0..2 {
        let entries: Vec<_> =
            device.records(&device.open(folder.path()), Gaps::None).into_iter().map(|record| record.entry).collect();
        assert_eq!(entries, [started(), started(), ended(Outcome::Fault)]);
    }
    let mut outbox = device.open(folder.path());
    outbox.intend(&ended(Outcome::Fault)).unwrap();
    outbox.append(&ended(Outcome::Grant)).unwrap();
    drop(outbox);
    assert_eq!(device.records(&device.open(folder.path()), Gaps::None).len(), 4);
}

#[test]
fn the_chain_goes_on_when_everything_was_acknowledged() {
    let (device, folder) = (Device::new(), tempfile::tempdir().unwrap());
    let mut outbox = device.open(folder.path());
    append(&mut outbox, 3);
    let (_, head) = outbox.head();
    acknowledge(&mut outbox, 3);
    drop(outbox);
    let mut outbox = device.open(folder.path());
    assert_eq!(outbox.held(), 0);
    outbox.append(&started()).unwrap();
    let records = device.records(&outbox, Gaps::None);
    assert_eq!((records[0].number, records[0].previous), (4, head));
}

#[test]
fn only_the_chains_own_records_can_be_acknowledged() {
    let (device, folder) = (Device::new(), tempfile::tempdir().unwrap());
    let mut outbox = device.open(folder.path());
    append(&mut outbox, 3);
    acknowledge(&mut outbox, 2);
    assert!(outbox.acknowledge(1, &[9; 32]).unwrap(), "an older receipt");
    for number in [3, 4, u64::MAX] {
        assert!(!outbox.acknowledge(number, &[9; 32]).unwrap(), "{number}: another disk's, or of none yet");
    }
    assert_eq!(outbox.held(), 1);
    acknowledge(&mut outbox, 3);
    assert_eq!(outbox.held(), 0);
    assert_eq!(outbox.append(&started()).unwrap(), 4);
    assert_eq!(outbox.held(), 1);
}

#[test]
fn what_is_missed_and_lost_is_told_in_a_full_outbox_too_and_nothing_else_is() {
    let (device, folder) = (Device::new(), tempfile::tempdir().unwrap());
    let mut outbox = device.open_for(folder.path(), 6);
    append(&mut outbox, 6);
    acknowledge(&mut outbox, 1);
    drop(outbox);
    let broken = tempfile::tempdir().unwrap();
    copy(folder.path(), broken.path());
    let store = sled::open(broken.path().join("letters")).unwrap();
    for number in 3..=4_u64 {
        assert!(store.remove([b"L".as_slice(), &number.to_be_bytes()].concat()).unwrap().is_some());
    }
    drop(store);
    // The loss itself is record 7.
    let mut outbox = device.open_for(broken.path(), 6);
    append(&mut outbox, 3);
    assert_eq!((outbox.held(), outbox.untold()), (6, 1));
    for (number, missed) in [
        (1, Missed::Other),
        (2, Missed::Here),
        (3, Missed::Told(10)),
        (4, Missed::Told(11)),
        (9, Missed::Here),
        (12, Missed::Other),
        (u64::MAX, Missed::Other),
    ] {
        assert_eq!(outbox.tell_gone(number).unwrap(), missed, "{number}");
    }
    let told: Vec<_> = device.records(&outbox, Gaps::Allowed).into_iter().map(|record| record.entry).collect();
    assert_eq!(told[6..], [AuditEntry::Gone { first: 3, last: 4 }, AuditEntry::Gone { first: 4, last: 4 }]);
    assert_eq!((outbox.held(), outbox.untold()), (8, 1));
}

#[test]
fn a_full_outbox_keeps_the_oldest_and_tells_the_loss_once() {
    let (device, folder) = (Device::new(), tempfile::tempdir().unwrap());
    let mut outbox = device.open_for(folder.path(), 3);
    append(&mut outbox, 5);
    assert_eq!((outbox.held(), outbox.untold()), (3, 2));
    drop(outbox);
    let mut outbox = device.open_for(folder.path(), 3);
    assert_eq!((outbox.held(), outbox.untold()), (3, 2));
    acknowledge(&mut outbox, 2);
    outbox.append(&started()).unwrap();
    let records = device.records(&outbox, Gaps::None);
    assert_eq!(records.iter().map(|record| record.number).collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!(records[1].entry, AuditEntry::Lost { count: 2 });
    assert_eq!((lost(&records), outbox.untold()), (2, 0));
}

#[test]
fn an_attempt_that_was_begun_has_its_place_in_a_full_outbox() {
    let (device, folder) = (Device::new(), tempfile::tempdir().unwrap());
    let mut outbox = device.open_for(folder.path(), 2);
    append(&mut outbox, 1);
    assert!(outbox.has_room());
    outbox.intend(&ended(Outcome::Fault)).unwrap();
    append(&mut outbox, 1);
    assert!(!outbox.has_room());
    outbox.append(&ended(Outcome::Fault)).unwrap();
    assert_eq!((outbox.held(), outbox.untold()), (3, 0));
    // One that was not: lost and counted, as every other record is.
    outbox.append(&ended(Outcome::Fault)).unwrap();
    assert_eq!((outbox.held(), outbox.untold()), (3, 1));
}

#[test]
fn a_power_cut_between_any_two_operations_loses_nothing_that_was_kept() {
    let device = Device::new();
    for seed in 0..4 {
        let folder = tempfile::tempdir().unwrap();
        let mut random = Random(seed);
        let mut outbox = device.open_for(folder.path(), 6);
        let (mut connects, mut time) = (0, 0);
        for step in 0..24 {
            match random.below(8) {
                0..=3 => append(&mut outbox, 1),
                4 | 5 => {
                    let number = outbox.head().0.saturating_sub(1 + random.below(4));
                    acknowledge(&mut outbox, number);
                }
                6 => connects = outbox.memory().connected().unwrap(),
                _ => {
                    time += 60_000;
                    outbox.keep_signed_time(time).unwrap();
                }
            }
            let cut = tempfile::tempdir().unwrap();
            copy(folder.path(), cut.path());
            let after = device.open_for(cut.path(), 6);
            let context = format!("seed {seed}, step {step}");
            assert_eq!(after.head(), outbox.head(), "{context}");
            assert_eq!(after.recovery(), None, "{context}");
            assert_eq!((after.memory().connects(), after.signed_time()), (connects, time), "{context}");
            assert_eq!(after.untold(), outbox.untold(), "{context}");
            let (all, kept) = (device.numbers(&after, Gaps::None), device.numbers(&outbox, Gaps::None));
            // An acknowledgement may be forgotten: then the letter is sent again, and dropped as a repeat.
            assert!(all.ends_with(&kept), "{context}: {all:?} does not end with {kept:?}");
        }
    }
}

#[test]
fn a_store_that_was_closed_a_moment_ago_is_waited_for() {
    let (device, folder) = (Device::new(), tempfile::tempdir().unwrap());
    append(&mut device.open(folder.path()), 3);
    // The store's own threads may hold its lock a little longer than its handle: so does this one.
    let file = fs::File::open(folder.path().join("letters/db")).unwrap();
    file.lock().unwrap();
    let (open, opened) = std::sync::mpsc::channel::<()>();
    let holder = std::thread::spawn(move || {
        let early = opened.recv_timeout(std::time::Duration::from_millis(200)).is_ok();
        drop(file);
        early
    });
    let outbox = device.open(folder.path());
    let _ = open.send(());
    assert!(!holder.join().unwrap(), "opened beside another's lock");
    assert_eq!(device.numbers(&outbox, Gaps::None).len(), 3);
}

#[test]
fn any_damage_is_survived_and_what_is_lost_is_counted() {
    let (device, folder) = (Device::new(), tempfile::tempdir().unwrap());
    let mut outbox = device.open(folder.path());
    append(&mut outbox, 40);
    acknowledge(&mut outbox, 10);
    append(&mut outbox, 1);
    let (next, head) = outbox.head();
    drop(outbox);
    let mut damages = 0;
    for seed in 0..30 {
        let broken = tempfile::tempdir().unwrap();
        copy(folder.path(), broken.path());
        damage(&broken.path().join("letters/db"), &mut Random(seed));
        let outbox = device.open(broken.path());
        let records = device.records(&outbox, Gaps::Allowed);
        damages += u32::from(repaired(&outbox, &records, (next, head), seed) > 0);
        drop(outbox);
        let again = device.open(broken.path());
        assert_eq!(again.recovery(), None, "seed {seed}: a loss is counted once");
        assert_eq!(device.records(&again, Gaps::Allowed), records, "seed {seed}");
    }
    assert!(damages > 3, "the damage must hurt sometimes: {damages}");
}

#[test]
fn damage_in_an_open_store_is_mended_without_a_restart() {
    let (device, folder) = (Device::new(), tempfile::tempdir().unwrap());
    let mut outbox = device.open(folder.path());
    append(&mut outbox, 40);
    acknowledge(&mut outbox, 10);
    drop(outbox);
    let mut damages = 0;
    for seed in 0..30 {
        let broken = tempfile::tempdir().unwrap();
        copy(folder.path(), broken.path());
        let mut outbox = device.open(broken.path());
        append(&mut outbox, 1);
        let head = outbox.head();
        damage(&broken.path().join("letters/db"), &mut Random(seed));
        outbox.mend().unwrap();
        let records = device.records(&outbox, Gaps::Allowed);
        damages += u32::from(repaired(&outbox, &records, head, seed) > 0);
        assert_eq!(outbox.held(), records.len() as u64, "seed {seed}");
        outbox.mend().unwrap();
        assert_eq!(device.records(&outbox, Gaps::Allowed), records, "seed {seed}: a loss is counted once");
        append(&mut outbox, 1);
        drop(outbox);
        let again = device.open(broken.path());
        assert_eq!(again.recovery(), None, "seed {seed}");
        assert_eq!(device.records(&again, Gaps::Allowed)[..records.len()], records, "seed {seed}");
        assert_eq!(again.held(), records.len() as u64 + 1, "seed {seed}");
    }
    assert!(damages > 3, "the damage must hurt sometimes: {damages}");
}

/// Of a chain that stood at `next` and `head` before the damage, with receipts up to 10: each record is here or told as
/// lost, and the chain goes on. Says how many are lost.
fn repaired(outbox: &DiskOutbox, records: &[AuditRecord], (next, head): (u64, Hash), seed: u64) -> u64 {
    let told = lost(records);
    let saved = records.iter().filter(|record| (11..next).contains(&record.number)).count() as u64;
    assert_eq!(saved + told, next - 11, "seed {seed}: {saved} saved, {told} told as lost");
    if told > 0 {
        assert_eq!(outbox.recovery().unwrap().lost, told, "seed {seed}");
        assert_eq!(records.last().unwrap().previous, head, "seed {seed}: the chain must go on from its head");
        assert_eq!(outbox.head().0, next + 1, "seed {seed}");
    } else {
        assert_eq!(outbox.head(), (next, head), "seed {seed}");
    }
    told
}

#[test]
fn what_was_intended_outlives_the_repair_of_its_store_and_is_never_kept_twice() {
    let (device, folder) = (Device::new(), tempfile::tempdir().unwrap());
    let mut outbox = device.open(folder.path());
    append(&mut outbox, 20);
    outbox.intend(&ended(Outcome::Fault)).unwrap();
    let begun = tempfile::tempdir().unwrap();
    copy(folder.path(), begun.path());
    outbox.append(&ended(Outcome::Grant)).unwrap();
    drop(outbox);
    let attempts = |from: &Path, spoil: &dyn Fn(&Path)| -> Vec<AuditEntry> {
        let broken = tempfile::tempdir().unwrap();
        copy(from, broken.path());
        spoil(&broken.path().join("letters"));
        let records = device.records(&device.open(broken.path()), Gaps::Allowed);
        records.into_iter().map(|record| record.entry).filter(|e| matches!(e, AuditEntry::Attempt { .. })).collect()
    };
    // `sled` cannot open this: the letters are searched for in its raw files.
    let unreadable = |letters: &Path| fs::write(letters.join("conf"), b"nothing that a store wrote").unwrap();
    assert_eq!(attempts(begun.path(), &unreadable), [ended(Outcome::Fault)]);
    assert_eq!(attempts(folder.path(), &unreadable), [ended(Outcome::Grant)]);
    for seed in 0..30 {
        let damaged = |letters: &Path| damage(&letters.join("db"), &mut Random(seed));
        let [begun, done] = [begun.path(), folder.path()].map(|from| attempts(from, &damaged));
        assert!(begun.is_empty() || begun == [ended(Outcome::Fault)], "seed {seed}: {begun:?}");
        assert!(done.is_empty() || done == [ended(Outcome::Grant)], "seed {seed}: {done:?}");
    }
}

/// Cuts the file's end off, overwrites a stretch of it, or empties it.
fn damage(file: &Path, random: &mut Random) {
    let mut bytes = fs::read(file).unwrap();
    // The file's end is preallocated; the letters lie in its used part.
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64;
    match random.below(5) {
        0 => bytes.truncate(random.below(used) as usize),
        1 => bytes.clear(),
        _ => {
            let at = random.below(used) as usize;
            let length = 1 + random.below(3000) as usize;
            for byte in bytes.iter_mut().skip(at).take(length) {
                *byte = random.below(256) as u8;
            }
        }
    }
    fs::write(file, bytes).unwrap();
}

#[test]
fn the_chain_goes_on_without_its_store() {
    let (device, folder) = (Device::new(), tempfile::tempdir().unwrap());
    let mut outbox = device.open(folder.path());
    append(&mut outbox, 4);
    outbox.memory().connected().unwrap();
    let (_, head) = outbox.head();
    drop(outbox);
    fs::remove_dir_all(folder.path().join("letters")).unwrap();
    let outbox = device.open(folder.path());
    let records = device.records(&outbox, Gaps::None);
    assert_eq!((records.len(), records[0].number, records[0].previous), (1, 5, head));
    assert_eq!(records[0].entry, AuditEntry::Lost { count: 4 });
    assert_eq!(outbox.memory().connects(), 1);
}

#[test]
fn a_damaged_standing_beside_the_store_is_mended_from_it() {
    let (device, folder) = (Device::new(), tempfile::tempdir().unwrap());
    let mut outbox = device.open(folder.path());
    append(&mut outbox, 2);
    drop(outbox);
    fs::write(folder.path().join("standing"), b"DST1 and nonsense").unwrap();
    let outbox = device.open(folder.path());
    assert_eq!(device.numbers(&outbox, Gaps::None), [1, 2]);
    assert_eq!(outbox.recovery(), None);
}

#[test]
fn a_second_agent_and_a_wrong_place_are_named_errors() {
    let (device, folder) = (Device::new(), tempfile::tempdir().unwrap());
    let first = device.open(folder.path());
    let open =
        |folder: &Path| DiskOutbox::open(folder, Device::id(), device.signer.clone(), 9).err().unwrap().to_string();
    let text = open(folder.path());
    assert!(text.contains("in use by another didar-agent"), "{text}");
    drop(first);
    let file = folder.path().join("file");
    fs::write(&file, b"").unwrap();
    let text = open(&file);
    assert!(text.contains(file.to_str().unwrap()), "{text}");
}

#[test]
fn the_uplinks_memory_outlives_a_restart() {
    let (device, folder) = (Device::new(), tempfile::tempdir().unwrap());
    let outbox = device.open(folder.path());
    outbox.memory().keep_matcher_keys(b"signed").unwrap();
    outbox.memory().keep_matcher_keys(b"signed anew").unwrap();
    assert_eq!(outbox.memory().connected().unwrap(), 1);
    drop(outbox);
    let outbox = device.open(folder.path());
    assert_eq!(outbox.memory().matcher_keys().unwrap().unwrap(), b"signed anew");
    assert_eq!(outbox.memory().connected().unwrap(), 2);
    assert_eq!(outbox.memory().health().audit_next, 1);
}

#[test]
fn without_a_store_nothing_is_kept_and_nothing_counts() {
    let kiosk = Device::new();
    let mut outbox = DiskOutbox::nowhere(Device::id(), kiosk.signer.clone()).unwrap();
    let memory = outbox.memory();
    assert!(memory.connected().is_err());
    assert_eq!((memory.connects(), memory.health().audit_next), (0, 1));
    assert!(outbox.append(&started()).is_err());
}
