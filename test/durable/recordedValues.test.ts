import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Schema from "effect/Schema"
import {
  Answer,
  Checkpoint,
  Graph,
  Operation,
  Parameters,
  Recovery,
  Signal,
  State,
  Step,
  type Storage,
  Strategy,
  Workflow
} from "effect-recovery"
import { type Backend, memory, sqlite } from "../support/storages.js"

/** What a place did with a value: it refused it with this message, or a later execution read this. */
type Fate = { readonly refused: string } | { readonly read: unknown }

type Place = (value: unknown, id: string) => Effect.Effect<Fate, unknown, Storage.Storage>

class Odd extends Schema.TaggedError<Odd>()("Odd", { detail: Schema.Unknown }) {}

const Go = Signal.make("go", Schema.Void)
const Sent = Signal.make("sent", Schema.Unknown)
const Cell = State.make("cell", Schema.Unknown, null)
const Shared = State.make("shared", Schema.Unknown, null, { scope: "global" })
const Settings = Parameters.make("settings", Schema.Struct({ value: Schema.Unknown }), { value: null })
const Saved = Checkpoint.make("saved", { schema: Schema.Unknown })

type Needs = Workflow.Run | State.Cells | Strategy.Asker | Strategy.Rewinder | Storage.Storage

/** The refusal, if the effect ends with one. */
const refusal = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<string | undefined, E, R> =>
  Effect.matchEffect(self, {
    onFailure: (error) =>
      error instanceof Workflow.JournalError && error.reason === "Encode"
        ? Effect.succeed(error.message)
        : error instanceof Workflow.RunSuspended
          ? Effect.succeed(undefined)
          : Effect.fail(error),
    onSuccess: () => Effect.succeed(undefined)
  })

/** Runs the body until it waits, and resumes it: `see` gets what each pass has read. */
const resumed = (
  body: (see: (value: unknown) => void) => Effect.Effect<unknown, never, Needs>,
  between: (id: string) => Effect.Effect<unknown, unknown, Storage.Storage> = () => Effect.void
) =>
  Effect.fnUntraced(function* (id: string) {
    const seen: Array<unknown> = []
    const Flow = Workflow.make("flow", {}, () =>
      Effect.asVoid(
        Effect.zipRight(
          body((value) => seen.push(value)),
          Go.wait()
        )
      )
    )
    const first = yield* refusal(Workflow.execute(Flow, { id }))
    if (first !== undefined) return { refused: first }
    const second = yield* refusal(between(id))
    if (second !== undefined) return { refused: second }
    yield* Go.send(id, undefined)
    const third = yield* refusal(Workflow.execute(Flow, { id }))
    return third === undefined ? { read: seen.at(-1) } : { refused: third }
  })

const returning = (value: unknown) => Step.make("make", { success: Schema.Unknown, run: Effect.succeed(value) })

const asks = Step.make("asks", {
  success: Schema.Unknown,
  error: Odd,
  run: Effect.fail(new Odd({ detail: "none" })),
  recover: { Odd: Strategy.manual() }
})

