import * as FastCheck from "effect/FastCheck"

/** The parts of a random program. Every name is used once, so keys are paths of names. */
export type Node =
  | {
      readonly _tag: "Step"
      readonly name: string
      readonly kind: "plain" | "undone" | "pivot"
      /** Fails every time. */
      readonly fails: boolean
      /** The test interrupts the run in the middle of this step's first execution. */
      readonly interrupted: boolean
    }
  | {
      readonly _tag: "Transaction"
      readonly name: string
      readonly body: ReadonlyArray<Node>
      readonly handled: boolean
    }
  | { readonly _tag: "Checkpoint"; readonly name: string }
  | { readonly _tag: "Write"; readonly name: string; readonly add: number }
  /** A step that fails once and then rewinds. */
  | { readonly _tag: "Rewind"; readonly name: string; readonly to: Target }

export type Target = "start" | "transaction" | "checkpoint" | { readonly step: string }

export type Program = ReadonlyArray<Node>

/** Names are assigned afterwards, so they stay distinct when a program shrinks. */
interface Shape {
  readonly kind: number
  readonly flags: number
  readonly body: ReadonlyArray<Shape>
  readonly pick: number
}

const shape = (depth: number): FastCheck.Arbitrary<Shape> =>
  FastCheck.record({
    kind: FastCheck.integer({ min: 0, max: 15 }),
    flags: FastCheck.integer({ min: 0, max: 31 }),
    pick: FastCheck.nat({ max: 1_000 }),
    body: depth === 0 ? FastCheck.constant([]) : FastCheck.array(shape(depth - 1), { minLength: 2, maxLength: 5 })
  })

export const programs: FastCheck.Arbitrary<Program> = FastCheck.array(shape(2), { minLength: 3, maxLength: 7 }).map(
  (shapes) => {
    const names: Array<string> = []
    const nodes = shapes.map((shape) => named(shape, names, 0))
    return nodes
  }
)

const named = ({ body, flags, kind, pick }: Shape, names: Array<string>, depth: number): Node => {
  const fresh = (letter: string) => {
    const name = `${letter}${names.length}`
    names.push(name)
    return name
  }
  if (kind < 7) {
    const name = fresh("s")
    const undo = (["plain", "undone", "undone", "pivot"] as const)[flags % 4] ?? "plain"
    // Most steps succeed, or programs would end too early.
    return { _tag: "Step", name, kind: undo, fails: pick % 12 === 0, interrupted: pick % 9 === 1 }
  }
  if (kind < 11 && body.length > 0 && depth < 2) {
    const name = fresh("t")
    return {
      _tag: "Transaction",
      name,
      handled: flags % 2 === 0,
      body: body.map((node) => named(node, names, depth + 1))
    }
  }
  if (kind < 12) return { _tag: "Checkpoint", name: fresh("c") }
  if (kind < 14) return { _tag: "Write", name: fresh("w"), add: 1 + (pick % 9) }
  const earlier = names[pick % Math.max(1, names.length)] ?? "nothing"
  const to =
    (["start", "transaction", "checkpoint", { step: earlier }, { step: earlier }] as const)[flags % 5] ?? "start"
  return { _tag: "Rewind", name: fresh("r"), to }
}
