import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/TestClock"
import { Checkpoint, Events, RetryPolicy, State, Step, Storage, Strategy, Transaction, Workflow } from "effect-recovery"
import { Ledger, Scorecard, Testing } from "effect-recovery/testing"
import { assertFailed } from "../support/assertions.js"
import { backends } from "../support/storages.js"

class Bad extends Schema.TaggedError<Bad>()("Bad", {}) {}

const Progress = Checkpoint.make("progress", {
  schema: Schema.Struct({ files_processed: Schema.Number, total: Schema.Number })
})

const state = (files_processed: number) => ({ files_processed, total: 100 })

for (const backend of backends) {
  describe(`${backend.name}: Checkpoint`, () => {
    const setup = Effect.gen(function* () {
      const place = yield* backend.make
      const layer = place.join()
      return { place, layer, context: yield* Layer.build(layer) }
    })

    const test = (name: string, body: (store: Storage.Store) => Effect.Effect<void, unknown, Storage.Storage>) =>
      it.scoped(name, () => Effect.flatMap(setup, ({ context, place }) => Effect.provide(body(place.store), context)))

    test("finds a checkpoint of any name by its id, and says whether its state is intact", () =>
      Effect.gen(function* () {
        const saved = yield* Progress.save(state(40))
        assert.deepStrictEqual(yield* Checkpoint.find(saved.id), saved)
        assert.isTrue(yield* Checkpoint.isIntact(saved.id), `checkpoint ${saved.id} is intact`)
        for (const missing of ["999999999999", "no-number"]) {
          const error = yield* Effect.flip(Checkpoint.find(missing))
          assert.strictEqual(error._tag, "CheckpointNotFound")
          assert.isFalse(yield* Checkpoint.isIntact(missing), `checkpoint ${missing} is intact`)
        }
      }))

    test("emits each saved checkpoint once", () =>
      Effect.gen(function* () {
        const seen: Array<unknown> = []
        const watching = Events.layer((event) =>
          Effect.sync(() => {
            if (event._tag === "CheckpointSaved") seen.push([event.source.run, event.checkpoint, event.id])
          })
        )
        const W = Workflow.make("watched", {}, () => Effect.asVoid(Progress.save(state(1))))
        const [outside] = yield* Effect.gen(function* () {
          const saved = yield* Progress.save(state(0))
          yield* Workflow.execute(W, { id: "r1" })
          yield* Workflow.execute(W, { id: "r1" })
          return [saved]
        }).pipe(Effect.provide(watching))
        const [inside] = yield* Checkpoint.list({ run: "r1" })
        assert.deepStrictEqual(seen, [
          [undefined, "progress", outside?.id],
          ["r1", "progress", inside?.id]
        ])
      }))

    /** Changes a saved snapshot directly in the store. */
    const tamper = (
      store: Storage.Store,
      id: string,
      change: (snapshot: Storage.FullSnapshot) => Partial<Storage.FullSnapshot>
    ) =>
      Effect.gen(function* () {
        const found = Option.getOrThrow(yield* store.snapshot(Number(id)))
        const key = yield* store.save({ ...found, ...change(found) }, {})
        return String(Option.getOrThrow(key))
      })

    test("saves a state with all its options and reads it back", () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(5_000)
        const info = yield* Progress.save(state(40), {
          labels: { repository: "shop", commit: "abc" },
          metadata: { by: "test" }
        })
        assert.strictEqual(info.name, "progress")
        assert.strictEqual(info.run, undefined)
        assert.deepStrictEqual(info.at, new Date(5_000))
        const latest = Option.getOrThrow(yield* Progress.latest())
        assert.deepStrictEqual(latest.state, state(40))
        assert.deepStrictEqual(latest.labels, { repository: "shop", commit: "abc" })
        assert.deepStrictEqual(latest.metadata, { by: "test" })
        assert.deepStrictEqual(yield* Progress.list(), [info])
        assert.deepStrictEqual((yield* Progress.restore(info.id)).state, state(40))
      }))

    test("equal states have equal digests in any order of keys", () =>
      Effect.gen(function* () {
        const Any = Checkpoint.make("any", { schema: Schema.Unknown })
        const one = yield* Any.save({ b: [{ d: 1, c: null }], a: "x" })
        const two = yield* Any.save({ a: "x", b: [{ c: null, d: 1 }] })
        assert.strictEqual(one.digest, two.digest)
        const three = yield* Progress.save({ total: 1, files_processed: 2 })
        const four = yield* Progress.save({ files_processed: 2, total: 1 })
        assert.strictEqual(three.digest, four.digest)
      }))

    test("compresses large states and restores them exactly", () =>
      Effect.gen(function* () {
        const Text = Checkpoint.make("text", { schema: Schema.Struct({ text: Schema.String }), compressAbove: 100 })
        const text = "äöü 🙂 ".repeat(10_000)
        const info = yield* Text.save({ text })
        assert.strictEqual((yield* Text.restore(info.id)).state.text, text)
        const storage = yield* Storage.Storage
        const stored = Option.getOrThrow(yield* storage.snapshot(Number(info.id)))
        assert.strictEqual(stored.encoding, "deflate")
        assert.isBelow(stored.state.length, 2_000)
        assert.strictEqual(info.size, new TextEncoder().encode(JSON.stringify({ text })).length)
      }))

    test("a state that cannot be encoded fails with an error that names it", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(Progress.save(state(Number.NaN)))
        if (error._tag !== "JournalError") return assert.fail(error._tag)
        assert.strictEqual(error.record, `state of checkpoint "progress"`)
        assert.match(error.message, /NaN at "files_processed"/)
        const Whole = Checkpoint.make("whole", { schema: Schema.Int })
        assert.strictEqual((yield* Effect.flip(Whole.save(1.5)))._tag, "JournalError")
        const cyclic: Record<string, unknown> = {}
        cyclic["self"] = cyclic
        const Any = Checkpoint.make("any", { schema: Schema.Unknown })
        assert.strictEqual((yield* Effect.flip(Any.save(cyclic)))._tag, "JournalError")
        assert.deepStrictEqual(yield* Checkpoint.list(), [])
      }))

    test("changed bytes, an incompatible schema and an unknown id are typed errors", (store) =>
      Effect.gen(function* () {
        const info = yield* Progress.save(state(1))
        const changed = yield* tamper(store, info.id, () => ({ state: `{"files_processed":2,"total":100}` }))
        const integrity = yield* Effect.flip(Progress.restore(changed))
        if (integrity._tag !== "CheckpointInvalid") return assert.fail(integrity._tag)
        assert.deepStrictEqual(
          integrity.problems.map(({ check, severity }) => `${check} ${severity}`),
          ["integrity error"]
        )
        assert.strictEqual((yield* Effect.flip(Progress.latest()))._tag, "CheckpointInvalid")
        const odd = yield* tamper(store, info.id, () => ({ encoding: "zip" }))
        assert.strictEqual((yield* Effect.flip(Progress.restore(odd)))._tag, "CheckpointInvalid")

        const Other = Checkpoint.make("progress", { schema: Schema.Struct({ name: Schema.String }) })
        const schema = yield* Effect.flip(Other.restore(info.id))
        if (schema._tag !== "CheckpointInvalid") return assert.fail(schema._tag)
        assert.strictEqual(schema.problems[0]?.check, "schema")

        for (const id of ["999", "", "nonsense", "1e3"]) {
          assert.strictEqual((yield* Effect.flip(Progress.restore(id)))._tag, "CheckpointNotFound")
        }
        const Elsewhere = Checkpoint.make("elsewhere", { schema: Schema.Unknown })
        assert.strictEqual((yield* Effect.flip(Elsewhere.restore(info.id)))._tag, "CheckpointNotFound")
      }))

    test("migrates older versions step by step; refuses newer versions and gaps", () =>
      Effect.gen(function* () {
        const V1 = Schema.Struct({ done: Schema.NumberFromString })
        const V2 = Schema.Struct({ done: Schema.Number })
        const V3 = Schema.Struct({ done: Schema.Number, at: Schema.Date })
        const one = Checkpoint.make("job", { schema: V1 })
        const two = Checkpoint.make("job", { schema: V2, version: 2 })
        const three = Checkpoint.make("job", {
          schema: V3,
          version: 3,
          migrations: {
            1: Checkpoint.migration(V1, V2, ({ done }) => ({ done })),
            2: Checkpoint.migration(V2, V3, ({ done }) => ({ done, at: new Date(0) }))
          }
        })
        const first = yield* one.save({ done: 1 })
        const second = yield* two.save({ done: 2 })
        const third = yield* three.save({ done: 3, at: new Date(9) })
        assert.deepStrictEqual((yield* three.restore(first.id)).state, { done: 1, at: new Date(0) })
        assert.deepStrictEqual((yield* three.restore(second.id)).state, { done: 2, at: new Date(0) })
        assert.deepStrictEqual((yield* three.restore(third.id)).state, { done: 3, at: new Date(9) })
        for (const [checkpoint, id] of [
          [two, third.id],
          [two, first.id]
        ] as const) {
          const error = yield* Effect.flip(checkpoint.restore(id))
          if (error._tag !== "CheckpointInvalid") return assert.fail(error._tag)
          assert.strictEqual(error.problems[0]?.check, "version")
        }
      }))

    test("checks report all problems at once with severities that can be changed", () =>
      Effect.gen(function* () {
        const options = {
          schema: Schema.Struct({}),
          checks: [
            Checkpoint.environment(Effect.succeed({ node: "22", os: "linux" })),
            Checkpoint.artifacts((path) =>
              Effect.succeed(path === "a.txt" ? Option.some({ size: 3, digest: "d" }) : Option.none())
            ),
            Checkpoint.dependency("database", Effect.fail("no route"))
          ]
        } as const
        const Job = Checkpoint.make("job", options)
        const info = yield* Job.save(
          {},
          {
            environment: { node: "20", os: "linux", shell: "zsh" },
            artifacts: ["a.txt", { path: "b.txt" }, { path: "a.txt", size: 4 }, { path: "a.txt", digest: "e" }],
            dependencies: ["database", "queue"]
          }
        )
        const { errors, isValid, warnings } = yield* Job.validate(info.id)
        assert.isFalse(isValid)
        const told = (problems: ReadonlyArray<Checkpoint.Problem>) =>
          problems.map(({ check, subject }) => `${check} ${subject}`).sort()
        assert.deepStrictEqual(told(errors), ["dependencies database", "dependencies queue"])
        assert.deepStrictEqual(told(warnings), [
          "artifacts a.txt",
          "artifacts a.txt",
          "artifacts b.txt",
          "environment node",
          "environment shell",
          "state state"
        ])
        const refused = yield* Effect.flip(Job.restore(info.id))
        assert.strictEqual(refused._tag === "CheckpointInvalid" ? refused.problems.length : 0, 8)
        assert.isFalse(yield* Job.isValid(info.id))
        const Mild = Checkpoint.make("job", { ...options, severities: { dependencies: "warning" } })
        assert.isTrue(yield* Mild.isValid(info.id))
        assert.strictEqual((yield* Mild.restore(info.id)).warnings.length, 8)
        const Strict = Checkpoint.make("job", { ...options, severities: { state: "error" } })
        assert.isFalse(yield* Strict.isValid(info.id))
      }))

    test("reports recorded values that have no check", () =>
      Effect.gen(function* () {
        const info = yield* Progress.save(state(1), { environment: { node: "20" }, artifacts: ["a"] })
        const { isValid, warnings } = yield* Progress.validate(info.id)
        assert.isTrue(isValid)
        assert.deepStrictEqual(
          warnings.map(({ check }) => check),
          ["environment", "artifacts"]
        )
      }))

    test("a custom check receives the recorded values", () =>
      Effect.gen(function* () {
        class Policy extends Context.Tag("Policy")<Policy, { readonly newest: number }>() {}
        const Job = Checkpoint.make("job", {
          schema: Schema.Number,
          checks: [
            {
              name: "policy",
              severity: "error",
              check: ({ size }) =>
                Effect.map(Policy, ({ newest }) => (size > newest ? [{ subject: "size", message: "too large" }] : []))
            }
          ]
        })
        const info = yield* Job.save(123_456)
        const validity = yield* Effect.provideService(Job.validate(info.id), Policy, { newest: 3 })
        assert.deepStrictEqual(validity.errors, [
          { check: "policy", severity: "error", subject: "size", message: "too large" }
        ])
      }))

    test("finds by kind, label, time and id, and counts", () =>
      Effect.gen(function* () {
        const ids: Array<string> = []
        for (const [i, kind] of (["auto", "manual", "auto"] as const).entries()) {
          ids.push((yield* Progress.save(state(i), { kind, labels: { commit: String(i) } })).id)
          yield* TestClock.adjust("1 second")
        }
        const found = (query: Checkpoint.Query) => Effect.map(Progress.list(query), (all) => all.map(({ id }) => id))
        assert.deepStrictEqual(yield* found({}), [...ids].reverse())
        assert.deepStrictEqual(yield* found({ kind: "manual" }), [ids[1]])
        assert.deepStrictEqual(yield* found({ labels: { commit: "2" } }), [ids[2]])
        assert.deepStrictEqual(yield* found({ before: new Date(1_500) }), [ids[1], ids[0]])
        assert.deepStrictEqual(yield* found({ before: ids[2], limit: 1 }), [ids[1]])
        const before = yield* Progress.latest({ kind: "auto", before: ids[2] })
        assert.strictEqual(Option.getOrThrow(before).state.files_processed, 0)
        assert.deepStrictEqual(yield* Progress.latest({ run: "missing" }), Option.none())
        const stats = yield* Checkpoint.stats
        assert.strictEqual(stats.count, 3)
        assert.deepStrictEqual(stats.byKind, { auto: 2, manual: 1 })
        const sizes = (yield* Progress.list({ run: "any" })).map(({ size }) => size)
        assert.strictEqual(
          stats.bytes,
          sizes.reduce((sum, size) => sum + size, 0)
        )
        assert.isAbove(stats.bytes, 0)
        assert.deepStrictEqual(stats.newest, Option.some(new Date(2_000)))
        assert.strictEqual((yield* Progress.stats({ kind: "auto" })).count, 2)
      }))

    test("is due once per milestone, and again after a restart", () =>
      Effect.gen(function* () {
        const at = (progress: number, milestones?: ReadonlyArray<number>) =>
          Effect.map(
            Progress.saveIfDue(state(progress), { progress, milestones, metadata: { by: "test" } }),
            Option.isSome
          )
        const seen = yield* Effect.forEach([0, 0.2, 0.25, 0.3, 0.49, 0.8, 0.9, 1, 1], (progress) => at(progress))
        assert.deepStrictEqual(seen, [false, false, true, false, false, true, false, true, false])
        const [newest] = yield* Progress.list()
        assert.deepStrictEqual(newest?.metadata, { by: "test", progress: 1 })
        assert.deepStrictEqual([yield* at(0.1), yield* at(0.3), yield* at(0.3)], [false, true, false])
        assert.deepStrictEqual([yield* at(0.5, [0.9]), yield* at(0.95, [0.9])], [false, true])
        // Checkpoints of other names do not count as progress.
        assert.isTrue(yield* at(0.3))
        yield* Progress.save(state(0))
        assert.deepStrictEqual([yield* at(0.32), yield* at(0.6)], [false, true])
        const wrong = yield* Effect.exit(at(30))
        assertFailed(wrong, "die")
        // Without a total there is no progress.
        assert.isFalse(yield* at(0 / 0))
      }))

    test("saves when due, and in the background", () =>
      Effect.gen(function* () {
        assert.isTrue(Option.isSome(yield* Progress.saveIfDue(state(1))))
        yield* TestClock.adjust("299 seconds")
        assert.isTrue(Option.isNone(yield* Progress.saveIfDue(state(2))))
        yield* TestClock.adjust("1 second")
        assert.isTrue(Option.isSome(yield* Progress.saveIfDue(state(3))))
        assert.strictEqual(Option.getOrThrow(yield* Progress.latest()).kind, "auto")

        const Auto = Checkpoint.make("auto", { schema: Schema.Number })
        const value = yield* Ref.make(0)
        const work = Effect.gen(function* () {
          yield* Auto.saveEvery(Ref.get(value), "1 minute")
          yield* Effect.repeatN(Effect.yieldNow(), 20)
          yield* Ref.set(value, 1)
          yield* TestClock.adjust("1 minute")
          yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
          assert.strictEqual((yield* Auto.list()).length, 1)
          yield* Ref.set(value, 2)
        })
        yield* Effect.scoped(work)
        assert.strictEqual(Option.getOrThrow(yield* Auto.latest()).state, 2)
      }))

    test("applies its retention by age and count", () =>
      Effect.gen(function* () {
        const Kept = Checkpoint.make("kept", { schema: Schema.Number, retention: { keep: 3 } })
        for (let i = 0; i < 10; i++) yield* Kept.save(i)
        assert.deepStrictEqual((yield* Kept.list()).length, 3)
        for (let i = 0; i < 5; i++) {
          yield* Progress.save(state(i))
          yield* TestClock.adjust("1 minute")
        }
        assert.strictEqual(yield* Checkpoint.cleanup({ name: "progress", maxAge: "3 minutes" }), 2)
        assert.strictEqual(yield* Checkpoint.cleanup({ name: "progress", keep: 2 }), 1)
        assert.strictEqual((yield* Progress.list()).length, 2)
        assert.strictEqual((yield* Kept.list()).length, 3)
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(yield* Checkpoint.cleanup({ maxAge: "1 second" }), 5)
      }))

    test("cleanup keeps the newest valid checkpoint of a run without an outcome", (store) =>
      Effect.gen(function* () {
        const workflow = Workflow.make("job", { error: Bad, input: Schema.Boolean }, (fails) =>
          Effect.gen(function* () {
            for (let i = 0; i < 3; i++) yield* Progress.save(state(i))
            if (fails) yield* new Bad()
            yield* Effect.die("bug")
          })
        )
        yield* Effect.exit(Workflow.execute(workflow, { id: "open", input: false }))
        yield* Effect.exit(Workflow.execute(workflow, { id: "finished", input: true }))
        const open = yield* Progress.list({ run: "open" })
        assert.strictEqual(open.length, 3)
        // The newest checkpoint of the open run is damaged: a copy with other bytes.
        const broken = yield* tamper(store, open[0]?.id ?? "", () => ({ state: "{}" }))
        yield* TestClock.adjust("40 minutes")
        yield* Checkpoint.cleanup({ maxAge: "30 minutes" })
        assert.deepStrictEqual((yield* Progress.list({ run: "finished" })).length, 0)
        const left = yield* Progress.list({ run: "open" })
        assert.deepStrictEqual(
          left.map(({ id }) => id),
          [open[0]?.id]
        )
        assert.notStrictEqual(left[0]?.id, broken)
      }))

    test("in a workflow body it is saved once and replayed with the same value", () =>
      Effect.gen(function* () {
        let bug = true
        const seen: Array<string> = []
        const workflow = Workflow.make("job", { success: Schema.Number }, () =>
          Effect.gen(function* () {
            const before = yield* Effect.orDie(Progress.latest())
            seen.push(before._tag)
            yield* Progress.save(state(1))
            const after = yield* Effect.orDie(Progress.latest())
            if (bug) yield* Effect.die("bug")
            return Option.getOrThrow(after).state.files_processed
          })
        )
        const run = Workflow.execute(workflow, { id: "1" })
        yield* Effect.exit(run)
        bug = false
        assert.strictEqual(yield* run, 1)
        assert.deepStrictEqual(seen, ["None", "None"])
        assert.strictEqual((yield* Progress.list({ run: "1" })).length, 1)
        assert.strictEqual((yield* Progress.list()).length, 0)
      }))

    test("the next attempt of a step reads the progress that the last one saved", () =>
      Effect.gen(function* () {
        const done: Array<number> = []
        const work = Step.make("work", {
          error: Bad,
          run: Effect.gen(function* () {
            const latest = yield* Effect.orDie(Progress.latest())
            const from = Option.match(latest, { onNone: () => 0, onSome: ({ state }) => state.files_processed })
            for (let i = from; i < 6; i++) {
              done.push(i)
              yield* Progress.save(state(i + 1))
              if (i === 3 && done.length === 4) yield* new Bad()
            }
          }),
          retry: RetryPolicy.fixed({ maxRetries: 1, delay: 0 })
        })
        const workflow = Workflow.make("job", { error: Bad }, () => work)
        yield* Workflow.execute(workflow, { id: "1" })
        assert.deepStrictEqual(done, [0, 1, 2, 3, 4, 5])
      }))

    test("a run cannot read the checkpoint of another run", () =>
      Effect.gen(function* () {
        const make = (name: string, body: Effect.Effect<string, Checkpoint.CheckpointInvalid, Storage.Storage>) =>
          Workflow.make(name, { success: Schema.String, error: Checkpoint.CheckpointInvalid }, () => body)
        const saving = make(
          "save",
          Effect.map(Effect.orDie(Progress.save(state(1))), ({ id }) => id)
        )
        const id = yield* Workflow.execute(saving, { id: "1" })
        const restoring = make(
          "restore",
          Progress.restore(id).pipe(
            Effect.as("restored"),
            Effect.catchTags({ CheckpointNotFound: Effect.die, StorageError: Effect.die, JournalError: Effect.die })
          )
        )
        const error = yield* Effect.flip(Workflow.execute(restoring, { id: "2" }))
        if (error._tag !== "CheckpointInvalid") return assert.fail(error._tag)
        assert.strictEqual(error.problems[0]?.check, "run")
      }))

    test("resume rewinds to the newest valid checkpoint, rollback to the newest of a name", () =>
      Effect.gen(function* () {
        const Careful = Checkpoint.make("progress", {
          schema: Schema.Struct({ files_processed: Schema.Number, total: Schema.Number }),
          checks: [
            {
              name: "label",
              severity: "error",
              check: ({ labels }) =>
                Effect.succeed(labels["bad"] === "damaged" ? [{ subject: "label", message: "it is bad" }] : [])
            }
          ]
        })
        const ledger = yield* Ledger.make
        const noted = (name: string) =>
          Step.make(name, { run: Ledger.done(name), compensate: () => Ledger.undone(name) })
        const Count = State.make("count", Schema.Number, 0)
        const make = (
          name: string,
          strategy: Strategy.Strategy<
            Bad,
            never,
            Strategy.Exhausted | Strategy.RewindRefused,
            Strategy.Rewinder | Storage.Storage
          >
        ) => {
          let times = 0
          const check = Step.make("check", {
            error: Bad,
            run: Effect.suspend(() => (times++ === 0 ? Effect.fail(new Bad()) : Effect.void)),
            recover: { Bad: strategy }
          })
          return Workflow.make(name, { success: Schema.Number, error: Bad }, () =>
            Transaction.run(
              Effect.gen(function* () {
                yield* noted("a")
                yield* Count.update((n) => n + 1)
                yield* Progress.save(state(1))
                yield* noted("b")
                yield* Count.update((n) => n + 10)
                yield* Progress.save(state(2), { labels: { bad: times === 0 ? name : "" } })
                yield* noted("c")
                yield* Count.update((n) => n + 100)
                yield* check
                return yield* Count.get
              })
            )
          )
        }
        const run = (workflow: ReturnType<typeof make>) =>
          Effect.provideService(Workflow.execute(workflow, { id: workflow.name }), Ledger.Ledger, ledger)
        const lines = Effect.map(ledger.lines, (all) =>
          all.map(({ effect, kind }) => (kind === "done" ? effect : `undo ${effect}`)).join(" ")
        )
        assert.strictEqual(yield* run(make("whole", Strategy.resume(Progress))), 111)
        assert.strictEqual(yield* lines, "a b c undo c c")
        assert.strictEqual((yield* Progress.list({ run: "whole" })).length, 2)
        assert.strictEqual(yield* run(make("damaged", Strategy.resume(Careful))), 111)
        assert.strictEqual((yield* lines).slice("a b c undo c c ".length), "a b c undo c undo b b c")
        assert.strictEqual((yield* Progress.list({ run: "damaged" })).length, 2)
        assert.strictEqual((yield* Progress.list({ run: "damaged", rewound: true })).length, 3)
        assert.strictEqual(yield* run(make("named", Strategy.rollback(Progress))), 111)
      }))

    it.live("is saved once if the process crashes at any write", () =>
      Effect.gen(function* () {
        const workflow = Workflow.make("job", { success: Schema.Number }, () =>
          Effect.gen(function* () {
            for (let i = 0; i < 2; i++) {
              yield* Step.make("work", { run: Ledger.done(`work ${i}`) })
              yield* Progress.save(state(i))
            }
            return (yield* Effect.orDie(Progress.list())).length
          })
        )
        const store = Effect.map(backend.make, (place) => place.store)
        const card = yield* Testing.crashEverywhere(workflow, { input: undefined, store })
        assert.isTrue(Scorecard.isClean(card), Scorecard.format(card))
      })
    )
  })
}

