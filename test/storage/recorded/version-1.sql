PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE IF NOT EXISTS "effect_recovery_migrations" (
  migration_id integer PRIMARY KEY NOT NULL,
  created_at datetime NOT NULL DEFAULT current_timestamp,
  name VARCHAR(255) NOT NULL
);
INSERT INTO effect_recovery_migrations VALUES(1,'2026-11-29 15:26:47','runs_and_journal');
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
    );
INSERT INTO recovery_runs VALUES(1,'done','done','1','7','{"tenant":"acme"}',1795966007295,1,NULL,NULL,'completed','"one7"',1795966007309);
INSERT INTO recovery_runs VALUES(2,'fails','fails','1','','{}',1795966007314,1,NULL,NULL,'failed','{"_tag":"Fail","error":{"why":"no","_tag":"Bad"}}',1795966007334);
INSERT INTO recovery_runs VALUES(3,'stops','stops','1','','{"tenant":"acme"}',1795966007337,1,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE recovery_journal (
      run INTEGER NOT NULL REFERENCES recovery_runs (key),
      seq INTEGER NOT NULL,
      kind TEXT NOT NULL,
      step TEXT NOT NULL,
      attempt INTEGER NOT NULL,
      at INTEGER NOT NULL,
      payload TEXT
    );
INSERT INTO recovery_journal VALUES(1,1,'AttemptStarted','one',1,1795966007300,NULL);
INSERT INTO recovery_journal VALUES(1,2,'StepCompleted','one',1,1795966007309,'"one"');
INSERT INTO recovery_journal VALUES(2,1,'AttemptStarted','one',1,1795966007321,NULL);
INSERT INTO recovery_journal VALUES(2,2,'StepCompleted','one',1,1795966007325,'"one"');
INSERT INTO recovery_journal VALUES(3,1,'AttemptStarted','one',1,1795966007342,NULL);
INSERT INTO recovery_journal VALUES(3,2,'StepCompleted','one',1,1795966007346,'"one"');
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('recovery_runs',3);
CREATE UNIQUE INDEX recovery_journal_run ON recovery_journal (run, seq);
COMMIT;
