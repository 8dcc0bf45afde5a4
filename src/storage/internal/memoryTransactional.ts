import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { inTransaction, programClient } from "../programClient.js"
import { type Answer, leaseLost } from "../rows.js"
import type { LeaseLost, StorageError } from "../StorageError.js"
import type { Entry, Lease, Store } from "../Store.js"
import type { RunTable, StoredRun } from "./memoryRuns.js"

const operation = "Committing a step with the program's own rows"

/**
 * Commits the program's rows in a transaction of the program's own client, and
 * adds the lines once the commit has succeeded. Until then no other owner gets
 * the run, so the lines cannot be refused after the commit.
 */
export const makeMemoryTransactional =
  (table: RunTable): Store["transactional"] =>
  <A, E, R>(lease: Lease, body: Effect.Effect<readonly [A, ReadonlyArray<Entry>], E, R>) =>
    // Only the body can be interrupted: whether the commit happened must be known.
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(programClient(operation), (client): Effect.Effect<A, E | StorageError | LeaseLost, R> => {
        let held: StoredRun | undefined
        let lines: ReadonlyArray<Entry> = []
        const hold = (): Answer<void, LeaseLost> => {
          held = table.leased(lease)
          if (held === undefined) return leaseLost(lease)
          held.commits++
          return Exit.void
        }
        const whole = Effect.flatMap(restore(body), ([value, entries]) => {
          lines = entries
          return Effect.as(Effect.suspend(hold), value)
        })
        return Effect.flatMap(Effect.exit(inTransaction(client, operation, whole, restore)), (exit) => {
          if (held === undefined) return exit
          held.commits--
          if (Exit.isSuccess(exit)) table.insert(held, lines)
          return exit
        })
      })
    )
