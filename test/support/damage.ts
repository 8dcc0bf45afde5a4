import * as fs from "node:fs"
import * as path from "node:path"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import {
  Answer,
  Checkpoint,
  Lock,
  RetryPolicy,
  Signal,
  State,
  Step,
  type Storage,
  Strategy,
  Transaction,
  Workflow
} from "effect-recovery"
import { Insights, RecoveryManager, Timeline } from "effect-recovery/operate"
import { SqliteStorage } from "effect-recovery/sqlite"

class Down extends Schema.TaggedError<Down>()("Down", { code: Schema.Number }) {}

const Approval = Signal.make("approval", Schema.Struct({ by: Schema.String }))
const Count = State.make("count", Schema.Number, 0)
const Shared = State.make("shared", Schema.Number, 0, { scope: "global" })
const Progress = Checkpoint.make("progress", { schema: Schema.Struct({ done: Schema.Array(Schema.String) }) })

const long = "a long result ".repeat(80)

const now = RetryPolicy.fixed({ delay: "0 millis", maxRetries: 2 })

/** Fails in each first attempt. */
const flaky = (code: number) => {
  let attempts = 0
  return Step.make("flaky", {
    success: Schema.Number,
    error: Down,
    run: Effect.suspend(() => (attempts++ % 2 === 0 ? Effect.fail(new Down({ code })) : Effect.succeed(code))),
    recover: { Down: Strategy.retry(now) }
  })
}

const saga = Transaction.run(
  Effect.zipRight(
    Step.make("reserve", { run: Effect.void, compensate: () => Effect.fail("cannot be undone") }),
    Step.make("pay", { error: Down, run: Effect.fail(new Down({ code: 402 })) })
  )
)

const charge = Step.make("charge", {
  success: Schema.Struct({ total: Schema.Number }),
  run: (amount: number) => Effect.succeed({ total: amount * 2 })
})

const Failed = Schema.Union(Down, Checkpoint.CheckpointInvalid, Checkpoint.CheckpointNotFound)

const Input = Schema.Struct({ order: Schema.String, amount: Schema.Number })

/** Records a line of nearly every kind. */
const Everything = Workflow.make("everything", { input: Input, success: Schema.String, error: Failed }, (input) =>
  Effect.gen(function* () {
    const { total } = yield* charge(input.amount)
    yield* Count.set(total)
    yield* Shared.update((n) => n + 1)
    yield* Progress.save({ done: ["charge"] }, { labels: { order: input.order }, metadata: { total } })
    const report = yield* Step.make("report", { success: Schema.String, run: Effect.succeed(long) })
    const retried = yield* flaky(503)
    const isNew = yield* Workflow.patched("new")
    const paid = yield* Effect.exit(saga)
    const listed = yield* Progress.list()
    yield* Workflow.sleep("0 millis", { name: "pause" })
    const asked = yield* Step.make("ask", {
      success: Schema.String,
      error: Down,
      run: Effect.fail(new Down({ code: 500 })),
      recover: { Down: Strategy.manual({ question: "What now?" }) }
    })
    const { by } = yield* Approval.wait()
    const latest = yield* Progress.latest()
    const done = Option.map(latest, ({ state }) => state.done.join())
    const count = yield* Count.get
    if (input.order === "failing") return yield* new Down({ code: count })
    return [total, report.length, retried, isNew, paid._tag, listed.length, asked, by, done._tag, count].join()
  })
)

/** An outcome for each order: all ended, ended with a failure, and three that stopped on the way. */
const orders = ["done", "failing", "answered", "asked", "fresh"]

const execute = (order: string) => Workflow.execute(Everything, { id: order, input: { order, amount: 21 } })

/** How a file is opened. */
export type Open = (filename: string) => Layer.Layer<Storage.Storage, unknown>

const byOwnClient: Open = (filename) =>
  SqliteStorage.layer({ filename, durability: "process-crash", busyTimeout: "50 millis" })

const layerOf = (storage: Layer.Layer<Storage.Storage, unknown>) => {
  const manager = RecoveryManager.layer({ workflows: [Everything] })
  // Compensations are not retried, so that nothing sleeps.
  const quick = RetryPolicy.layer(RetryPolicy.none)
  return Layer.mergeAll(manager, Insights.layer, Lock.layerStorage(), quick).pipe(Layer.provideMerge(storage))
}

const answer = (order: string) => Workflow.resolve(order, Answer.json("by hand"))

/**
 * Fills a file, and leaves it as a killed process would: with a write-ahead log.
 * `use` gets the copies of the file and its log.
 */
export const prepare = (folder: string) =>
  Effect.gen(function* () {
    const original = path.join(folder, "original.db")
    const filename = path.join(folder, "prepared.db")
    yield* Effect.gen(function* () {
      yield* Effect.forEach(orders, (order) => Effect.exit(order === "fresh" ? start : execute(order)))
      yield* Effect.forEach(["done", "failing", "answered"], answer)
      yield* Effect.forEach(["done", "failing"], (order) => Effect.exit(execute(order)))
      yield* Effect.forEach(["done", "failing", "answered", "asked"], (order) => Approval.send(order, { by: "Ada" }))
      yield* Effect.forEach(["done", "failing"], (order) => Effect.exit(execute(order)))
      yield* RecoveryManager.report("ECONNREFUSED", { id: "failure-1", labels: { repository: "shop" }, run: "failing" })
      yield* Effect.scoped(Lock.acquire("held"))
      // As a kill leaves them: the last commits are in the log only.
      for (const suffix of ["", "-wal"]) fs.copyFileSync(`${original}${suffix}`, `${filename}${suffix}`)
    }).pipe(Effect.provide(layerOf(byOwnClient(original))))
    return filename
  })

