import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { globalValue } from "effect/GlobalValue"
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import { Defect } from "../resilience/Defect.js"
import * as Fault from "../resilience/Fault.js"
import { FaultRecord, recordOf, restoreFault } from "../resilience/FaultRecord.js"
import { AttemptTimeout, RecoveryExhausted, RewindRefused } from "../resilience/RecoveryError.js"
import { encodedByStorage, isEncoded } from "../storage/encodedText.js"
import { RollbackFailed } from "../transaction/RollbackFailed.js"
import { NotRecordable, refuseHidden, sortKeys, textOf, toJsonText } from "./CanonicalJson.js"
import { plainCheck } from "./PlainValue.js"
import { GraphFailed, RunCancelled, RunNotFound, StepAmbiguous } from "./RunError.js"
import { isSame } from "./SameValue.js"
import { partsOf, somePart } from "./SchemaParts.js"
import { asSecret, holdsSecrets, withoutPaths, withSecrets } from "./Secrets.js"

/** Converts between values and JSON text; undefined has no text. */
export interface Codec<A> {
  readonly encode: (value: A) => Effect.Effect<string | undefined, unknown, unknown>
  readonly decode: (text: string | undefined) => Effect.Effect<A, unknown, unknown>
}

type AnySchema = Schema.Schema<unknown, unknown, unknown>

/** What a codec proves when it writes a value: that it can be read, or that the same value is read. */
type Proof = "readable" | "same"

const make = <A>(schema: AnySchema, proof: Proof): Codec<A> => {
  // Built at the first use: a schema may refer to one that is defined after it.
  const encode = lazily(() => Schema.encode(schema))
  const decode = lazily(() => Schema.decodeUnknown(schema))
  const isOpen = once(() => hasOpenPart(schema.ast))
  // Values of a schema that transforms nothing are their own JSON, so they need not be read back.
  const isOwnJson = once(() => AST.encodedBoundAST(schema.ast) === schema.ast)
  const isSecret = once(() => holdsSecrets(schema.ast))
  let plain: { readonly isPlain: (value: unknown) => boolean } | undefined
  const isPlain = (value: unknown): boolean => {
    plain ??= { isPlain: plainCheck(schema.ast) ?? (() => false) }
    return plain.isPlain(value)
  }

  const readBack = (value: A, text: string | undefined): Effect.Effect<string | undefined, unknown, unknown> => {
    const back = Effect.flatMap(fromText(text), (json) => totally(() => decode(json)))
    return Effect.flatMap(back, (found) =>
      proof === "readable" || isSame(value, found) ? Effect.succeed(text) : Effect.fail(readsDifferently())
    )
  }

  const write = (value: A, json: unknown): Effect.Effect<string | undefined, unknown, unknown> => {
    try {
      const text = toJsonText(json)
      // An error is read field by field, so only its JSON shows what a field holds.
      if (proof === "readable") refuseHidden(json)
      else if (isOpen()) refuseHidden(value)
      if (isOwnJson()) return Effect.succeed(text)
      const written = readBack(value, text)
      return isSecret() && text !== undefined ? Effect.as(written, withSecrets(schema.ast, json, text)) : written
    } catch (cause) {
      return Effect.fail(cause)
    }
  }

  return {
    encode: (value) => {
      if (isPlain(value)) return atOnce(() => textOf(value))
      const encoded = totally(() => encode(value))
      // Most schemas encode at once, which needs no step of a fiber.
      if (!Either.isEither(encoded)) return Effect.flatMap(encoded, (json) => write(value, json))
      return Either.isLeft(encoded) ? Effect.fail(encoded.left) : write(value, encoded.right)
    },
    // The schema decodes to A; its type is erased here.
    decode: (text) =>
      Effect.flatMap(fromText(text), (json) =>
        isPlain(json) ? Effect.succeed(json) : totally(() => decode(isSecret() ? withoutPaths(json) : json))
      ) as Effect.Effect<A, unknown, unknown>
  }
}

/** A transformation of the user's may throw; then the value does not fit its schema. */
const totally = (self: () => Effect.Effect<unknown, unknown, unknown>): Effect.Effect<unknown, unknown, unknown> => {
  try {
    const made = self()
    return Either.isEither(made) ? made : Effect.catchAllDefect(made, Effect.fail)
  } catch (cause) {
    return Effect.fail(cause)
  }
}

/** Needs no step of a fiber. */
const atOnce = <A>(make: () => A): Effect.Effect<A, unknown> => {
  try {
    return Effect.succeed(make())
  } catch (cause) {
    return Effect.fail(cause)
  }
}

const readsDifferently = () =>
  new NotRecordable("a value", "", "its schema decodes what it encodes to another value; make the two fit each other")

