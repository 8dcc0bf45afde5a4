/**
 * A ledger of external effects: the services of a test record each effect and each
 * compensation in it. It outlives the processes that are killed.
 *
 * @since 0.1.0
 */

import * as fs from "node:fs"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { stepOf } from "../durable/TestHooks.js"

/**
 * One effect or one compensation.
 *
 * @since 0.1.0
 * @category models
 */
export interface Line {
  /** The name that the test gives it. */
  readonly effect: string
  readonly kind: "done" | "undone"
  /** The step that ran it; `undefined` outside of steps. */
  readonly step: string | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Service {
  readonly add: (line: Line) => Effect.Effect<void>
  readonly lines: Effect.Effect<ReadonlyArray<Line>>
}

/**
 * @since 0.1.0
 * @category services
 */
export class Ledger extends Context.Tag("effect-recovery/testing/Ledger")<Ledger, Service>() {}

/**
 * Records that an effect happened.
 *
 * @since 0.1.0
 * @category notes
 */
export const done = (effect: string): Effect.Effect<void, never, Ledger> => record("done", effect)

/**
 * Records that an effect was compensated.
 *
 * @since 0.1.0
 * @category notes
 */
export const undone = (effect: string): Effect.Effect<void, never, Ledger> => record("undone", effect)

const record = (kind: Line["kind"], effect: string): Effect.Effect<void, never, Ledger> =>
  Effect.withFiberRuntime((fiber) =>
    Effect.flatMap(Ledger, (ledger) => ledger.add({ effect, kind, step: stepOf(fiber) }))
  )

/**
 * @since 0.1.0
 * @category notes
 */
export const lines: Effect.Effect<ReadonlyArray<Line>, never, Ledger> = Effect.flatMap(Ledger, (ledger) => ledger.lines)

/**
 * A ledger in memory.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<Service> = Effect.sync(() => {
  const all: Array<Line> = []
  return {
    add: (line) => Effect.sync(() => void all.push(line)),
    lines: Effect.sync(() => [...all])
  }
})

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Ledger> = Layer.effect(Ledger, make)

/**
 * A ledger in a file, with one line of JSON for each entry. Each entry is on disk
 * before the program continues, so a kill right after it loses nothing.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerFile = (path: string): Layer.Layer<Ledger> =>
  Layer.succeed(Ledger, {
    add: (line) =>
      Effect.sync(() => {
        const file = fs.openSync(path, "a")
        fs.writeSync(file, `${JSON.stringify(line)}\n`)
        fs.fsyncSync(file)
        fs.closeSync(file)
      }),
    lines: Effect.sync(() => readFile(path))
  })

/** An empty ledger has no file. */
const readFile = (path: string): ReadonlyArray<Line> => {
  if (!fs.existsSync(path)) return []
  const text = fs.readFileSync(path, "utf8")
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line))
}
