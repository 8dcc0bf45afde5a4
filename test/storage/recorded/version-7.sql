PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE IF NOT EXISTS "effect_recovery_migrations" (
  migration_id integer PRIMARY KEY NOT NULL,
  created_at datetime NOT NULL DEFAULT current_timestamp,
  name VARCHAR(255) NOT NULL
);
INSERT INTO effect_recovery_migrations VALUES(1,'2026-11-29 15:27:10','runs_and_journal');
INSERT INTO effect_recovery_migrations VALUES(2,'2026-11-29 15:27:10','snapshots');
INSERT INTO effect_recovery_migrations VALUES(3,'2026-11-29 15:27:10','waiting');
INSERT INTO effect_recovery_migrations VALUES(4,'2026-11-29 15:27:10','locks');
INSERT INTO effect_recovery_migrations VALUES(5,'2026-11-29 15:27:10','records');
INSERT INTO effect_recovery_migrations VALUES(6,'2026-11-29 15:27:10','checksums');
INSERT INTO effect_recovery_migrations VALUES(7,'2026-11-29 15:27:10','snapshot_keys_and_labels');
CREATE TABLE recovery_runs (
      key INTEGER PRIMARY KEY AUTOINCREMENT,
      id TEXT NOT NULL UNIQUE,
      workflow TEXT NOT NULL,
      version TEXT NOT NULL,
      input TEXT NOT NULL,
      labels TEXT NOT NULL,
      created_at INTEGER NOT NULL,
      token INTEGER NOT NULL,
      owner TEXT,
      lease_until INTEGER,
      status TEXT CHECK (status IN ('completed', 'failed')),
      exit TEXT,
      finished_at INTEGER
    , due_at INTEGER NOT NULL DEFAULT 0, waiting TEXT, checksum INTEGER, outcome_checksum INTEGER);
INSERT INTO recovery_runs VALUES(1,'done','done','1','7','{"tenant":"acme"}',1795966030312,1,NULL,NULL,'completed','"one7"',1795966030358,1795966030312,NULL,1561263337,-1113746102);
INSERT INTO recovery_runs VALUES(2,'fails','fails','1','','{}',1795966030378,1,NULL,NULL,'failed','{"_tag":"Fail","error":{"why":"no","_tag":"Bad"},"faults":[{"category":"unknown","severity":"medium","transient":false,"confidence":0,"fingerprint":"unknown-204p3hvbyu5","message":"Bad { \"why\": \"no\" }","tag":"Bad"}]}',1795966030455,1795966030378,NULL,1640847944,-160622060);
INSERT INTO recovery_runs VALUES(3,'stops','stops','1','','{"tenant":"acme"}',1795966030467,1,NULL,NULL,NULL,NULL,NULL,1795966030467,NULL,-1282734479,NULL);
INSERT INTO recovery_runs VALUES(4,'waits','waits','1','','{}',1795966030573,1,NULL,NULL,NULL,NULL,NULL,9007199254740991,'[{"id":"go","kind":"signal","about":"go","to":null,"fault":null,"parameters":[],"refused":null,"since":"2026-11-29T15:27:10.618Z","until":null}]',-372016982,NULL);
INSERT INTO recovery_runs VALUES(5,'answered','waits','1','','{}',1795966030676,1,NULL,NULL,NULL,NULL,NULL,1795966030737,'[{"id":"go","kind":"signal","about":"go","to":null,"fault":null,"parameters":[],"refused":null,"since":"2026-11-29T15:27:10.713Z","until":null}]',1477933139,NULL);
CREATE TABLE recovery_journal (
      run INTEGER NOT NULL REFERENCES recovery_runs (key),
      seq INTEGER NOT NULL,
      kind TEXT NOT NULL,
      step TEXT NOT NULL,
      attempt INTEGER NOT NULL,
      at INTEGER NOT NULL,
      payload TEXT
    , checksum INTEGER, payload_checksum INTEGER, previous INTEGER);
