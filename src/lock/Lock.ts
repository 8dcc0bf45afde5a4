/**
 * Mutual exclusion by name, between fibers and between processes. One interface
 * with a Layer per kind: `Lock.layerStorage` keeps locks as leases in the
 * storage; `FileLock.layer` and `DirectoryLock.layer` of `effect-recovery/files`
 * keep them in a folder.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { InvalidOption } from "../resilience/InvalidOption.js"
import * as Storage from "../storage/Storage.js"
import * as service from "./internal/service.js"
import { storageDriver } from "./internal/storageDriver.js"
import type { Driver, Held, HeldLock, Name } from "./LockDriver.js"
import type { LockError, LockLost, LockStatus, LockTimeout } from "./LockError.js"

export {
  /**
   * @since 0.1.0
   * @category errors
   */
  InvalidOption
} from "../resilience/InvalidOption.js"
export {
  /** @since 0.1.0 */
  nextToken
} from "../storage/rows.js"
/** @since 0.1.0 */
export * from "./LockDriver.js"
/** @since 0.1.0 */
export * from "./LockError.js"

/**
 * The lock of a task. The id is any text that `Workflow.InvalidName` does not refuse.
 *
 * @since 0.1.0
 * @category names
 */
export const task = (id: string): Name => ({ kind: "task", id })

/**
 * The lock of an agent, or of any other worker.
 *
 * @since 0.1.0
 * @category names
 */
export const agent = (id: string): Name => ({ kind: "agent", id })

/**
 * The lock of a file or folder, by its path. The layers of
 * `effect-recovery/files` resolve relative paths and symbolic links, so every
 * path of one file is one lock. `Lock.layerStorage` compares the text only.
 *
 * @since 0.1.0
 * @category names
 */
export const resource = (path: string): Name => ({ kind: "resource", id: path })

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** How long to wait for the lock. Default: 30 seconds. 0 does not wait, `Infinity` waits without limit. */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Service {
  readonly acquire: (
    name: Name | string,
    options?: Options
  ) => Effect.Effect<HeldLock, LockTimeout | LockError, Scope.Scope>
  readonly acquireIfAvailable: (name: Name | string) => Effect.Effect<Option.Option<HeldLock>, LockError, Scope.Scope>
  readonly withLock: <A, E, R>(
    self: Effect.Effect<A, E, R>,
    name: Name | string,
    options?: Options
  ) => Effect.Effect<A, E | LockTimeout | LockLost | LockError, Exclude<R, Held>>
  readonly withLockIfAvailable: <A, E, R>(
    self: Effect.Effect<A, E, R>,
    name: Name | string
  ) => Effect.Effect<Option.Option<A>, E | LockLost | LockError, Exclude<R, Held>>
  readonly status: (name: Name | string) => Effect.Effect<LockStatus, LockError>
  readonly list: Effect.Effect<ReadonlyArray<LockStatus>, LockError>
  readonly cleanup: (olderThan: Duration.DurationInput) => Effect.Effect<number, LockError | InvalidOption>
}

/**
 * @since 0.1.0
 * @category services
 */
export class Lock extends Context.Tag("effect-recovery/Lock")<Lock, Service>() {}

/**
 * Runs the effect while it holds the lock, and provides {@link Held}. Callers
 * of one process acquire the lock in FIFO order.
 *
 * If the lock is lost, the effect is interrupted and fails with `LockLost`, even
 * if the loss is detected only at its end. A fiber that already holds the lock
 * gets a `LockError` with the reason `Reentrant`.
 *
 * @example
 * ```ts
 * import { Lock, Storage } from "effect-recovery"
 * import { Effect } from "effect"
 *
 * const complete = Effect.gen(function* () {
 *   const { lock } = yield* Lock.Held
 *   return `${lock} completed`
 * }).pipe(Lock.withLock(Lock.task("T-1"), { timeout: "10 seconds" }))
 *
 * complete.pipe(
 *   Effect.provide(Lock.layerStorage()),
 *   Effect.provide(Storage.layerMemory),
 *   Effect.runPromise
 * ).then(console.log) // task/T-1 completed
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const withLock: {
  /**
   * Runs the effect while it holds the lock, and waits for the lock in FIFO order. If the lock is lost,
   * the effect is interrupted and fails with `LockLost`.
   */
  (
    name: Name | string,
    options?: Options
  ): <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | LockTimeout | LockLost | LockError, Exclude<R, Held> | Lock>
  /**
   * Runs the effect while it holds the lock, and waits for the lock in FIFO order. If the lock is lost,
   * the effect is interrupted and fails with `LockLost`.
   */
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    name: Name | string,
    options?: Options
  ): Effect.Effect<A, E | LockTimeout | LockLost | LockError, Exclude<R, Held> | Lock>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(self: Effect.Effect<A, E, R>, name: Name | string, options?: Options) =>
    Effect.flatMap(Lock, (locks) => locks.withLock(self, name, options))
)

