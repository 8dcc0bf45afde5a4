/** Short pieces of code that the documentation shows, within programs that compile. A test runs `program`. */
import { Duration, Effect, Layer, Schema, Stream } from "effect"
import {
  Checkpoint,
  Redaction,
  RetryPolicy,
  Step,
  Storage,
  Strategy,
  Transaction,
  Worker,
  Workflow
} from "effect-recovery"
import { Insights } from "effect-recovery/operate"
import { PgStorage } from "effect-recovery/pg"
import { SqliteStorage } from "effect-recovery/sqlite"
import { Testing } from "effect-recovery/testing"

class Unhealthy extends Schema.TaggedError<Unhealthy>()("Unhealthy", {}) {}

// ---- docs/operate/secrets.md

// #region redaction
const redaction = Redaction.layer({ patterns: [/\bcus_\w+/], headers: ["x-tenant"], keys: ["pin code"] })
// #endregion

const redacted = Effect.provide(
  Effect.map(Redaction.Redaction, ({ text }) => text("customer cus_42")),
  redaction
)

// ---- docs/operate/databases.md

// #region direct
export const storageBesidePooler = PgStorage.layer({ direct: { host: "db.internal", port: 5432 } })
// #endregion

// ---- docs/operate/production.md

const Release = Workflow.make("release", {}, () => Effect.void)
const policy = RetryPolicy.fixed({ delay: "10 millis" })
const storage = Storage.layerMemory

// #region by-hand
const worker = Worker.layer([Release]).pipe(
  Layer.provideMerge(Insights.layer),
  Layer.provideMerge(RetryPolicy.layer(policy)),
  Layer.provideMerge(storage)
)
// #endregion

const released = Workflow.start(Release, { id: "release-1" }).pipe(
  Effect.zipRight(Workflow.join(Release, "release-1")),
  Effect.zipRight(Workflow.status("release-1")),
  Effect.map(({ status }) => status),
  Effect.provide(worker)
)

// ---- docs/durable/transactions.md

const log: Array<string> = []
const say = (line: string) => Effect.sync(() => void log.push(line))

const announce = Step.make("announce", { run: say("announced"), compensate: () => say("withdrawn") })
const publish = Step.make("publish", { run: say("published"), pivot: true })
const announceAgain = Step.make("notify", { run: say("notified"), compensate: () => say("notice withdrawn") })

let isHealthy = false
const checkRelease = Effect.suspend(() => {
  const result = isHealthy ? Effect.void : new Unhealthy()
  isHealthy = true
  return result
})

// #region restart-from
const verify = Step.make("verify", {
  error: Unhealthy,
  run: checkRelease,
  recover: { Unhealthy: Strategy.restartFrom(announceAgain, { times: 1 }) } // after the pivot `publish`, and only that far
})
// #endregion

const Rollout = Workflow.make("rollout", {}, () =>
  Effect.gen(function* () {
    yield* announce
    yield* publish
    yield* announceAgain
    yield* verify
  }).pipe(Transaction.run(), Effect.ignore)
)

const rolledOut = Workflow.execute(Rollout, { id: "rollout-1" }).pipe(Effect.as(log), Effect.provide(storage))

const money: Array<string> = []
const noted = (line: string) => Effect.sync(() => void money.push(line))

let isBankOnline = false
const charge = Step.make("charge", {
  run: noted("charged"),
  compensate: {
    undo: () => Effect.suspend(() => (isBankOnline ? noted("refunded") : Effect.fail("offline"))),
    retry: RetryPolicy.none
  }
})

const Sale = Workflow.make("sale", {}, () =>
  Effect.zipRight(charge, Effect.dieMessage("a bug")).pipe(
    Transaction.run(),
    Effect.catchTag("RollbackFailed", Effect.die)
  )
)

// #region undo-only
const undoOnly = (id: string) =>
  Effect.gen(function* () {
    yield* Workflow.hold(id, { reason: "to be undone" })
    yield* Workflow.rewind(Sale, id, Workflow.fromStart, { heldAs: "manual" })
    yield* Workflow.cancel(id, { reason: "undone" })
  })
// #endregion

