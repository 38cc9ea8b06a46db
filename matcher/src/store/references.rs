//! Persons and their references: rows are found by an HMAC of the IIN, and hold nothing readable without the key.

use didar_protocol::id::Iin;
use didar_protocol::message::Template;
use rusqlite::{OptionalExtension as _, params};
use zeroize::Zeroizing;

use super::sqlite::{StoreError, Work, from_sql, to_sql};
use super::vault::{self, Key, Vault, VaultError};
use crate::reference::{Reference, Source};

/// How a person's rows are found: an HMAC of the IIN.
pub type SubjectTag = [u8; 32];

/// Somebody of whom the centre holds something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Where the rows are.
    pub tag: SubjectTag,
    /// The person's name in the ledger; nobody can compute it once the person's key is destroyed.
    pub person: [u8; 32],
}

/// What a destruction removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destroyed {
    /// Whose: the name in the ledger.
    pub person: [u8; 32],
    /// How many references.
    pub references: usize,
}

impl Work<'_> {
    /// How this person's rows are found.
    pub fn tag(&self, subject: &Iin) -> SubjectTag {
        self.vault.tag(subject)
    }

    /// The person, if the centre holds anything of them.
    ///
    /// # Errors
    /// When the database refuses or the store's key is another one.
    pub fn subject(&self, iin: &Iin) -> Result<Option<Subject>, StoreError> {
        let tag = self.tag(iin);
        let wrapped: Option<Vec<u8>> =
            self.tx.query_row("SELECT ledger_key FROM subjects WHERE tag = ?1", [tag], |row| row.get(0)).optional()?;
        let Some(wrapped) = wrapped else {
            return Ok(None);
        };
        let key = self.vault.unwrap(&wrapped, &tag)?;
        Ok(Some(Subject { tag, person: vault::person_name(&key, iin) }))
    }

    /// The person, registered now if need be.
    ///
    /// # Errors
    /// As [`Self::subject`].
    pub fn make_subject(&self, iin: &Iin, now_ms: u64) -> Result<Subject, StoreError> {
        if let Some(subject) = self.subject(iin)? {
            return Ok(subject);
        }
        let tag = self.tag(iin);
        let key = Vault::fresh()?;
        let wrapped = self.vault.wrap(&key, &tag)?;
        self.tx.execute("INSERT INTO subjects VALUES (?1, ?2, ?3)", params![tag, wrapped, to_sql(now_ms)])?;
        Ok(Subject { tag, person: vault::person_name(&key, iin) })
    }

    /// Keeps a reference; one of the same source is destroyed and followed by the next version.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn put_reference(
        &self,
        subject: &SubjectTag,
        source: Source,
        reference: &Reference,
        made_ms: u64,
        expires_ms: u64,
    ) -> Result<u64, StoreError> {
        let last: Option<i64> = self
            .tx
            .query_row(
                "SELECT version FROM portraits WHERE subject = ?1 AND source = ?2",
                params![subject, source as u8],
                |row| row.get(0),
            )
            .optional()?;
        let version = from_sql(last.unwrap_or(0)) + 1;
        let label = label(subject, source, version);
        let key = Vault::fresh()?;
        let wrapped = self.vault.wrap(&key, &label)?;
        let body = vault::encrypt(&key, &to_bytes(reference), &label)?;
        self.forget(subject, source)?;
        self.tx.execute(
            "INSERT INTO portraits VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                subject,
                source as u8,
                to_sql(version),
                wrapped,
                body,
                reference.model,
                to_sql(made_ms),
                to_sql(expires_ms)
            ],
        )?;
        Ok(version)
    }

    /// The person's reference of this source that is still in force.
    ///
    /// # Errors
    /// When the database refuses or the store's key is another one.
    pub fn reference(
        &self,
        subject: &SubjectTag,
        source: Source,
        now_ms: u64,
    ) -> Result<Option<Reference>, StoreError> {
        let row = self
            .tx
            .query_row(
                "SELECT version, row_key, body, model FROM portraits
                 WHERE subject = ?1 AND source = ?2 AND expires_ms > ?3",
                params![subject, source as u8, to_sql(now_ms)],
                |row| {
                    let wrapped: Vec<u8> = row.get(1)?;
                    let body: Vec<u8> = row.get(2)?;
                    Ok((from_sql(row.get(0)?), wrapped, body, row.get(3)?))
                },
            )
            .optional()?;
        let Some((version, wrapped, body, model)) = row else {
            return Ok(None);
        };
        let label = label(subject, source, version);
        let key: Key = self.vault.unwrap(&wrapped, &label)?;
        let plain = vault::decrypt(&key, &body, &label)?;
        let (template, picture) = from_bytes(&plain).ok_or(StoreError::Damaged("reference"))?;
        Ok(Some(Reference { template, picture, model }))
    }

    /// Whether there is a reference of this source that is still in force.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn has_reference(&self, subject: &SubjectTag, source: Source, now_ms: u64) -> Result<bool, StoreError> {
        Ok(self
            .tx
            .prepare_cached("SELECT 1 FROM portraits WHERE subject = ?1 AND source = ?2 AND expires_ms > ?3")?
            .exists(params![subject, source as u8, to_sql(now_ms)])?)
    }

    /// Destroys everything biometric of a person, with the key that names them in the ledger; consents given until
    /// now no longer count. `None` where the centre holds nothing.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn withdraw(&self, iin: &Iin, now_ms: u64) -> Result<Option<Destroyed>, StoreError> {
        let tag = self.tag(iin);
        self.tx.execute(
            "INSERT INTO withdrawals VALUES (?1, ?2) ON CONFLICT (tag) DO UPDATE SET at_ms = max(at_ms, ?2)",
            params![tag, to_sql(now_ms)],
        )?;
        let Some(subject) = self.subject(iin)? else {
            return Ok(None);
        };
        let references = self.forget(&tag, Source::Document)? + self.forget(&tag, Source::Live)?;
        self.tx.execute("DELETE FROM failures WHERE scope = 0 AND who = ?1", [tag])?;
        self.tx.execute("UPDATE subjects SET ledger_key = zeroblob(length(ledger_key)) WHERE tag = ?1", [tag])?;
        self.tx.execute("DELETE FROM subjects WHERE tag = ?1", [tag])?;
        Ok(Some(Destroyed { person: subject.person, references }))
    }

    /// Destroys the reference that was made of a live face; says how many there were.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn forget_live(&self, subject: &SubjectTag) -> Result<usize, StoreError> {
        self.forget(subject, Source::Live)
    }

    /// When the person last withdrew their consent, Unix milliseconds.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn withdrawn_ms(&self, tag: &SubjectTag) -> Result<Option<u64>, StoreError> {
        let row = self.tx.query_row("SELECT at_ms FROM withdrawals WHERE tag = ?1", [tag], |row| row.get(0));
        Ok(row.optional()?.map(from_sql))
    }

    /// Destroys the references whose time is over; says of whom, by their rows' names, and how many.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn destroy_expired(&self, now_ms: u64) -> Result<Vec<(SubjectTag, usize)>, StoreError> {
        let mut statement =
            self.tx.prepare_cached("SELECT subject, source FROM portraits WHERE expires_ms <= ?1 LIMIT 100")?;
        let rows: Vec<(SubjectTag, u8)> =
            statement.query_map([to_sql(now_ms)], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        let mut destroyed = Vec::new();
        for (tag, source) in rows {
            let source = if source == Source::Document as u8 { Source::Document } else { Source::Live };
            destroyed.push((tag, self.forget(&tag, source)?));
        }
        Ok(destroyed)
    }

    /// The key is overwritten before the row goes: `secure_delete` covers pages, this covers the row in any case.
    fn forget(&self, subject: &SubjectTag, source: Source) -> Result<usize, StoreError> {
        let of = params![subject, source as u8];
        self.tx.execute(
            "UPDATE portraits SET row_key = zeroblob(length(row_key)), body = zeroblob(length(body))
             WHERE subject = ?1 AND source = ?2",
            of,
        )?;
        Ok(self.tx.execute("DELETE FROM portraits WHERE subject = ?1 AND source = ?2", of)?)
    }
}

