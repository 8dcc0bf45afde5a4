import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { Queue as RunQueue, Step, Storage, Worker, Workflow } from "effect-recovery"
import { turns } from "../support/time.js"

const Note = Workflow.make("note", { input: Schema.String }, () => Step.make("note", { run: Effect.void }))

/** A worker on a store that other processes use too, what they say, and how often the worker has looked. */
const worker = (options: Worker.Options = {}) =>
  Effect.gen(function* () {
    const store = Storage.memoryStore()
    const news = yield* Queue.unbounded<Storage.Change>()
    const looks = { count: 0 }
    const seen: Storage.Store = {
      ...store,
      changes: Stream.fromQueue(news),
      claimDue: (...args) =>
        Effect.suspend(() => {
          looks.count++
          return store.claimDue(...args)
        })
    }
    const storage = Layer.scoped(Storage.Storage, Storage.make(seen, { owner: "worker" }))
    const context = yield* Layer.build(
      Layer.provideMerge(Worker.layer([Note], { sweep: "1 second", ...options }), storage)
    )
    const other = yield* Storage.make(store, { owner: "other" })
    yield* turns()
    return {
      /** How often it looks meanwhile. */
      looksWhile: <A, E, R>(effect: Effect.Effect<A, E, R>) =>
        Effect.suspend(() => {
          const before = looks.count
          return Effect.map(Effect.zipRight(effect, turns()), () => looks.count - before)
        }),
      hint: (isDue: boolean) => Effect.zipRight(Queue.offer(news, { run: "of-others", isDue }), turns()),
      here: <A, E>(effect: Effect.Effect<A, E, Storage.Storage>) => Effect.provide(effect, context),
      there: <A, E>(effect: Effect.Effect<A, E, Storage.Storage>) =>
        Effect.provideService(effect, Storage.Storage, other)
    }
  })

/** Other processes say again and again that a run may be due, and take it themselves. */
const afterVainLooks = (hint: (isDue: boolean) => Effect.Effect<unknown>) =>
  Effect.repeatN(Effect.zipRight(hint(true), TestClock.adjust("250 millis")), 10)

describe("a worker that hears what other processes do", () => {
  it.scoped("does not look when a run has ended, unless its end may free a place in a queue", () =>
    Effect.gen(function* () {
      const plain = yield* worker()
      assert.strictEqual(yield* plain.looksWhile(plain.hint(false)), 0)
      const queued = yield* worker({ queues: [RunQueue.make("mail", { concurrency: 1 })] })
      assert.strictEqual(yield* queued.looksWhile(queued.hint(false)), 1)
    })
  )

  it.scoped("looks at once for what may be due, and pauses when others were faster", () =>
    Effect.gen(function* () {
      const { hint, looksWhile } = yield* worker()
      assert.strictEqual(yield* looksWhile(hint(true)), 1)
      yield* afterVainLooks(hint)
      const hundred = Effect.repeatN(Effect.zipRight(hint(true), TestClock.adjust("5 millis")), 99)
      // Half a second: at most four pauses of at least 125 ms, and a sweep.
      assert.isAtMost(yield* looksWhile(hundred), 5)
    })
  )

  it.scoped("forgets no hint during a pause, and pauses for shorter when it finds runs", () =>
    Effect.gen(function* () {
      const { here, hint, there } = yield* worker()
      yield* afterVainLooks(hint)
      const start = (id: string) => there(Workflow.start(Note, { id, input: "" }))
      const isCompleted = (id: string) =>
        Effect.zipRight(turns(), here(Effect.map(Workflow.status(id), ({ status }) => status === "completed")))
      for (let run = 0; run < 8; run++) {
        yield* start(`slow-${run}`)
        yield* hint(true)
        yield* TestClock.adjust("250 millis")
        assert.isTrue(yield* isCompleted(`slow-${run}`), `run ${run}`)
      }
      yield* start("at-once")
      yield* hint(true)
      assert.isTrue(yield* isCompleted("at-once"))
    })
  )

  it.scoped("sweeps as often as without hints", () =>
    Effect.gen(function* () {
      const { here, hint, there } = yield* worker()
      yield* TestClock.adjust("400 millis")
      yield* hint(true)
      // No hint speaks of it.
      yield* there(Workflow.start(Note, { id: "quiet", input: "" }))
      yield* TestClock.adjust("600 millis")
      yield* turns()
      assert.strictEqual((yield* here(Workflow.status("quiet"))).status, "completed")
    })
  )

  it.scoped("looks at once for what its own process starts", () =>
    Effect.gen(function* () {
      const { here, hint } = yield* worker()
      yield* afterVainLooks(hint)
      yield* here(Workflow.start(Note, { id: "own", input: "" }))
      yield* turns()
      assert.strictEqual((yield* here(Workflow.status("own"))).status, "completed")
    })
  )
})
