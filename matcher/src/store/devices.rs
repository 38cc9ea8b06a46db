//! Devices, their certificates of all times, and the initiators that each may serve.

use didar_protocol::id::{DeviceId, Hash, InitiatorId};
use didar_protocol::seal::VerifyingKey;
use rusqlite::{OptionalExtension as _, params};

use super::sqlite::{StoreError, Work, from_sql, to_sql};
use crate::ca::Revocation;
use crate::pki::Certificate;

/// Silent devices found at once.
const SILENT_MAX: i64 = 100;

/// Whether a device is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum DeviceState {
    /// Served.
    Active = 0,
    /// Refused at once, for ever.
    Revoked = 1,
    /// Refused until an operator has looked: two machines have shown its identity.
    Quarantined = 2,
}

impl DeviceState {
    fn from_sql(number: i64) -> Self {
        match number {
            0 => Self::Active,
            2 => Self::Quarantined,
            // What nobody wrote is refused.
            _ => Self::Revoked,
        }
    }

    /// For lists and notes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Revoked => "revoked",
            Self::Quarantined => "quarantined",
        }
    }
}

/// A device, as one of its certificates shows it.
#[derive(Clone, Debug)]
pub struct Device {
    /// Its id.
    pub id: DeviceId,
    /// Whether it is served, under that certificate.
    pub state: DeviceState,
    /// The device itself is served: that certificate was revoked, and it has another one since.
    pub renewed: bool,
    /// The key of the certificate asked for.
    pub key: VerifyingKey,
    /// First second of that certificate, Unix seconds.
    pub not_before_s: u64,
    /// Last second of that certificate, Unix seconds.
    pub not_after_s: u64,
}

/// What a device's last state message said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The kernel's boot id; `None` before the first message.
    pub boot: Option<[u8; 16]>,
    /// Connections over its life.
    pub connects: u64,
    /// Whether it was connected.
    pub online: bool,
}

/// A device as the operator lists it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// Whether it is served.
    pub state: DeviceState,
    /// Whether it is connected.
    pub online: bool,
    /// Last second of its newest certificate, Unix seconds.
    pub not_after_s: u64,
    /// The initiators that it may serve, with spaces between.
    pub initiators: String,
}

