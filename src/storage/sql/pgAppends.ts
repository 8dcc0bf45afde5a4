import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import { entryChecksums } from "../checksum.js"
import { LeaseLost, type StorageError } from "../StorageError.js"
import type { Lease, RunStore } from "../Store.js"
import { type ClientAccess, outside } from "./access.js"
import { makeBatches, type Waiting } from "./batches.js"
import { isUniqueViolation } from "./errors.js"
import { type Append, appending, insertLine, lineSet, linesOf, storable } from "./lines.js"

type Job = Waiting<Append>

/** A statement that breaks its connection each time is given up. */
const mostBreaks = 20

const rowKey = (run: unknown, seq: unknown): string => `${run}/${seq}`

/**
 * The appends of all fibers that wait are one statement, so one commit. One flush is
 * in flight, so the order within a run holds. A row lock for each run keeps a claim
 * from coming between the look at the lease and the commit.
 */
export const makePgAppends = (access: ClientAccess): Effect.Effect<RunStore["append"], never, Scope.Scope> => {
  const single = insertLine(access)
  const several = insertSeveral(access)
  const stored = findStored(access)

  /** Answers the jobs by the lines that were written. */
  const insert = (jobs: ReadonlyArray<Job>): Effect.Effect<void, StorageError> => {
    const [job] = jobs
    const entry = job?.request.entries[0]
    if (jobs.length === 1 && job?.request.entries.length === 1 && entry !== undefined) {
      const { lease } = job.request
      return Effect.map(
        access.write(appending, single.text, single.params(lease, entry), { anywhere: true, prepared: true }),
        (rows) => job.answer(rows.length === 1 ? Exit.void : lost(lease))
      )
    }
    return Effect.map(several(jobs.map(({ request }) => request)), (written) => {
      for (const { answer, request } of jobs) {
        const isThere = request.entries.every(({ seq }) => written.has(rowKey(request.lease.key, seq)))
        answer(isThere ? Exit.void : lost(request.lease))
      }
    })
  }

  /** Answers those whose lines are stored, and returns the others. */
  const answerStored = (jobs: ReadonlyArray<Job>) =>
    Effect.map(stored(jobs.map(({ request }) => request)), (found) =>
      jobs.filter(({ answer, request: { entries, lease } }) => {
        const isStored = entries.every(
          (entry) => found.get(rowKey(lease.key, entry.seq)) === entryChecksums(lease.key, storable(entry)).checksum
        )
        if (isStored) answer(Exit.void)
        return !isStored
      })
    )

  const flush = (jobs: ReadonlyArray<Job>, breaks = 0): Effect.Effect<void> =>
    jobs.length === 0
      ? Effect.void
      : Effect.catchAll(insert(jobs), (error) => {
          const isUnknown = error.reason === "Unavailable"
          if (!isUnknown && jobs.length > 1)
            return Effect.forEach(jobs, (job) => flush([job], breaks), { discard: true })
          // The connection broke before the answer, or this is the repetition of an append that was carried out.
          if (!isUnknown && !isUniqueViolation(error.cause)) return fail(jobs, error)
          return Effect.matchEffect(answerStored(jobs), {
            onFailure: () => fail(jobs, error),
            onSuccess: (others) => (isUnknown && breaks < mostBreaks ? flush(others, breaks + 1) : fail(others, error))
          })
        })

  const guard = outside(access.isInside)
  return Effect.map(
    makeBatches<Append>((jobs) => flush(jobs)),
    ({ submit }) =>
      (lease, entries) =>
        guard(entries.length === 0 ? Effect.void : submit<void, LeaseLost>(appending, { lease, entries }))
  )
}

const lost = ({ run, token }: Lease) => Exit.fail(new LeaseLost({ run, token }))

const fail = (jobs: ReadonlyArray<Job>, error: StorageError): Effect.Effect<void> =>
  Effect.sync(() => {
    for (const { answer } of jobs) answer(Exit.fail(error))
  })

const insertSeveral = (access: ClientAccess) => {
  const { params, text } = lineSet(access)
  return (appends: ReadonlyArray<Append>) =>
    Effect.map(
      access.write<{ readonly run: unknown; readonly seq: unknown }>(appending, text, params(appends), {
        anywhere: true
      }),
      (rows) => new Set(rows.map(({ run, seq }) => rowKey(run, seq)))
    )
}

/** The checksums of those of the lines that are stored. */
const findStored = ({ table, write }: ClientAccess) => {
  const text = `SELECT run, seq, checksum FROM ${table("journal")}
    WHERE (run, seq) IN (SELECT * FROM unnest(?::bigint[], ?::bigint[]))`
  return (appends: ReadonlyArray<Append>): Effect.Effect<ReadonlyMap<string, number>, StorageError> => {
    const lines = linesOf(appends)
    const params = [lines.map(({ lease }) => lease.key), lines.map(({ entry }) => entry.seq)]
    return Effect.map(
      write<{ readonly run: unknown; readonly seq: unknown; readonly checksum: unknown }>(appending, text, params, {
        anywhere: true,
        idempotent: true
      }),
      (rows) => new Map(rows.map(({ checksum, run, seq }) => [rowKey(run, seq), Number(checksum)]))
    )
  }
}
