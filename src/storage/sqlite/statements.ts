import type { Database } from "./driver.js"

const columns = `key, id, workflow, version, input, labels, created_at, token, owner, lease_until, status, exit, finished_at`

/** Prepared once per connection. The ones that change a run are fenced by its token. */
export const prepareStatements = (database: Database) => ({
  insertRun: database.prepare(
    `INSERT INTO recovery_runs (id, workflow, version, input, labels, created_at, token, owner, lease_until)
     VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?) ON CONFLICT (id) DO NOTHING`
  ),
  findRun: database.prepare(`SELECT ${columns} FROM recovery_runs WHERE id = ?`),
  claimRun: database.prepare(`UPDATE recovery_runs SET token = ?, owner = ?, lease_until = ? WHERE key = ?`),
  finishRun: database.prepare(
    `UPDATE recovery_runs SET status = ?, exit = ?, finished_at = ?, owner = NULL, lease_until = NULL
     WHERE key = ? AND token = ? AND owner = ? AND status IS NULL`
  ),
  renewLease: database.prepare(
    `UPDATE recovery_runs SET lease_until = ? WHERE key = ? AND token = ? AND owner = ? AND status IS NULL`
  ),
  releaseLease: database.prepare(
    `UPDATE recovery_runs SET owner = NULL, lease_until = NULL WHERE id = ? AND owner = ?`
  ),
  append: database.prepare(
    `INSERT INTO recovery_journal (run, seq, kind, step, attempt, at, payload)
     SELECT key, ?, ?, ?, ?, ?, ? FROM recovery_runs WHERE key = ? AND token = ? AND owner = ?`
  ),
  journal: database.prepare(
    `SELECT seq, kind, step, attempt, at, payload FROM recovery_journal WHERE run = ? ORDER BY seq`
  ),
  reopenRun: database.prepare(
    `UPDATE recovery_runs SET status = NULL, exit = NULL, finished_at = NULL, token = token + 1, owner = ?, lease_until = ?
     WHERE key = ? AND token = ? AND status IS NOT NULL`
  ),
  isLeased: database.prepare(`SELECT 1 FROM recovery_runs WHERE key = ? AND token = ? AND owner = ?`),
  list: database.prepare(
    `SELECT ${columns} FROM recovery_runs
     WHERE ($workflow IS NULL OR workflow = $workflow)
       AND ($before IS NULL OR key < $before)
       AND ($status IS NULL OR status = $status)
       AND (NOT $open OR status IS NULL)
     ORDER BY key DESC LIMIT $limit`
  )
})
