import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Tracer from "effect/Tracer"
import { Events, RetryPolicy, Step, Storage, Strategy, Workflow } from "effect-recovery"

class Offline extends Schema.TaggedError<Offline>()("Offline", {}) {}

let broken = true
let failures = 1

const flaky = Step.make("flaky", {
  error: Offline,
  run: Effect.suspend(() => (failures-- > 0 ? Effect.fail(new Offline()) : Effect.void)),
  recover: { Offline: Strategy.retry(RetryPolicy.fixed({ delay: 0 })) }
})
const last = Step.make("last", { run: Effect.suspend(() => (broken ? Effect.die("bug") : Effect.void)) })
const workflow = Workflow.make("w", { error: Offline }, () => Effect.zipRight(flaky, last))
const execute = Workflow.execute(workflow, { id: "run", input: undefined })

describe("watching", () => {
  it.scopedLive("an observer receives all events in order", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const observer = Events.layer((event) =>
        Effect.sync(() => void seen.push([event._tag, event.source.step].filter(Boolean).join(" ")))
      )
      const storage = yield* Layer.build(Storage.layerMemory)
      const watched = execute.pipe(Effect.provide(observer), Effect.provide(storage))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(watched)))
      broken = false
      yield* watched
      assert.deepStrictEqual(seen, [
        "RunStarted",
        "AttemptStarted flaky",
        "Decided flaky",
        "AttemptStarted flaky",
        "RecoveryEnded flaky",
        "StepCompleted flaky",
        "AttemptStarted last",
        "RunStopped last",
        "RunResumed",
        "StepAnswered flaky",
        "StepAmbiguous last",
        "AttemptStarted last",
        "StepCompleted last",
        "RunFinished"
      ])
    })
  )

  it.scopedLive("a rewind emits its point; the journal records the category of each failure", () =>
    Effect.gen(function* () {
      let times = 0
      const once = Step.make("once", {
        error: Offline,
        run: Effect.suspend(() => (times++ === 0 ? Effect.fail(new Offline()) : Effect.void)),
        recover: { Offline: Strategy.restart({ times: 1 }) }
      })
      const retried = Step.make("retried", {
        error: Offline,
        run: Effect.suspend(() => (times++ < 3 ? Effect.fail(new Offline()) : Effect.void)),
        recover: { Offline: Strategy.retry(RetryPolicy.fixed({ delay: 0 })) }
      })
      const again = Workflow.make("again", { error: Schema.Unknown }, () => Effect.zipRight(once, retried))
      const rewinds: Array<string> = []
      const observer = Events.layer((event) =>
        Effect.sync(() => void (event._tag === "RunRewound" && rewinds.push(`${event.point} by ${event.by}`)))
      )
      const storage = yield* Layer.build(Storage.layerMemory)
      yield* Workflow.execute(again, { id: "1" }).pipe(Effect.provide(observer), Effect.provide(storage))
      assert.strictEqual(rewinds.length, 1)
      assert.match(rewinds[0] ?? "", /start.* by .*restart/i)
      const { journal } = yield* Effect.provide(Workflow.history("1"), storage)
      const failed = journal.flatMap(({ kind, payload = "" }) =>
        kind === "AttemptFailed" ? [JSON.parse(payload)] : []
      )
      assert.isAbove(failed.length, 0)
      for (const { fault } of failed) assert.isString(fault.category)
    })
  )

  it.live("runs and attempts are spans if tracing is on", () =>
    Effect.gen(function* () {
      const names: Array<string> = []
      const own = Tracer.make({
        span: (name, parent, context, links, startTime, kind) => {
          names.push(name)
          const span: Tracer.Span = {
            _tag: "Span",
            spanId: String(names.length),
            traceId: "trace",
            name,
            parent,
            context,
            links,
            kind,
            sampled: true,
            status: { _tag: "Started", startTime },
            attributes: new Map(),
            end: () => {},
            attribute: () => {},
            event: () => {},
            addLinks: () => {}
          }
          return span
        },
        context: (f) => f()
      })
      const program = Effect.provide(execute, Storage.layerMemory)
      yield* program
      assert.deepStrictEqual(names, [])
      yield* Effect.withTracer(program, own)
      assert.deepStrictEqual(names, ["Workflow.execute", "flaky", "last"])
    })
  )
})
