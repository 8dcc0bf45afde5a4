import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/TestClock"
import { CircuitBreaker, RetryPolicy } from "effect-recovery"
import { lengthOf, seedOf } from "../support/campaigns.js"

/** How a call ends: success, a fault that counts, one that does not, or interruption. */
type End = "ok" | "down" | "refusal" | "interrupt"

type Action =
  | { readonly do: "advance"; readonly millis: number }
  | { readonly do: "start" }
  | { readonly do: "end"; readonly which: number; readonly end: End }
  | { readonly do: "call"; readonly end: Exclude<End, "interrupt"> }
  | { readonly do: "isolate" | "reset" }

type TripModel = (calls: ReadonlyArray<Outcome>) => boolean
interface Outcome {
  readonly failed: boolean
  readonly at: number
  readonly millis: number
}

const share = (calls: ReadonlyArray<Outcome>, part: (call: Outcome) => boolean, rate: number, minimum: number) => {
  const hit = calls.filter(part).length
  return calls.length >= minimum && hit > 0 && hit >= rate * calls.length
}

/** The window slides in ten steps. */
const recent = (calls: ReadonlyArray<Outcome>, window: number) => {
  const step = (at: number) => Math.floor(at / (window / 10))
  const newest = step(calls.at(-1)?.at ?? 0)
  return calls.filter(({ at }) => step(at) > newest - 10)
}

const slow = ({ millis }: Outcome) => millis > 300

const trips: ReadonlyArray<{
  readonly name: string
  readonly trip: CircuitBreaker.Trip
  readonly opens: TripModel
  readonly slow?: (call: Outcome) => boolean
}> = [
  {
    name: "consecutive",
    trip: CircuitBreaker.consecutive({ failures: 3 }),
    opens: (calls) => calls.length >= 3 && calls.slice(-3).every(({ failed }) => failed)
  },
  {
    name: "count window",
    trip: CircuitBreaker.countWindow({ size: 5, failureRate: 0.4, minimum: 3 }),
    opens: (calls) => calls.at(-1)?.failed === true && share(calls.slice(-5), ({ failed }) => failed, 0.4, 3)
  },
  {
    name: "time window",
    trip: CircuitBreaker.timeWindow({ window: "1 second", failureRate: 0.5, minimum: 3 }),
    opens: (calls) => calls.at(-1)?.failed === true && share(recent(calls, 1_000), ({ failed }) => failed, 0.5, 3)
  },
  {
    name: "slow calls",
    trip: CircuitBreaker.slowCalls({ slowerThan: "300 millis", window: "1 second", slowRate: 0.5, minimum: 2 }),
    opens: (calls) => calls.slice(-1).some(slow) && share(recent(calls, 1_000), slow, 0.5, 2),
    slow
  }
]

const runs = lengthOf("BREAKER_RUNS")
const seed = seedOf(20261121)

const probes = 2

/** The breaker as documented, as a list of calls. */
class Model {
  state: CircuitBreaker.State = "closed"
  private calls: Array<Outcome> = []
  private openings = 0
  private retryAt = 0
  private out = 0
  private well = 0
  private age = 0

  private readonly opens: TripModel
  private readonly isSlow: (call: Outcome) => boolean

  constructor(opens: TripModel, isSlow: (call: Outcome) => boolean) {
    this.opens = opens
    this.isSlow = isSlow
  }

  start(now: number) {
    if (this.state === "open" && now >= this.retryAt) this.move("half-open")
    const probe = this.state === "half-open"
    if (probe && this.out + this.well >= probes) return undefined
    if (this.state === "open" || this.state === "isolated") return undefined
    if (probe) this.out++
    return { age: this.age, probe, at: now }
  }

  end(call: { readonly age: number; readonly probe: boolean; readonly at: number }, end: End, now: number) {
    if (call.age !== this.age) return
    const outcome = { failed: end === "down", at: now, millis: now - call.at }
    if (call.probe) return this.endProbe(end, outcome, now)
    if (end === "interrupt" || end === "refusal") return
    this.calls.push(outcome)
    if (this.opens(this.calls)) this.open(now)
  }

  private endProbe(end: End, outcome: Outcome, now: number) {
    this.out--
    if (end === "interrupt") return
    if (end === "down" || (end === "ok" && this.isSlow(outcome))) return this.open(now)
    this.well++
    if (this.well === probes) this.reset()
  }

