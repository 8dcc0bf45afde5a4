import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import * as TestContext from "effect/TestContext"
import { RunSchedule, Storage, Worker, Workflow } from "effect-recovery"
import { timesOf } from "../../src/durable/internal/schedule/times.js"
import { lengthOf, seedOf } from "../support/campaigns.js"
import { ahead, onClock } from "../support/clocks.js"
import { inPostgresStorage } from "../support/everyStorage.js"
import { backends, memory } from "../support/storages.js"
import { eventually, turns } from "../support/time.js"

const minute = 60_000
const hour = 60 * minute

/** Runs note their due time, and last until the gate is open. */
const noting = () => {
  const begun: Array<string> = []
  const gate: { current: Deferred.Deferred<void> | undefined } = { current: undefined }
  const workflow = Workflow.make("report", { input: Schema.Date }, (due) =>
    Effect.suspend(() => {
      begun.push(clockText(due.getTime()))
      return gate.current === undefined ? Effect.void : Deferred.await(gate.current)
    })
  )
  return { begun, gate, workflow }
}

const clockText = (time: number) => new Date(time).toISOString().slice(5, 16)

type Report = ReturnType<typeof noting>["workflow"]

const hourly = (workflow: Report, settings: object = {}) =>
  Workflow.schedule("hourly", workflow, { every: "1 hour", input: (due: Date) => due, ...settings } as never)

/** A process with the schedule, and how it ends. It looks again when something is due or changes, and once a day. */
const startProcess = (
  open: Effect.Effect<Storage.Store, unknown, Scope.Scope>,
  workflow: Report,
  schedule: RunSchedule.RunSchedule,
  skew = 0,
  sweep = 24 * hour
) =>
  Effect.gen(function* () {
    const clock = yield* Effect.clock
    const scope = yield* Scope.make()
    yield* Effect.addFinalizer(() => Scope.close(scope, Exit.void))
    const storage = Layer.scoped(
      Storage.Storage,
      Effect.flatMap(Effect.orDie(open), (store) =>
        Storage.make(onClock(store, clock), { owner: `process-${++processes}`, lease: "10000 days" })
      )
    )
    const layer = Layer.provideMerge(Worker.layer([workflow], { schedules: [schedule], sweep, drain: 0 }), storage)
    const context = yield* Effect.withClock(Layer.buildWithScope(layer, scope), ahead(clock, skew))
    yield* turns()
    return { context, end: Scope.close(scope, Exit.void) }
  })

let processes = 0

const pass = (millis: number) => Effect.zipRight(TestClock.adjust(millis), turns(20))

/** Time passes with looks at the schedule between. */
const passHours = (hours: number) => Effect.repeatN(pass(hour), hours - 1)

/** The due times that have become runs, in their order. */
const started = Effect.map(Workflow.list({ limit: 1_000 }), (runs) =>
  runs.map(({ id }) => id.slice("hourly/1970-".length, "hourly/1970-01-01T01:00".length)).sort()
)

const trouble = Effect.flatMap(
  Effect.flatMap(Worker.Worker, ({ health }) => health),
  ({ schedules }) => Effect.succeed(schedules.flatMap(({ trouble }) => Option.toArray(trouble)))
)

