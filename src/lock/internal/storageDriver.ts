import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { isHeld } from "../../storage/rows.js"
import type * as Storage from "../../storage/Storage.js"
import type { StorageError } from "../../storage/StorageError.js"
import { type Attempt, type Driver, format, type Grip } from "../LockDriver.js"
import { LockError, type LockStatus } from "../LockError.js"

/** Numbers the attempts of this process. Global, since several drivers may share one storage. */
let attempts = 0

/** Locks as leases in the storage. */
export const storageDriver = (storage: Storage.Service, poll: Duration.DurationInput): Driver => {
  const gripOf = (lease: Storage.LockLease): Grip => ({
    token: lease.token,
    renew: ofLock(lease.name, storage.renewLock(lease, storage.leaseMillis)),
    release: ofLock(lease.name, storage.unlock(lease.name, lease.owner))
  })

  return {
    // One name in two storages is two locks.
    keyOf: (name) => Effect.succeed(`${storage.owner}:${format(name)}`),
    attempt: (_, name, restore) =>
      Effect.suspend(() => {
        const lock = format(name)
        const owner = `${storage.owner}/lock-${++attempts}`
        return restore(storage.lock(lock, owner, storage.leaseMillis)).pipe(
          Effect.map(
            (locked): Attempt =>
              locked._tag === "Locked"
                ? { _tag: "Acquired", grip: gripOf(locked.lease) }
                : { _tag: "Busy", status: toStatus(locked.row, true) }
          ),
          // A failed or interrupted attempt may have acquired the lock, so it is released.
          // In the background: a busy database must not delay the interruption.
          Effect.onExit((exit) =>
            Exit.isFailure(exit) ? Effect.forkDaemon(Effect.ignore(storage.unlock(lock, owner))) : Effect.void
          ),
          (attempt) => ofLock(lock, attempt)
        )
      }),
    status: (_, name) => {
      const lock = format(name)
      return ofLock(
        lock,
        Effect.zipWith(storage.findLock(lock), storage.now, (row, now) =>
          Option.match(row, {
            onNone: (): LockStatus => ({ lock, state: "free", token: 0, owner: undefined, since: undefined }),
            onSome: (found) => toStatus(found, isHeld(found, now))
          })
        )
      )
    },
    list: ofLock(
      "all",
      Effect.zipWith(storage.locks, storage.now, (rows, now) => rows.map((row) => toStatus(row, isHeld(row, now))))
    ),
    cleanup: (olderThan) =>
      ofLock(
        "all",
        Effect.flatMap(storage.now, (now) => storage.removeLocks(now - olderThan))
      ),
    heartbeat: storage.leaseMillis / 3,
    // The holder gives up before the lease expires for the others.
    patience: (storage.leaseMillis * 5) / 6,
    poll
  }
}

const ofLock = <A>(lock: string, self: Effect.Effect<A, StorageError>): Effect.Effect<A, LockError> =>
  Effect.mapError(self, (cause) => new LockError({ reason: "Storage", lock, cause }))

const toStatus = ({ name, owner, since, token }: Storage.LockRow, held: boolean): LockStatus => ({
  lock: name,
  state: held ? "held" : owner === undefined ? "free" : "stale",
  token,
  owner,
  since
})
