-- Times are Unix milliseconds unless the name says _s. Blobs named *_hash, tag, thumbprint are 32 bytes.

CREATE TABLE devices (
    device    TEXT PRIMARY KEY,
    state     INTEGER NOT NULL,            -- 0 active, 1 revoked, 2 quarantined
    boot      BLOB,                        -- of the last state message
    connects  INTEGER NOT NULL DEFAULT 0,
    online    INTEGER NOT NULL DEFAULT 0,
    chain     INTEGER NOT NULL DEFAULT 1,  -- of audit records, the one that is being written
    after     INTEGER DEFAULT 0,           -- that chain begins after this number; NULL until a record has shown it
    audited   INTEGER NOT NULL DEFAULT 0,  -- every record of that chain up to this number is here, or told as gone
    added_ms  INTEGER NOT NULL,
    expiry_s  INTEGER NOT NULL DEFAULT 0,  -- end of the certificate that an alarm has told of
    heard_ms  INTEGER NOT NULL DEFAULT 0,  -- when it last said something of itself
    away_ms   INTEGER NOT NULL DEFAULT 0   -- beginning of the silence that an alarm has told of
) STRICT;

CREATE TABLE boots (                       -- the last ones that states and requests told of since the count of connections began
    device   TEXT NOT NULL REFERENCES devices,
    boot     BLOB NOT NULL,
    connects INTEGER NOT NULL,             -- highest of that boot
    first    INTEGER NOT NULL,             -- and the first that was told
    since_ms INTEGER NOT NULL,             -- when that was
    PRIMARY KEY (device, boot)
) STRICT, WITHOUT ROWID;

CREATE TABLE certificates (                -- of all times: old audit records are verified against theirs
    thumbprint   BLOB PRIMARY KEY,
    device       TEXT NOT NULL REFERENCES devices,
    public_key   BLOB NOT NULL,            -- SEC1
    not_before_s INTEGER NOT NULL,
    not_after_s  INTEGER NOT NULL,
    serial       BLOB NOT NULL,
    revoked_ms   INTEGER                   -- never served again; NULL while it counts
) STRICT;

CREATE INDEX certificates_revoked ON certificates (revoked_ms) WHERE revoked_ms IS NOT NULL;

CREATE TABLE device_initiators (
    device    TEXT NOT NULL REFERENCES devices,
    initiator TEXT NOT NULL,
    PRIMARY KEY (device, initiator)
) STRICT, WITHOUT ROWID;

