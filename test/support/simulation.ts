import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Storage } from "effect-recovery"

/** The time of a simulation, in milliseconds. It moves only when the simulation moves it. */
export interface Timeline {
  now: number
}

interface Sleeper {
  readonly at: number
  readonly wake: () => void
}

/** The clock of one process, ahead of the time by `skew`. A process that crashed drops its sleepers with its clock. */
export class ProcessClock implements Clock.Clock {
  readonly [Clock.ClockTypeId]: Clock.ClockTypeId = Clock.ClockTypeId
  readonly timeline: Timeline
  readonly #skew: number
  readonly #sleepers = new Set<Sleeper>()

  constructor(timeline: Timeline, skew = 0) {
    this.timeline = timeline
    this.#skew = skew
  }

  unsafeCurrentTimeMillis(): number {
    return this.timeline.now + this.#skew
  }

  unsafeCurrentTimeNanos(): bigint {
    return BigInt(this.timeline.now) * 1_000_000n
  }

  readonly currentTimeMillis: Effect.Effect<number> = Effect.sync(() => this.unsafeCurrentTimeMillis())

  readonly currentTimeNanos: Effect.Effect<bigint> = Effect.sync(() => this.unsafeCurrentTimeNanos())

  sleep(duration: Duration.Duration): Effect.Effect<void> {
    return Effect.async((resume) => {
      const sleeper = { at: this.timeline.now + Duration.toMillis(duration), wake: () => resume(Effect.void) }
      this.#sleepers.add(sleeper)
      return Effect.sync(() => this.#sleepers.delete(sleeper))
    })
  }

  /** When the next sleeper wakes; infinity without one. */
  get next(): number {
    let next = Number.POSITIVE_INFINITY
    for (const { at } of this.#sleepers) next = Math.min(next, at)
    return next
  }

  /** Wakes those whose time has come, in the order of their times. */
  wake(): void {
    const due = [...this.#sleepers].filter(({ at }) => at <= this.timeline.now).sort((a, b) => a.at - b.at)
    for (const sleeper of due) {
      this.#sleepers.delete(sleeper)
      sleeper.wake()
    }
  }
}

/** Operations that another process has to answer. */
const inFlight = new Set<object>()

/** A store whose operations the simulation waits for: no time passes while a server works. */
export const awaited = (store: Storage.Store): Storage.Store => {
  const counted = <A, E, R>(operation: Effect.Effect<A, E, R>) =>
    Effect.suspend(() => {
      const one = {}
      inFlight.add(one)
      return Effect.ensuring(
        operation,
        Effect.sync(() => inFlight.delete(one))
      )
    })
  return new Proxy(store, {
    get: (target, key) => {
      const value: unknown = Reflect.get(target, key)
      if (typeof value !== "function") return value
      return (...args: ReadonlyArray<unknown>) => {
        const operation: unknown = value(...args)
        return Effect.isEffect(operation) ? counted(operation) : operation
      }
    }
  })
}

/**
 * Runs work to its rest without real time: timers without delay become turns of the event loop, and callbacks that
 * wait for a turn are counted. When none is left, only time or another process can move anything.
 */
export const inTurns = async <A>(work: (rest: () => Promise<void>) => Promise<A>): Promise<A> => {
  const { clearImmediate, clearTimeout, setImmediate, setTimeout } = globalThis
  const pending = new Set<unknown>()
  const turn = (callback: () => void) => {
    const handle = setImmediate(() => {
      pending.delete(handle)
      callback()
    })
    pending.add(handle)
    return handle
  }
  const cancel = (handle: NodeJS.Immediate) => {
    pending.delete(handle)
    clearImmediate(handle)
  }
  const rest = async () => {
    for (let turns = 0; ; turns += inFlight.size > 0 ? 0 : 1) {
      await new Promise<void>((resolve) => setImmediate(resolve))
      if (pending.size === 0 && inFlight.size === 0) return
      if (turns > mostTurns) throw new Error(`the simulation does not come to rest in ${mostTurns} turns`)
    }
  }
  Object.assign(globalThis, {
    setImmediate: turn,
    clearImmediate: cancel,
    setTimeout: (callback: () => void, millis = 0) => (millis > 1 ? setTimeout(callback, millis) : turn(callback)),
    clearTimeout: (handle: NodeJS.Timeout & NodeJS.Immediate) =>
      pending.has(handle) ? cancel(handle) : clearTimeout(handle)
  })
  try {
    return await work(rest)
  } finally {
    Object.assign(globalThis, { clearImmediate, clearTimeout, setImmediate, setTimeout })
  }
}

const mostTurns = 20_000
