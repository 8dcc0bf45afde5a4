import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import { CircuitBreaker, SharedBreaker, Storage } from "effect-recovery"
import {
  admitted,
  type BreakerRecord,
  opened,
  probed,
  quiet,
  type Rule,
  vote
} from "../../src/shared/internal/breakerRecord.js"
import { lengthOf, seedOf } from "../support/campaigns.js"
import { turns } from "../support/time.js"

const seed = seedOf(20261129)
const probes = 2

const processOf = FastCheck.nat({ max: 3 })

type Action =
  | { readonly do: "call"; readonly process: number; readonly fails: boolean }
  | { readonly do: "start"; readonly process: number }
  | { readonly do: "end"; readonly which: number; readonly fails: boolean }
  | { readonly do: "interrupt"; readonly which: number }
  | { readonly do: "advance"; readonly millis: number }

const which = FastCheck.nat({ max: 9 })
const constant = <D extends Action["do"]>(value: D) => FastCheck.constant(value)
const action: FastCheck.Arbitrary<Action> = FastCheck.oneof(
  {
    weight: 3,
    arbitrary: FastCheck.record({ do: constant("call"), process: processOf, fails: FastCheck.boolean() })
  },
  { weight: 6, arbitrary: FastCheck.record({ do: constant("start"), process: processOf }) },
  { weight: 3, arbitrary: FastCheck.record({ do: constant("end"), which, fails: FastCheck.boolean() }) },
  { weight: 1, arbitrary: FastCheck.record({ do: constant("interrupt"), which }) },
  { weight: 4, arbitrary: FastCheck.record({ do: constant("advance"), millis: FastCheck.nat({ max: 6_000 }) }) }
)

const failed = { status: 503 }

describe("a shared breaker, by random calls of four processes", () => {
  it.scoped.prop(
    "never admits more probes than its processes may have together, and closes once the system answers",
    { actions: FastCheck.array(action, { maxLength: 60, size: "max" }), isOpen: FastCheck.boolean() },
    ({ actions, isOpen }) =>
      Effect.gen(function* () {
        const store = Storage.memoryStore()
        const join = (process: number) =>
          Effect.flatMap(Storage.make(store, { owner: `process-${process}` }), (service) =>
            SharedBreaker.make({
              name: "rates",
              trip: CircuitBreaker.consecutive({ failures: 2 }),
              resetAfter: "5 seconds",
              probes,
              probeTimeout: "1 day"
            }).pipe(Effect.provideService(Storage.Storage, service))
          )
        const breakers = yield* Effect.forEach([0, 1, 2, 3], join)
        let probing = 0
        const isOpenForAll = Effect.map(store.records({ kind: "breaker", status: "alert" }), (rows) =>
          rows.some(({ body }) => JSON.parse(body).state === "open")
        )
        const call = (process: number, work: Effect.Effect<void, unknown>) =>
          Effect.gen(function* () {
            const breaker = breakers[process]
            assert.isDefined(breaker)
            const { state } = yield* breaker.snapshot
            const watched = Effect.flatMap(isOpenForAll, (isOpen) => {
              // A process that has not heard of it yet still calls: such a call is no probe.
              if (!isOpen || state === "closed") return work
              assert.isAtMost(++probing, probes)
              return Effect.ensuring(
                work,
                Effect.sync(() => probing--)
              )
            })
            yield* Effect.ignore(CircuitBreaker.protect(watched, breaker))
          })
        const held: Array<{
          readonly gate: Deferred.Deferred<void, unknown>
          readonly fiber: Fiber.RuntimeFiber<void>
        }> = []
        const end = (which: number) => held.splice(which % Math.max(1, held.length), 1)
        // Half of the time it has just opened for all, and its probes are due.
        if (isOpen) {
          yield* Effect.replicateEffect(call(0, Effect.fail(failed)), 2)
          yield* Effect.zipRight(turns(2), TestClock.adjust("4 seconds"))
          for (const process of [0, 1, 2, 3]) yield* Effect.zipRight(call(process, Effect.fail(failed)), turns(2))
          yield* TestClock.adjust("5 seconds")
        }
        for (const action of actions) {
          switch (action.do) {
            case "call":
              yield* call(action.process, action.fails ? Effect.fail(failed) : Effect.void)
              break
            case "start": {
              const gate = yield* Deferred.make<void, unknown>()
              held.push({ gate, fiber: yield* Effect.fork(call(action.process, Deferred.await(gate))) })
              break
            }
            case "end":
              for (const { fiber, gate } of end(action.which)) {
                yield* action.fails ? Deferred.fail(gate, failed) : Deferred.succeed(gate, undefined)
                yield* Fiber.join(fiber)
              }
              break
            case "interrupt":
              for (const { fiber } of end(action.which)) yield* Fiber.interrupt(fiber)
              break
            case "advance":
              yield* TestClock.adjust(action.millis)
          }
          yield* turns(2)
        }
        for (const { fiber } of held) yield* Fiber.interrupt(fiber)
        for (let i = 0; i < 12; i++) {
          yield* Effect.forEach([0, 1, 2, 3], (process) => Effect.zipRight(call(process, Effect.void), turns(2)))
          yield* TestClock.adjust("2 seconds")
        }
        for (const { snapshot } of breakers) assert.strictEqual((yield* snapshot).state, "closed")
        for (const { body } of yield* store.records({ kind: "breaker" })) {
          assert.deepStrictEqual(JSON.parse(body).probes, [], "each place is given back")
        }
      }),
    { fastCheck: { numRuns: lengthOf("SHARED_BREAKER_RUNS"), seed, endOnFailure: true } }
  )
})

