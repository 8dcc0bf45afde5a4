import { clockTolerance } from "../rows.js"
import type { Database } from "./driver.js"
import { dueSince } from "./runRows.js"

export type ControlStatements = ReturnType<typeof prepareControlStatements>

/** What operators and the program do to a run beside its steps. Prepared once per connection. */
export const prepareControlStatements = (database: Database) => ({
  enqueueRun: database.prepare(
    `INSERT INTO recovery_runs (id, workflow, version, input, labels, created_at, due_at, token, queue, queue_key, priority,
       parent, parent_signal, checksum, shard)
     VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`
  ),
  replaceRun: database.prepare(`UPDATE recovery_runs SET input = ?, due_at = ?, checksum = ? WHERE key = ?`),
  hold: database.prepare(`UPDATE recovery_runs SET hold_id = ?, hold_reason = ?, hold_at = ? WHERE key = ?`),
  releaseHold: database.prepare(
    `UPDATE recovery_runs SET hold_id = NULL, hold_reason = NULL, hold_at = NULL WHERE id = ? AND hold_id = ?`
  ),
  cancel: database.prepare(`UPDATE recovery_runs SET cancel = ?, due_at = MIN(due_at, ?) WHERE key = ?`),
  control: database.prepare(
    `SELECT hold_id AS id, hold_reason AS reason, hold_at AS at, cancel FROM recovery_runs
     WHERE key = ? AND token = ? AND owner = ? AND (hold_id IS NOT NULL OR cancel IS NOT NULL)`
  ),
  continueRun: database.prepare(
    `UPDATE recovery_runs SET input = ?, generation = generation + 1, signals = ?, checksum = ? WHERE key = ?`
  ),
  insertSignalAt: database.prepare(
    `INSERT INTO recovery_signals (run, seq, key, payload, at, checksum) VALUES (?, ?, ?, ?, ?, ?)`
  ),
  adoptRun: database.prepare(`UPDATE recovery_runs SET version = ?, checksum = ? WHERE key = ?`),
  queuedCounts: database.prepare(
    `SELECT queue,
       COUNT(*) FILTER (WHERE since <= $now) AS due,
       COUNT(*) FILTER (WHERE since > $now AND owner IS NULL) AS waiting,
       MIN(since) FILTER (WHERE since <= $now) AS oldest
     FROM (SELECT queue, ${dueSince} AS since, owner FROM recovery_runs INDEXED BY recovery_runs_queued
       WHERE status IS NULL AND hold_id IS NULL AND cancel IS NULL AND queue IS NOT NULL)
     GROUP BY queue`
  ),
  leasedCounts: database.prepare(
    `SELECT queue, COUNT(*) AS running FROM recovery_runs INDEXED BY recovery_runs_queue_leased
     WHERE queue IS NOT NULL AND status IS NULL AND owner IS NOT NULL
       AND lease_until > $now AND due_at <= $now + ${clockTolerance}
     GROUP BY queue`
  )
})