for (const backend of backends)
  describe(`${backend.name}: a schedule`, () => {
    it.scoped("starts each due time once, in however many processes, as a run with its name, time and label", () =>
      Effect.gen(function* () {
        const place = yield* backend.make
        const { begun, workflow } = noting()
        for (const skew of [0, 90_000, -90_000]) yield* startProcess(place.open, workflow, hourly(workflow), skew)
        const { context } = yield* startProcess(place.open, workflow, hourly(workflow))
        yield* pass(30 * minute)
        assert.deepStrictEqual(begun, [])
        yield* passHours(3)
        yield* pass(2 * minute)
        assert.deepStrictEqual(begun, ["01-01T01:00", "01-01T02:00", "01-01T03:00"])
        const runs = yield* Effect.provide(Workflow.list({}), context)
        assert.deepInclude(runs[0], { id: "hourly/1970-01-01T03:00:00Z", labels: { schedule: "hourly" } })
        assert.strictEqual(runs.length, 3)
      })
    )

    const week: ReadonlyArray<readonly [RunSchedule.CatchUp, number, ReadonlyArray<string>]> = [
      ["none", 0, []],
      ["none", 30_000, ["01-08T02:00"]],
      ["last", 0, ["01-08T01:00"]],
      ["all", 0, ["01-07T23:00", "01-08T00:00", "01-08T01:00"]]
    ]
    it.scoped.each(week)(
      "whose processes were away for a week starts what catchUp says: %s (%i ms after an hour)",
      ([catchUp, after, expected]) =>
        Effect.gen(function* () {
          const place = yield* backend.make
          const { begun, workflow } = noting()
          const schedule = hourly(workflow, { catchUp, overlap: "allow", backlog: 3 })
          const first = yield* startProcess(place.open, workflow, schedule)
          yield* pass(hour)
          yield* first.end
          begun.length = 0
          yield* TestClock.adjust(after === 0 ? 7 * 24 * hour + 30 * minute : 7 * 24 * hour + hour + after)
          yield* startProcess(place.open, workflow, schedule)
          yield* pass(1_000)
          assert.deepStrictEqual([...begun].sort(), expected)
        })
    )

    it.scoped("with overlap skip starts nothing while a run has not ended", () =>
      Effect.gen(function* () {
        const place = yield* backend.make
        const { begun, gate, workflow } = noting()
        gate.current = yield* Deferred.make<void>()
        yield* startProcess(place.open, workflow, hourly(workflow))
        yield* passHours(3)
        assert.deepStrictEqual(begun, ["01-01T01:00"])
        yield* Deferred.succeed(gate.current, undefined)
        gate.current = undefined
        yield* passHours(2)
        assert.deepStrictEqual(begun, ["01-01T01:00", "01-01T04:00", "01-01T05:00"])
      })
    )

    it.scoped("with overlap queue starts each run when those before it have ended, the latest of its backlog", () =>
      Effect.gen(function* () {
        const place = yield* backend.make
        const { begun, gate, workflow } = noting()
        gate.current = yield* Deferred.make<void>()
        const { context } = yield* startProcess(
          place.open,
          workflow,
          hourly(workflow, { overlap: "queue", backlog: 2 })
        )
        yield* passHours(4)
        assert.deepStrictEqual(begun, ["01-01T01:00"])
        const [info] = yield* Effect.provide(RunSchedule.list, context)
        assert.deepStrictEqual(
          info?.waiting.map((due) => clockText(due.getTime())),
          ["01-01T03:00", "01-01T04:00"]
        )
        yield* Deferred.succeed(gate.current, undefined)
        yield* Effect.repeatN(pass(1_000), 5)
        assert.deepStrictEqual(begun, ["01-01T01:00", "01-01T03:00", "01-01T04:00"])
      })
    )

    it.scoped("with overlap cancel cancels the run that has not ended, and starts the latest when it has", () =>
      Effect.gen(function* () {
        const place = yield* backend.make
        const { begun, gate, workflow } = noting()
        gate.current = yield* Deferred.make<void>()
        const { context } = yield* startProcess(place.open, workflow, hourly(workflow, { overlap: "cancel" }))
        yield* passHours(2)
        yield* Effect.repeatN(pass(1_000), 5)
        assert.deepStrictEqual(begun, ["01-01T01:00", "01-01T02:00"])
        const runs = yield* Effect.provide(Workflow.list({}), context)
        assert.deepStrictEqual(
          runs.map(({ status }) => status),
          ["running", "cancelled"]
        )
      })
    )

    it.scoped("carries out a decision whose process died before it recorded the run", () =>
      Effect.gen(function* () {
        const place = yield* backend.make
        const { begun, workflow } = noting()
        const dying = Effect.map(place.open, (store): Storage.Store => ({ ...store, enqueue: () => Effect.never }))
        const first = yield* startProcess(dying, workflow, hourly(workflow))
        yield* pass(hour)
        yield* first.end
        assert.deepStrictEqual(begun, [])
        const second = yield* startProcess(place.open, workflow, hourly(workflow, { catchUp: "none" }))
        yield* pass(10 * minute)
        assert.deepStrictEqual(begun, ["01-01T01:00"])
        const [info] = yield* Effect.provide(RunSchedule.list, second.context)
        assert.deepStrictEqual(info?.starting, [])
      })
    )

    it.scoped("is triggered by any process, also while it is paused, and a worker that has it starts the run", () =>
      Effect.gen(function* () {
        const place = yield* backend.make
        const { begun, workflow } = noting()
        const other = yield* Layer.build(place.join())
        const missing = yield* Effect.flip(Effect.provide(RunSchedule.trigger("hourly"), other))
        assert.deepInclude(missing, { _tag: "ScheduleNotFound", schedule: "hourly" })
        const first = yield* startProcess(place.open, workflow, hourly(workflow))
        yield* Effect.provide(RunSchedule.pause("hourly"), other)
        yield* first.end
        yield* pass(10 * minute)
        const run = yield* Effect.provide(RunSchedule.trigger("hourly"), other)
        const again = yield* Effect.provide(RunSchedule.trigger("hourly"), other)
        assert.deepStrictEqual([run, again], ["hourly/1970-01-01T00:10:00Z", "hourly/1970-01-01T00:10:00.001Z"])
        yield* startProcess(place.open, workflow, hourly(workflow))
        yield* pass(1_000)
        yield* Effect.provide(Workflow.join(workflow, run), other)
        yield* passHours(2)
        assert.deepStrictEqual(begun, ["01-01T00:10", "01-01T00:10"])
      })
    )

    it.scoped("whose rule changes is due by the old one until then, and by the new one from then on", () =>
      Effect.gen(function* () {
        const place = yield* backend.make
        const { begun, workflow } = noting()
        const old = yield* startProcess(place.open, workflow, hourly(workflow))
        yield* passHours(1)
        yield* pass(10 * minute)
        const changed = yield* startProcess(place.open, workflow, hourly(workflow, { every: "20 minutes" }))
        yield* pass(10 * minute)
        yield* pass(20 * minute)
        assert.deepStrictEqual(begun, ["01-01T01:00", "01-01T01:20", "01-01T01:40"])
        const [info] = yield* Effect.provide(RunSchedule.list, changed.context)
        assert.strictEqual(String(info?.rule.every), "Duration(20m)")
        yield* old.end
      })
    )

    it.scoped("that is removed is gone from the list, and its runs stay", () =>
      Effect.gen(function* () {
        const place = yield* backend.make
        const { workflow } = noting()
        const { context, end } = yield* startProcess(place.open, workflow, hourly(workflow))
        yield* passHours(1)
        yield* end
        const other = place.join()
        const left = yield* Effect.zipRight(RunSchedule.remove("hourly"), Effect.all([RunSchedule.list, started])).pipe(
          Effect.provide(Layer.merge(other, Layer.succeedContext(Context.omit(Storage.Storage)(context))))
        )
        assert.deepStrictEqual(left, [[], ["01-01T01:00"]])
      })
    )

    it.scoped("whose input fails keeps the run, says why, and starts it when it can", () =>
      Effect.gen(function* () {
        const place = yield* backend.make
        const { begun, workflow } = noting()
        let fails = true
        const input = (due: Date) => {
          if (fails) throw new Error("no table")
          return due
        }
        const { context } = yield* startProcess(place.open, workflow, hourly(workflow, { input }), 0, 10 * minute)
        yield* passHours(1)
        assert.deepStrictEqual([begun, yield* Effect.provide(trouble, context)], [[], ["Error: no table"]])
        fails = false
        yield* pass(10 * minute)
        assert.deepStrictEqual([begun, yield* Effect.provide(trouble, context)], [["01-01T01:00"], []])
      })
    )
  })

