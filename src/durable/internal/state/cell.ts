import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import { type Codec, secretly, valueCodec } from "../../../journal/JournalCodec.js"
import { JournalError } from "../../../journal/RunError.js"
import { checkName } from "../../../resilience/InvalidName.js"
import { millis } from "../../../resilience/internal/kernel/options.js"
import type { Written } from "../execution/cells.js"
import { Run, stop } from "../execution/execution.js"
import { type Address, CellsTag } from "./service.js"

/** The address of a cell, and how its values are encoded. */
export interface Cell<A> {
  readonly address: Address
  readonly codec: Codec<A>
  readonly initial: A
  /** In milliseconds. */
  readonly ttl: number | undefined
}

export const makeCell = <A>(
  schema: Schema.Schema.All,
  address: Address,
  initial: A,
  ttl: Duration.DurationInput | undefined,
  isPrivate = false
): Cell<A> => ({
  address: { ...address, name: checkName("state", address.name) },
  // The initial value is of the type of the schema.
  codec: (isPrivate ? secretly(valueCodec(schema)) : valueCodec(schema)) as Codec<A>,
  initial,
  ttl: ttl === undefined ? undefined : millis("ttl", ttl, 1)
})

/** A value that cannot be encoded or decoded stops the run. Outside of runs it is a defect: the value violates its type. */
const orStop =
  ({ address }: Pick<Cell<never>, "address">, reason: "Encode" | "Decode") =>
  (cause: unknown): Effect.Effect<never> =>
    Effect.withFiberRuntime((fiber) => {
      const run = Context.getOption(fiber.currentContext, Run)
      const record = `state "${address.name}"`
      if (Option.isNone(run)) return Effect.die(new JournalError({ reason, run: undefined, record, cause }))
      const { id, execution } = run.value
      return stop(execution, new JournalError({ reason, run: id, record, cause }))
    })

/** Decodes at each read, also the initial value, so that readers share no objects. */
export const decode = <A, R>(cell: Cell<A>, written: Written | undefined): Effect.Effect<A, never, CellsTag | R> => {
  const decodeText = (text: string | undefined) => Effect.catchAll(cell.codec.decode(text), orStop(cell, "Decode"))
  const decoded = Effect.flatMap(isExpired(cell, written), (expired) =>
    written === undefined || expired ? Effect.flatMap(encode(cell, cell.initial), decodeText) : decodeText(written.text)
  )
  // The requirements of the schema are in the type of the cell's operations.
  return decoded as Effect.Effect<A, never, CellsTag | R>
}

const isExpired = (
  { ttl }: Pick<Cell<never>, "ttl">,
  written: Written | undefined
): Effect.Effect<boolean, never, CellsTag> =>
  ttl === undefined || written === undefined
    ? Effect.succeed(false)
    : // A write of the far future was made before the clock was set back: its age is unknown, but not below its distance.
      Effect.flatMap(CellsTag, ({ now }) => Effect.map(now, (now) => Math.abs(now - written.at) >= ttl))

/** Decodes a value for a reader outside of the run. */
export const read = <A, R>(cell: Cell<A>, { text }: Written, run: string): Effect.Effect<A, JournalError, R> =>
  // The requirements of the schema are in the type of the cell's operations.
  Effect.mapError(
    cell.codec.decode(text),
    (cause) => new JournalError({ reason: "Decode", run, record: `state "${cell.address.name}"`, cause })
  ) as Effect.Effect<A, JournalError, R>

export const encode = <A, R>(cell: Cell<A>, value: A): Effect.Effect<string | undefined, never, R> =>
  Effect.catchAll(cell.codec.encode(value), orStop(cell, "Encode")) as Effect.Effect<string | undefined, never, R>

export const get = <A, R>(cell: Cell<A>): Effect.Effect<A, never, CellsTag | R> =>
  Effect.flatMap(CellsTag, (cells) =>
    Effect.flatMap(cells.history(cell.address, 1), ([written]) => decode<A, R>(cell, written))
  )

/** Writes the value that `change` makes from the current one. */
export const write = <A, E, R, R2>(
  cell: Cell<A>,
  change: (previous: A) => Effect.Effect<A, E, R2>
): Effect.Effect<void, E, CellsTag | R | R2> =>
  Effect.flatMap(CellsTag, (cells) =>
    Effect.asVoid(
      cells.write(cell.address, (written) =>
        Effect.flatMap(decode<A, R>(cell, written), (previous) =>
          Effect.flatMap(change(previous), (next) => encode<A, R>(cell, next))
        )
      )
    )
  )
