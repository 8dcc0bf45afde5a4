import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
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
import { RootOperations } from "./changes.js"
import { journalFolder } from "./journal.js"
import { type OpenRoot, realRoot } from "./openRoot.js"

/** The open roots of an outermost transaction. Nested transactions of one root share it. */
interface Roots {
  readonly serialized: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  readonly open: Map<string, OpenRoot>
}

const rootsByLog = new WeakMap<CompensationLog, Roots>()

const rootsOf = (memory: Memory): Roots => {
  const roots = rootsByLog.get(memory.log) ?? {
    serialized: Effect.unsafeMakeSemaphore(1).withPermits(1),
    open: new Map()
  }
  rootsByLog.set(memory.log, roots)
  return roots
}

type Open = (root: string, restore: Restore) => Effect.Effect<OpenRoot, FileError | Lock.LockTimeout | Lock.LockError>

/** Opens the root, unless the outermost transaction has it open; it is closed when that transaction ends. */
const openOnce = (memory: Memory, root: string, name: string | undefined, open: Open) => {
  const key = journalFolder(root, name)
  const roots = rootsOf(memory)
  return roots.serialized(
    Effect.uninterruptibleMask((restore) =>
      Effect.suspend(() => {
        const known = roots.open.get(key)
        if (known !== undefined) return Effect.succeed(known)
        return Effect.flatMap(open(root, restore), (opened) => {
          // The outermost transaction ended during the wait, so it would never close this root.
          if (memory.lifetime.active === undefined) {
            const ended = new FileError({ reason: "Ended", operation: "Opening the root", path: root })
            return Effect.zipRight(opened.end(false), Effect.fail(ended))
          }
          roots.open.set(key, opened)
          memory.ends.push((kept) => opened.end(kept))
          return Effect.succeed(opened)
        })
      })
    )
  )
}

/** Runs the body in a new transaction, or as a part of the surrounding in-memory transaction. */
export const runTransaction = <A, E, R>(
  given: string,
  name: string | undefined,
  rollbackWhen: ((error: E | TransactionError) => boolean) | undefined,
  open: Open,
  body: (opened: OpenRoot, operations: Operations) => Effect.Effect<A, E | Lock.LockLost, R>
): Effect.Effect<A, Failure<E>, Exclude<R, Transaction>> =>
  Effect.withFiberRuntime((fiber) => {
    let root: OpenRoot | undefined
    const inside = Effect.gen(function* () {
      // `inMemory` below provides it.
      const transaction = (yield* Transaction) as InMemory
      root = yield* openOnce(transaction.memory, yield* realRoot(given), name, open)
      return yield* body(root, new RootOperations(root, transaction))
    })
    const commit = Effect.suspend(() => root?.commit ?? Effect.void)
    // A durable transaction has no memory: there the compensation of the step undoes the files.
    const around = Option.map(Context.getOption(fiber.currentContext, Transaction), ({ memory }) => memory)
    const settings = transactionSettings({ name: "files", rollbackWhen })
    return Effect.mapError(inMemory(inside, settings, Option.getOrUndefined(around), commit), simplifyLost)
  })

/**
 * Interrupts the body if the lock is lost. Its fiber has ended when this ends,
 * also by an interruption: `Effect.raceFirst` does not wait for its branches then,
 * and the files would be restored beside a body that still writes them.
 */
export const unlessLost = <A, E, R>(
  body: Effect.Effect<A, E, R>,
  lost: Deferred.Deferred<never, Lock.LockLost>
): Effect.Effect<A, E | Lock.LockLost, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Effect.fork(restore(body)), (fiber) =>
      Effect.ensuring(restore(Effect.raceFirst(Fiber.join(fiber), Deferred.await(lost))), Fiber.interrupt(fiber))
    )
  )

/** A transaction that lost its lock must not undo anything, so that alone does not make its rollback fail. */
const simplifyLost = <E>(error: E): E => {
  if (!(error instanceof RollbackFailed)) return error
  const { error: original, failures, pivot, remaining } = error
  const isAll = failures.every(({ cause }) => Option.exists(Cause.failureOption(cause), isLost))
  // The original error is one of E, as `RollbackFailed<E>` is.
  return isLost(original) && isAll && pivot === undefined && remaining.length === 0 ? (original as E) : error
}

const isLost = (error: unknown): boolean => error instanceof Lock.LockLost