CREATE TABLE subjects (
    tag        BLOB PRIMARY KEY,           -- HMAC of the IIN under a key derived from the store's
    ledger_key BLOB NOT NULL,              -- wrapped; names the person in the ledger
    made_ms    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE portraits (
    subject    BLOB NOT NULL REFERENCES subjects,
    source     INTEGER NOT NULL,           -- 0 document, 1 live
    version    INTEGER NOT NULL,
    row_key    BLOB NOT NULL,              -- wrapped under the store's key
    body       BLOB NOT NULL,              -- template and picture under row_key
    model      BLOB NOT NULL,
    made_ms    INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    PRIMARY KEY (subject, source)
) STRICT;

CREATE TABLE withdrawals (                 -- consents given before this moment no longer count
    tag   BLOB PRIMARY KEY,
    at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE challenges (
    attempt            BLOB PRIMARY KEY,
    device             TEXT NOT NULL REFERENCES devices,
    request            BLOB NOT NULL,
    request_hash       BLOB NOT NULL,
    initiator          TEXT NOT NULL,
    reference          TEXT NOT NULL,
    subject            BLOB NOT NULL,      -- tag
    person             BLOB NOT NULL,      -- name in the ledger
    stage              INTEGER NOT NULL,
    nonce              BLOB NOT NULL,
    consent_given_s    INTEGER NOT NULL,
    consent_expires_s  INTEGER NOT NULL,
    made_ms            INTEGER NOT NULL,
    expires_ms         INTEGER NOT NULL,
    bytes              BLOB NOT NULL,      -- the signed challenge, for repeats
    state              INTEGER NOT NULL,   -- 0 open, 1 spent, 2 abandoned
    body_hash          BLOB,               -- of the attempt that spent it
    outcome            INTEGER,
    verdict            BLOB,               -- the signed verdict, for repeats
    awaited            INTEGER,            -- 1 somebody waited for the verdict, 0 the kiosk had ended it by itself
    shown              INTEGER,            -- outcome that the kiosk's audit record tells; 255 no record will tell it
    UNIQUE (device, request_hash)
) STRICT;
CREATE INDEX challenges_open ON challenges (expires_ms) WHERE state = 0;
CREATE INDEX challenges_untold ON challenges (device, made_ms) WHERE state = 1 AND shown IS NULL;
CREATE INDEX challenges_waiting ON challenges (made_ms) WHERE state = 1 AND shown IS NULL;
CREATE INDEX challenges_told ON challenges (device, made_ms) WHERE shown IS NOT NULL;

CREATE TABLE failures (
    scope  INTEGER NOT NULL,               -- 0 person, 1 device
    who    BLOB NOT NULL,
    kind   INTEGER NOT NULL,               -- 0 failed, 1 unclear, 2 abandoned
    at_ms  INTEGER NOT NULL
) STRICT;
CREATE INDEX failures_who ON failures (scope, who, at_ms);

CREATE TABLE ledger (
    number   INTEGER PRIMARY KEY,
    previous BLOB NOT NULL,
    hash     BLOB NOT NULL,
    entry    TEXT NOT NULL
) STRICT;
CREATE TRIGGER ledger_stays BEFORE UPDATE ON ledger BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER ledger_keeps BEFORE DELETE ON ledger BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

CREATE TABLE audit (
    device      TEXT NOT NULL REFERENCES devices,
    chain       INTEGER NOT NULL,
    number      INTEGER NOT NULL,
    hash        BLOB NOT NULL,
    previous    BLOB NOT NULL,
    signed      BLOB NOT NULL,
    received_ms INTEGER NOT NULL,
    fork        INTEGER NOT NULL,          -- 0 the chain, 1 a record that contradicts it
    PRIMARY KEY (device, number, hash, chain)
) STRICT;
CREATE UNIQUE INDEX audit_chain ON audit (device, chain, number) WHERE fork = 0;
CREATE INDEX audit_forks ON audit (device, chain) WHERE fork = 1;

CREATE TABLE audit_ended (                 -- chains that an operator has ended by beginning the next
    device   TEXT NOT NULL REFERENCES devices,
    chain    INTEGER NOT NULL,
    reached  INTEGER NOT NULL,             -- as devices.audited
    ended_ms INTEGER NOT NULL,
    PRIMARY KEY (device, chain)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER audit_stays BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit records are append-only'); END;
CREATE TRIGGER audit_keeps BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit records are append-only'); END;

CREATE TABLE notices (                     -- alarms that other programs and threads of the site want to be told
    number INTEGER PRIMARY KEY,
    at_ms  INTEGER NOT NULL,
    device TEXT,
    note   TEXT NOT NULL
) STRICT;

CREATE TABLE invitations (                 -- one-time codes for enrolment
    device      TEXT PRIMARY KEY,
    code_hash   BLOB NOT NULL,
    initiators  TEXT NOT NULL,             -- with spaces between
    until_ms    INTEGER NOT NULL,
    fingerprint BLOB                       -- of the one key that it was spent on
) STRICT;

CREATE TABLE approvals (                   -- keys that were shown without a code
    device      TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    since_ms    INTEGER NOT NULL,          -- of the request, then of the approval
    initiators  TEXT,                      -- NULL while it waits for an operator
    PRIMARY KEY (device, fingerprint)
) STRICT, WITHOUT ROWID;
