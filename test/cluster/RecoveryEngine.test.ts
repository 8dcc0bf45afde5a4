import { assert, describe, it } from "@effect/vitest"
import { Activity, DurableClock, DurableDeferred, Workflow as Stock } from "@effect/workflow"
import type { WorkflowEngine } from "@effect/workflow/WorkflowEngine"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { Storage, Workflow } from "effect-recovery"
import { Ledger } from "effect-recovery/testing"
import { RecoveryEngine } from "effect-recovery/workflow-engine"
import { crashing, makeCrasher } from "../../src/testing/internal/crashing.js"
import { awaitExit, underVirtualClock, type VirtualClock } from "../../src/testing/internal/testClock.js"
import { isSoak } from "../support/campaigns.js"
import { backends, type Place } from "../support/storages.js"
import { eventually } from "../support/time.js"

class Declined extends Schema.TaggedError<Declined>()("Declined", { amount: Schema.Number }) {}

const Paid = DurableDeferred.make("paid", { success: Schema.Number })
const Shipped = DurableDeferred.make("shipped", { success: Schema.Number })

const noted = (name: string) =>
  Activity.make({ name, success: Schema.String, execute: Effect.as(Ledger.done(name), name) })

const payload = { id: Schema.String }
const idempotencyKey = ({ id }: { readonly id: string }) => id

const Plain = Stock.make({ name: "plain", payload, success: Schema.String, error: Declined, idempotencyKey })
const plain = (body: Effect.Effect<string, Declined, Needs>) => Plain.toLayer(() => body)

type Needs =
  | Ledger.Ledger
  | WorkflowEngine
  | Effect.Effect.Context<typeof Stock.scope>
  | Scope.Scope
  | Stock.Execution<"plain">

type Built = Layer.Layer<never, never, WorkflowEngine | Ledger.Ledger>

/** Runs an effect in a process of its own, which ends before this returns. */
const inProcess = <A, E>(
  place: Place,
  ledger: Ledger.Service,
  workflows: Built,
  use: Effect.Effect<A, E, WorkflowEngine | Storage.Storage>
) =>
  use.pipe(
    Effect.provide(
      workflows.pipe(
        Layer.provideMerge(RecoveryEngine.layer({ drain: 0 })),
        Layer.provideMerge(place.join("30 seconds")),
        Layer.provide(Layer.succeed(Ledger.Ledger, ledger))
      )
    )
  )

const assertDeclined = (exit: Exit.Exit<unknown, unknown>, amount: number) => {
  const [error] = Exit.isFailure(exit) ? Cause.failures(exit.cause) : []
  assert.instanceOf(error, Declined)
  assert.strictEqual((error as Declined).amount, amount)
}

const untilSuspended = (id: string) => eventually(Plain.poll(id), (result) => result?._tag === "Suspended")
const effects = (ledger: Ledger.Service) => Effect.map(ledger.lines, (lines) => lines.map(({ effect }) => effect))

