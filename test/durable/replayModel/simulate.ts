import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { Storage, Workflow } from "effect-recovery"
import { byCaller, type Mode } from "../../../src/durable/internal/execution/execution.js"
import type { AnyDefinition } from "../../../src/durable/internal/run/advance.js"
import { claimDue, execute, executeClaimed, join } from "../../../src/durable/internal/run/execute.js"
import { crashing } from "../../../src/testing/internal/crashing.js"
import { onClock } from "../../support/clocks.js"
import { ProcessClock, type Timeline } from "../../support/simulation.js"
import { Bad, Go, type Outside, workflowOf } from "./build.js"
import { type Case, limit, type Node, type Stop } from "./program.js"

/** What the steps of a program did to the world outside. */
export interface Line {
  readonly execution: number
  readonly at: number
  readonly kind: "begin" | "end" | "undo"
  readonly name: string
  readonly key: string
}

export interface History {
  readonly lines: ReadonlyArray<Line>
  readonly outcome: string
  readonly status: Workflow.RunStatus | undefined
  readonly executions: number
  /** How many of its stops happened. */
  readonly stopped: number
  /** Milliseconds from the start to the outcome. */
  readonly elapsed: number
}

/** The world that outlives processes. */
class World {
  readonly timeline: Timeline = { now: 1_000_000 }
  readonly lines: Array<Line> = []
  readonly died = new Set<string>()
  readonly sent = new Set<string>()
  executions = 0
  stopped = 0
  readonly store: Storage.Store
  readonly run: string
  readonly one: Case
  readonly rest: () => Promise<void>
  /** Signals to send, by name. */
  readonly toSend = new Map<string, number>()
  /** Signals that are sent once a step has ended. */
  readonly sentAfter = new Map<string, string>()

  constructor(store: Storage.Store, run: string, one: Case, rest: () => Promise<void>) {
    this.store = store
    this.run = run
    this.one = one
    this.rest = rest
    this.plan(one.body)
  }

  private plan(node: Node): void {
    if (node._tag === "Signal") this.toSend.set(node.name, this.timeline.now + node.at)
    if (node._tag === "Meet") this.sentAfter.set(node.last.name, node.name)
    for (const child of childrenOf(node)) this.plan(child)
  }

  get nextSignal(): number {
    return Math.min(Number.POSITIVE_INFINITY, ...this.toSend.values())
  }
}

const childrenOf = (node: Node): ReadonlyArray<Node> => {
  if ("nodes" in node) return node.nodes
  if (node._tag === "Race") return [node.winner, ...node.losers.flatMap(({ after, before }) => [before, after])]
  if (node._tag === "Recover") return [node.node, node.other]
  return "node" in node ? [node.node] : []
}

/** One process of the simulation. */
class Process {
  readonly world: World
  readonly number: number
  readonly clock: ProcessClock
  readonly stop: Stop | undefined
  readonly scope: Scope.CloseableScope
  readonly storage: Storage.Service
  isDead = false
  isLeaving = false
  fiber: Fiber.RuntimeFiber<unknown, unknown> | undefined
  private writes = 0
  private earlier: Deferred.Deferred<void> | undefined

  constructor(world: World, stop: Stop | undefined) {
    this.world = world
    this.number = ++world.executions
    const { one, timeline } = world
    this.clock = new ProcessClock(timeline, one.skews?.[this.number % one.skews.length])
    this.stop = stop
    this.scope = Effect.runSync(Scope.make())
    const store = crashing(onClock(world.store, new ProcessClock(timeline)), {
      write: (operation) => Effect.suspend(() => this.write(operation)),
      other: (operation) => this.alive(operation),
      isDead: () => this.isDead
    })
    const made = Storage.make(store, { owner: `process-${this.number}`, lease: "10 days" })
    this.storage = Effect.runSync(this.within(Scope.extend(made, this.scope)))
  }

