PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE IF NOT EXISTS "effect_recovery_migrations" (
  migration_id integer PRIMARY KEY NOT NULL,
  created_at datetime NOT NULL DEFAULT current_timestamp,
  name VARCHAR(255) NOT NULL
);
INSERT INTO effect_recovery_migrations VALUES(1,'2026-11-29 15:27:05','runs_and_journal');
INSERT INTO effect_recovery_migrations VALUES(2,'2026-11-29 15:27:05','snapshots');
INSERT INTO effect_recovery_migrations VALUES(3,'2026-11-29 15:27:05','waiting');
INSERT INTO effect_recovery_migrations VALUES(4,'2026-11-29 15:27:05','locks');
INSERT INTO effect_recovery_migrations VALUES(5,'2026-11-29 15:27:05','records');
INSERT INTO effect_recovery_migrations VALUES(6,'2026-11-29 15:27:05','checksums');
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
INSERT INTO recovery_runs VALUES(1,'done','done','1','7','{"tenant":"acme"}',1795966025934,1,NULL,NULL,'completed','"one7"',1795966025986,1795966025934,NULL,-2123208950,-1534586677);
INSERT INTO recovery_runs VALUES(2,'fails','fails','1','','{}',1795966025995,1,NULL,NULL,'failed','{"_tag":"Fail","error":{"why":"no","_tag":"Bad"},"faults":[{"category":"unknown","severity":"medium","transient":false,"confidence":0,"fingerprint":"unknown-1vojjpk56of","message":"{ \"why\": \"no\" }","tag":"Bad"}]}',1795966026074,1795966025995,NULL,-2032773329,1165417101);
INSERT INTO recovery_runs VALUES(3,'stops','stops','1','','{"tenant":"acme"}',1795966026090,1,NULL,NULL,NULL,NULL,NULL,1795966026090,NULL,-1250602579,NULL);
INSERT INTO recovery_runs VALUES(4,'waits','waits','1','','{}',1795966026154,1,NULL,NULL,NULL,NULL,NULL,9007199254740991,'[{"id":"go","kind":"signal","about":"go","to":null,"fault":null,"parameters":[],"refused":null,"since":"2026-11-29T15:27:06.188Z","until":null}]',1518555451,NULL);
INSERT INTO recovery_runs VALUES(5,'answered','waits','1','','{}',1795966026249,1,NULL,NULL,NULL,NULL,NULL,1795966026298,'[{"id":"go","kind":"signal","about":"go","to":null,"fault":null,"parameters":[],"refused":null,"since":"2026-11-29T15:27:06.273Z","until":null}]',-58201935,NULL);
CREATE TABLE recovery_journal (
      run INTEGER NOT NULL REFERENCES recovery_runs (key),
      seq INTEGER NOT NULL,
      kind TEXT NOT NULL,
      step TEXT NOT NULL,
      attempt INTEGER NOT NULL,
      at INTEGER NOT NULL,
      payload TEXT
    , checksum INTEGER, payload_checksum INTEGER, previous INTEGER);
INSERT INTO recovery_journal VALUES(1,1,'AttemptStarted','one',1,1795966025968,'{"root":true}',-171199170,NULL,NULL);
INSERT INTO recovery_journal VALUES(1,2,'StepCompleted','one',1,1795966025974,'"one"',184467624,NULL,1);
INSERT INTO recovery_journal VALUES(2,1,'AttemptStarted','one',1,1795966026003,'{"root":true}',-803707124,NULL,NULL);
INSERT INTO recovery_journal VALUES(2,2,'StepCompleted','one',1,1795966026017,'"one"',-320554068,NULL,1);
INSERT INTO recovery_journal VALUES(3,1,'AttemptStarted','one',1,1795966026106,'{"root":true}',1003207866,NULL,NULL);
INSERT INTO recovery_journal VALUES(3,2,'StepCompleted','one',1,1795966026125,'"one"',1386664776,NULL,1);
INSERT INTO recovery_journal VALUES(4,1,'AttemptStarted','one',1,1795966026163,'{"root":true}',1172095266,NULL,NULL);
INSERT INTO recovery_journal VALUES(4,2,'StepCompleted','one',1,1795966026185,'"one"',290517240,NULL,1);
INSERT INTO recovery_journal VALUES(4,3,'WaitStarted','go',0,1795966026188,'{"kind":"signal","about":"go","signal":"@go","root":true}',-1863958820,NULL,2);
INSERT INTO recovery_journal VALUES(5,1,'AttemptStarted','one',1,1795966026260,'{"root":true}',-129361677,NULL,NULL);
INSERT INTO recovery_journal VALUES(5,2,'StepCompleted','one',1,1795966026263,'"one"',-555572852,NULL,1);
INSERT INTO recovery_journal VALUES(5,3,'WaitStarted','go',0,1795966026273,'{"kind":"signal","about":"go","signal":"@go","root":true}',1455586431,NULL,2);
CREATE TABLE recovery_snapshots (
      key INTEGER PRIMARY KEY,
      run TEXT,
      step TEXT NOT NULL,
      seq INTEGER NOT NULL,
      name TEXT NOT NULL,
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
      state BLOB NOT NULL
    , checksum INTEGER);
CREATE TABLE recovery_signals (
      run INTEGER NOT NULL REFERENCES recovery_runs (key),
      key TEXT NOT NULL,
      payload TEXT NOT NULL,
      at INTEGER NOT NULL, checksum INTEGER,
      UNIQUE (run, key)
    );
INSERT INTO recovery_signals VALUES(5,'@go','{"value":5}',1795966026298,-855040798);
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
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('recovery_runs',5);
CREATE UNIQUE INDEX recovery_journal_run ON recovery_journal (run, seq);
CREATE INDEX recovery_snapshots_run ON recovery_snapshots (run, name);
CREATE INDEX recovery_runs_due ON recovery_runs (workflow, version, due_at) WHERE status IS NULL;
CREATE INDEX recovery_records_kind ON recovery_records (kind);
CREATE INDEX recovery_records_subject ON recovery_records (kind, subject);
CREATE INDEX recovery_records_scope ON recovery_records (kind, scope);
CREATE INDEX recovery_records_status ON recovery_records (kind, status);
COMMIT;
