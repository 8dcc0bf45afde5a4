PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE IF NOT EXISTS "effect_recovery_migrations" (
  migration_id integer PRIMARY KEY NOT NULL,
  created_at datetime NOT NULL DEFAULT current_timestamp,
  name VARCHAR(255) NOT NULL
);
INSERT INTO effect_recovery_migrations VALUES(1,'2026-11-29 18:01:04','runs_and_journal');
INSERT INTO effect_recovery_migrations VALUES(2,'2026-11-29 18:01:04','snapshots');
INSERT INTO effect_recovery_migrations VALUES(3,'2026-11-29 18:01:04','waiting');
INSERT INTO effect_recovery_migrations VALUES(4,'2026-11-29 18:01:04','locks');
INSERT INTO effect_recovery_migrations VALUES(5,'2026-11-29 18:01:04','records');
INSERT INTO effect_recovery_migrations VALUES(6,'2026-11-29 18:01:04','checksums');
INSERT INTO effect_recovery_migrations VALUES(7,'2026-11-29 18:01:04','snapshot_keys_and_labels');
INSERT INTO effect_recovery_migrations VALUES(8,'2026-11-29 18:01:04','exhausted_runs');
INSERT INTO effect_recovery_migrations VALUES(9,'2026-11-29 18:01:04','claims_and_signal_positions');
INSERT INTO effect_recovery_migrations VALUES(10,'2026-11-29 18:01:04','controls_and_queues');
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
    , due_at INTEGER NOT NULL DEFAULT 0, waiting TEXT, checksum INTEGER, outcome_checksum INTEGER, exhausted INTEGER, signals INTEGER NOT NULL DEFAULT 0, started_at INTEGER, generation INTEGER NOT NULL DEFAULT 1, hold_id TEXT, hold_reason TEXT, hold_at INTEGER, cancel TEXT, queue TEXT, queue_key TEXT, priority INTEGER NOT NULL DEFAULT 0, parent TEXT, parent_signal TEXT);
INSERT INTO recovery_runs VALUES(1,'done','done','1','7','{"tenant":"acme"}',1795975264206,1,NULL,NULL,'completed','"one7"',1795975264232,1795975264206,NULL,-1246576471,1027200220,NULL,0,NULL,1,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL);
INSERT INTO recovery_runs VALUES(2,'fails','fails','1','','{}',1795975264236,1,NULL,NULL,'failed','{"_tag":"Fail","error":{"why":"no","_tag":"Bad"},"faults":[{"category":"unknown","severity":"medium","transient":false,"confidence":0,"fingerprint":"unknown-204p3hvbyu5","message":"Bad { \"why\": \"no\" }","tag":"Bad"}]}',1795975264262,1795975264236,NULL,349403987,1115103119,NULL,0,NULL,1,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL);
INSERT INTO recovery_runs VALUES(3,'stops','stops','1','','{"tenant":"acme"}',1795975264265,1,NULL,NULL,NULL,NULL,NULL,1795975264265,NULL,-1375684416,NULL,NULL,0,NULL,1,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL);
INSERT INTO recovery_runs VALUES(4,'waits','waits','1','','{}',1795975264283,1,NULL,NULL,NULL,NULL,NULL,9007199254740991,'[{"id":"go","kind":"signal","about":"go","to":null,"fault":null,"parameters":[],"refused":null,"signal":{"name":"go"},"schema":{"type":"number"},"since":"2026-11-29T18:01:04.295Z","until":null}]',-1676881457,NULL,NULL,0,NULL,1,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL);
INSERT INTO recovery_runs VALUES(5,'answered','waits','1','','{}',1795975264318,1,NULL,NULL,NULL,NULL,NULL,1795975264354,'[{"id":"go","kind":"signal","about":"go","to":null,"fault":null,"parameters":[],"refused":null,"signal":{"name":"go"},"schema":{"type":"number"},"since":"2026-11-29T18:01:04.330Z","until":null}]',406229782,NULL,NULL,1,NULL,1,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL);
CREATE TABLE recovery_journal (
      run INTEGER NOT NULL REFERENCES recovery_runs (key),
      seq INTEGER NOT NULL,
      kind TEXT NOT NULL,
      step TEXT NOT NULL,
      attempt INTEGER NOT NULL,
      at INTEGER NOT NULL,
      payload TEXT
    , checksum INTEGER, payload_checksum INTEGER, previous INTEGER);