const rule: Rule = { processes: 1, share: 0.5, graceMillis: 3_000, voteMillis: 30_000, probes, probeMillis: 60_000 }

const names = ["a", "b", "c", "d", "e"] as const

type Change = (record: BreakerRecord, now: number) => BreakerRecord

/** What one process does to the record, as it is read a little later by the next one. */
const change = FastCheck.record({
  by: FastCheck.constantFrom(...names),
  after: FastCheck.nat({ max: 5_000 }),
  does: FastCheck.constantFrom(
    "up" as const,
    "down" as const,
    "silent" as const,
    "admit" as const,
    "well" as const,
    "nothing" as const
  )
}).map(
  ({
    after,
    by,
    does
  }): { readonly after: number; readonly does: string; readonly by: string; readonly change: Change } => {
    const opening = { untilProbe: 10_000, openings: 1 }
    const changes: Record<typeof does, Change> = {
      up: (record, now) => vote(record, { process: by, opening: undefined, calls: "up" }, now, rule),
      silent: (record, now) => vote(record, { process: by, opening: undefined, calls: undefined }, now, rule),
      down: (record, now) => opened(record, { process: by, opening, calls: undefined, place: by }, now, rule),
      admit: (record, now) => admitted(record, { process: by, place: by }, now, rule) ?? record,
      well: (record) => probed(record, by, "well", rule),
      nothing: (record) => probed(record, by, "nothing", rule)
    }
    return { after, does, by, change: changes[does] }
  }
)

describe("the record of a shared breaker", () => {
  it.prop(
    "opens only against a majority's silence, admits few, and closes by probes or by objection alone",
    { changes: FastCheck.array(change, { maxLength: 80, size: "max" }) },
    ({ changes }) => {
      let record = quiet
      let now = 0
      for (const { after, by, change, does } of changes) {
        now += after
        const before = record
        record = change(before, now)
        const living = Object.values(record.votes).filter(({ until }) => until > now)
        const down = Object.values(record.votes).filter(({ says }) => says === "down").length
        const up = living.filter(({ says }) => says === "up").length
        assert.isAtMost(record.probes.filter(({ until }) => until > now).length + record.recovered, probes)
        if (before.state === "closed" && record.state === "open") {
          assert.isAbove(down, up)
          assert.isAtLeast(now, (record.suspectedAt ?? now) + rule.graceMillis)
          assert.isAtLeast(record.retryAt, now)
        }
        if (before.state === "open" && record.state === "closed") {
          if (does === "well") assert.strictEqual(record.generation, before.generation + 1)
          else assert.isAtLeast(up, down)
        }
        // The last that failed lets the others go first.
        const isLast = before.failedBy === by && now < before.retryAt + rule.graceMillis
        if (does === "admit" && isLast) assert.deepStrictEqual(record, before)
      }
    },
    { fastCheck: { numRuns: 500, seed } }
  )
})
