import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import * as RuntimeFlags from "effect/RuntimeFlags"
import * as Schedule from "effect/Schedule"
import { read } from "../../resilience/Foreign.js"
import { Slices } from "../../resilience/internal/kernel/eventLoop.js"
import * as RetryPolicy from "../../resilience/RetryPolicy.js"
import { busyPolicy } from "../busyPolicy.js"
import type { Answer, Plain } from "../rows.js"
import { StorageError } from "../StorageError.js"
import type { DatabaseFile } from "./databaseFile.js"
import type { Database, Statement } from "./driver.js"
import { isBusy, toStorageError } from "./errors.js"

interface Request {
  readonly kind: "write" | "read" | "permit"
  readonly operation: string
  readonly job: () => AnyAnswer
  readonly resume: (answer: AnyAnswer) => void
  readonly since: number
  readonly durability: CommitDurability
  /** Interrupted, or answered. */
  isDone: boolean
}

type AnyAnswer = Answer<Plain, unknown>

/**
 * - `idle`: no request waits
 * - `scheduled`: requests wait for the next turn
 * - `busy`: another process holds the file, and a fiber retries
 * - `lent`: an effect holds a permit for the connection
 */
type State = "idle" | "scheduled" | "busy" | "lent" | "closed"

const lentTooLong = new Error(
  "a transaction of this process did not end in time; it may itself be waiting for this statement"
)

/** Large enough to share an fsync, small enough to let requests of other kinds in. */
const maxBatch = 512

const maxInOneTurn = 16

/** Writes that wait are not begun in a turn of the event loop that has taken as long, in milliseconds: timers and other work get theirs. */
export const turnMillis = 20

/**
 * How long the jobs of one transaction take, in milliseconds; the last one may exceed it. The commit that follows takes
 * four times as long for large rows, 4 ms for each megabyte: it writes their pages to the log, and from there to the file.
 */
export const jobsMillis = turnMillis / 4

/** The level of `PRAGMA synchronous` at which the log is synced by checkpoints alone. */
const normal = 1

/**
 * A write that no other write can share the commit with, so it need not wait for
 * others. A job of a single statement needs no BEGIN and COMMIT: SQLite commits it
 * by itself.
 */
export type Alone = "alone" | "single"

/**
 * Whether a commit must be on stable storage. One that need not survives the end of the process, is seen by other
 * processes, and is synced with the next commit that must: all of them append to one log.
 */
export type CommitDurability = "process-crash" | "as-configured"

/**
 * All access to the connection goes through the writer. Closing the scope fails what waits with `Closed`. `steady` is a
 * clock that is never set, in milliseconds: it measures what blocks the event loop.
 */
export const makeWriter = Effect.fnUntraced(function* (
  database: Database,
  file: DatabaseFile,
  busyMillis: number,
  steady: () => number = () => performance.now()
) {
  const clock = yield* Effect.clock
  const fork = yield* FiberSet.makeRuntime<never>()
  const writer = new Writer(database, file, busyMillis, clock, fork, steady)
  yield* Effect.addFinalizer(() => Effect.sync(() => writer.close()))
  return writer
})

/**
 * A queue in front of the connection: first in, first out, and waiting can be
 * interrupted. Writes that wait together share one transaction and so one fsync
 * (group commit). A permit lends the connection to one effect.
 */
export class Writer {
  private readonly queue: Array<Request> = []
  /** Answers in their order: a fiber that has its answer knows that the requests before it have theirs. */
  private readonly answers: Slices
  private state: State = "idle"
  /** Requests that wait for a busy file. */
  private blocked: ReadonlyArray<Request> = []
  /** Writes without waiting since the event loop last had its turn, and the time of the first one. */
  private inOneTurn = 0
  private turnBegan = 0
  private borrower: Request | undefined
  private lentSince = 0
  private isWatching = false
  /** Of `PRAGMA synchronous`, as the file was opened or the program has set it; unknown after each permit. */
  private level: number | undefined
  /** Whether commits are synced now, if they are at that level. */
  private isSyncing = true
  /** What a job remembered of its rows is not true any more. */
  onRollback: () => void = () => {}
  private readonly begin: Statement
  private readonly commit: Statement
  private readonly policy: ReturnType<typeof busyPolicy>
  private readonly database: Database
  private readonly file: DatabaseFile
  private readonly busyMillis: number
  private readonly clock: Clock.Clock
  private readonly fork: (effect: Effect.Effect<void>) => Fiber.RuntimeFiber<void>
  private readonly steady: () => number

