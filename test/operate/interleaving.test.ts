import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import { Checkpoint, RetryPolicy, Step, Storage, Worker, Workflow } from "effect-recovery"
import { RecoveryManager } from "effect-recovery/operate"
import { lengthOf, seedOf } from "../support/campaigns.js"
import { turns } from "../support/time.js"

/** Which process makes the next call: a number below the number of processes that wait, or one that dies first. */
interface Choice {
  readonly next: (waiting: ReadonlyArray<string>, last: string | undefined) => string
  /** The process that dies when this many calls were made. */
  readonly death: { readonly process: string; readonly at: number } | undefined
}

interface Waiting {
  readonly process: string
  readonly resume: (self: Effect.Effect<void>) => void
}

/** Calls that no order depends on. */
const unscheduled: ReadonlySet<string> = new Set([
  "renew",
  "controls",
  "transactional",
  "restore",
  "journal",
  "payload"
])

/** Lets one call of the store at a time begin, in the order of a choice. */
class Calls {
  readonly waiting: Array<Waiting> = []
  readonly dead = new Set<string>()
  made = 0
  last: string | undefined
  isOver = false

  /** The store as a process uses it. */
  storeOf(process: string, store: Storage.Store): Storage.Store {
    const turn = Effect.async<void>((resume) => {
      if (this.isOver) return resume(Effect.dieMessage("killed"))
      this.waiting.push({ process, resume })
    })
    const wrapped = Object.entries(store).flatMap(([name, call]) =>
      typeof call !== "function" || unscheduled.has(name)
        ? []
        : [
            [
              name,
              (...args: ReadonlyArray<unknown>) =>
                Effect.zipRight(
                  turn,
                  Effect.suspend(() => call(...args))
                )
            ]
          ]
    )
    return { ...store, ...Object.fromEntries(wrapped) }
  }

  /** The processes whose next call can begin. */
  get ready(): ReadonlyArray<string> {
    return [...new Set(this.waiting.map(({ process }) => process))].filter((one) => !this.dead.has(one)).sort()
  }

  begin({ death, next }: Choice): void {
    if (death?.at === this.made++) this.dead.add(death.process)
    const { ready } = this
    if (ready.length === 0) return
    const process = next(ready, this.last)
    this.last = process
    const i = this.waiting.findIndex((one) => one.process === process)
    this.waiting.splice(i, 1)[0]?.resume(Effect.void)
  }

  /** The fibers of dead processes end. */
  end(): void {
    this.isOver = true
    for (const { resume } of this.waiting.splice(0)) resume(Effect.dieMessage("killed"))
  }
}

const random = (seed: number) => {
  let state = seed * 2_654_435_761 + 1
  return (below: number): number => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) | 0
    return (state >>> 0) % below
  }
}

type Type = "retry" | "resume" | "rollback"

const types: ReadonlyArray<Type> = ["retry", "resume", "rollback"]

/** A recovery of a failed run beside workers, in one order of their calls. */
const interleaved = (type: Type, workers: number, choice: Choice, change = (store: Storage.Store) => store) =>
  Effect.gen(function* () {
    const store = change(Storage.memoryStore())
    const calls = new Calls()
    const state = { isMended: false, isMending: false, tooSoon: 0, deploys: 0 }
    const deploy = Step.make("deploy", {
      error: Schema.String,
      run: Effect.suspend(() => {
        state.deploys++
        if (state.isMending && !state.isMended) state.tooSoon++
        return state.isMended ? Effect.void : Effect.fail("down")
      })
    })
    const Progress = Checkpoint.make("progress", { schema: Schema.Number })
    const Release = Workflow.make("release", { error: Schema.String }, () =>
      Effect.zipRight(Progress.save(1), Effect.zipRight(Step.make("build", { run: Effect.void }), deploy))
    )
    const storageOf = (process: string, given: Storage.Store) =>
      Layer.scoped(Storage.Storage, Storage.make(given, { owner: process, lease: "10 seconds" })).pipe(
        Layer.merge(RetryPolicy.layer(RetryPolicy.none))
      )
    const inspector = yield* Layer.build(storageOf("inspector", store))
    const failure = yield* Effect.gen(function* () {
      yield* Effect.ignore(Workflow.execute(Release, { id: "1" }))
      return yield* RecoveryManager.report("down", { run: "1", step: "deploy" })
    }).pipe(Effect.provide(inspector))
    // The fix takes longer than a worker needs to look for runs.
    const set = (what: "isMended" | "isMending") =>
      Effect.sync(() => {
        state[what] = true
      })
    const mend = Effect.zipRight(Effect.sleep("2 seconds"), set("isMended"))
    const fixes = { [failure.category]: () => mend }
    const hooks = { before: () => set("isMending") }
    const restore = { environment: () => mend }
    const manager = RecoveryManager.layer({ workflows: [Release], fixes, hooks, restore })
    const processes: ReadonlyArray<Effect.Effect<unknown, unknown, Scope.Scope>> = [
      Effect.flatMap(
        Layer.build(manager.pipe(Layer.provideMerge(storageOf("operator", calls.storeOf("operator", store))))),
        (context) => Effect.provide(RecoveryManager.initiate(failure.id, type), context)
      ),
      ...Array.from({ length: workers }, (_, i) =>
        Effect.zipRight(
          Layer.build(
            Worker.layer([Release], { drain: 0 }).pipe(
              Layer.provideMerge(storageOf(`worker ${i}`, calls.storeOf(`worker ${i}`, store)))
            )
          ),
          Effect.never
        )
      )
    ]
    const fibers = yield* Effect.forEach(processes, (process) => Effect.forkDaemon(Effect.scoped(process)))
    const operator = fibers[0] as Fiber.RuntimeFiber<unknown, unknown>
    const isOver = Effect.map(Effect.provide(Workflow.status("1"), inspector), ({ finishedAt, status }) => {
      const hasEnded = finishedAt._tag === "Some" || status === "held"
      return hasEnded && (operator.unsafePoll() !== null || calls.dead.has("operator"))
    })
    /** Lets calls begin until the run and the operator have ended. */
    const go = Effect.gen(function* () {
      for (let ticks = 0; ticks < 400; ) {
        yield* turns(3)
        if (calls.ready.length > 0) calls.begin(choice)
        else {
          ticks++
          if (yield* isOver) return
          yield* TestClock.adjust("500 millis")
        }
      }
      assert.fail("the run neither ended nor is on hold")
    })
    yield* go
    const exit = operator.unsafePoll()
    // The lock of a dead operator has expired by then.
    yield* TestClock.adjust("2 minutes")
    yield* Effect.provide(RecoveryManager.sweep, inspector)
    if (calls.dead.has("operator")) yield* go
    const { hold, outcome, ...run } = yield* Effect.map(store.find("1"), (found) =>
      found._tag === "Some" ? found.value : assert.fail("the run is gone")
    )
    calls.end()
    yield* Effect.forEach(fibers, (fiber) => Effect.ignore(Effect.exit(Fiber.interrupt(fiber))))
    return { exit, hold, outcome, run, state, made: calls.made, isDead: calls.dead.has("operator") }
  }).pipe(Effect.scoped)

