//! Challenges: open, spent by one attempt, or abandoned; with what a repeat needs.

use didar_protocol::id::{AttemptId, DeviceId, Hash, InitiatorId, RequestId};
use didar_protocol::message::{Outcome, Stage, VerdictOutcome};
use rusqlite::{OptionalExtension as _, Params, Row, params};

use super::references::Subject;
use super::sqlite::{StoreError, Work, from_sql, to_sql};

/// A challenge to be kept.
pub struct NewChallenge<'a> {
    /// The attempt.
    pub attempt: AttemptId,
    /// The device that asked.
    pub device: &'a DeviceId,
    /// The device's name of its request.
    pub request: RequestId,
    /// SHA-256 of the request's bytes.
    pub request_hash: Hash,
    /// On whose behalf.
    pub initiator: &'a InitiatorId,
    /// The initiator's own reference.
    pub reference: &'a str,
    /// Who is claimed.
    pub subject: Subject,
    /// Primary or subsequent.
    pub stage: Stage,
    /// The nonce.
    pub nonce: [u8; 32],
    /// The consent's beginning and end, Unix seconds.
    pub consent_s: (u64, u64),
    /// Now, Unix milliseconds.
    pub made_ms: u64,
    /// Its end, Unix milliseconds.
    pub expires_ms: u64,
    /// The signed challenge.
    pub bytes: &'a [u8],
}

/// What spent a challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spent {
    /// SHA-256 of the sealed attempt.
    pub body_hash: Hash,
    /// What was decided.
    pub outcome: VerdictOutcome,
    /// The signed verdict.
    pub verdict: Vec<u8>,
    /// Whether somebody waited for the verdict; not so where the kiosk had ended the attempt by itself.
    pub awaited: bool,
}

/// Where an audit record's outcome would stand: no record will ever tell it.
const NEVER_TOLD: u8 = u8::MAX;

/// How a challenge stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closing {
    /// Nobody has used it.
    Open,
    /// Spent by an attempt.
    Spent(Spent),
    /// Expired unused.
    Abandoned,
}

/// A kept challenge.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The attempt.
    pub attempt: AttemptId,
    /// The device that asked.
    pub device: DeviceId,
    /// The device's name of its request.
    pub request: RequestId,
    /// SHA-256 of the request's bytes.
    pub request_hash: Hash,
    /// On whose behalf.
    pub initiator: InitiatorId,
    /// The initiator's own reference.
    pub reference: String,
    /// Who is claimed.
    pub subject: Subject,
    /// Primary or subsequent.
    pub stage: Stage,
    /// The nonce.
    pub nonce: [u8; 32],
    /// The consent's beginning and end, Unix seconds.
    pub consent_s: (u64, u64),
    /// When it was made, Unix milliseconds.
    pub made_ms: u64,
    /// Its end, Unix milliseconds.
    pub expires_ms: u64,
    /// The signed challenge.
    pub bytes: Vec<u8>,
    /// How it stands.
    pub closing: Closing,
    /// The outcome that the kiosk's audit record told, once it came.
    pub shown: Option<Outcome>,
}

const COLUMNS: &str = "attempt, device, request, request_hash, initiator, reference, subject, person, stage, nonce, \
                       consent_given_s, consent_expires_s, made_ms, expires_ms, bytes, state, body_hash, outcome, \
                       verdict, shown, awaited";

