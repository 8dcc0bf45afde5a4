const added = [
  ...["started_at", "generation", "hold_id", "hold_reason", "hold_at", "cancel", "queue", "queue_key", "priority"],
  ...["parent", "parent_signal", "shard"]
]

/** Statements that make a file of version 9 from one of this version. */
export const toVersion9 = `
  DROP TRIGGER recovery_run_labels_insert;
  DROP TRIGGER recovery_run_labels_delete;
  DROP TABLE recovery_run_labels;
  ${["due", "queued", "queue_leased", "started", "queue_started", "queue", "parent"]
    .map((name) => `DROP INDEX recovery_runs_${name};`)
    .join(" ")}
  ${added.map((column) => `ALTER TABLE recovery_runs DROP COLUMN ${column};`).join(" ")}
  CREATE INDEX recovery_runs_due ON recovery_runs (workflow, version, MAX(due_at, COALESCE(lease_until, 0)), owner)
    WHERE status IS NULL;
  DELETE FROM effect_recovery_migrations WHERE migration_id > 9;
`

/** Statements that make a file of version 8 from one of this version. */
export const toVersion8 = `
  ${toVersion9}
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
