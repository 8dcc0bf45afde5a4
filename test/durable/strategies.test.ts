import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import {
  Answer,
  Checkpoint,
  Parameters,
  Recovery,
  RetryPolicy,
  Step,
  type Storage,
  Strategy,
  Transaction,
  Workflow
} from "effect-recovery"
import { Ledger, Testing } from "effect-recovery/testing"
import { Bad, undoable } from "../support/durable.js"
import { backends } from "../support/storages.js"

const Size = Parameters.make("size", Schema.Number, 8)
const Progress = Checkpoint.make("progress", { schema: Schema.Number })

const twice = RetryPolicy.fixed({ maxRetries: 2, delay: "3 seconds", jitter: "none" })

/** Fails a given number of times, counted in the ledger, which outlives the process. */
const failing = (times: number, recover: object = {}) =>
  Step.make("work", {
    success: Schema.Number,
    error: Bad,
    run: Effect.gen(function* () {
      const before = (yield* Ledger.lines).filter(({ effect }) => effect === "work").length
      yield* Ledger.done("work")
      return before < times ? yield* new Bad() : 7
    }),
    recover
  })

/** Fails until a step was compensated, so only a rewind helps. */
const failingUntilUndone = (name: string, recover: object = {}) =>
  Step.make("work", {
    success: Schema.Number,
    error: Bad,
    run: Effect.gen(function* () {
      yield* Ledger.done("work")
      const isUndone = (yield* Ledger.lines).some(({ effect, kind }) => effect === name && kind === "undone")
      return isUndone ? 7 : yield* new Bad()
    }),
    recover
  })

/** Gives the first answer, then a value when the run asks again. */
const answering = (first: Answer.Answer<never>) => {
  let isFirst = true
  return () =>
    Effect.suspend(() => {
      const answer = isFirst ? first : Answer.json(9)
      isFirst = false
      return Workflow.resolve("crash-everywhere", answer)
    })
}

interface Case {
  readonly body: Effect.Effect<
    unknown,
    Bad | Strategy.RewindRefused | Recovery.RecoveryExhausted<Bad>,
    Workflow.Run | Transaction.Transaction | Ledger.Ledger | Strategy.Rewinder | Strategy.Asker | Storage.Storage
  >
  readonly answers?: () => () => Effect.Effect<void, unknown, Storage.Storage>
  /** A step that runs again after a rewind is not a duplicate. */
  readonly repeats?: boolean
}

