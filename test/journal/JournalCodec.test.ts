import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Cause from "effect/Cause"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import * as Schema from "effect/Schema"
import { causeCodec, encodeCanonical, errorCodec, valueCodec } from "../../src/journal/JournalCodec.js"
import { GraphFailed } from "../../src/journal/RunError.js"
import { isSame } from "../../src/journal/SameValue.js"
import * as Fault from "../../src/resilience/Fault.js"
import { AttemptTimeout, RecoveryExhausted } from "../../src/resilience/RecoveryError.js"

const written = (schema: Schema.Schema.All, value: unknown) =>
  Effect.runSync(Effect.either(valueCodec(schema).encode(value) as Effect.Effect<string | undefined, unknown>))

const canonical = (schema: Schema.Schema.All, value: unknown) =>
  Effect.runSync(Effect.either(encodeCanonical(schema, value) as Effect.Effect<string, unknown>))

interface Nested {
  readonly below: ReadonlyArray<Nested>
}

const Nested = Schema.Struct({ below: Schema.Array(Schema.suspend((): Schema.Schema<Nested> => Nested)) })

interface Pair<A> {
  readonly item: A
  readonly left: Pair<A> | null
  readonly right: Pair<string> | null
}

/** A function that makes a recursive schema makes a new one at each level. */
const pairOf = <A, I>(item: Schema.Schema<A, I>): Schema.Schema<Pair<A>, Pair<I>> =>
  Schema.Struct({ item, left: Schema.NullOr(Schema.suspend(() => pairOf(item))), right: Schema.NullOr(texts) })

const texts = Schema.suspend(() => pairOf(Schema.String))

const pair = { item: new Date(5), left: { item: new Date(6), left: null, right: null }, right: null }

const nested = (depth: number): Nested => {
  let value: Nested = { below: [] }
  for (let i = 1; i < depth; i++) value = { below: [value] }
  return value
}

const readBack = (schema: Schema.Schema.All, text: string | undefined) =>
  Effect.runSync(valueCodec(schema).decode(text) as Effect.Effect<unknown, unknown>)

const messageOf = (written: Either.Either<unknown, unknown>) =>
  Either.isLeft(written) ? String((written.left as Error).message) : `written: ${written.right}`

class Point extends Schema.Class<Point>("Point")({ x: Schema.Number, at: Schema.Date }) {}
class Named {
  readonly name = "ada"
}

const cyclic: Record<string, unknown> = { a: 1 }
cyclic.self = { cyclic }