type Ended = Effect.Effect.Success<ReturnType<typeof interleaved>>

/** What must hold in each order; undefined if it does. */
const broken = (type: Type, { exit, hold, isDead, outcome, state }: Ended): string | undefined => {
  if (state.tooSoon > 0) return "a worker ran the step before it was mended"
  if (hold?.id.startsWith("recovery/") === true) return "the run is still held by the recovery"
  if (isDead)
    return outcome === undefined && hold === undefined ? "the run has neither ended nor is on hold" : undefined
  if (exit === null || Exit.isFailure(exit)) return `the operator failed: ${exit === null ? "never" : exit}`
  const { error, status } = exit.value as { readonly status: string; readonly error?: unknown }
  if (status !== "completed") return `the recovery is ${status}: ${JSON.stringify(error)}`
  if (type === "rollback") {
    if (outcome !== undefined || hold?.id !== "manual") return "the run is not left on hold"
    return state.deploys === 1 ? undefined : "the run was continued after its rollback"
  }
  return outcome?.status === "completed" ? undefined : `the run has the outcome ${outcome?.status}`
}

const describeChoice = (type: Type, workers: number, seed: number) => `${type}, ${workers} workers, seed ${seed}`

/** Calls of one process as long as it can, with another one in between at the given call. */
const oneChange = (at: number, by: number): Choice => {
  let made = 0
  return {
    death: undefined,
    next: (ready, last) => {
      if (made++ === at) return ready[by % ready.length] as string
      return last !== undefined && ready.includes(last) ? last : (ready[0] as string)
    }
  }
}

const randomly = (seed: number, workers: number): Choice => {
  const draw = random(seed)
  const processes = ["operator", ...Array.from({ length: workers }, (_, i) => `worker ${i}`)]
  const death = draw(2) === 0 ? { process: processes[draw(processes.length)] as string, at: draw(60) } : undefined
  return { death, next: (ready) => ready[draw(ready.length)] as string }
}

/** As before there were holds: none is ever placed. */
const withoutHolds = (store: Storage.Store): Storage.Store => ({
  ...store,
  hold: (run) =>
    Effect.map(store.find(run), (found) =>
      found._tag === "Some" ? { _tag: "Held", run: found.value } : { _tag: "Unknown" }
    )
})

describe("a recovery beside workers, in any order of their calls to the store", () => {
  const rounds = lengthOf("INTERLEAVINGS")

  it.scoped(
    `is never overtaken, in ${rounds} random orders with crashes`,
    () =>
      Effect.gen(function* () {
        for (let i = 0; i < rounds; i++) {
          const seed = seedOf(1) + i
          const type = types[i % types.length] as Type
          const workers = 1 + (i % 2)
          const ended = yield* interleaved(type, workers, randomly(seed, workers))
          assert.isUndefined(broken(type, ended), describeChoice(type, workers, seed))
        }
      }),
    600_000
  )

  it.scoped(
    "is never overtaken, whichever call another process comes before",
    () =>
      Effect.gen(function* () {
        const stride = Math.max(1, Math.floor(240 / rounds))
        for (const type of types) {
          for (let at = types.indexOf(type); ; at += stride) {
            const ended = yield* interleaved(type, 1, oneChange(at, 1))
            assert.isUndefined(broken(type, ended), `${type}, at call ${at}`)
            if (at >= ended.made) break
          }
        }
      }),
    600_000
  )

  it.scoped(
    "would be overtaken without holds",
    () =>
      Effect.gen(function* () {
        const found = new Set<Type>()
        for (let seed = 1; seed <= 6; seed++) {
          for (const type of types) {
            const choice = { ...randomly(seed, 1), death: undefined }
            const ended = yield* interleaved(type, 1, choice, withoutHolds)
            if (broken(type, ended) !== undefined) found.add(type)
          }
        }
        assert.sameMembers([...found], [...types])
      }),
    600_000
  )
})
