import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Fault, Recovery, RetryPolicy, Step, Strategy, Workflow } from "effect-recovery"
import { Ledger, Testing } from "effect-recovery/testing"
import { causeCodec } from "../../src/journal/JournalCodec.js"
import { backends, memory } from "../support/storages.js"

/** As in the README: what the cause says of the failure is lost in its encoding. */
class Remote extends Schema.TaggedError<Remote>()("Remote", { cause: Schema.Defect }) {}

interface Reason {
  readonly message: string
  readonly status: number | undefined
  readonly code: string | undefined
  readonly declared: Fault.Category | undefined
  readonly retryAfter: number | undefined
  readonly cause: Reason | undefined
}

const errorOf = ({ cause, code, declared, message, retryAfter, status }: Reason): Error =>
  Object.assign(new Error(message, cause === undefined ? {} : { cause: errorOf(cause) }), {
    ...(status === undefined ? {} : { status }),
    ...(code === undefined ? {} : { code }),
    ...(retryAfter === undefined ? {} : { headers: { "retry-after": String(retryAfter) } }),
    ...(declared === undefined ? {} : { [Fault.declared]: Fault.declare({ category: declared, transient: true }) })
  })

const reasons: FastCheck.Arbitrary<Reason> = FastCheck.letrec<{ reason: Reason }>((tie) => ({
  reason: FastCheck.record({
    message: FastCheck.constantFrom("it broke", "timeout while reading", "permission denied"),
    status: FastCheck.constantFrom(undefined, 400, 403, 404, 408, 409, 429, 500, 503),
    code: FastCheck.constantFrom(undefined, "ECONNREFUSED", "ETIMEDOUT", "ENOSPC", "EACCES", "SQLITE_CORRUPT"),
    declared: FastCheck.constantFrom(undefined, undefined, "conflict", "dependency", "logic", "linting"),
    retryAfter: FastCheck.constantFrom(undefined, undefined, 2),
    cause: FastCheck.option(tie("reason"), { nil: undefined, maxDepth: 2, depthSize: "small" })
  })
})).reason

const fewRetries = RetryPolicy.byCategory({
  network: RetryPolicy.fixed({ maxRetries: 1, delay: "2 seconds" }),
  "rate-limit": RetryPolicy.fixed({ maxRetries: 2, delay: "1 second" }),
  unavailable: RetryPolicy.fixed({ maxRetries: 2, delay: "3 seconds" }),
  conflict: RetryPolicy.fixed({ maxRetries: 1, delay: "1 second" }),
  unknown: RetryPolicy.none
})

const took = (branch: string) => Step.make(branch, { run: Ledger.done(branch) })

/** What a strategy can decide by; the text of an exhausted recovery counts its attempts. */
const branchOf = ({ category, retryAfter, severity, transient }: Fault.Fault) =>
  [category, severity, transient, Option.getOrUndefined(Option.map(retryAfter, Duration.format))].join(" ")

/** Fails always, retries by category, and decides by the category of the last failure. */
const byCategory = (reason: Reason, recover: object) => {
  const work = Step.make("work", {
    error: Remote,
    run: Effect.zipRight(
      Ledger.done("work"),
      Effect.suspend(() => new Remote({ cause: errorOf(reason) }))
    ),
    ...recover
  })
  return Workflow.make("by category", {}, () =>
    work.pipe(
      Recovery.recoverCategory({
        otherwise: Strategy.make("note", (failure: Strategy.Failure<unknown>) => ({
          _tag: "Instead" as const,
          effect: took(branchOf(failure.fault))
        }))
      }),
      Effect.orDie
    )
  )
}

const forms: Readonly<Record<string, object>> = {
  retry: { retry: fewRetries },
  "Strategy.retry": { recover: { Remote: Strategy.retry(fewRetries) } },
  "Strategy.auto": {
    recover: { Remote: Strategy.auto({ again: Strategy.retry(fewRetries), stop: Strategy.abort }) }
  },
  "no strategy": {}
}

