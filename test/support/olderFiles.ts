/** Statements that make a file of version 8 from one of version 9. */
export const toVersion8 = `
  DROP INDEX recovery_runs_due;
  CREATE INDEX recovery_runs_due ON recovery_runs (workflow, version, due_at) WHERE status IS NULL;
  ALTER TABLE recovery_runs DROP COLUMN signals;
  ALTER TABLE recovery_signals RENAME TO recovery_signals_9;
  CREATE TABLE recovery_signals (
    run INTEGER NOT NULL REFERENCES recovery_runs (key),
    key TEXT NOT NULL,
    payload TEXT NOT NULL,
    at INTEGER NOT NULL,
    checksum INTEGER,
    UNIQUE (run, key)
  );
  INSERT INTO recovery_signals SELECT run, key, payload, at, checksum FROM recovery_signals_9 ORDER BY seq, run;
  DROP TABLE recovery_signals_9;
  DELETE FROM effect_recovery_migrations WHERE migration_id > 8;
`