describe("the codec of recorded values", () => {
  it.each<readonly [string, Schema.Schema.All, unknown, string]>([
    ["a date", Schema.DateFromSelf, new Date(0), "a Date at the top"],
    ["a date inside", Schema.Unknown, { order: { at: [new Date(0)] } }, 'a Date at "order.at[0]"'],
    ["a map", Schema.Unknown, new Map([[1, 2]]), "a Map at the top"],
    ["a set in a list", Schema.Unknown, [1, new Set()], 'a Set at "[1]"'],
    ["-0", Schema.Number, -0, "-0 at the top"],
    ["NaN", Schema.Struct({ n: Schema.Number }), { n: Number.NaN }, 'NaN at "n"'],
    ["an undefined element", Schema.Array(Schema.Unknown), [1, undefined], 'an undefined element at "[1]"'],
    ["a bigint", Schema.Unknown, { big: 1n }, 'a bigint at "big"'],
    ["a symbol", Schema.Unknown, { s: Symbol("s") }, 'a symbol at "s"'],
    ["a function", Schema.Unknown, () => 1, "a function at the top"],
    ["a class instance", Schema.Unknown, new Named(), "a Named at the top"],
    ["an error", Schema.Unknown, { error: new TypeError("no") }, 'a TypeError at "error"'],
    ["a cyclic value", Schema.Unknown, cyclic, "contains itself"],
    ["a symbol key", Schema.Unknown, { a: { [Symbol("s")]: 1 } }, 'a property whose key is a symbol at "a"'],
    ["the matches of a pattern", Schema.Unknown, "ab".match(/b/), "an array with properties of its own"],
    [
      "the key __proto__",
      Schema.Record({ key: Schema.String, value: Schema.Number }),
      JSON.parse('{"__proto__":1}'),
      '"__proto__"'
    ],
    ["a map behind JSON text", Schema.parseJson(Schema.Unknown), new Map(), "decodes what it encodes to another value"],
    ["a lossy transformation", Schema.split(","), ["a,b"], "decodes what it encodes to another value"],
    [
      "an offset of a millisecond, which its schema rounds",
      Schema.DateTimeZoned,
      DateTime.unsafeMakeZoned(1, { timeZone: 1 }),
      "another value"
    ],
    ["a subclass", Point, new (class Special extends Point {})({ x: 1, at: new Date(0) }), "another value"],
    [
      "what its own schema cannot read",
      Schema.transform(Schema.Number.pipe(Schema.positive()), Schema.Number, {
        decode: (n) => n,
        encode: (n) => Math.abs(n)
      }),
      -1,
      "another value"
    ]
  ])("refuses %s when it is written, and says where it is", (_, schema, value, expected) => {
    assert.include(messageOf(written(schema, value)), expected)
  })

  it("takes a getter or transformation that throws for a value that does not fit", () => {
    const throws = {
      get now(): number {
        throw new Error("no")
      }
    }
    const broken = Schema.transform(Schema.String, Schema.Unknown, {
      decode: (text) => text,
      encode: () => {
        throw new Error("broken")
      }
    })
    assert.include(messageOf(written(Schema.Unknown, throws)), "no")
    assert.include(messageOf(written(broken, 1)), "broken")
    const later = Schema.Struct({
      part: Schema.suspend((): Schema.Schema<string> => {
        throw new Error("not defined yet")
      })
    })
    assert.include(messageOf(written(later, { part: "a" })), "not defined yet")
  })

  it("takes a getter that throws where JSON reads it for a value that does not fit", () => {
    let reads = 0
    const once = {
      get now(): number {
        if (reads++ > 0) throw new Error("read twice")
        return 1
      }
    }
    assert.include(messageOf(written(Schema.Struct({ now: Schema.Number }), once)), "read twice")
  })

  it("refuses a value that is too deep for one of its passes", () => {
    // Each pass takes more or less of the stack for a level, so each of them is the first one to fail somewhere.
    for (let depth = 1_000; depth <= 3_000; depth += 100) {
      const value = nested(depth)
      for (const text of [written(Nested, value), canonical(Nested, value)]) {
        if (Either.isLeft(text)) assert.match(messageOf(text), /nested too deeply|call stack/)
      }
    }
    assert.isTrue(Either.isLeft(canonical(Nested, nested(20_000))))
  })

  it.each<readonly [string, Schema.Schema.All, unknown]>([
    ["nothing", Schema.Void, undefined],
    ["half an emoji", Schema.String, "\ud83d"],
    ["NUL", Schema.String, "a\u0000b"],
    ["the key __proto__ of unknown values is refused, others stay", Schema.Unknown, { constructor: 1, "..": null }],
    ["an undefined property", Schema.Struct({ a: Schema.UndefinedOr(Schema.Number) }), { a: undefined }],
    ["a class with dates", Point, new Point({ x: 1, at: new Date(5) })],
    ["a pair of a generic schema", pairOf(Schema.Date), pair],
    ["bytes", Schema.Uint8ArrayFromBase64, Buffer.from("abc")],
    ["a map with a schema", Schema.Map({ key: Schema.String, value: Schema.Date }), new Map([["a", new Date(1)]])],
    ["NaN as text", Schema.NumberFromString, Number.NaN],
    ["a bigint as text", Schema.BigInt, 12n],
    ["a time with its zone", Schema.DateTimeZoned, DateTime.unsafeMakeZoned(1, { timeZone: "Europe/Rome" })]
  ])("writes %s, and reads it back", (_, schema, value) => {
    const text = written(schema, value)
    assert.isTrue(Either.isRight(text), messageOf(text))
    if (Either.isRight(text)) assert.isTrue(isSame(value, readBack(schema, text.right)))
  })

  it("reads back whatever it has written, for the schemas of Effect", () => {
    const schemas: ReadonlyArray<Schema.Schema.Any> = [
      Schema.Date,
      Schema.Int,
      Schema.NonEmptyTrimmedString,
      Schema.Option(Schema.Struct({ a: Schema.Number })),
      Schema.Either({ left: Schema.String, right: Schema.Date }),
      Schema.Chunk(Schema.Struct({ a: Schema.Number })),
      Schema.HashMap({ key: Schema.Struct({ k: Schema.String }), value: Schema.Date }),
      Schema.HashSet(Schema.Struct({ k: Schema.Number })),
      Schema.Duration,
      Schema.BigDecimal,
      Schema.DateTimeUtc,
      Schema.Uint8Array,
      Schema.URL,
      Schema.Struct({ a: Schema.optional(Schema.Date), b: Schema.optionalWith(Schema.Number, { as: "Option" }) }),
      Schema.Struct({ a: Schema.optionalWith(Schema.Number, { default: () => 7 }) }),
      Schema.Record({ key: Schema.String, value: Schema.Date }),
      Schema.Union(Schema.Date, Schema.Number, Schema.Null),
      Point
    ]
    for (const schema of schemas) {
      const plain = schema as Schema.Schema<unknown>
      FastCheck.assert(
        FastCheck.property(Arbitrary.make(plain), (value) => {
          const text = written(plain, value)
          if (Either.isLeft(text)) {
            const why = messageOf(text)
            assert.match(why, /^(-0|NaN|-?Infinity) at |__proto__|Invalid Date|Expected/, `${plain.ast}`)
          } else {
            assert.isTrue(isSame(value, readBack(plain, text.right)), `${plain.ast}`)
          }
        }),
        { numRuns: 100, seed: 18 }
      )
    }
  })
})

