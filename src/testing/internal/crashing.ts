import * as Effect from "effect/Effect"
import type * as Storage from "../../storage/Storage.js"

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

export const makeCrasher = (point: CrashPoint | undefined, crash: Effect.Effect<never>): Crasher => {
  let writes = 0
  let isDead = false
  const die = Effect.suspend(() => {
    isDead = true
    return crash
  })
  return {
    isDead: () => isDead,
    other: (operation) => Effect.suspend(() => (isDead ? Effect.never : operation)),
    write: (operation) =>
      Effect.suspend(() => {
        if (isDead) return Effect.never
        if (++writes !== point?.write) return operation
        return point.when === "before" ? die : Effect.zipRight(operation, die)
      })
  }
}

const writes = ["append", "transactional", "rewind", "finish", "suspend", "save", "remove", "open", "reopen"] as const

/**
 * The store, or the service over it, of a process that ends at a crash point.
 * Locks and leases are no writes of the run, but a dead process must not release
 * or renew them.
 */
export const crashing = <S extends Storage.Store | Storage.Service>(on: S, { other, write }: Crasher): S => {
  const wrap = (names: ReadonlyArray<keyof S>, wrapper: Crasher["write"]) =>
    Object.fromEntries(
      names.flatMap((name) => {
        const operation = on[name]
        return typeof operation !== "function"
          ? []
          : [[name, (...args: ReadonlyArray<unknown>) => wrapper(operation(...args))] as const]
      })
    )
  const others = ["lock", "renewLock", "unlock", "release", ...("renew" in on ? ["renew" as const] : [])] as const
  // Each wrapped operation has the arguments and the result of the one it wraps.
  return { ...on, ...wrap(writes, write), ...wrap(others as ReadonlyArray<keyof S>, other) } as S
}
