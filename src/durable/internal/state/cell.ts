import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import { JournalError } from "../../RunError.js"
import { Run, stop } from "../execution/execution.js"
import { type Codec, valueCodec } from "../journal/codec.js"
import { type Address, CellsTag, type Written } from "./service.js"

/** A cell as its operations see it: where it is, and how its value is written. */
export interface Cell<A> {
  readonly address: Address
  readonly codec: Codec<A>
  readonly initial: A
  readonly ttl: Duration.Duration | undefined
}

export const makeCell = <A>(
  schema: Schema.Schema.All,
  address: Address,
  initial: A,
  ttl: Duration.DurationInput | undefined
): Cell<A> => ({
  address,
  // The codec is that of the schema the initial value is of.
  codec: valueCodec(schema) as Codec<A>,
  initial,
  ttl: ttl === undefined ? undefined : Duration.decode(ttl)
})

/** What cannot be written or read stops the run; without a run it is a defect, since the types have been lied to. */
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

/** Decoded anew each time, so that nobody shares it; and so is the initial value. */
export const decode = <A, R>(cell: Cell<A>, written: Written | undefined): Effect.Effect<A, never, R> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const expired = written !== undefined && cell.ttl !== undefined && now - written.at >= Duration.toMillis(cell.ttl)
    const text = written === undefined || expired ? encode(cell, cell.initial) : Effect.succeed(written.text)
    // What the schema needs is in the type of the cell's operations.
    return Effect.flatMap(text, (text) =>
      Effect.catchAll(cell.codec.decode(text), orStop(cell, "Decode"))
    ) as Effect.Effect<A, never, R>
  })

/** The same for who looks at a run from outside. */
export const read = <A, R>(cell: Cell<A>, { text }: Written, run: string): Effect.Effect<A, JournalError, R> =>
  // What the schema needs is in the type of the cell's operations.
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

/** Writes what is made of the value that is there; answers with both. */
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
