import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Inspectable from "effect/Inspectable"
import * as Option from "effect/Option"
import * as Workflow from "../../durable/Workflow.js"
import * as Fault from "../../resilience/Fault.js"
import { limit, millis } from "../../resilience/internal/kernel/options.js"
import { outcomeStatuses } from "../../storage/rows.js"
import type { Bottleneck, ChainStep, Moment, Suggestion } from "../Chain.js"
import { hints } from "../hints.js"
import type { Parts } from "./body.js"

export const historyOf = ({ checkpoint }: Parts, run: string) =>
  Effect.flatMap(checkpoint.list({ run, limit: Number.MAX_SAFE_INTEGER }), (newestFirst) =>
    Effect.forEach([...newestFirst].reverse(), ({ at, id, metadata }) =>
      Effect.map(checkpoint.restore(id), ({ state }): Moment<unknown> => {
        const { feedback, iteration, step, text, verdicts } = state
        // Only the chain saves this checkpoint, so the step is one of its steps.
        return { step: step as ChainStep, iteration, text, verdicts, feedback, at, checkpoint: id, metadata }
      })
    )
  )

/** From the times of the run's steps in its journal. */
export const bottlenecksOf = (
  id: string,
  options: { readonly limit?: number | undefined; readonly above?: Duration.DurationInput | undefined } = {}
) =>
  Effect.suspend(() => {
    const above = millis("above", options.above ?? "100 millis")
    const most = limit(options, 3)
    return Effect.map(Workflow.status(id), ({ steps }) => slowest(steps, above, most))
  })

