import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"
import type { Change, CircuitBreaker, Keyed, KeyedOptions, Options } from "../../CircuitBreaker.js"
import { subscription } from "../../Events.js"
import { PolicyInvalid } from "../../RecoveryError.js"
import { breakerMetrics } from "../kernel/metrics.js"
import { whole } from "../kernel/options.js"
import { Breaker } from "./breaker.js"
import { prepare } from "./openTime.js"
import * as trip_ from "./trip.js"

/** Checks the options once; what it answers makes breakers that differ in their name only. */
const factory = Effect.fnUntraced(function* (options: Omit<Options, "restore">, isGroup: boolean) {
  const clock: Clock.Clock = yield* Effect.clock
  const openTime = yield* prepare(options.resetAfter ?? "300 seconds")
  const trip = options.trip ?? trip_.consecutive(5)
  const mode = options.mode ?? "protect"
  if (mode !== "protect" && mode !== "observe") {
    throw new PolicyInvalid({ option: "mode", value: mode, expected: `"protect" or "observe"` })
  }
  // Unbounded, but changes are few: a breaker makes two in each reset time.
  const hub = yield* PubSub.unbounded<Change>()
  const common = {
    clock,
    timed: trip.timed,
    probes: whole("probes", options.probes ?? 1, 1),
    observes: mode === "observe",
    counts: options.counts ?? ((fault) => fault.transient),
    meters: breakerMetrics(options.name, isGroup),
    hub
  } as const
  return {
    changes: Stream.fromPubSub(hub),
    subscribe: subscription(hub),
    breaker: (name: string, key?: string) =>
      new Breaker({ ...common, name, key, trip: trip.open(), openTime: openTime() })
  }
})

const wrap = (
  name: string,
  breaker: Breaker,
  { changes, subscribe }: Pick<CircuitBreaker, "changes" | "subscribe">
): CircuitBreaker => ({
  "~effect-recovery/CircuitBreaker": "~effect-recovery/CircuitBreaker",
  name,
  breaker,
  snapshot: Effect.sync(() => breaker.snapshot()),
  changes,
  subscribe,
  isolate: breaker.isolate,
  reset: breaker.reset
})

export const make = Effect.fnUntraced(function* ({ restore, ...options }: Options) {
  const { breaker, ...watched } = yield* factory(options, false)
  const made = breaker(options.name)
  if (restore !== undefined) yield* made.restore(restore)
  return wrap(options.name, made, watched)
})

export const keyed = Effect.fnUntraced(function* (options: KeyedOptions) {
  const maxKeys = whole("maxKeys", options.maxKeys ?? 1_000, 1)
  const { breaker, changes, subscribe } = yield* factory(options, true)
  // A Map keeps the order of insertion: the least recently used key comes first.
  const known = new Map<string, Breaker>()
  const forgetOne = () => {
    for (const [key, candidate] of known) if (candidate.isAtRest) return known.delete(key)
    const [oldest] = known.keys()
    return oldest !== undefined && known.delete(oldest)
  }
  const breakerFor = (key: string): Breaker => {
    let found = known.get(key)
    if (found !== undefined) known.delete(key)
    else {
      if (known.size >= maxKeys) forgetOne()
      found = breaker(`${options.name}/${key}`, key)
    }
    known.set(key, found)
    return found
  }
  const group: Keyed = {
    name: options.name,
    breakerFor,
    changes,
    subscribe,
    get: (key) =>
      Effect.sync(() => {
        const own = (all: Stream.Stream<Change>) => Stream.filter(all, (change) => change.key === key)
        return wrap(`${options.name}/${key}`, breakerFor(key), {
          changes: own(changes),
          subscribe: Effect.map(subscribe, own)
        })
      }),
    resetAll: Effect.suspend(() => Effect.forEach([...known.values()], ({ reset }) => reset, { discard: true })),
    snapshot: Effect.sync(() => new Map([...known].map(([key, breaker]) => [key, breaker.snapshot()])))
  }
  return group
})
