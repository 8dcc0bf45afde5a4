import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import { Recovery, RetryPolicy, Signal, Step, type Storage, Strategy, Transaction, Workflow } from "effect-recovery"
import { finalizerOf, tellOf } from "./expected.js"
import { backoff, type Loser, long, type Node, type StepNode } from "./program.js"

export class Bad extends Schema.TaggedError<Bad>()("Bad", { of: Schema.String }) {}

/** What a process of the simulation does outside of its run. */
export interface Outside {
  /** Never returns in a process that has crashed. */
  readonly note: (kind: "begin" | "end" | "undo", name: string, key: string) => Effect.Effect<void>
  /** Whether this is the first time in any process that the step would die. */
  readonly diesNow: (name: string) => boolean
  /** How often attempts of the step ended. */
  readonly endsOf: (key: string) => number
}

type Needs = Workflow.Run | Storage.Storage | Transaction.Transaction | Strategy.Rewinder

type Body = Effect.Effect<string, Bad, Needs>

export const Go = Signal.make("go", Schema.String)

const policy = (maxRetries: number) => RetryPolicy.fixed({ maxRetries, delay: backoff })

/** The workflow that a program stands for. */
export const workflowOf = (name: string, body: Node, outside: Outside) =>
  Workflow.make(name, { success: Schema.String, error: Bad }, () =>
    // Compensations are only used inside of transactions; the types cannot know that.
    Effect.provideService(build(body, outside, false), Transaction.Transaction, {
      memory: undefined,
      compensated: (_, self) => self
    })
  )

