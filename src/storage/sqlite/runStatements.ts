import type { Database } from "./driver.js"
import { dueSince, placeColumn, runColumns } from "./runRows.js"
import { isOwnedShard, isPlacedLease } from "./shards.js"

const entryColumns = "seq, kind, step, attempt, at, checksum, payload_checksum AS payloadChecksum, previous"

/** Reads nothing but the index of open runs if only `workflow`, `version`, `owner`, `key`, the place and `dueSince` are used. */
export const openRuns = "recovery_runs INDEXED BY recovery_runs_due WHERE status IS NULL"

/** The owner without the number of its acquisition, which is what all leases of a process begin with. */
export const process = "CASE WHEN owner GLOB '*/[0-9]*' THEN rtrim(owner, '0123456789') ELSE owner END"

export type RunStatements = ReturnType<typeof prepareRunStatements>

/** Prepared once per connection. Statements that change a leased run check its fencing token. */
export const prepareRunStatements = (database: Database) => ({
  insertRun: database.prepare(
    `INSERT INTO recovery_runs (id, workflow, version, input, labels, created_at, due_at, token, owner, lease_until, parent,
       parent_signal, checksum, shard)
     VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`
  ),
  findRunByKey: database.prepare(`SELECT ${runColumns} FROM recovery_runs WHERE key = ?`),
  findRun: database.prepare(`SELECT ${runColumns} FROM recovery_runs WHERE id = ?`),
  claimRun: database.prepare(
    `UPDATE recovery_runs SET token = ?, owner = ?, lease_until = ?, due_at = ?, started_at = ?, waiting = NULL WHERE key = ?`
  ),
  finishRun: database.prepare(
    `UPDATE recovery_runs SET status = ?, exhausted = ?, exit = ?, finished_at = ?, outcome_checksum = ?, owner = NULL, lease_until = NULL
     WHERE key = ? AND token = ? AND owner = ? AND status IS NULL AND parent IS NULL`
  ),
  endRun: database.prepare(
    `UPDATE recovery_runs SET status = ?, exhausted = ?, exit = ?, finished_at = ?, outcome_checksum = ?, owner = NULL, lease_until = NULL,
       waiting = NULL
     WHERE key = ?`
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
  /** The processes whose leases have not ended, one row for each. */
  leasing: database.prepare(
    `SELECT DISTINCT ${process} AS process FROM ${openRuns} AND owner IS NOT NULL AND ${dueSince} > ?`
  ),
  /** Their owners stay: the runs were not released by them. Due since the claim, so before what became due later. */
  releaseGone: database.prepare(
    `UPDATE recovery_runs SET lease_until = MIN(due_at, $now)
     WHERE key IN (SELECT key FROM ${openRuns} AND ${process} IN (SELECT value FROM json_each($gone)) AND ${dueSince} > $now)
       AND lease_until > $now`
  ),
  /** What can be claimed of a workflow and version, those that have been due longest first. */
  due: database.prepare(
    `SELECT key, ${dueSince} AS since FROM ${openRuns}
       AND workflow = ? AND version = ? AND ${placeColumn} = 0 AND ${dueSince} <= ? ORDER BY ${dueSince} LIMIT ?`
  ),
  endPlaced: database.prepare(
    `UPDATE recovery_runs SET lease_until = $now
     WHERE key IN (SELECT key FROM ${openRuns} AND owner IS NOT NULL AND ${dueSince} > $now AND shard IS NOT NULL
       AND ${isOwnedShard("$owned", "$shards")} AND ${isPlacedLease} AND substr(owner, 1, length($by)) <> $by)
       AND lease_until > $now`
  ),
  suspendRun: database.prepare(
    `UPDATE recovery_runs SET owner = NULL, lease_until = NULL, waiting = ?,
       due_at = CASE WHEN signals > ? OR cancel IS NOT NULL THEN ? ELSE ? END
     WHERE key = ? AND token = ? AND owner = ? AND status IS NULL`
  ),
  insertSignal: database.prepare(
    `INSERT INTO recovery_signals (run, seq, key, payload, at, checksum)
     VALUES ($run, (SELECT COALESCE(MAX(seq), 0) + 1 FROM recovery_signals WHERE run = $run), $key, $payload, $at, $checksum)
     ON CONFLICT (run, key) DO NOTHING`
  ),
  wakeRun: database.prepare(`UPDATE recovery_runs SET signals = signals + 1, due_at = MIN(due_at, ?) WHERE key = ?`),
  openKeyOf: database.prepare(`SELECT key FROM recovery_runs WHERE id = ? AND status IS NULL`),
  signals: database.prepare(
    `SELECT seq, key, payload, at, checksum FROM recovery_signals WHERE run = ? AND seq > ? ORDER BY seq`
  ),
  removableRun: database.prepare(`SELECT id FROM recovery_runs WHERE key = ? AND status IS NOT NULL`),
  removeJournal: database.prepare(`DELETE FROM recovery_journal WHERE run = ?`),
  removeSignals: database.prepare(`DELETE FROM recovery_signals WHERE run = ?`),
  removeSnapshots: database.prepare(`DELETE FROM recovery_snapshots WHERE run = ?`),
  removeRun: database.prepare(`DELETE FROM recovery_runs WHERE key = ?`),
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
    `UPDATE recovery_runs SET status = NULL, exhausted = NULL, exit = NULL, finished_at = NULL, outcome_checksum = NULL, cancel = NULL, waiting = NULL,
       started_at = ?, token = token + 1, owner = ?, lease_until = ?, due_at = ?
     WHERE key = ? AND token = ? AND status IS NOT NULL AND (hold_id IS NULL OR hold_id = ?)`
  ),
  isLeased: database.prepare(`SELECT 1 FROM recovery_runs WHERE key = ? AND token = ? AND owner = ?`)
})