  constructor(
    database: Database,
    file: DatabaseFile,
    busyMillis: number,
    clock: Clock.Clock,
    fork: (effect: Effect.Effect<void>) => Fiber.RuntimeFiber<void>,
    steady: () => number
  ) {
    this.steady = steady
    this.answers = new Slices(steady, () => this.schedule())
    this.database = database
    this.file = file
    this.busyMillis = busyMillis
    this.clock = clock
    this.fork = fork
    this.begin = database.prepare("BEGIN IMMEDIATE")
    this.commit = database.prepare("COMMIT")
    this.policy = busyPolicy(busyMillis)
  }

  /**
   * Runs a synchronous job inside a transaction, and returns the job's answer
   * after the commit. A job may run more than once, so it must change nothing but
   * rows. A job that is `alone` runs in this call if the queue is empty, so call it
   * where the effect is to run, with the flags of the fiber that runs it. A commit that
   * jobs share is as durable as the most demanding of them wants it.
   */
  write<A extends Plain, E = never>(
    operation: string,
    job: () => Answer<A, E>,
    flags: RuntimeFlags.RuntimeFlags,
    alone?: Alone,
    durability: CommitDurability = "as-configured"
  ): Effect.Effect<A, E | StorageError> {
    return alone === undefined
      ? this.enqueue("write", operation, job, flags, durability)
      : this.writeAlone(operation, job, flags, alone, durability)
  }

  /** Runs a synchronous read, at once unless the connection is lent. */
  read<A extends Plain>(
    operation: string,
    job: () => Answer<A, never>,
    flags: RuntimeFlags.RuntimeFlags
  ): Effect.Effect<A, StorageError> {
    if (this.state === "lent" || this.state === "closed") return this.enqueue("read", operation, job, flags)
    return this.runOrEnqueue("read", operation, job, flags, () => this.runRead(job))
  }

  /** Waits for a permit. The effect that got it must `release` it. */
  readonly acquire: Effect.Effect<void, StorageError> = Effect.withFiberRuntime((_, { runtimeFlags }) =>
    this.enqueue("permit", "Waiting for the connection", () => Exit.void, runtimeFlags)
  )

  readonly release: Effect.Effect<void> = Effect.sync(() => this.endPermit())

  /** Retries a statement while the file is busy. Call it while holding a permit. */
  whileBusy<A extends Plain>(operation: string, statement: () => A): Effect.Effect<A, StorageError> {
    return Effect.mapError(this.retryWhileBusy(statement), toStorageError(operation))
  }

  close(): void {
    this.state = "closed"
    for (const request of [...this.blocked, ...this.queue.splice(0)]) this.fail(request, "Closed")
  }

  /** A write that may not run at once, or that finds the file busy, is enqueued. */
  private writeAlone<A extends Plain, E>(
    operation: string,
    job: () => Answer<A, E>,
    flags: RuntimeFlags.RuntimeFlags,
    alone: Alone,
    durability: CommitDurability
  ): Effect.Effect<A, E | StorageError> {
    // Every 17th write of a turn is enqueued, and one in a turn that took long, so that the event loop gets its turn.
    const isBehind = this.state !== "idle" || this.answers.isWaiting
    if (isBehind || ++this.inOneTurn > maxInOneTurn || (this.inOneTurn > 1 && this.hasTakenLong())) {
      return this.enqueue("write", operation, job, flags, durability)
    }
    if (this.inOneTurn === 1) {
      this.turnBegan = this.steady()
      setImmediate(() => {
        this.inOneTurn = 0
      })
    }
    const run = () => {
      const answer = alone === "single" ? this.inAutocommit(job, durability) : this.inTransaction(job, durability)
      // The other writes of this turn follow within milliseconds; whatever removes the file removes those before them, too.
      return this.inOneTurn === 1 ? this.committed(answer) : answer
    }
    return this.runOrEnqueue("write", operation, job, flags, run, durability)
  }

  private hasTakenLong(most = turnMillis): boolean {
    return this.steady() - this.turnBegan >= most
  }

  private runOrEnqueue<A extends Plain, E>(
    kind: Request["kind"],
    operation: string,
    job: () => Answer<A, E>,
    flags: RuntimeFlags.RuntimeFlags,
    run: () => Answer<A, E>,
    durability?: CommitDurability
  ): Effect.Effect<A, E | StorageError> {
    try {
      return run()
    } catch (cause) {
      return isBusy(cause)
        ? this.enqueue(kind, operation, job, flags, durability)
        : Effect.fail(toStorageError(operation)(cause))
    }
  }

