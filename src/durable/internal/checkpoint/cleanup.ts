import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { InvalidOption } from "../../../resilience/InvalidOption.js"
import * as options from "../../../resilience/internal/kernel/options.js"
import { escapeName, withoutUse } from "../../../resilience/Key.js"
import type { Service, Snapshot, StorageError } from "../../../storage/Storage.js"
import type { Info, Retention } from "../../Checkpoint.js"
import { forEach, removeKeys } from "./query.js"
import { isIntact } from "./stateCodec.js"

/** A retention whose options were checked. Infinity stands for no limit. */
export interface Limits {
  readonly keep: number
  /** In milliseconds. */
  readonly maxAge: number
  readonly per: ReadonlyArray<string>
}

export const limitsOf = ({ keep = Infinity, maxAge, per = [] }: Retention): Limits => ({
  keep: options.wholeOrInfinity("keep", keep, 1),
  maxAge: maxAge === undefined ? Infinity : options.age("maxAge", maxAge),
  per
})

/** Whether it was saved in the body of a run. The run's journal refers to such a checkpoint. */
const isInBody = ({ name, step }: Snapshot): boolean => {
  const key = step.slice(step.lastIndexOf("/") + 1)
  return withoutUse(key) === `${escapeName(name)}!`
}

/** The values of the labels that are counted apart; `undefined` if one is missing, so that it is not counted. */
const valuesOf = (
  labels: Readonly<Record<string, string>>,
  per: ReadonlyArray<string>
): Readonly<Record<string, string>> | undefined => {
  const values: Record<string, string> = {}
  for (const label of per) {
    const value = Object.hasOwn(labels, label) ? labels[label] : undefined
    if (value === undefined) return undefined
    values[label] = value
  }
  return values
}

/** How many each save removes at most, beyond the usual one. */
const slack = 100

/** Removes older checkpoints of the same run and name after a save. The one that was just saved stays. */
export const trim = (
  storage: Service,
  { id, labels, name, run }: Info,
  { keep, maxAge, per }: Limits
): Effect.Effect<void, StorageError> =>
  Effect.gen(function* () {
    const here = { run: run ?? null, name }
    const values = valuesOf(labels, per)
    const isOther = (snapshot: Snapshot) => String(snapshot.key) !== id && !isInBody(snapshot)
    const keys = new Set<number>()
    if (keep !== Infinity && values !== undefined) {
      const newest = yield* storage.snapshots({ ...here, labels: values, limit: keep + slack })
      for (const { key } of newest.filter(isOther).slice(keep - 1)) keys.add(key)
    }
    if (maxAge !== Infinity) {
      const takenBefore = (yield* storage.now) - maxAge
      const oldest = yield* storage.snapshots({ ...here, takenBefore, order: "oldest", limit: slack })
      for (const { key } of oldest.filter(isOther)) keys.add(key)
    }
    if (keys.size > 0) yield* storage.remove([...keys])
  })

/** The excess of one run and name. */
interface Excess {
  readonly run: string | undefined
  readonly name: string
  readonly keys: Array<number>
}

export const cleanup = (
  storage: Service,
  {
    labels,
    name,
    ...retention
  }: Retention & { readonly name?: string | undefined; readonly labels?: Readonly<Record<string, string>> | undefined }
): Effect.Effect<number, StorageError | InvalidOption> =>
  Effect.gen(function* () {
    const { keep, maxAge, per } = yield* options.checked(() => limitsOf(retention))
    if (keep === Infinity && maxAge === Infinity) return 0
    const oldest = (yield* storage.now) - maxAge
    const excess = new Map<string, Excess>()
    const counts = new Map<string, number>()
    const isTooMany = (snapshot: Snapshot): boolean => {
      const values = valuesOf(snapshot.labels, per)
      if (values === undefined) return false
      const group = JSON.stringify([snapshot.run ?? null, snapshot.name, Object.values(values)])
      const count = (counts.get(group) ?? 0) + 1
      counts.set(group, count)
      return count > keep
    }
    // Without a count to keep, only the old ones are read.
    const query = { name, labels, rewound: true, takenBefore: keep === Infinity ? oldest : undefined }
    yield* forEach(storage, query, (snapshot) => {
      const isExcess = isTooMany(snapshot) || snapshot.at < oldest
      if (!isExcess) return
      const group = JSON.stringify([snapshot.run ?? null, snapshot.name])
      const known = excess.get(group)
      if (known !== undefined) known.keys.push(snapshot.key)
      else excess.set(group, { run: snapshot.run, name: snapshot.name, keys: [snapshot.key] })
    })
    const keys: Array<number> = []
    for (const group of excess.values()) {
      const needed = yield* newestNeeded(storage, group)
      for (const key of group.keys) if (key !== needed) keys.push(key)
    }
    return yield* removeKeys(storage, keys)
  })

/** The newest intact checkpoint of a run without an outcome: the run may be rewound to it. */
const newestNeeded = (storage: Service, { name, run }: Excess): Effect.Effect<number | undefined, StorageError> =>
  Effect.gen(function* () {
    if (run === undefined) return undefined
    const found = yield* storage.find(run)
    if (Option.isNone(found) || found.value.outcome !== undefined) return undefined
    for (let before: number | undefined; ; ) {
      const [newest] = yield* storage.snapshots({ run, name, before, limit: 1 })
      if (newest === undefined || (yield* isIntact(storage, String(newest.key)))) return newest?.key
      before = newest.key
    }
  })
