/**
 * What every storage must do.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Storage from "../storage/Storage.js"
import { lockContract } from "./internal/lockContract.js"
import { recordContract } from "./internal/recordContract.js"
import { runContract } from "./internal/runContract.js"
import { snapshotContract } from "./internal/snapshotContract.js"
import { underTestClock } from "./internal/underTestClock.js"
import { waitContract } from "./internal/waitContract.js"

/**
 * One thing a storage must do.
 *
 * @since 0.1.0
 * @category storage
 */
export interface ContractCheck {
  readonly name: string
  /** Dies of what is wrong. */
  readonly check: Effect.Effect<void, unknown>
}

/**
 * What every storage must do, as checks for any test runner. Each gets a store
 * of its own, which must tell the time by Effect's clock: time is a test clock.
 *
 * @example
 * ```ts
 * import { Storage } from "effect-recovery"
 * import { Testing } from "effect-recovery/testing"
 * import { Effect } from "effect"
 *
 * const checks = Testing.storageContract(Effect.sync(Storage.memoryStore))
 *
 * // With vitest: for (const { check, name } of checks) it.effect(name, () => check)
 * Effect.runPromise(Effect.forEach(checks, ({ check }) => check, { discard: true })).then(() => console.log("fulfilled"))
 * ```
 *
 * @since 0.1.0
 * @category storage
 */
export const storageContract = <E>(make: Effect.Effect<Storage.Store, E, Scope.Scope>): ReadonlyArray<ContractCheck> =>
  Object.entries({ ...runContract, ...snapshotContract, ...waitContract, ...lockContract, ...recordContract }).map(
    ([name, check]) => ({
      name,
      check: Effect.flatMap(make, check).pipe(Effect.scoped, underTestClock)
    })
  )
