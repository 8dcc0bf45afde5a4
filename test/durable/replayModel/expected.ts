import type { Case, Loser, Node, StepNode } from "./program.js"

/** What an execution without stops comes to, and what every other one must agree with. */
export interface Expected {
  readonly outcome: string
  /** How often each of these steps ends. */
  readonly required: ReadonlyMap<string, number>
  /** Steps that may run or not, such as those of a loser. */
  readonly optional: ReadonlySet<string>
  /** What precedes ends before any of what follows begins. */
  readonly orders: ReadonlyArray<{ readonly first: ReadonlyArray<string>; readonly then: ReadonlyArray<string> }>
  /** Once one of `then` has begun, none of the losers begins. */
  readonly decisions: ReadonlyArray<{ readonly losers: ReadonlyArray<string>; readonly then: ReadonlyArray<string> }>
  /** The steps that say who won, at most one of which begins. */
  readonly ties: ReadonlyArray<ReadonlyArray<string>>
  /** Whether the last that happens to a step with a compensation is its compensation. */
  readonly undone: ReadonlyMap<string, boolean>
  /** Transactions that an interruption restarts contain these. */
  readonly inTransaction: ReadonlySet<string>
}

interface Result {
  readonly ok: boolean
  readonly value: string
}

/** Where a part stands. */
interface Place {
  readonly section: string
  readonly optional: boolean
  /** Steps that begin only after this part has ended, for the last time. */
  readonly following: ReadonlyArray<string>
  /** Its parts may run several times. */
  readonly repeats: boolean
  readonly transaction: boolean
}

/** The step that says that this branch won a tie. */
export const tellOf = (name: string, branch: number): string => `${name}=${branch}`

/** The steps in a part, without those of finalizers where `own` is set. */
export const stepsOf = (node: Node, own = false): ReadonlyArray<string> => {
  const all = (nodes: ReadonlyArray<Node>) => nodes.flatMap((one) => stepsOf(one, own))
  const last = (step: StepNode) => (own ? [] : [step.name])
  switch (node._tag) {
    case "Step":
      return [node.name]
    case "Sleep":
    case "Pause":
    case "Signal":
      return []
    case "Seq":
    case "All":
      return all(node.nodes)
    case "Handle":
    case "Transaction":
      return stepsOf(node.node, own)
    case "Meet":
      return [...stepsOf(node.node, own), node.last.name]
    case "Race":
      return [...stepsOf(node.winner, own), ...node.losers.flatMap((loser) => stepsOfLoser(loser, own))]
    case "Tie":
      return [...all(node.nodes), ...node.nodes.map((_, i) => tellOf(node.name, i))]
    case "Recover":
      return [...stepsOf(node.node, own), ...stepsOf(node.other, own)]
    case "Ensuring":
      return [...stepsOf(node.node, own), ...last(node.last)]
    case "Use":
      return [node.first.name, ...stepsOf(node.node, own), ...last(node.last)]
  }
}

/** The name of the finalizer of a loser. */
export const finalizerOf = (loser: Loser): string => `${loser.name}-finally`

const stepsOfLoser = (loser: Loser, own: boolean): ReadonlyArray<string> => [
  ...stepsOf(loser.before, own),
  ...(loser.long === "step" ? [loser.name] : []),
  ...stepsOf(loser.after, own),
  ...(loser.around === "ensuring" && !own ? [finalizerOf(loser)] : [])
]

/** The steps with a compensation in a part. */
const undoable = (node: Node): ReadonlyArray<string> => {
  switch (node._tag) {
    case "Step":
      return node.undo ? [node.name] : []
    case "Sleep":
    case "Pause":
    case "Signal":
      return []
    case "Seq":
    case "All":
    case "Tie":
      return node.nodes.flatMap(undoable)
    case "Handle":
    case "Transaction":
      return undoable(node.node)
    case "Meet":
    case "Ensuring":
      return [...undoable(node.node), ...undoable(node.last)]
    case "Race":
      return [
        ...undoable(node.winner),
        ...node.losers.flatMap(({ after, before }) => [before, after].flatMap(undoable))
      ]
    case "Recover":
      return [...undoable(node.node), ...undoable(node.other)]
    case "Use":
      return [node.first, node.node, node.last].flatMap(undoable)
  }
}

