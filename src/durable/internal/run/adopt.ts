import * as Effect from "effect/Effect"
import type { RunError } from "../../../journal/RunError.js"
import { isLeased } from "../../../storage/rows.js"
import * as Storage from "../../../storage/Storage.js"
import type { AnyDefinition } from "./advance.js"
import { notOpened } from "./execute.js"
import { replay } from "./history.js"

/** A run that stays in its version, and why. */
export interface NotAdopted {
  readonly run: string
  readonly error: RunError
}

export interface AdoptedRuns {
  readonly adopted: ReadonlyArray<string>
  readonly refused: ReadonlyArray<NotAdopted>
}

/** A run that other processes advance all the time is refused as they left it. */
const mostAttempts = 5

const pageSize = 100

/** Moves the open runs of a version to that of the definition, if their journals fit its body. */
export const adoptRuns = (
  definition: AnyDefinition,
  from: string
): Effect.Effect<AdoptedRuns, Storage.StorageError, unknown> =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const adopted: Array<string> = []
    const refused: Array<NotAdopted> = []
    for (let before: number | undefined; ; ) {
      const page: ReadonlyArray<Storage.Run> = yield* storage.list({
        workflow: definition.name,
        version: from,
        before,
        limit: pageSize
      })
      for (const run of page) {
        if (run.outcome !== undefined) continue
        const moved = yield* Effect.either(adoptRun(storage, definition, run, 0))
        if (moved._tag === "Left") refused.push({ run: run.id, error: moved.left })
        else if (moved.right) adopted.push(run.id)
      }
      const last = page.at(-1)
      if (last === undefined || page.length < pageSize) return { adopted, refused }
      before = last.key
    }
  })

/** False if the run has ended, or is of another version, by now. */
const adoptRun = (
  storage: Storage.Service,
  definition: AnyDefinition,
  found: Storage.Run,
  attempt: number
): Effect.Effect<boolean, RunError, unknown> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const { damaged: _, ...run } = found
      yield* free(storage, run)
      // Checked before the lease is acquired, so that a run that is refused does not change.
      const { id, input, key, labels, version, workflow } = run
      const journal = yield* storage.journal(key)
      yield* restore(replay(definition, { format: 1, run: { id, workflow, version, input, labels }, journal }))
      const wanted = {
        id,
        workflow,
        version,
        input,
        labels,
        key,
        ignoreQueue: true,
        isVisit: true,
        heldAs: run.hold?.id
      }
      const opened = yield* storage.open(wanted, restore)
      if (opened._tag === "Leased" || opened._tag === "Held" || opened._tag === "Queued") {
        return yield* Effect.fail(notOpened(opened._tag, opened.run))
      }
      if (!("lease" in opened)) return false
      const { lease } = opened
      // As it was found: its due time and what it waits for. A signal that has arrived since makes it due.
      const { dueAt, signals, waiting } = run
      const leave = storage.suspend(lease, { dueAt, signals, waiting })
      const isAsChecked = lease.token === run.token + 1
      const moved = isAsChecked ? Effect.zipRight(storage.adopt(lease, definition.version), leave) : leave
      yield* Effect.onError(moved, () => storage.release(lease))
      if (isAsChecked) return true
      const again = yield* storage.find(id)
      if (again._tag === "None" || again.value.outcome !== undefined || again.value.version !== version) return false
      return attempt < mostAttempts
        ? yield* adoptRun(storage, definition, again.value, attempt + 1)
        : yield* Effect.fail(notOpened("Leased", again.value))
    })
  )

/** A run that a process advances, or a recovery works on, is left to them. */
const free = (storage: Storage.Service, run: Storage.Run) =>
  Effect.gen(function* () {
    const now = yield* storage.now
    if (isLeased(run, now)) return yield* Effect.fail(notOpened("Leased", run))
    const isRecovering = run.hold?.id.startsWith("recovery/") === true
    return isRecovering ? yield* Effect.fail(notOpened("Held", run)) : undefined
  })