/**
 * {@link withLock} without waiting: if another caller holds the lock, the effect
 * does not run and the result is `None`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const withLockIfAvailable: {
  /**
   * Runs the effect while it holds the lock. If another caller holds it, the effect does not run and the
   * result is `None`.
   */
  (
    name: Name | string
  ): <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<Option.Option<A>, E | LockLost | LockError, Exclude<R, Held> | Lock>
  /**
   * Runs the effect while it holds the lock. If another caller holds it, the effect does not run and the
   * result is `None`.
   */
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    name: Name | string
  ): Effect.Effect<Option.Option<A>, E | LockLost | LockError, Exclude<R, Held> | Lock>
} = dual(2, <A, E, R>(self: Effect.Effect<A, E, R>, name: Name | string) =>
  Effect.flatMap(Lock, (locks) => locks.withLockIfAvailable(self, name))
)

/**
 * Acquires the lock for the rest of the scope. A loss of the lock does not
 * interrupt the scope: race the protected work with `lost`, or call `check`
 * before work that must not happen twice. {@link withLock} does both.
 *
 * @since 0.1.0
 * @category constructors
 */
export const acquire = (
  name: Name | string,
  options?: Options
): Effect.Effect<HeldLock, LockTimeout | LockError, Lock | Scope.Scope> =>
  Effect.flatMap(Lock, (locks) => locks.acquire(name, options))

/**
 * {@link acquire} without waiting: `None` if another caller holds the lock.
 *
 * @since 0.1.0
 * @category constructors
 */
export const acquireIfAvailable = (
  name: Name | string
): Effect.Effect<Option.Option<HeldLock>, LockError, Lock | Scope.Scope> =>
  Effect.flatMap(Lock, (locks) => locks.acquireIfAvailable(name))

/**
 * The state of a lock. A snapshot only: it may change at once.
 *
 * @since 0.1.0
 * @category accessors
 */
export const status = (name: Name | string): Effect.Effect<LockStatus, LockError, Lock> =>
  Effect.flatMap(Lock, (locks) => locks.status(name))

/**
 * All locks that have a record (a row, file or folder), sorted by name.
 *
 * @since 0.1.0
 * @category accessors
 */
export const list: Effect.Effect<ReadonlyArray<LockStatus>, LockError, Lock> = Effect.flatMap(
  Lock,
  (locks) => locks.list
)

/**
 * Removes the records of free and stale locks that were unused for `olderThan`,
 * and returns their number. Safe while other processes acquire locks. Fails with
 * `InvalidOption`, and removes nothing, unless `olderThan` is finite and above 0.
 *
 * @since 0.1.0
 * @category execution
 */
export const cleanup = (olderThan: Duration.DurationInput): Effect.Effect<number, LockError | InvalidOption, Lock> =>
  Effect.flatMap(Lock, (locks) => locks.cleanup(olderThan))

/**
 * Makes the lock service from a driver.
 *
 * @since 0.1.0
 * @category drivers
 */
export const make = (driver: Driver): Service => service.make(driver)

/**
 * @since 0.1.0
 * @category layers
 */
export interface StorageOptions {
  /** The longest wait between two attempts, at least 1 millisecond. Default: 100 milliseconds. */
  readonly poll?: Duration.DurationInput | undefined
}

/**
 * Locks as leases in the storage: between fibers with `Storage.layerMemory`,
 * between processes with SQLite. A lock has the lease duration of the storage
 * layer and is renewed at a third of it. If its process dies on this host, the
 * lock is free at once.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerStorage = (options?: StorageOptions): Layer.Layer<Lock, never, Storage.Storage> =>
  Layer.effect(
    Lock,
    Effect.map(Storage.Storage, (storage) => make(storageDriver(storage, options?.poll ?? "100 millis")))
  )
