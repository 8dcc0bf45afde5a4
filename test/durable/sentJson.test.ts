import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/TestClock"
import { Answer, Signal, Step, Strategy, Workflow } from "effect-recovery"
import { jsonSchemaOf, problemOf } from "../../src/durable/internal/wait/jsonSchema.js"
import { assertTagged } from "../support/assertions.js"
import { seedOf } from "../support/campaigns.js"
import { processOn } from "../support/durable.js"
import { backends } from "../support/storages.js"

class Declined extends Schema.TaggedError<Declined>()("Declined", {}) {}

const Approval = Signal.make("approval", Schema.Struct({ by: Schema.NonEmptyString, at: Schema.optional(Schema.Date) }))

/** JSON Schema has no undefined. */
const Opaque = Signal.make("opaque", Schema.UndefinedOr(Schema.String))

const Key = Signal.make("key", Schema.Redacted(Schema.String))

const Even = Signal.make("even", Schema.Struct({ n: Schema.Number.pipe(Schema.filter((n) => n % 2 === 0)) }))

const Count = Workflow.make("count", { success: Schema.Number }, () => Effect.map(Even.wait(), ({ n }) => n))

const Timed = Workflow.make("timed", { success: Schema.String }, () =>
  Even.wait({ within: "1 hour" }).pipe(
    Effect.as("in time"),
    Effect.catchTag("SignalTimeout", () => Effect.succeed("too late"))
  )
)

const Hid = Signal.make("hidden", Schema.Redacted(Schema.String.pipe(Schema.minLength(10))))

const Hidden = Workflow.make("hidden", { success: Schema.Number }, () =>
  Effect.map(Hid.wait(), (hidden) => Redacted.value(hidden).length)
)

const Odd = Signal.make(
  "odd",
  Schema.String.pipe(
    Schema.filter((text) => {
      if (text === "throws") throw new Error("the filter is broken")
      return true
    })
  )
)

const Strange = Workflow.make("strange", { success: Schema.String }, () => Odd.wait())

const Publish = Workflow.make("publish", { success: Schema.String }, () =>
  Effect.map(Approval.wait(), ({ by }) => `approved by ${by}`)
)