/// Binds a body to its row: no row's content passes for another's.
fn label(subject: &SubjectTag, source: Source, version: u64) -> Vec<u8> {
    [&subject[..], &[source as u8], &version.to_be_bytes()].concat()
}

/// scale (f32 bits, big endian), count (u16), numbers, picture.
fn to_bytes(reference: &Reference) -> Zeroizing<Vec<u8>> {
    let Reference { template, picture, .. } = reference;
    let count = u16::try_from(template.values().len()).expect("a template has at most 1024 numbers");
    let mut bytes = Zeroizing::new(Vec::with_capacity(6 + usize::from(count) + picture.len()));
    bytes.extend(template.scale().to_bits().to_be_bytes());
    bytes.extend(count.to_be_bytes());
    bytes.extend(template.values().iter().map(|value| value.cast_unsigned()));
    bytes.extend(&picture[..]);
    bytes
}

fn from_bytes(bytes: &[u8]) -> Option<(Template, Zeroizing<Vec<u8>>)> {
    let (scale, rest) = bytes.split_first_chunk::<4>()?;
    let (count, rest) = rest.split_first_chunk::<2>()?;
    let (values, picture) = rest.split_at_checked(u16::from_be_bytes(*count).into())?;
    let scale = f32::from_bits(u32::from_be_bytes(*scale));
    let values = values.iter().map(|value| value.cast_signed()).collect();
    Some((Template::new(scale, values), Zeroizing::new(picture.to_vec())))
}

impl From<getrandom::Error> for VaultError {
    fn from(_: getrandom::Error) -> Self {
        Self::Random
    }
}