const places: Readonly<Record<string, Place>> = {
  "the result of a step": (value, id) => resumed((see) => Effect.map(returning(value), see))(id),
  "the result of a workflow": Effect.fnUntraced(function* (value, id) {
    const Flow = Workflow.make("flow", { success: Schema.Unknown }, () => Effect.succeed(value))
    const refused = yield* refusal(Workflow.execute(Flow, { id }))
    return refused === undefined ? { read: yield* Workflow.join(Flow, id) } : { refused }
  }),
  "the input of a workflow": Effect.fnUntraced(function* (value, id) {
    const seen: Array<unknown> = []
    const Flow = Workflow.make("flow", { input: Schema.Unknown }, (input) => Effect.sync(() => void seen.push(input)))
    const refused = yield* refusal(Workflow.start(Flow, { id, input: value }))
    if (refused !== undefined) return { refused }
    yield* Workflow.resume(Flow, id)
    return { read: seen.at(-1) }
  }),
  "the field of an error": (value, id) => {
    const fails = Step.make("fails", { error: Odd, run: Effect.fail(new Odd({ detail: value })) })
    return resumed((see) => Effect.catchAll(fails, ({ detail }) => Effect.sync(() => see(detail))))(id)
  },
  "a signal": (value, id) =>
    resumed(
      (see) => Effect.map(Sent.wait(), see),
      (run) => Sent.send(run, value)
    )(id),
  "an answer": (value, id) =>
    resumed(
      (see) => Effect.map(Effect.orDie(asks), see),
      (run) => Workflow.resolve(run, Answer.value(asks, value))
    )(id),
  "an answer as JSON": (value, id) =>
    resumed(
      (see) => Effect.map(Effect.orDie(asks), see),
      (run) => Workflow.resolve(run, Answer.json(value))
    )(id),
  "State in the body": (value, id) => resumed((see) => Effect.zipRight(Cell.set(value), Effect.map(Cell.get, see)))(id),
  "State in a step": (value, id) =>
    resumed((see) => Effect.zipRight(Step.make("set", { run: Cell.set(value) }), Effect.map(Cell.get, see)))(id),
  "State of all runs": (value, id) =>
    resumed((see) => Effect.zipRight(Shared.set(value), Effect.map(Shared.get, see)))(id),
  parameters: (value, id) => {
    const step = Step.make("tuned", {
      success: Schema.Unknown,
      error: Odd,
      run: Effect.flatMap(Settings.get, (settings) =>
        settings.value === null && value !== null ? Effect.fail(new Odd({ detail: 0 })) : Effect.succeed("done")
      ),
      recover: { Odd: Strategy.modify(Settings, () => ({ value })) }
    })
    return resumed((see) =>
      Effect.zipRight(
        Effect.orDie(step),
        Effect.map(Settings.get, (settings) => see(settings.value))
      )
    )(id)
  },
  "the output of a graph's node": (value, id) => {
    const graph = Graph.make("graph", { made: Graph.node(returning(value)) })
    return resumed((see) => Effect.map(Graph.run(graph), ({ made }) => see(made)))(id)
  },
  "the result of an operation": Effect.fnUntraced(function* (value, id) {
    const work = yield* Recovery.recoverable({
      name: "work",
      breaker: false,
      persist: Operation.persist({ success: Schema.Unknown })
    })
    const run = work(Effect.succeed(value), { id })
    const refused = yield* refusal(run)
    return refused === undefined ? { read: yield* run } : { refused }
  }),
  "the state of a checkpoint": (value, id) =>
    resumed((see) =>
      Effect.zipRight(
        Effect.orDie(Saved.save(value)),
        Effect.map(Effect.orDie(Saved.latest()), (found) => see(found._tag === "Some" ? found.value.state : "none"))
      )
    )(id),
  "the metadata of a checkpoint": (value, id) =>
    resumed((see) =>
      Effect.zipRight(
        Effect.orDie(Saved.save(1, { metadata: { value } })),
        Effect.map(Effect.orDie(Saved.latest()), (found) => see(found._tag === "Some" ? found.value.metadata.value : 0))
      )
    )(id)
}

class Named {
  readonly name = "ada"
}

const kinds: ReadonlyArray<unknown> = [
  undefined,
  null,
  true,
  0,
  -0,
  1.5,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  "",
  "half \ud83d of an emoji",
  "a\u0000b",
  12n,
  Symbol("s"),
  () => 1,
  [],
  [1, undefined],
  [null, { a: [0] }],
  // biome-ignore lint/suspicious/noSparseArray: a hole is one of the kinds
  [1, , 2],
  "ab".match(/b/),
  {},
  { a: undefined, b: 1 },
  { "..": 1, constructor: 2 },
  JSON.parse('{"__proto__": 1}'),
  Object.create(null),
  { [Symbol("s")]: 1 },
  new Date(0),
  new Date(Number.NaN),
  /a/,
  new Map([[1, 2]]),
  new Set([1]),
  new Uint8Array([1]),
  new ArrayBuffer(1),
  new Error("no"),
  new Named(),
  Object("boxed"),
  Promise.resolve(1),
  new WeakMap()
]

/** What JSON may drop or change without a difference to the program. */
const normal = (value: unknown): unknown => {
  if (typeof value !== "object" || value === null || Object.getOwnPropertySymbols(value).length > 0) return value
  if (Array.isArray(value)) return Object.keys(value).length > value.length ? value : value.map(normal)
  const prototype = Object.getPrototypeOf(value)
  if (prototype !== null && prototype !== Object.prototype) return value
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, one]) => (one === undefined ? [] : [[key, normal(one)]]))
  )
}

const check = (fate: Fate, value: unknown) => {
  if ("refused" in fate) assert.match(fate.refused, /cannot be read back|Expected/)
  else assert.deepStrictEqual(normal(fate.read), normal(value))
}

let runs = 0

const suite = (backend: Backend, numRuns: number) =>
  describe(`${backend.name}: a recorded value comes back equal, or is refused when it is written`, () => {
    it.scopedLive.each(Object.entries(places))("%s", ([, place]) =>
      Effect.gen(function* () {
        const storage = (yield* backend.make).join()
        const fateOf = (value: unknown) => Effect.provide(place(value, `run-${++runs}`), storage)
        for (const value of kinds) check(yield* fateOf(value), value)
        const anything = FastCheck.anything({
          maxDepth: 2,
          withBigInt: true,
          withDate: true,
          withMap: true,
          withSet: true,
          withNullPrototype: true,
          withSparseArray: true,
          withTypedArray: true
        })
        for (const value of FastCheck.sample(anything, { numRuns, seed: 18 })) check(yield* fateOf(value), value)
      })
    )
  })

suite(memory, 30)
suite(sqlite, 5)