const stepOf = (node: StepNode, outside: Outside, inTransaction: boolean): Body => {
  const { fault, millis, name, times, undo } = node
  const run = (_: unknown, { step: key }: Step.Attempt) =>
    Effect.gen(function* () {
      yield* outside.note("begin", name, key)
      if (millis > 0) yield* Effect.sleep(millis)
      if (fault === "dies" && outside.diesNow(name)) return yield* Effect.die(`${name} dies`)
      const earlier = outside.endsOf(key)
      yield* outside.note("end", name, key)
      const use = Number(/#(\d+)$/.exec(key)?.[1] ?? 1)
      const fails = fault === "fails" || (fault === "uses" && use <= times) || (fault === "attempts" && earlier < times)
      return fails ? yield* new Bad({ of: name }) : name
    })
  const options = { success: Schema.String, error: Bad, run }
  const retried = fault === "attempts" ? { ...options, retry: policy(times + 2) } : options
  const compensate = ({ idempotencyKey }: Step.ToUndo<string, unknown>) => outside.note("undo", name, idempotencyKey)
  return undo && inTransaction
    ? Step.make(name, { ...retried, compensate })(undefined)
    : Step.make(name, retried)(undefined)
}

const sequence = (bodies: ReadonlyArray<Body>): Body => Effect.map(Effect.all(bodies), (values) => values.join(" "))

const threeTurns = Effect.promise(async () => {
  for (let i = 0; i < 3; i++) await new Promise<void>((resolve) => setImmediate(resolve))
})

const build = (node: Node, outside: Outside, inTransaction: boolean): Body => {
  const inside = (one: Node) => build(one, outside, inTransaction)
  switch (node._tag) {
    case "Step":
      return stepOf(node, outside, inTransaction)
    case "Sleep":
      return Effect.as(Workflow.sleep(node.millis, { name: node.name }), node.name)
    case "Pause":
      return Effect.as(node.how === "sleep" ? Effect.sleep(node.millis) : threeTurns, "-")
    case "Signal":
      return Go.wait({ id: node.name })
    case "Seq":
      return sequence(node.nodes.map(inside))
    case "All": {
      const options = { concurrency: node.bound === 0 ? ("unbounded" as const) : node.bound }
      const all =
        node.how === "all" ? Effect.all(node.nodes.map(inside), options) : Effect.forEach(node.nodes, inside, options)
      return Effect.map(all, (values) => `[${values.join(" ")}]`)
    }
    case "Handle":
      return Effect.catchAll(inside(node.node), ({ of }) => Effect.succeed(`!${of}`))
    case "Meet": {
      const producer = sequence([inside(node.node), stepOf(node.last, outside, inTransaction)])
      const both = Effect.all([Go.wait({ id: node.name }), producer], { concurrency: "unbounded" })
      return Effect.map(both, (values) => `[${values.join(" ")}]`)
    }
    case "Race":
      return race(node, outside, inTransaction)
    case "Tie": {
      const branches = node.nodes.map((one, i) => Effect.as(inside(one), i))
      const first = raced(node.how, branches)
      const tell = (winner: number) => stepOf({ ...calm, name: tellOf(node.name, winner) }, outside, inTransaction)
      return Effect.as(Effect.flatMap(first, tell), node.name)
    }
    case "Recover":
      return recovered(node, inside(node.node), inside(node.other))
    case "Transaction":
      return transaction(node.name, build(node.node, outside, true))
    case "Ensuring": {
      const last = Effect.orDie(stepOf(node.last, outside, inTransaction))
      return node.how === "ensuring"
        ? Effect.ensuring(inside(node.node), last)
        : Effect.onExit(inside(node.node), () => last)
    }
    case "Use":
      return Effect.acquireUseRelease(
        stepOf(node.first, outside, inTransaction),
        () => inside(node.node),
        () => Effect.orDie(stepOf(node.last, outside, inTransaction))
      )
  }
}

const calm: StepNode = { _tag: "Step", name: "", millis: 0, fault: "none", times: 0, undo: false }

const transaction = (name: string, body: Body): Body =>
  // No compensation of a program fails.
  Effect.catchAll(Transaction.run(body, { name }), (error) =>
    error instanceof Bad ? Effect.fail(error) : Effect.die(error)
  )

const raced = <A>(
  how: "race" | "raceFirst" | "raceAll",
  branches: ReadonlyArray<Effect.Effect<A, Bad, Needs>>
): Effect.Effect<A, Bad, Needs> => {
  if (how === "raceAll") return Effect.raceAll(branches)
  return branches.reduce((one, other) => (how === "race" ? Effect.race(one, other) : Effect.raceFirst(one, other)))
}

const race = (node: Node & { readonly _tag: "Race" }, outside: Outside, inTransaction: boolean): Body => {
  const losers = node.losers.map((loser) => loserOf(loser, outside, inTransaction))
  const winner = build(node.winner, outside, inTransaction)
  const withLosers = (winner: Body) => [...losers.slice(0, node.at), winner, ...losers.slice(node.at)]
  switch (node.how) {
    case "timeout":
      return Effect.timeoutTo(losers[0] ?? Effect.never, {
        duration: 5,
        onSuccess: (value) => value,
        onTimeout: () => "timeout"
      })
    case "interrupt":
      return Effect.gen(function* () {
        const fibers = yield* Effect.forEach(losers, (loser) => Effect.fork(loser))
        // What is interrupted before it has begun runs no finalizer; at a resume it may have begun.
        yield* Effect.yieldNow()
        const value = yield* winner
        yield* Fiber.interruptAll(fibers)
        return value
      })
    case "failFast": {
      const fast = Effect.zipRight(winner, Effect.fail(new Bad({ of: "fast" })))
      return Effect.as(Effect.all(withLosers(fast), { concurrency: "unbounded" }), "")
    }
    default:
      return raced(node.how, withLosers(winner))
  }
}

const loserOf = (loser: Loser, outside: Outside, inTransaction: boolean): Body => {
  const { after, around, before, name } = loser
  const within = inTransaction || around === "transaction"
  const takesLong = {
    step: stepOf({ ...calm, name, millis: long }, outside, within),
    sleep: Effect.as(Workflow.sleep(long, { name }), name),
    pause: Effect.as(Effect.sleep(long), name),
    signal: Go.wait({ id: name })
  }
  const branch = sequence([build(before, outside, within), takesLong[loser.long], build(after, outside, within)])
  if (around === "transaction") return transaction(name, branch)
  const last = Effect.orDie(stepOf({ ...calm, name: finalizerOf(loser) }, outside, inTransaction))
  return around === "ensuring" ? Effect.ensuring(branch, last) : branch
}

const recovered = (node: Node & { readonly _tag: "Recover" }, self: Body, other: Body): Body => {
  switch (node.strategy) {
    case "retry":
      return Effect.mapError(
        self.pipe(Recovery.recover({ Bad: Strategy.retry(policy(node.times)) })),
        ({ error }) => error
      )
    case "skip":
      return self.pipe(Recovery.recover({ Bad: Strategy.skip("skipped") }))
    case "alternate":
      return self.pipe(Recovery.recover({ Bad: Strategy.alternate(() => other) }))
  }
}