const slowest = (steps: Workflow.RunStatus["steps"], above: number, most: number): ReadonlyArray<Bottleneck> => {
  const times = new Map<string, Array<number>>()
  for (const { key, startedAt, status, updatedAt } of steps) {
    if (status !== "completed" && status !== "failed") continue
    const part = decodeURIComponent(key.replace(/^.*\//, "").replace(/#\d+$/, ""))
    times.set(part, [...(times.get(part) ?? []), updatedAt.getTime() - startedAt.getTime()])
  }
  return [...times]
    .map(([part, all]) => ({ part, times: all.length, millis: all.reduce((a, b) => a + b, 0) / all.length }))
    .filter(({ millis }) => millis > above)
    .sort((a, b) => b.millis - a.millis)
    .slice(0, most)
    .map(({ millis, part, times }) => ({ part, times, average: Duration.millis(millis) }))
}

/** The steps at which there is a text that can be generated or validated again, or accepted. */
const afterGeneration: ReadonlySet<ChainStep> = new Set(["pre_validation", "validation", "pre_criticism", "criticism"])

/** Compares the latest 50 ended runs of the chain, and counts the 20 that are most similar. */
const maxCompared = 50
const maxCounted = 20

interface Recoveries {
  readonly retried: number
  readonly rewound: number
}

export const suggest = (parts: Parts, run: string, error: unknown) =>
  Effect.gen(function* () {
    const moments = yield* historyOf(parts, run)
    const last = moments.at(-1)
    if (last === undefined) return []
    const fault = yield* Fault.classify(error)
    const [retried, rewound] = yield* successes(parts, run, last)
    const all: ReadonlyArray<Suggestion | undefined> = [
      hint(fault.category),
      last.iteration > 1
        ? {
            strategy: "restartIteration",
            reason: `Iteration ${last.iteration} failed at ${last.step}. The iterations before it completed.`,
            parameters: {},
            confidence: 0.7,
            estimatedSuccess: rewound ?? 0.6
          }
        : undefined,
      {
        strategy: "retry",
        reason: `The part after ${last.step} may succeed on a retry: ${fault.message}`,
        parameters: {},
        confidence: 0.6,
        estimatedSuccess: retried ?? 0.5
      },
      ...(afterGeneration.has(last.step) ? suggestionsForText(last.step) : []),
      {
        strategy: "restart",
        reason: "Restarts the chain from the beginning, if nothing else helped.",
        parameters: {},
        confidence: 0.3,
        estimatedSuccess: 0.9
      }
    ]
    return all.filter((one) => one !== undefined).sort((a, b) => b.confidence - a.confidence)
  })

const hint = (category: string): Suggestion | undefined => {
  const parameters = Object.hasOwn(hints, category) ? hints[category] : undefined
  return parameters === undefined
    ? undefined
    : {
        strategy: "modify",
        reason: `Other parameters may avoid a failure of the category ${category}.`,
        parameters,
        confidence: 0.8,
        estimatedSuccess: 0.7
      }
}

const suggestionsForText = (step: ChainStep): ReadonlyArray<Suggestion> => [
  {
    strategy: "restartFrom generate",
    reason: `The text may be the cause of the failure at ${step}. Generates another one.`,
    parameters: {},
    confidence: 0.5,
    estimatedSuccess: 0.6
  },
  {
    strategy: "restartFrom validate",
    reason: "Validates the same text again.",
    parameters: {},
    confidence: 0.45,
    estimatedSuccess: 0.5
  },
  {
    strategy: "skip",
    reason: `Accepts the text without ${step}.`,
    parameters: {},
    confidence: 0.4,
    estimatedSuccess: 0.3
  }
]

/** Success rates of the most similar runs: of those with a retry, and of those with a rewind. */
const successes = (parts: Parts, self: string, last: Compared) =>
  Effect.gen(function* () {
    const latest = yield* Effect.forEach(outcomeStatuses, (status) =>
      // This run may be one of them.
      Workflow.list({ workflow: parts.name, status, limit: maxCompared + 1 })
    )
    const others = latest.flat().filter(({ id }) => id !== self)
    const ended = others.sort((a, b) => b.createdAt.getTime() - a.createdAt.getTime()).slice(0, maxCompared)
    const compared = yield* Effect.forEach(ended, (run) =>
      Effect.map(similarityOf(parts, run.id, last), (similarity) => ({ ...run, similarity }))
    )
    const closest = compared.sort((a, b) => b.similarity - a.similarity).slice(0, maxCounted)
    const seen = yield* Effect.forEach(closest, ({ id, status }) =>
      Effect.map(Effect.option(Workflow.status(id)), (found) => ({
        isGood: status === "completed",
        ...Option.match(found, { onNone: (): Recoveries => ({ retried: 0, rewound: 0 }), onSome: recoveriesOf })
      }))
    )
    const rate = (of: keyof Recoveries) => {
      const all = seen.filter((one) => one[of] > 0)
      return all.length === 0 ? undefined : all.filter(({ isGood }) => isGood).length / all.length
    }
    return [rate("retried"), rate("rewound")] as const
  })

/** The similarity of the run's most similar moment; 0 if its history cannot be read. */
const similarityOf = (parts: Parts, run: string, last: Compared) =>
  Effect.match(historyOf(parts, run), {
    onFailure: () => 0,
    onSuccess: (moments) => Math.max(0, ...moments.map((moment) => similarity(moment, last)))
  })

const recoveriesOf = ({ rewinds, steps }: Workflow.RunStatus): Recoveries => ({
  retried: steps.filter(({ attempts }) => attempts > 1).length,
  rewound: rewinds.length
})

interface Compared {
  readonly step: string
  readonly iteration: number
  readonly text: unknown
}

/** Texts are compared by their first characters. */
const comparedLength = 200

const weights = { step: 0.4, iteration: 0.1, text: 0.5 }

/** The similarity of two moments, 0 to 1. */
const similarity = (a: Compared, b: Compared): number =>
  (a.step === b.step ? weights.step : 0) +
  (a.iteration === b.iteration ? weights.iteration : 0) +
  weights.text * dice(trigramsOf(a.text), trigramsOf(b.text))

/** Trigrams, so that inflected forms of a word still match. */
const trigramsOf = (text: unknown): ReadonlySet<string> => {
  const written = typeof text === "string" ? text : text === undefined ? "" : Inspectable.toStringUnknown(text, 0)
  const letters = [...written.slice(0, comparedLength).toLowerCase().replace(/\s+/g, " ")]
  if (letters.length === 0) return new Set()
  return new Set(letters.slice(0, Math.max(1, letters.length - 2)).map((_, i) => letters.slice(i, i + 3).join("")))
}

/** The Sørensen–Dice coefficient; 1 for two empty sets. */
const dice = (a: ReadonlySet<string>, b: ReadonlySet<string>): number => {
  if (a.size + b.size === 0) return 1
  const shared = [...a].filter((trigram) => b.has(trigram)).length
  return (2 * shared) / (a.size + b.size)
}