/** Whether a schema admits values whose parts it does not name. */
const hasOpenPart = (ast: AST.AST): boolean =>
  somePart(ast, isOpenPart, true, (part) => (part._tag === "Transformation" ? [part.from] : partsOf(part)))

const isOpenPart = (ast: AST.AST): boolean =>
  AST.isUnknownKeyword(ast) ||
  AST.isAnyKeyword(ast) ||
  AST.isObjectKeyword(ast) ||
  (AST.isTypeLiteral(ast) && ast.indexSignatures.length > 0)

const once = (find: () => boolean): (() => boolean) => {
  let found: boolean | undefined
  return () => {
    found ??= find()
    return found
  }
}

/** Calls `make` at the first use. */
export const lazily = <A, B>(make: () => (a: A) => B): ((a: A) => B) => {
  let made: ((a: A) => B) | undefined
  return (a) => {
    made ??= make()
    return made(a)
  }
}

const fromText = (text: string | undefined): Effect.Effect<unknown, unknown> =>
  text === undefined
    ? Effect.succeed(undefined)
    : Effect.try({ try: () => JSON.parse(text), catch: (cause) => (isEncoded(text) ? encodedByStorage() : cause) })

const memoised = <A>(
  name: string,
  build: (schema: AnySchema) => Codec<A>
): ((schema: Schema.Schema.All) => Codec<A>) => {
  const cache = globalValue(`effect-recovery/codec/${name}`, () => new WeakMap<object, Codec<A>>())
  return (schema) => {
    const known = cache.get(schema)
    if (known !== undefined) return known
    // `Schema.All` admits `never` in its parameters; values always match the schema they are encoded with.
    const codec = build(schema as AnySchema)
    cache.set(schema, codec)
    return codec
  }
}

/** The errors of a step: its own and those a recovery adds. */
const stepFailure = (error: AnySchema): AnySchema => {
  const raw = withOwn(error, error, [AttemptTimeout, StepAmbiguous, RewindRefused])
  return withOwn(error, raw, [RecoveryExhausted.schema(raw)])
}

/**
 * Adds errors of the library to `known`, which has those of the user. An open schema of the user's, such as
 * `Schema.Unknown`, accepts the library's errors too but cannot encode them, so theirs are tried before it.
 */
const withOwn = (user: AnySchema, known: Schema.Schema.All, own: ReadonlyArray<Schema.Schema.All>): AnySchema =>
  Schema.Union(...(acceptsAll(AST.typeAST(user.ast)) ? [...own, known] : [known, ...own])) as AnySchema

const acceptsAll = (ast: AST.AST): boolean =>
  AST.isUnion(ast)
    ? ast.types.some(acceptsAll)
    : AST.isUnknownKeyword(ast) || AST.isAnyKeyword(ast) || AST.isObjectKeyword(ast)

/** The errors of a workflow. Rollbacks, graphs and recoveries nest, so the schema is recursive. */
const failureOf = (error: AnySchema): AnySchema => {
  const inside = Schema.suspend((): AnySchema => all)
  const all = withOwn(error, stepFailure(error), [
    rollbackFailed(causeOf(inside)),
    graphFailed(inside),
    runCancelled,
    runNotFound,
    RecoveryExhausted.schema(inside)
  ])
  return all
}

/** An error class by its fields. */
const errorSchema = (Class: new (props: never) => object, fields: Schema.Struct.Fields): AnySchema => {
  const names = Object.keys(fields)
  const self = Schema.declare((input): input is object => input instanceof Class)
  return Schema.transform(Schema.Struct(fields), self, {
    strict: false,
    // The fields are those of the class.
    decode: (props) => new Class(props as never),
    encode: (error) => Object.fromEntries(names.map((name) => [name, Reflect.get(error, name)]))
  }) as AnySchema
}

const AnyCause = Schema.Cause({ error: Defect, defect: Defect })

/** A finalizer of a transaction dies with `RollbackFailed`, which keeps its class as a defect. */
const causeOf = (error: AnySchema): AnySchema => {
  const defect = Schema.Union(
    Schema.suspend(() => rollback),
    Defect
  )
  const cause = Schema.Cause({ error, defect }) as AnySchema
  const rollback = rollbackFailed(cause)
  return cause
}

const rollbackFailed = (original: AnySchema): AnySchema =>
  errorSchema(RollbackFailed, {
    _tag: Schema.tag("RollbackFailed"),
    transaction: Schema.String,
    original,
    failures: Schema.Array(Schema.Struct({ undo: Schema.String, cause: AnyCause })),
    remaining: Schema.Array(Schema.String),
    pivot: Schema.transform(Schema.NullOr(Schema.String), Schema.UndefinedOr(Schema.String), {
      decode: (pivot) => pivot ?? undefined,
      encode: (pivot) => pivot ?? null
    })
  })

