import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import { RollbackFailed } from "../RollbackFailed.js"
import { isClean, noRecorder, rollback, type Undone } from "./rollback.js"
import { Part } from "./scope.js"
import { type AnyUndo, type InMemory, type Memory, Transaction } from "./service.js"
import type { UndoSettings } from "./settings.js"
import { noOutput } from "./undoLog.js"

export interface Options {
  readonly name: string
  readonly rollsBack: (cause: Cause.Cause<unknown>) => boolean
}

/**
 * A transaction without a run: the scope of its fiber, and nothing that
 * survives the process. Committing is the last thing of the outermost one that
 * can still fail, and then everything is undone.
 */
export const inMemory = <A, E, R, E2 = never>(
  self: Effect.Effect<A, E, R>,
  { name, rollsBack }: Options,
  around: Memory | undefined,
  commit: Effect.Effect<void, E2> = Effect.void
): Effect.Effect<A, E | E2 | RollbackFailed<E | E2>, Exclude<R, Transaction>> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.suspend(() => {
      const outer = living(around)
      const memory = within(name, outer)
      const end = outer === undefined ? endOf(memory) : () => Effect.void
      const inside = Effect.provideService(self, Transaction, serviceOf(memory))
      const undo = (cause: Cause.Cause<E | E2>) =>
        Effect.flatMap(rollback(memory.log, { within: memory.path }, noRecorder), (undone) => {
          memory.part.end()
          return Effect.zipRight(end(false), Effect.failCause(causeOf(memory.path, cause, undone)))
        })
      const keep = Effect.suspend(() => {
        memory.part.end()
        return outer === undefined ? Effect.zipRight(commit, end(true)) : Effect.void
      })
      return Effect.flatMap(Effect.exit(restore(inside)), (exit) => {
        if (Exit.isFailure(exit) && rollsBack(exit.cause)) return undo(exit.cause)
        const failed = (cause: Cause.Cause<E2>) =>
          undo(Exit.isSuccess(exit) ? cause : Cause.sequential<E, E2>(exit.cause, cause))
        return Effect.matchCauseEffect(keep, { onFailure: failed, onSuccess: () => exit })
      })
    })
  )

/** One that has ended has nobody left who would undo, or end, what a fiber begins that it did not wait for. */
const living = (memory: Memory | undefined): Memory | undefined =>
  memory?.part.living === undefined ? undefined : memory

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
  return { counter, ends, log, path: `${path}${name}#${counter.next++}/`, part: new Part(outer?.part) }
}

/** A part that has no undos of its own: only others wait for its end. */
export const partOf = (memory: Memory): Memory => ({ ...memory, part: new Part(memory.part) })

export const serviceOf = (memory: Memory): InMemory => ({
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
