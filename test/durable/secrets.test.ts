import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { Answer, Parameters, State, Step, type Storage, Strategy, Workflow } from "effect-recovery"
import { Timeline } from "effect-recovery/operate"
import { Testing } from "effect-recovery/testing"
import { assertTagged } from "../support/assertions.js"
import { backends } from "../support/storages.js"

const secret = "zq-planted"
const Login = Schema.Struct({ user: Schema.String, password: Schema.Redacted(Schema.String) })
const loginWith = (password: string) => ({ user: "ada", password: Redacted.make(password) })

class Denied extends Schema.TaggedError<Denied>()("Denied", { login: Login }) {}

const Key = Parameters.make("key", Schema.Struct({ key: Schema.Redacted(Schema.String) }), { key: Redacted.make("") })
const Vault = State.make("vault", Schema.String, "", { private: true })
const Balance = State.make("balance", Schema.Number, 0, { private: true })

let attempts = 0
const open = Step.make("open", {
  success: Login,
  error: Denied,
  run: Effect.gen(function* () {
    const { key } = yield* Key.get
    return attempts++ === 0 ? yield* new Denied({ login: loginWith(`${secret} 1`) }) : loginWith(Redacted.value(key))
  }),
  recover: { Denied: Strategy.manual({ question: "Another key?", parameters: [Key] }) }
})

const Open = Workflow.make("open", { input: Login, success: Login, error: Denied }, () =>
  Effect.gen(function* () {
    yield* Vault.set(`${secret} 2`)
    const login = yield* open
    yield* Vault.update((text) => `${text} ${secret}`)
    return { user: yield* Effect.map(Vault.get, (text) => String(text.length)), password: login.password }
  })
)

const copy = Step.make("copy", { success: Login, run: (login: typeof Login.Type) => Effect.succeed(login) })
const Pass = Workflow.make("pass", { input: Login, success: Login }, (login) => copy(login))

const Count = Workflow.make("count", { success: Schema.Number }, () =>
  Effect.gen(function* () {
    yield* Balance.set(4711)
    return (yield* Balance.get) > 4_000 ? 1 : 0
  })
)

const execute = Workflow.execute(Open, { id: "1", input: loginWith(`${secret} 3`) })

const answered = Effect.gen(function* () {
  attempts = 0
  yield* Effect.flip(execute)
  yield* Workflow.resolve("1", Answer.retryWith(Key, { key: Redacted.make(`${secret} 4`) }))
  return yield* execute
})

describe.each(backends)("The secrets of a run on $name", ({ make }) => {
  const test = (name: string, body: Effect.Effect<void, unknown, Storage.Storage>) =>
    it.scoped(name, () => Effect.flatMap(make, ({ join }) => Effect.provide(body, join("10 days"))))

  test(
    "come back at a resume: of results, errors, parameters, answers and private State",
    Effect.gen(function* () {
      const { password, user } = yield* answered
      assert.strictEqual(Redacted.value(password), `${secret} 4`)
      assert.strictEqual(user, String(`${secret} 2 ${secret}`.length))
      assert.strictEqual(Redacted.value((yield* execute).password), `${secret} 4`)
    })
  )

  test(
    "are hidden in its timeline, its exported history and the error of another input",
    Effect.gen(function* () {
      yield* answered
      const timeline = yield* Timeline.ofRun("1")
      assert.include(JSON.stringify(timeline), "<redacted>")
      assert.notInclude(JSON.stringify(timeline), secret)
      const history = yield* Workflow.history("1")
      assert.include(JSON.stringify(history), "<redacted>")
      assert.notInclude(JSON.stringify(history), secret)
      const mismatch = yield* Effect.flip(Workflow.execute(Open, { id: "1", input: loginWith("another") }))
      assertTagged(mismatch, "RunMismatch", { field: "input" })
      assert.notInclude(JSON.stringify(mismatch) + mismatch.message, secret)
      assert.include(JSON.stringify(yield* Workflow.history("1", { secrets: "plain" })), `${secret} 4`)
    })
  )

  test(
    "need not be in a history that is replayed, unless its schemas cannot read what hides them",
    Effect.gen(function* () {
      yield* Workflow.execute(Pass, { id: "1", input: loginWith(secret) })
      yield* Workflow.execute(Count, { id: "2" })
      const hidden = yield* Workflow.history("1")
      assert.notInclude(JSON.stringify(hidden), secret)
      assert.deepStrictEqual(yield* Testing.replay(Pass, hidden), { answered: 1, end: "completed" })
      const error = yield* Effect.flip(
        Effect.flatMap(Workflow.history("2"), (history) => Testing.replay(Count, history))
      )
      assertTagged(error, "JournalError", { record: 'state "balance"' })
      const plain = yield* Workflow.history("2", { secrets: "plain" })
      assert.strictEqual((yield* Testing.replay(Count, plain)).end, "completed")
    })
  )
})
