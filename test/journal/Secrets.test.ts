import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { causeCodec, errorCodec, secretly, valueCodec } from "../../src/journal/JournalCodec.js"
import { hideSecrets } from "../../src/journal/Secrets.js"
import { seedOf } from "../support/campaigns.js"

class Denied extends Schema.TaggedError<Denied>()("Denied", {
  user: Schema.String,
  password: Schema.Redacted(Schema.String)
}) {}

class Account extends Schema.Class<Account>("Account")({
  name: Schema.String,
  pin: Schema.Redacted(Schema.NumberFromString)
}) {}

interface Tree {
  readonly key: Redacted.Redacted<string>
  readonly children: ReadonlyArray<Tree>
}
const Tree: Schema.Schema<Tree, unknown> = Schema.Struct({
  key: Schema.Redacted(Schema.String),
  children: Schema.Array(Schema.suspend(() => Tree))
}) as never

const secret = "hunter2"
const made = Redacted.make(secret)

/** Schemas with a secret, and a value of each. */
const values: ReadonlyArray<readonly [string, Schema.Schema.All, unknown]> = [
  ["a value", Schema.Redacted(Schema.String), made],
  ["a field", Schema.Struct({ a: Schema.Number, b: Schema.Redacted(Schema.String) }), { a: 1, b: made }],
  ["an element", Schema.Array(Schema.Redacted(Schema.String)), [made, Redacted.make("hunter2 too")]],
  ["a tuple", Schema.Tuple(Schema.Number, Schema.Redacted(Schema.String)), [1, made]],
  ["a record", Schema.Record({ key: Schema.String, value: Schema.Redacted(Schema.String) }), { a: made }],
  ["an option", Schema.Struct({ a: Schema.OptionFromNullOr(Schema.Redacted(Schema.String)) }), undefined],
  [
    "one of several forms",
    Schema.Union(Schema.Number, Schema.Struct({ s: Schema.Redacted(Schema.String) })),
    { s: made }
  ],
  ["a class", Account, new Account({ name: "ada", pin: Redacted.make(4711) })],
  ["a recursive schema", Tree, { key: made, children: [{ key: made, children: [] }] }],
  ["JSON in a text", Schema.parseJson(Schema.Struct({ s: Schema.Redacted(Schema.String) })), { s: made }],
  [
    "a transformation of the program",
    Schema.transform(Schema.String, Schema.Struct({ s: Schema.RedactedFromSelf(Schema.String) }), {
      strict: true,
      decode: (text) => ({ s: Redacted.make(text) }),
      encode: ({ s }) => Redacted.value(s)
    }),
    { s: made }
  ]
]

describe("A value with Redacted parts", () => {
  it.effect.each(values.filter(([, , value]) => value !== undefined))(
    "can be read back, and a reader without the schema hides them: %s",
    ([, schema, value]) =>
      Effect.gen(function* () {
        const codec = valueCodec(schema)
        const text = (yield* codec.encode(value)) ?? ""
        assert.match(text, /hunter2|4711/)
        assert.deepStrictEqual(yield* codec.encode(yield* codec.decode(text)), text)
        const hidden = hideSecrets(text)
        assert.notMatch(hidden, /hunter2|4711/)
        assert.include(hidden, "<redacted>")
        // Values within values, as journal lines have them.
        assert.notMatch(hideSecrets(JSON.stringify({ cause: text, list: [text] })), /hunter2|4711/)
      }) as Effect.Effect<void>
  )

  it.effect(
    "keeps what is not secret",
    () =>
      Effect.gen(function* () {
        const text = yield* errorCodec(Denied).encode(new Denied({ user: "ada", password: made }))
        assert.deepStrictEqual(JSON.parse(hideSecrets(text ?? "")), {
          _tag: "Denied",
          user: "ada",
          password: "<redacted>"
        })
        const error = yield* errorCodec(Denied).decode(text)
        assert.instanceOf(error, Denied)
        assert.strictEqual(Redacted.value((error as Denied).password), secret)
      }) as Effect.Effect<void>
  )

  it.effect(
    "in a cause keeps the faults beside it",
    () =>
      Effect.gen(function* () {
        const codec = causeCodec(Denied)
        const cause = Cause.parallel(Cause.fail(new Denied({ user: "ada", password: made })), Cause.die("bug"))
        const text = (yield* codec.encode(cause)) ?? ""
        const hidden = hideSecrets(text)
        assert.notInclude(hidden, secret)
        assert.deepStrictEqual(JSON.parse(hidden).faults[0].tag, "Denied")
        const [error] = Cause.failures(yield* codec.decode(text))
        assert.strictEqual(Redacted.value((error as Denied).password), secret)
        // A hidden text can still be read.
        const [shown] = Cause.failures(yield* codec.decode(hidden))
        assert.strictEqual(Redacted.value((shown as Denied).password), "<redacted>")
      }) as Effect.Effect<void>
  )

  it.effect(
    "that looks like a marked one is read back as it was",
    () =>
      Effect.gen(function* () {
        const schema = Schema.Struct({
          "~secrets": Schema.Array(Schema.String),
          "~value": Schema.Redacted(Schema.String)
        })
        const codec = valueCodec(schema)
        const value = { "~secrets": ["x"], "~value": made }
        const back = (yield* codec.decode(yield* codec.encode(value))) as typeof value
        assert.strictEqual(Redacted.value(back["~value"]), secret)
        assert.deepStrictEqual(back["~secrets"], ["x"])
      }) as Effect.Effect<void>
  )

  it.effect(
    "can be a secret as a whole",
    () =>
      Effect.gen(function* () {
        const codec = secretly(valueCodec(Schema.Struct({ n: Schema.Number })))
        const text = (yield* codec.encode({ n: 4711 })) ?? ""
        assert.deepStrictEqual(yield* codec.decode(text), { n: 4711 })
        assert.strictEqual(hideSecrets(text), '"<redacted>"')
      }) as Effect.Effect<void>
  )

  it("has no secret left for any value of its schema", () => {
    const schema = Schema.Struct({
      list: Schema.Array(
        Schema.Union(Schema.Boolean, Schema.Struct({ s: Schema.Redacted(Schema.Literal("hunter2")) }))
      ),
      map: Schema.Record({ key: Schema.String, value: Schema.Redacted(Schema.Literal("hunter2")) })
    })
    FastCheck.assert(
      FastCheck.property(Arbitrary.make(schema), (value) => {
        const text = Effect.runSync(valueCodec(schema).encode(value) as Effect.Effect<string>)
        assert.notInclude(hideSecrets(text), secret)
      }),
      { numRuns: 200, seed: seedOf(3) }
    )
  })
})

describe("A value without Redacted parts", () => {
  it.effect(
    "is written as its schema encodes it",
    () =>
      Effect.gen(function* () {
        assert.strictEqual(
          yield* valueCodec(Schema.Struct({ password: Schema.String })).encode({ password: "x" }),
          '{"password":"x"}'
        )
      }) as Effect.Effect<void>
  )
})
