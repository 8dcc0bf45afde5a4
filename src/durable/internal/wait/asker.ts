import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as RuntimeFlags from "effect/RuntimeFlags"
import { errorCodec, valueCodec } from "../../../journal/JournalCodec.js"
import type { StartedWait, WaitLine } from "../../../journal/JournalLine.js"
import { StepConflict } from "../../../journal/RunError.js"
import * as Decision from "../../../resilience/Decision.js"
import { recordOf } from "../../../resilience/FaultRecord.js"
import { messageOf } from "../../../resilience/Foreign.js"
import { type AskerService, type AskRequest, Rewinder } from "../../../resilience/internal/kernel/runServices.js"
import { type AskingStep, whileResting } from "../execution/activity.js"
import { never } from "../execution/bodyFibers.js"
import * as Execution from "../execution/execution.js"
import * as FiberTree from "../execution/fiberTree.js"
import * as Replay from "../execution/replay.js"
import * as Order from "../execution/replayOrder.js"
import { awaitGate } from "./gate.js"
import { jsonSchemaOf } from "./jsonSchema.js"
import { decodeAnswer, parkedOf, type SentAnswer, waitId } from "./resolve.js"
import { park, recordEnd, recordInterruption, recordStart } from "./wait.js"

type AnyDecision = Decision.Decision<unknown, never, unknown>

/** Asks the questions of a run's strategies: the run waits for the answer. */
export const makeAsker = (execution: Execution.Execution): AskerService => ({
  ask: <R>(request: AskRequest<R>) =>
    Effect.withFiberRuntime<Decision.Decision<unknown, never, R>, never, R>((fiber, { runtimeFlags }) => {
      if (execution.lifecycle.isEnding && execution.replay.active.size === 0) return never
      const run = Execution.runOf(fiber.currentContext)
      if (execution.lifecycle.isClosing) return Effect.interrupt
      const step = FiberTree.stepOf(fiber)
      const asking = step === undefined ? undefined : execution.activity.asking.get(step)
      // A step can only ask about an attempt that has failed.
      if (step !== undefined && (asking === undefined || asking.isAttemptRunning())) {
        return Effect.die(new AskedInsideStep(request.question, step))
      }
      const isInterruptible = RuntimeFlags.interruptible(runtimeFlags)
      const place = { isInterruptible, isRoot: Order.isRoot(fiber, runtimeFlags, execution) }
      const question: Question = { execution, request, run, asking, fiber, place }
      // What the request needs is in the context of the fiber that asks.
      return ask(question, undefined) as Effect.Effect<Decision.Decision<unknown, never, R>, never, R>
    })
})

class AskedInsideStep extends Error {
  constructor(question: string, step: string) {
    super(
      `"${question}" is asked inside of step "${step}", which cannot wait for the answer: put the strategy into the step's own recover, or around the step`
    )
    this.name = "AskedInsideStep"
  }
}

interface Question {
  readonly execution: Execution.Execution
  readonly request: AskRequest<unknown>
  readonly run: Execution.RunService
  /** The step that asks; undefined if the strategy stands around steps. */
  readonly asking: AskingStep | undefined
  readonly fiber: Parameters<typeof FiberTree.stepOf>[0]
  /** Where it is asked. */
  readonly place: { readonly isInterruptible: boolean; readonly isRoot: boolean }
}

/** Asks again until an answer fits. */
const ask = (question: Question, refused: string | undefined): Effect.Effect<AnyDecision, never, unknown> =>
  Effect.suspend(() => {
    const { execution } = question
    const key = keyOf(question)
    if (key instanceof StepConflict) return Execution.stop(execution, key)
    return Effect.flatMap(answered(question, key, refused), (outcome) =>
      "refused" in outcome ? ask(question, outcome.refused) : Effect.succeed(outcome.decision)
    )
  })

/** A step numbers its questions; any other question is keyed by its place in the body. */
const keyOf = ({ asking, fiber, request, run }: Question): string | StepConflict => {
  if (asking !== undefined) return `${asking.key}?${++asking.questions}`
  const key = Execution.claimKey(run, request.strategy, fiber)
  Execution.releaseKey(run, request.strategy)
  return key instanceof StepConflict ? key : `${key}?`
}

type Outcome = { readonly decision: AnyDecision } | { readonly refused: string }

const answered = (
  question: Question,
  key: string,
  refused: string | undefined
): Effect.Effect<Outcome, never, unknown> => {
  const { execution } = question
  const record = execution.journal.waits.get(key)
  execution.replay.order.reached.add(key)
  if (record?.end !== undefined) {
    const { payload, refused } = record.end
    return Effect.zipRight(
      Order.awaitReplayTurn(execution, key, record.lastSeq, question.place),
      // The same program accepts the answer again; a changed one may refuse it and ask anew.
      refused === undefined ? read(question, payload) : Effect.succeed({ refused })
    )
  }
  if (Execution.isReplayOnly(execution, key)) return Replay.park(execution.replay.active, key, record !== undefined)
  const started = Effect.suspend(() => (record === undefined ? start(question, key, refused) : Effect.succeed(record)))
  return Effect.uninterruptible(
    Effect.zipRight(Effect.interruptible(awaitGate(execution, record?.interruptedAt)), started).pipe(
      Effect.flatMap((line) => awaitAnswer(question, key, line))
    )
  )
}