describe("a schedule", () => {
  it.scoped("continues at the next due time after the clock was set back", () =>
    Effect.gen(function* () {
      const place = yield* memory.make
      const { begun, workflow } = noting()
      yield* TestClock.adjust("365 days")
      const before = yield* startProcess(place.open, workflow, hourly(workflow))
      yield* passHours(2)
      yield* before.end
      const { length } = begun
      yield* TestClock.setTime(0)
      const { context } = yield* startProcess(place.open, workflow, hourly(workflow))
      yield* Effect.gen(function* () {
        const [found] = yield* RunSchedule.list
        assert.deepStrictEqual(found?.nextDue, Option.some(new Date(hour)))
        assert.strictEqual(yield* RunSchedule.trigger("hourly"), "hourly/1970-01-01T00:00:00Z")
        yield* passHours(2)
      }).pipe(Effect.provide(context))
      assert.deepStrictEqual(begun.slice(length), ["01-01T00:00", "01-01T01:00", "01-01T02:00"])
    })
  )

  it.scoped("whose record cannot be read is named, and begins anew once it is removed", () =>
    Effect.gen(function* () {
      const place = yield* memory.make
      const { begun, workflow } = noting()
      const { context } = yield* startProcess(place.open, workflow, hourly(workflow), 0, minute)
      yield* Effect.gen(function* () {
        const storage = yield* Storage.Storage
        const row = Option.getOrThrow(yield* storage.findRecord("schedule", "hourly"))
        yield* storage.write({ ...row, body: '{"settings":' }, [])
        yield* passHours(1)
        assert.match((yield* trouble)[0] ?? "", /Reading schedule "hourly"/)
        assert.match((yield* Effect.flip(RunSchedule.list)).message, /Reading schedule "hourly"/)
        yield* RunSchedule.remove("hourly")
        yield* passHours(2)
        assert.deepStrictEqual([yield* trouble, begun], [[], ["01-01T02:00", "01-01T03:00"]])
      }).pipe(Effect.provide(context))
    })
  )

  it.scoped("keeps no more runs that cannot be recorded than its backlog, the latest of them", () =>
    Effect.gen(function* () {
      const place = yield* memory.make
      const { begun, workflow } = noting()
      let isBroken = true
      const input = (due: Date) => {
        if (isBroken) throw new Error("not now")
        return due
      }
      const schedule = hourly(workflow, { input, overlap: "allow", backlog: 3 })
      const { context } = yield* startProcess(place.open, workflow, schedule)
      yield* passHours(10)
      const [found] = yield* Effect.provide(RunSchedule.list, context)
      assert.isAtMost(found?.starting.length ?? 0, 4)
      isBroken = false
      yield* passHours(1)
      assert.includeMembers(begun, ["01-01T09:00", "01-01T10:00", "01-01T11:00"])
      assert.isAtMost(begun.length, 4)
    })
  )

  it.scoped("that is paused starts nothing, and makes nothing up when it is resumed", () =>
    Effect.gen(function* () {
      const { begun, workflow } = noting()
      const layer = Worker.layer([workflow], { schedules: [hourly(workflow, { catchUp: "all" })], drain: 0 })
      // A storage that only this process has: nothing is polled.
      const context = yield* Layer.build(Layer.provideMerge(layer, Storage.layerMemory))
      yield* Effect.gen(function* () {
        yield* passHours(1)
        yield* RunSchedule.pause("hourly", { reason: "the report is wrong", by: "ada" })
        yield* passHours(3)
        const [paused] = yield* RunSchedule.list
        assert.deepStrictEqual(
          [paused?.nextDue, Option.getOrThrow(paused?.paused ?? Option.none())],
          [Option.none(), { since: new Date(hour), reason: Option.some("the report is wrong"), by: Option.some("ada") }]
        )
        yield* pass(30 * minute)
        yield* RunSchedule.resume("hourly")
        yield* passHours(1)
        assert.deepStrictEqual(begun, ["01-01T01:00", "01-01T05:00"])
        const [info] = yield* RunSchedule.list
        assert.deepStrictEqual(info?.nextDue, Option.some(new Date(6 * hour)))
      }).pipe(Effect.provide(context))
    })
  )

  it.scoped("is refused twice in one worker, and if it is never due", () =>
    Effect.gen(function* () {
      const { workflow } = noting()
      const schedules = [hourly(workflow), hourly(workflow)]
      const layer = Layer.provide(Worker.layer([workflow], { schedules }), Storage.layerMemory)
      const refused = yield* Effect.flip(Layer.build(layer))
      assert.deepStrictEqual(refused, new Worker.DuplicateSchedule({ schedule: "hourly" }))
      const nightly = (settings: object) => () => hourly(workflow, { every: undefined, ...settings })
      assert.throws(nightly({ cron: "0 0 30 2 *" }), /"cron"|cron/)
      assert.throws(nightly({ cron: "at night" }), /cron/)
      assert.throws(nightly({ cron: "0 3 * * *", timeZone: "Europe/Atlantis" }), /timeZone/)
      assert.throws(nightly({ cron: "0 3 * * *", overlap: "maybe" }), /overlap/)
      assert.throws(nightly({ cron: "0 3 * * *", catchUp: "some" }), /catchUp/)
    })
  )
})

