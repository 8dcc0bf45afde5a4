import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Signal, Step, Workflow } from "effect-recovery"
import { Ledger, Testing } from "effect-recovery/testing"
import { backends } from "../support/storages.js"

const noted = (name: string) => Step.make(name, { success: Schema.String, run: Effect.as(Ledger.done(name), name) })

const Go = Signal.make("go", Schema.Number)

for (const backend of backends) {
  const setup = Effect.gen(function* () {
    const place = yield* backend.make
    const ledger = yield* Ledger.make
    const layer = Layer.merge(place.join(), Layer.succeed(Ledger.Ledger, ledger))
    return { layer, lines: Effect.map(ledger.lines, (all) => all.map(({ effect }) => effect)) }
  })

  const flow = <A, E, R>(body: Effect.Effect<A, E, R>) =>
    Workflow.make("flow", { error: Schema.Never }, () => Effect.asVoid(body) as Effect.Effect<void, never, R>)

  /** Stops before its end, so that it is resumed. */
  const stopped = Effect.die("stopped")

  const mismatch = (before: Effect.Effect<unknown, unknown, Workflow.Run | Ledger.Ledger>, after: typeof before) =>
    Effect.gen(function* () {
      const { layer, lines } = yield* setup
      yield* Effect.exit(Effect.provide(Workflow.execute(flow(before), { id: "1" }), layer))
      const told = yield* lines
      const error = yield* Effect.flip(Effect.provide(Workflow.execute(flow(after), { id: "1" }), layer))
      // Nothing was run in the place of what is missing.
      assert.deepStrictEqual(yield* lines, told)
      return error._tag === "ReplayMismatch" ? [error.reason, error.recorded, error.found] : [error._tag]
    })

  describe(`${backend.name}: a program that does not fit its journal`, () => {
    const a = noted("a")
    const b = noted("b")
    const c = noted("c")

    it.scoped("a step that was renamed", () =>
      Effect.gen(function* () {
        const found = yield* mismatch(Effect.all([a, b, stopped]), Effect.all([a, noted("b2"), stopped]))
        assert.deepStrictEqual(found, ["Unexpected", "b", "b2"])
      })
    )

    it.scoped("a step that was taken out, in the middle and at the end", () =>
      Effect.gen(function* () {
        const middle = yield* mismatch(Effect.all([a, b, c, stopped]), Effect.all([a, c, noted("d")]))
        assert.deepStrictEqual(middle, ["Unexpected", "b", "d"])
        const end = yield* mismatch(Effect.all([a, b, stopped]), a)
        assert.deepStrictEqual(end, ["Missing", "b", "the end of the workflow"])
      })
    )

    it.scoped("steps that changed places, and one that came in between", () =>
      Effect.gen(function* () {
        // Told in another order they do no harm, until something is begun.
        assert.deepStrictEqual(yield* mismatch(Effect.all([a, b, stopped]), Effect.all([b, c, a])), [
          "Unexpected",
          "a",
          "c"
        ])
        assert.deepStrictEqual(yield* mismatch(Effect.all([a, b, stopped]), Effect.all([a, c, b, stopped])), [
          "Unexpected",
          "b",
          "c"
        ])
      })
    )

    it.scoped("a step with another schema, a sleep in the place of a signal", () =>
      Effect.gen(function* () {
        const number = Step.make("a", { success: Schema.Number, run: Effect.succeed(1) })
        const shape = yield* mismatch(Effect.all([a, stopped]), Effect.all([number, stopped]))
        assert.deepStrictEqual([shape[0], shape[1]], ["Shape", `success of step "a": "a"`])
        const other = yield* mismatch(Go.wait(), Workflow.sleep("1 hour", { name: "go" }))
        assert.deepStrictEqual(other, ["Shape", `signal "go" at "go"`, `sleep "go"`])
      })
    )

    it.scoped("what runs side by side has no certain order, and is not refused", () =>
      Effect.gen(function* () {
        const { layer, lines } = yield* setup
        const before = Effect.all([Effect.zipRight(a, b), c], { concurrency: 2 })
        yield* Effect.exit(Effect.provide(Workflow.execute(flow(Effect.zipRight(before, stopped)), { id: "1" }), layer))
        const after = Effect.all([c, noted("d"), Effect.zipRight(a, b)], { concurrency: 3 })
        yield* Effect.provide(Workflow.execute(flow(after), { id: "1" }), layer)
        assert.strictEqual((yield* lines).length, 4)
      })
    )

    it.scoped("patched leaves the runs that are under way as they were", () =>
      Effect.gen(function* () {
        const { layer, lines } = yield* setup
        const old = flow(Effect.all([a, b, stopped]))
        const make = (isStopped: boolean) =>
          flow(
            Effect.gen(function* () {
              yield* a
              if (yield* Workflow.patched("c instead of b")) yield* c
              else yield* b
              if (isStopped) yield* stopped
              yield* noted("d")
            })
          )
        yield* Effect.gen(function* () {
          yield* Effect.exit(Workflow.execute(old, { id: "old" }))
          yield* Effect.exit(Workflow.execute(make(true), { id: "new" }))
          for (const id of ["old", "new"]) yield* Workflow.execute(make(false), { id })
        }).pipe(Effect.provide(layer))
        assert.deepStrictEqual(yield* lines, ["a", "b", "a", "c", "d", "d"])
      })
    )

    it.scoped("an exported journal is replayed without running anything", () =>
      Effect.gen(function* () {
        const { layer, lines } = yield* setup
        const done = flow(Effect.all([a, b]))
        const open = flow(Effect.all([a, Go.wait(), b]))
        yield* Effect.gen(function* () {
          yield* Workflow.execute(done, { id: "done" })
          yield* Effect.exit(Workflow.execute(open, { id: "open" }))
          const [first, second] = yield* Effect.all([Workflow.history("done"), Workflow.history("open")])
          const json = JSON.parse(JSON.stringify(first))
          const kept = yield* Schema.decodeUnknown(Workflow.History)(json)
          assert.deepStrictEqual(yield* Testing.replay(done, kept), { answered: 2, end: "completed" })
          assert.deepStrictEqual(yield* Testing.replay(open, second), { answered: 1, end: "open" })
          const renamed = yield* Effect.flip(Testing.replay(flow(Effect.all([a, c])), kept))
          assert.strictEqual(renamed._tag, "ReplayMismatch")
          for (const changed of [[a, b, c], [b, a], [b], [a]]) {
            const misfit = yield* Effect.flip(Testing.replay(flow(Effect.all(changed)), kept))
            assert.strictEqual(misfit._tag, "ReplayMismatch")
          }
          const dropped = yield* Effect.flip(Testing.replay(flow(Effect.all([Go.wait(), b])), second))
          assert.strictEqual(dropped._tag, "ReplayMismatch")
        }).pipe(Effect.provide(layer))
        assert.deepStrictEqual(yield* lines, ["a", "b", "a"])
      })
    )
  })
}
