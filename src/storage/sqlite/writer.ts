import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as RuntimeFlags from "effect/RuntimeFlags"
import * as Schedule from "effect/Schedule"
import * as RetryPolicy from "../../resilience/RetryPolicy.js"
import { StorageError } from "../StorageError.js"
import type { Database } from "./driver.js"
import { isBusy, toStorageError } from "./errors.js"

/**
 * The one way to the connection: first in, first out, and whoever waits can
 * be interrupted. Jobs that wait together share one transaction and so one
 * fsync (group commit); a permit hands the whole connection to one effect.
 */
export interface Writer {
  /**
   * Runs a synchronous job inside a transaction. It is answered after the
   * commit, with the effect the job returned. A job may be run more than once, and must leave nothing behind but
   * rows. With `alone` the caller knows of nobody who could join it, and need
   * not wait for company.
   */
  readonly write: <A, E>(
    operation: string,
    job: () => Effect.Effect<A, E>,
    alone?: boolean
  ) => Effect.Effect<A, E | StorageError>
  /** Runs a synchronous read as soon as nobody holds the connection. */
  readonly read: <A>(operation: string, job: () => Effect.Effect<A>) => Effect.Effect<A, StorageError>
  /** Waits for the connection. Whoever got it must `release` it. */
  readonly acquire: Effect.Effect<void, StorageError>
  readonly release: Effect.Effect<void>
  /** Runs a statement that may find the database busy, while holding a permit. */
  readonly patiently: <A>(operation: string, statement: () => A) => Effect.Effect<A, StorageError>
}

interface Waiting {
  readonly kind: "write" | "read" | "permit"
  readonly operation: string
  readonly job: () => Answer
  readonly resume: (effect: Answer) => void
  readonly since: number
  /** Interrupted, or answered. */
  over: boolean
}

type Answer = Effect.Effect<unknown, unknown>

/** `idle`: nothing waits. `due`: a turn is scheduled. `busy`: the file is another's. `held`: a permit is out. */
type State = "idle" | "due" | "busy" | "held" | "closed"

const heldTooLong = new Error("a transaction of this very process did not end in time; it may wait for this statement")

/** Large enough to share an fsync, small enough to let others in. */
const maxBatch = 512

const maxInOneTurn = 16

const busyPolicy = (busyMillis: number) =>
  RetryPolicy.exponential({
    maxRetries: Number.POSITIVE_INFINITY,
    initialDelay: 1,
    maxDelay: 50,
    jitter: "equal",
    maxElapsed: busyMillis
  })