inPostgresStorage("a schedule", (backend) => {
  it.scoped("of two processes starts each due time once, also after one of them has ended", () =>
    Effect.gen(function* () {
      const place = yield* backend.make
      const { begun, workflow } = noting()
      const first = yield* startProcess(place.open, workflow, hourly(workflow), 0, minute)
      const { context } = yield* startProcess(place.open, workflow, hourly(workflow), 90_000, minute)
      const ended = Effect.map(Workflow.list({ status: "completed" }), ({ length }) => length)
      const nextHour = (count: number) =>
        Effect.zipRight(
          TestClock.adjust(hour),
          eventually(Effect.zipRight(pass(5_000), Effect.provide(ended, context)), (found) => found === count)
        )
      const known = Effect.map(Effect.provide(RunSchedule.list, context), ({ length }) => length)
      yield* eventually(known, (length) => length === 1)
      yield* nextHour(1)
      yield* first.end
      yield* nextHour(2)
      assert.deepStrictEqual(begun, ["01-01T01:00", "01-01T02:00"])
    })
  )
})

inPostgresStorage("a schedule whose processes die", (backend) => {
  it.scoped("carries out a decision whose process died before it recorded the run, once", () =>
    Effect.gen(function* () {
      const place = yield* backend.make
      const { begun, workflow } = noting()
      const failed = new Storage.StorageError({ reason: "Unavailable", operation: "Recording the run" })
      const failing = Effect.map(
        place.open,
        (store): Storage.Store => ({ ...store, enqueue: () => Effect.fail(failed) })
      )
      const dying = yield* startProcess(failing, workflow, hourly(workflow), 0, minute)
      const next = <A, R>(found: Effect.Effect<A, unknown, R>) => Effect.zipRight(pass(5_000), Effect.orDie(found))
      yield* eventually(Effect.provide(RunSchedule.list, dying.context), ({ length }) => length === 1)
      yield* TestClock.adjust(hour)
      yield* eventually(next(Effect.provide(trouble, dying.context)), ({ length }) => length === 1)
      yield* dying.end
      // Too late for a due time that was missed: only the decision starts the run.
      yield* TestClock.adjust(10 * minute)
      const ended = Workflow.list({ status: "completed" })
      const all = yield* Effect.forEach([0, 90_000], (skew) =>
        startProcess(place.open, workflow, hourly(workflow, { catchUp: "none" }), skew, minute)
      )
      for (const { context } of all) {
        yield* eventually(next(Effect.provide(ended, context)), ({ length }) => length === 1)
      }
      assert.deepStrictEqual(begun, ["01-01T01:00"])
    })
  )
})