/** Computes what a program does, for the stops of its case. */
export const expect = ({ body, stops }: Case): Expected => {
  const required = new Map<string, number>()
  const optional = new Set<string>()
  const orders: Array<Expected["orders"][number]> = []
  const decisions: Array<Expected["decisions"][number]> = []
  const ties: Array<ReadonlyArray<string>> = []
  const undone = new Map<string, boolean>()
  const inTransaction = new Set<string>()
  const uses = new Map<string, number>()
  // An interruption restarts transactions: what they decided is undone.
  const restarts = stops.some(({ kind }) => kind !== "crash")

  const ok = (value: string): Result => ({ ok: true, value })

  const visitStep = (node: StepNode, { optional: isOptional, section, transaction }: Place): Result => {
    const key = section + node.name
    const use = (uses.get(key) ?? 0) + 1
    uses.set(key, use)
    if (transaction) inTransaction.add(node.name)
    if (isOptional) optional.add(node.name)
    // An attempt of a crashed process counts where its failure was not recorded.
    else required.set(node.name, (required.get(node.name) ?? 0) + 1)
    if (node.undo && transaction && !isOptional) undone.set(node.name, false)
    const fails = node.fault === "fails" || (node.fault === "uses" && use <= node.times)
    return fails ? { ok: false, value: node.name } : ok(node.name)
  }

  /** Visits parts one after the other until one fails. */
  const visitSeq = (nodes: ReadonlyArray<Node>, place: Place): Result => {
    const values: Array<string> = []
    for (const [i, node] of nodes.entries()) {
      const later = nodes.slice(i + 1).flatMap((one) => stepsOf(one))
      const before = new Map(required)
      const result = visit(node, place.repeats ? place : { ...place, following: [...later, ...place.following] })
      if (!result.ok) return result
      orders.push({ first: newIn(before), then: later })
      values.push(result.value)
    }
    return ok(values.join(" "))
  }

  /** What was required since. */
  const newIn = (before: ReadonlyMap<string, number>) => [...required.keys()].filter((name) => !before.has(name))

  const visitLoser = (loser: Loser, place: Place) => {
    const section = loser.around === "transaction" ? `${place.section}${loser.name}/` : place.section
    const transaction = place.transaction || loser.around === "transaction"
    const repeats = place.repeats || (loser.around === "transaction" && restarts)
    const later = [...(loser.long === "step" ? [loser.name] : []), ...stepsOf(loser.after)]
    const following = repeats ? place.following : [...later, ...place.following]
    const inside: Place = { ...place, section, transaction, optional: true, following, repeats }
    visit(loser.before, inside)
    if (loser.long === "step") {
      optional.add(loser.name)
      if (transaction) inTransaction.add(loser.name)
    }
    if (loser.around === "ensuring") {
      optional.add(finalizerOf(loser))
      if (place.transaction) inTransaction.add(finalizerOf(loser))
    }
    if (loser.around === "transaction") for (const name of undoable(loser.before)) undone.set(name, true)
  }

  const visitFinalizer = (last: StepNode, before: ReadonlyMap<string, number>, place: Place) => {
    // What is interrupted from outside runs its finalizers before its work is complete.
    if (!place.optional) orders.push({ first: newIn(before), then: [last.name] })
    visitStep(last, place)
  }

  const visit = (node: Node, place: Place): Result => {
    switch (node._tag) {
      case "Step":
        return visitStep(node, place)
      case "Sleep":
      case "Signal":
        return ok(node.name)
      case "Pause":
        return ok("-")
      case "Seq":
        return visitSeq(node.nodes, place)
      case "All":
        return ok(`[${node.nodes.map((one) => visit(one, place).value).join(" ")}]`)
      case "Handle": {
        const result = visit(node.node, place)
        return result.ok ? result : ok(`!${result.value}`)
      }
      case "Meet": {
        const result = visitSeq([node.node, node.last], place)
        return result.ok ? ok(`[${node.name} ${result.value}]`) : result
      }
      case "Race": {
        const losers = node.losers.flatMap((loser) => stepsOfLoser(loser, true))
        decisions.push({ losers, then: place.following })
        for (const loser of node.losers) visitLoser(loser, place)
        const result = node.how === "timeout" ? ok("timeout") : visit(node.winner, place)
        return node.how === "failFast" ? { ok: false, value: "fast" } : result
      }
      case "Tie": {
        const tells = node.nodes.map((_, i) => tellOf(node.name, i))
        const following = place.repeats ? place.following : [...tells, ...place.following]
        decisions.push({ losers: node.nodes.flatMap((one) => stepsOf(one, true)), then: following })
        for (const one of node.nodes) visit(one, { ...place, optional: true, following })
        for (const tell of tells) {
          optional.add(tell)
          if (place.transaction) inTransaction.add(tell)
        }
        if (!place.repeats) ties.push(tells)
        return ok(node.name)
      }
      case "Recover":
        return visitRecover(node, place)
      case "Transaction":
        return visitTransaction(node, place)
      case "Ensuring": {
        const before = new Map(required)
        const following = place.repeats ? place.following : [node.last.name, ...place.following]
        const result = visit(node.node, { ...place, following })
        visitFinalizer(node.last, before, place)
        return result
      }
      case "Use": {
        const first = visitSeq([node.first], place)
        if (!first.ok) return first
        const before = new Map(required)
        orders.push({ first: [node.first.name], then: [...stepsOf(node.node), node.last.name] })
        const following = place.repeats ? place.following : [node.last.name, ...place.following]
        const result = visit(node.node, { ...place, following })
        visitFinalizer(node.last, before, place)
        return result
      }
    }
  }

  const visitRecover = (node: Node & { readonly _tag: "Recover" }, place: Place): Result => {
    if (node.strategy === "retry") {
      const inside = { ...place, repeats: true }
      let result = visit(node.node, inside)
      for (let i = 0; i < node.times && !result.ok; i++) result = visit(node.node, inside)
      return result
    }
    const other = node.strategy === "alternate" ? stepsOf(node.other) : []
    const result = visit(node.node, place.repeats ? place : { ...place, following: [...other, ...place.following] })
    if (result.ok) return result
    return node.strategy === "skip" ? ok("skipped") : visit(node.other, place)
  }

  const visitTransaction = (node: Node & { readonly _tag: "Transaction" }, place: Place): Result => {
    const key = place.section + node.name
    const use = (uses.get(key) ?? 0) + 1
    uses.set(key, use)
    const section = `${key}${use === 1 ? "" : `#${use}`}/`
    const result = visit(node.node, { ...place, section, transaction: true, repeats: place.repeats || restarts })
    for (const name of undoable(node.node)) {
      if (!result.ok) undone.set(name, true)
      // Whether a loser had completed it is not known.
      else if (!required.has(name)) undone.delete(name)
    }
    return result
  }

  const place = { section: "", optional: false, following: [], repeats: false, transaction: false }
  const { ok: isDone, value } = visit(body, place)
  for (const name of required.keys()) optional.delete(name)
  return {
    outcome: isDone ? `done ${value}` : `failed ${value}`,
    required,
    optional,
    orders: orders.filter(({ first, then }) => first.length > 0 && then.length > 0),
    decisions: decisions.filter(({ losers, then }) => losers.length > 0 && then.length > 0),
    ties,
    undone,
    inTransaction
  }
}