const graphFailed = (error: AnySchema): AnySchema =>
  errorSchema(GraphFailed, {
    _tag: Schema.tag("GraphFailed"),
    graph: Schema.String,
    failures: Schema.Array(Schema.Struct({ node: Schema.String, error })),
    skipped: Schema.Array(Schema.Struct({ node: Schema.String, because: Schema.String })),
    completed: Schema.Array(Schema.String),
    outputs: Schema.Record({ key: Schema.String, value: Schema.Unknown })
  })

/** A child run that was cancelled. */
const runCancelled = errorSchema(RunCancelled, {
  _tag: Schema.tag("RunCancelled"),
  run: Schema.String,
  reason: Schema.String,
  by: Schema.OptionFromNullOr(Schema.String),
  isTerminated: Schema.Boolean,
  kept: Schema.Array(Schema.String)
})

const runNotFound = errorSchema(RunNotFound, { _tag: Schema.tag("RunNotFound"), run: Schema.String })

/** For results of steps, and inputs and results of workflows. */
export const valueCodec: (schema: Schema.Schema.All) => Codec<unknown> = memoised("value", (schema) =>
  make(schema, "same")
)

/** A codec whose values are secrets as a whole. */
export const secretly = <A>({ decode, encode }: Codec<A>): Codec<A> => ({
  encode: (value) => Effect.map(encode(value), (text) => (text === undefined ? undefined : asSecret(text))),
  decode: (text) =>
    Effect.flatMap(fromText(text), (json) =>
      decode(json === undefined ? undefined : JSON.stringify(withoutPaths(json)))
    )
})

/** For an error of a step. */
export const errorCodec: (schema: Schema.Schema.All) => Codec<unknown> = memoised("error", (error) =>
  make(stepFailure(error), "readable")
)

/** For causes. Building it is slow, so it is built at the first failure. */
export const causeCodec: (schema: Schema.Schema.All) => Codec<Cause.Cause<unknown>> = memoised("cause", (error) =>
  withFaults(make(causeOf(failureOf(error)), "readable"))
)

const Faults = Schema.parseJson(Schema.Struct({ faults: Schema.optional(Schema.Array(FaultRecord)) }))
const decodeFaults = Schema.decodeUnknown(Faults)

/**
 * Writes the fault of each failure beside the cause, and restores it on the
 * errors that are read: a schema keeps less of an error than its classification
 * needs, so a resumed program would decide otherwise.
 */
const withFaults = (codec: Codec<Cause.Cause<unknown>>): Codec<Cause.Cause<unknown>> => ({
  encode: (cause) =>
    Effect.zipWith(codec.encode(cause), Fault.classifier(undefined), (text, classify) => {
      const faults = [...Cause.failures(cause)].map((error) => recordOf(classify(error), error))
      // A cause is written as an object.
      return faults.length === 0 ? text : `${text?.slice(0, -1)},"faults":${JSON.stringify(faults)}}`
    }),
  decode: (text) =>
    Effect.zipWith(codec.decode(text), decodeFaults(text), (cause, { faults = [] }) => {
      for (const [i, error] of [...Cause.failures(cause)].entries()) restoreFault(error, faults[i])
      return cause
    })
})

const undoCodec: Codec<Cause.Cause<unknown>> = make(AnyCause as AnySchema, "readable")

/** For causes of compensations. Their errors have no schema and are written as defects, so this cannot fail. */
export const encodeUndoCause = (cause: Cause.Cause<unknown>): Effect.Effect<string | undefined> =>
  Effect.orElse(undoCodec.encode(cause), () =>
    // Only a cause that is nested too deeply comes here.
    Effect.orDie(undoCodec.encode(Cause.die(Cause.squash(cause))))
  ) as Effect.Effect<string | undefined>

export const decodeUndoCause = (text: string): Effect.Effect<Cause.Cause<unknown>, unknown> =>
  undoCodec.decode(text) as Effect.Effect<Cause.Cause<unknown>, unknown>

/** The same text for the same value, whatever the order of its keys. */
const canonical = (text: string | undefined): string =>
  text === undefined ? "" : /^[[{]/.test(text) ? (textOf(sortKeys(JSON.parse(text))) ?? "") : text

/** As the codec of values encodes it, with the same text for the same value, whatever the order of its keys. */
export const encodeCanonical = (schema: Schema.Schema.All, value: unknown): Effect.Effect<string, unknown, unknown> =>
  Effect.flatMap(valueCodec(schema).encode(value), (text) => atOnce(() => canonical(text)))
