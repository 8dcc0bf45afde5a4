import type { Database } from "./driver.js"

/** The table of the first version admits only `completed` and `failed`. */
const status = "CASE WHEN status = 'failed' AND exhausted IS NOT NULL THEN 'exhausted' ELSE status END"

/** Of a run, as a `RunRow` has them. */
export const runColumns = `key, id, workflow, version, input, labels, created_at AS createdAt, token, owner,
  lease_until AS leaseUntil, due_at AS dueAt, waiting, ${status} AS status, exit, finished_at AS finishedAt, checksum,
  outcome_checksum AS outcomeChecksum`

const entryColumns = "seq, kind, step, attempt, at, checksum, payload_checksum AS payloadChecksum, previous"

export type RunStatements = ReturnType<typeof prepareRunStatements>

/** Prepared once per connection. Statements that change a leased run check its fencing token. */
export const prepareRunStatements = (database: Database) => ({
  insertRun: database.prepare(
    `INSERT INTO recovery_runs (id, workflow, version, input, labels, created_at, due_at, token, owner, lease_until, checksum)
     VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?) ON CONFLICT (id) DO NOTHING`
  ),
  findRunByKey: database.prepare(`SELECT ${runColumns} FROM recovery_runs WHERE key = ?`),
  findRun: database.prepare(`SELECT ${runColumns} FROM recovery_runs WHERE id = ?`),
  claimRun: database.prepare(
    `UPDATE recovery_runs SET token = ?, owner = ?, lease_until = ?, due_at = ?, waiting = NULL WHERE key = ?`
  ),
  finishRun: database.prepare(
    `UPDATE recovery_runs SET status = ?, exhausted = ?, exit = ?, finished_at = ?, outcome_checksum = ?, owner = NULL, lease_until = NULL
     WHERE key = ? AND token = ? AND owner = ? AND status IS NULL`
  ),
  renewLease: database.prepare(
    `UPDATE recovery_runs SET lease_until = ? WHERE key = ? AND token = ? AND owner = ? AND status IS NULL`
  ),
  releaseLease: database.prepare(
    `UPDATE recovery_runs SET owner = NULL, lease_until = NULL WHERE id = ? AND owner = ?`
  ),
  suspendRun: database.prepare(
    `UPDATE recovery_runs SET owner = NULL, lease_until = NULL, waiting = ?,
       due_at = CASE WHEN (SELECT COUNT(*) FROM recovery_signals WHERE run = recovery_runs.key) > ? THEN ? ELSE ? END
     WHERE key = ? AND token = ? AND owner = ? AND status IS NULL`
  ),
  insertSignal: database.prepare(
    `INSERT INTO recovery_signals (run, key, payload, at, checksum) VALUES (?, ?, ?, ?, ?) ON CONFLICT (run, key) DO NOTHING`
  ),
  wakeRun: database.prepare(`UPDATE recovery_runs SET due_at = ? WHERE key = ? AND due_at > ?`),
  signals: database.prepare(`SELECT key, payload, at, checksum FROM recovery_signals WHERE run = ? ORDER BY rowid`),
  due: database.prepare(
    `SELECT ${runColumns} FROM recovery_runs INDEXED BY recovery_runs_due
     WHERE status IS NULL AND workflow = ? AND version = ? AND due_at <= ? ORDER BY due_at`
  ),
  backlog: database.prepare(
    `SELECT workflow, version,
       COUNT(*) FILTER (WHERE due_at <= $now) AS due,
       COUNT(*) FILTER (WHERE due_at > $now) AS waiting,
       MIN(MAX(due_at, COALESCE(lease_until, 0))) FILTER (WHERE due_at <= $now) AS oldest,
       MIN(due_at) FILTER (WHERE due_at > $now AND due_at < $untilSignalled) AS next
     FROM recovery_runs WHERE status IS NULL AND (lease_until IS NULL OR lease_until <= $now)
     GROUP BY workflow, version`
  ),
  removableRun: database.prepare(`SELECT id FROM recovery_runs WHERE key = ? AND status IS NOT NULL`),
  removeJournal: database.prepare(`DELETE FROM recovery_journal WHERE run = ?`),
  removeSignals: database.prepare(`DELETE FROM recovery_signals WHERE run = ?`),
  removeSnapshots: database.prepare(`DELETE FROM recovery_snapshots WHERE run = ?`),
  removeRun: database.prepare(`DELETE FROM recovery_runs WHERE key = ?`),
  countRuns: database.prepare(
    `SELECT workflow, COUNT(*) AS runs, MIN(created_at) AS oldest, MAX(created_at) AS newest,
       CASE WHEN status IS NOT NULL THEN ${status} WHEN lease_until > $now THEN 'running'
         WHEN due_at > $now THEN 'suspended' ELSE 'stopped' END AS status
     FROM recovery_runs GROUP BY 1, 5`
  ),
  append: database.prepare(
    `INSERT INTO recovery_journal (run, seq, kind, step, attempt, at, payload, checksum, payload_checksum, previous)
     SELECT key, ?, ?, ?, ?, ?, ?, ?, ?, (SELECT MAX(seq) FROM recovery_journal WHERE run = recovery_runs.key) FROM recovery_runs WHERE key = ? AND token = ? AND owner = ?`
  ),
  /** As `append`, with the line before given. */
  appendAfter: database.prepare(
    `INSERT INTO recovery_journal (run, seq, kind, step, attempt, at, payload, checksum, payload_checksum, previous)
     SELECT key, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM recovery_runs WHERE key = ? AND token = ? AND owner = ?`
  ),
  journal: database.prepare(
    `SELECT ${entryColumns}, payload, 0 AS omitted FROM recovery_journal WHERE run = ? ORDER BY seq`
  ),
  shortJournal: database.prepare(
    // The checksum of a line covers a payload that has none of its own, so that is read with it.
    `SELECT ${entryColumns}, CASE WHEN omitted THEN NULL ELSE payload END AS payload, omitted FROM (
       SELECT *, LENGTH(payload) > $longest AND (payload_checksum IS NOT NULL OR checksum IS NULL) AS omitted
       FROM recovery_journal WHERE run = $run
     ) ORDER BY seq`
  ),
  line: database.prepare(
    `SELECT ${entryColumns}, payload, 0 AS omitted FROM recovery_journal WHERE run = ? AND seq = ?`
  ),
  nameOf: database.prepare(`SELECT id FROM recovery_runs WHERE key = ?`),
  markRewound: database.prepare(
    `UPDATE recovery_snapshots SET rewound = 1, checksum = -1 - checksum
     WHERE run = $run AND seq > $after AND substr(step, 1, length($within)) = $within AND NOT rewound`
  ),
  reopenRun: database.prepare(
    `UPDATE recovery_runs SET status = NULL, exhausted = NULL, exit = NULL, finished_at = NULL, outcome_checksum = NULL, token = token + 1, owner = ?, lease_until = ?, due_at = ?
     WHERE key = ? AND token = ? AND status IS NOT NULL`
  ),
  isLeased: database.prepare(`SELECT 1 FROM recovery_runs WHERE key = ? AND token = ? AND owner = ?`),
  list: database.prepare(
    `SELECT ${runColumns} FROM recovery_runs
     WHERE ($workflow IS NULL OR workflow = $workflow)
       AND ($before IS NULL OR key < $before)
       AND ($status IS NULL OR ${status} = $status)
     ORDER BY key DESC LIMIT $limit`
  ),
  // Few runs are open. Without INDEXED BY, SQLite scans all runs in order of the key to avoid the sort.
  listOpen: database.prepare(
    `SELECT ${runColumns} FROM recovery_runs INDEXED BY recovery_runs_due
     WHERE status IS NULL
       AND ($workflow IS NULL OR workflow = $workflow)
       AND ($before IS NULL OR key < $before)
       AND (NOT $isWaiting OR waiting IS NOT NULL)
     ORDER BY key DESC`
  )
})
