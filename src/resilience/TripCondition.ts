/**
 * Trip conditions decide when a circuit breaker opens.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import { millis, reachesShare, share, whole } from "./internal/kernel/options.js"

/**
 * What a trip condition counted in its window. For {@link consecutive}, `calls`
 * and `failures` are both the failures in a row. For {@link anyOf}, each number
 * is the largest of all its conditions.
 *
 * @since 0.1.0
 * @category models
 */
export interface Window {
  readonly calls: number
  readonly failures: number
  readonly slow: number
}

/**
 * A condition under which a breaker opens: {@link consecutive},
 * {@link countWindow}, {@link timeWindow}, {@link slowCalls}, {@link anyOf}, or
 * an object of your own.
 *
 * @since 0.1.0
 * @category models
 */
export interface Trip {
  /** The condition as plain data. */
  readonly description: TripDescription
  /** Whether `record` needs the times of a call. A breaker without them is faster. */
  readonly timed: boolean
  /** Makes the state for one breaker. */
  readonly open: () => TripState
}

/**
 * A trip condition as plain data.
 *
 * @since 0.1.0
 * @category models
 */
export type TripDescription = { readonly kind: string } & {
  readonly [option: string]: number | string | ReadonlyArray<TripDescription>
}

/**
 * The state of a trip condition in one breaker. Times are epoch milliseconds,
 * durations are milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface TripState {
  /** Records a call and returns whether the breaker opens. Both numbers are 0 unless the condition is `timed`. */
  readonly record: (outcome: "success" | "failure", now: number, millis: number) => boolean
  /** Whether a probe of this duration counts as failed. */
  readonly isSlow: (millis: number) => boolean
  readonly window: (now: number) => Window
  readonly clear: () => void
  /** Saves the state for a snapshot. `load` ignores values that it cannot read. */
  readonly save: (now: number) => ReadonlyArray<number>
  readonly load: (saved: ReadonlyArray<number>) => void
}

/**
 * Opens after a number of failures in a row.
 *
 * @since 0.1.0
 * @category trip conditions
 */
export const consecutive = (options?: {
  /** Failures in a row that open the breaker. Defaults to 5. */
  readonly failures?: number | undefined
}): Trip => {
  const failures = whole("failures", options?.failures ?? 5, 1)
  return {
    description: { kind: "consecutive", failures },
    timed: false,
    open: () => {
      let inARow = 0
      return {
        record: (outcome) => {
          inARow = outcome === "failure" ? inARow + 1 : 0
          return inARow >= failures
        },
        isSlow: () => false,
        window: () => ({ calls: inARow, failures: inARow, slow: 0 }),
        clear: () => {
          inARow = 0
        },
        save: () => [inARow],
        load: ([saved = 0]) => {
          if (isCount(saved)) inARow = saved
        }
      }
    }
  }
}

/**
 * Opens at a failure if the last `size` calls contain at least `minimum` calls and
 * failures / calls >= failureRate. A success never opens the breaker.
 *
 * @since 0.1.0
 * @category trip conditions
 */
export const countWindow = (options?: {
  /** The number of calls in the window. Defaults to 100. */
  readonly size?: number | undefined
  /** The share of failed calls, above 0 and at most 1. Defaults to 0.5. */
  readonly failureRate?: number | undefined
  /** The fewest calls in the window at which the breaker can open. Defaults to 10. */
  readonly minimum?: number | undefined
}): Trip => {
  const size = whole("size", options?.size ?? 100, 1, 1_000_000)
  const minimum = whole("minimum", options?.minimum ?? Math.min(10, size), 1, size)
  const rate = share("failureRate", options?.failureRate ?? 0.5)
  return {
    description: { kind: "countWindow", size, failureRate: rate, minimum },
    timed: false,
    open: () => {
      // A ring buffer: 1 for a failure, 0 for a success.
      const ring = new Uint8Array(size)
      let calls = 0
      let failures = 0
      let next = 0
      const clear = () => {
        calls = failures = next = 0
      }
      const push = (failed: number) => {
        if (calls === size) failures -= ring[next] ?? 0
        else calls++
        ring[next] = failed
        failures += failed
        next = (next + 1) % size
      }
      return {
        record: (outcome) => {
          push(outcome === "failure" ? 1 : 0)
          return outcome === "failure" && reached(failures, calls, { rate, minimum })
        },
        isSlow: () => false,
        window: () => ({ calls, failures, slow: 0 }),
        clear,
        save: () => Array.from({ length: calls }, (_, i) => ring[(next - calls + i + size) % size] ?? 0),
        load: (saved) => {
          clear()
          for (const failed of saved.slice(-size)) push(failed === 1 ? 1 : 0)
        }
      }
    }
  }
}

