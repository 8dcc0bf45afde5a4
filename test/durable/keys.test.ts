import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Checkpoint, RetryPolicy, Signal, State, Step, type Storage, Workflow } from "effect-recovery"
import { signalKey } from "../../src/durable/internal/wait/resolve.js"
import { counterName } from "../../src/operate/internal/records/counters.js"
import { askedBy, epochKey, joinKey, waitMark, withoutUse } from "../../src/resilience/Key.js"
import { backends } from "../support/storages.js"

/** Names of the punctuation that keys are joined with, so that a collision is likely. */
const name = FastCheck.stringMatching(/^[ab/%#[\]~?@!25EF]{1,6}$/)

const differ = (one: ReadonlyArray<unknown>, other: ReadonlyArray<unknown>) =>
  JSON.stringify(one) !== JSON.stringify(other)

const injective = (title: string, parts: FastCheck.Arbitrary<ReadonlyArray<unknown>>, join: (parts: never) => string) =>
  it(`${title}: different parts make different keys`, () => {
    const known = new Map<string, ReadonlyArray<unknown>>()
    for (const one of FastCheck.sample(parts, { numRuns: 20_000, seed: 18 })) {
      const key = join(one as never)
      const before = known.get(key)
      if (before !== undefined) assert.isFalse(differ(one, before), `${JSON.stringify([one, before])} make ${key}`)
      known.set(key, one)
    }
  })

const epoch = FastCheck.option(FastCheck.integer({ min: 1, max: 4 }), { nil: undefined })

describe("Keys", () => {
  injective("joined names", FastCheck.array(name, { minLength: 1, maxLength: 4 }), (parts: ReadonlyArray<string>) =>
    joinKey(...parts)
  )
  injective(
    "idempotency keys of workflow, run, section, step and rewinds",
    FastCheck.tuple(name, name, FastCheck.array(name, { maxLength: 2 }), name, epoch),
    ([workflow, run, sections, step, epoch]: [string, string, Array<string>, string, number | undefined]) =>
      `${joinKey(workflow, run)}/${epochKey(joinKey(...sections, step), epoch)}`
  )
  injective(
    "signals",
    FastCheck.tuple(name, FastCheck.option(name, { nil: undefined })),
    ([name, id]: [string, string | undefined]) => signalKey(name, id)
  )
  injective(
    "counters",
    FastCheck.array(
      FastCheck.oneof(name, FastCheck.constant("ab".repeat(90)), FastCheck.constant(`${"ab".repeat(90)}c`)),
      { minLength: 1, maxLength: 3 }
    ),
    (parts: ReadonlyArray<string>) => counterName(...parts)
  )

  it("of ordinary names are what existing journals have", () => {
    assert.strictEqual(joinKey("deposit", "charge the card"), "deposit/charge the card")
    assert.strictEqual(
      `${joinKey("order", "ada-7")}/${epochKey("deposit/charge#2", 1)}`,
      "order/ada-7/deposit/charge#2~2"
    )
    assert.strictEqual(signalKey("approval", "chapter 1"), "@approval/chapter%201")
    assert.strictEqual(counterName("failing", "category", "rate-limit"), "failing/category/rate-limit")
  })

  it("of questions are distinguished from others", () => {
    assert.strictEqual(askedBy("deposit/charge?2"), "deposit/charge")
    assert.strictEqual(askedBy("manual?"), "manual")
    assert.isUndefined(askedBy("charges"))
    assert.isUndefined(askedBy(`charge?1${waitMark("charge?1")}`))
    assert.strictEqual(withoutUse("a/charge#12"), "a/charge")
    assert.strictEqual(withoutUse("a/charge#1/b"), "a/charge#1/b")
  })
})

class Bad extends Schema.TaggedError<Bad>()("Bad", {}) {}

for (const backend of backends) {
  describe(`${backend.name}: keys of one run`, () => {
    const within = <A, E>(self: Effect.Effect<A, E, Storage.Storage>) =>
      Effect.flatMap(backend.make, (place) =>
        Effect.provide(self, Layer.merge(place.join(), RetryPolicy.layer(RetryPolicy.none)))
      )

    it.scopedLive("idempotency keys of two runs and sections never meet", () =>
      within(
        Effect.gen(function* () {
          const seen = new Set<string>()
          const charge = Step.make("charge", {
            run: (_: number, { idempotencyKey }) => Effect.sync(() => void seen.add(idempotencyKey))
          })
          const Deep = Workflow.make("pay", {}, () => Workflow.section("deposit")(charge(1)))
          yield* Workflow.execute(Deep, { id: "ada/7" })
          const Flat = Workflow.make("pay", {}, () => charge(1))
          yield* Workflow.execute(Flat, { id: "ada/7/deposit" })
          assert.lengthOf([...seen], 2)
        })
      )
    )

    it.scopedLive("a rewound step and one that is named like its mark never meet", () =>
      within(
        Effect.gen(function* () {
          const seen: Array<string> = []
          const noted = (name: string) =>
            Step.make(name, {
              run: (_: number, { idempotencyKey }) => Effect.sync(() => void seen.push(idempotencyKey))
            })(1)
          const Flow = Workflow.make("flow", {}, () => Effect.zipRight(noted("charge~2"), noted("charge")))
          yield* Workflow.execute(Flow, { id: "1" })
          yield* Workflow.rewind(Flow, "1", Workflow.beforeStep("charge"))
          yield* Workflow.resume(Flow, "1")
          assert.lengthOf(seen, 3)
          assert.lengthOf([...new Set(seen)], 3)
        })
      )
    )

    it.scopedLive("a rewind of a step keeps a sleep whose name is one letter longer", () =>
      within(
        Effect.gen(function* () {
          const go = Signal.make("go", Schema.Void)
          const Flow = Workflow.make("flow", {}, () =>
            Workflow.sleep(1, { name: "charges" }).pipe(
              Effect.zipRight(Step.make("charge", { run: Effect.void })),
              Effect.zipRight(go.wait())
            )
          )
          yield* Effect.flip(Workflow.execute(Flow, { id: "1" }))
          yield* Workflow.rewind(Flow, "1", Workflow.beforeStep("charge"))
          const { waits } = yield* Workflow.status("1")
          assert.include(JSON.stringify(waits), "charges")
        })
      )
    )

    it.scopedLive("a patch, a checkpoint, a cell and a shared cell of one name keep apart", () =>
      within(
        Effect.gen(function* () {
          const go = Signal.make("go", Schema.Void)
          const cell = State.make("x", Schema.String, "")
          const local = State.make("x", Schema.String, "", { scope: "local" })
          const shared = State.make("x", Schema.String, "", { scope: "global" })
          const seen: Array<ReadonlyArray<unknown>> = []
          const Flow = Workflow.make("flow", { error: Bad }, () =>
            Effect.gen(function* () {
              const isNew = yield* Workflow.patched("x!")
              yield* Workflow.section("patch")(Effect.orDie(Checkpoint.make("x", { schema: Schema.Number }).save(1)))
              yield* cell.set("run")
              yield* shared.set("all")
              yield* Workflow.section("state")(local.set("section"))
              const one = yield* Workflow.section("state")(local.get)
              seen.push([isNew, yield* cell.get, yield* shared.get, one])
              yield* go.wait()
            })
          )
          yield* Effect.flip(Workflow.execute(Flow, { id: "1" }))
          yield* go.send("1", undefined)
          yield* Workflow.execute(Flow, { id: "1" })
          assert.deepStrictEqual(seen, [
            [true, "run", "all", "section"],
            [true, "run", "all", "section"]
          ])
          assert.deepStrictEqual((yield* State.read(cell, "1"))._tag, "Some")
          assert.throws(() => Checkpoint.make("state/x", { schema: Schema.Number }))
        })
      )
    )
  })
}
