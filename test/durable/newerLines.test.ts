import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { Storage, Worker, Workflow } from "effect-recovery"
import { Timeline } from "effect-recovery/operate"
import type { Ledger } from "effect-recovery/testing"
import { flow, Go, noted, processOn } from "../support/durable.js"
import { backends } from "../support/storages.js"
import { eventually, turns } from "../support/time.js"

const waiting = flow(Effect.all([noted("a"), Go.wait(), noted("b")]))
const other = Workflow.make("other", {}, () => Effect.asVoid(noted("other")))

const journalOf = (id: string) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const { key } = Option.getOrThrow(yield* storage.find(id))
    return yield* storage.journal(key)
  })

/** Takes the run as a process of a newer version would; undefined if it is not free. */
const takeByNewer = (store: Storage.Store, id: string) =>
  Effect.gen(function* () {
    const { input, labels, version, workflow } = Option.getOrThrow(yield* store.find(id))
    const opened = yield* store.open({ id, input, labels, version, workflow }, "newer", 60_000)
    return opened._tag === "Claimed" ? opened.lease : undefined
  })

/** A newer version writes lines of these kinds, and leaves the run. It is due. */
const written = (store: Storage.Store, id: string, kinds: ReadonlyArray<string> = ["Teleported"]) =>
  Effect.gen(function* () {
    const lease = yield* takeByNewer(store, id)
    if (lease === undefined) return yield* Effect.dieMessage("the run is not free")
    const { length } = yield* store.journal(lease.key)
    const payload = '"a secret"'
    const lines = kinds.map((kind, i) => ({ seq: length + 1 + i, kind, step: "s", attempt: 1, at: 0, payload }))
    yield* store.append(lease, lines)
    yield* store.release("newer", id)
  })