  private open(now: number) {
    this.move("open")
    // 200, 400, 800, 800: the schedule ends after three, and keeps its last delay.
    this.retryAt = now + Math.min(800, 200 * 2 ** this.openings)
    this.openings++
  }

  reset() {
    this.move("closed")
    this.calls = []
    this.openings = 0
  }

  move(state: CircuitBreaker.State) {
    this.state = state
    this.age++
    this.out = 0
    this.well = 0
  }
}

const end = FastCheck.constantFrom<Array<End>>("ok", "down", "down", "refusal", "interrupt")

const action: FastCheck.Arbitrary<Action> = FastCheck.oneof(
  { weight: 3, arbitrary: FastCheck.record({ do: FastCheck.constant("start" as const) }) },
  {
    weight: 4,
    arbitrary: FastCheck.record({ do: FastCheck.constant("end" as const), which: FastCheck.nat({ max: 5 }), end })
  },
  {
    weight: 6,
    arbitrary: FastCheck.record({
      do: FastCheck.constant("call" as const),
      end: FastCheck.constantFrom<Array<Exclude<End, "interrupt">>>("ok", "down", "down", "refusal")
    })
  },
  {
    weight: 4,
    arbitrary: FastCheck.record({ do: FastCheck.constant("advance" as const), millis: FastCheck.nat({ max: 500 }) })
  },
  { weight: 1, arbitrary: FastCheck.record({ do: FastCheck.constantFrom("isolate" as const, "reset" as const) }) }
)

const work = (end: Exclude<End, "interrupt">) =>
  end === "ok" ? Effect.void : Effect.fail({ status: end === "down" ? 503 : 403 })

const isRefused = (result: Either.Either<void, unknown>) =>
  Either.isLeft(result) && result.left instanceof CircuitBreaker.CircuitOpen

const growing = RetryPolicy.exponential({ initialDelay: "200 millis", maxRetries: 3 })

describe("CircuitBreaker, against its model", () => {
  for (const { name, opens, slow: isSlow = () => false, trip } of trips) {
    it.effect.prop(
      name,
      { actions: FastCheck.array(action, { maxLength: 60, size: "max" }) },
      ({ actions }) =>
        Effect.gen(function* () {
          const breaker = yield* CircuitBreaker.make({ name, trip, probes, resetAfter: growing })
          const model = new Model(opens, isSlow)
          const held: Array<{
            readonly call: NonNullable<ReturnType<Model["start"]>>
            readonly fiber: Fiber.RuntimeFiber<Either.Either<void, unknown>>
            readonly gate: Deferred.Deferred<void, unknown>
          }> = []
          for (const action of actions) {
            const now = (yield* Effect.clock).unsafeCurrentTimeMillis()
            switch (action.do) {
              case "advance":
                yield* TestClock.adjust(action.millis)
                break
              case "call": {
                const call = model.start(now)
                const result = yield* Effect.either(CircuitBreaker.protect(work(action.end), breaker))
                assert.strictEqual(isRefused(result), call === undefined)
                if (call !== undefined) model.end(call, action.end, now)
                break
              }
              case "start": {
                const call = model.start(now)
                const gate = yield* Deferred.make<void, unknown>()
                const fiber = yield* Effect.fork(Effect.either(CircuitBreaker.protect(Deferred.await(gate), breaker)))
                yield* Effect.yieldNow()
                const done = fiber.unsafePoll()
                assert.strictEqual(done !== null, call === undefined)
                if (call !== undefined) held.push({ call, fiber, gate })
                break
              }
              case "end": {
                const [ending] = held.splice(action.which % Math.max(1, held.length), 1)
                if (ending === undefined) break
                if (action.end === "interrupt") yield* Fiber.interrupt(ending.fiber)
                else {
                  yield* Deferred.complete(ending.gate, work(action.end))
                  yield* Fiber.join(ending.fiber)
                }
                model.end(ending.call, action.end, now)
                break
              }
              case "isolate":
                yield* breaker.isolate
                model.move("isolated")
                break
              case "reset":
                yield* breaker.reset
                model.reset()
                break
            }
            assert.strictEqual((yield* breaker.snapshot).state, model.state)
          }
        }),
      { fastCheck: { numRuns: runs, seed } }
    )
  }
})
