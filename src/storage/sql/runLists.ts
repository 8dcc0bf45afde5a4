import * as Effect from "effect/Effect"
import { mapInSlices } from "../../resilience/internal/kernel/eventLoop.js"
import { clockTolerance, isOutcomeStatus, isWaitingFor, limitOf } from "../rows.js"
import type { StorageError } from "../StorageError.js"
import type { Query, Run, RunStore } from "../Store.js"
import { type RunRow, runColumns, statusColumn } from "../sqlite/runRows.js"
import type { ClientAccess, Now } from "./access.js"
import type { Liveness } from "./liveness.js"
import { asWhole, isOneOf, type Part, part, whereAll } from "./reading.js"
import type { RunReader } from "./runRows.js"

/** The lease is in force, and its process is not known to be dead. */
export const makeIsLive =
  (access: ClientAccess, { process }: Liveness) =>
  (now: Now, gone: ReadonlyArray<string>): Part => {
    const dead = isOneOf(access, process, gone, "text")
    return gone.length === 0
      ? part(`(owner IS NOT NULL AND lease_until > ${now.text})`, ...now.params)
      : part(`(owner IS NOT NULL AND lease_until > ${now.text} AND NOT (${dead.text}))`, ...now.params, ...dead.params)
  }

const columnsAre = ({ createdBefore, createdSince, parent, queue, version, workflow }: Query): ReadonlyArray<Part> => {
  const given = [
    ["workflow = ?", workflow],
    ["version = ?", version],
    ["queue = ?", queue],
    ["parent = ?", parent],
    ["created_at >= ?", createdSince === undefined ? undefined : asWhole(createdSince, Math.ceil)],
    ["created_at < ?", createdBefore === undefined ? undefined : asWhole(createdBefore, Math.ceil)]
  ] as const
  return given.flatMap(([text, value]) => (value === undefined ? [] : [part(text, value)]))
}

/** Enough to tell a rare label from a common one. */
const sample = 200

/** A row of the index of labels has this label. Postgres indexes its beginning, as it reads it from JSON. */
const hasLabel = ({ dialect, table }: ClientAccess, [label, value]: readonly [label: string, value: string]): Part => {
  if (dialect.name === "sqlite") return part("label = ? AND value = ?", label, value)
  const wanted = JSON.stringify({ [label]: value })
  const pair = `FROM ${table("label_pairs")}(?)`
  return part(`label = (SELECT name ${pair}) AND value = (SELECT about ${pair})`, wanted, wanted)
}

/** The label that leads to the fewest runs. */
const rarestLabel = (
  access: ClientAccess,
  operation: string,
  labels: Readonly<Record<string, string>>
): Effect.Effect<Part | undefined, StorageError> => {
  const all = Object.entries(labels).map((label) => hasLabel(access, label))
  if (all.length < 2) return Effect.succeed(all[0])
  const counts = all.map(
    ({ text }, i) =>
      `(SELECT COUNT(*) FROM (SELECT 1 FROM ${access.table("run_labels")} WHERE ${text} LIMIT ${sample}) AS counted) AS label_${i}`
  )
  return Effect.map(
    access.read<Record<string, unknown>>(
      operation,
      `SELECT ${counts.join(", ")}`,
      all.flatMap(({ params }) => params)
    ),
    ([row = {}]) =>
      all
        .map((label, i) => ({ label, count: Number(row[`label_${i}`]) }))
        .reduce((rarest, one) => (one.count < rarest.count ? one : rarest)).label
  )
}

export const makeList = (access: ClientAccess, { toListed }: RunReader, liveness: Liveness): RunStore["list"] => {
  const { dialect, table } = access
  const listing = "Listing runs"
  const isLive = makeIsLive(access, liveness)

  /** `statusOf`, which the rows need not be read for. */
  const hasStatus = (status: Query["status"], now: Now, gone: ReadonlyArray<string>): ReadonlyArray<Part> => {
    if (status === undefined) return []
    if (isOutcomeStatus(status)) return [part(`${statusColumn} = ?`, status)]
    const live = isLive(now, gone)
    const isDue = part(`due_at <= ${now.text}`, ...now.params)
    // A run is due when it is claimed, so this one was claimed before the clock was set back.
    const isOfFuture = part(`due_at > ${now.text} + ${clockTolerance}`, ...now.params)
    const open = part("status IS NULL")
    if (status === "running") return [open, live, part(`NOT (${isOfFuture.text})`, ...isOfFuture.params)]
    if (status === "held") {
      const stale = part(`(NOT ${live.text} OR ${isOfFuture.text})`, ...live.params, ...isOfFuture.params)
      return [open, part("hold_id IS NOT NULL"), stale]
    }
    const free = part("hold_id IS NULL")
    if (status === "suspended") {
      return [open, free, part(`NOT ${live.text}`, ...live.params), part(`NOT (${isDue.text})`, ...isDue.params)]
    }
    return [
      open,
      free,
      part(
        `((${live.text} AND ${isOfFuture.text}) OR (NOT ${live.text} AND ${isDue.text}))`,
        ...live.params,
        ...isOfFuture.params,
        ...live.params,
        ...isDue.params
      )
    ]
  }

  const page = (
    conditions: ReadonlyArray<Part>,
    label: Part | undefined,
    before: number | undefined,
    limit: number
  ) => {
    const last = before === undefined ? [] : [part("key < ?", asWhole(before, Math.ceil))]
    const { params, text } = whereAll([...conditions, ...last])
    // The index of the rarest label leads to the runs, in the order of their keys.
    const runs =
      label === undefined
        ? part(table("runs"))
        : part(
            `(SELECT run FROM ${table("run_labels")} WHERE ${label.text}) AS labelled
             ${dialect.name === "sqlite" ? "CROSS JOIN" : "JOIN"} ${table("runs")} ON key = labelled.run`,
            ...label.params
          )
    const order = label === undefined ? "key" : "labelled.run"
    return Effect.flatMap(
      access.read<RunRow>(listing, `SELECT ${runColumns} FROM ${runs.text} ${text} ORDER BY ${order} DESC LIMIT ?`, [
        ...runs.params,
        ...params,
        limit
      ]),
      (rows) => mapInSlices(rows, toListed)
    )
  }

  return (query) =>
    Effect.gen(function* () {
      const { before, labels = {}, status, waitsFor } = query
      const limit = limitOf(query)
      if (limit === 0) return []
      const gone = status === undefined || isOutcomeStatus(status) ? [] : yield* liveness.gone(listing)
      const conditions = [
        ...columnsAre(query),
        ...(Object.keys(labels).length === 0 ? [] : [part(dialect.hasProperties("labels"), JSON.stringify(labels))]),
        ...hasStatus(status, yield* access.now, gone),
        // Only open runs wait.
        ...(waitsFor === undefined ? [] : [part("status IS NULL"), part("waiting IS NOT NULL")])
      ]
      const label = yield* rarestLabel(access, listing, labels)
      if (waitsFor === undefined) return yield* page(conditions, label, before, limit)
      const found: Array<Run> = []
      let last = before
      while (found.length < limit) {
        const runs: ReadonlyArray<Run> = yield* page(conditions, label, last, pageSize)
        found.push(...runs.filter((run) => isWaitingFor(run, waitsFor)))
        if (runs.length < pageSize) break
        last = runs.at(-1)?.key
      }
      return found.slice(0, limit)
    })
}

/** Rows that are read in one statement to be judged here. */
const pageSize = 500