const start = Workflow.start(Everything, { id: "fresh", input: { order: "fresh", amount: 21 } })

/** What can be seen of a file, by the name of the look at it. */
export type Seen = Readonly<Record<string, Exit.Exit<unknown, unknown>>>

type Needs = Storage.Storage | RecoveryManager.RecoveryManager | Insights.Insights | Lock.Lock

/** Executing comes last: it changes the file. */
const looks: Readonly<Record<string, Effect.Effect<unknown, unknown, Needs>>> = {
  list: Effect.map(Workflow.list(), (runs) =>
    runs
      .filter(({ labels }) => labels["damaged"] === undefined)
      .map(({ createdAt, id, version, workflow }) => `${id} ${workflow} ${version} ${createdAt.toISOString()}`)
  ),
  stats: Effect.asVoid(Workflow.stats),
  status: Effect.map(Workflow.status("done"), ({ rollbacks, steps }) => [steps, rollbacks]),
  statusOfOpen: Effect.map(Workflow.status("asked"), ({ rollbacks, steps, waits }) => [steps, rollbacks, waits]),
  timeline: Effect.map(Timeline.ofRun("done"), ({ moments }) => moments),
  state: State.read(Count, "done"),
  checkpoint: Effect.map(
    Progress.latest({ run: "done" }),
    Option.map(({ state }) => state)
  ),
  checkpoints: Effect.map(Progress.list({ run: "any" }), (all) =>
    all.filter(({ metadata }) => metadata["damaged"] === undefined).map(({ id, labels, name }) => [id, name, labels])
  ),
  labelled: Effect.map(Progress.list({ run: "any", labels: { order: "done" } }), (all) =>
    all.filter(({ labels }) => labels["damaged"] === undefined).map(({ id, labels }) => [id, labels])
  ),
  failures: RecoveryManager.failures(),
  dashboard: Effect.asVoid(RecoveryManager.dashboard()),
  statistics: Effect.asVoid(Insights.statistics),
  locks: Effect.asVoid(Lock.list),
  lock: Effect.scoped(Lock.acquireIfAvailable("held")).pipe(Effect.asVoid),
  done: execute("done"),
  failing: execute("failing"),
  answered: execute("answered"),
  asked: Effect.zipRight(answer("asked"), execute("asked")),
  fresh: execute("fresh"),
  shared: Effect.asVoid(execute("another"))
}

export const look = (filename: string, open: Open = byOwnClient): Effect.Effect<Seen> =>
  Effect.forEach(Object.entries(looks), ([name, effect]) =>
    // A damaged time may be far ahead: then the run sleeps, which is no wrong value.
    Effect.map(Effect.exit(Effect.timeout(effect, "5 seconds")), (exit) => [name, exit] as const)
  ).pipe(
    Effect.map((all): Seen => Object.fromEntries(all)),
    Effect.provide(layerOf(open(filename))),
    // A file that cannot be opened shows nothing.
    Effect.catchAllCause((cause) => Effect.succeed({ opening: Exit.failCause(cause) }))
  )

/** The tags of errors that say that something is damaged, or that something is missing. */
const typed = new Set([
  "StorageError",
  "JournalError",
  "RecordDamaged",
  "LockError",
  "CheckpointInvalid",
  "CheckpointNotFound",
  "RunNotFound",
  "NotOpen",
  "RunSuspended",
  "RunMismatch",
  "ReplayMismatch",
  "LeaseHeld",
  "LeaseLost",
  "TimeoutException"
])

const isPart = (part: unknown, whole: unknown): boolean => {
  if (!Array.isArray(part) || !Array.isArray(whole)) return false
  const known = new Set(whole.map((one) => JSON.stringify(one)))
  return part.every((one) => known.has(JSON.stringify(one)))
}

/** Looks at several rows, of which damage and a lost commit may hide some. */
const several = new Set(["list", "timeline", "checkpoints", "labelled", "failures"])

/** Looks at what a run has done until now, which is less in an older state. */
const ofProgress = new Set(["status", "statusOfOpen"])

/** Whether a value is that of the undamaged file, or of an older state of it. */
const isRight = (expected: Seen, name: string, value: unknown): boolean => {
  const known = expected[name]
  if (ofProgress.has(name)) return true
  if (known === undefined || Exit.isFailure(known)) return false
  if (several.has(name)) return isPart(value, known.value)
  return (Option.isOption(value) && Option.isNone(value)) || JSON.stringify(value) === JSON.stringify(known.value)
}

/** What is neither right nor a typed error. Without `expected` only defects are wrong. */
export const wrongIn = (seen: Seen, expected?: Seen): ReadonlyArray<string> =>
  Object.entries(seen).flatMap(([name, exit]) => {
    if (Exit.isSuccess(exit)) {
      return expected === undefined || isRight(expected, name, exit.value)
        ? []
        : [`${name}: ${JSON.stringify(exit.value)}`]
    }
    if (Cause.isDie(exit.cause)) return [`${name}: ${Cause.pretty(exit.cause)}`]
    if (expected === undefined) return []
    const error = Option.getOrUndefined(Cause.failureOption(exit.cause))
    const tag = typeof error === "object" && error !== null && "_tag" in error ? String(error._tag) : "none"
    const known = expected[name]
    if (typed.has(tag) || (known !== undefined && String(known) === String(exit))) return []
    return [`${name}: ${Cause.pretty(exit.cause)}`]
  })
