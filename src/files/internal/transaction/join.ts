import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { inMemory } from "../../../remember/internal/undo/memory.js"
import { rollsBack } from "../../../remember/internal/undo/rollsBack.js"
import { type Memory, Transaction } from "../../../remember/internal/undo/service.js"
import type { UndoLog } from "../../../remember/internal/undo/undoLog.js"
import type * as Lock from "../../../remember/Lock.js"
import type { Restore } from "../../../storage/Storage.js"
import type { FileError } from "../../FileError.js"
import type { Failure, Operations, TransactionError } from "../../FileTransaction.js"
import { operations } from "./changes.js"
import { type Opened, realRoot } from "./opened.js"

/** What is open in a transaction: each root once, however deep it is asked for. */
interface Roots {
  readonly oneByOne: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  readonly opened: Map<string, Opened>
}

const rootsOf = new WeakMap<UndoLog, Roots>()

const rootsIn = (memory: Memory): Roots => {
  const roots = rootsOf.get(memory.log) ?? { oneByOne: Effect.unsafeMakeSemaphore(1).withPermits(1), opened: new Map() }
  rootsOf.set(memory.log, roots)
  return roots
}

type Open = (root: string, restore: Restore) => Effect.Effect<Opened, FileError | Lock.LockTimeout | Lock.LockError>

/** Opens the root for the outermost transaction, unless it has it already; with its end it is closed. */
const openedIn = (memory: Memory, root: string, open: Open) => {
  const { oneByOne, opened } = rootsIn(memory)
  return oneByOne(
    Effect.uninterruptibleMask((restore) =>
      Effect.suspend(() => {
        const known = opened.get(root)
        if (known !== undefined) return Effect.succeed(known)
        return Effect.tap(open(root, restore), (fresh) =>
          Effect.sync(() => {
            opened.set(root, fresh)
            memory.ends.push((kept) => fresh.end(kept))
          })
        )
      })
    )
  )
}

/** Runs the body in a transaction of its own, or as a part of the one around. */
export const within = <A, E, R>(
  given: string,
  rollbackWhen: ((error: E | TransactionError | Lock.LockLost) => boolean) | undefined,
  open: Open,
  body: (opened: Opened, operations: Operations) => Effect.Effect<A, E | Lock.LockLost, R>
): Effect.Effect<A, Failure<E>, Exclude<R, Transaction>> =>
  Effect.withFiberRuntime((fiber) => {
    const around = Context.getOption(fiber.currentContext, Transaction)
    // A transaction of a run has none: there a step is undone by its own compensation.
    const outer = around._tag === "Some" ? around.value.memory : undefined
    const inside = Effect.flatMap(Transaction, (transaction) =>
      Effect.gen(function* () {
        // It is the one we have just begun, and that one is in memory.
        const memory = transaction.memory as Memory
        const opened = yield* openedIn(memory, yield* realRoot(given), open)
        const value = yield* body(opened, operations(opened, transaction))
        // Here its failure is an error, and still undoes everything.
        if (outer === undefined) yield* Effect.uninterruptible(opened.commit)
        return value
      })
    )
    return inMemory(inside, { name: "files", rollsBack: rollsBack(rollbackWhen) }, outer)
  })