for (const backend of backends) {
  describe(`${backend.name}: stock workflows`, () => {
    it.scopedLive("continue in another process, without the activities that had ended", () =>
      Effect.gen(function* () {
        const [place, ledger] = [yield* backend.make, yield* Ledger.make]
        const workflow = plain(
          Effect.gen(function* () {
            const first = yield* noted("first")
            const amount = yield* DurableDeferred.await(Paid)
            return `${first} ${amount} ${yield* noted("second")}`
          })
        )
        const id = yield* Plain.executionId({ id: "1" })
        yield* inProcess(
          place,
          ledger,
          workflow,
          Effect.zipRight(Plain.execute({ id: "1" }, { discard: true }), untilSuspended(id))
        )
        const token = DurableDeferred.tokenFromExecutionId(Paid, { workflow: Plain, executionId: id })
        const done = DurableDeferred.succeed(Paid, { token, value: 7 })
        const result = yield* inProcess(place, ledger, workflow, Effect.zipRight(done, Plain.execute({ id: "1" })))
        assert.strictEqual(result, "first 7 second")
        assert.deepStrictEqual(yield* effects(ledger), ["first", "second"])
        // A process without the workflow reads the result.
        const read = yield* inProcess(place, ledger, Layer.empty, Plain.poll(id))
        assert.deepStrictEqual(read, new Stock.Complete({ exit: Exit.succeed("first 7 second") }))
      })
    )

    it.scopedLive("are seen as other runs are", () =>
      Effect.gen(function* () {
        const [place, ledger] = [yield* backend.make, yield* Ledger.make]
        const workflow = plain(
          Effect.gen(function* () {
            yield* noted("first")
            yield* DurableClock.sleep({ name: "night", duration: "8 hours" })
            return String(yield* DurableDeferred.await(Paid))
          })
        )
        const id = yield* Plain.executionId({ id: "1" })
        yield* inProcess(
          place,
          ledger,
          workflow,
          Effect.gen(function* () {
            yield* Plain.execute({ id: "1" }, { discard: true })
            yield* untilSuspended(id)
            const status = yield* Workflow.status(id)
            assert.deepStrictEqual([status.workflow, status.status], ["plain", "suspended"])
            assert.deepStrictEqual(
              status.steps.map(({ key, status }) => [key, status]),
              [["first", "completed"]]
            )
            assert.deepStrictEqual(
              status.waits.map(({ about, kind }) => [about, kind]),
              [["night", "sleep"]]
            )
          })
        )
      })
    )

    it.scopedLive("keep the class of their errors, and their defects", () =>
      Effect.gen(function* () {
        const [place, ledger] = [yield* backend.make, yield* Ledger.make]
        const charge = Activity.make({
          name: "charge",
          error: Declined,
          execute: Effect.zipRight(Ledger.done("charge"), new Declined({ amount: 3 }))
        })
        const broken = Activity.make({ name: "break", execute: Effect.die(new Error("broken")) })
        const exits = (id: string, body: Effect.Effect<unknown, Declined, Needs>) =>
          Effect.replicateEffect(
            inProcess(place, ledger, plain(Effect.as(body, "")), Effect.exit(Plain.execute({ id }))),
            2
          )
        for (const exit of yield* exits("1", charge)) assertDeclined(exit, 3)
        for (const exit of yield* exits("2", broken)) {
          assert.include(Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "", "broken")
        }
        assert.deepStrictEqual(yield* effects(ledger), ["charge"])
      })
    )

    it.scopedLive("count the attempts of an activity over processes", () =>
      Effect.gen(function* () {
        const [place, ledger] = [yield* backend.make, yield* Ledger.make]
        const Retried = DurableDeferred.make("retried")
        const send = Activity.make({
          name: "send",
          success: Schema.Number,
          error: Declined,
          execute: Effect.gen(function* () {
            const attempt = yield* Activity.CurrentAttempt
            // The second attempt waits, so that it is the one that another process makes again.
            if (attempt === 2) yield* DurableDeferred.await(Retried)
            yield* Ledger.done(`attempt ${attempt}`)
            return attempt < 3 ? yield* new Declined({ amount: attempt }) : attempt
          })
        })
        const workflow = plain(Effect.map(Activity.retry(send, { times: 5 }), String))
        const id = yield* Plain.executionId({ id: "1" })
        yield* inProcess(
          place,
          ledger,
          workflow,
          Plain.execute({ id: "1" }, { discard: true }).pipe(Effect.zipRight(untilSuspended(id)))
        )
        const token = DurableDeferred.tokenFromExecutionId(Retried, { workflow: Plain, executionId: id })
        const done = DurableDeferred.succeed(Retried, { token, value: undefined })
        assert.strictEqual(
          yield* inProcess(place, ledger, workflow, Effect.zipRight(done, Plain.execute({ id: "1" }))),
          "3"
        )
        assert.deepStrictEqual(yield* effects(ledger), ["attempt 1", "attempt 2", "attempt 3"])
      })
    )

    it.scopedLive("hear of a deferred that was done before they were started", () =>
      Effect.gen(function* () {
        const [place, ledger] = [yield* backend.make, yield* Ledger.make]
        const workflow = plain(Effect.map(DurableDeferred.await(Paid), String))
        const id = yield* Plain.executionId({ id: "1" })
        const token = DurableDeferred.tokenFromExecutionId(Paid, { workflow: Plain, executionId: id })
        yield* inProcess(place, ledger, Layer.empty, DurableDeferred.succeed(Paid, { token, value: 1 }))
        assert.strictEqual(yield* inProcess(place, ledger, workflow, Plain.execute({ id: "1" })), "1")
        assert.deepStrictEqual(yield* place.store.records({ kind: "workflow-deferred" }), [])
      })
    )

    it.scopedLive("get one value of a deferred that is done before their start and once more while they ask", () =>
      Effect.gen(function* () {
        const [place, ledger] = [yield* backend.make, yield* Ledger.make]
        const { store } = place
        const values: Array<number> = []
        const workflow = plain(
          Effect.gen(function* () {
            values.push(yield* DurableDeferred.await(Paid))
            return String(yield* DurableDeferred.await(Shipped))
          })
        )
        const id = yield* Plain.executionId({ id: "1" })
        const done = (deferred: typeof Paid, value: number) =>
          DurableDeferred.succeed(deferred, {
            token: DurableDeferred.tokenFromExecutionId(deferred, { workflow: Plain, executionId: id }),
            value
          })
        yield* inProcess(place, ledger, Layer.empty, done(Paid, 1))
        const again = inProcess(place, ledger, Layer.empty, done(Paid, 2))
        const findRecord: Storage.Store["findRecord"] = (kind, id) =>
          Effect.tap(store.findRecord(kind, id), (found) => (Option.isSome(found) ? Effect.orDie(again) : Effect.void))
        const racing: Place = {
          ...place,
          join: () =>
            Layer.scoped(Storage.Storage, Storage.make({ ...store, findRecord }, { owner: "racing", lease: "1 hour" }))
        }
        const passes = Effect.gen(function* () {
          yield* Plain.execute({ id: "1" }, { discard: true })
          yield* untilSuspended(id)
          yield* done(Shipped, 3)
          return yield* Plain.execute({ id: "1" })
        })
        assert.strictEqual(yield* inProcess(racing, ledger, workflow, passes), "3")
        assert.deepStrictEqual(values, [2, 2])
        assert.deepStrictEqual(yield* store.records({ kind: "workflow-deferred" }), [])
      })
    )

    it.scopedLive("leave no record of a deferred that is done while they are started", () =>
      Effect.gen(function* () {
        const [place, ledger] = [yield* backend.make, yield* Ledger.make]
        const { store } = place
        const workflow = plain(Effect.map(DurableDeferred.await(Paid), String))
        const id = yield* Plain.executionId({ id: "1" })
        const started = inProcess(
          place,
          ledger,
          workflow,
          Effect.zipRight(Plain.execute({ id: "1" }, { discard: true }), untilSuspended(id))
        )
        const write: Storage.Store["write"] = (record, counts) =>
          Effect.zipRight(
            record.kind === "workflow-deferred" ? Effect.orDie(started) : Effect.void,
            store.write(record, counts)
          )
        const racing: Place = {
          ...place,
          join: () =>
            Layer.scoped(Storage.Storage, Storage.make({ ...store, write }, { owner: "racing", lease: "1 hour" }))
        }
        const token = DurableDeferred.tokenFromExecutionId(Paid, { workflow: Plain, executionId: id })
        yield* inProcess(racing, ledger, Layer.empty, DurableDeferred.succeed(Paid, { token, value: 1 }))
        assert.strictEqual(yield* inProcess(place, ledger, workflow, Plain.execute({ id: "1" })), "1")
        assert.deepStrictEqual(yield* store.records({ kind: "workflow-deferred" }), [])
      })
    )

    it.scopedLive("are interrupted once they wait, with their compensations, and not when their process leaves", () =>
      Effect.gen(function* () {
        const [place, ledger] = [yield* backend.make, yield* Ledger.make]
        const workflow = plain(
          Effect.gen(function* () {
            yield* noted("book").pipe(Plain.withCompensation(() => Effect.asVoid(noted("cancel"))))
            return String(yield* DurableDeferred.await(Paid))
          })
        )
        const id = yield* Plain.executionId({ id: "1" })
        yield* inProcess(
          place,
          ledger,
          workflow,
          Plain.execute({ id: "1" }, { discard: true }).pipe(Effect.zipRight(untilSuspended(id)))
        )
        assert.deepStrictEqual(yield* effects(ledger), ["book"])
        const interrupted = Effect.zipRight(Plain.interrupt(id), Effect.exit(Plain.execute({ id: "1" })))
        const exit = yield* inProcess(place, ledger, workflow, interrupted)
        assert.isTrue(Exit.isInterrupted(exit))
        assert.deepStrictEqual(yield* effects(ledger), ["book", "cancel"])
      })
    )

    it.scopedLive("that this library cancels have no result, and ran no compensation", () =>
      Effect.gen(function* () {
        const [place, ledger] = [yield* backend.make, yield* Ledger.make]
        const workflow = plain(
          Effect.gen(function* () {
            yield* noted("book").pipe(Plain.withCompensation(() => Effect.asVoid(noted("cancel"))))
            return String(yield* DurableDeferred.await(Paid))
          })
        )
        const id = yield* Plain.executionId({ id: "1" })
        const exit = yield* inProcess(
          place,
          ledger,
          workflow,
          Effect.gen(function* () {
            yield* Plain.execute({ id: "1" }, { discard: true })
            yield* untilSuspended(id)
            yield* Workflow.cancel(id, { reason: "not wanted" })
            return yield* Effect.exit(Plain.execute({ id: "1" }))
          })
        )
        const [defect] = Exit.isFailure(exit) ? Cause.defects(exit.cause) : []
        assert.instanceOf(defect, Workflow.RunCancelled)
        assert.deepStrictEqual(yield* effects(ledger), ["book"])
      })
    )

    it.scopedLive("wait for a child, and so does a second parent of it", () =>
      Effect.gen(function* () {
        const [place, ledger] = [yield* backend.make, yield* Ledger.make]
        const Child = Stock.make({ name: "child", payload: {}, success: Schema.Number, idempotencyKey: () => "only" })
        const child = Child.toLayer(() => DurableDeferred.await(Paid))
        const parents = plain(Effect.map(Child.execute(undefined), String))
        const childId = yield* Child.executionId({})
        const results = yield* inProcess(
          place,
          ledger,
          Layer.merge(child, parents),
          Effect.gen(function* () {
            const both = yield* Effect.fork(
              Effect.all([Plain.execute({ id: "1" }), Plain.execute({ id: "2" })], { concurrency: "unbounded" })
            )
            for (const id of ["1", "2"]) yield* untilSuspended(yield* Plain.executionId({ id }))
            const token = DurableDeferred.tokenFromExecutionId(Paid, { workflow: Child, executionId: childId })
            yield* DurableDeferred.succeed(Paid, { token, value: 5 })
            return yield* Fiber.join(both)
          })
        )
        assert.deepStrictEqual(results, ["5", "5"])
        const [first] = yield* place.store.list({ parent: yield* Plain.executionId({ id: "1" }) })
        const [second] = yield* place.store.list({ parent: yield* Plain.executionId({ id: "2" }) })
        assert.strictEqual((first ?? second)?.id, childId)
      })
    )

    it.scopedLive("are the same run for the same key, whatever else the payload says", () =>
      Effect.gen(function* () {
        const [place, ledger] = [yield* backend.make, yield* Ledger.make]
        const Timed = Stock.make({
          name: "timed",
          payload: { id: Schema.String, at: Schema.Number },
          success: Schema.Number,
          idempotencyKey: ({ id }) => id
        })
        const timed = Timed.toLayer(({ at }) => Effect.as(noted("work"), at))
        const execute = (at: number) => inProcess(place, ledger, timed, Timed.execute({ id: "1", at }))
        assert.deepStrictEqual([yield* execute(1), yield* execute(2)], [1, 1])
        assert.deepStrictEqual(yield* effects(ledger), ["work"])
      })
    )

    it.live("end as without a crash after a crash at each of their writes", () =>
      Effect.gen(function* () {
        let crashes = 0
        // Each write in memory, and on a file a part of them, since the writes are the same: in the soak.
        const stride = (backend.name === "memory" ? 1 : 9) * (isSoak ? 1 : 7)
        for (const when of ["before", "after"] as const) {
          for (let write = 1; ; write += stride) {
            const crashed = yield* underVirtualClock((clock) =>
              Effect.scoped(crashAt(backend.make, { when, write }, clock))
            )
            if (!crashed) break
            crashes++
          }
        }
        assert.isAtLeast(crashes, Math.floor(32 / stride))
      })
    )
  })
}

