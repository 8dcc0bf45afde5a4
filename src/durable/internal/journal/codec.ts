import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import { globalValue } from "effect/GlobalValue"
import * as Schema from "effect/Schema"
import { AttemptTimeout, RecoveryExhausted, RewindRefused } from "../../../resilience/RecoveryError.js"
import { StepAmbiguous } from "../../RunError.js"
import { Defect } from "./defect.js"
import { graphFailed } from "./graphFailed.js"
import { sortKeys, toJsonText } from "./json.js"
import { rollbackFailed } from "./rollbackFailed.js"

/** JSON text for a value; `undefined` for the undefined value, which JSON does not know. */
export interface Codec<A> {
  readonly encode: (value: A) => Effect.Effect<string | undefined, unknown, unknown>
  readonly decode: (text: string | undefined) => Effect.Effect<A, unknown, unknown>
}

type AnySchema = Schema.Schema<unknown, unknown, unknown>

const make = <A>(schema: AnySchema): Codec<A> => {
  // At their first use, since a schema may refer to one that is defined after it.
  let encode: ReturnType<typeof Schema.encode<unknown, unknown, unknown>> | undefined
  let decode: ReturnType<typeof Schema.decodeUnknown<unknown, unknown, unknown>> | undefined
  return {
    encode: (value) => {
      encode ??= Schema.encode(schema)
      return Effect.flatMap(encode(value), toText)
    },
    decode: (text) => {
      decode ??= Schema.decodeUnknown(schema)
      const read = decode
      // The schema decodes to A; here it is only known as some schema.
      return Effect.flatMap(fromText(text), (json) => read(json) as Effect.Effect<A, unknown, unknown>)
    }
  }
}

const toText = (json: unknown): Effect.Effect<string | undefined, unknown> => {
  try {
    return Effect.succeed(toJsonText(json))
  } catch (cause) {
    return Effect.fail(cause)
  }
}

const fromText = (text: string | undefined): Effect.Effect<unknown, unknown> => {
  if (text === undefined) return Effect.succeed(undefined)
  try {
    return Effect.succeed(JSON.parse(text))
  } catch (cause) {
    return Effect.fail(cause)
  }
}

const memoised = <A>(
  name: string,
  build: (schema: AnySchema) => Codec<A>
): ((schema: Schema.Schema.All) => Codec<A>) => {
  const cache = globalValue(`effect-recovery/codec/${name}`, () => new WeakMap<object, Codec<A>>())
  return (schema) => {
    const known = cache.get(schema)
    if (known !== undefined) return known
    // `Schema.All` admits `never` in its parameters; encoding and decoding only ever see matching values.
    const codec = build(schema as AnySchema)
    cache.set(schema, codec)
    return codec
  }
}

/** What a step can fail with: its own errors and those a recovery adds. */
const stepFailure = (error: AnySchema): AnySchema => {
  const raw = Schema.Union(error, AttemptTimeout, StepAmbiguous, RewindRefused)
  return Schema.Union(raw, RecoveryExhausted.schema(raw)) as AnySchema
}

/** And a workflow: those of rollbacks and recoveries, inside of one another as transactions can be. */
const failureOf = (error: AnySchema): AnySchema => {
  const inside = Schema.suspend((): AnySchema => all)
  const all = Schema.Union(
    stepFailure(error),
    rollbackFailed(inside),
    graphFailed(inside),
    RecoveryExhausted.schema(inside)
  ) as AnySchema
  return all
}

/** For the value of a step, a workflow's input and its result. */
export const valueCodec: (schema: Schema.Schema.All) => Codec<unknown> = memoised("value", make)

/** For one error of a step. */
export const errorCodec: (schema: Schema.Schema.All) => Codec<unknown> = memoised("error", (error) =>
  make(stepFailure(error))
)

/** For everything that went wrong. Building it is slow, so it waits for the first failure. */
export const causeCodec: (schema: Schema.Schema.All) => Codec<Cause.Cause<unknown>> = memoised("cause", (error) =>
  make(Schema.Cause({ error: failureOf(error), defect: Defect }) as AnySchema)
)

let undo: Codec<Cause.Cause<unknown>> | undefined

/** For everything that went wrong with a compensation; its errors have no schema. */
export const undoCodec = (): Codec<Cause.Cause<unknown>> => {
  undo ??= make(Schema.Cause({ error: Defect, defect: Defect }) as AnySchema)
  return undo
}

/** One text per value, whatever the order of its keys. */
export const canonical = (text: string | undefined): string =>
  text === undefined ? "" : /^[[{]/.test(text) ? JSON.stringify(sortKeys(JSON.parse(text))) : text
