import * as Effect from "effect/Effect"
import type * as Storage from "../../storage/Storage.js"

/** Where a process ends: at one of its durable writes. */
export interface CrashPoint {
  /** 1 for the first. */
  readonly write: number
  readonly when: "before" | "after"
}

export const describe = ({ when, write }: CrashPoint): string => `${when} write ${write}`

/** Lets operations through until one of them is the point, and nothing after it. */
export interface Crasher {
  /** For an operation that leaves something behind. */
  readonly write: <A, E, R>(operation: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** For any other: nothing a dead process asks is answered. */
  readonly other: <A, E, R>(operation: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  readonly writes: () => number
  readonly isDead: () => boolean
}

export const makeCrasher = (point: CrashPoint | undefined, crash: Effect.Effect<never>): Crasher => {
  let writes = 0
  let dead = false
  const die = Effect.suspend(() => {
    dead = true
    return crash
  })
  return {
    writes: () => writes,
    isDead: () => dead,
    other: (operation) => Effect.suspend(() => (dead ? Effect.never : operation)),
    write: (operation) =>
      Effect.suspend(() => {
        if (dead) return Effect.never
        if (++writes !== point?.write) return operation
        return point.when === "before" ? die : Effect.zipRight(operation, die)
      })
  }
}

/** What a store and the service over it have in common, and leaves something behind. */
type Written = "append" | "transactional" | "rewind" | "finish" | "suspend" | "save" | "remove"

const writing = <S extends Pick<Storage.Store, Written>>(on: S, { write }: Crasher): Pick<Storage.Store, Written> => ({
  append: (...args) => write(on.append(...args)),
  transactional: (lease, body) => write(on.transactional(lease, body)),
  rewind: (...args) => write(on.rewind(...args)),
  finish: (...args) => write(on.finish(...args)),
  suspend: (...args) => write(on.suspend(...args)),
  save: (...args) => write(on.save(...args)),
  remove: (...args) => write(on.remove(...args))
})

type Locking = Pick<Storage.Store, "lock" | "renewLock" | "unlock">

/** A lock is no record of what a run did; but a dead process gives none back. */
const locking = (on: Locking, { other }: Crasher): Locking => ({
  lock: (...args) => other(on.lock(...args)),
  renewLock: (...args) => other(on.renewLock(...args)),
  unlock: (...args) => other(on.unlock(...args))
})

/** A store of a process that ends at a point. Renewing a lease changes nothing a run could see. */
export const crashingStore = (store: Storage.Store, crasher: Crasher): Storage.Store => ({
  ...store,
  ...writing(store, crasher),
  open: (...args) => crasher.write(store.open(...args)),
  reopen: (...args) => crasher.write(store.reopen(...args)),
  ...locking(store, crasher),
  renew: (...args) => crasher.other(store.renew(...args)),
  release: (...args) => crasher.other(store.release(...args))
})

/** The same for the service over a store. */
export const crashingService = (service: Storage.Service, crasher: Crasher): Storage.Service => ({
  ...service,
  ...writing(service, crasher),
  ...locking(service, crasher),
  open: (...args) => crasher.write(service.open(...args)),
  reopen: (...args) => crasher.write(service.reopen(...args)),
  release: (...args) => crasher.other(service.release(...args))
})