INSERT INTO recovery_journal VALUES(1,1,'AttemptStarted','one',1,1795975264225,'{"root":true}',-1382117842,NULL,NULL);
INSERT INTO recovery_journal VALUES(1,2,'StepCompleted','one',1,1795975264228,'"one"',-2006399848,NULL,1);
INSERT INTO recovery_journal VALUES(2,1,'AttemptStarted','one',1,1795975264242,'{"root":true}',1949962640,NULL,NULL);
INSERT INTO recovery_journal VALUES(2,2,'StepCompleted','one',1,1795975264243,'"one"',-664737310,NULL,1);
INSERT INTO recovery_journal VALUES(3,1,'AttemptStarted','one',1,1795975264270,'{"root":true}',-556212426,NULL,NULL);
INSERT INTO recovery_journal VALUES(3,2,'StepCompleted','one',1,1795975264273,'"one"',-876221115,NULL,1);
INSERT INTO recovery_journal VALUES(4,1,'AttemptStarted','one',1,1795975264288,'{"root":true}',-936156118,NULL,NULL);
INSERT INTO recovery_journal VALUES(4,2,'StepCompleted','one',1,1795975264292,'"one"',427138919,NULL,1);
INSERT INTO recovery_journal VALUES(4,3,'WaitStarted','go',0,1795975264295,'{"kind":"signal","about":"go","signal":"@go","schema":{"type":"number"},"root":true}',1699675281,NULL,2);
INSERT INTO recovery_journal VALUES(5,1,'AttemptStarted','one',1,1795975264324,'{"root":true}',-860393957,NULL,NULL);
INSERT INTO recovery_journal VALUES(5,2,'StepCompleted','one',1,1795975264326,'"one"',-629122020,NULL,1);
INSERT INTO recovery_journal VALUES(5,3,'WaitStarted','go',0,1795975264330,'{"kind":"signal","about":"go","signal":"@go","schema":{"type":"number"},"root":true}',-1680514426,NULL,2);
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
INSERT INTO recovery_signals VALUES(5,1,'@go','{"value":5}',1795975264354,-202360036);
CREATE TABLE recovery_run_labels (
      label TEXT NOT NULL,
      value TEXT NOT NULL,
      run INTEGER NOT NULL,
      PRIMARY KEY (label, value, run)
    ) WITHOUT ROWID;
INSERT INTO recovery_run_labels VALUES('tenant','acme',1);
INSERT INTO recovery_run_labels VALUES('tenant','acme',3);
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
CREATE INDEX recovery_runs_due ON recovery_runs (workflow, version,
       CASE WHEN hold_id IS NOT NULL THEN 2 WHEN queue IS NOT NULL AND cancel IS NULL THEN 1 ELSE 0 END,
       MAX(due_at, COALESCE(lease_until, 0)), owner)
     WHERE status IS NULL;
CREATE INDEX recovery_runs_queued ON recovery_runs
       (queue, workflow, version, priority, queue_key, (started_at IS NULL), MAX(due_at, COALESCE(lease_until, 0)), owner)
     WHERE status IS NULL AND hold_id IS NULL AND cancel IS NULL AND queue IS NOT NULL;
CREATE INDEX recovery_runs_queue_leased ON recovery_runs (queue, queue_key, lease_until, due_at)
     WHERE queue IS NOT NULL AND status IS NULL AND owner IS NOT NULL;
CREATE INDEX recovery_runs_started ON recovery_runs (queue, queue_key, started_at)
     WHERE queue IS NOT NULL AND started_at IS NOT NULL;
CREATE INDEX recovery_runs_queue_started ON recovery_runs (queue, started_at)
     WHERE queue IS NOT NULL AND started_at IS NOT NULL;
CREATE INDEX recovery_runs_queue ON recovery_runs (queue) WHERE queue IS NOT NULL;
CREATE INDEX recovery_runs_parent ON recovery_runs (parent) WHERE parent IS NOT NULL;
CREATE TRIGGER recovery_run_labels_insert AFTER INSERT ON recovery_runs WHEN new.labels <> '{}' BEGIN
      INSERT OR IGNORE INTO recovery_run_labels SELECT key, value, new.key FROM json_each(new.labels);
    END;
CREATE TRIGGER recovery_run_labels_delete AFTER DELETE ON recovery_runs WHEN old.labels <> '{}' BEGIN
      DELETE FROM recovery_run_labels WHERE (label, value, run) IN (
        SELECT key, value, old.key FROM json_each(iif(json_valid(old.labels), old.labels, '{}'))
      );
    END;
COMMIT;