impl Work<'_> {
    /// Keeps a new challenge.
    ///
    /// # Errors
    /// When the database refuses; a request's second challenge is refused by the table itself.
    pub fn add_challenge(&self, new: &NewChallenge<'_>) -> Result<(), StoreError> {
        self.tx.execute(
            "INSERT INTO challenges (attempt, device, request, request_hash, initiator, reference, subject, person,
                stage, nonce, consent_given_s, consent_expires_s, made_ms, expires_ms, bytes, state)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, 0)",
            params![
                new.attempt.as_bytes(),
                new.device.as_str(),
                new.request.as_bytes(),
                new.request_hash,
                new.initiator.as_str(),
                new.reference,
                new.subject.tag,
                new.subject.person,
                new.stage as u8,
                new.nonce,
                to_sql(new.consent_s.0),
                to_sql(new.consent_s.1),
                to_sql(new.made_ms),
                to_sql(new.expires_ms),
                new.bytes,
            ],
        )?;
        Ok(())
    }

    /// The challenge of this attempt.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn challenge(&self, attempt: &AttemptId) -> Result<Option<Issued>, StoreError> {
        let query = format!("SELECT {COLUMNS} FROM challenges WHERE attempt = ?1");
        let row = self.tx.prepare_cached(&query)?.query_row([attempt.as_bytes()], |row| Ok(read(row))).optional()?;
        row.transpose()
    }

    /// The challenge that this request got.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn challenge_of_request(&self, device: &DeviceId, request_hash: &Hash) -> Result<Option<Issued>, StoreError> {
        let query = format!("SELECT {COLUMNS} FROM challenges WHERE device = ?1 AND request_hash = ?2");
        let row = self
            .tx
            .prepare_cached(&query)?
            .query_row(params![device.as_str(), request_hash], |row| Ok(read(row)))
            .optional()?;
        row.transpose()
    }

    /// How many challenges of this device are open and in force.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn open_challenges(&self, device: &DeviceId, now_ms: u64) -> Result<u32, StoreError> {
        Ok(self.tx.query_row(
            "SELECT count(*) FROM challenges WHERE state = 0 AND device = ?1 AND expires_ms > ?2",
            params![device.as_str(), to_sql(now_ms)],
            |row| row.get(0),
        )?)
    }

    /// Spends an open challenge; false where it was not open.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn spend(&self, attempt: &AttemptId, spent: &Spent) -> Result<bool, StoreError> {
        let Spent { body_hash, outcome, verdict, awaited } = spent;
        let changed = self.tx.execute(
            "UPDATE challenges SET state = 1, body_hash = ?2, outcome = ?3, verdict = ?4, awaited = ?5
             WHERE attempt = ?1 AND state = 0",
            params![attempt.as_bytes(), body_hash, *outcome as u8, verdict, awaited],
        )?;
        Ok(changed == 1)
    }

    /// Closes an open challenge that expired.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn abandon(&self, attempt: &AttemptId) -> Result<(), StoreError> {
        self.tx.execute("UPDATE challenges SET state = 2 WHERE attempt = ?1 AND state = 0", [attempt.as_bytes()])?;
        Ok(())
    }

    /// Open challenges whose time is over, at most 100 at once.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn expired_challenges(&self, now_ms: u64) -> Result<Vec<Issued>, StoreError> {
        let query = format!("SELECT {COLUMNS} FROM challenges WHERE state = 0 AND expires_ms <= ?1 LIMIT 100");
        let mut statement = self.tx.prepare_cached(&query)?;
        let mut rows = statement.query([to_sql(now_ms)])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(read(row)?);
        }
        Ok(found)
    }

    /// Keeps what the kiosk says it showed; the first word counts.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn set_shown(&self, attempt: &AttemptId, outcome: Outcome) -> Result<(), StoreError> {
        self.tx.execute(
            "UPDATE challenges SET shown = ?2 WHERE attempt = ?1 AND shown IS NULL",
            params![attempt.as_bytes(), outcome as u8],
        )?;
        Ok(())
    }
}

impl Work<'_> {
    /// Decided attempts of this device that no record told of, though its records of later ones are here without a gap:
    /// a kiosk serves one person after the other. Each is found once.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn never_told(&self, device: &DeviceId) -> Result<Vec<Issued>, StoreError> {
        self.give_up(
            "device = ?1 AND made_ms < (SELECT max(made_ms) FROM challenges WHERE device = ?1 AND shown IS NOT NULL)",
            params![device.as_str()],
        )
    }

    /// Decided attempts from before `until_ms` that no record has told of. Each is found once.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn untold_since(&self, until_ms: u64) -> Result<Vec<Issued>, StoreError> {
        self.give_up("made_ms < ?1", params![to_sql(until_ms)])
    }

    fn give_up(&self, which: &str, of: impl Params) -> Result<Vec<Issued>, StoreError> {
        let query = format!("SELECT {COLUMNS} FROM challenges WHERE state = 1 AND shown IS NULL AND {which} LIMIT 100");
        let mut statement = self.tx.prepare_cached(&query)?;
        let mut rows = statement.query(of)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(read(row)?);
        }
        for challenge in &found {
            self.tx.execute(
                "UPDATE challenges SET shown = ?2 WHERE attempt = ?1",
                params![challenge.attempt.as_bytes(), NEVER_TOLD],
            )?;
        }
        Ok(found)
    }
}

fn read(row: &Row<'_>) -> Result<Issued, StoreError> {
    let damaged = || StoreError::Damaged("challenge");
    let text = |index: usize| row.get::<_, String>(index);
    let outcome = row.get::<_, Option<u8>>(17)?;
    let closing = match row.get::<_, u8>(15)? {
        0 => Closing::Open,
        1 => Closing::Spent(Spent {
            body_hash: row.get(16)?,
            outcome: outcome.and_then(|number| VerdictOutcome::try_from(number).ok()).ok_or_else(damaged)?,
            verdict: row.get(18)?,
            awaited: row.get(20)?,
        }),
        2 => Closing::Abandoned,
        _ => return Err(damaged()),
    };
    Ok(Issued {
        attempt: AttemptId::from_bytes(row.get(0)?),
        device: text(1)?.parse().map_err(|_| damaged())?,
        request: RequestId::from_bytes(row.get(2)?),
        request_hash: row.get(3)?,
        initiator: text(4)?.parse().map_err(|_| damaged())?,
        reference: text(5)?,
        subject: Subject { tag: row.get(6)?, person: row.get(7)? },
        stage: Stage::try_from(row.get::<_, u8>(8)?).map_err(|_| damaged())?,
        nonce: row.get(9)?,
        consent_s: (from_sql(row.get(10)?), from_sql(row.get(11)?)),
        made_ms: from_sql(row.get(12)?),
        expires_ms: from_sql(row.get(13)?),
        bytes: row.get(14)?,
        closing,
        shown: row.get::<_, Option<u8>>(19)?.and_then(|number| Outcome::try_from(number).ok()),
    })
}
