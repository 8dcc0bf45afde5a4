import * as FastCheck from "effect/FastCheck"

/**
 * A part of a random workflow. Names are not in it: `named` assigns them, so they stay distinct while a program is
 * made smaller. Times are in milliseconds of virtual time.
 *
 * Three magnitudes keep outcomes certain although crashes cost time: ordinary work takes up to 9 ms, backoffs take
 * 20 s, and what must lose a race takes an hour.
 */
export type Node =
  | StepNode
  /** `Workflow.sleep`. */
  | { readonly _tag: "Sleep"; readonly name: string; readonly millis: number }
  /** Asynchronous work of the body that is no step: `Effect.sleep`, or promises. */
  | { readonly _tag: "Pause"; readonly how: "sleep" | "promise"; readonly millis: number }
  /** A signal that another process sends `at` milliseconds after the start. */
  | { readonly _tag: "Signal"; readonly name: string; readonly at: number }
  | { readonly _tag: "Seq"; readonly nodes: ReadonlyArray<Node> }
  | {
      readonly _tag: "All"
      readonly how: "all" | "forEach"
      /** 0 is unbounded. */
      readonly bound: 0 | 1 | 2
      readonly nodes: ReadonlyArray<Node>
    }
  /** Catches the typed failure. */
  | { readonly _tag: "Handle"; readonly node: Node }
  /** Waits for a signal beside the branch whose last step makes another process send it. */
  | { readonly _tag: "Meet"; readonly name: string; readonly node: Node; readonly last: StepNode }
  | RaceNode
  /** A race that only timing decides, and a step that acts on its winner. */
  | { readonly _tag: "Tie"; readonly name: string; readonly how: RaceHow; readonly nodes: ReadonlyArray<Node> }
  /** `Recovery.recover` in the body. */
  | {
      readonly _tag: "Recover"
      readonly strategy: "retry" | "skip" | "alternate"
      /** How often it retries at most. */
      readonly times: number
      readonly node: Node
      /** The alternate. */
      readonly other: Node
    }
  | { readonly _tag: "Transaction"; readonly name: string; readonly node: Node }
  | { readonly _tag: "Ensuring"; readonly how: "ensuring" | "onExit"; readonly node: Node; readonly last: StepNode }
  | { readonly _tag: "Use"; readonly first: StepNode; readonly node: Node; readonly last: StepNode }

export interface StepNode {
  readonly _tag: "Step"
  readonly name: string
  readonly millis: number
  /**
   * - `fails`: every attempt fails
   * - `dies`: the first attempt in any process dies of a defect
   * - `attempts`: so many attempts fail, and the step's own `retry` repeats them
   * - `uses`: its first uses fail
   */
  readonly fault: "none" | "fails" | "dies" | "attempts" | "uses"
  readonly times: number
  /** It has a compensation. */
  readonly undo: boolean
}

export type RaceHow = "race" | "raceFirst" | "raceAll"

/** A decision between a branch that is ready soon, and branches that take an hour. */
export interface RaceNode {
  readonly _tag: "Race"
  /**
   * - `timeout`: the loser has a time limit
   * - `interrupt`: the body forks the losers, and interrupts them after the winner
   * - `failFast`: `Effect.all` in which one branch fails
   */
  readonly how: RaceHow | "timeout" | "interrupt" | "failFast"
  readonly winner: Node
  readonly losers: ReadonlyArray<Loser>
  /** The place of the winner among the losers. */
  readonly at: number
}

/** A branch that loses: it does something, takes an hour, and never comes further. */
export interface Loser {
  readonly before: Node
  readonly long: "step" | "sleep" | "pause" | "signal"
  /** What stands around the whole branch. */
  readonly around: "nothing" | "transaction" | "ensuring"
  readonly name: string
  readonly after: Node
}

/** Where an execution ends early. */
export interface Stop {
  /**
   * - `crash`: the process ends there
   * - `interrupt`: its caller interrupts it
   * - `leave`: its worker shuts down
   */
  readonly kind: "crash" | "interrupt" | "leave"
  /** The number of the write of this execution, from 1. */
  readonly write: number
  readonly when: "before" | "after"
  /** Milliseconds until the next execution. */
  readonly outage: number
}

export interface Case {
  readonly body: Node
  /** The first stop is that of the first execution. */
  readonly stops: ReadonlyArray<Stop>
  /** Who executes it: the caller at once, or a worker when the run is due. */
  readonly by: "caller" | "worker"
  /** Turns of the event loop that the writes take, in rotation. */
  readonly slowness: ReadonlyArray<number>
  /** How far the clocks of its processes are ahead of the store's, in milliseconds, in rotation. Defaults to none. */
  readonly skews?: ReadonlyArray<number>
}

export const long = 3_600_000
export const backoff = 20_000
/** What must lose has not ended yet. */
export const limit = 2_000_000

export const empty: Node = { _tag: "Seq", nodes: [] }

export const step = (options: Partial<StepNode> = {}): StepNode => ({
  _tag: "Step",
  name: "",
  millis: 0,
  fault: "none",
  times: 0,
  undo: false,
  ...options
})