INSERT INTO recovery_journal VALUES(1,1,'AttemptStarted','one',1,1795966030330,'{"root":true}',991868302,NULL,NULL);
INSERT INTO recovery_journal VALUES(1,2,'StepCompleted','one',1,1795966030344,'"one"',-828142455,NULL,1);
INSERT INTO recovery_journal VALUES(2,1,'AttemptStarted','one',1,1795966030390,'{"root":true}',-1973700076,NULL,NULL);
INSERT INTO recovery_journal VALUES(2,2,'StepCompleted','one',1,1795966030397,'"one"',-820304741,NULL,1);
INSERT INTO recovery_journal VALUES(3,1,'AttemptStarted','one',1,1795966030478,'{"root":true}',664430568,NULL,NULL);
INSERT INTO recovery_journal VALUES(3,2,'StepCompleted','one',1,1795966030487,'"one"',278139843,NULL,1);
INSERT INTO recovery_journal VALUES(4,1,'AttemptStarted','one',1,1795966030582,'{"root":true}',1501777782,NULL,NULL);
INSERT INTO recovery_journal VALUES(4,2,'StepCompleted','one',1,1795966030601,'"one"',-1089552049,NULL,1);
INSERT INTO recovery_journal VALUES(4,3,'WaitStarted','go',0,1795966030618,'{"kind":"signal","about":"go","signal":"@go","root":true}',-1225920937,NULL,2);
INSERT INTO recovery_journal VALUES(5,1,'AttemptStarted','one',1,1795966030690,'{"root":true}',-841233291,NULL,NULL);
INSERT INTO recovery_journal VALUES(5,2,'StepCompleted','one',1,1795966030703,'"one"',952210798,NULL,1);
INSERT INTO recovery_journal VALUES(5,3,'WaitStarted','go',0,1795966030713,'{"kind":"signal","about":"go","signal":"@go","root":true}',890563283,NULL,2);
CREATE TABLE recovery_signals (
      run INTEGER NOT NULL REFERENCES recovery_runs (key),
      key TEXT NOT NULL,
      payload TEXT NOT NULL,
      at INTEGER NOT NULL, checksum INTEGER,
      UNIQUE (run, key)
    );
INSERT INTO recovery_signals VALUES(5,'@go','{"value":5}',1795966030737,-536998048);
CREATE TABLE recovery_locks (
      name TEXT PRIMARY KEY,
      token INTEGER NOT NULL,
      owner TEXT,
      since INTEGER NOT NULL,
      lease_until INTEGER
    ) WITHOUT ROWID;
CREATE TABLE recovery_records (
      key INTEGER PRIMARY KEY AUTOINCREMENT,
      kind TEXT NOT NULL,
      id TEXT NOT NULL,
      subject TEXT NOT NULL,
      scope TEXT NOT NULL,
      status TEXT NOT NULL,
      labels TEXT NOT NULL,
      at INTEGER NOT NULL,
      updated_at INTEGER NOT NULL,
      revision INTEGER NOT NULL,
      body TEXT NOT NULL, checksum INTEGER,
      UNIQUE (kind, id)
    );
CREATE TABLE recovery_counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE recovery_snapshots (
      key INTEGER PRIMARY KEY,
      run TEXT,
      step TEXT NOT NULL,
      seq INTEGER NOT NULL,
      name TEXT NOT NULL,
      own TEXT,
      kind TEXT NOT NULL,
      version INTEGER NOT NULL,
      schema TEXT NOT NULL,
      digest TEXT NOT NULL,
      size INTEGER NOT NULL,
      encoding TEXT NOT NULL,
      labels TEXT NOT NULL,
      about TEXT NOT NULL,
      at INTEGER NOT NULL,
      rewound INTEGER NOT NULL,
      checksum INTEGER,
      state BLOB NOT NULL
    );
CREATE TABLE recovery_labels (
      label TEXT NOT NULL,
      value TEXT NOT NULL,
      snapshot INTEGER NOT NULL,
      PRIMARY KEY (label, value, snapshot)
    ) WITHOUT ROWID;
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('recovery_runs',5);
CREATE UNIQUE INDEX recovery_journal_run ON recovery_journal (run, seq);
CREATE INDEX recovery_runs_due ON recovery_runs (workflow, version, due_at) WHERE status IS NULL;
CREATE INDEX recovery_records_kind ON recovery_records (kind);
CREATE INDEX recovery_records_subject ON recovery_records (kind, subject);
CREATE INDEX recovery_records_scope ON recovery_records (kind, scope);
CREATE INDEX recovery_records_status ON recovery_records (kind, status);
CREATE INDEX recovery_snapshots_run ON recovery_snapshots (run, name);
CREATE INDEX recovery_snapshots_own ON recovery_snapshots (name, own) WHERE own IS NOT NULL;
CREATE TRIGGER recovery_labels_insert AFTER INSERT ON recovery_snapshots WHEN new.labels <> '{}' BEGIN
      INSERT INTO recovery_labels SELECT key, value, new.key FROM json_each(new.labels);
    END;
CREATE TRIGGER recovery_labels_delete AFTER DELETE ON recovery_snapshots WHEN old.labels <> '{}' BEGIN
      DELETE FROM recovery_labels WHERE (label, value, snapshot) IN (
        SELECT key, value, old.key FROM json_each(iif(json_valid(old.labels), old.labels, '{}'))
      );
    END;
COMMIT;
