import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import { RollbackFailed } from "../../RunError.js"
import { isClean, noRecorder, rollback, type Undone } from "./rollback.js"
import { type AnyUndo, type Memory, Transaction, type TransactionService } from "./service.js"
import type { UndoSettings } from "./settings.js"
import { noOutput } from "./undoLog.js"

export interface Options {
  readonly name: string
  readonly rollsBack: (cause: Cause.Cause<unknown>) => boolean
}

/** A transaction without a run: the scope of its fiber, and nothing that survives the process. */
export const inMemory = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  { name, rollsBack }: Options,
  outer: Memory | undefined
): Effect.Effect<A, E | RollbackFailed<E>, Exclude<R, Transaction>> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.suspend(() => {
      const memory = within(name, outer)
      const end = outer === undefined ? endOf(memory) : () => Effect.void
      const inside = Effect.provideService(self, Transaction, serviceOf(memory))
      const undo = (cause: Cause.Cause<E>) =>
        Effect.flatMap(rollback(memory.log, { within: memory.path }, noRecorder), (undone) =>
          Effect.zipRight(end(false), Effect.failCause(causeOf(memory.path, cause, undone)))
        )
      return Effect.flatMap(Effect.exit(restore(inside)), (exit) =>
        Exit.isSuccess(exit) || !rollsBack(exit.cause)
          ? Effect.zipRight(Effect.catchAllCause(end(true), undo), exit)
          : undo(exit.cause)
      )
    })
  )

const endOf =
  ({ ends }: Memory) =>
  (kept: boolean): Effect.Effect<void> =>
    Effect.forEach(ends, (end) => end(kept), { discard: true })

/** What is left to say after a rollback: the original error, alone or with what went wrong beside it. */
export const causeOf = <E>(
  section: string,
  original: Cause.Cause<E>,
  undone: Undone
): Cause.Cause<E | RollbackFailed<E>> => {
  if (isClean(undone)) return original
  const { failures, pivot, remaining } = undone
  const transaction = section.replace(/\/$/, "")
  const failed = Cause.fail(new RollbackFailed<E>({ transaction, original, failures, remaining, pivot }))
  // Whoever was interrupted must see that it was.
  return Cause.isInterrupted(original) ? Cause.sequential(Cause.interrupt(interruptor(original)), failed) : failed
}

const interruptor = (cause: Cause.Cause<unknown>) => [...Cause.interruptors(cause)][0] ?? FiberId.none

const within = (name: string, outer: Memory | undefined): Memory => {
  const { counter, ends, log, path } = outer ?? { counter: { next: 1 }, ends: [], log: new Map(), path: "" }
  return { counter, ends, log, path: `${path}${name}#${counter.next++}/` }
}

const serviceOf = (memory: Memory): TransactionService => ({
  memory,
  compensated: (name, self, undo, settings) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(register(memory, name, undo, settings), (output) =>
        Effect.map(restore(self), (value) => {
          output.value = Option.some(value)
          return value
        })
      )
    )
})

const register = ({ counter, log, path }: Memory, name: string, undo: AnyUndo, settings: UndoSettings) =>
  Effect.map(Effect.context<never>(), (context) => {
    const order = counter.next++
    const key = `${path}${name}#${order}`
    const output = noOutput()
    const run = (attempt: number) =>
      // The types of `withCompensation` say what it takes and needs; both are here.
      Effect.provide(
        Effect.suspend(() => undo({ output: output.value as Option.Option<never>, idempotencyKey: key, attempt })),
        context
      ) as Effect.Effect<unknown, unknown>
    log.set(key, { key, order, pivot: false, run, settings, attempts: 0, done: false, running: undefined })
    return output
  })
