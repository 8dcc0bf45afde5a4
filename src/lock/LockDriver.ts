/**
 * The interface of a lock driver, and what drivers and the lock service share:
 * names, the held lock and the results of an attempt.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Storage from "../storage/Storage.js"
import type { LockError, LockLost, LockStatus } from "./LockError.js"

/**
 * What is locked. A plain string is a name of the kind `lock`.
 *
 * @since 0.1.0
 * @category names
 */
export interface Name {
  readonly kind: string
  readonly id: string
}

/**
 * Formats a name as `kind/id`, for errors, tables and file names.
 *
 * @since 0.1.0
 * @category names
 */
export const format = (name: Name | string): string =>
  // Slashes of the kind are escaped, so that the first slash ends the kind.
  typeof name === "string" ? `lock/${name}` : `${name.kind.replace(/[%/]/g, encodeURIComponent)}/${name.id}`

/**
 * A lock that the caller holds.
 *
 * @since 0.1.0
 * @category models
 */
export interface HeldLock {
  readonly lock: string
  /**
   * The fencing token; it rises with each acquisition. Pass it to the protected
   * resource: a resource that remembers the highest token it has seen can refuse
   * a holder that lost the lock without noticing.
   */
  readonly token: number
  /** Asks the driver now, and fails if the lock is lost. */
  readonly check: Effect.Effect<void, LockLost>
  /** Waits until the lock is lost. Never succeeds. */
  readonly lost: Effect.Effect<never, LockLost>
}

/**
 * The lock that protects the current effect. `withLock` provides it, so an
 * effect that requires it compiles only inside `withLock`.
 *
 * @since 0.1.0
 * @category services
 */
export class Held extends Context.Tag("effect-recovery/Lock/Held")<Held, HeldLock>() {}

/**
 * The result of one attempt to acquire a lock.
 *
 * @since 0.1.0
 * @category drivers
 */
export type Attempt =
  | { readonly _tag: "Acquired"; readonly grip: Grip }
  | { readonly _tag: "Busy"; readonly status: LockStatus }

/**
 * An acquired lock, as the driver sees it. The service calls its operations one
 * at a time, and `release` once, last.
 *
 * @since 0.1.0
 * @category drivers
 */
export interface Grip {
  readonly token: number
  /** Records that the holder is alive. Returns false if the lock is lost. */
  readonly renew: Effect.Effect<boolean, LockError>
  /** Releases the lock. Returns false if it was lost before. */
  readonly release: Effect.Effect<boolean, LockError>
}

/**
 * What a kind of lock implements. `Lock.make` adds the rest: FIFO order, waiting,
 * timeouts, refusal of re-entrancy, heartbeats and the detection of a loss.
 *
 * @since 0.1.0
 * @category drivers
 */
export interface Driver {
  /** The identity of the lock. Two names with one key are one lock. */
  readonly keyOf: (name: Name) => Effect.Effect<string, LockError>
  /**
   * One attempt without waiting, in an uninterruptible region. Slow calls run in
   * `restore`; an attempt that is interrupted there leaves no lock behind.
   */
  readonly attempt: (key: string, name: Name, restore: Storage.Restore) => Effect.Effect<Attempt, LockError>
  readonly status: (key: string, name: Name) => Effect.Effect<LockStatus, LockError>
  readonly list: Effect.Effect<ReadonlyArray<LockStatus>, LockError>
  readonly cleanup: (olderThanMillis: number) => Effect.Effect<number, LockError>
  /** The time between two renewals by the holder, at least 1 millisecond. `Infinity` never renews. */
  readonly heartbeat: Duration.DurationInput
  /** After this time without a successful renewal the holder counts the lock as lost. `Infinity` never does. */
  readonly patience: Duration.DurationInput
  /** The longest wait between two attempts, at least 1 millisecond. */
  readonly poll: Duration.DurationInput
}
