import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Lock from "../../../lock/Lock.js"
import type { Restore } from "../../../storage/Storage.js"
import type { CompensationLog } from "../../../transaction/Compensation.js"
import { RollbackFailed } from "../../../transaction/RollbackFailed.js"
import {
  type InMemory,
  inMemory,
  type Memory,
  Transaction,
  transactionSettings
} from "../../../transaction/Transactor.js"
import { FileError } from "../../FileError.js"
import type { Failure, Operations, TransactionError } from "../../FileTransaction.js"
import { operations } from "./changes.js"
import { type Opened, realRoot } from "./opened.js"

/** What is open in a transaction: each root once, however deep it is asked for. */
interface Roots {
  readonly oneByOne: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  readonly opened: Map<string, Opened>
}

const rootsOf = new WeakMap<CompensationLog, Roots>()

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
        return Effect.flatMap(open(root, restore), (fresh) => {
          // It has ended while we waited: nobody would ever close this one.
          if (memory.lifetime.active === undefined) return Effect.zipRight(fresh.end(false), ended(root))
          opened.set(root, fresh)
          memory.ends.push((kept) => fresh.end(kept))
          return Effect.succeed(fresh)
        })
      })
    )
  )
}

const ended = (root: string) =>
  Effect.fail(new FileError({ reason: "Ended", operation: "Opening the root", path: root }))

/** Runs the body in a transaction of its own, or as a part of the one around. */
export const within = <A, E, R>(
  given: string,
  rollbackWhen: ((error: E | TransactionError) => boolean) | undefined,
  open: Open,
  body: (opened: Opened, operations: Operations) => Effect.Effect<A, E | Lock.LockLost, R>
): Effect.Effect<A, Failure<E>, Exclude<R, Transaction>> =>
  Effect.withFiberRuntime((fiber) => {
    let root: Opened | undefined
    const inside = Effect.gen(function* () {
      // It is the one that begins here, and that one is in memory.
      const transaction = (yield* Transaction) as InMemory
      root = yield* openedIn(transaction.memory, yield* realRoot(given), open)
      return yield* body(root, operations(root, transaction))
    })
    const commit = Effect.suspend(() => root?.commit ?? Effect.void)
    // A transaction of a run has no memory: there a step is undone by its own compensation.
    const around = Option.map(Context.getOption(fiber.currentContext, Transaction), ({ memory }) => memory)
    const options = transactionSettings({ name: "files", rollbackWhen })
    return Effect.mapError(inMemory(inside, options, Option.getOrUndefined(around), commit), unlessLost)
  })

/** With its lock it has lost the right to undo anything, and that alone is no failure of the rollback. */
const unlessLost = <E>(error: E): E => {
  if (!(error instanceof RollbackFailed)) return error
  const { error: original, failures, pivot, remaining } = error
  const isAll = failures.every(({ cause }) => Option.exists(Cause.failureOption(cause), isLost))
  // What it began with is one of the errors of the effect, as the failure itself is.
  return isLost(original) && isAll && pivot === undefined && remaining.length === 0 ? (original as E) : error
}

const isLost = (error: unknown): boolean => error instanceof Lock.LockLost
