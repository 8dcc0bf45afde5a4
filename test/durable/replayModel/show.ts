import { backoff, type Case, type Loser, long, type Node, type Stop } from "./program.js"

const indent = (text: string): string => text.replace(/^/gm, "  ")

const list = (texts: ReadonlyArray<string>): string => texts.map((text) => `${indent(text)}`).join(",\n")

const call = (name: string, texts: ReadonlyArray<string>): string => `${name}(\n${list(texts)}\n)`

/** Prints a program as the code that it stands for. */
export const showNode = (node: Node): string => {
  switch (node._tag) {
    case "Step": {
      const options = [
        ...(node.millis > 0 ? [`takes: ${node.millis}`] : []),
        ...(node.fault === "fails" || node.fault === "dies" ? [`${node.fault}: true`] : []),
        ...(node.fault === "uses" ? [`failsInItsFirstUses: ${node.times}`] : []),
        ...(node.fault === "attempts" ? [`failsAttempts: ${node.times}, retryDelay: ${backoff}`] : []),
        ...(node.undo ? ["compensate: true"] : [])
      ]
      return `step("${node.name}"${options.length === 0 ? "" : `, { ${options.join(", ")} }`})`
    }
    case "Sleep":
      return `Workflow.sleep(${node.millis}, { name: "${node.name}" })`
    case "Pause":
      return node.how === "sleep" ? `Effect.sleep(${node.millis})` : "Effect.promise(threeTurns)"
    case "Signal":
      return `signal("${node.name}", { sentAt: ${node.at} }).wait()`
    case "Seq":
      return node.nodes.length === 1 && node.nodes[0] !== undefined
        ? showNode(node.nodes[0])
        : node.nodes.length === 0
          ? "Effect.void"
          : call("sequence", node.nodes.map(showNode))
    case "All": {
      const bound = node.bound === 0 ? '"unbounded"' : node.bound
      return call(`Effect.${node.how}`, [`[\n${list(node.nodes.map(showNode))}\n]`, `{ concurrency: ${bound} }`])
    }
    case "Handle":
      return call("handleFailure", [showNode(node.node)])
    case "Meet":
      return call("Effect.all", [
        `[\n${list([
          `signal("${node.name}", { sentAfter: "${node.last.name}" }).wait()`,
          call("sequence", [showNode(node.node), showNode(node.last)])
        ])}\n]`,
        '{ concurrency: "unbounded" }'
      ])
    case "Race":
      return showRace(node)
    case "Tie":
      return `${call(`Effect.${node.how}`, node.nodes.map(showNode))} then step("${node.name}=winner")`
    case "Recover": {
      const strategies = {
        retry: `Strategy.retry(fixed({ maxRetries: ${node.times}, delay: ${backoff} }))`,
        skip: "Strategy.skip()",
        alternate: `Strategy.alternate(${node.strategy === "alternate" ? showNode(node.other) : ""})`
      }
      return `${showNode(node.node)}\n  .pipe(Recovery.recover({ Bad: ${strategies[node.strategy]} }))`
    }
    case "Transaction":
      return call("Transaction.run", [showNode(node.node), `{ name: "${node.name}" }`])
    case "Ensuring":
      return call(`Effect.${node.how}`, [showNode(node.node), showNode(node.last)])
    case "Use":
      return call("Effect.acquireUseRelease", [showNode(node.first), showNode(node.node), showNode(node.last)])
  }
}

const showRace = ({ at, how, losers, winner }: Node & { readonly _tag: "Race" }): string => {
  const shown = losers.map(showLoser)
  if (how === "timeout") return call("Effect.timeoutTo", [...shown, '{ duration: 5, onTimeout: () => "timeout" }'])
  if (how === "interrupt")
    return `${shown.map((one) => call("fork", [one])).join("\n")}\n${showNode(winner)}\ninterrupt the forked`
  const ready = how === "failFast" ? call("sequence", [showNode(winner), 'Effect.fail("fast")']) : showNode(winner)
  const branches = [...shown.slice(0, at), ready, ...shown.slice(at)]
  return call(how === "failFast" ? "Effect.all" : `Effect.${how}`, branches)
}

const showLoser = (loser: Loser): string => {
  const waits = {
    step: `step("${loser.name}", { takes: ${long} })`,
    sleep: `Workflow.sleep(${long}, { name: "${loser.name}" })`,
    pause: `Effect.sleep(${long})`,
    signal: `signal("${loser.name}", { sentAt: never }).wait()`
  }
  const branch = call("sequence", [showNode(loser.before), waits[loser.long], showNode(loser.after)])
  if (loser.around === "transaction") return call("Transaction.run", [branch, `{ name: "${loser.name}" }`])
  return loser.around === "ensuring" ? call("Effect.ensuring", [branch, `step("${loser.name}-finally")`]) : branch
}

const showStop = ({ kind, outage, when, write }: Stop): string =>
  `${kind} ${when} write ${write}, the next execution ${outage} ms later`

/** Prints a program with its stops. */
export const show = ({ body, by, skews = [], slowness, stops }: Case): string =>
  [
    showNode(body),
    "",
    `executed by ${by === "caller" ? "Workflow.execute" : "a worker"}${slowness.some((n) => n > 0) ? `, writes take [${slowness.join(", ")}] turns` : ""}`,
    ...(skews.length > 0 ? [`the clocks of its processes are ahead by ${skews.join(", ")} ms, in rotation`] : []),
    ...stops.map((stop, i) => `execution ${i + 1}: ${showStop(stop)}`),
    `execution ${stops.length + 1} and later: nothing stops them`
  ].join("\n")