for (const backend of backends) {
  const setup = Effect.tap(processOn(backend), ({ layer, place }) =>
    Effect.zipRight(
      Effect.provide(Effect.flip(Workflow.execute(waiting, { id: "1" })), layer),
      written(place.store, "1")
    )
  )

  describe(`${backend.name}: a run with a line that only a newer version knows`, () => {
    it.scoped("is refused by what would change it, with the line and its kind, and stays free and unchanged", () =>
      Effect.gen(function* () {
        const { layer, lines, place } = yield* setup
        yield* Effect.gen(function* () {
          const before = yield* journalOf("1")
          const told = yield* lines
          const calls: ReadonlyArray<Effect.Effect<unknown, unknown, Storage.Storage | Ledger.Ledger>> = [
            Workflow.execute(waiting, { id: "1" }),
            Workflow.rewind(waiting, "1", Workflow.fromStart),
            Workflow.fork("1", { as: "2", to: Workflow.fromStart })
          ]
          for (const call of calls) {
            const error = yield* Effect.flip(call)
            if (!(error instanceof Workflow.JournalError)) return assert.fail(String(error))
            assert.deepInclude(error, { reason: "Version", run: "1", record: `journal line ${before.length}` })
            assert.include(error.message, 'does not know lines of kind "Teleported"')
            assert.include(error.message, "newer version")
          }
          assert.deepStrictEqual(yield* journalOf("1"), before)
          assert.deepStrictEqual(yield* lines, told)
          assert.isDefined(yield* takeByNewer(place.store, "1"))
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("has a status with what can be read, and names the lines that cannot", () =>
      Effect.gen(function* () {
        const { layer } = yield* setup
        yield* Effect.gen(function* () {
          const { steps, unread, waits } = yield* Workflow.status("1")
          assert.deepStrictEqual(
            steps.map(({ key, status }) => [key, status]),
            [["a", "completed"]]
          )
          assert.deepStrictEqual(
            waits.map(({ about, status }) => [about, status]),
            [["go", "open"]]
          )
          const problem = 'this version does not know lines of kind "Teleported"'
          assert.deepStrictEqual(unread, [{ seq: 4, kind: "Teleported", step: "s", problem }])
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("whose line has a known kind in a newer format is refused with both formats", () =>
      Effect.gen(function* () {
        const { layer, place } = yield* setup
        yield* Effect.gen(function* () {
          // The end of a wait whose start is of a newer format, too, is no damage.
          yield* Effect.flip(Workflow.execute(waiting, { id: "2" }))
          yield* written(place.store, "2", ["WaitStarted@2", "WaitEnded", "StepCompleted@12"])
          const { unread } = yield* Workflow.status("2")
          assert.deepStrictEqual(
            unread.map(({ kind }) => kind),
            ["WaitStarted@2", "WaitEnded", "StepCompleted@12"]
          )
          const error = yield* Effect.flip(Workflow.execute(waiting, { id: "2" }))
          assert.deepInclude(error, { _tag: "JournalError", reason: "Version", record: "journal line 4" })
          assert.include(error.message, 'up to format 1, and this one has format 2 ("WaitStarted@2")')
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("whose line is damaged has no status", () =>
      Effect.gen(function* () {
        const { layer, place } = yield* setup
        yield* Effect.gen(function* () {
          yield* Effect.flip(Workflow.execute(waiting, { id: "2" }))
          yield* written(place.store, "2", ["WaitEnded", "Teleported"])
          const error = yield* Effect.flip(Workflow.status("2"))
          assert.deepInclude(error, { _tag: "JournalError", reason: "Decode", record: "journal line 4" })
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("is in lists and has a timeline with the kind of the line, but not its payload", () =>
      Effect.gen(function* () {
        const { layer } = yield* setup
        yield* Effect.gen(function* () {
          assert.deepStrictEqual(
            (yield* Workflow.list()).map(({ id, status }) => [id, status]),
            [["1", "stopped"]]
          )
          const { moments } = yield* Timeline.ofRun("1")
          const { detail, kind, step } = moments.at(-1) ?? {}
          assert.deepStrictEqual([kind, step, detail], ["Teleported", "s", undefined])
          assert.strictEqual(moments[0]?.kind, "AttemptStarted")
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("is not adopted, and can be held, released and terminated", () =>
      Effect.gen(function* () {
        const { layer } = yield* setup
        yield* Effect.gen(function* () {
          const newer = Workflow.make("flow", { version: "2" }, () => Effect.void)
          const { adopted, refused } = yield* Workflow.adopt(newer, { from: "1" })
          assert.deepStrictEqual([adopted, refused.map(({ error }) => error._tag)], [[], ["JournalError"]])
          yield* Workflow.hold("1", { reason: "look at it" })
          assert.isTrue(yield* Workflow.release("1"))
          yield* Workflow.terminate("1", { reason: "given up" })
          assert.deepStrictEqual(
            (yield* Workflow.list()).map(({ status }) => status),
            ["cancelled"]
          )
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("is tried by a worker ever more seldom, is reported as stuck, and is free for a newer process", () =>
      Effect.gen(function* () {
        const { layer, lines, place } = yield* setup
        yield* Effect.gen(function* () {
          const before = yield* journalOf("1")
          const worker = yield* Worker.Worker
          const timesOf = Effect.map(worker.health, ({ stuck }) => stuck.map(({ run, times }) => [run, times]))
          yield* eventually(timesOf, ([first]) => first?.[1] === 1)
          const { stuck } = yield* worker.health
          assert.include(stuck[0]?.reason, 'does not know lines of kind "Teleported"')
          // It keeps no other run from its worker.
          yield* Workflow.start(other, { id: "other" })
          yield* eventually(Workflow.status("other"), ({ status }) => status === "completed")
          assert.deepStrictEqual(yield* timesOf, [["1", 1]])
          for (let i = 0; i < 12; i++) {
            yield* TestClock.adjust("5 seconds")
            yield* turns(5)
          }
          // After 5, 10 and 20 seconds.
          yield* eventually(timesOf, ([first]) => first?.[1] === 4)
          assert.deepStrictEqual(yield* journalOf("1"), before)
          assert.deepStrictEqual(yield* lines, ["a", "other"])
          const lease = yield* takeByNewer(place.store, "1")
          assert.isDefined(lease)
          if (lease !== undefined) yield* place.store.finish(lease, { status: "completed", exit: "{}" })
          yield* TestClock.adjust("1 minute")
          yield* eventually(timesOf, (all) => all.length === 0)
        }).pipe(Effect.provide(Worker.layer([waiting, other])), Effect.provide(layer))
      })
    )
  })
}
