import * as Effect from "effect/Effect"
import type * as Storage from "../../storage/Storage.js"
import type { VirtualClock } from "./testClock.js"

/** The durable write at which a process ends. */
export interface CrashPoint {
  /** Starts at 1. */
  readonly write: number
  readonly when: "before" | "after"
}

export const describe = ({ when, write }: CrashPoint): string => `${when} write ${write}`

/** Runs operations until one of them is the crash point, and none after it. */
export interface Crasher {
  /** For an operation that the run can observe later. */
  readonly write: <A, E, R>(operation: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** For other operations: they never return to a dead process. */
  readonly other: <A, E, R>(operation: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  readonly isDead: () => boolean
}

/** What a dead process does next. `Effect.never` has a timer, which would keep the living process from ending. */
export const dead: Effect.Effect<never> = Effect.async<never>(() => {})

export const makeCrasher = (point: CrashPoint | undefined, crash: Effect.Effect<never>): Crasher => {
  let writes = 0
  let isDead = false
  const die = Effect.suspend(() => {
    isDead = true
    return crash
  })
  return {
    isDead: () => isDead,
    other: (operation) => Effect.suspend(() => (isDead ? dead : operation)),
    write: (operation) =>
      Effect.suspend(() => {
        if (isDead) return dead
        if (++writes !== point?.write) return operation
        return point.when === "before" ? die : Effect.zipRight(operation, die)
      })
  }
}

/**
 * What a crash does to each operation of a store. `write`: a process can end right before or after it, since the run
 * can observe it later. `other`: no crash point, since no run depends on it, but a dead process must not do it any more.
 * `read`: changes nothing, so a dead process may do it.
 */
const kinds: Readonly<Record<keyof Storage.Store, "write" | "other" | "read">> = {
  open: "write",
  claimDue: "write",
  append: "write",
  transactional: "write",
  rewind: "write",
  reopen: "write",
  enqueue: "write",
  hold: "write",
  releaseHold: "write",
  cancel: "write",
  terminate: "write",
  continueAs: "write",
  adopt: "write",
  controls: "read",
  queues: "read",
  finish: "write",
  suspend: "write",
  signal: "write",
  save: "write",
  saveAll: "write",
  remove: "write",
  removeRuns: "write",
  renew: "other",
  release: "other",
  endPlacedLeases: "other",
  lock: "other",
  renewLock: "other",
  unlock: "other",
  removeLocks: "other",
  write: "other",
  count: "other",
  removeRecords: "other",
  restore: "other",
  signals: "read",
  backlog: "read",
  find: "read",
  journal: "read",
  payload: "read",
  list: "read",
  countRuns: "read",
  snapshots: "read",
  fullSnapshots: "read",
  newest: "read",
  snapshot: "read",
  findLock: "read",
  locks: "read",
  findRecord: "read",
  records: "read",
  counters: "read",
  usage: "read",
  check: "read",
  now: "read",
  changes: "read"
}

/** The store, or the service over it, of a process that ends at a crash point. */
export const crashing = <S extends Storage.Store | Storage.Service>(on: S, { other, write }: Crasher): S => {
  const wrappers = { write, other, read: undefined }
  return wrapping(on, (name) => wrappers[kinds[name]])
}

/** The store under a clock that stands still while the store works. */
export const working = <S extends Storage.Store | Storage.Service>(on: S, clock: VirtualClock): S =>
  // What the program does inside its transaction may take time.
  wrapping(on, (name) => (name === "transactional" || name === "changes" ? undefined : clock.standStill))

type Wrapper = <A, E, R>(operation: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** Wraps each operation that is a function and for which there is a wrapper. */
const wrapping = <S extends Storage.Store | Storage.Service>(
  on: S,
  wrapperOf: (name: keyof Storage.Store) => Wrapper | undefined
): S => {
  // `kinds` has the names of all operations and no other keys.
  const names = Object.keys(kinds) as ReadonlyArray<keyof Storage.Store>
  const wrapped = names.flatMap((name) => {
    const operation: unknown = name in on ? on[name as keyof S] : undefined
    const wrapper = wrapperOf(name)
    return wrapper === undefined || typeof operation !== "function"
      ? []
      : [[name, (...args: ReadonlyArray<unknown>) => wrapper(operation(...args))] as const]
  })
  // Each wrapped operation has the arguments and the result of the one it wraps.
  return { ...on, ...Object.fromEntries(wrapped) } as S
}
