import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Decision from "../../../resilience/Decision.js"
import type { AskerService, AskRequest } from "../../../resilience/internal/kernel/runServices.js"
import { Rewinder } from "../../../resilience/internal/kernel/runServices.js"
import { StepConflict } from "../../RunError.js"
import * as live_ from "../execution/execution.js"
import * as Branch from "../execution/fiberTree.js"
import * as Replays from "../execution/replay.js"
import { errorCodec, valueCodec } from "../journal/codec.js"
import type { WaitLine } from "../journal/waitLine.js"
import { decodeAnswer, type SentAnswer } from "./answer.js"
import { begin, ended, parkedOf } from "./wait.js"
import { idOf } from "./waitId.js"
import * as Waits from "./waits.js"

type AnyDecision = Decision.Decision<unknown, never, unknown>

/** Takes the questions of a run's strategies. */
export const makeAsker = (live: live_.LiveRun): AskerService => ({
  ask: <R>(request: AskRequest<R>) =>
    Effect.withFiberRuntime<Decision.Decision<unknown, never, R>, never, R>((fiber) => {
      if (live_.isEnding(live) && live.replays.size === 0) return Replays.never
      const run = Context.get(fiber.currentContext as Context.Context<live_.Run>, live_.Run)
      const step = Branch.stepOf(fiber)
      const asking = step === undefined ? undefined : live.asking.get(step)
      // Only the step itself can ask, about an attempt that has failed.
      if (step !== undefined && (asking === undefined || asking.step.isRunning)) {
        return Effect.die(new AskedInsideStep(request.question, step))
      }
      const question: Question = { live, request, run, asking, fiber }
      // What the request needs is in the context of whoever asks.
      return ask(question, undefined) as Effect.Effect<Decision.Decision<unknown, never, R>, never, R>
    })
})

class AskedInsideStep extends Error {
  constructor(question: string, around: string) {
    super(
      `"${question}" is asked inside of "${around}", where nobody can wait for the answer: put the strategy into the step's own recover, or around the step`
    )
    this.name = "AskedInsideStep"
  }
}

interface Question {
  readonly live: live_.LiveRun
  readonly request: AskRequest<unknown>
  readonly run: live_.RunService
  /** The step that asks, if it is one. */
  readonly asking: live_.Asking | undefined
  readonly fiber: Parameters<typeof Branch.stepOf>[0]
}

/** Asks until an answer fits. */
const ask = (question: Question, refused: string | undefined): Effect.Effect<AnyDecision, never, unknown> =>
  Effect.suspend(() => {
    const { live } = question
    const key = keyOf(question)
    if (key instanceof StepConflict) return live_.stop(live, key)
    return Effect.flatMap(answered(question, key, refused), (outcome) =>
      "refused" in outcome ? ask(question, outcome.refused) : Effect.succeed(outcome.decision)
    )
  })

/** A question of a step is numbered within it; any other by its place in the body. */
const keyOf = ({ asking, fiber, request, run }: Question): string | StepConflict => {
  if (asking !== undefined) return `${asking.step.key}?${++asking.questions}`
  const key = live_.enter(run, request.strategy, fiber)
  live_.leave(run, request.strategy)
  return key instanceof StepConflict ? key : `${key}?`
}

type Outcome = { readonly decision: AnyDecision } | { readonly refused: string }

const answered = (
  question: Question,
  key: string,
  refused: string | undefined
): Effect.Effect<Outcome, never, unknown> => {
  const { live } = question
  const record = live.journal.waits.get(key)
  live.order.met.add(key)
  if (record?.end?.refused !== undefined) return Effect.succeed({ refused: record.end.refused })
  if (record?.end !== undefined) {
    return Effect.zipRight(
      Replays.inTurn(live.replays, key, record.lastSeq),
      // What was accepted is accepted again, unless the program has changed: then it is asked again.
      read(question, record.end.payload)
    )
  }
  if (live.rewinding || Replays.find(live.replays, key) !== undefined) {
    return Replays.park(live.replays, key, record !== undefined)
  }
  const waiting = Effect.flatMap(
    record === undefined ? start(question, key, refused) : Effect.succeed(record),
    (line) =>
      Effect.flatMap(
        rest(question, Waits.park(live, key, { ...parkedOf(live, key, line), signal: idOf(live.journal, key) })),
        (end) =>
          Effect.flatMap(read(question, end.payload), (outcome) =>
            Effect.as(
              ended(live, key, line, "refused" in outcome ? { ...end, refused: outcome.refused } : end),
              outcome
            )
          )
      )
  )
  return Effect.uninterruptible(waiting)
}

const rest = <A>({ asking, live, run }: Question, self: Effect.Effect<A>): Effect.Effect<A> =>
  asking === undefined ? self : Waits.resting(live, run.permit, self)

type Started = WaitLine & { readonly startedAt: number }

/** The question is on record together with the failure it is about: whoever takes over asks the same. */
const start = (
  { asking, live, request }: Question,
  key: string,
  refused: string | undefined
): Effect.Effect<Started, never, unknown> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const { failure, parameters, question, to } = request
    const { category, message } = failure.fault
    const tag = Option.getOrUndefined(failure.fault.tag)
    const line: WaitLine = {
      kind: "question",
      about: question,
      to,
      fault: { category, message, tag },
      parameters: parameters.map(({ name }) => name),
      refused
    }
    if (asking === undefined) return begin(live, key, line, now)
    return Effect.flatMap(askedLine(asking, request, now), (before) => begin(live, key, line, now, [before]))
  })

const askedLine = ({ step }: live_.Asking, { failure }: AskRequest<unknown>, now: number) => {
  const { cause: _, ...fault } = failure.fault
  return Effect.matchEffect(errorCodec(step.definition.error).encode(failure.error), {
    onFailure: (cause) => live_.stop(step.live, live_.unwritable(step.live, `error of step "${step.key}"`, cause)),
    onSuccess: (text) => {
      const error = text === undefined ? null : JSON.parse(text)
      const payload = JSON.stringify({ next: failure.at, fault, error })
      return Effect.succeed(live_.nextEntry(step.live, "AttemptAsked", step.key, failure.attempt, payload, now))
    }
  })
}

/** Makes a decision of an answer, or says why it cannot. */
const read = (question: Question, payload: string | undefined): Effect.Effect<Outcome, never, unknown> =>
  Effect.matchEffect(decodeAnswer(payload), {
    onFailure: (error) => Effect.succeed({ refused: `it cannot be read: ${error.message}` }),
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
    onFailure: (error) => refuse(`the parameters "${name}" do not fit: ${String(error)}`),
    onSuccess: (patch) => decided({ ...Decision.again(), patch })
  })
}

/** Read by the schema that was given for answers, or by that of the step. */
const valued = (
  { asking, request: { schema } }: Question,
  text: string | undefined
): Effect.Effect<Outcome, never, unknown> => {
  const codec = schema === undefined ? asking?.step.definition.success : valueCodec(schema)
  if (codec === undefined) return refuse("no value is asked for here")
  return Effect.matchEffect(codec.decode(text), {
    onFailure: (error) =>
      refuse(text === undefined ? "the result cannot be skipped" : `the value does not fit: ${String(error)}`),
    onSuccess: (value) => decided(Decision.instead(Effect.succeed(value)))
  })
}

/** A point that cannot be reached is no reason to fail: it is asked again. */
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