for (const backend of backends) {
  const setup = processOn(backend)

  describe(`${backend.name}: a signal as JSON`, () => {
    it.scoped("reaches the run that waits for it", () =>
      Effect.gen(function* () {
        const { layer } = yield* setup
        yield* Effect.gen(function* () {
          yield* Effect.flip(Workflow.execute(Publish, { id: "1" }))
          yield* Signal.sendJson("1", "approval", { by: "Ada" })
          const twice = yield* Effect.flip(Signal.sendJson("1", "approval", { by: "Bob" }))
          assertTagged(twice, "NotOpen", { reason: "Answered" })
          assert.strictEqual(yield* Workflow.execute(Publish, { id: "1" }), "approved by Ada")
          const late = yield* Effect.flip(Signal.sendJson("1", "approval", { by: "Bob" }))
          assertTagged(late, "NotOpen", { reason: "Finished" })
          const nowhere = yield* Effect.flip(Signal.sendJson("2", "approval", { by: "Bob" }))
          assert.strictEqual(nowhere._tag, "RunNotFound")
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("that does not fit its schema is refused, and nothing is stored", () =>
      Effect.gen(function* () {
        const { layer } = yield* setup
        yield* Effect.gen(function* () {
          yield* Effect.flip(Workflow.execute(Publish, { id: "1" }))
          const before = yield* Workflow.history("1")
          for (const [value, problem] of [
            [undefined, "a value is missing"],
            ["Ada", `expected object, found "Ada"`],
            [{}, `"by" is missing`],
            [{ by: "" }, `expected at least 1 characters at by, found ""`],
            [{ by: "Ada", at: 3 }, "expected string at at, found 3"]
          ]) {
            const refused = yield* Effect.flip(Signal.sendJson("1", "approval", value))
            assertTagged(refused, "ValueRefused", { run: "1", about: `signal "approval"`, problem: `${problem}` })
          }
          assert.deepStrictEqual(yield* Workflow.history("1"), before)
          yield* Signal.sendJson("1", "approval", { by: "Ada", more: true })
          assert.strictEqual(yield* Workflow.execute(Publish, { id: "1" }), "approved by Ada")
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("that only a filter refuses is refused by the run, which waits for another one with the reason", () =>
      Effect.gen(function* () {
        const { layer } = yield* setup
        yield* Effect.gen(function* () {
          const isDone = Effect.map(Workflow.list({ status: "completed" }), (done) => done.length > 0)
          const refusedAs = Effect.map(Workflow.status("1"), ({ waits }) => waits.map(({ status }) => status))
          // Nothing checks what is sent before the run waits for it.
          yield* Workflow.start(Count, { id: "1" })
          yield* Signal.sendJson("1", "even", { n: "one" }, { early: true })
          const first = yield* Effect.flip(Workflow.execute(Count, { id: "1" }))
          assertTagged(first, "RunSuspended", {})
          assert.deepStrictEqual(yield* refusedAs, ["refused", "open"])
          const [waiting] = (yield* Workflow.list({ waitingFor: "signal" })).flatMap(({ waiting }) => waiting)
          assert.deepInclude(waiting, { about: "even", signal: { name: "even" } })
          assert.include(Option.getOrThrow(waiting?.refused ?? Option.none()), 'actual "one"')
          // The JSON Schema has no filter.
          yield* Signal.sendJson("1", "even", { n: 3 })
          assert.isFalse(yield* isDone)
          yield* Effect.flip(Workflow.execute(Count, { id: "1" }))
          assert.deepStrictEqual(yield* refusedAs, ["refused", "refused", "open"])
          yield* Even.send("1", { n: 4 })
          const twice = yield* Effect.flip(Even.send("1", { n: 6 }))
          assertTagged(twice, "NotOpen", { reason: "Answered" })
          assert.strictEqual(yield* Workflow.execute(Count, { id: "1" }), 4)
          assert.strictEqual(yield* Workflow.execute(Count, { id: "1" }), 4)
          // A rewound run finds the same three values again.
          yield* Workflow.rewind(Count, "1", Workflow.fromStart)
          assert.strictEqual(yield* Workflow.execute(Count, { id: "1" }), 4)
          assert.deepStrictEqual(yield* refusedAs, ["refused", "refused", "answered"])
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("that is refused does not move the deadline of the wait", () =>
      Effect.gen(function* () {
        const { layer } = yield* setup
        yield* Effect.gen(function* () {
          yield* Effect.flip(Workflow.execute(Timed, { id: "1" }))
          yield* TestClock.adjust("40 minutes")
          yield* Signal.sendJson("1", "even", { n: 5 })
          yield* Effect.flip(Workflow.execute(Timed, { id: "1" }))
          yield* TestClock.adjust("20 minutes")
          assert.strictEqual(yield* Workflow.execute(Timed, { id: "1" }), "too late")
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("that a filter of the program throws at, or a secret that does not fit, is refused, too", () =>
      Effect.gen(function* () {
        const { layer } = yield* setup
        yield* Effect.gen(function* () {
          yield* Workflow.start(Hidden, { id: "1" })
          yield* Signal.sendJson("1", "hidden", "s3cret", { early: true })
          yield* Effect.flip(Workflow.execute(Hidden, { id: "1" }))
          const [waiting] = (yield* Workflow.list({ waitingFor: "signal" })).flatMap(({ waiting }) => waiting)
          assert.deepStrictEqual(waiting?.refused, Option.some("the value does not fit"))
          yield* Hid.send("1", Redacted.make("a longer one"))
          assert.strictEqual(yield* Workflow.execute(Hidden, { id: "1" }), 12)
          yield* Workflow.start(Strange, { id: "2" })
          yield* Signal.sendJson("2", "odd", "throws", { early: true })
          yield* Effect.flip(Workflow.execute(Strange, { id: "2" }))
          yield* Odd.send("2", "fits")
          assert.strictEqual(yield* Workflow.execute(Strange, { id: "2" }), "fits")
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("that the run does not wait for is refused, unless it is sent early", () =>
      Effect.gen(function* () {
        const { layer } = yield* setup
        yield* Effect.gen(function* () {
          yield* Workflow.start(Publish, { id: "1" })
          const refused = yield* Effect.flip(Signal.sendJson("1", "approval", { by: "Ada" }))
          assertTagged(refused, "NotAwaited", { signal: "approval", awaited: [] })
          yield* Effect.flip(Workflow.execute(Publish, { id: "1" }))
          const other = yield* Effect.flip(Signal.sendJson("1", "aproval", { by: "Ada" }))
          assertTagged(other, "NotAwaited", { signal: "aproval", awaited: ["approval"] })
          const which = yield* Effect.flip(Signal.sendJson("1", "approval", { by: "Ada" }, { id: "chapter 2" }))
          assertTagged(which, "NotAwaited", { signal: "approval/chapter 2" })
          yield* Workflow.start(Publish, { id: "2" })
          yield* Signal.sendJson("2", "approval", { by: "Bob" }, { early: true })
          assert.strictEqual(yield* Workflow.execute(Publish, { id: "2" }), "approved by Bob")
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("is one of several that the ids tell apart, and each is listed with its name, id and schema", () =>
      Effect.gen(function* () {
        const { layer } = yield* setup
        const Both = Workflow.make("both", { success: Schema.String }, () =>
          Effect.map(
            Effect.all([Approval.wait({ id: "a/b" }), Opaque.wait(), Approval.wait({ id: "c" })], { concurrency: 3 }),
            ([first, , last]) => `${first.by} and ${last.by}`
          )
        )
        yield* Effect.gen(function* () {
          yield* Effect.flip(Workflow.execute(Both, { id: "1" }))
          const { waiting } = yield* Workflow.status("1")
          assert.sameDeepMembers(
            waiting.map(({ schema, signal }) => ({ signal, hasSchema: schema !== undefined })),
            [
              { signal: { name: "approval", id: "a/b" }, hasSchema: true },
              { signal: { name: "approval", id: "c" }, hasSchema: true },
              { signal: { name: "opaque" }, hasSchema: false }
            ]
          )
          assert.deepStrictEqual((yield* Workflow.list())[0]?.waiting, waiting)
          yield* Signal.sendJson("1", "approval", { by: "Ada" }, { id: "a/b" })
          yield* Signal.sendJson("1", "approval", { by: "Bob" }, { id: "c" })
          yield* Opaque.send("1", undefined)
          assert.strictEqual(yield* Workflow.execute(Both, { id: "1" }), "Ada and Bob")
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("for a secret is a secret in the history", () =>
      Effect.gen(function* () {
        const { layer } = yield* setup
        const Unlock = Workflow.make("unlock", { success: Schema.Number }, () =>
          Effect.map(Key.wait(), (key) => Redacted.value(key).length)
        )
        yield* Effect.gen(function* () {
          yield* Effect.flip(Workflow.execute(Unlock, { id: "1" }))
          yield* Signal.sendJson("1", "key", "swordfish")
          assert.strictEqual(yield* Workflow.execute(Unlock, { id: "1" }), 9)
          assert.notInclude(JSON.stringify(yield* Workflow.history("1")), "swordfish")
        }).pipe(Effect.provide(layer))
      })
    )

    it.scoped("is awaited also by a run that executes meanwhile", () =>
      Effect.gen(function* () {
        const { layer } = yield* setup
        const Busy = Workflow.make("busy", {}, () =>
          Effect.gen(function* () {
            yield* Workflow.start(Publish, { id: "unused" })
            yield* Effect.all(
              [
                Approval.wait(),
                Step.make("speaks", {
                  run: Effect.gen(function* () {
                    const { status, waiting } = yield* Effect.repeat(Effect.orDie(Workflow.status("1")), {
                      until: ({ waiting }) => waiting.length > 0
                    })
                    assert.strictEqual(status, "running")
                    assert.deepStrictEqual(waiting[0]?.signal, { name: "approval" })
                    yield* Effect.orDie(Signal.sendJson("1", "approval", { by: "Ada" }))
                  })
                })
              ],
              { concurrency: 2 }
            )
          }).pipe(Effect.orDie)
        )
        yield* Effect.provide(Workflow.execute(Busy, { id: "1" }), layer)
      })
    )
  })

  describe(`${backend.name}: a value as the answer`, () => {
    const ask = Step.make("ask", {
      success: Schema.Struct({ receipt: Schema.String }),
      error: Declined,
      run: Effect.fail(new Declined()),
      recover: { Declined: Strategy.manual({ question: "Paid?" }) }
    })
    const Order = Workflow.make("order", { success: Schema.String, error: Schema.Unknown }, () =>
      Effect.map(ask, ({ receipt }) => receipt)
    )

    it.scoped("is refused before it is stored if it does not fit the step's result", () =>
      Effect.gen(function* () {
        const { layer } = yield* setup
        yield* Effect.gen(function* () {
          yield* Effect.flip(Workflow.execute(Order, { id: "1" }))
          const refused = yield* Effect.flip(Workflow.resolve("1", Answer.json({ receipt: 7 })))
          assertTagged(refused, "ValueRefused", { problem: "expected string at receipt, found 7" })
          const [waiting] = (yield* Workflow.status("1")).waiting
          assert.deepStrictEqual(waiting?.refused, Option.none())
          yield* Workflow.resolve("1", Answer.json({ receipt: "cash" }))
          assert.strictEqual(yield* Workflow.execute(Order, { id: "1" }), "cash")
        }).pipe(Effect.provide(layer))
      })
    )
  })
}

interface Tree {
  readonly name: string
  readonly children: ReadonlyArray<Tree>
}
const Tree = Schema.Struct({
  name: Schema.String,
  children: Schema.Array(Schema.suspend((): Schema.Schema<Tree> => Tree))
}).annotations({ identifier: "Tree" })

class Address extends Schema.Class<Address>("Address")({ street: Schema.NonEmptyString, zip: Schema.Int }) {}

/** What programs use as the schema of a signal. */
const schemas: ReadonlyArray<Schema.Schema.AnyNoContext> = [
  Schema.String,
  Schema.Number.pipe(Schema.between(0, 10)),
  Schema.NumberFromString,
  Schema.Boolean,
  Schema.Null,
  Schema.Void,
  Schema.Unknown,
  Schema.Date,
  Schema.Trim,
  Schema.String.pipe(Schema.pattern(/^[a-c]+$/i)),
  Schema.Literal("yes", "no", 3, null),
  Schema.TemplateLiteral("a-", Schema.Number),
  Schema.Tuple(Schema.String, Schema.optionalElement(Schema.Int)),
  Schema.Tuple([Schema.String], Schema.Boolean),
  Schema.Array(Schema.NullOr(Schema.Int)).pipe(Schema.minItems(1), Schema.maxItems(4)),
  Schema.NonEmptyArray(Schema.String),
  Schema.Struct({}),
  Schema.Record({ key: Schema.String.pipe(Schema.pattern(/^k/)), value: Schema.Int }),
  Schema.Record({ key: Schema.String, value: Schema.Array(Schema.String) }),
  Schema.Struct({
    a: Schema.optionalWith(Schema.Int, { default: () => 1 }),
    b: Schema.OptionFromNullOr(Schema.String)
  }),
  Schema.Struct({ a: Schema.Int }, { key: Schema.String, value: Schema.Number }),
  Schema.Union(Schema.TaggedStruct("A", { n: Schema.Int }), Schema.TaggedStruct("B", { s: Schema.String })),
  Schema.parseJson(Schema.Struct({ a: Schema.Int })),
  Schema.Redacted(Schema.String),
  Tree,
  Address
]

describe("the JSON Schema of a wait", () => {
  /** JSON that is often near to what a schema decodes. */
  const json = (schema: Schema.Schema.AnyNoContext): FastCheck.Arbitrary<unknown> => {
    const examples = [
      ...FastCheck.sample(FastCheck.jsonValue({ maxDepth: 2 }), 5),
      "yes",
      "a-1",
      "Abc",
      { a: 1 },
      { kx: 1, o: "" }
    ]
    return FastCheck.oneof(
      FastCheck.jsonValue({ maxDepth: 3 }),
      FastCheck.constantFrom<unknown>(...examples, ...encodedExamples(schema))
    )
  }

  const encodedExamples = (schema: Schema.Schema.AnyNoContext): ReadonlyArray<unknown> =>
    [
      ["Ada", true],
      ["Ada", 1],
      [1, null],
      { street: "Main", zip: 1 },
      { _tag: "A", n: 1 },
      { _tag: "B", s: "x" },
      { name: "r", children: [{ name: "c", children: [] }] },
      { a: 1, b: null },
      `{"a":1}`
    ].filter((value) => Schema.is(Schema.encodedSchema(schema))(value))

  it("never refuses what the schema decodes", () => {
    for (const schema of schemas) {
      const known = jsonSchemaOf(schema)
      assert.isDefined(known, `${schema}`)
      const decode = Schema.decodeUnknownOption(schema)
      FastCheck.assert(
        FastCheck.property(
          json(schema),
          (value) => Option.isNone(decode(value)) || problemOf(known, value) === undefined
        ),
        { seed: seedOf(21), numRuns: 300 }
      )
    }
  })

  it("refuses each value of another shape", () => {
    /** Per schema, values that it does not decode. */
    const wrong: ReadonlyArray<readonly [Schema.Schema.AnyNoContext, ReadonlyArray<unknown>]> = [
      [Schema.String, [1, null, [], {}, undefined]],
      [Schema.Number.pipe(Schema.between(0, 10)), ["1", -1, 11]],
      [Schema.Literal("yes", "no", 3, null), ["maybe", 4, {}]],
      [Schema.TemplateLiteral("a-", Schema.Number), ["b-1"]],
      [Schema.Tuple(Schema.String, Schema.optionalElement(Schema.Int)), [[], ["a", 1.5], ["a", 1, 2], "a"]],
      [Schema.Tuple([Schema.String], Schema.Boolean), [["a", 1]]],
      [Schema.Array(Schema.NullOr(Schema.Int)).pipe(Schema.minItems(1), Schema.maxItems(2)), [[], [1, 2, 3], ["a"]]],
      [Schema.Record({ key: Schema.String, value: Schema.Array(Schema.String) }), [{ a: [1] }, []]],
      [Schema.Union(Schema.TaggedStruct("A", { n: Schema.Int }), Schema.TaggedStruct("B", {})), [{ _tag: "C" }]],
      [Tree, [{ name: "r", children: [{ name: 1, children: [] }] }, { name: "r" }]],
      [
        Address,
        [
          { street: "", zip: 1 },
          { street: "Main", zip: 1.5 }
        ]
      ],
      [Schema.Struct({}), [null]]
    ]
    for (const [schema, values] of wrong) {
      for (const value of values)
        assert.isString(problemOf(jsonSchemaOf(schema), value), `${schema} ${JSON.stringify(value)}`)
    }
  })

  it("is not recorded if it is very large, or if there is none", () => {
    const many = Schema.Struct(Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`field${i}`, Schema.String])))
    assert.isUndefined(jsonSchemaOf(many))
    assert.isUndefined(jsonSchemaOf(Schema.DateFromSelf))
  })
})
