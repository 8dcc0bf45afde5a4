import type { Trip, TripState, Window } from "../../CircuitBreaker.js"

interface Rate {
  /** Share of the calls, 0 to 1. */
  readonly rate: number
  /** Calls below which a share says nothing. */
  readonly minimum: number
}

const reached = (part: number, calls: number, { minimum, rate }: Rate): boolean =>
  calls >= minimum && part > 0 && part >= rate * calls

const isCount = (value: number): boolean => Number.isInteger(value) && value >= 0

export const consecutive = (failures: number): Trip => ({
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
})

export const countWindow = (size: number, rate: Rate): Trip => ({
  description: { kind: "countWindow", size, failureRate: rate.rate, minimum: rate.minimum },
  timed: false,
  open: () => {
    // A ring: 1 for a failure, 0 for a success.
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
        return outcome === "failure" && reached(failures, calls, rate)
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
})

/** Parts of a time window: it slides in steps of a tenth, and its memory does not grow with the traffic. */
const parts = 10

const partsOf = (windowMillis: number) => {
  const width = windowMillis / parts
  // Three numbers for each part, calls, failures, slow calls, and the parts' times.
  const counts = new Float64Array(3 * parts)
  const starts = new Float64Array(parts).fill(Number.NEGATIVE_INFINITY)
  const slot = (part: number) => ((part % parts) + parts) % parts
  const add = (part: number, calls: number, failures: number, slow: number) => {
    const index = slot(part)
    const at = 3 * index
    if (starts[index] !== part) counts.fill(0, at, at + 3)
    starts[index] = part
    counts[at] = (counts[at] ?? 0) + calls
    counts[at + 1] = (counts[at + 1] ?? 0) + failures
    counts[at + 2] = (counts[at + 2] ?? 0) + slow
  }
  const kept = (now: number) => {
    const newest = Math.floor(now / width)
    return [...starts.keys()].filter((i) => {
      const part = starts[i] ?? Number.NaN
      return part <= newest && part > newest - parts
    })
  }
  const countsAt = (index: number) => [...counts.subarray(3 * index, 3 * index + 3)]
  return {
    add: (now: number, failure: boolean, slow: boolean) =>
      add(Math.floor(now / width), 1, failure ? 1 : 0, slow ? 1 : 0),
    window: (now: number): Window => {
      let [calls, failures, slow] = [0, 0, 0]
      for (const index of kept(now)) {
        const [someCalls = 0, someFailures = 0, someSlow = 0] = countsAt(index)
        calls += someCalls
        failures += someFailures
        slow += someSlow
      }
      return { calls, failures, slow }
    },
    clear: () => {
      starts.fill(Number.NEGATIVE_INFINITY)
    },
    save: (now: number) => kept(now).flatMap((index) => [starts[index] ?? 0, ...countsAt(index)]),
    load: (saved: ReadonlyArray<number>) => {
      for (let i = 0; i + 3 < saved.length; i += 4) {
        const [part = 0, calls = 0, failures = 0, slow = 0] = saved.slice(i, i + 4)
        if (Number.isInteger(part) && [calls, failures, slow].every(isCount)) add(part, calls, failures, slow)
      }
    }
  }
}

interface TimeWindow extends Rate {
  readonly kind: "timeWindow" | "slowCalls"
  readonly windowMillis: number
  /** Longer calls are slow. */
  readonly slowMillis: number
}

export const timed = (options: TimeWindow): Trip => ({
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
    const calls = partsOf(options.windowMillis)
    const watchesSlow = options.kind === "slowCalls"
    const isSlow = (millis: number) => watchesSlow && millis > options.slowMillis
    return {
      record: (outcome, now, millis) => {
        const slow = isSlow(millis)
        calls.add(now, outcome === "failure", slow)
        // Only what is watched for can open it; the sums are made when it happens.
        if (!(watchesSlow ? slow : outcome === "failure")) return false
        const window = calls.window(now)
        return reached(watchesSlow ? window.slow : window.failures, window.calls, options)
      },
      isSlow,
      window: calls.window,
      clear: calls.clear,
      save: calls.save,
      load: calls.load
    }
  }
})

/** Each of them sees every call: one that trips must not keep the others from counting. */
export const anyOf = (trips: ReadonlyArray<Trip>): Trip => ({
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
      // Each with its length before it, so that they can be told apart.
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
