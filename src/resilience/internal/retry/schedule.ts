import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as Schedule from "effect/Schedule"
import * as ScheduleDecision from "effect/ScheduleDecision"
import type * as Fault from "../../Fault.js"
import type { Description, Jitter, Options, RetryPolicy } from "../../RetryPolicy.js"
import { millisOrNaN } from "../kernel/duration.js"
import { warning } from "../kernel/logged.js"
import { checkOption, fraction, millis, whole, wholeOrInfinity } from "../kernel/options.js"
import { andThen, define, definitionOf, type Next } from "./definition.js"

/** From the number of the retry (0 for the first) to milliseconds, before jitter and clamping. */
type Curve = (retry: number) => number

/** A custom curve may throw, since its function is the user's. */
const curveOf = (description: CurveDescription, custom: (retry: number) => Duration.DurationInput): Curve => {
  const { factor = 2, increment = 0, initialDelay } = description
  const curves: Readonly<Record<CurveDescription["curve"], Curve>> = {
    // Infinity times 0 is NaN.
    exponential: (retry) => (initialDelay === 0 ? 0 : initialDelay * factor ** retry),
    linear: (retry) => initialDelay + increment * retry,
    fixed: () => initialDelay,
    fibonacci: (retry) => initialDelay * fibonacci(retry),
    custom: (retry) => millisOrNaN(custom(retry))
  }
  return curves[description.curve]
}

/** Stops at Infinity, so that a large number of retries takes constant time. */
const fibonacci = (retry: number): number => {
  let [a, b] = [1, 1]
  for (let i = 0; i < retry && Number.isFinite(b); i++) [a, b] = [b, a + b]
  return a
}

const kinds: ReadonlyArray<Jitter> = ["none", "full", "equal", "random", "decorrelated"]

const jitter = (value: Jitter): Jitter =>
  typeof value === "number"
    ? fraction("jitter", value)
    : checkOption("jitter", value, kinds.includes(value), `a fraction from 0 to 1, or one of ${kinds.join(", ")}`)

const maxOf = (options: Options | undefined): number => millis("maxDelay", options?.maxDelay ?? 60_000)

/** Checks the options of all curves and fills in defaults. Durations are milliseconds. */
export const base = (
  options: (Options & { readonly initialDelay?: Duration.DurationInput | undefined }) | undefined,
  nameOfDelay = "initialDelay"
) => {
  const initialDelay = millis(nameOfDelay, options?.initialDelay ?? Math.min(1_000, maxOf(options)))
  const maxDelay = options?.maxDelay === undefined ? Math.max(60_000, initialDelay) : maxOf(options)
  checkOption(nameOfDelay, initialDelay, initialDelay <= maxDelay, `at most maxDelay, ${maxDelay} ms`)
  return {
    maxRetries: wholeOrInfinity("maxRetries", options?.maxRetries ?? 3, 0),
    initialDelay,
    maxDelay,
    jitter: jitter(options?.jitter ?? "none"),
    maxElapsed: options?.maxElapsed === undefined ? undefined : millis("maxElapsed", options.maxElapsed),
    honourRetryAfter: options?.honourRetryAfter ?? true
  } as const
}

type CurveDescription = Extract<Description, { readonly maxRetries: number }>

interface State {
  readonly retry: number
  /** The time of the first failure, epoch milliseconds. */
  readonly firstAt: number | undefined
  readonly lastDelay: number
}

const start: State = { retry: 0, firstAt: undefined, lastDelay: 0 }

export const make = (
  description: CurveDescription,
  custom: (retry: number) => Duration.DurationInput = () => 0
): RetryPolicy => {
  const { honourRetryAfter, maxDelay, maxElapsed, maxRetries } = description
  const delayOf = jittered(description, curveOf(description, custom))
  const after = (state: State, now: number, delay: number): Next<State> => {
    const firstAt = state.firstAt ?? now
    if (maxElapsed !== undefined && now + delay - firstAt > maxElapsed) return { state, delay: undefined }
    return { state: { retry: state.retry + 1, firstAt, lastDelay: delay }, delay }
  }
  return define(description, start, (state, failure) => {
    if (state.retry >= maxRetries) return { state, delay: undefined }
    const { now } = failure
    // The wait that the failing side asked for, from the error, its declaration or a rule.
    const asked = honourRetryAfter ? failure.retryAfter() : undefined
    if (asked !== undefined) return after(state, now, clamp(Duration.toMillis(asked), maxDelay))
    const delay = delayOf(state)
    return typeof delay === "number" ? after(state, now, delay) : Effect.map(delay, (delay) => after(state, now, delay))
  })
}

export const none: RetryPolicy = define({ curve: "none" }, undefined, (state) => ({ state, delay: undefined }))

const clamp = (delay: number, max: number): number => (Number.isNaN(delay) ? max : Math.min(max, Math.max(0, delay)))

