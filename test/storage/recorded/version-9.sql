PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE IF NOT EXISTS "effect_recovery_migrations" (
  migration_id integer PRIMARY KEY NOT NULL,
  created_at datetime NOT NULL DEFAULT current_timestamp,
  name VARCHAR(255) NOT NULL
);
INSERT INTO effect_recovery_migrations VALUES(1,'2026-11-29 15:27:18','runs_and_journal');
INSERT INTO effect_recovery_migrations VALUES(2,'2026-11-29 15:27:18','snapshots');
INSERT INTO effect_recovery_migrations VALUES(3,'2026-11-29 15:27:18','waiting');
INSERT INTO effect_recovery_migrations VALUES(4,'2026-11-29 15:27:18','locks');
INSERT INTO effect_recovery_migrations VALUES(5,'2026-11-29 15:27:18','records');
INSERT INTO effect_recovery_migrations VALUES(6,'2026-11-29 15:27:18','checksums');
INSERT INTO effect_recovery_migrations VALUES(7,'2026-11-29 15:27:18','snapshot_keys_and_labels');
INSERT INTO effect_recovery_migrations VALUES(8,'2026-11-29 15:27:18','exhausted_runs');
INSERT INTO effect_recovery_migrations VALUES(9,'2026-11-29 15:27:18','claims_and_signal_positions');
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
    , due_at INTEGER NOT NULL DEFAULT 0, waiting TEXT, checksum INTEGER, outcome_checksum INTEGER, exhausted INTEGER, signals INTEGER NOT NULL DEFAULT 0);
INSERT INTO recovery_runs VALUES(1,'done','done','1','7','{"tenant":"acme"}',1795966038268,1,NULL,NULL,'completed','"one7"',1795966038318,1795966038268,NULL,921485800,1521624323,NULL,0);
INSERT INTO recovery_runs VALUES(2,'fails','fails','1','','{}',1795966038337,1,NULL,NULL,'failed','{"_tag":"Fail","error":{"why":"no","_tag":"Bad"},"faults":[{"category":"unknown","severity":"medium","transient":false,"confidence":0,"fingerprint":"unknown-204p3hvbyu5","message":"Bad { \"why\": \"no\" }","tag":"Bad"}]}',1795966038429,1795966038337,NULL,1353361970,434496100,NULL,0);
INSERT INTO recovery_runs VALUES(3,'stops','stops','1','','{"tenant":"acme"}',1795966038439,1,NULL,NULL,NULL,NULL,NULL,1795966038439,NULL,-319752228,NULL,NULL,0);
INSERT INTO recovery_runs VALUES(4,'waits','waits','1','','{}',1795966038483,1,NULL,NULL,NULL,NULL,NULL,9007199254740991,'[{"id":"go","kind":"signal","about":"go","to":null,"fault":null,"parameters":[],"refused":null,"since":"2026-11-29T15:27:18.521Z","until":null}]',-1438832963,NULL,NULL,0);
INSERT INTO recovery_runs VALUES(5,'answered','waits','1','','{}',1795966038570,1,NULL,NULL,NULL,NULL,NULL,1795966038642,'[{"id":"go","kind":"signal","about":"go","to":null,"fault":null,"parameters":[],"refused":null,"since":"2026-11-29T15:27:18.611Z","until":null}]',1988512720,NULL,NULL,1);
CREATE TABLE recovery_journal (
      run INTEGER NOT NULL REFERENCES recovery_runs (key),
      seq INTEGER NOT NULL,
      kind TEXT NOT NULL,
      step TEXT NOT NULL,
      attempt INTEGER NOT NULL,
      at INTEGER NOT NULL,
      payload TEXT
    , checksum INTEGER, payload_checksum INTEGER, previous INTEGER);
INSERT INTO recovery_journal VALUES(1,1,'AttemptStarted','one',1,1795966038290,'{"root":true}',-272514637,NULL,NULL);
INSERT INTO recovery_journal VALUES(1,2,'StepCompleted','one',1,1795966038308,'"one"',2116233615,NULL,1);
INSERT INTO recovery_journal VALUES(2,1,'AttemptStarted','one',1,1795966038347,'{"root":true}',1824390390,NULL,NULL);
INSERT INTO recovery_journal VALUES(2,2,'StepCompleted','one',1,1795966038357,'"one"',-1813236022,NULL,1);
INSERT INTO recovery_journal VALUES(3,1,'AttemptStarted','one',1,1795966038449,'{"root":true}',-741756808,NULL,NULL);
INSERT INTO recovery_journal VALUES(3,2,'StepCompleted','one',1,1795966038457,'"one"',1528305105,NULL,1);
INSERT INTO recovery_journal VALUES(4,1,'AttemptStarted','one',1,1795966038494,'{"root":true}',1799833269,NULL,NULL);
INSERT INTO recovery_journal VALUES(4,2,'StepCompleted','one',1,1795966038505,'"one"',1789957619,NULL,1);
INSERT INTO recovery_journal VALUES(4,3,'WaitStarted','go',0,1795966038521,'{"kind":"signal","about":"go","signal":"@go","root":true}',-216684970,NULL,2);
INSERT INTO recovery_journal VALUES(5,1,'AttemptStarted','one',1,1795966038584,'{"root":true}',2104200022,NULL,NULL);
INSERT INTO recovery_journal VALUES(5,2,'StepCompleted','one',1,1795966038597,'"one"',-1373758281,NULL,1);
INSERT INTO recovery_journal VALUES(5,3,'WaitStarted','go',0,1795966038611,'{"kind":"signal","about":"go","signal":"@go","root":true}',634473951,NULL,2);
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
CREATE TABLE recovery_signals (
      run INTEGER NOT NULL REFERENCES recovery_runs (key),
      seq INTEGER NOT NULL,
      key TEXT NOT NULL,
      payload TEXT NOT NULL,
      at INTEGER NOT NULL,
      checksum INTEGER,
      PRIMARY KEY (run, seq),
      UNIQUE (run, key)
    ) WITHOUT ROWID;
INSERT INTO recovery_signals VALUES(5,1,'@go','{"value":5}',1795966038642,1844728340);
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('recovery_runs',5);
CREATE UNIQUE INDEX recovery_journal_run ON recovery_journal (run, seq);
CREATE INDEX recovery_records_kind ON recovery_records (kind);
CREATE INDEX recovery_records_subject ON recovery_records (kind, subject);
CREATE INDEX recovery_records_scope ON recovery_records (kind, scope);
CREATE INDEX recovery_records_status ON recovery_records (kind, status);
CREATE INDEX recovery_snapshots_run ON recovery_snapshots (run, name);
CREATE INDEX recovery_snapshots_own ON recovery_snapshots (name, own) WHERE own IS NOT NULL;
CREATE TRIGGER recovery_labels_delete AFTER DELETE ON recovery_snapshots WHEN old.labels <> '{}' BEGIN
      DELETE FROM recovery_labels WHERE (label, value, snapshot) IN (
        SELECT key, value, old.key FROM json_each(iif(json_valid(old.labels), old.labels, '{}'))
      );
    END;
CREATE TRIGGER recovery_labels_insert AFTER INSERT ON recovery_snapshots WHEN new.labels <> '{}' BEGIN
      INSERT OR IGNORE INTO recovery_labels SELECT key, value, new.key FROM json_each(new.labels);
    END;
CREATE INDEX recovery_runs_due ON recovery_runs (workflow, version, MAX(due_at, COALESCE(lease_until, 0)), owner)
     WHERE status IS NULL;
COMMIT;