impl Work<'_> {
    /// Registers a device by its certificate, or gives a registered one a further certificate; it becomes active,
    /// and serves these initiators and no others. A new certificate begins a new count of connections. One that was in
    /// quarantine loses its other certificates, so many: somebody else may hold their keys.
    ///
    /// # Errors
    /// When the database refuses, or the certificate was revoked.
    pub fn add_device(
        &self,
        id: &DeviceId,
        certificate: &Certificate,
        initiators: &[InitiatorId],
        now_ms: u64,
    ) -> Result<usize, StoreError> {
        let revoked = self
            .tx
            .prepare_cached("SELECT 1 FROM certificates WHERE thumbprint = ?1 AND revoked_ms IS NOT NULL")?
            .exists([certificate.thumbprint()])?;
        if revoked {
            return Err(StoreError::Revoked);
        }
        let lost = self.tx.execute(
            "UPDATE certificates SET revoked_ms = ?2 WHERE device = ?1 AND thumbprint <> ?3 AND revoked_ms IS NULL
             AND EXISTS (SELECT 1 FROM devices WHERE device = ?1 AND state = 2)",
            params![id.as_str(), to_sql(now_ms), certificate.thumbprint()],
        )?;
        self.tx.execute(
            "INSERT INTO devices (device, state, added_ms) VALUES (?1, 0, ?2)
             ON CONFLICT (device) DO UPDATE SET state = 0, boot = NULL, connects = 0, online = 0",
            params![id.as_str(), to_sql(now_ms)],
        )?;
        self.forget_boots(id)?;
        self.add_certificate(id, certificate)?;
        self.tx.execute("DELETE FROM device_initiators WHERE device = ?1", [id.as_str()])?;
        for initiator in initiators {
            self.tx.execute(
                "INSERT OR IGNORE INTO device_initiators VALUES (?1, ?2)",
                [id.as_str(), initiator.as_str()],
            )?;
        }
        Ok(lost)
    }

    /// Gives a registered device a further certificate; everything else of it stays.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn add_certificate(&self, id: &DeviceId, certificate: &Certificate) -> Result<(), StoreError> {
        self.tx.execute(
            "INSERT INTO certificates VALUES (?1, ?2, ?3, ?4, ?5, ?6, NULL) ON CONFLICT (thumbprint) DO NOTHING",
            params![
                certificate.thumbprint(),
                id.as_str(),
                certificate.key().to_sec1_point(false).as_bytes(),
                to_sql(certificate.not_before_s()),
                to_sql(certificate.not_after_s()),
                certificate.serial(),
            ],
        )?;
        Ok(())
    }

    /// The device that holds the certificate with this thumbprint.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn device_by_certificate(&self, thumbprint: &Hash) -> Result<Option<Device>, StoreError> {
        let row = self
            .tx
            .query_row(
                "SELECT d.device, CASE WHEN c.revoked_ms IS NULL THEN d.state ELSE 1 END, c.public_key, c.not_before_s, c.not_after_s,
                        c.revoked_ms IS NOT NULL AND d.state = 0
                 FROM certificates c JOIN devices d USING (device) WHERE c.thumbprint = ?1",
                [thumbprint],
                |row| {
                    let id: String = row.get(0)?;
                    let state: i64 = row.get(1)?;
                    let key: Vec<u8> = row.get(2)?;
                    Ok((id, state, key, row.get(3)?, row.get(4)?, row.get(5)?))
                },
            )
            .optional()?;
        let Some((id, state, key, not_before, not_after, renewed)) = row else {
            return Ok(None);
        };
        Ok(Some(Device {
            id: id.parse().map_err(|_| StoreError::Damaged("device"))?,
            state: DeviceState::from_sql(state),
            renewed,
            key: VerifyingKey::from_sec1_bytes(&key).map_err(|_| StoreError::Damaged("public key"))?,
            not_before_s: from_sql(not_before),
            not_after_s: from_sql(not_after),
        }))
    }

    /// Whether this device may serve this initiator.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn serves(&self, device: &DeviceId, initiator: &InitiatorId) -> Result<bool, StoreError> {
        Ok(self
            .tx
            .prepare_cached("SELECT 1 FROM device_initiators WHERE device = ?1 AND initiator = ?2")?
            .exists([device.as_str(), initiator.as_str()])?)
    }

    /// Refuses a device with every certificate that it has, from now on; false where there is none of this name.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn revoke_device(&self, id: &DeviceId, now_ms: u64) -> Result<bool, StoreError> {
        self.forget_grants(id)?;
        self.tx.execute(
            "UPDATE certificates SET revoked_ms = ?2 WHERE device = ?1 AND revoked_ms IS NULL",
            params![id.as_str(), to_sql(now_ms)],
        )?;
        Ok(self.tx.execute("UPDATE devices SET state = 1 WHERE device = ?1", [id.as_str()])? == 1)
    }

    /// Refuses a device until [`Work::release_device`]: two machines use its identity, and nobody knows which is true.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn quarantine_device(&self, id: &DeviceId) -> Result<(), StoreError> {
        self.forget_grants(id)?;
        self.tx.execute("UPDATE devices SET state = 2 WHERE device = ?1 AND state = 0", [id.as_str()])?;
        Ok(())
    }

    /// Serves a quarantined device again and counts its connections anew; false where none of this name is in quarantine.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn release_device(&self, id: &DeviceId) -> Result<bool, StoreError> {
        self.forget_boots(id)?;
        Ok(self.tx.execute(
            "UPDATE devices SET state = 0, boot = NULL, connects = 0, online = 0 WHERE device = ?1 AND state = 2",
            [id.as_str()],
        )? == 1)
    }

    /// Every revoked certificate.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn revocations(&self) -> Result<Vec<Revocation>, StoreError> {
        let mut statement = self
            .tx
            .prepare("SELECT serial, revoked_ms FROM certificates WHERE revoked_ms IS NOT NULL ORDER BY revoked_ms")?;
        let rows =
            statement.query_map([], |row| Ok(Revocation { serial: row.get(0)?, revoked_ms: from_sql(row.get(1)?) }))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// How many certificates are revoked.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn revoked(&self) -> Result<usize, StoreError> {
        let mut statement = self.tx.prepare_cached("SELECT count(*) FROM certificates WHERE revoked_ms IS NOT NULL")?;
        Ok(statement.query_row([], |row| row.get::<_, i64>(0)).map(|count| usize::try_from(count).unwrap_or(0))?)
    }

    /// What the device's last state message said; `None` for an unknown device.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn seen(&self, id: &DeviceId) -> Result<Option<Seen>, StoreError> {
        let row =
            self.tx.query_row("SELECT boot, connects, online FROM devices WHERE device = ?1", [id.as_str()], |row| {
                Ok(Seen { boot: row.get(0)?, connects: from_sql(row.get(1)?), online: row.get(2)? })
            });
        Ok(row.optional()?)
    }

    /// Keeps what a state message said.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn set_seen(&self, id: &DeviceId, seen: &Seen) -> Result<(), StoreError> {
        self.tx.execute(
            "UPDATE devices SET boot = ?2, connects = ?3, online = ?4 WHERE device = ?1",
            params![id.as_str(), seen.boot, to_sql(seen.connects), seen.online],
        )?;
        Ok(())
    }

    /// Keeps that the device has said something.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn set_heard(&self, id: &DeviceId, now_ms: u64) -> Result<(), StoreError> {
        self.tx
            .prepare_cached("UPDATE devices SET heard_ms = ?2 WHERE device = ?1")?
            .execute(params![id.as_str(), to_sql(now_ms)])?;
        Ok(())
    }

    /// Served devices that have said nothing since `since_ms`, with the last moment at which they did (or were added);
    /// each silence is found once, and a hundred at a time. What was heard after `until_ms` was heard by a clock that ran ahead.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn silent(&self, since_ms: u64, until_ms: u64) -> Result<Vec<(DeviceId, u64)>, StoreError> {
        let mut statement = self.tx.prepare_cached(
            "UPDATE devices SET away_ms = max(heard_ms, added_ms)
             WHERE device IN (SELECT device FROM devices WHERE state = 0 AND max(heard_ms, added_ms) NOT BETWEEN ?1 AND ?3
                              AND away_ms <> max(heard_ms, added_ms) LIMIT ?2)
             RETURNING device, away_ms",
        )?;
        found_devices(
            statement
                .query_map([to_sql(since_ms), SILENT_MAX, to_sql(until_ms)], |row| Ok((row.get(0)?, row.get(1)?)))?,
        )
    }

    /// Served devices whose newest certificate has ended, with its last second; each end is found once.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn run_out(&self, now_ms: u64) -> Result<Vec<(DeviceId, u64)>, StoreError> {
        let mut statement = self.tx.prepare_cached(
            "UPDATE devices SET expiry_s = newest.until_s FROM
             (SELECT device AS id, max(not_after_s) AS until_s FROM certificates WHERE revoked_ms IS NULL GROUP BY device) AS newest
             WHERE device = newest.id AND state = 0 AND newest.until_s < ?1 AND expiry_s <> newest.until_s
             RETURNING device, expiry_s",
        )?;
        found_devices(statement.query_map([to_sql(now_ms / 1000)], |row| Ok((row.get(0)?, row.get(1)?)))?)
    }

    /// Every device, by id.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn devices(&self) -> Result<Vec<Listed>, StoreError> {
        let mut statement = self.tx.prepare(
            "SELECT d.device, d.state, d.online,
                    COALESCE((SELECT max(not_after_s) FROM certificates c WHERE c.device = d.device), 0),
                    COALESCE((SELECT group_concat(initiator, ' ') FROM device_initiators i WHERE i.device = d.device), '')
             FROM devices d ORDER BY d.device",
        )?;
        let rows = statement.query_map([], |row| {
            let state = DeviceState::from_sql(row.get(1)?);
            let not_after_s = from_sql(row.get(3)?);
            Ok(Listed { id: row.get(0)?, state, online: row.get(2)?, not_after_s, initiators: row.get(4)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// Devices, each with a time.
fn found_devices(
    rows: impl Iterator<Item = rusqlite::Result<(String, i64)>>,
) -> Result<Vec<(DeviceId, u64)>, StoreError> {
    rows.map(|row| {
        let (device, time) = row?;
        Ok((device.parse().map_err(|_| StoreError::Damaged("device"))?, from_sql(time)))
    })
    .collect()
}