class Declined extends Schema.TaggedError<Declined>()("Declined", {}) {}

const exhausted = (error: unknown) =>
  new RecoveryExhausted({ error, attempts: 2, decisions: [], fault: Effect.runSync(Fault.classify(error)) })
const timeout = new AttemptTimeout({ timeout: Duration.millis(1) })
const graph = new GraphFailed({
  graph: "g",
  failures: [{ node: "a", error: exhausted(new Declined()) }],
  skipped: [],
  completed: [],
  outputs: {}
})

describe("the codecs of errors", () => {
  const open: ReadonlyArray<readonly [string, Schema.Schema.All]> = [
    ["Schema.Unknown", Schema.Union(Declined, Schema.Unknown)],
    ["Schema.Any", Schema.Union(Declined, Schema.Any)],
    ["Schema.Object", Schema.Union(Declined, Schema.Object)],
    ["Schema.Defect", Schema.Union(Declined, Schema.Defect)]
  ]

  it.each(open)("errors of the library keep their class beside %s", (_, schema) => {
    const copyOf = (error: unknown) => {
      const codec = errorCodec(schema)
      return Effect.runSync(Effect.flatMap(codec.encode(error), codec.decode) as Effect.Effect<unknown, unknown>)
    }
    assert.instanceOf(copyOf(timeout), AttemptTimeout)
    const copy = copyOf(exhausted(new Declined()))
    assert.instanceOf(copy, RecoveryExhausted)
    assert.instanceOf((copy as RecoveryExhausted<unknown>).error, Declined)
  })

  it.each(open)("errors of a run keep their class beside %s", (_, schema) => {
    const copyOf = (error: unknown) => {
      const codec = causeCodec(schema)
      const copied = Effect.flatMap(codec.encode(Cause.fail(error)), codec.decode)
      return Cause.squash(Effect.runSync(copied as Effect.Effect<Cause.Cause<unknown>, unknown>))
    }
    assert.instanceOf(copyOf(timeout), AttemptTimeout)
    const copy = copyOf(exhausted(graph))
    assert.instanceOf(copy, RecoveryExhausted)
    const nested = (copy as RecoveryExhausted<unknown>).error
    assert.instanceOf(nested, GraphFailed)
    const failed = (nested as GraphFailed<unknown>).failures[0]?.error
    assert.instanceOf(failed, RecoveryExhausted)
    assert.instanceOf((failed as RecoveryExhausted<unknown>).error, Declined)
  })
})