  within<A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.withClock(self, this.clock)
  }

  /** Never returns in a dead process. */
  alive<A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.suspend(() => (this.isDead ? Effect.never : self))
  }

  private write<A, E, R>(operation: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    const number = ++this.writes
    const { slowness } = this.world.one
    const slow = this.inOrder(turns(slowness[number % slowness.length] ?? 0), this.alive(operation))
    const stopHere = this.stop?.write === number ? this.stop : undefined
    if (stopHere === undefined) return this.alive(slow)
    const stopNow = Effect.suspend(() => {
      this.stopNow(stopHere)
      return this.alive(Effect.void)
    })
    return this.alive(stopHere.when === "before" ? Effect.zipRight(stopNow, slow) : Effect.zipLeft(slow, stopNow))
  }

  /** The writer of a store is a queue. */
  private inOrder<A, E, R>(delay: Effect.Effect<void>, operation: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    const { earlier } = this
    const done = Deferred.unsafeMake<void>(FiberId.none)
    this.earlier = done
    const mine = Effect.zipRight(
      Effect.zipRight(earlier === undefined ? Effect.void : Deferred.await(earlier), delay),
      operation
    )
    return Effect.ensuring(mine, Deferred.succeed(done, undefined))
  }

  private stopNow({ kind }: Stop): void {
    this.world.stopped++
    if (kind === "crash") this.isDead = true
    else if (kind === "leave") this.isLeaving = true
    else this.fiber?.unsafeInterruptAsFork(FiberId.none)
  }

  get outside(): Outside {
    const { world } = this
    return {
      note: (kind, name, key) =>
        this.alive(
          Effect.sync(() => {
            world.lines.push({ execution: this.number, at: world.timeline.now, kind, name, key })
            const signal = kind === "end" ? world.sentAfter.get(name) : undefined
            if (signal !== undefined && !world.sent.has(signal)) world.toSend.set(signal, world.timeline.now)
          })
        ),
      diesNow: (name) => {
        if (world.died.has(name)) return false
        world.died.add(name)
        return true
      },
      endsOf: (key) => world.lines.filter((line) => line.kind === "end" && line.key === key).length
    }
  }
}

const turns = (count: number): Effect.Effect<void> =>
  count === 0
    ? Effect.void
    : Effect.zipRight(
        Effect.async<void>((resume) => void setImmediate(() => resume(Effect.void))),
        turns(count - 1)
      )

/** A worker suspends a run that sleeps for longer. */
const patience = 5

const modeOf = (process: Process): Mode =>
  process.world.one.by === "caller"
    ? { ...byCaller, isLeaving: () => process.isLeaving }
    : { ...byCaller, patience, isLeaving: () => process.isLeaving }

/** A run that no process will ever advance again, or something else that never ends. */
export class LeftBehind extends Error {}

/** Executes a program, again after each stop, until its run has an outcome. */
export const simulate = async (
  one: Case,
  store: Storage.Store,
  run: string,
  rest: () => Promise<void>
): Promise<History> => {
  const world = new World(store, run, one, rest)
  const start = world.timeline.now
  let outcome: string | undefined
  let failure: unknown
  try {
    while (outcome === undefined) {
      if (world.executions > mostExecutions) throw new LeftBehind(`no outcome after ${mostExecutions} executions`)
      const stop = one.stops[world.executions]
      outcome = await executeOnce(new Process(world, stop))
      world.timeline.now += stop?.outage ?? 0
      if (outcome === undefined) await awaitDue(world)
    }
  } catch (error) {
    failure = error
  }
  return {
    lines: world.lines,
    outcome: outcome ?? (failure instanceof Error ? `${failure.message}` : String(failure)),
    status: failure === undefined ? await statusOf(world) : undefined,
    executions: world.executions,
    stopped: world.stopped,
    elapsed: world.timeline.now - start
  }
}

const mostExecutions = 60

const statusOf = async (world: World) => {
  const process = new Process(world, undefined)
  const status = Effect.provideService(Workflow.status(world.run), Storage.Storage, process.storage)
  const result = await runToRest(process, status)
  await close(process)
  return result !== undefined && Exit.isSuccess(result) ? result.value : undefined
}

/** The outcome of the run, or undefined if it has none yet. */
const executeOnce = async (process: Process): Promise<string | undefined> => {
  const { one, run, store } = process.world
  const workflow = workflowOf(run, one.body, process.outside)
  const request = { id: run, input: undefined, labels: {} }
  if (one.by === "worker" && Option.isNone(await Effect.runPromise(store.find(run)))) {
    await runToRest(
      process,
      Effect.provideService(Workflow.start(workflow, { id: run }), Storage.Storage, process.storage)
    )
    if (process.isDead) return free(process)
  }
  const executed =
    one.by === "caller"
      ? execute(workflow.definition, request, modeOf(process))
      : claimAndExecute(process, workflow.definition as AnyDefinition)
  const exit = await runToRest(
    process,
    // The body needs the storage alone, and the program's values are texts.
    Effect.provideService(executed as Effect.Effect<string, unknown, Storage.Storage>, Storage.Storage, process.storage)
  )
  if (process.isDead || exit === undefined) return free(process)
  await close(process)
  return outcomeOf(exit)
}

