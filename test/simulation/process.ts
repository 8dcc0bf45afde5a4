import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as GlobalValue from "effect/GlobalValue"
import * as LogLevel from "effect/LogLevel"
import * as Random from "effect/Random"
import * as Scheduler from "effect/Scheduler"
import { cancel, type Event, type Timeline } from "./timeline.js"

/** A clock that is ahead of the simulation's time by `skew`. It shows whole milliseconds, as clocks do. */
export class SimulatedClock implements Clock.Clock {
  readonly [Clock.ClockTypeId]: Clock.ClockTypeId = Clock.ClockTypeId
  private readonly machine: Machine
  private readonly process: Process | undefined
  private readonly skew: number

  constructor(machine: Machine, process?: Process, skew = 0) {
    this.machine = machine
    this.process = process
    this.skew = skew
  }

  unsafeCurrentTimeMillis(): number {
    return Math.floor(this.machine.timeline.now + this.skew)
  }

  unsafeCurrentTimeNanos(): bigint {
    return BigInt(Math.round(this.machine.timeline.now * 1_000)) * 1_000n
  }

  readonly currentTimeMillis: Effect.Effect<number> = Effect.sync(() => this.unsafeCurrentTimeMillis())

  readonly currentTimeNanos: Effect.Effect<bigint> = Effect.sync(() => this.unsafeCurrentTimeNanos())

  sleep(duration: Duration.Duration): Effect.Effect<void> {
    return Effect.async((resume) => {
      const timer = this.machine.timer(Duration.toMillis(duration), () => resume(Effect.void), this.process)
      return Effect.sync(() => cancel(timer))
    })
  }
}

/**
 * The fibers of one operating system process: its tasks, its timers and its clock. A process that crashed does nothing any
 * more. One that stands still does later what was to happen meanwhile.
 */
export class Process implements Scheduler.Scheduler {
  readonly name: string
  readonly clock: SimulatedClock
  readonly tasks: Array<() => void> = []
  /** Ready to run, and in the machine's list of those. */
  isListed = false
  private status: "up" | "paused" | "dead" = "up"
  private missed: Array<() => void> = []
  private readonly machine: Machine
  private readonly random: Random.Random

  constructor(machine: Machine, name: string, skew: number) {
    this.machine = machine
    this.name = name
    this.clock = new SimulatedClock(machine, this, skew)
    this.random = Random.make(name)
  }

  get isDead(): boolean {
    return this.status === "dead"
  }

  get isUp(): boolean {
    return this.status === "up"
  }

  shouldYield(fiber: Fiber.RuntimeFiber<unknown, unknown>): number | false {
    return fiber.currentOpCount > 2_048 ? fiber.getFiberRef(FiberRef.currentSchedulingPriority) : false
  }

  scheduleTask(task: () => void): void {
    if (this.isDead) return
    this.tasks.push(task)
    this.machine.list(this)
  }

  /** Does something in the process from outside, such as delivering an answer. */
  enter(callback: () => void): void {
    if (this.status === "up") this.machine.inProcess(this, callback)
    else if (this.status === "paused") this.missed.push(callback)
  }

  crash(): void {
    this.status = "dead"
    this.tasks.length = 0
    this.missed = []
  }

  pause(): void {
    if (this.status === "up") this.status = "paused"
  }

  goOn(): void {
    if (this.status !== "paused") return
    this.status = "up"
    const { missed } = this
    this.missed = []
    for (const callback of missed) this.enter(callback)
  }

  fork<A, E>(effect: Effect.Effect<A, E>): Fiber.RuntimeFiber<A, E> {
    const quiet = Effect.locally(effect, FiberRef.currentMinimumLogLevel, LogLevel.None)
    const own = Effect.withRandom(Effect.withClock(quiet, this.clock), this.random)
    return this.machine.inProcess(this, () => Effect.runFork(own, { scheduler: this }))
  }
}

/** The fibers without a parent. Effect has no other name for them. */
const { roots } = GlobalValue.globalValue(Symbol.for("effect/FiberScope/Global"), () => ({ roots: new Set<unknown>() }))