const checked = (workflow: ReturnType<typeof byCategory>, backend = memory) =>
  Effect.map(
    Testing.crashEverywhere(workflow, { input: undefined, store: Effect.map(backend.make, ({ store }) => store) }),
    (card) => {
      assert.isAtLeast(card.crashes, 6)
      assert.deepStrictEqual(card.outcomes, [])
      assert.deepStrictEqual([card.lost, card.duplicated], [[], []])
    }
  )

describe("the fault of a failure survives a crash after any line of the journal", () => {
  const limited: Reason = {
    message: "slow down",
    status: 429,
    code: undefined,
    declared: undefined,
    retryAfter: 3,
    cause: undefined
  }
  const refused = { ...limited, message: "fetch failed", status: undefined, code: "ECONNREFUSED" }
  for (const backend of backends) {
    // SQLite keeps the same texts, so two forms show it.
    for (const [name, recover] of Object.entries(forms).slice(backend === memory ? 0 : -2)) {
      it.live(`${backend.name}: ${name}, with a status in the cause`, () =>
        checked(byCategory(limited, recover), backend)
      )
      it.live(`${backend.name}: ${name}, with a code in the cause`, () =>
        checked(byCategory(refused, recover), backend)
      )
    }
  }

  for (const [name, recover] of Object.entries(forms)) {
    it.live(`${name}: any error takes the same branch after as many attempts`, () =>
      Effect.promise(() =>
        FastCheck.assert(
          FastCheck.asyncProperty(reasons, (reason) =>
            Effect.runPromise(Effect.scoped(checked(byCategory(reason, recover))))
          ),
          { numRuns: 5, seed: 18 }
        )
      )
    )
  }

  it.effect(
    "a workflow's recorded outcome is classified as the fresh one",
    () =>
      Effect.gen(function* () {
        const cause = Cause.parallel(
          Cause.fail(new Remote({ cause: errorOf(limited) })),
          Cause.sequential(Cause.die("broken"), Cause.fail(new Remote({ cause: errorOf(refused) })))
        )
        const codec = causeCodec(Remote)
        const read = (yield* Effect.flatMap(codec.encode(cause), codec.decode)) as Cause.Cause<unknown>
        const faultsOf = (cause: Cause.Cause<unknown>) => Effect.forEach(Cause.failures(cause), Fault.classify)
        const without = (faults: ReadonlyArray<Fault.Fault>) => faults.map(({ cause: _, ...fault }) => fault)
        assert.deepStrictEqual(without(yield* faultsOf(read)), without(yield* faultsOf(cause)))
      }) as Effect.Effect<void>
  )

  it.effect(
    "the recovery's own rules and its wrappers see what the error said",
    () =>
      Effect.gen(function* () {
        const codec = causeCodec(Remote)
        const fresh = new Remote({ cause: errorOf(limited) })
        const encoded = yield* codec.encode(Cause.fail(fresh))
        const read = Option.getOrThrow(Cause.failureOption((yield* codec.decode(encoded)) as Cause.Cause<unknown>))
        class Wrapped extends Schema.TaggedError<Wrapped>()("Wrapped", { cause: Schema.Unknown }) {}
        const wrapped = yield* Fault.classify(new Wrapped({ cause: read }))
        assert.deepStrictEqual([wrapped.category, wrapped.retryAfter], ["rate-limit", Option.some(Duration.seconds(3))])
        const quota = yield* Fault.classifier([Fault.status(429, { category: "quota" })])
        assert.deepStrictEqual([quota(read).category, quota(fresh).category], ["quota", "quota"])
      }) as Effect.Effect<void>
  )

  it.effect("RecoveryExhausted keeps its fault in its schema", () =>
    Effect.gen(function* () {
      const error = new Remote({ cause: errorOf(refused) })
      const fault = yield* Fault.classify(error)
      const schema = Recovery.RecoveryExhausted.schema(Remote)
      const exhausted = new Recovery.RecoveryExhausted<Remote>({ error, attempts: 2, decisions: [], fault })
      const read = yield* Effect.flatMap(Schema.encode(schema)(exhausted), Schema.decode(schema))
      const { cause: _, ...recorded } = read.fault ?? fault
      const { cause: __, ...original } = fault
      assert.deepStrictEqual(recorded, original)
      assert.strictEqual((yield* Fault.classify(read)).category, "network")
    })
  )
})