/**
 * As {@link countWindow}, for the calls of a period. The window slides in steps
 * of a tenth of its length.
 *
 * @since 0.1.0
 * @category trip conditions
 */
export const timeWindow = (options?: {
  /** The length of the window. Defaults to 60 seconds. */
  readonly window?: Duration.DurationInput | undefined
  /** The share of failed calls, above 0 and at most 1. Defaults to 0.5. */
  readonly failureRate?: number | undefined
  /** The fewest calls in the window at which the breaker can open. Defaults to 10. */
  readonly minimum?: number | undefined
}): Trip =>
  timed({
    kind: "timeWindow",
    windowMillis: positive("window", options?.window ?? "60 seconds"),
    slowMillis: 0,
    rate: share("failureRate", options?.failureRate ?? 0.5),
    minimum: whole("minimum", options?.minimum ?? 10, 1)
  })

/**
 * Opens when a share of the calls of a period was slow. Successes and failures
 * that count are included. A call that never ends is not included, so give it a
 * timeout.
 *
 * @since 0.1.0
 * @category trip conditions
 */
export const slowCalls = (options: {
  /** Calls that take longer are slow. */
  readonly slowerThan: Duration.DurationInput
  /** The share of slow calls, above 0 and at most 1. Defaults to 0.5. */
  readonly slowRate?: number | undefined
  /** The length of the window. Defaults to 60 seconds. */
  readonly window?: Duration.DurationInput | undefined
  /** The fewest calls in the window at which the breaker can open. Defaults to 10. */
  readonly minimum?: number | undefined
}): Trip =>
  timed({
    kind: "slowCalls",
    windowMillis: positive("window", options.window ?? "60 seconds"),
    slowMillis: positive("slowerThan", options.slowerThan),
    rate: share("slowRate", options.slowRate ?? 0.5),
    minimum: whole("minimum", options.minimum ?? 10, 1)
  })

/**
 * Opens when one of several conditions opens.
 *
 * @example
 * ```ts
 * import { CircuitBreaker } from "effect-recovery"
 *
 * const trip = CircuitBreaker.anyOf(
 *   CircuitBreaker.consecutive({ failures: 10 }),
 *   CircuitBreaker.slowCalls({ slowerThan: "2 seconds" })
 * )
 * console.log(trip.description.kind) // anyOf
 * ```
 *
 * @since 0.1.0
 * @category trip conditions
 */
export const anyOf = (...trips: readonly [Trip, ...ReadonlyArray<Trip>]): Trip => ({
  description: { kind: "anyOf", trips: trips.map((trip) => trip.description) },
  timed: trips.some((trip) => trip.timed),
  open: () => {
    const states = trips.map((trip): TripState => trip.open())
    return {
      record: (outcome, now, millis) =>
        states.reduce((tripped, state) => state.record(outcome, now, millis) || tripped, false),
      isSlow: (millis) => states.some((state) => state.isSlow(millis)),
      window: (now) =>
        states
          .map((state) => state.window(now))
          .reduce((a, b) => ({
            calls: Math.max(a.calls, b.calls),
            failures: Math.max(a.failures, b.failures),
            slow: Math.max(a.slow, b.slow)
          })),
      clear: () => {
        for (const state of states) state.clear()
      },
      // The memory of each condition follows its length.
      save: (now) =>
        states.flatMap((state) => {
          const saved = state.save(now)
          return [saved.length, ...saved]
        }),
      load: (saved) => {
        let at = 0
        for (const state of states) {
          const length = saved[at] ?? 0
          state.load(saved.slice(at + 1, at + 1 + length))
          at += 1 + length
        }
      }
    }
  }
})

const positive = (option: string, value: Duration.DurationInput): number => millis(option, value, 1)