/** The delay of the curve with its jitter, in milliseconds. An effect if chance has a part in it. */
const jittered = (description: CurveDescription, curve: Curve): ((state: State) => number | Effect.Effect<number>) => {
  const { jitter, maxDelay } = description
  // Clamped before jitter too: an infinite delay would make the random range NaN.
  const plain = (retry: number) => clamp(curve(retry), maxDelay)
  const initialDelay = () => (description.curve === "custom" ? plain(0) : description.initialDelay)
  const orMaxDelay =
    (delayOf: (state: State) => number | Effect.Effect<number>) =>
    (state: State): number | Effect.Effect<number> => {
      try {
        return delayOf(state)
      } catch (thrown) {
        return Effect.as(warning("a delay function threw; maxDelay is used", Cause.die(thrown)), maxDelay)
      }
    }
  if (jitter === "none") return orMaxDelay(({ retry }) => plain(retry))
  const bounds: Readonly<Record<Exclude<Jitter, "none" | number>, Bounds>> = {
    full: ({ retry }) => [0, plain(retry)],
    equal: ({ retry }) => [plain(retry) / 2, plain(retry)],
    random: ({ retry }) => [Math.min(initialDelay(), plain(retry)), plain(retry)],
    decorrelated: ({ lastDelay }) => {
      const first = initialDelay()
      return [first, Math.max(first, 3 * (lastDelay || first))]
    }
  }
  const around =
    (fraction: number): Bounds =>
    ({ retry }) => [plain(retry) * (1 - fraction), plain(retry) * (1 + fraction)]
  const boundsOf = typeof jitter === "number" ? around(jitter) : bounds[jitter]
  return orMaxDelay((state) => {
    const [low, high] = boundsOf(state)
    return Effect.map(Random.next, (random) => clamp(low + random * (high - low), maxDelay))
  })
}

/** The bounds between which a delay is drawn. */
type Bounds = (state: State) => readonly [low: number, high: number]

export const preview = Effect.fn("RetryPolicy.preview")(function* (
  policy: Schedule.Schedule<Duration.Duration, unknown>,
  given: number
) {
  const count = whole("count", given, 0)
  const delays: Array<Duration.Duration> = []
  let state: unknown = policy.initial
  let now = 0
  while (delays.length < count) {
    const [next, delay, decision] = yield* policy.step(now, Option.none(), state)
    if (ScheduleDecision.isDone(decision)) break
    delays.push(delay)
    now += Duration.toMillis(delay)
    state = next
  }
  return delays
})

/** The state of a schedule by category. */
interface CategoryState {
  /** The time of the first failure of any category, epoch milliseconds. */
  readonly firstAt: number | undefined
  /** The state of the policy of each category that has failed. */
  readonly positions: ReadonlyMap<string, unknown>
}

const noFailures: CategoryState = { firstAt: undefined, positions: new Map() }

type Table = { readonly [category in Fault.Category]?: RetryPolicy }

export const byCategory = (defaults: Readonly<Record<string, RetryPolicy>>, table: Table): RetryPolicy => {
  const own = new Map(entriesOf(table))
  const policies = new Map([...entriesOf(defaults), ...own])
  const policyFor = (fault: Fault.Fault): RetryPolicy => {
    // A category in the user's table is retried even if its faults are not transient.
    const may = fault.transient || own.has(fault.category) || isUnclassified(fault)
    const policy = may ? (policies.get(fault.category) ?? policies.get("unknown") ?? none) : none
    return choosers.get(policy)?.(fault) ?? policy
  }
  const described = define<CategoryState>(
    { curve: "byCategory", table: descriptions(policies) },
    noFailures,
    ({ firstAt, positions }, failure) => {
      const fault = failure.fault()
      const { category } = fault
      const policy = policyFor(fault)
      const own = definitionOf(policy)
      const position = positions.has(category) ? positions.get(category) : own.initial
      const since = firstAt ?? failure.now
      return andThen(own.next(position, failure), ({ delay, state }) => ({
        state: { firstAt: since, positions: new Map(positions).set(category, state) },
        // The policy knows only the failures of its category.
        delay: delay === undefined || failure.now + delay - since > maxElapsedOf(policy) ? undefined : delay
      }))
    }
  )
  choosers.set(described, policyFor)
  return described
}

/** The choice of each policy by category, so that a policy by category in the table of another is resolved at once. */
const choosers = new WeakMap<RetryPolicy, (fault: Fault.Fault) => RetryPolicy>()

const maxElapsedOf = ({ description }: Pick<RetryPolicy, "description">): number =>
  ("maxElapsed" in description ? description.maxElapsed : undefined) ?? Number.POSITIVE_INFINITY

/** No rule matched. Such a failure is retried, although its fault is not transient. */
export const isUnclassified = (fault: Fault.Fault): boolean => fault.category === "unknown" && fault.confidence === 0

const entriesOf = (table: Table): ReadonlyArray<readonly [string, RetryPolicy]> =>
  Object.entries(table).flatMap(([category, policy]) => (policy === undefined ? [] : [[category, policy] as const]))

const descriptions = (policies: ReadonlyMap<string, RetryPolicy>) =>
  Object.fromEntries([...policies].map(([category, policy]) => [category, policy.description]))