const undone = Effect.gen(function* () {
  const sale = Workflow.execute(Sale, { id: "sale-1" })
  yield* Effect.exit(sale)
  isBankOnline = true
  yield* undoOnly("sale-1")
  const { _tag } = yield* Effect.flip(sale)
  return { _tag, money }
}).pipe(Effect.provide(storage))

// ---- docs/durable/checkpoints.md

const V1 = Schema.Struct({ done: Schema.Number })
const V2 = Schema.Struct({ done: Schema.Number, total: Schema.NullOr(Schema.Number) })
const V3 = Schema.Struct({ ...V2.fields, startedAt: Schema.Date })

// #region migrations
const Progress = Checkpoint.make("progress", {
  schema: V3,
  version: 3,
  migrations: {
    1: Checkpoint.migration(V1, V2, (v1) => ({ ...v1, total: null })),
    2: Checkpoint.migration(V2, V3, (v2) => ({ ...v2, startedAt: new Date(0) }))
  }
})
// #endregion

const migrated = Effect.gen(function* () {
  yield* Checkpoint.make("progress", { schema: V1 }).save({ done: 7 })
  const { state } = yield* Effect.flatten(Progress.latest())
  return state
}).pipe(Effect.provide(storage))

// #region search
const Document = Checkpoint.make("document", { schema: Schema.Uint8ArrayFromSelf })
const Note = Checkpoint.make("note", { schema: Schema.Struct({ text: Schema.String }) })

const search = Effect.gen(function* () {
  // All or none, in one transaction.
  yield* Checkpoint.saveAll([
    Document.entry(new Uint8Array([1, 2, 3]), { key: "letter", labels: { author: "ada" } }),
    Note.entry({ text: "to Charles" }, { key: "letter", labels: { author: "ada" }, metadata: { read: false } })
  ])
  const letter = yield* Document.latest({ key: "letter" })
  const unread = Note.stream({ labels: { author: "ada" }, metadata: { read: false }, order: "oldest" })
  yield* Stream.runForEach(unread, ({ state }) => Effect.log(state.text))
  yield* Checkpoint.remove({ labels: { author: "ada" } })
  return letter
})
// #endregion

// ---- docs/durable/workers.md, docs/durable/execution.md

const Order = Workflow.make("order", {}, () => Workflow.sleep(Duration.days(1)))

const controlled = Effect.gen(function* () {
  yield* Workflow.start(Order, { id: "order-17" })
  // #region hold
  yield* Workflow.hold("order-17", { reason: "the address is wrong", by: "ada" })
  yield* Workflow.release("order-17")
  // #endregion
  // #region cancel
  const what = yield* Workflow.cancel("order-17", { reason: "the customer withdrew", by: "ada" })
  console.log(what) // cancelled, or cancelling
  // #endregion
  return what
}).pipe(Effect.provide(storage))

// ---- docs/durable/crashes.md

// #region storage-of
const storageIn = (folder: string) => SqliteStorage.layer({ filename: `${folder}/runs.db` })
// #endregion

/** The program of `order.child.ts`. */
export const child = () => {
  // #region child
  Effect.runPromise(Testing.child(Order, { input: undefined, storage: storageIn }))
  // #endregion
}

/** The test that starts it. */
export const killed = async () => {
  // #region killed
  const card = await Effect.runPromise(Testing.killEverywhere({ program: "order.child.js", storage: storageIn }))
  // #endregion
  return card
}

/** The tests of a storage of your own, with `it` of @effect/vitest. */
export const contract = (it: TestsOfEffects, myStore: (options: { readonly connections: number }) => StoreOfYours) => {
  // #region contract
  // Each check gets an empty store, which takes its time from Effect's clock.
  const checks = Testing.storageContract(Effect.sync(() => myStore({ connections: 10 })))
  for (const { check, name } of checks) it.live(name, () => check)
  // #endregion
}

interface TestsOfEffects {
  readonly live: (name: string, check: () => Effect.Effect<void, unknown>) => void
}

type StoreOfYours = Effect.Effect.Success<Parameters<typeof Testing.storageContract>[0]>

export const program = Effect.all({
  redacted,
  released,
  rolledOut,
  undone,
  migrated,
  letter: search.pipe(
    Effect.map((letter) => (letter._tag === "Some" ? letter.value.state.length : 0)),
    Effect.provide(storage)
  ),
  controlled
})