interface Rate {
  /** The share of calls, 0 to 1. */
  readonly rate: number
  /** The fewest calls at which the share counts. */
  readonly minimum: number
}

const reached = (part: number, calls: number, { minimum, rate }: Rate): boolean =>
  calls >= minimum && part > 0 && reachesShare(part, calls, rate)

const isCount = (value: number): boolean => Number.isInteger(value) && value >= 0

/** The slots of a time window. Their number is fixed, so the memory does not grow with the traffic. */
const slotCount = 10

const slotsOf = (windowMillis: number) => {
  const width = windowMillis / slotCount
  // A ring: the slot of a period is reused `slotCount` periods later.
  const ring = Array.from({ length: slotCount }, () => ({ period: Number.NaN, calls: 0, failures: 0, slow: 0 }))
  const add = (period: number, calls: number, failures: number, slow: number) => {
    const slot = ring[((period % slotCount) + slotCount) % slotCount]
    if (slot === undefined) return
    if (slot.period !== period) Object.assign(slot, { period, calls: 0, failures: 0, slow: 0 })
    slot.calls += calls
    slot.failures += failures
    slot.slow += slow
  }
  // The window has a time of its own that never goes back: else old periods would count again after the clock was set
  // back. `shift` is its distance from the clock.
  let last = Number.NaN
  let shift = 0
  const periodAt = (now: number): number => {
    if (now < last) shift += last - now
    const isFirst = Number.isNaN(last)
    last = now
    const newest = Math.floor((now + shift) / width)
    // Loaded periods of the future are of a clock that was ahead: their age is unknown.
    if (isFirst) for (const slot of ring) if (slot.period > newest) slot.period = Number.NaN
    return newest
  }
  const current = (now: number) => {
    const newest = periodAt(now)
    return ring.filter(({ period }) => period > newest - slotCount)
  }
  return {
    add: (now: number, failure: boolean, slow: boolean) => add(periodAt(now), 1, failure ? 1 : 0, slow ? 1 : 0),
    window: (now: number): Window => {
      const sums = { calls: 0, failures: 0, slow: 0 }
      for (const slot of current(now)) {
        sums.calls += slot.calls
        sums.failures += slot.failures
        sums.slow += slot.slow
      }
      return sums
    },
    clear: () => {
      for (const slot of ring) slot.period = Number.NaN
    },
    // Periods are saved by the clock, since another process has a shift of its own.
    save: (now: number) => {
      const later = periodAt(now) - Math.floor(now / width)
      return current(now).flatMap(({ calls, failures, period, slow }) => [period - later, calls, failures, slow])
    },
    load: (saved: ReadonlyArray<number>) => {
      last = Number.NaN
      shift = 0
      for (let i = 0; i + 3 < saved.length; i += 4) {
        const [period = 0, calls = 0, failures = 0, slow = 0] = saved.slice(i, i + 4)
        if (Number.isInteger(period) && [calls, failures, slow].every(isCount)) add(period, calls, failures, slow)
      }
    }
  }
}

interface TimeWindow extends Rate {
  readonly kind: "timeWindow" | "slowCalls"
  readonly windowMillis: number
  /** Calls that take longer are slow. */
  readonly slowMillis: number
}

const timed = (options: TimeWindow): Trip => ({
  description: {
    kind: options.kind,
    window: options.windowMillis,
    minimum: options.minimum,
    ...(options.kind === "slowCalls"
      ? { slowRate: options.rate, slowerThan: options.slowMillis }
      : { failureRate: options.rate })
  },
  timed: true,
  open: () => {
    const { add, ...slots } = slotsOf(options.windowMillis)
    const watchesSlow = options.kind === "slowCalls"
    const isSlow = (millis: number) => watchesSlow && millis > options.slowMillis
    return {
      record: (outcome, now, millis) => {
        const slow = isSlow(millis)
        add(now, outcome === "failure", slow)
        // Only a failure (or a slow call) can open the breaker, so only it computes the sums.
        if (!(watchesSlow ? slow : outcome === "failure")) return false
        const window = slots.window(now)
        return reached(watchesSlow ? window.slow : window.failures, window.calls, options)
      },
      isSlow,
      ...slots
    }
  }
})
