import { clockTolerance } from "../rows.js"
import type { Database } from "./driver.js"
import { runColumns, statusColumn } from "./runRows.js"

const entryColumns = "seq, kind, step, attempt, at, checksum, payload_checksum AS payloadChecksum, previous"

/** When a run can be claimed: `dueSince`, as the index of open runs has it. */
const dueSince = "MAX(due_at, COALESCE(lease_until, 0))"

/** Reads nothing but the index of open runs if only `workflow`, `version`, `owner`, `key` and `dueSince` are used. */
const openRuns = "recovery_runs INDEXED BY recovery_runs_due WHERE status IS NULL"

/** The owner without the number of its acquisition, which is what all leases of a process begin with. */
const process = "CASE WHEN owner GLOB '*/[0-9]*' THEN rtrim(owner, '0123456789') ELSE owner END"

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
  releaseLeases: database.prepare(
    `UPDATE recovery_runs SET owner = NULL, lease_until = NULL
     WHERE key IN (SELECT key FROM ${openRuns} AND owner = ?)`
  ),
  /** The processes that have leases, one row for each. */
  leasing: database.prepare(`SELECT DISTINCT ${process} AS process FROM ${openRuns} AND owner IS NOT NULL`),
  releaseGone: database.prepare(
    `UPDATE recovery_runs SET owner = NULL, lease_until = NULL
     WHERE key IN (SELECT key FROM ${openRuns} AND ${process} IN (SELECT value FROM json_each(?)))`
  ),
  /** What can be claimed of a workflow and version, those that have been due longest first. */
  due: database.prepare(
    `SELECT key, ${dueSince} AS since FROM ${openRuns}
       AND workflow = ? AND version = ? AND ${dueSince} <= ? ORDER BY ${dueSince} LIMIT ?`
  ),
  suspendRun: database.prepare(
    `UPDATE recovery_runs SET owner = NULL, lease_until = NULL, waiting = ?,
       due_at = CASE WHEN signals > ? THEN ? ELSE ? END
     WHERE key = ? AND token = ? AND owner = ? AND status IS NULL`
  ),
  insertSignal: database.prepare(
    `INSERT INTO recovery_signals (run, seq, key, payload, at, checksum)
     VALUES ($run, (SELECT COALESCE(MAX(seq), 0) + 1 FROM recovery_signals WHERE run = $run), $key, $payload, $at, $checksum)
     ON CONFLICT (run, key) DO NOTHING`
  ),
  wakeRun: database.prepare(`UPDATE recovery_runs SET signals = signals + 1, due_at = MIN(due_at, ?) WHERE key = ?`),
  signals: database.prepare(
    `SELECT seq, key, payload, at, checksum FROM recovery_signals WHERE run = ? AND seq > ? ORDER BY seq`
  ),
  backlog: database.prepare(
    `SELECT workflow, version,
       COUNT(*) FILTER (WHERE since <= $now) AS due,
       COUNT(*) FILTER (WHERE since > $now) AS waiting,
       MIN(since) FILTER (WHERE since <= $now) AS oldest,
       MIN(since) FILTER (WHERE since > $now AND since < $untilSignalled) AS next
     FROM (SELECT workflow, version, ${dueSince} AS since, owner FROM ${openRuns})
     WHERE since <= $now OR owner IS NULL
     GROUP BY workflow, version`
  ),
  removableRun: database.prepare(`SELECT id FROM recovery_runs WHERE key = ? AND status IS NOT NULL`),
  removeJournal: database.prepare(`DELETE FROM recovery_journal WHERE run = ?`),
  removeSignals: database.prepare(`DELETE FROM recovery_signals WHERE run = ?`),
  removeSnapshots: database.prepare(`DELETE FROM recovery_snapshots WHERE run = ?`),
  removeRun: database.prepare(`DELETE FROM recovery_runs WHERE key = ?`),
  /** Of the runs from the first key to before the second. */
  countRuns: database.prepare(
    `SELECT workflow, COUNT(*) AS runs, MIN(created_at) AS oldest, MAX(created_at) AS newest,
       CASE WHEN status IS NOT NULL THEN ${statusColumn} WHEN lease_until > $now THEN 'running'
         WHEN due_at > $now THEN 'suspended' ELSE 'stopped' END AS status
     FROM recovery_runs WHERE key >= $from AND key < $before GROUP BY 1, 5`
  ),
  /** The key that many runs before another. */
  keyBefore: database.prepare(`SELECT key FROM recovery_runs WHERE key < ? ORDER BY key DESC LIMIT 1 OFFSET ?`),
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
  keyOf: database.prepare(`SELECT key FROM recovery_runs WHERE id = ?`),
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
     WHERE key >= $from AND key < $before
       AND ($workflow IS NULL OR workflow = $workflow)
       AND ($status IS NULL OR ${statusColumn} = $status)
     ORDER BY key DESC LIMIT $limit`
  ),
  /** The keys of all open runs that have the status, and some others. A run with a lease does not wait. */
  listOpen: database.prepare(
    `SELECT key FROM ${openRuns}
       AND key < $before
       AND ($workflow IS NULL OR workflow = $workflow)
       AND (NOT $isWaiting OR owner IS NULL)
       AND CASE $status
         WHEN 'running' THEN owner IS NOT NULL AND ${dueSince} > $now
         WHEN 'suspended' THEN ${dueSince} > $now AND (owner IS NULL OR ${process} IN (SELECT value FROM json_each($gone)))
         WHEN 'stopped' THEN ${dueSince} <= $now OR (owner IS NOT NULL AND
           ((${dueSince} > $now + ${clockTolerance} AND due_at > $now + ${clockTolerance}) OR ${process} IN (SELECT value FROM json_each($gone))))
         ELSE 1 END
     ORDER BY key DESC LIMIT $limit`
  )
})