export const makeWriter = Effect.fnUntraced(function* (database: Database, busyMillis: number) {
  const policy = busyPolicy(busyMillis)
  const begin = database.prepare("BEGIN IMMEDIATE")
  const commit = database.prepare("COMMIT")
  const clock = yield* Effect.clock
  const fork = yield* FiberSet.makeRuntime<never>()
  const queue: Array<Waiting> = []
  let state: State = "idle"
  let watching = false
  /** Writes without waiting since the event loop last had its turn. */
  let inOneTurn = 0
  /** Who was handed the connection, until the permit ends. */
  let holder: Waiting | undefined
  let heldSince = 0
  /** What waits for a busy file. */
  let blocked: ReadonlyArray<Waiting> = []

  const settle = (waiting: Waiting, effect: Answer) => {
    if (waiting.over) return
    waiting.over = true
    waiting.resume(effect)
  }

  /** After the current turn of the event loop: whoever becomes ready in it joins the batch. */
  const schedule = () => {
    if (state !== "idle" || queue.length === 0) return
    state = "due"
    setImmediate(turn)
  }

  const turn = () => {
    if (state !== "due") return
    state = "idle"
    const batch = nextBatch()
    if (batch.length === 0) return
    if (batch[0]?.kind === "permit") return grant(batch[0])
    attempt(batch)
  }

  /** What waits at the head and can be answered together. */
  const nextBatch = (): Array<Waiting> => {
    const batch: Array<Waiting> = []
    while (queue.length > 0 && batch.length < maxBatch) {
      const head = queue[0] as Waiting
      if (head.over) queue.shift()
      else if (batch.length > 0 && (head.kind === "permit" || head.kind !== batch[0]?.kind)) break
      else {
        batch.push(head)
        queue.shift()
        if (head.kind === "permit") break
      }
    }
    return batch
  }

  const grant = (waiting: Waiting) => {
    state = "held"
    holder = waiting
    heldSince = clock.unsafeCurrentTimeMillis()
    watch()
    settle(waiting, Effect.void)
  }

  const release = () => {
    holder = undefined
    rollback()
    if (state === "held") state = "idle"
    schedule()
  }

  const attempt = (batch: Array<Waiting>) => {
    try {
      run(batch)
    } catch (cause) {
      if (isBusy(cause)) return waitWhileBusy(batch)
      failAll(batch, cause)
    }
    schedule()
  }

  const waitWhileBusy = (batch: Array<Waiting>) => {
    state = "busy"
    blocked = batch
    const again = whileBusy(() => run(batch.filter(({ over }) => !over)))
    const untilFree = Effect.catchAll(again, (cause) => Effect.sync(() => failAll(batch, cause)))
    fork(Effect.interruptible(Effect.zipRight(untilFree, Effect.sync(free))))
  }

  const free = () => {
    blocked = []
    if (state === "busy") state = "idle"
    schedule()
  }

  const failAll = (batch: ReadonlyArray<Waiting>, cause: unknown) => {
    for (const waiting of batch) settle(waiting, Effect.fail(toStorageError(waiting.operation)(cause)))
  }

  /** Fails with what the statement threw: at once, or when the file stayed busy for too long. */
  const whileBusy = <A>(statement: () => A): Effect.Effect<A, unknown> =>
    RetryPolicy.retry(Effect.try({ try: statement, catch: (cause) => cause }), Schedule.whileInput(policy, isBusy))

  const run = (batch: ReadonlyArray<Waiting>) => {
    if (batch[0]?.kind === "read") return runReads(batch)
    const answers = runTogether(batch)
    if (answers === undefined) return runApart(batch)
    batch.forEach((waiting, i) => {
      settle(waiting, answers[i] as Answer)
    })
  }

  const runReads = (batch: ReadonlyArray<Waiting>) => {
    for (const waiting of batch) {
      try {
        settle(waiting, waiting.job())
      } catch (cause) {
        refuse(waiting, cause)
      }
    }
  }

  /** All jobs in one transaction, or nothing and undefined if one of them is refused. */
  const runTogether = (batch: ReadonlyArray<Waiting>): ReadonlyArray<Answer> | undefined => {
    if (batch.length === 0) return []
    try {
      return inTransaction(() => batch.map((waiting) => waiting.job()))
    } catch (cause) {
      if (isBusy(cause) || batch.length === 1) throw cause
      return undefined
    }
  }

  const inTransaction = <A>(body: () => A): A => {
    rollback()
    begin.run()
    try {
      const answer = body()
      commit.run()
      return answer
    } catch (cause) {
      rollback()
      throw cause
    }
  }

  /** One job spoiled the transaction for the others: each gets its own. */
  const runApart = (batch: ReadonlyArray<Waiting>) => {
    for (const waiting of batch) {
      try {
        settle(waiting, runTogether([waiting])?.[0] as Answer)
      } catch (cause) {
        refuse(waiting, cause)
      }
    }
  }

  /** A busy file is no answer: whoever has none yet waits on. */
  const refuse = (waiting: Waiting, cause: unknown) => {
    if (isBusy(cause)) throw cause
    settle(waiting, Effect.fail(toStorageError(waiting.operation)(cause)))
  }

  /** Checked: SQLite rolls back by itself on some errors, and a second ROLLBACK would hide the first. */
  const rollback = () => {
    try {
      if (database.inTransaction) database.exec("ROLLBACK")
    } catch {
      // The error that led here says more, and the next BEGIN looks again.
    }
  }

  /** While a permit is out, nobody waits longer than for a busy file. */
  const watch = () => {
    if (watching || state !== "held") return
    watching = true
    const look = Effect.zipRight(Effect.sleep(Math.max(10, busyMillis / 4)), Effect.sync(expire))
    const whileHeld = Effect.repeat(look, { while: () => state === "held" })
    fork(Effect.interruptible(Effect.zipRight(whileHeld, Effect.sync(unwatch))))
  }

  const unwatch = () => {
    watching = false
    watch()
  }

  const expire = () => {
    const limit = clock.unsafeCurrentTimeMillis() - busyMillis
    // Who waits behind many short permits is not stuck.
    if (heldSince > limit) return
    for (const waiting of queue) {
      if (waiting.over || waiting.since > limit || state !== "held") continue
      settle(
        waiting,
        Effect.fail(new StorageError({ reason: "Busy", operation: waiting.operation, cause: heldTooLong }))
      )
    }
  }

  const enqueue = <A, E>(
    kind: Waiting["kind"],
    operation: string,
    job: () => Effect.Effect<A, E>
  ): Effect.Effect<A, E | StorageError> =>
    Effect.withFiberRuntime((_, { runtimeFlags }) =>
      RuntimeFlags.interruptible(runtimeFlags)
        ? Effect.async((resume) => cancel(push(kind, operation, job, resume)))
        : Effect.async((resume) => void push(kind, operation, job, resume))
    )

  const push = <A, E>(
    kind: Waiting["kind"],
    operation: string,
    job: () => Effect.Effect<A, E>,
    resume: (effect: Effect.Effect<A, E | StorageError>) => void
  ): Waiting => {
    // What is resumed with is what the job returned.
    const answer = resume as Waiting["resume"]
    const since = clock.unsafeCurrentTimeMillis()
    const waiting: Waiting = { kind, operation, job, resume: answer, since, over: false }
    if (state === "closed") settle(waiting, Effect.fail(new StorageError({ reason: "Closed", operation })))
    else queue.push(waiting)
    schedule()
    return waiting
  }

  const cancel = (waiting: Waiting) =>
    Effect.sync(() => {
      waiting.over = true
      // Interrupted between being handed the connection and taking it.
      if (holder === waiting) release()
    })

  const write: Writer["write"] = (operation, job, alone = false) =>
    alone ? Effect.suspend(() => writeAlone(operation, job)) : enqueue("write", operation, job)

  /** At once if nobody waits; now and then the long way, so that the event loop gets its turn. */
  const writeAlone = <A, E>(operation: string, job: () => Effect.Effect<A, E>): Effect.Effect<A, E | StorageError> => {
    if (state !== "idle" || ++inOneTurn > maxInOneTurn) return enqueue("write", operation, job)
    if (inOneTurn === 1) setImmediate(newTurn)
    try {
      return inTransaction(job)
    } catch (cause) {
      return isBusy(cause) ? enqueue("write", operation, job) : Effect.fail(toStorageError(operation)(cause))
    }
  }

  const newTurn = () => {
    inOneTurn = 0
  }

  const read: Writer["read"] = (operation, job) =>
    Effect.suspend(() => {
      if (state === "held" || state === "closed") return enqueue("read", operation, job)
      try {
        return job()
      } catch (cause) {
        return isBusy(cause) ? enqueue("read", operation, job) : Effect.fail(toStorageError(operation)(cause))
      }
    })

  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      state = "closed"
      for (const waiting of [...blocked, ...queue.splice(0)]) {
        settle(waiting, Effect.fail(new StorageError({ reason: "Closed", operation: waiting.operation })))
      }
    })
  )

  const writer: Writer = {
    write,
    read,
    patiently: (operation, statement) => Effect.mapError(whileBusy(statement), toStorageError(operation)),
    acquire: enqueue("permit", "Waiting for the connection", () => Effect.void),
    release: Effect.sync(release)
  }
  return writer
})