export const seq = (...nodes: ReadonlyArray<Node>): Node => ({ _tag: "Seq", nodes })

// ---- names

/** Gives everything in a program its own name: the letter of its kind and a number. */
export const named = (body: Node): Node => {
  let count = 0
  const fresh = (letter: string) => `${letter}${++count}`
  const nameStep = (node: StepNode): StepNode => ({ ...node, name: fresh("s") })
  const visit = (node: Node): Node => {
    switch (node._tag) {
      case "Step":
        return nameStep(node)
      case "Sleep":
        return { ...node, name: fresh("w") }
      case "Pause":
        return node
      case "Signal":
        return { ...node, name: fresh("g") }
      case "Seq":
      case "All":
        return { ...node, nodes: node.nodes.map(visit) }
      case "Handle":
        return { ...node, node: visit(node.node) }
      case "Meet":
        return { ...node, name: fresh("g"), node: visit(node.node), last: nameStep(node.last) }
      case "Race":
        return {
          ...node,
          winner: visit(node.winner),
          losers: node.losers.map((loser) => ({
            ...loser,
            name: fresh("l"),
            before: visit(loser.before),
            after: visit(loser.after)
          }))
        }
      case "Tie":
        return { ...node, name: fresh("t"), nodes: node.nodes.map(visit) }
      case "Recover":
        return { ...node, node: visit(node.node), other: visit(node.other) }
      case "Transaction":
        return { ...node, name: fresh("x"), node: visit(node.node) }
      case "Ensuring":
        return { ...node, node: visit(node.node), last: nameStep(node.last) }
      case "Use":
        return { ...node, first: nameStep(node.first), node: visit(node.node), last: nameStep(node.last) }
    }
  }
  return visit(body)
}

// ---- programs whose outcome timing does not decide

const canFail = (node: Node): boolean => {
  switch (node._tag) {
    case "Step":
      return node.fault === "fails" || node.fault === "uses"
    case "Sleep":
    case "Pause":
    case "Signal":
    case "Handle":
    case "Tie":
      return false
    case "Seq":
    case "All":
      return node.nodes.some(canFail)
    case "Meet":
    case "Transaction":
    case "Ensuring":
      return canFail(node.node)
    case "Race":
      return node.how === "failFast" || canFail(node.winner)
    case "Recover":
      if (node.strategy === "skip") return false
      return canFail(node.strategy === "retry" ? node.node : node.other)
    case "Use":
      return canFail(node.first) || canFail(node.node)
  }
}

const handled = (node: Node): Node => (canFail(node) ? { _tag: "Handle", node } : node)

/** A branch that dies does not end a race: Effect waits for the others, which may take an hour. */
const withoutDefects = <N extends Node>(node: N): N => {
  const text = JSON.stringify(node)
  // Only the kinds of faults are replaced.
  return text.includes('"dies"') ? (JSON.parse(text.replaceAll('"dies"', '"none"')) as N) : node
}

const recordedAtEnd = (node: Node): Node => {
  const last = node._tag === "Seq" ? node.nodes.at(-1)?._tag : node._tag
  return last === "Step" || last === "Sleep" || last === "Signal" ? node : seq(node, step())
}

/** Handles failures that race with the work of other branches: how far that has come would be chance. */
export const calmed = (node: Node): Node => {
  switch (node._tag) {
    case "Step":
    case "Sleep":
    case "Pause":
    case "Signal":
      return node
    case "Seq":
      return { ...node, nodes: node.nodes.map(calmed) }
    case "All":
      return { ...node, nodes: node.nodes.map((one) => handled(calmed(one))) }
    case "Tie":
      // The journal can only decide between branches whose ends are in it.
      return { ...node, nodes: node.nodes.map((one) => recordedAtEnd(handled(calmed(withoutDefects(one))))) }
    case "Handle":
    case "Meet":
    case "Transaction":
    case "Ensuring":
    case "Use":
      return { ...node, node: calmed(node.node) }
    case "Recover":
      return { ...node, node: calmed(node.node), other: node.strategy === "alternate" ? calmed(node.other) : empty }
    case "Race": {
      const winner = node.how === "timeout" ? empty : calmed(withoutDefects(node.winner))
      return {
        ...node,
        winner: node.how === "raceFirst" ? winner : handled(winner),
        losers: (node.how === "timeout" ? node.losers.slice(0, 1) : node.losers).map((loser) => ({
          ...loser,
          before: handled(calmed(withoutDefects(loser.before))),
          after: calmed(withoutDefects(loser.after))
        }))
      }
    }
  }
}

/**
 * Not promised: a step that dies can be handled, and is then still open. `directed.ts` has one beside a transaction and
 * in a finalizer.
 */
export const isPromised = (node: Node): boolean => !JSON.stringify(node).includes('"dies"')

// ---- random programs

const millis = FastCheck.integer({ min: 0, max: 9 })

const stepOf = (faults: ReadonlyArray<StepNode["fault"]>): FastCheck.Arbitrary<StepNode> =>
  FastCheck.record({
    millis,
    fault: FastCheck.constantFrom(...faults),
    times: FastCheck.integer({ min: 1, max: 2 }),
    undo: FastCheck.boolean()
  }).map(step)

