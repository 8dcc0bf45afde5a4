import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Workflow from "../../durable/Workflow.js"
import * as Fault from "../../resilience/Fault.js"
import type { ChainStep, Suggestion } from "../Chain.js"
import type { Parts } from "./body.js"
import { hints } from "./hints.js"
import { type Compared, likeness } from "./likeness.js"
import { historyOf } from "./look.js"

const inCheck: ReadonlySet<ChainStep> = new Set(["pre_validation", "validation", "pre_criticism", "criticism"])

/** Runs of this chain that are compared, the latest ones, and how many of them count: those most alike. */
const latest = 50
const alike = 20

interface Seen {
  readonly retried: number
  readonly rewound: number
}

export const suggest = (parts: Parts, run: string, error: unknown) =>
  Effect.gen(function* () {
    const moments = yield* historyOf(parts, run)
    const last = moments.at(-1)
    // Nothing was kept of it, so there is nothing to say.
    if (last === undefined) return []
    const fault = yield* Fault.classify(error)
    const [retried, rewound] = yield* successes(parts, run, last)
    const all: ReadonlyArray<Suggestion | undefined> = [
      hint(fault.category),
      last.iteration > 1
        ? {
            strategy: "restartIteration",
            reason: `Iteration ${last.iteration} failed at ${last.step}; the ones before it came to their end.`,
            parameters: {},
            confidence: 0.7,
            estimatedSuccess: rewound ?? 0.6
          }
        : undefined,
      {
        strategy: "retry",
        reason: `What comes after ${last.step} may succeed when it is run again: ${fault.message}`,
        parameters: {},
        confidence: 0.6,
        estimatedSuccess: retried ?? 0.5
      },
      ...(inCheck.has(last.step) ? afterGeneration(last.step) : []),
      {
        strategy: "restart",
        reason: "When nothing else has helped: begin the chain again.",
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
        reason: `A failure of the category ${category} may not come again with other parameters.`,
        parameters,
        confidence: 0.8,
        estimatedSuccess: 0.7
      }
}

/** There is a text: it can be made again, judged again, or taken as it is. */
const afterGeneration = (step: ChainStep): ReadonlyArray<Suggestion> => [
  {
    strategy: "restartFrom generate",
    reason: `The text may be what ${step} fails at: make another one.`,
    parameters: {},
    confidence: 0.5,
    estimatedSuccess: 0.6
  },
  {
    strategy: "restartFrom validate",
    reason: "Judge the same text again.",
    parameters: {},
    confidence: 0.45,
    estimatedSuccess: 0.5
  },
  {
    strategy: "skip",
    reason: `Take the text as it is, without ${step}.`,
    parameters: {},
    confidence: 0.4,
    estimatedSuccess: 0.3
  }
]

/** How those of the latest runs that were most like this one ended in which something was retried, and in which something was rewound. */
const successes = (parts: Parts, self: string, last: Compared) =>
  Effect.gen(function* () {
    const runs = yield* Workflow.list({ workflow: parts.name, limit: latest })
    const ended = runs.filter(({ id, status }) => id !== self && (status === "completed" || status === "failed"))
    const compared = yield* Effect.forEach(ended, (run) =>
      Effect.map(likenessOf(parts, run.id, last), (likeness) => ({ ...run, likeness }))
    )
    const closest = compared.sort((a, b) => b.likeness - a.likeness).slice(0, alike)
    const seen = yield* Effect.forEach(closest, ({ id, status }) =>
      Effect.map(Effect.option(Workflow.status(id)), (found) => ({
        isGood: status === "completed",
        ...Option.match(found, { onNone: (): Seen => ({ retried: 0, rewound: 0 }), onSome: seenIn })
      }))
    )
    const rate = (of: keyof Seen) => {
      const all = seen.filter((one) => one[of] > 0)
      return all.length === 0 ? undefined : all.filter(({ isGood }) => isGood).length / all.length
    }
    return [rate("retried"), rate("rewound")] as const
  })

/** By the moment of the run that is most like it; one that cannot be read is like nothing. */
const likenessOf = (parts: Parts, run: string, last: Compared) =>
  Effect.match(historyOf(parts, run), {
    onFailure: () => 0,
    onSuccess: (moments) => Math.max(0, ...moments.map((moment) => likeness(moment, last)))
  })

const seenIn = ({ rewinds, steps }: Workflow.RunStatus): Seen => ({
  retried: steps.filter(({ attempts }) => attempts > 1).length,
  rewound: rewinds.length
})
