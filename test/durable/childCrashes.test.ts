import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { RetryPolicy, Storage, Workflow } from "effect-recovery"
import { Ledger } from "effect-recovery/testing"
import { type CrashPoint, crashing, makeCrasher } from "../../src/testing/internal/crashing.js"
import { awaitExit, underVirtualClock, type VirtualClock } from "../../src/testing/internal/testClock.js"
import { lengthOf } from "../support/campaigns.js"
import { linesOf, noted } from "../support/durable.js"
import { backends, type Place } from "../support/storages.js"

const Leaf = Workflow.make("leaf", { input: Schema.Number, success: Schema.Number }, (n) =>
  Effect.zipRight(noted("leaf"), Effect.as(Workflow.sleep("1 minute"), n))
)

const Twig = Workflow.make("twig", { input: Schema.Number, success: Schema.Number }, (n) =>
  Effect.zipWith(noted("twig"), Workflow.execute(Leaf, { id: "leaf", input: n }), (_, leaf) => leaf + 1)
)

class Refused extends Schema.TaggedError<Refused>()("Refused", {}) {}

const Refuses = Workflow.make("refuses", { error: Refused }, () => Effect.zipRight(noted("refuses"), new Refused()))

const Tree = Workflow.make("tree", { success: Schema.Number }, () =>
  Effect.gen(function* () {
    yield* noted("first")
    const twigs = yield* Effect.all(
      [1, 2].map((n) => Workflow.execute(Twig, { id: "twig", input: n }).pipe(Workflow.section("side", n))),
      { concurrency: 2 }
    )
    const refused = yield* Workflow.execute(Refuses, { id: "no" }).pipe(
      Effect.as(0),
      Effect.catchTag("Refused", () => Effect.succeed(100))
    )
    yield* Workflow.start(Leaf, { id: "late", input: 1_000 })
    const late = yield* Workflow.execute(Leaf, { id: "late", input: 1_000 })
    yield* noted("last")
    return refused + late + twigs.reduce((sum, n) => sum + n, 0)
  })
)

const done = ["first", "last", "leaf", "leaf", "leaf", "refuses", "twig", "twig"]

let processes = 0

/** A process on the store, which may be dying. */
const processOn = (store: Storage.Store, ledger: Ledger.Service) =>
  Layer.mergeAll(
    Layer.scoped(Storage.Storage, Storage.make(store, { owner: `process-${++processes}`, lease: "30 seconds" })),
    Layer.succeed(Ledger.Ledger, ledger),
    RetryPolicy.layer(RetryPolicy.none)
  )

/** Runs the program in a process that dies at the point, and then another one in a process that lives. */
const withCrash = <A, B>(
  place: Place,
  point: CrashPoint,
  clock: VirtualClock,
  dying: Effect.Effect<A, unknown, Storage.Storage | Ledger.Ledger>,
  living: Effect.Effect<B, unknown, Storage.Storage | Ledger.Ledger>
) =>
  Effect.gen(function* () {
    const ledger = yield* Ledger.make
    const crasher = makeCrasher(point, Effect.never)
    const dead: Ledger.Service = { ...ledger, add: (line) => crasher.other(ledger.add(line)) }
    const layer = processOn(crashing(place.store, crasher), dead)
    const fiber = yield* Effect.forkDaemon(Effect.provide(dying, layer))
    yield* awaitExit(fiber, crasher.isDead, clock)
    // A dead process does not renew its leases.
    yield* clock.advance(31_000)
    const exit = yield* awaitExit(
      yield* Effect.fork(Effect.provide(living, processOn(place.store, ledger))),
      () => false,
      clock
    )
    return { exit, lines: yield* linesOf(ledger), isDead: crasher.isDead() }
  })

const stride = lengthOf("CHILD_CRASH_STRIDE")

/** Walks until a process outlives its point. Returns how many writes there are. */
const everyPoint = (walk: (point: CrashPoint) => Effect.Effect<boolean, unknown>, when: CrashPoint["when"]) =>
  Effect.gen(function* () {
    let write = 1
    while (yield* walk({ write, when })) write += stride
    return write
  })

for (const backend of backends)
  describe(`${backend.name}: a process that dies at any write of a run and of its children`, () => {
    for (const when of ["before", "after"] as const) {
      it.scoped(`leaves what another one continues, ${when} the write`, () =>
        Effect.gen(function* () {
          const run = Workflow.execute(Tree, { id: "1" })
          const walk = (point: CrashPoint) =>
            underVirtualClock((clock) =>
              Effect.scoped(
                Effect.gen(function* () {
                  const place = yield* backend.make
                  const { exit, isDead, lines } = yield* withCrash(place, point, clock, run, run)
                  const where = `${when} write ${point.write}`
                  assert.deepStrictEqual(exit, Exit.succeed(1_105), where)
                  // A step that was cut short runs again.
                  assert.deepStrictEqual([...new Set(lines)].sort(), [...new Set(done)], where)
                  assert.isAtMost(lines.length, done.length + 2, where)
                  const children = yield* place.store.list({ parent: "1" })
                  assert.deepStrictEqual(
                    children.map(({ id, outcome }) => [id, outcome?.status]).sort(),
                    [
                      ["1/late", "completed"],
                      ["1/no", "failed"],
                      ["1/side%5B1%5D%2Ftwig", "completed"],
                      ["1/side%5B2%5D%2Ftwig", "completed"]
                    ],
                    where
                  )
                  return isDead
                })
              )
            )
          assert.isAbove(yield* everyPoint(walk, when), 40)
        })
      )
    }
  })