const steps = stepOf(["none", "none", "none", "none", "none", "none", "fails", "dies", "attempts", "uses"])
/** The failure of a finalizer would be a defect. */
const calmSteps = stepOf(["none"])
const name = FastCheck.constant("")

const leaf: FastCheck.Arbitrary<Node> = FastCheck.oneof(
  { weight: 6, arbitrary: steps as FastCheck.Arbitrary<Node> },
  { weight: 1, arbitrary: FastCheck.record({ _tag: FastCheck.constant("Sleep" as const), name, millis }) },
  {
    weight: 1,
    arbitrary: FastCheck.record({
      _tag: FastCheck.constant("Pause" as const),
      how: FastCheck.constantFrom("sleep" as const, "promise" as const),
      millis
    })
  },
  {
    weight: 1,
    arbitrary: FastCheck.record({
      _tag: FastCheck.constant("Signal" as const),
      name,
      at: FastCheck.integer({ min: 0, max: 30 })
    })
  }
)

const raceHow = FastCheck.constantFrom<RaceHow>("race", "raceFirst", "raceAll")

const node = FastCheck.memo((depth): FastCheck.Arbitrary<Node> => {
  if (depth <= 1) return leaf
  const inner = node(depth - 1)
  const list = FastCheck.array(inner, { minLength: 2, maxLength: 3 })
  const sequence = list.map((nodes): Node => seq(...nodes))
  const loser: FastCheck.Arbitrary<Loser> = FastCheck.record({
    before: inner,
    long: FastCheck.constantFrom("step" as const, "sleep" as const, "pause" as const, "signal" as const),
    around: FastCheck.constantFrom("nothing" as const, "nothing" as const, "transaction" as const, "ensuring" as const),
    name,
    after: leaf
  })
  const of = <T extends Node["_tag"]>(tag: T) => FastCheck.constant(tag)
  return FastCheck.oneof(
    { weight: 3, arbitrary: leaf },
    { weight: 4, arbitrary: sequence },
    {
      weight: 3,
      arbitrary: FastCheck.record({
        _tag: of("All"),
        how: FastCheck.constantFrom("all" as const, "forEach" as const),
        bound: FastCheck.constantFrom(0 as const, 1 as const, 2 as const),
        nodes: list
      })
    },
    { weight: 1, arbitrary: FastCheck.record({ _tag: of("Handle"), node: inner }) },
    { weight: 2, arbitrary: FastCheck.record({ _tag: of("Meet"), name, node: inner, last: calmSteps }) },
    {
      weight: 5,
      arbitrary: FastCheck.record({
        _tag: of("Race"),
        how: FastCheck.oneof(
          raceHow,
          FastCheck.constantFrom("timeout" as const, "interrupt" as const, "failFast" as const)
        ),
        winner: inner,
        losers: FastCheck.array(loser, { minLength: 1, maxLength: 2 }),
        at: FastCheck.nat({ max: 2 })
      })
    },
    {
      weight: 2,
      arbitrary: FastCheck.record({
        _tag: of("Tie"),
        name,
        how: raceHow,
        nodes: FastCheck.array(inner, { minLength: 2, maxLength: 3 })
      })
    },
    {
      weight: 3,
      arbitrary: FastCheck.record({
        _tag: of("Recover"),
        strategy: FastCheck.constantFrom("retry" as const, "retry" as const, "skip" as const, "alternate" as const),
        times: FastCheck.integer({ min: 1, max: 2 }),
        node: inner,
        other: leaf
      })
    },
    { weight: 3, arbitrary: FastCheck.record({ _tag: of("Transaction"), name, node: inner }) },
    {
      weight: 2,
      arbitrary: FastCheck.record({
        _tag: of("Ensuring"),
        how: FastCheck.constantFrom("ensuring" as const, "onExit" as const),
        node: inner,
        last: calmSteps
      })
    },
    { weight: 2, arbitrary: FastCheck.record({ _tag: of("Use"), first: steps, node: inner, last: calmSteps }) }
  )
})

const stop: FastCheck.Arbitrary<Stop> = FastCheck.record({
  kind: FastCheck.constantFrom("crash" as const, "crash" as const, "interrupt" as const, "leave" as const),
  write: FastCheck.integer({ min: 1, max: 20 }),
  when: FastCheck.constantFrom("before" as const, "after" as const),
  outage: FastCheck.integer({ min: 0, max: 20 })
})

/** A sequence of parts, with the stops of its first executions. */
export const cases: FastCheck.Arbitrary<Case> = FastCheck.record({
  body: FastCheck.array(node(3), { minLength: 1, maxLength: 3 }).map((nodes): Node => seq(...nodes)),
  stops: FastCheck.array(stop, { minLength: 1, maxLength: 4 }),
  by: FastCheck.constantFrom("caller" as const, "worker" as const),
  slowness: FastCheck.array(FastCheck.nat({ max: 3 }), { maxLength: 3 })
}).map((one) => ({ ...one, body: named(calmed(one.body)) }))
