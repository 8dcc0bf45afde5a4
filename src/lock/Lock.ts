/**
 * Exclusive access, by name, between fibers and processes: one interface, and
 * a Layer for each way to have it. `Lock.layerStorage` keeps locks as leases in
 * the storage; `FileLock.layer` and `DirectoryLock.layer` of
 * `effect-recovery/files` keep them in a folder.
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
import { nextToken as nextToken_ } from "../storage/internal/locks.js"
import * as Storage from "../storage/Storage.js"
import { type HeldLock as HeldLock_, Held as HeldTag } from "./internal/held.js"
import * as names from "./internal/names.js"
import * as service from "./internal/service.js"
import { storageDriver } from "./internal/storageDriver.js"
import { LockError, LockLost, type LockReason, type LockStatus, LockTimeout } from "./LockError.js"

export {
  /**
   * A lock could not be asked for, whoever holds it.
   *
   * @since 0.1.0
   * @category errors
   */
  LockError,
  /**
   * The lock was lost while it was held.
   *
   * @since 0.1.0
   * @category errors
   */
  LockLost,
  /**
   * What went wrong with a lock.
   *
   * @since 0.1.0
   * @category models
   */
  type LockReason,
  /**
   * How a lock stands.
   *
   * @since 0.1.0
   * @category models
   */
  type LockStatus,
  /**
   * Somebody else held the lock for as long as the caller would wait.
   *
   * @since 0.1.0
   * @category errors
   */
  LockTimeout
}

/**
 * What is locked. A plain text is a name of the kind `lock`.
 *
 * @since 0.1.0
 * @category names
 */
export interface Name {
  readonly kind: string
  readonly id: string
}

/**
 * The lock of a task. Any text is a good id.
 *
 * @since 0.1.0
 * @category names
 */
export const task = (id: string): Name => ({ kind: "task", id })

/**
 * The lock of an agent, or of whatever else works on tasks.
 *
 * @since 0.1.0
 * @category names
 */
export const agent = (id: string): Name => ({ kind: "agent", id })

/**
 * The lock of a file or a folder, by its path. The layers of
 * `effect-recovery/files` lock what the path leads to, however it is written;
 * for `Lock.layerStorage` the text alone counts.
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
  /** How long to wait for whoever holds it. Defaults to 30 seconds; `Duration.infinity` waits for ever. */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * A lock that is held.
 *
 * @since 0.1.0
 * @category models
 */
export interface HeldLock extends HeldLock_ {}

/**
 * The lock around. {@link withLock} provides it, and an effect that needs it
 * does not compile outside of one.
 *
 * @since 0.1.0
 * @category services
 */
export const Held: typeof HeldTag = HeldTag
/**
 * @since 0.1.0
 * @category services
 */
export type Held = HeldTag

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
  readonly cleanup: (olderThan: Duration.DurationInput) => Effect.Effect<number, LockError>
}

/**
 * @since 0.1.0
 * @category services
 */
export class Lock extends Context.Tag("effect-recovery/Lock")<Lock, Service>() {}

/**
 * Runs the effect while it holds the lock, and provides {@link Held}. Callers
 * of one process get the lock in the order in which they came.
 *
 * If the lock is lost the effect is interrupted, and `LockLost` surfaces; also
 * if the loss is found only at its end. A fiber that holds the lock already is
 * refused with a `LockError`, since it would wait for itself.
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
  (
    name: Name | string,
    options?: Options
  ): <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | LockTimeout | LockLost | LockError, Exclude<R, Held> | Lock>
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    name: Name | string,
    options?: Options
  ): Effect.Effect<A, E | LockTimeout | LockLost | LockError, Exclude<R, Held> | Lock>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    name: Name | string,
    options?: Options
  ): Effect.Effect<A, E | LockTimeout | LockLost | LockError, Exclude<R, Held> | Lock> =>
    Effect.flatMap(Lock, (locks) => locks.withLock(self, name, options))
)

/**
 * As {@link withLock}, but does not wait: nothing is run if somebody else
 * holds the lock.
 *
 * @since 0.1.0
 * @category combinators
 */
export const withLockIfAvailable: {
  (
    name: Name | string
  ): <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<Option.Option<A>, E | LockLost | LockError, Exclude<R, Held> | Lock>
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    name: Name | string
  ): Effect.Effect<Option.Option<A>, E | LockLost | LockError, Exclude<R, Held> | Lock>
} = dual(
  2,
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    name: Name | string
  ): Effect.Effect<Option.Option<A>, E | LockLost | LockError, Exclude<R, Held> | Lock> =>
    Effect.flatMap(Lock, (locks) => locks.withLockIfAvailable(self, name))
)

