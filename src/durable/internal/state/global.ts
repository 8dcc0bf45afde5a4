import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { RunError } from "../../../journal/RunError.js"
import type { FullSnapshot } from "../../../storage/Storage.js"
import type { Written } from "../execution/cells.js"
import * as Execution from "../execution/execution.js"
import { encodeWrite } from "./cells.js"
import type { Next } from "./service.js"

/** How many values of a cell are kept as its history. */
const maxKept = 100

/** The number of writes of each cell by this process. */
const writeCounts = new Map<string, number>()

/**
 * Cells shared by all runs of a storage. Each value is a snapshot that belongs to
 * no run. It is saved only if the value it was computed from is still the newest.
 */
export const globalCells = (execution: Execution.Execution) => {
  const { clock, storage } = execution
  const orStop = <A, E extends RunError>(effect: Effect.Effect<A, E>) => Execution.orStop(execution, effect)

  const write = <E, R>(name: string, next: Next<E, R>, key: string | undefined): Effect.Effect<Written, E, R> =>
    Effect.flatMap(orStop(storage.newest({ run: null, name: nameOf(name) })), (found) => {
      const current = Option.getOrUndefined(found)
      return Effect.flatMap(next(current && writtenOf(current)), (text) => {
        const at = clock.unsafeCurrentTimeMillis()
        const entry =
          key === undefined
            ? undefined
            : Execution.nextEntry(execution, "StateSet", key, 0, encodeWrite({ cell: name, text }), at)
        const saved = storage.save(toSnapshot(name, text, at), {
          lease: execution.lease,
          after: current?.key ?? 0,
          entry: entry && (() => entry)
        })
        return Effect.flatMap(orStop(saved), (key) =>
          // Another process wrote first: computes the value again from its value.
          Option.isNone(key) ? write(name, next, entry?.step) : Effect.as(afterSave(name, { text, at }), { text, at })
        )
      })
    })

  const afterSave = (name: string, written: Written): Effect.Effect<void> => {
    execution.cells.notify(nameOf(name), written)
    return trim(name)
  }

  /** Removes old values at every 20th write. */
  const trim = (name: string): Effect.Effect<void> => {
    const count = (writeCounts.get(name) ?? 0) + 1
    writeCounts.set(name, count)
    return count % 20 !== 0
      ? Effect.void
      : Effect.flatMap(orStop(storage.snapshots({ run: null, name: nameOf(name), limit: 10 * maxKept })), (all) =>
          Effect.asVoid(orStop(storage.remove(all.slice(maxKept).map(({ key }) => key))))
        )
  }

  const history = (name: string, limit: number): Effect.Effect<ReadonlyArray<Written>> =>
    Effect.flatMap(orStop(storage.snapshots({ run: null, name: nameOf(name), limit })), (all) =>
      Effect.map(
        Effect.forEach(all, ({ key }) => orStop(storage.snapshot(key))),
        (found) => found.flatMap(Option.toArray).map(writtenOf)
      )
    )

  return { write, history }
}

/** The kind of snapshots that are values of shared cells, not checkpoints. */
export const sharedKind = "effect-recovery/state"

export const nameOf = (cell: string): string => `state/${cell}`

const writtenOf = ({ at, state }: FullSnapshot): Written => ({ text: state === "" ? undefined : String(state), at })

const toSnapshot = (cell: string, text = "", at: number): Omit<FullSnapshot, "key" | "rewound"> => ({
  run: undefined,
  step: "",
  seq: 0,
  name: nameOf(cell),
  kind: sharedKind,
  version: 1,
  schema: "",
  digest: "",
  size: text.length,
  encoding: "json",
  labels: {},
  about: "{}",
  at,
  state: text
})
