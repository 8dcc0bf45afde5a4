/**
 * What runs transactions. The default keeps them in memory; executing a workflow installs one that journals them.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { checkName } from "../resilience/InvalidName.js"
import { orElseLogged } from "../resilience/internal/kernel/logged.js"
import { escapeName } from "../resilience/Key.js"
import {
  type CompensationLog,
  type CompensationSettings,
  causeOf,
  isClean,
  noOutput,
  noRecorder,
  type RollbackResult,
  rollback,
  rollbackFailed
} from "./Compensation.js"
import type { RollbackFailed } from "./RollbackFailed.js"

// ---- services

/** What a compensation receives. */
export interface ToUndo<out A> {
  /** The result of the work; none if it failed or was cut short. */
  readonly output: Option.Option<A>
  /** The same for each attempt of this compensation. */
  readonly idempotencyKey: string
  /** 1 for the first. */
  readonly attempt: number
}

/** A compensation whose requirements are known only to the types of its caller. */
export type AnyUndo = (toUndo: ToUndo<never>) => Effect.Effect<unknown, unknown, unknown>

export interface TransactionService {
  /** Registers the compensation, then runs the work. */
  readonly compensated: <A, E, R>(
    name: string,
    self: Effect.Effect<A, E, R>,
    undo: AnyUndo,
    settings: CompensationSettings
  ) => Effect.Effect<A, E, R>
  /** The state of a transaction in memory; undefined for one of a run. */
  readonly memory: Memory | undefined
}

export class Transaction extends Context.Tag("effect-recovery/Transaction")<Transaction, TransactionService>() {}

/** The options of one transaction. */
export interface TransactionSettings {
  readonly name: string
  /** Whether a failure rolls back. */
  readonly rollsBack: (cause: Cause.Cause<unknown>) => boolean
}

export const transactionSettings = (options: {
  readonly name?: string | undefined
  readonly rollbackWhen?: ((error: never) => boolean) | undefined
}): TransactionSettings => ({
  name: checkName("transaction", options.name ?? "transaction"),
  rollsBack: rollsBack(options.rollbackWhen)
})

/** Defects and interruptions always roll back; so does a predicate that throws. */
const rollsBack = (rollbackWhen: ((error: never) => boolean) | undefined) => (cause: Cause.Cause<unknown>) => {
  const error = Cause.failureOption(cause)
  if (rollbackWhen === undefined || Option.isNone(error) || Cause.isDie(cause)) return true
  // The cause is that of the effect the predicate was written for.
  return orElseLogged(() => rollbackWhen(error.value as never), true, "rollbackWhen threw; the transaction rolls back")
}

export interface TransactorService {
  /** Runs an effect as a transaction. */
  readonly run: <A, E, R>(
    self: Effect.Effect<A, E, R>,
    settings: TransactionSettings
  ) => Effect.Effect<A, E | RollbackFailed<E>, Exclude<R, Transaction>>
  /** Begins a transaction that ends with the scope. */
  readonly acquire: (settings: TransactionSettings) => Effect.Effect<TransactionService, never, Scope.Scope>
}

// ---- in memory

/** The state of one transaction in memory. Nested transactions share all but `path` and `lifetime`. */
export interface Memory {
  readonly log: CompensationLog
  /** The key prefix of its compensations. */
  readonly path: string
  readonly counter: { next: number }
  /** Run when the outermost transaction ends. */
  readonly ends: Array<End>
  readonly lifetime: Lifetime
}

/** Ends what an outermost transaction holds. If it dies after a success, everything is rolled back. */
export type End = (committed: boolean) => Effect.Effect<void>

export interface InMemory extends TransactionService {
  readonly memory: Memory
}

/** From the beginning of a transaction in memory to its end. */
export class Lifetime {
  private over = false
  private readonly listeners = new Set<() => void>()
  readonly parent: Lifetime | undefined

  constructor(parent: Lifetime | undefined) {
    this.parent = parent
  }

  get isOver(): boolean {
    return this.over
  }

  /** The innermost one that has not ended: it owns the compensations of this one. Undefined after the outermost ended. */
  get active(): Lifetime | undefined {
    return this.over ? this.parent?.active : this
  }

  isWithin(other: Lifetime): boolean {
    return this === other || this.parent?.isWithin(other) === true
  }

  end(): void {
    this.over = true
    for (const resume of this.listeners) resume()
    this.listeners.clear()
  }

  /** Waits for the end. */
  readonly ended: Effect.Effect<void> = Effect.async((resume) => {
    if (this.over) return resume(Effect.void)
    const listener = () => resume(Effect.void)
    this.listeners.add(listener)
    return Effect.sync(() => this.listeners.delete(listener))
  })
}

const begin = (name: string, around: Memory | undefined): Memory => {
  // The outermost transaction may have ended before a fiber that it forked: then this one is on its own.
  const outer = around?.lifetime.active === undefined ? undefined : around
  const { counter, ends, log, path } = outer ?? { counter: { next: 1 }, ends: [], log: new Map(), path: "" }
  return {
    counter,
    ends,
    log,
    path: `${path}${escapeName(name)}#${counter.next++}/`,
    lifetime: new Lifetime(outer?.lifetime)
  }
}