describe("Checkpoint.scoped", () => {
  it.effect("restores a Ref when its scope fails or is interrupted, not when it succeeds", () =>
    Effect.gen(function* () {
      const ref = yield* Ref.make(1)
      const change = Effect.zipRight(
        Checkpoint.scoped(ref),
        Ref.update(ref, (n) => n + 1)
      )
      yield* Effect.scoped(change)
      assert.strictEqual(yield* Ref.get(ref), 2)
      yield* Effect.exit(Effect.scoped(Effect.zipRight(change, Effect.fail("no"))))
      assert.strictEqual(yield* Ref.get(ref), 2)
      const reached = yield* Deferred.make<void>()
      const hang = change.pipe(Effect.zipRight(Deferred.succeed(reached, undefined)), Effect.zipRight(Effect.never))
      const fiber = yield* Effect.fork(Effect.scoped(hang))
      yield* Deferred.await(reached)
      assert.strictEqual(yield* Ref.get(ref), 3)
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
      assert.strictEqual(yield* Ref.get(ref), 2)
    })
  )

  it.effect("with a schema the saved value is a copy", () =>
    Effect.gen(function* () {
      const Row = Schema.mutable(Schema.Array(Schema.Struct({ at: Schema.Date })))
      const ref = yield* Ref.make([{ at: new Date(1) }])
      const change = Effect.gen(function* () {
        yield* Checkpoint.scoped(ref, Row)
        ;(yield* Ref.get(ref)).push({ at: new Date(2) })
        yield* Effect.fail("no")
      })
      yield* Effect.exit(Effect.scoped(change))
      assert.deepStrictEqual(yield* Ref.get(ref), [{ at: new Date(1) }])
    })
  )

  it.effect("restores a State", () =>
    Effect.gen(function* () {
      const Count = State.make("count", Schema.Number, 0)
      yield* Count.set(1)
      const change = Checkpoint.scoped(Count).pipe(Effect.zipRight(Count.set(2)), Effect.zipRight(Effect.fail("no")))
      yield* Effect.exit(Effect.scoped(change))
      assert.strictEqual(yield* Count.get, 1)
    }).pipe(Effect.provide(State.layer))
  )
})
