import { clockTolerance } from "../rows.js"
import type { Database } from "./driver.js"
import { dueSince, placeColumn, runColumns, statusColumn } from "./runRows.js"
import { openRuns, process } from "./runStatements.js"

export type ListStatements = ReturnType<typeof prepareListStatements>

/** Lists and counts of runs. Prepared once per connection. */
export const prepareListStatements = (database: Database) => ({
  backlog: database.prepare(
    `SELECT workflow, version,
       COUNT(*) FILTER (WHERE place < 2 AND since <= $now) AS due,
       COUNT(*) FILTER (WHERE place < 2 AND since > $now) AS waiting,
       COUNT(*) FILTER (WHERE place = 2) AS held,
       MIN(since) FILTER (WHERE place < 2 AND since <= $now) AS oldest,
       MIN(since) FILTER (WHERE place < 2 AND since > $now AND since < $untilSignalled) AS next
     FROM (SELECT workflow, version, ${placeColumn} AS place, ${dueSince} AS since, owner FROM ${openRuns})
     WHERE since <= $now OR owner IS NULL
     GROUP BY workflow, version`
  ),
  /** Of the runs from the first key to before the second. */
  countRuns: database.prepare(
    `SELECT workflow, COUNT(*) AS runs, MIN(created_at) AS oldest, MAX(created_at) AS newest,
       CASE WHEN status IS NOT NULL THEN ${statusColumn} WHEN lease_until > $now THEN 'running'
         WHEN hold_id IS NOT NULL THEN 'held' WHEN due_at > $now THEN 'suspended' ELSE 'stopped' END AS status
     FROM recovery_runs WHERE key >= $from AND key < $before GROUP BY 1, 5`
  ),
  /** The key that many runs before another. */
  keyBefore: database.prepare(`SELECT key FROM recovery_runs WHERE key < ? ORDER BY key DESC LIMIT 1 OFFSET ?`),
  list: database.prepare(
    `SELECT ${runColumns} FROM recovery_runs
     WHERE key >= $from AND key < $before
       AND ($workflow IS NULL OR workflow = $workflow)
       AND ($status IS NULL OR ${statusColumn} = $status)
       AND ($version IS NULL OR version = $version)
       AND ($queue IS NULL OR queue = $queue)
       AND created_at >= $since AND created_at < $until
     ORDER BY key DESC LIMIT $limit`
  ),
  /** The keys of all open runs that have the status, and some others. A run with a lease does not wait. */
  listOpen: database.prepare(
    `SELECT key FROM ${openRuns}
       AND key < $before
       AND ($workflow IS NULL OR workflow = $workflow)
       AND ($version IS NULL OR version = $version)
       AND (NOT $isWaiting OR owner IS NULL)
       AND CASE $status
         WHEN 'running' THEN owner IS NOT NULL AND ${dueSince} > $now
         WHEN 'held' THEN ${placeColumn} = 2
         WHEN 'suspended' THEN ${placeColumn} < 2 AND ${dueSince} > $now AND (owner IS NULL OR ${process} IN (SELECT value FROM json_each($gone)))
         WHEN 'stopped' THEN ${placeColumn} < 2 AND (${dueSince} <= $now OR (owner IS NOT NULL AND
           ((${dueSince} > $now + ${clockTolerance} AND due_at > $now + ${clockTolerance}) OR ${process} IN (SELECT value FROM json_each($gone)))))
         ELSE 1 END
     ORDER BY key DESC LIMIT $limit`
  ),
  /** The keys of the runs that have a label. */
  listLabelled: database.prepare(
    `SELECT run AS key FROM recovery_run_labels WHERE label = ? AND value = ? AND run < ? ORDER BY run DESC LIMIT ?`
  ),
  listChildren: database.prepare(
    `SELECT key FROM recovery_runs INDEXED BY recovery_runs_parent WHERE parent = ? AND key < ? ORDER BY key DESC LIMIT ?`
  )
})