/** A part of a transaction without compensations of its own, for others to wait for. */
export const partOf = (memory: Memory): Memory => ({ ...memory, lifetime: new Lifetime(memory.lifetime) })

/** How a transaction ended that did not commit. */
interface Ended<E, E2> {
  /** What the effect failed with, followed by what the commit failed with. */
  readonly original: Cause.Cause<E>
  readonly commitFailed: Cause.Cause<E2> | undefined
  readonly result: RollbackResult
}

const noRollback: RollbackResult = { failures: [], remaining: [], pivot: undefined }

/** Commits or rolls back. The outermost transaction rolls back as well if its commit fails. */
const end = <A, E, E2>(
  memory: Memory,
  exit: Exit.Exit<A, E>,
  rollsBack: TransactionSettings["rollsBack"],
  commit: Effect.Effect<void, E2>
): Effect.Effect<Ended<E | E2, E2> | undefined> => {
  const isOutermost = memory.lifetime.parent === undefined
  const endAll = (committed: boolean) =>
    isOutermost ? Effect.forEach(memory.ends, (end) => end(committed), { discard: true }) : Effect.void
  const undo = (original: Cause.Cause<E | E2>, commitFailed?: Cause.Cause<E2>): Effect.Effect<Ended<E | E2, E2>> =>
    Effect.flatMap(rollback(memory.log, { within: memory.path }, noRecorder), (result) => {
      memory.lifetime.end()
      return Effect.as(endAll(false), { original, commitFailed, result })
    })
  if (Exit.isFailure(exit) && rollsBack(exit.cause)) return undo(exit.cause)
  const committed = Effect.suspend(() => {
    memory.lifetime.end()
    return Effect.zipRight(isOutermost ? commit : Effect.void, endAll(true))
  })
  return Effect.matchCauseEffect(committed, {
    onFailure: (cause) => undo(Exit.isSuccess(exit) ? cause : Cause.sequential<E, E2>(exit.cause, cause), cause),
    onSuccess: () =>
      Effect.succeed(
        Exit.isSuccess(exit) ? undefined : { original: exit.cause, commitFailed: undefined, result: noRollback }
      )
  })
}

/** Runs an effect as a transaction in memory. `commit` is the last operation of the outermost one that may fail. */
export const inMemory = <A, E, R, E2 = never>(
  self: Effect.Effect<A, E, R>,
  { name, rollsBack }: TransactionSettings,
  around: Memory | undefined,
  commit: Effect.Effect<void, E2> = Effect.void
): Effect.Effect<A, E | E2 | RollbackFailed<E | E2>, Exclude<R, Transaction>> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.suspend(() => {
      const memory = begin(name, around)
      const inside = Effect.provideService(self, Transaction, serviceOf(memory))
      return Effect.flatMap(Effect.exit(restore(inside)), (exit) =>
        Effect.flatMap(
          end(memory, exit, rollsBack, commit),
          (ended): Effect.Effect<A, E | E2 | RollbackFailed<E | E2>> =>
            ended === undefined ? exit : Effect.failCause(causeOf(memory.path, ended.original, ended.result))
        )
      )
    })
  )

/** What a finalizer dies with after a transaction of its scope ended: the scope adds the cause of its own exit. */
export const defectOf = (
  section: string,
  original: Cause.Cause<unknown>,
  result: RollbackResult
): Effect.Effect<void> => (isClean(result) ? Effect.void : Effect.die(rollbackFailed(section, original, result)))

const acquireInMemory = (
  { name, rollsBack }: TransactionSettings,
  around: Memory | undefined
): Effect.Effect<TransactionService, never, Scope.Scope> => {
  const release = (memory: Memory, exit: Exit.Exit<unknown, unknown>) =>
    Effect.flatMap(end(memory, exit, rollsBack, Effect.void), (ended) => {
      if (ended === undefined) return Effect.void
      const failed = defectOf(memory.path, ended.original, ended.result)
      // After a failed commit the original cause holds defects that the scope does not know.
      return ended.commitFailed === undefined ? failed : Effect.ensuring(Effect.failCause(ended.commitFailed), failed)
    })
  return Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => begin(name, around)),
      release
    ),
    serviceOf
  )
}

const memoryOf = (context: Context.Context<never>): Memory | undefined =>
  Option.getOrUndefined(Context.getOption(context, Transaction))?.memory

/** Keeps transactions in memory: a rollback does not survive the process. */
export const inMemoryTransactor: TransactorService = {
  run: (self, settings) =>
    Effect.contextWithEffect((context: Context.Context<never>) => inMemory(self, settings, memoryOf(context))),
  acquire: (settings) =>
    Effect.contextWithEffect((context: Context.Context<never>) => acquireInMemory(settings, memoryOf(context)))
}

/** The transactor in force. */
export class Transactor extends Context.Reference<Transactor>()("effect-recovery/Transactor", {
  defaultValue: () => inMemoryTransactor
}) {}

// ---- compensations in memory

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

const register = ({ counter, log, path }: Memory, name: string, undo: AnyUndo, settings: CompensationSettings) =>
  Effect.map(Effect.context<never>(), (context) => {
    const order = counter.next++
    const key = `${path}${escapeName(name)}#${order}`
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