const cases: Readonly<Record<string, Case>> = {
  retry: { body: failing(2, { Bad: Strategy.retry(twice) }) },
  "retry, exhausted": { body: failing(9, { Bad: Strategy.retry(twice) }) },
  alternate: { body: failing(9, { Bad: Strategy.alternate(() => Effect.succeed(1)) }) },
  skip: { body: failing(9, { Bad: Strategy.skip(0) }) },
  abort: { body: failing(9, { Bad: Strategy.abort }) },
  modify: {
    body: Effect.zipRight(
      failing(1, { Bad: Strategy.modify(Size, (size, _: Bad) => size / 2) }),
      Effect.asVoid(Size.get)
    ) as Case["body"]
  },
  sequence: {
    body: failing(9, {
      Bad: Strategy.sequence(
        Strategy.retry(twice),
        Strategy.alternate(() => new Bad()),
        Strategy.skip(0)
      )
    })
  },
  "sequence to a person": {
    body: failing(9, { Bad: Strategy.sequence(Strategy.retry(twice), Strategy.manual()) }),
    answers: () => answering(Answer.retry)
  },
  "manual, answered with retry": {
    body: failing(1, { Bad: Strategy.manual() }),
    answers: () => answering(Answer.retry)
  },
  "manual, answered with parameters": {
    body: Effect.zipRight(
      failing(1, { Bad: Strategy.manual({ parameters: Size }) }),
      Effect.asVoid(Size.get)
    ) as Case["body"],
    answers: () => answering(Answer.retryWith(Size, 4))
  },
  "manual, answered with a value": {
    body: failing(9, { Bad: Strategy.manual() }),
    answers: () => answering(Answer.json(3))
  },
  "manual, answered with skip": {
    body: failing(9, { Bad: Strategy.manual({ skip: 0 }) }),
    answers: () => answering(Answer.skip)
  },
  "manual, answered with abort": {
    body: failing(9, { Bad: Strategy.manual() }),
    answers: () => answering(Answer.abort)
  },
  "manual, answered with what does not fit": {
    body: failing(9, { Bad: Strategy.manual() }),
    // It is refused before it is stored, so the run still waits.
    answers: () => () =>
      Effect.zipRight(
        Effect.flip(Workflow.resolve("crash-everywhere", Answer.json("no number"))),
        Workflow.resolve("crash-everywhere", Answer.json(9))
      )
  },
  "manual, answered with a rewind": {
    body: Effect.zipRight(undoable("before"), failingUntilUndone("before", { Bad: Strategy.manual() })),
    answers: () => answering(Answer.rewind(Workflow.fromStart)),
    repeats: true
  },
  "escalate, in the body": {
    body: failing(1).pipe(Recovery.recover({ Bad: Strategy.escalate("ops") })),
    answers: () => answering(Answer.retry)
  },
  "manual, in a transaction that fails": {
    body: Transaction.run(Effect.zipRight(undoable("first"), failing(9, { Bad: Strategy.manual() }))).pipe(
      Effect.catchTag("RollbackFailed", Effect.die)
    ) as Case["body"],
    answers: () => answering(Answer.abort)
  },
  restart: {
    body: Effect.zipRight(undoable("before"), failingUntilUndone("before", { Bad: Strategy.restart() })),
    repeats: true
  },
  restartFrom: {
    body: Effect.zipRight(
      Effect.zipRight(undoable("before"), undoable("again")),
      failingUntilUndone("again", { Bad: Strategy.restartFrom("again") })
    ),
    repeats: true
  },
  restartIteration: {
    body: Effect.forEach([1, 2], (i) =>
      Effect.zipRight(undoable("before"), failingUntilUndone("before", { Bad: Strategy.restartIteration() })).pipe(
        Workflow.section("turn", i)
      )
    ),
    repeats: true
  },
  rollback: {
    body: Transaction.run(
      Effect.zipRight(undoable("before"), failingUntilUndone("before", { Bad: Strategy.rollback() }))
    ).pipe(Effect.catchTag("RollbackFailed", Effect.die)) as Case["body"],
    repeats: true
  },
  resume: {
    body: undoable("before").pipe(
      Effect.zipRight(Progress.save(1)),
      Effect.zipRight(undoable("after")),
      Effect.zipRight(failingUntilUndone("after", { Bad: Strategy.resume(Progress) })),
      Effect.catchTags({ StorageError: Effect.die, JournalError: Effect.die })
    ) as Case["body"],
    repeats: true
  }
}

for (const backend of backends) {
  describe(`${backend.name}: each strategy, with a crash before, during and after each of its writes`, () => {
    for (const [name, { answers, body, repeats = false }] of Object.entries(cases)) {
      it.live(name, () =>
        Effect.gen(function* () {
          const workflow = Workflow.make("flow", { error: Bad }, () =>
            Effect.asVoid(Transaction.run(body).pipe(Effect.catchTag("RollbackFailed", Effect.die)))
          )
          const store = Effect.map(backend.make, (place) => place.store)
          const onSuspended = answers === undefined ? undefined : freshFor(answers)
          const card = yield* Testing.crashEverywhere(workflow, { input: undefined, store, onSuspended })
          assert.isAtLeast(card.crashes, 8)
          assert.deepStrictEqual(card.outcomes, [])
          assert.deepStrictEqual([card.undosMissed, card.undosDoubled], [[], []])
          assert.deepStrictEqual(card.lost, [])
          if (!repeats) assert.deepStrictEqual(card.duplicated, [])
        })
      )
    }
  })
}

/** Answers start again for each run. */
const freshFor = (make: NonNullable<Case["answers"]>) => {
  let answer = make()
  return (suspended: Workflow.RunSuspended) =>
    Effect.suspend(() => {
      // At the first question of a run the answers start again.
      if (suspended.waits[0]?.id.endsWith("?1") || suspended.waits[0]?.id.endsWith("escalate?")) answer = make()
      return answer()
    })
}
