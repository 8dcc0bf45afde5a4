import { afterEach, assert, describe, it } from "@effect/vitest"
import { Editor } from "./support/editor.js"

const editor = new Editor()

// Tests without an await leave no turn to the event loop, and the runner takes a process without turns for one that hangs.
afterEach(() => new Promise<void>((resolve) => setImmediate(resolve)))

const opening = `
import { Recovery, RetryPolicy, Step, Storage, Strategy, Transaction, Workflow } from "effect-recovery"
import { Effect, Schema } from "effect"

class Offline extends Schema.TaggedError<Offline>()("Offline", {}) {}
class Declined extends Schema.TaggedError<Declined>()("Declined", {}) {}
class Untagged { readonly reason = "" }

declare const fetched: Effect.Effect<number, Offline>
declare const charged: (amount: number) => Effect.Effect<{ readonly receipt: string }, Declined | Offline>
const receipt = Schema.Struct({ receipt: Schema.String })
`

const open = (program: string) => editor.open(opening + program)

/** Each mistake: what is wrong, the program, where the compiler shows it, and what it says. */
const mistakes: ReadonlyArray<{ mistake: string; program: string; at: string; says: string }> = [
  {
    mistake: "a step without the schema of its errors",
    program: `Step.make("get", { success: Schema.Number, run: fetched })`,
    at: "run: fetched",
    says: `The step fails with Offline: add it to its error schema`
  },
  {
    mistake: "a step with an input whose schema lacks one of its errors",
    program: `Step.make("charge", { success: receipt, error: Declined, run: (amount: number) => charged(amount) })`,
    at: "run: (amount",
    says: `The step fails with Offline: add it to its error schema`
  },
  {
    mistake: "an error that the schema of the workflow lacks",
    program: `
const charge = Step.make("charge", { success: receipt, error: Schema.Union(Declined, Offline), run: charged })
Workflow.make("pay", { input: Schema.Number, success: receipt, error: Declined }, (amount) => charge(amount))`,
    at: "charge(amount)",
    says: `The body fails with Offline: add it to the workflow's error schema`
  },
  {
    mistake: "an untagged error in recover",
    program: `Recovery.recover(Effect.fail(new Untagged()), { Offline: Strategy.skip(1) })`,
    at: "Offline: Strategy",
    says: "The errors have no _tag: recover them by category, or with a retry"
  },
  {
    mistake: "a step in a step",
    program: `
const inner = Step.make("inner", { run: Effect.void })
const outer = Step.make("outer", { run: () => inner })
Workflow.execute(Workflow.make("w", {}, () => outer()), { id: "1" }).pipe(Effect.provide(Storage.layerMemory), Effect.runPromise)`,
    at: "Effect.runPromise",
    says: "Type 'StepInsideStep' is not assignable to type 'never'"
  },
  {
    mistake: "compensate outside of a transaction",
    program: `
const pay = Step.make("pay", { run: Effect.void, compensate: () => Effect.void })
Workflow.execute(Workflow.make("w", {}, () => pay), { id: "1" }).pipe(Effect.provide(Storage.layerMemory), Effect.runPromise)`,
    at: "Effect.runPromise",
    says: "Type 'CompensateOutsideTransaction' is not assignable to type 'never'"
  },
  {
    mistake: "a value without a schema, of a step",
    program: `Step.make("count", { run: Effect.succeed(1) })`,
    at: "run: Effect",
    says: `The step returns a value: record it with a success schema, or drop it with Effect.asVoid`
  },
  {
    mistake: "a value without a schema, of a workflow",
    program: `Workflow.make("count", {}, () => Effect.succeed(1))`,
    at: "Effect.succeed(1)",
    says: `The body returns a value: record it with a success schema, or drop it with Effect.asVoid`
  },
  {
    mistake: "a misspelt tag in a step",
    program: `Step.make("get", { success: Schema.Number, error: Offline, run: fetched, recover: { Ofline: Strategy.skip(1) } })`,
    at: "Ofline",
    says: "'Ofline' does not exist"
  },
  {
    mistake: "a misspelt tag in recover",
    program: `fetched.pipe(Recovery.recover({ Ofline: Strategy.skip(1) }))`,
    at: "Ofline",
    says: "No error has this tag; there are: Offline"
  },
  {
    mistake: "a residual that the workflow's schema lacks",
    program: `
const get = Step.make("get", {
  success: Schema.Number, error: Offline, run: fetched, recover: { Offline: Strategy.retry(RetryPolicy.exponential()) }
})
Workflow.make("w", { success: Schema.Number }, () => get)`,
    at: "get)",
    says: `The body fails with Offline: add it to the workflow's error schema`
  }
]

describe("the compiler names", () => {
  for (const { at, mistake, program, says } of mistakes) {
    it(mistake, () => {
      open(program)
      const errors = editor.errors()
      const [first] = errors
      assert.strictEqual(errors.length, 1, JSON.stringify(errors, undefined, 1))
      assert.include(first?.message, says)
      assert.include(first?.at, at)
    })
  }
})

describe("an editor", () => {
  it("shows documentation for each signature of each public function", () => {
    open("")
    assert.deepStrictEqual(editor.undocumented(), [])
  })

  it("shows the types of steps and workflows, and not the functions that made them", () => {
    open(`
const charge = Step.make("charge", {
  success: receipt,
  error: Schema.Union(Declined, Offline),
  timeout: "1 second",
  run: charged,
  recover: { Offline: Strategy.retry(RetryPolicy.exponential()) }
})
const Pay = Workflow.make("pay", { input: Schema.Number, success: receipt, error: Schema.Union(Declined, Offline) }, (amount) => charge(amount))
const paid = Workflow.execute(Pay, { id: "1", input: 1 })`)
    assert.deepStrictEqual(editor.errors(), [])
    const errors = "Declined | Recovery.AttemptTimeout | Recovery.RecoveryExhausted<Offline>"
    assert.strictEqual(
      editor.hover("charge = ").type,
      `const charge: (input: number) => Step.Step<{ readonly receipt: string; }, ${errors}, never, never>`
    )
    assert.strictEqual(
      editor.hover("Pay = ").type,
      `const Pay: Workflow.Workflow<number, { readonly receipt: string; }, ${errors}, never, never>`
    )
    assert.match(editor.hover("make(").documentation, /^Makes a step with an input/)
  })
})