/** As a worker does. A run that has ended has its outcome. */
const claimAndExecute = (process: Process, definition: AnyDefinition) =>
  Effect.uninterruptibleMask((restore) => {
    const { storage } = process
    const query = { workflows: [{ workflow: definition.name, version: definition.version }], limit: 1 }
    return Effect.flatMap(claimDue(storage, query, restore), ({ claimed: [run] }) =>
      run === undefined
        ? Effect.flatMap(storage.find(process.world.run), (found) =>
            Option.exists(found, ({ outcome }) => outcome !== undefined)
              ? join(definition, process.world.run)
              : Effect.interrupt
          )
        : executeClaimed(storage, definition, run, restore, modeOf(process))
    )
  })

const outcomeOf = (exit: Exit.Exit<string, unknown>): string | undefined => {
  if (Exit.isSuccess(exit)) return `done ${exit.value}`
  const error = Option.getOrUndefined(Cause.failureOption(exit.cause))
  if (error instanceof Bad) return `failed ${error.of}`
  if (error instanceof Workflow.RunSuspended || Cause.isInterrupted(exit.cause)) return undefined
  const defects = Cause.pretty(exit.cause)
  if (error === undefined && / dies/.test(defects)) return undefined
  throw new LeftBehind(`the execution ended with ${defects.split("\n").slice(0, 3).join(" ")}`)
}

/** The storage knows that the process is dead, as on one host. */
const free = async (process: Process): Promise<undefined> => {
  const { run, store } = process.world
  const found = Option.getOrUndefined(await Effect.runPromise(store.find(run)))
  if (found?.owner !== undefined)
    await Effect.runPromise(Effect.withClock(store.release(found.owner, run), process.clock))
  return undefined
}

const close = (process: Process) => Effect.runPromise(process.within(Scope.close(process.scope, Exit.void)))

/** Runs an effect in a process, and moves the time whenever nothing else can happen. Undefined if the process dies. */
const runToRest = async <A, E>(process: Process, self: Effect.Effect<A, E>): Promise<Exit.Exit<A, E> | undefined> => {
  const { clock, world } = process
  const fiber = Effect.runFork(process.within(self))
  process.fiber = fiber
  /** The time at which a worker that leaves interrupts its runs. */
  let drained = Number.POSITIVE_INFINITY
  let isDrained = false
  for (;;) {
    await world.rest()
    if (process.isDead) return undefined
    const exit = fiber.unsafePoll()
    if (exit !== null) return exit
    if (process.isLeaving && !isDrained) drained = Math.min(drained, world.timeline.now + drain)
    if (world.timeline.now >= drained) {
      fiber.unsafeInterruptAsFork(FiberId.none)
      // What cannot be interrupted still takes its time.
      isDrained = true
      drained = Number.POSITIVE_INFINITY
      continue
    }
    await pass(world, Math.min(clock.next, world.nextSignal, drained), process)
    clock.wake()
  }
}

/** How long a worker that leaves waits for its steps. */
const drain = 1_000

/** Moves the time, and sends the signals that are to be sent by then. */
const pass = async (world: World, to: number, process?: Process): Promise<void> => {
  if (to === Number.POSITIVE_INFINITY) throw new LeftBehind("nothing can happen any more: the execution hangs")
  world.timeline.now = Math.max(world.timeline.now, to)
  if (world.timeline.now > 1_000_000 + limit) throw new LeftBehind("the run does not end, however much time passes")
  for (const [name, at] of world.toSend) {
    if (at > world.timeline.now) continue
    world.toSend.delete(name)
    world.sent.add(name)
    await send(world, name, process)
  }
}

/** Sends from the process of the run where there is one: that process hears of it at once. */
const send = async (world: World, name: string, process: Process | undefined): Promise<void> => {
  const sender = process ?? new Process(world, undefined)
  if (process === undefined) world.executions--
  const sent = Effect.provideService(Go.send(world.run, name, { id: name }), Storage.Storage, sender.storage)
  const fiber = Effect.runFork(sender.within(sent))
  await world.rest()
  const exit = fiber.unsafePoll()
  // A run that has not begun yet takes no signals. A sender whose process died does not know, and sends again.
  if (exit === null || (Exit.isFailure(exit) && /RunNotFound/.test(String(exit.cause)))) {
    world.sent.delete(name)
    world.toSend.set(name, world.timeline.now + 1)
  }
}

/** Waits until the run may be executed again. */
const awaitDue = async (world: World): Promise<void> => {
  for (;;) {
    const found = Option.getOrUndefined(await Effect.runPromise(world.store.find(world.run)))
    if (found === undefined || found.dueAt <= world.timeline.now) return
    const isWaiting = found.dueAt < Storage.untilSignalled
    if (!isWaiting && world.nextSignal === Number.POSITIVE_INFINITY) {
      throw new LeftBehind("the run is suspended, and neither a time nor a signal will resume it")
    }
    await pass(world, Math.min(found.dueAt, world.nextSignal))
  }
}
