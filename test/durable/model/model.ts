import type { Node, Program, Target } from "./program.js"

/**
 * What a program does, as a list of completed work that is kept
 * until a rewind forgets it, and exceptions for everything that leaves the straight path.
 */
interface Record {
  readonly key: string
  readonly type: "step" | "checkpoint" | "write" | "rollback"
  readonly order: number
  /** Its own latest journal line. */
  last: number
  readonly pivot: boolean
  readonly undo: string | undefined
  outcome: "done" | "half" | "Bad" | `Refused ${string}`
  /** The line that says that it was compensated. */
  undoneAt: number | undefined
  readonly add: number
}

class Failure {
  readonly error: string
  constructor(error: string) {
    this.error = error
  }
}
class Interrupted {}
class Rewinding {
  readonly after: number
  readonly within: string
  constructor(after: number, within: string) {
    this.after = after
    this.within = within
  }
}

export interface Outcome {
  readonly ledger: ReadonlyArray<string>
  readonly outcome: string
  readonly state: number
}

export const interpret = (program: Program): Outcome => {
  const ledger: Array<string> = []
  const records = new Map<string, Record>()
  const interruptedOnce = new Set<string>()
  const failedOnce = new Set<string>()
  const rewinds = new Map<string, number>()
  let clock = 0

  const add = (key: string, type: Record["type"], more: Partial<Record> = {}): Record => {
    clock++
    const record: Record = {
      key,
      type,
      order: clock,
      last: clock,
      pivot: false,
      undo: undefined,
      outcome: "done",
      undoneAt: undefined,
      add: 0,
      ...more
    }
    records.set(key, record)
    return record
  }

  const latest = ({ last, undoneAt }: Record) => undoneAt ?? last

  const inside = (section: string) => [...records.values()].filter(({ key }) => key.startsWith(section))

  /** The steps to compensate, last first. Includes a pivot that has or may have happened. */
  const pending = (section: string) =>
    inside(section)
      .filter(
        ({ outcome, pivot, undo, undoneAt }) =>
          undoneAt === undefined && (undo !== undefined || (pivot && outcome !== "Bad"))
      )
      .sort((a, b) => b.order - a.order)

  const undoAll = (undos: ReadonlyArray<Record>): string | undefined => {
    for (const record of undos) {
      if (record.pivot) return record.key
      ledger.push(`undo ${record.undo} ${record.outcome === "done" ? "full" : "half"}`)
      record.undoneAt = ++clock
    }
    return undefined
  }

  const forget = (after: number, within: string) => {
    for (const record of inside(within)) if (latest(record) > after) records.delete(record.key)
  }

  const run = (nodes: ReadonlyArray<Node>, section: string, transaction: string | undefined): void => {
    for (const node of nodes) visit(node, section, transaction)
  }

  const visit = (node: Node, section: string, transaction: string | undefined): void => {
    const key = section + node.name
    switch (node._tag) {
      case "Write":
        if (!records.has(`${key}@`)) add(`${key}@`, "write", { add: node.add })
        return
      case "Checkpoint":
        if (!records.has(`${key}!`)) add(`${key}!`, "checkpoint")
        return
      case "Transaction":
        transact(node, `${key}/`)
        return
      case "Step":
        step(node, key)
        return
      case "Rewind":
        rewind(node, key, section, transaction)
        return
    }
  }

  const answer = ({ outcome }: Record) => {
    if (outcome !== "done") throw new Failure(outcome)
  }

  const step = (node: Node & { readonly _tag: "Step" }, key: string) => {
    const known = records.get(key)
    if (known !== undefined && known.outcome !== "half") {
      answer(known)
      return
    }
    const record =
      known ??
      add(key, "step", {
        pivot: node.kind === "pivot",
        undo: node.kind === "undone" ? node.name : undefined,
        outcome: "half"
      })
    ledger.push(`begin ${node.name}`)
    if (node.interrupted && !interruptedOnce.has(node.name)) {
      interruptedOnce.add(node.name)
      throw new Interrupted()
    }
    ledger.push(`end ${node.name}`)
    record.outcome = node.fails ? "Bad" : "done"
    record.last = ++clock
    answer(record)
  }

  const transact = (node: Node & { readonly _tag: "Transaction" }, section: string): void => {
    try {
      run(node.body, section, section)
    } catch (left) {
      if (left instanceof Rewinding) throw left
      const undos = pending(section)
      const known = records.get(section)
      if (left instanceof Interrupted) {
        if (undos.length > 0 && !undos.some(({ pivot }) => pivot)) {
          undoAll(undos)
          forget(0, section)
        }
        throw left
      }
      if (!(left instanceof Failure)) throw left
      const writes = inside(section).some(({ type }) => type === "write")
      const pivot = known === undefined ? undoAll(undos) : known.outcome === "done" ? undefined : "pivot"
      if (known === undefined && (undos.length > 0 || writes)) {
        add(section, "rollback", { outcome: pivot === undefined ? "done" : "half" })
      }
      const error = pivot === undefined ? left.error : `RollbackFailed ${left.error}`
      if (!node.handled) throw new Failure(error)
    }
  }

  /** The section and the sections around it. */
  const outwards = (section: string): ReadonlyArray<string> => {
    const parts = section.split("/").slice(0, -1)
    return [...parts.map((_, i) => `${parts.slice(0, parts.length - i).join("/")}/`), ""]
  }

  const locate = (to: Target, section: string, transaction: string | undefined) => {
    if (to === "start") return { after: 0, within: "" }
    if (to === "transaction") return transaction === undefined ? undefined : { after: 0, within: transaction }
    if (to === "checkpoint") {
      const within = outwards(section).find((section) => inside(section).some(({ type }) => type === "checkpoint"))
      const found = inside(within ?? "").filter(({ type }) => type === "checkpoint")
      const last = found.sort((a, b) => b.order - a.order)[0]
      return last && { after: last.order, within: within ?? "" }
    }
    for (const within of outwards(section)) {
      const found = records.get(within + to.step)
      if (found?.type === "step") return { after: found.order - 1, within }
    }
    const { step } = to
    const anywhere = [...records.values()].find(({ key, type }) => type === "step" && key.endsWith(`/${step}`))
    return anywhere && { after: anywhere.order - 1, within: "" }
  }

  const obstacle = ({ after, within }: { readonly after: number; readonly within: string }): string | undefined => {
    const forgotten = inside(within).filter((record) => latest(record) > after)
    if (forgotten.some(({ outcome, pivot }) => pivot && outcome !== "Bad")) return "Pivot"
    const rollbacks = [...records.values()].filter(({ type }) => type === "rollback")
    // A step that would be kept was compensated after the point.
    const blocked = rollbacks.some(
      (rollback) =>
        ((rollback.last > after && rollback.key.startsWith(within)) || within.startsWith(rollback.key)) &&
        inside(rollback.key).some(({ last, type }) => type === "step" && last <= after)
    )
    return blocked ? "Compensated" : undefined
  }

  const rewind = (
    node: Node & { readonly _tag: "Rewind" },
    key: string,
    section: string,
    transaction: string | undefined
  ): void => {
    const known = records.get(key)
    if (known !== undefined) {
      answer(known)
      return
    }
    const record = add(key, "step", { outcome: "half" })
    ledger.push(`begin ${node.name}`)
    if (failedOnce.has(node.name)) {
      record.outcome = "done"
      record.last = ++clock
      return
    }
    failedOnce.add(node.name)
    const place = locate(node.to, section, transaction)
    const refused = place === undefined ? "Unknown" : obstacle(place)
    if (place !== undefined && refused === undefined) {
      rewinds.set(node.name, 1)
      throw new Rewinding(place.after, place.within)
    }
    record.outcome = `Refused ${refused}`
    record.last = ++clock
    answer(record)
  }

  const sum = () => {
    const rolledBack = [...records.values()].filter(({ type }) => type === "rollback")
    return [...records.values()]
      .filter(({ key }) => !rolledBack.some((rollback) => key.startsWith(rollback.key)))
      .reduce((sum, { add }) => sum + add, 0)
  }

  for (;;) {
    try {
      run(program, "", undefined)
      return { ledger, outcome: "done", state: sum() }
    } catch (left) {
      if (left instanceof Failure) return { ledger, outcome: left.error, state: sum() }
      if (left instanceof Rewinding) {
        const { after, within } = left
        const keys = new Set(
          inside(within)
            .filter((record) => latest(record) > after)
            .map(({ key }) => key)
        )
        undoAll(pending(within).filter(({ key }) => keys.has(key)))
        forget(after, within)
      } else if (!(left instanceof Interrupted)) throw left
    }
  }
}
