PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE IF NOT EXISTS "effect_recovery_migrations" (
  migration_id integer PRIMARY KEY NOT NULL,
  created_at datetime NOT NULL DEFAULT current_timestamp,
  name VARCHAR(255) NOT NULL
);
INSERT INTO effect_recovery_migrations VALUES(1,'2026-11-29 15:26:54','runs_and_journal');
INSERT INTO effect_recovery_migrations VALUES(2,'2026-11-29 15:26:54','snapshots');
INSERT INTO effect_recovery_migrations VALUES(3,'2026-11-29 15:26:54','waiting');
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
    , due_at INTEGER NOT NULL DEFAULT 0, waiting TEXT);
INSERT INTO recovery_runs VALUES(1,'done','done','1','7','{"tenant":"acme"}',1795966014082,1,NULL,NULL,'completed','"one7"',1795966014158,1795966014082,NULL);
INSERT INTO recovery_runs VALUES(2,'fails','fails','1','','{}',1795966014167,1,NULL,NULL,'failed','{"_tag":"Fail","error":{"why":"no","_tag":"Bad"}}',1795966014224,1795966014167,NULL);
INSERT INTO recovery_runs VALUES(3,'stops','stops','1','','{"tenant":"acme"}',1795966014242,1,NULL,NULL,NULL,NULL,NULL,1795966014242,NULL);
INSERT INTO recovery_runs VALUES(4,'waits','waits','1','','{}',1795966014298,1,NULL,NULL,NULL,NULL,NULL,9007199254740991,'[{"id":"go","kind":"signal","about":"go","to":null,"fault":null,"parameters":[],"refused":null,"since":"2026-11-29T15:26:54.330Z","until":null}]');
INSERT INTO recovery_runs VALUES(5,'answered','waits','1','','{}',1795966014353,1,NULL,NULL,NULL,NULL,NULL,1795966014398,'[{"id":"go","kind":"signal","about":"go","to":null,"fault":null,"parameters":[],"refused":null,"since":"2026-11-29T15:26:54.381Z","until":null}]');
CREATE TABLE recovery_journal (
      run INTEGER NOT NULL REFERENCES recovery_runs (key),
      seq INTEGER NOT NULL,
      kind TEXT NOT NULL,
      step TEXT NOT NULL,
      attempt INTEGER NOT NULL,
      at INTEGER NOT NULL,
      payload TEXT
    );
INSERT INTO recovery_journal VALUES(1,1,'AttemptStarted','one',1,1795966014121,'{"root":true}');
INSERT INTO recovery_journal VALUES(1,2,'StepCompleted','one',1,1795966014140,'"one"');
INSERT INTO recovery_journal VALUES(2,1,'AttemptStarted','one',1,1795966014190,'{"root":true}');
INSERT INTO recovery_journal VALUES(2,2,'StepCompleted','one',1,1795966014195,'"one"');
INSERT INTO recovery_journal VALUES(3,1,'AttemptStarted','one',1,1795966014256,'{"root":true}');
INSERT INTO recovery_journal VALUES(3,2,'StepCompleted','one',1,1795966014264,'"one"');
INSERT INTO recovery_journal VALUES(4,1,'AttemptStarted','one',1,1795966014312,'{"root":true}');
INSERT INTO recovery_journal VALUES(4,2,'StepCompleted','one',1,1795966014321,'"one"');
INSERT INTO recovery_journal VALUES(4,3,'WaitStarted','go',0,1795966014330,'{"kind":"signal","about":"go","signal":"@go","root":true}');
INSERT INTO recovery_journal VALUES(5,1,'AttemptStarted','one',1,1795966014366,'{"root":true}');
INSERT INTO recovery_journal VALUES(5,2,'StepCompleted','one',1,1795966014374,'"one"');
INSERT INTO recovery_journal VALUES(5,3,'WaitStarted','go',0,1795966014381,'{"kind":"signal","about":"go","signal":"@go","root":true}');
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
    );
CREATE TABLE recovery_signals (
      run INTEGER NOT NULL REFERENCES recovery_runs (key),
      key TEXT NOT NULL,
      payload TEXT NOT NULL,
      at INTEGER NOT NULL,
      UNIQUE (run, key)
    );
INSERT INTO recovery_signals VALUES(5,'@go','{"value":5}',1795966014398);
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('recovery_runs',5);
CREATE UNIQUE INDEX recovery_journal_run ON recovery_journal (run, seq);
CREATE INDEX recovery_snapshots_run ON recovery_snapshots (run, name);
CREATE INDEX recovery_runs_due ON recovery_runs (workflow, version, due_at) WHERE status IS NULL;
COMMIT;