  private enqueue<A extends Plain, E>(
    kind: Request["kind"],
    operation: string,
    job: () => Answer<A, E>,
    flags: RuntimeFlags.RuntimeFlags,
    durability: CommitDurability = "as-configured"
  ): Effect.Effect<A, E | StorageError> {
    const push = (resume: (answer: Exit.Exit<A, E | StorageError>) => void): Request => {
      const since = this.clock.unsafeCurrentTimeMillis()
      // A request is only resumed with the answer of its own job, or with a StorageError.
      const request = { kind, operation, job, resume: resume as Request["resume"], since, durability, isDone: false }
      if (this.state === "closed") this.fail(request, "Closed")
      else this.queue.push(request)
      this.schedule()
      return request
    }
    return RuntimeFlags.interruptible(flags)
      ? Effect.async((resume) => this.cancel(push(resume)))
      : Effect.async((resume) => void push(resume))
  }

  private cancel(request: Request): Effect.Effect<void> {
    return Effect.sync(() => {
      request.isDone = true
      // Interrupted after the permit was granted and before the fiber resumed.
      if (this.borrower === request) this.endPermit()
    })
  }

  private answer(request: Request, answer: AnyAnswer): void {
    if (request.isDone) return
    request.isDone = true
    this.answers.add(() => request.resume(answer))
  }

  private fail(request: Request, reason: "Closed" | "Busy", cause?: Error): void {
    this.answer(request, Exit.fail(new StorageError({ reason, operation: request.operation, cause })))
  }

  /**
   * After the current turn of the event loop, so that requests of this turn join the batch. While answers wait, so do
   * requests: theirs would wait behind them, and fibers that get an answer often write next, and share the commit.
   */
  private schedule(): void {
    if (this.state !== "idle" || this.queue.length === 0 || this.answers.isWaiting) return
    this.state = "scheduled"
    setImmediate(() => this.takeTurn())
  }

  private takeTurn(): void {
    if (this.state !== "scheduled") return
    this.state = "idle"
    const batch = this.nextBatch()
    if (batch[0]?.kind === "permit") this.grantPermit(batch[0])
    else if (batch.length > 0) this.runOrWait(batch)
    this.schedule()
  }

  private runOrWait(batch: ReadonlyArray<Request>): void {
    try {
      this.run(batch)
    } catch (cause) {
      if (isBusy(cause)) this.waitWhileBusy(batch)
      else this.failAll(batch, cause)
    }
  }

  /** The requests at the head of the queue that can run together. */
  private nextBatch(): Array<Request> {
    const { queue } = this
    const batch: Array<Request> = []
    while (queue.length > 0 && batch.length < maxBatch) {
      const head = queue[0] as Request
      if (head.isDone) queue.shift()
      else if (batch.length > 0 && (head.kind === "permit" || head.kind !== batch[0]?.kind)) break
      else {
        batch.push(head)
        queue.shift()
        if (head.kind === "permit") break
      }
    }
    return batch
  }

  /** Requests for which the turn has no time left are put back at the head of the queue. */
  private run(batch: ReadonlyArray<Request>): void {
    this.turnBegan = this.steady()
    const isRead = batch[0]?.kind === "read"
    const answers = isRead ? undefined : this.committed(this.runTogether(batch))
    if (answers !== undefined) {
      for (let i = 0; i < answers.length; i++) this.answer(batch[i] as Request, answers[i] as AnyAnswer)
      this.queue.unshift(...batch.slice(answers.length))
    } else if (isRead) this.runEach(batch, (request) => this.runRead(request.job))
    // One job made the transaction fail: each gets its own.
    else this.runEach(batch, (request) => this.committed(this.runTogether([request]))?.[0] as AnyAnswer)
  }

  /** A commit to a file that has lost its name is found nowhere, so it must not be reported. */
  private committed<A>(answer: A): A {
    this.file.verify()
    return answer
  }

  private runRead<A extends Plain, E>(job: () => Answer<A, E>): Answer<A, E> {
    this.file.verifySometimes()
    return job()
  }

  /** Throws if the file is busy: the requests that have no answer yet wait on. */
  private runEach(batch: ReadonlyArray<Request>, run: (request: Request) => AnyAnswer): void {
    for (let i = 0; i < batch.length; i++) {
      if (i > 0 && this.hasTakenLong()) return void this.queue.unshift(...batch.slice(i))
      const request = batch[i] as Request
      try {
        this.answer(request, run(request))
      } catch (cause) {
        if (isBusy(cause)) throw cause
        this.failAll([request], cause)
      }
    }
  }

