import { type Case, calmed, empty, type Loser, type Node, named, type Stop, seq, step } from "./program.js"

/** Smaller programs with the same meaning to a reader, most promising first. */
export function* smaller(one: Case): Generator<Case> {
  for (const body of nodes(one.body)) yield { ...one, body: named(calmed(body)) }
  for (const [i, stop] of one.stops.entries()) {
    yield { ...one, stops: one.stops.filter((_, j) => j !== i) }
    for (const other of stops(stop)) yield { ...one, stops: one.stops.map((same, j) => (j === i ? other : same)) }
  }
  if (one.slowness.length > 0) yield { ...one, slowness: [] }
  if (one.skews !== undefined && one.skews.length > 0) yield { ...one, skews: [] }
  if (one.by === "worker") yield { ...one, by: "caller" }
}

function* stops(stop: Stop): Generator<Stop> {
  if (stop.kind !== "crash") yield { ...stop, kind: "crash" }
  if (stop.outage > 0) yield { ...stop, outage: 0 }
  for (let write = 1; write < stop.write; write++) yield { ...stop, write }
  if (stop.when === "after") yield { ...stop, when: "before" }
}

/** One element left out, or made smaller. */
function* lists<A>(list: ReadonlyArray<A>, min: number, each: (one: A) => Iterable<A>): Generator<ReadonlyArray<A>> {
  for (let i = 0; list.length > min && i < list.length; i++) yield list.filter((_, j) => j !== i)
  for (const [i, one] of list.entries()) {
    for (const other of each(one)) yield list.map((same, j) => (j === i ? other : same))
  }
}

const isTrivial = (node: Node): boolean =>
  (node._tag === "Seq" && node.nodes.length === 0) ||
  (node._tag === "Step" && node.fault === "none" && node.millis === 0 && !node.undo)

/** Fields of type `Node`, each made smaller. */
function* fields<N extends Node>(node: N, ...names: ReadonlyArray<keyof N>): Generator<Node> {
  for (const name of names) {
    for (const other of nodes(node[name] as Node)) {
      // A finalizer stays a step.
      if (name === "last" || name === "first" ? other._tag === "Step" : true) yield { ...node, [name]: other }
    }
  }
}

export function* nodes(node: Node): Generator<Node> {
  if (!isTrivial(node)) {
    yield empty
    yield step()
  }
  switch (node._tag) {
    case "Step":
      if (node.fault !== "none") yield { ...node, fault: "none" }
      if (node.times > 1) yield { ...node, times: 1 }
      if (node.undo) yield { ...node, undo: false }
      for (const millis of new Set([0, 1, node.millis >> 1])) if (millis < node.millis) yield { ...node, millis }
      return
    case "Sleep":
    case "Pause":
      for (const millis of new Set([0, 1, node.millis >> 1])) if (millis < node.millis) yield { ...node, millis }
      return
    case "Signal":
      for (const at of new Set([0, 1, node.at >> 1])) if (at < node.at) yield { ...node, at }
      return
    case "Seq":
      if (node.nodes.length === 1) yield* node.nodes
      // Sequences in sequences are one.
      if (node.nodes.some(({ _tag }) => _tag === "Seq")) {
        yield seq(...node.nodes.flatMap((one) => (one._tag === "Seq" ? one.nodes : [one])))
      }
      for (const list of lists(node.nodes, 0, nodes)) yield { ...node, nodes: list }
      return
    case "All":
      yield seq(...node.nodes)
      for (const list of lists(node.nodes, 1, nodes)) yield { ...node, nodes: list }
      if (node.how === "forEach") yield { ...node, how: "all" }
      if (node.bound !== 0) yield { ...node, bound: 0 }
      return
    case "Tie":
      yield* node.nodes
      for (const list of lists(node.nodes, 2, nodes)) yield { ...node, nodes: list }
      if (node.how !== "raceAll") yield { ...node, how: "raceAll" }
      return
    case "Handle":
    case "Transaction":
      yield node.node
      yield* fields(node, "node")
      return
    case "Meet":
      yield seq(node.node, node.last)
      yield* fields(node, "node", "last")
      return
    case "Ensuring":
      yield seq(node.node, node.last)
      if (node.how === "onExit") yield { ...node, how: "ensuring" }
      yield* fields(node, "node", "last")
      return
    case "Use":
      yield { _tag: "Ensuring", how: "ensuring", node: seq(node.first, node.node), last: node.last }
      yield* fields(node, "first", "node", "last")
      return
    case "Recover":
      yield node.node
      yield node.other
      if (node.strategy !== "skip") yield { ...node, strategy: "skip" }
      if (node.times > 1) yield { ...node, times: 1 }
      yield* fields(node, "node", "other")
      return
    case "Race":
      yield node.winner
      for (const { before } of node.losers) yield before
      for (const losers of lists(node.losers, 1, smallerLosers)) yield { ...node, losers }
      yield* fields(node, "winner")
      if (node.at > 0) yield { ...node, at: 0 }
      if (node.how !== "raceAll") yield { ...node, how: "raceAll" }
      return
  }
}

function* smallerLosers(loser: Loser): Generator<Loser> {
  if (loser.around !== "nothing") yield { ...loser, around: "nothing" }
  for (const before of nodes(loser.before)) yield { ...loser, before }
  for (const after of nodes(loser.after)) yield { ...loser, after }
  if (loser.long !== "pause") yield { ...loser, long: "pause" }
}