const awaitAnswer = (question: Question, key: string, line: StartedWait): Effect.Effect<Outcome, never, unknown> => {
  const { asking, execution, run } = question
  const parked = parkedOf(execution.journal, key, line)
  const wait = park(execution, key, { ...parked, signal: waitId(execution.journal, key) })
  const inBody = Effect.onInterrupt(wait, () => recordInterruption(execution, key))
  return Effect.flatMap(asking === undefined ? inBody : whileResting(execution, run.permit, wait), (end) =>
    Effect.flatMap(read(question, end.payload), (outcome) =>
      Effect.as(
        recordEnd(execution, key, line, "refused" in outcome ? { ...end, refused: outcome.refused } : end),
        outcome
      )
    )
  )
}

/** Records the question in one write with the failure it is about, so that a takeover asks the same. */
const start = (
  { asking, execution, request }: Question,
  key: string,
  refused: string | undefined
): Effect.Effect<StartedWait, never, unknown> =>
  Effect.flatMap(execution.clock.currentTimeMillis, (now) => {
    const { failure, parameters, question, to } = request
    const { category, message } = failure.fault
    const tag = Option.getOrUndefined(failure.fault.tag)
    const valueSchema = request.schema ?? asking?.schema
    const line: WaitLine = {
      kind: "question",
      about: question,
      to,
      fault: { category, message, tag },
      parameters: parameters.map(({ name }) => name),
      refused,
      schema: valueSchema === undefined ? undefined : jsonSchemaOf(valueSchema)
    }
    if (asking === undefined) return recordStart(execution, key, line, now)
    return Effect.flatMap(askedEntry(execution, asking, request, now), (asked) => {
      const begun = asking.takeStart()
      return recordStart(execution, key, line, now, begun === undefined ? [asked] : [begun, asked])
    })
  })

const askedEntry = (
  execution: Execution.Execution,
  { error: schema, key }: AskingStep,
  { failure }: AskRequest<unknown>,
  now: number
) => {
  const fault = recordOf(failure.fault, failure.error)
  return Effect.matchEffect(errorCodec(schema).encode(failure.error), {
    onFailure: (cause) => Execution.stop(execution, Execution.encodeFailed(execution, `error of step "${key}"`, cause)),
    onSuccess: (text) => {
      const error = text === undefined ? null : JSON.parse(text)
      const payload = JSON.stringify({ next: failure.at, fault, error })
      return Effect.succeed(Execution.nextEntry(execution, "AttemptAsked", key, failure.attempt, payload, now))
    }
  })
}

/** The decision an answer stands for, or why the answer is refused. */
const read = (question: Question, payload: string | undefined): Effect.Effect<Outcome, never, unknown> =>
  Effect.matchEffect(decodeAnswer(payload), {
    onFailure: (error) => Effect.succeed({ refused: `it cannot be read: ${messageOf(error)}` }),
    onSuccess: (answer) => decide(question, answer)
  })

const decide = (question: Question, answer: SentAnswer): Effect.Effect<Outcome, never, unknown> => {
  switch (answer._tag) {
    case "Retry":
      return answer.parameters === undefined
        ? decided(Decision.again())
        : retryWith(question, answer.parameters.name, answer.parameters.value)
    case "Value":
      return valued(question, JSON.stringify(answer.value))
    case "Skip":
      return Option.match(question.request.standIn, {
        onNone: () => valued(question, undefined),
        onSome: (value) => decided(Decision.instead(Effect.succeed(value)))
      })
    case "Rewind":
      return rewound(question, answer)
    case "Abort":
      return decided(Decision.abort)
  }
}

const decided = (decision: AnyDecision): Effect.Effect<Outcome> => Effect.succeed({ decision })

const refuse = (why: string): Effect.Effect<Outcome> => Effect.succeed({ refused: why })

const retryWith = ({ request }: Question, name: string, value: unknown): Effect.Effect<Outcome, never, unknown> => {
  const parameters = request.parameters.find((one) => one.name === name)
  if (parameters === undefined) return refuse(`the parameters "${name}" are not offered`)
  return Effect.matchEffect(parameters.set(value), {
    onFailure: (error) => refuse(`the parameters "${name}" do not fit: ${messageOf(error)}`),
    onSuccess: (patch) => decided({ ...Decision.again(), patch })
  })
}

/** Reads a value by the strategy's schema, or else by the schema of the step's result. */
const valued = (
  { asking, request: { schema } }: Question,
  text: string | undefined
): Effect.Effect<Outcome, never, unknown> => {
  const codec = schema === undefined ? asking?.success : valueCodec(schema)
  if (codec === undefined) return refuse("this question takes no value")
  return Effect.matchEffect(codec.decode(text), {
    onFailure: (error) =>
      refuse(text === undefined ? "the result cannot be skipped" : `the value does not fit: ${messageOf(error)}`),
    onSuccess: (value) => decided(Decision.instead(Effect.succeed(value)))
  })
}

/** Refuses a point the run cannot be rewound to, so that the question is asked again. */
const rewound = (
  { request }: Question,
  { note, to: point }: Extract<SentAnswer, { readonly _tag: "Rewind" }>
): Effect.Effect<Outcome, never, unknown> =>
  Effect.flatMap(Rewinder, ({ plan }) =>
    Effect.flatMap(
      plan({
        strategy: request.strategy,
        point,
        times: Number.POSITIVE_INFINITY,
        reason: note ?? request.failure.fault.message
      }),
      (decision): Effect.Effect<Outcome> =>
        decision._tag === "Instead"
          ? Effect.matchEffect(decision.effect, {
              onFailure: (error) => refuse(error.message),
              onSuccess: () => refuse("it cannot be rewound")
            })
          : decided(decision as AnyDecision)
    )
  )