const Trip = Stock.make({ name: "trip", payload, success: Schema.String, error: Declined, idempotencyKey })

/** Retries, a race, a sleep, a compensation, and a failure at the end that runs it. */
const trip = Trip.toLayer(() =>
  Effect.gen(function* () {
    yield* noted("book").pipe(Trip.withCompensation(() => Effect.asVoid(noted("cancel"))))
    yield* Activity.make({
      name: "retried",
      error: Declined,
      execute: Effect.flatMap(Activity.CurrentAttempt, (attempt) =>
        Effect.zipRight(
          Ledger.done(`retried ${attempt}`),
          attempt < 3 ? new Declined({ amount: attempt }) : Effect.void
        )
      )
    }).pipe(Activity.retry({ times: 4 }))
    yield* DurableClock.sleep({ name: "night", duration: "2 minutes", inMemoryThreshold: Duration.zero })
    yield* Activity.raceAll("race", [
      Activity.make({ name: "slow", success: Schema.String, execute: Effect.as(Effect.sleep("1 hour"), "slow") }),
      noted("fast")
    ])
    return yield* new Declined({ amount: 9 })
  })
)

const expected = ["book", "cancel", "fast", "retried 1", "retried 2", "retried 3"]

/** Executes the trip in a process that ends at the write, and then in another one. Returns whether it came so far. */
const crashAt = (
  place: Effect.Effect<Place, unknown, Scope.Scope>,
  point: { readonly when: "before" | "after"; readonly write: number },
  clock: VirtualClock
) =>
  Effect.gen(function* () {
    const { store } = yield* place
    const ledger = yield* Ledger.make
    const crasher = makeCrasher(point, Effect.never)
    const living = { store, ledger, owner: "living" }
    const dying = {
      store: crashing(store, crasher),
      ledger: { ...ledger, add: (line: Ledger.Line) => crasher.other(ledger.add(line)) },
      owner: "dying"
    }
    const execute = ({ ledger, owner, store }: typeof living) =>
      Effect.flatMap(Scope.make(), (scope) => {
        const storage = Layer.scoped(Storage.Storage, Storage.make(store, { owner, lease: "30 seconds" }))
        // Looks at the storage would be most of what happens.
        const engine = Layer.provideMerge(RecoveryEngine.layer({ drain: 0, sweep: "1 hour" }), storage)
        const built = Layer.provide(Layer.provideMerge(trip, engine), Layer.succeed(Ledger.Ledger, ledger))
        // The scope of a dead process is never closed.
        return Effect.flatMap(Layer.buildWithScope(built, scope), (context) =>
          Effect.forkDaemon(Effect.provide(Effect.exit(Trip.execute({ id: "1" })), context))
        )
      })
    yield* awaitExit(yield* execute(dying), crasher.isDead, clock)
    if (!crasher.isDead()) return false
    yield* clock.advance(60_000)
    const exit = yield* awaitExit(yield* execute(living), () => false, clock)
    assertDeclined(yield* exit ?? Effect.die("it does not end"), 9)
    const lines = yield* effects(ledger)
    const where = `${point.when} write ${point.write}: ${lines}`
    assert.deepStrictEqual([...new Set(lines)].sort(), expected, where)
    // What was cut short runs again.
    assert.isAtMost(lines.length, expected.length + 1, where)
    return true
  })