/** What happens in the life of a schedule: time passes, processes begin and die. */
type Event =
  | { readonly do: "pass"; readonly minutes: number }
  | { readonly do: "begin"; readonly skew: number; readonly fails: boolean }
  | { readonly do: "die"; readonly which: number }

const events: FastCheck.Arbitrary<ReadonlyArray<Event>> = FastCheck.array(
  FastCheck.oneof(
    {
      weight: 4,
      arbitrary: FastCheck.record({
        do: FastCheck.constant("pass" as const),
        minutes: FastCheck.constantFrom(7, 30, 60, 60 * 24, 60 * 24 * 7)
      })
    },
    {
      weight: 2,
      arbitrary: FastCheck.record({
        do: FastCheck.constant("begin" as const),
        skew: FastCheck.constantFrom(0, 5_000, -300_000, 3_600_000),
        fails: FastCheck.boolean()
      })
    },
    { weight: 1, arbitrary: FastCheck.record({ do: FastCheck.constant("die" as const), which: FastCheck.nat(3) }) }
  ),
  { minLength: 4, maxLength: 14 }
)

const rules = FastCheck.constantFrom<object>(
  { every: "6 hours" },
  { cron: "30 2 * * *", timeZone: "Europe/Berlin", every: undefined },
  { cron: "0 */8 * * *", timeZone: "America/New_York", every: undefined },
  { cron: "0 12 29 2 *", every: undefined },
  { cron: "15 * 28,29,1 * *", timeZone: "Europe/Berlin", every: undefined }
)

