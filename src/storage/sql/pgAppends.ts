import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import { entryChecksums } from "../checksum.js"
import { LeaseLost, type StorageError } from "../StorageError.js"
import type { Entry, Lease, RunStore } from "../Store.js"
import { type ClientAccess, outside } from "./access.js"
import { makeBatches, type Waiting } from "./batches.js"
import { isUniqueViolation } from "./errors.js"
import { type Append, appending, insertLineAfter, lineSet, linesOf, storable } from "./lines.js"
import { makeUnsynced } from "./unsynced.js"

type Job = Waiting<Append>

/** A statement that breaks its connection each time is given up. */
const mostBreaks = 20

export interface Appends {
  readonly append: RunStore["append"]
  /** The run has a new journal, without the lines that this lease has written. */
  readonly forget: (lease: Lease) => void
}

const rowKey = (run: unknown, seq: unknown): string => `${run}/${seq}`

/**
 * The appends of all fibers that wait are one statement, so one commit. One flush is
 * in flight, so the order within a run holds. A row lock for each run keeps a claim
 * from coming between the look at the lease and the commit.
 */
export const makePgAppends = (access: ClientAccess): Effect.Effect<Appends, never, Scope.Scope> => {
  const single = insertLineAfter(access)
  const unsynced = makeUnsynced()
  const several = insertSeveral(access)
  const stored = findStored(access)

  /** The lease is lost, or the server has lost lines that it had not synced: then these are written with the new ones. */
  const refused = ({ after, lease, entries }: Append, job: Job): Effect.Effect<void, StorageError> => {
    if (after === undefined) return Effect.sync(() => job.answer(lost(lease)))
    const before = unsynced.of(lease)
    return Effect.gen(function* () {
      const found = yield* stored([{ lease, entries: before }])
      const missing = before.filter(({ seq }) => !found.has(rowKey(lease.key, seq)))
      const written = yield* several([{ lease, entries: [...missing, ...entries] }])
      if (isWritten(job.request, written)) unsynced.acknowledge(job, true)
      else job.answer(lost(lease))
    })
  }

  /** One line, whose commit need not be synced. */
  const insertOne = (job: Job, entry: Entry): Effect.Effect<void, StorageError> => {
    const request = unsynced.guarded(job.request)
    const isSynced = request.durability === undefined
    const text = isSynced ? single.synced : single.unsynced
    const options = { anywhere: true, prepared: true }
    return Effect.flatMap(access.write(appending, text, single.params(request, entry), options), (rows) =>
      rows.length === 1 ? Effect.sync(() => unsynced.acknowledge(job, isSynced)) : refused(request, job)
    )
  }

  /** Answers the jobs by the lines that were written. */
  const insert = (jobs: ReadonlyArray<Job>): Effect.Effect<void, StorageError> => {
    const [job] = jobs
    const entry = job?.request.entries[0]
    if (jobs.length === 1 && job?.request.entries.length === 1 && entry !== undefined) return insertOne(job, entry)
    const requests = jobs.map(({ request }) => unsynced.guarded(request))
    return Effect.flatMap(several(requests), (written) =>
      Effect.forEach(
        jobs,
        (one, i) =>
          isWritten(one.request, written)
            ? Effect.sync(() => unsynced.acknowledge(one, true))
            : refused(requests[i] ?? one.request, one),
        { discard: true }
      )
    )
  }

  /** Answers those whose lines are stored, and returns the others. */
  const answerStored = (jobs: ReadonlyArray<Job>) =>
    Effect.map(stored(jobs.map(({ request }) => request)), (found) =>
      jobs.filter((job) => {
        const { entries, lease } = job.request
        const isStored = entries.every(
          (entry) => found.get(rowKey(lease.key, entry.seq)) === entryChecksums(lease.key, storable(entry)).checksum
        )
        // Whether it was synced is not known.
        if (isStored) unsynced.acknowledge(job, false)
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
    ({ submit }) => ({
      append: (lease, entries, durability) =>
        guard(entries.length === 0 ? Effect.void : submit<void, LeaseLost>(appending, { lease, entries, durability })),
      forget: unsynced.forget
    })
  )
}

const isWritten = ({ entries, lease }: Append, written: ReadonlySet<string>): boolean =>
  entries.every(({ seq }) => written.has(rowKey(lease.key, seq)))

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