/** More tasks than this at one time means that something runs in a circle. */
const mostTasks = 2_000_000

/** Runs the tasks of all processes, one at a time, and moves the time when there are none. */
export class Machine {
  readonly timeline: Timeline
  /** What runs now belongs to this process. */
  private current: Process | undefined
  private readonly ready: Array<Process> = []
  /** A promise may have been kept, so its callbacks are waited for. */
  private hasKept = false
  private readonly before = new Set(roots)

  constructor(timeline: Timeline) {
    this.timeline = timeline
  }

  list(process: Process): void {
    if (process.isListed) return
    process.isListed = true
    this.ready.push(process)
  }

  inProcess<A>(process: Process, callback: () => A): A {
    const { current } = this
    this.current = process
    try {
      return callback()
    } finally {
      this.current = current
    }
  }

  timer(millis: number, callback: () => void, process = this.current): Event {
    // Beyond what a time can be: it never happens.
    if (millis > 1e12) return { at: millis, order: 0, run: undefined }
    return this.timeline.after(millis, process === undefined ? callback : () => process.enter(callback))
  }

  /** Until `isOver` or until nothing is left to happen. Returns whether it is over. */
  async run(isOver: () => boolean): Promise<boolean> {
    return this.asPlatform(async () => {
      for (;;) {
        this.runTasks()
        while (this.hasKept) {
          this.hasKept = false
          // A promise takes a few turns of the microtasks to tell its fiber.
          for (let i = 0; i < 4; i++) await undefined
          this.runTasks()
        }
        if (isOver()) return true
        const event = this.timeline.next()
        if (event === undefined) return false
        event()
      }
    })
  }

  private runTasks(): void {
    let count = 0
    for (let i = 0; i < this.ready.length; i++) {
      const process = this.ready[i] as Process
      this.current = process
      for (let task = 0; task < process.tasks.length; task++) {
        if (++count > mostTasks) throw new Error(`${process.name} does not come to rest at ${this.timeline.now}`)
        process.tasks[task]?.()
      }
      process.tasks.length = 0
      process.isListed = false
    }
    this.ready.length = 0
    this.current = undefined
  }

  /** The platform's timers, and the scheduler of fibers that were given none, belong to the process that runs. */
  private async asPlatform<A>(work: () => Promise<A>): Promise<A> {
    const { clearImmediate, clearTimeout, setImmediate, setTimeout } = globalThis
    const { scheduleTask } = Scheduler.defaultScheduler
    const { stackTraceLimit } = Error
    // Failures are a part of each simulation, and their stacks are read by none.
    Error.stackTraceLimit = 0
    const start = (callback: () => void, millis = 0) =>
      this.timer(Math.max(0, millis), () => {
        this.hasKept = true
        callback()
      })
    Object.assign(globalThis, {
      setTimeout: (callback: () => void, millis?: number) =>
        this.current === undefined ? setTimeout(callback, millis) : start(callback, millis),
      setImmediate: (callback: () => void) => (this.current === undefined ? setImmediate(callback) : start(callback)),
      clearTimeout: (timer: Event | NodeJS.Timeout) => ("run" in timer ? cancel(timer) : clearTimeout(timer)),
      clearImmediate: (timer: Event | NodeJS.Immediate) => ("run" in timer ? cancel(timer) : clearImmediate(timer))
    })
    Object.assign(Scheduler.defaultScheduler, {
      scheduleTask: (...[task, priority, fiber]: Parameters<typeof scheduleTask>) =>
        this.current === undefined
          ? scheduleTask.call(Scheduler.defaultScheduler, task, priority, fiber)
          : this.current.scheduleTask(task)
    })
    try {
      return await work()
    } finally {
      // Fibers of processes that crashed never end, and Effect would keep them for ever.
      for (const root of roots) if (!this.before.has(root)) roots.delete(root)
      Object.assign(globalThis, { clearImmediate, clearTimeout, setImmediate, setTimeout })
      Object.assign(Scheduler.defaultScheduler, { scheduleTask })
      Error.stackTraceLimit = stackTraceLimit
    }
  }
}