/** Two days before a change of clocks, and two days before a leap day. */
const origins = FastCheck.constantFrom("2026-03-27T00:10:00Z", "2026-10-23T00:10:00Z", "2028-02-27T00:10:00Z")

interface Model {
  cursor: number | undefined
  alive: number
  readonly due: Array<number>
}

/** Due times between two times, one after the other. */
const timesBetween = (next: (after: number) => number | undefined, after: number, until: number) => {
  const times: Array<number> = []
  for (let time = next(after); time !== undefined && time <= until; time = next(time)) times.push(time)
  return times
}

/** All that is due while a process lives is started; what was due before starts as `catchUp` says. */
const look = (model: Model, next: (after: number) => number | undefined, catchUp: RunSchedule.CatchUp, now: number) => {
  if (model.alive === 0) return
  const missed = timesBetween(next, model.cursor ?? now, now)
  model.cursor = now
  if (catchUp === "all") model.due.push(...missed)
  else if (catchUp === "last") model.due.push(...missed.slice(-1))
  else model.due.push(...missed.slice(-1).filter((due) => now - due <= minute))
}

describe("random lives of a schedule and its processes", () => {
  const seed = seedOf(20261130)

  it(`start each due time once or as catchUp says (seed ${seed})`, async () => {
    const catchUps = FastCheck.constantFrom<RunSchedule.CatchUp>("none", "last", "all")
    await FastCheck.assert(
      FastCheck.asyncProperty(rules, origins, catchUps, events, async (rule, origin, catchUp, life) => {
        const { actual, expected } = await Effect.runPromise(
          Effect.scoped(live(rule, Date.parse(origin), catchUp, life)).pipe(Effect.provide(TestContext.TestContext))
        )
        assert.deepStrictEqual(actual, expected)
      }),
      { numRuns: lengthOf("SCHEDULE_LIVES"), seed, endOnFailure: false }
    )
  })

  const live = (rule: object, origin: number, catchUp: RunSchedule.CatchUp, life: ReadonlyArray<Event>) =>
    Effect.gen(function* () {
      yield* TestClock.setTime(origin)
      const store = Storage.memoryStore()
      const { workflow } = noting()
      const schedule = hourly(workflow, { ...rule, catchUp, overlap: "allow", backlog: 10_000 })
      const times = timesOf(schedule.definition.settings.rule)
      const next = (after: number) => times?.next(after)
      const model: Model = { cursor: undefined, alive: 0, due: [] }
      let now = origin
      const living: Array<Effect.Effect<void>> = []
      // A process that decides and never records the run, as one that dies in between: others do, the last one at the end.
      const failed = new Storage.StorageError({ reason: "Unavailable", operation: "Recording the run" })
      const failing: Storage.Store = { ...store, enqueue: () => Effect.fail(failed) }
      for (const event of [...life, { do: "begin", skew: 0, fails: false } as const]) {
        if (event.do === "pass") {
          for (const until = now + event.minutes * minute; now < until; ) {
            const step = Math.min(...[until, next(now) ?? until].filter((time) => time > now))
            yield* TestClock.adjust(step - now)
            now = step
            yield* turns(10)
            look(model, next, catchUp, now)
          }
        } else if (event.do === "begin" && living.length < 4) {
          const { end } = yield* startProcess(
            Effect.succeed(event.fails ? failing : store),
            workflow,
            schedule,
            event.skew
          )
          living.push(end)
          model.alive = living.length
          look(model, next, catchUp, now)
        } else if (event.do === "die" && living.length > 0) {
          const [process] = living.splice(event.which % living.length, 1)
          yield* process ?? Effect.void
          model.alive = living.length
        }
      }
      yield* startProcess(Effect.succeed(store), workflow, schedule)
      yield* TestClock.adjust("2 seconds")
      yield* turns(100)
      const runs = yield* store.list({ limit: 100_000 })
      const actual = runs.map(({ id }) => Date.parse(id.slice("hourly/".length))).sort((a, b) => a - b)
      const iso = (all: ReadonlyArray<number>) => all.map((time) => new Date(time).toISOString())
      return { actual: iso(actual), expected: iso([...model.due].sort((a, b) => a - b)) }
    })
})
