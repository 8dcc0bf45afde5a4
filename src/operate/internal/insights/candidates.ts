import { hints } from "../../../chain/internal/hints.js"
import type { Suggestion } from "../../Insights.js"

/** What a candidate is thought of before anything was learned. */
export interface Candidate extends Pick<Suggestion, "strategy" | "reason" | "parameters"> {
  readonly confidence: number
  readonly success: number
}

/** What the offering rules look at. */
export interface Subject {
  readonly category: string
  readonly message: string
  /** The step that failed, without its sections; empty if none is known. */
  readonly step: string
  readonly iteration: number
  /** What there is to go back to; nothing outside of runs. */
  readonly checkpoints: Related | undefined
  readonly severity: string
}

export interface Related {
  /** Checkpoints of the same run or commit, of the newest of its repository. */
  readonly related: number
  /** The newest of the run from before the failure. */
  readonly before: string | undefined
}

/** The confidences a strategy begins with, wherever it is ranked. */
export const priors: Readonly<Record<string, readonly [confidence: number, success: number]>> = {
  modify: [0.8, 0.7],
  restartIteration: [0.7, 0.6],
  retry: [0.6, 0.5],
  resume: [0.55, 0.6],
  restartFrom: [0.5, 0.6],
  skip: [0.4, 0.3],
  manual: [0.75, 0.6],
  abort: [0.65, 0],
  rollback: [0.35, 0.6],
  restart: [0.3, 0.9]
}

const candidate = (
  strategy: string,
  reason: string,
  parameters: Suggestion["parameters"] = {},
  confidence?: number
): Candidate => {
  const [usual, success] = priors[strategy] ?? [0.5, 0.5]
  return { strategy, reason, parameters, confidence: confidence ?? usual, success }
}

export const candidatesFor = (subject: Subject): ReadonlyArray<Candidate> => [
  ...modify(subject),
  ...guided(subject),
  ...(subject.iteration > 1
    ? [candidate("restartIteration", `Iteration ${subject.iteration} failed; the ones before it came to their end.`)]
    : []),
  candidate("retry", `The same may succeed when it is run again: ${subject.message}`),
  ...checks(subject),
  ...goingBack(subject),
  candidate("restart", "When nothing else has helped: begin again.")
]

/** Whole words, for failures of another category that tell of one of these: "sometimes" is no time-out. */
const words: Readonly<Record<string, RegExp>> = {
  timeout: /\b(?:timeout|timed out|deadline)\b/i,
  "rate-limit": /\b(?:rate|too many requests)\b/i,
  resource: /\b(?:memory|oom)\b/i,
  validation: /\bvalidation\b/i
}

/** Several may add up to one change of parameters. */
const modify = ({ category, message }: Subject): ReadonlyArray<Candidate> => {
  const found = Object.entries(hints).filter(([name]) => name === category || words[name]?.test(message))
  if (found.length === 0) return []
  const about = found.map(([name]) => name).join(" and ")
  const parameters: Suggestion["parameters"] = Object.assign({}, ...found.map(([, hint]) => hint))
  const reason = `A failure that has to do with ${about} may not come again with other parameters.`
  return [candidate("modify", reason, parameters)]
}

/** Where running it again changes nothing. */
const advice: Readonly<Record<string, readonly [strategy: string, reason: string]>> = {
  permission: ["manual", "Somebody must give the permission; it does not come by itself."],
  corruption: ["abort", "What is damaged stays damaged: restore it first."],
  validation: ["abort", "What does not fit does not fit the next time either: mend the input."],
  conflict: ["modify", "Somebody else has changed it: read it again, and redo the change on what is there now."]
}

const guided = ({ category, message }: Subject): ReadonlyArray<Candidate> => {
  const [strategy, reason] = (Object.hasOwn(advice, category) ? advice[category] : undefined) ?? []
  if (strategy === undefined || reason === undefined) return []
  return [candidate(strategy, `${reason} (${message})`)]
}

/** A text that was judged can be judged again, made again, or taken as it is. */
const checks = ({ step }: Subject): ReadonlyArray<Candidate> => {
  if (!/^(?:pre_)?(?:validat|critici[sz])|^post_retrieval$/i.test(step)) return []
  return [
    ...(/retrieval/i.test(step)
      ? []
      : [candidate("restartFrom", `What ${step} looks at may be what it fails at: make it again.`)]),
    candidate("skip", `Go on without ${step}.`)
  ]
}

const goingBack = ({ category, checkpoints, severity }: Subject): ReadonlyArray<Candidate> => {
  if (checkpoints?.before === undefined) return []
  const { before, related } = checkpoints
  const isLong = category === "build" || category === "dependency"
  const isCritical = severity === "critical" && related > 1
  return [
    candidate(
      "resume",
      isLong
        ? `Failures of ${category} are long to come to: go on from checkpoint ${before}.`
        : `Go on from checkpoint ${before}, which was saved before the failure.`,
      { checkpoint: before },
      isLong ? 0.75 : undefined
    ),
    candidate(
      "rollback",
      isCritical
        ? `It is critical, and there are ${related} checkpoints: undo what was done since checkpoint ${before}.`
        : `Undo what was done since checkpoint ${before}, and leave the run there.`,
      { checkpoint: before },
      isCritical && !isLong ? 0.75 : undefined
    )
  ]
}
