/**
 * The contract of a storage.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Storage from "../storage/Storage.js"
import { claimContract } from "./internal/claimContract.js"
import { concurrencyContract } from "./internal/concurrency/concurrencyContract.js"
import { controlContract } from "./internal/controlContract.js"
import type { Contract } from "./internal/fixtures.js"
import { leaseContract } from "./internal/leaseContract.js"
import { listContract } from "./internal/listContract.js"
import { lockContract } from "./internal/lockContract.js"
import { placementContract } from "./internal/placementContract.js"
import { queueContract } from "./internal/queueContract.js"
import { recordContract } from "./internal/recordContract.js"
import { restoreContract } from "./internal/restoreContract.js"
import { runContract } from "./internal/runContract.js"
import { snapshotContract } from "./internal/snapshotContract.js"
import { underTestClock } from "./internal/testClock.js"

/**
 * One check of the contract.
 *
 * @since 0.1.0
 * @category storage
 */
export interface ContractCheck {
  readonly name: string
  /** Dies with the assertion that failed. */
  readonly check: Effect.Effect<void, unknown>
}

/**
 * The contract that every store must fulfil, as checks for any test runner: of
 * runs, leases, snapshots, locks and records, each by itself and while many callers
 * use the store at once. Each check gets a new, empty store, which must take its time
 * from Effect's clock: the checks run under a test clock. What the store waits for by
 * itself, such as for another try, must not depend on that clock: it stands still.
 *
 * The checks of concurrency find what a database loses if statements of several
 * connections interleave: a line that is acknowledged after another owner has read
 * the journal, a signal that is sent while the run is suspended, a run that two
 * workers claim, callers that lock rows in different orders. Give a store over a
 * pool at least four connections, or nothing interleaves.
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
  contracts.flatMap(Object.entries<Contract[string]>).map(([name, check]) => ({
    name,
    check: Effect.flatMap(make, (store) => Effect.gen(() => check(store))).pipe(Effect.scoped, underTestClock)
  }))

const contracts: ReadonlyArray<Contract> = [
  runContract,
  leaseContract,
  claimContract,
  controlContract,
  queueContract,
  placementContract,
  listContract,
  snapshotContract,
  lockContract,
  recordContract,
  restoreContract,
  ...concurrencyContract
]
