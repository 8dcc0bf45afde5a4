import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Storage from "../../../storage/Storage.js"
import { RunNotFound } from "../../RunError.js"

/** Removes one run; one without an outcome stays. */
export const removeRun = Effect.fnUntraced(function* (id: string) {
  const storage = yield* Storage.Storage
  const found = yield* storage.find(id)
  if (Option.isNone(found)) return yield* new RunNotFound({ run: id })
  return (yield* storage.removeRuns([found.value.key])) === 1
})

const page = 500

/** Removes runs that ended before a time, page by page, so that others get their turn. */
export const cleanup = Effect.fnUntraced(function* (olderThan: Duration.DurationInput, workflow: string | undefined) {
  const storage = yield* Storage.Storage
  const before = (yield* storage.now) - Duration.toMillis(olderThan)
  let removed = 0
  for (const status of ["completed", "failed"] as const) {
    let last: number | undefined
    for (;;) {
      const runs = yield* storage.list({ workflow, status, before: last, limit: page })
      const old = runs.filter(({ outcome }) => outcome !== undefined && outcome.at < before)
      removed += old.length === 0 ? 0 : yield* storage.removeRuns(old.map(({ key }) => key))
      if (runs.length < page) break
      last = runs.at(-1)?.key
    }
  }
  return removed
})

export const stats = Effect.flatMap(Storage.Storage, (storage) =>
  Effect.map(storage.countRuns, (counts) =>
    counts.map(({ newest, oldest, ...count }) => ({ ...count, oldest: new Date(oldest), newest: new Date(newest) }))
  )
)