  /**
   * Runs all jobs in one transaction, or the first of them if they take long. Returns `undefined` and changes nothing if
   * one of several jobs fails.
   */
  private runTogether(batch: ReadonlyArray<Request>): ReadonlyArray<AnyAnswer> | undefined {
    if (batch.length === 0) return []
    const isSynced = batch.some(({ durability }) => durability === "as-configured")
    const runJobs = () => {
      const answers: Array<AnyAnswer> = []
      for (const request of batch) {
        if (answers.length > 0 && this.hasTakenLong(jobsMillis)) break
        answers.push(request.job())
      }
      return answers
    }
    try {
      return this.inTransaction(runJobs, isSynced ? "as-configured" : "process-crash")
    } catch (cause) {
      if (isBusy(cause) || batch.length === 1) throw cause
      return undefined
    }
  }

  private inAutocommit<A>(body: () => A, durability: CommitDurability): A {
    this.rollback()
    this.sync(durability)
    return body()
  }

  /** Outside of transactions: SQLite refuses the change in one. */
  private sync(durability: CommitDurability): void {
    const isSynced = durability === "as-configured"
    if (isSynced === this.isSyncing) return
    this.level ??= Number(read(this.database.prepare("PRAGMA synchronous").get(), "synchronous"))
    // At this level no commit is synced.
    if (this.level <= normal) return
    this.database.exec(`PRAGMA synchronous = ${isSynced ? this.level : normal}`)
    this.isSyncing = isSynced
  }

  private inTransaction<A>(body: () => A, durability: CommitDurability): A {
    this.rollback()
    this.sync(durability)
    this.begin.run()
    try {
      const answer = body()
      this.commit.run()
      return answer
    } catch (cause) {
      this.rollback()
      this.onRollback()
      throw cause
    }
  }

  /** Checks first: SQLite rolls back by itself on some errors, and a second ROLLBACK would hide the first error. */
  private rollback(): void {
    try {
      if (this.database.inTransaction) this.database.exec("ROLLBACK")
    } catch {
      // The error that led here says more, and the next transaction rolls back first.
    }
  }

  private failAll(batch: ReadonlyArray<Request>, cause: unknown): void {
    for (const request of batch) this.answer(request, Exit.fail(toStorageError(request.operation)(cause)))
  }

  private waitWhileBusy(batch: ReadonlyArray<Request>): void {
    this.state = "busy"
    this.blocked = batch
    const rerun = this.retryWhileBusy(() => this.run(batch.filter(({ isDone }) => !isDone)))
    const settled = Effect.catchAll(rerun, (cause) => Effect.sync(() => this.failAll(batch, cause)))
    const resume = Effect.sync(() => {
      this.blocked = []
      if (this.state === "busy") this.state = "idle"
      this.schedule()
    })
    this.fork(Effect.interruptible(Effect.zipRight(settled, resume)))
  }

  /** Fails with what the statement threw: at once, or when the file stayed busy for too long. */
  private retryWhileBusy<A extends Plain>(statement: () => A): Effect.Effect<A, unknown> {
    const attempt = Effect.try({ try: statement, catch: (cause) => cause })
    return RetryPolicy.retry(attempt, Schedule.whileInput(this.policy, isBusy))
  }

  private grantPermit(request: Request): void {
    try {
      // The program's own commits are synced, and it may set the level.
      this.sync("as-configured")
      this.level = undefined
    } catch (cause) {
      // The next turn tries again.
      if (isBusy(cause)) this.queue.unshift(request)
      else this.failAll([request], cause)
      return
    }
    this.state = "lent"
    this.borrower = request
    this.lentSince = this.clock.unsafeCurrentTimeMillis()
    this.watchPermit()
    this.answer(request, Exit.void)
  }

  private endPermit(): void {
    this.borrower = undefined
    this.rollback()
    if (this.state === "lent") this.state = "idle"
    this.schedule()
  }

  /** While the connection is lent, requests wait no longer than for a busy file. */
  private watchPermit(): void {
    if (this.isWatching || this.state !== "lent") return
    this.isWatching = true
    const expire = Effect.sync(() => this.expireRequests())
    const check = Effect.zipRight(Effect.sleep(Math.max(10, this.busyMillis / 4)), expire)
    const whileLent = Effect.repeat(check, { while: () => this.state === "lent" })
    const stop = Effect.sync(() => {
      this.isWatching = false
      this.watchPermit()
    })
    this.fork(Effect.interruptible(Effect.zipRight(whileLent, stop)))
  }

  private expireRequests(): void {
    const limit = this.clock.unsafeCurrentTimeMillis() - this.busyMillis
    // Requests behind many short permits make progress.
    if (this.lentSince > limit) return
    for (const request of this.queue) {
      if (!request.isDone && request.since <= limit && this.state === "lent") this.fail(request, "Busy", lentTooLong)
    }
  }
}