/**
 * Acquires the lock for the rest of the scope. Nothing interrupts the scope
 * when the lock is lost: race what it protects with `lost`, or ask `check`
 * before what must not be done twice. {@link withLock} does both.
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
 * As {@link acquire}, but does not wait.
 *
 * @since 0.1.0
 * @category constructors
 */
export const acquireIfAvailable = (
  name: Name | string
): Effect.Effect<Option.Option<HeldLock>, LockError, Lock | Scope.Scope> =>
  Effect.flatMap(Lock, (locks) => locks.acquireIfAvailable(name))

/**
 * How a lock stands at the moment. To look is not to lock: it may be another
 * way the moment after.
 *
 * @since 0.1.0
 * @category accessors
 */
export const status = (name: Name | string): Effect.Effect<LockStatus, LockError, Lock> =>
  Effect.flatMap(Lock, (locks) => locks.status(name))

/**
 * All locks there are traces of, by name.
 *
 * @since 0.1.0
 * @category accessors
 */
export const list: Effect.Effect<ReadonlyArray<LockStatus>, LockError, Lock> = Effect.flatMap(
  Lock,
  (locks) => locks.list
)

/**
 * Removes the traces of locks nobody holds that were not used for a time, and
 * answers with how many there were. Whoever acquires one meanwhile is safe.
 *
 * @since 0.1.0
 * @category execution
 */
export const cleanup = (olderThan: Duration.DurationInput): Effect.Effect<number, LockError, Lock> =>
  Effect.flatMap(Lock, (locks) => locks.cleanup(olderThan))

/**
 * What came of one attempt to acquire a lock.
 *
 * @since 0.1.0
 * @category drivers
 */
export type Attempt =
  | { readonly _tag: "Acquired"; readonly grip: Grip }
  | { readonly _tag: "Busy"; readonly status: LockStatus }

/**
 * A lock in the hands of its driver. Its operations are called one after the
 * other, `release` once and last.
 *
 * @since 0.1.0
 * @category drivers
 */
export interface Grip {
  readonly token: number
  /** Says that the holder is alive. False: the lock is lost. */
  readonly renew: Effect.Effect<boolean, LockError>
  /** Gives the lock back. False: it had been lost before. */
  readonly release: Effect.Effect<boolean, LockError>
}

/**
 * What a kind of lock must do; {@link make} does the rest: order, waiting,
 * re-entrancy, timeouts, and telling of a loss.
 *
 * @since 0.1.0
 * @category drivers
 */
export interface Driver {
  /** What is locked by this name. Two names with one key are one lock. */
  readonly keyOf: (name: Name) => Effect.Effect<string, LockError>
  /**
   * One attempt without waiting, called where nothing can interrupt. What may
   * take long goes into `restore`; interrupted there, it leaves no lock behind.
   */
  readonly attempt: (key: string, name: Name, restore: Storage.Restore) => Effect.Effect<Attempt, LockError>
  readonly status: (key: string, name: Name) => Effect.Effect<LockStatus, LockError>
  readonly list: Effect.Effect<ReadonlyArray<LockStatus>, LockError>
  readonly cleanup: (olderThanMillis: number) => Effect.Effect<number, LockError>
  /** How often a holder says that it is alive. */
  readonly heartbeat: Duration.DurationInput
  /** After how long without saying so a holder must take the lock for lost. */
  readonly patience: Duration.DurationInput
  /** The longest wait between two attempts. */
  readonly poll: Duration.DurationInput
}

/**
 * Builds the service over a driver.
 *
 * @since 0.1.0
 * @category drivers
 */
export const make = (driver: Driver): Service => service.make(driver)

/**
 * The fencing token after another one: no less than the time in milliseconds,
 * so that tokens rise also where the last one was forgotten.
 *
 * @since 0.1.0
 * @category drivers
 */
export const nextToken: (last: number, now: number) => number = nextToken_

/**
 * How a name is written in errors, tables and file names.
 *
 * @since 0.1.0
 * @category drivers
 */
export const format = (name: Name | string): string => names.format(name)

/**
 * @since 0.1.0
 * @category layers
 */
export interface StorageOptions {
  /** The longest wait between two looks at a lock somebody else holds. Defaults to 100 milliseconds. */
  readonly poll?: Duration.DurationInput | undefined
}

/**
 * Locks as leases in the storage: for fibers with `Storage.layerMemory`, for
 * processes with SQLite. The lease is that of the storage layer, and renewed at
 * a third of it; the lock of a process that has died on this host is free at once.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerStorage = (options?: StorageOptions): Layer.Layer<Lock, never, Storage.Storage> =>
  Layer.effect(
    Lock,
    Effect.map(Storage.Storage, (storage) => make(storageDriver(storage, options?.poll ?? "100 millis")))
  )
