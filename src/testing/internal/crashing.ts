import * as Effect from "effect/Effect"
import type * as Storage from "../../storage/Storage.js"

/** Where a process ends: at one of its durable writes. */
export interface CrashPoint {
  /** 1 for the first. */
  readonly write: number
  readonly when: "before" | "after"
}

export const describe = ({ when, write }: CrashPoint): string => `${when} write ${write}`

/** Whether an operation leaves something behind; renewing a lease changes nothing a run could see. */
type Write = "open" | "append" | "transactional" | "rewind" | "reopen" | "finish" | "save" | "remove"

/** Runs `crash` instead of, or right after, one durable write. */
export const crashingStore = (
  store: Storage.Store,
  point: CrashPoint | undefined,
  crash: Effect.Effect<never>
): { readonly store: Storage.Store; readonly writes: () => number; readonly isDead: () => boolean } => {
  let writes = 0
  let dead = false
  const die = Effect.suspend(() => {
    dead = true
    return crash
  })
  const guard = <A, E, R>(write: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.suspend(() => {
      if (dead) return Effect.never
      if (++writes !== point?.write) return write
      return point.when === "before" ? die : Effect.zipRight(write, die)
    })
  /** Nothing a dead process asks is answered. */
  const alive = <A, E, R>(read: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.suspend(() => (dead ? Effect.never : read))
  const guarded: Pick<Storage.Store, Write> = {
    open: (...args) => guard(store.open(...args)),
    append: (...args) => guard(store.append(...args)),
    transactional: (lease, body) => guard(store.transactional(lease, body)),
    rewind: (...args) => guard(store.rewind(...args)),
    reopen: (...args) => guard(store.reopen(...args)),
    finish: (...args) => guard(store.finish(...args)),
    save: (...args) => guard(store.save(...args)),
    remove: (...args) => guard(store.remove(...args))
  }
  return {
    writes: () => writes,
    isDead: () => dead,
    store: {
      ...store,
      ...guarded,
      renew: (...args) => alive(store.renew(...args)),
      release: (...args) => alive(store.release(...args))
    }
  }
}
