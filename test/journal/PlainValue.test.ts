import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as FastCheck from "effect/FastCheck"
import * as Schema from "effect/Schema"
import { toJsonText } from "../../src/journal/CanonicalJson.js"
import { plainCheck } from "../../src/journal/PlainValue.js"

interface Tree {
  readonly name: string
  readonly below: ReadonlyArray<Tree>
}

const Tree: Schema.Schema<Tree> = Schema.Struct({
  name: Schema.String,
  below: Schema.Array(Schema.suspend(() => Tree))
})

interface Chain<A> {
  readonly item: A
  readonly next: Chain<A> | null
}

/** A function that makes a recursive schema makes a new one at each level. */
const chainOf = <A, I>(item: Schema.Schema<A, I>): Schema.Schema<Chain<A>, Chain<I>> =>
  Schema.Struct({ item, next: Schema.NullOr(Schema.suspend(() => chainOf(item))) })

const plain = {
  text: Schema.String,
  number: Schema.Number,
  literals: Schema.Literal("a", 1, true, null),
  refined: Schema.Array(Schema.NonEmptyString.pipe(Schema.maxLength(3))),
  branded: Schema.Int.pipe(Schema.brand("Count")),
  struct: Schema.Struct({ id: Schema.String, "2": Schema.optional(Schema.Number), done: Schema.Boolean }),
  exact: Schema.Struct({ note: Schema.optionalWith(Schema.String, { exact: true }), at: Schema.NullOr(Schema.Number) }),
  tuple: Schema.Tuple([Schema.String, Schema.Number], Schema.Boolean),
  record: Schema.Record({ key: Schema.String, value: Schema.UndefinedOr(Schema.Number) }),
  union: Schema.Union(Schema.Struct({ a: Schema.String }), Schema.Number, Schema.Undefined),
  tagged: Schema.Union(
    Schema.Struct({ _tag: Schema.Literal("Text"), text: Schema.String }),
    Schema.Struct({ _tag: Schema.Literal("Call"), text: Schema.optional(Schema.String), name: Schema.String }),
    Schema.Struct({ _tag: Schema.Literal("Call 2"), text: Schema.String }),
    Schema.Null
  ),
  tree: Tree,
  chain: chainOf(Schema.String)
}

const transforming = {
  date: Schema.Date,
  text: Schema.Struct({ n: Schema.NumberFromString }),
  option: Schema.Option(Schema.String),
  default: Schema.Struct({ n: Schema.optionalWith(Schema.Number, { default: () => 1 }) }),
  bytes: Schema.Uint8ArrayFromSelf,
  bigint: Schema.BigIntFromSelf,
  unknown: Schema.Array(Schema.Unknown),
  anything: Schema.Struct({}),
  // The first one that accepts a value drops the properties that it does not know.
  structs: Schema.Union(Schema.Struct({ a: Schema.String }), Schema.Struct({ a: Schema.String, b: Schema.String })),
  alike: Schema.Union(
    Schema.Struct({ _tag: Schema.Literal("Text"), text: Schema.String }),
    Schema.Struct({ _tag: Schema.Literal("Text", "Call"), text: Schema.String, name: Schema.String })
  ),
  sameTag: Schema.Union(
    Schema.Struct({ _tag: Schema.Literal("Text"), text: Schema.String }),
    Schema.Struct({ _tag: Schema.Literal("Text"), text: Schema.String, name: Schema.String })
  ),
  optionalTag: Schema.Union(
    Schema.Struct({ _tag: Schema.Literal("Text"), text: Schema.String }),
    Schema.Struct({ _tag: Schema.optional(Schema.Literal("Call")), text: Schema.String, name: Schema.String })
  ),
  elsewhere: Schema.Union(
    Schema.Struct({ _tag: Schema.Literal("Text"), text: Schema.String }),
    Schema.Struct({ type: Schema.Literal("Call"), text: Schema.String, name: Schema.String })
  )
}

type AnySchema = Schema.Schema<unknown, unknown>

/** Values that a schema and JSON leave otherwise than they are, or refuse. */
const others: ReadonlyArray<readonly [schema: keyof typeof plain, value: unknown]> = [
  ["text", 1],
  ["number", Number.NaN],
  ["number", -0],
  ["number", Number.POSITIVE_INFINITY],
  ["literals", "b"],
  ["refined", ["long"]],
  ["refined", [undefined]],
  ["refined", Object.assign(["a"], { toJSON: () => "b" })],
  ["refined", new (class extends Array<string> {})()],
  ["branded", 0.5],
  ["struct", { id: "a", done: true, excess: 1 }],
  ["struct", { done: true, id: "a" }],
  ["struct", { id: "a" }],
  ["struct", Object.create({ id: "a", done: true })],
  ["struct", { id: "a", done: true, toJSON: () => "b" }],
  ["struct", Object.defineProperty({ id: "a", done: true }, "2", { value: 1 })],
  ["struct", null],
  ["tuple", ["a"]],
  ["tuple", ["a", 1, 2]],
  ["record", JSON.parse('{"__proto__":1}')],
  ["record", { [Symbol.iterator]: 1 }],
  ["record", { a: undefined }],
  ["union", { a: 1 }],
  ["tagged", { _tag: "Text", text: "a", name: "b" }],
  ["tagged", { _tag: "Call", text: "a" }],
  ["tagged", { text: "a", _tag: "Text" }]
]

describe("values that are their own JSON", () => {
  it("are what the schema encodes and decodes, and what JSON gives back", () => {
    for (const [name, schema] of Object.entries(plain) as ReadonlyArray<[string, AnySchema]>) {
      const check = plainCheck(schema.ast)
      assert.isDefined(check, name)
      let found = 0
      FastCheck.assert(
        FastCheck.property(Arbitrary.make(schema), (value) => {
          if (check?.(value) !== true) return
          found++
          const encoded = Schema.encodeSync(schema)(value)
          assert.deepStrictEqual(encoded, value)
          assert.strictEqual(JSON.stringify(value), toJsonText(encoded))
          if (value !== undefined) {
            const read: unknown = JSON.parse(JSON.stringify(value))
            assert.strictEqual(JSON.stringify(Schema.decodeUnknownSync(schema)(read)), JSON.stringify(read))
          }
        }),
        { numRuns: 100 }
      )
      assert.isAbove(found, 10, name)
    }
  })

  it("are certain: others are left to the schema", () => {
    for (const [name, value] of others) assert.isFalse(plainCheck(plain[name].ast)?.(value), `${name} ${String(value)}`)
    const tree = { name: "a", below: [] as Array<unknown> }
    tree.below.push(tree)
    assert.isFalse(plainCheck(Tree.ast)?.(tree))
  })

  it("may have a schema whose recursion has no end", () => {
    const isPlain = plainCheck(Schema.Array(chainOf(Schema.Union(Schema.Date, Schema.String))).ast)
    assert.isUndefined(isPlain)
    const isPlainLater = plainCheck(Schema.Struct({ next: Schema.suspend(() => chainOf(Schema.Date)) }).ast)
    assert.isFalse(isPlainLater?.({ next: { item: "1970-01-01T00:00:00.000Z", next: null } }))
    const isChain = plainCheck(chainOf(Schema.String).ast)
    assert.isTrue(isChain?.({ item: "a", next: { item: "b", next: null } }))
    assert.isFalse(isChain?.({ item: "a", next: { item: 1, next: null } }))
  })

  it("have a schema that transforms nothing, and whose members cannot be taken for one another", () => {
    for (const [name, schema] of Object.entries(transforming)) assert.isUndefined(plainCheck(schema.ast), name)
  })
})
