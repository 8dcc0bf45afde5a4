import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { hints } from "../../../chain/hints.js"
import type * as Checkpoint from "../../../durable/Checkpoint.js"
import type * as Storage from "../../../storage/Storage.js"
import type { FailureRecord } from "../../FailureRecord.js"
import type { Suggestion } from "../../Insights.js"
import { RecoveryRefused } from "../../OperateError.js"
import { newestWith } from "../manage/checkpoints.js"
import { checkFeasible, type Request } from "../manage/feasibility.js"
import { learningKeyOf, sourceName } from "../records/recoveries.js"
import { casesOf, estimate, type Learned, learnedOf, priors } from "./estimate.js"

/** A suggestion with its priors, before the estimates of past recoveries. */
interface Candidate extends Pick<Suggestion, "strategy" | "reason" | "parameters"> {
  readonly confidence: number
  readonly success: number
}

/** A failure with what the rules below need. */
interface Subject extends Pick<FailureRecord, "category" | "message" | "severity"> {
  /** The name of the step that failed; empty if it is unknown. */
  readonly step: string
  readonly iteration: number
  /** How many of the five newest checkpoints of the repository belong to the same run or commit. */
  readonly related: number
  /** The checkpoint each recovery would go back to; undefined for one that goes back to none. */
  readonly feasible: ReadonlyMap<string, string | undefined>
}

/**
 * Ranks what can be done about a failure, the most promising first. Equal confidences keep the order of the rules.
 * Recoveries that the run and the checkpoints, or the manager of the request, do not allow are left out.
 */
export const suggest = <R>(storage: Storage.Service, failure: FailureRecord, request: Request<never, R>) =>
  Effect.gen(function* () {
    const subject = {
      ...failure,
      step: sourceName(failure),
      iteration: iterationOf(failure.step ?? ""),
      related: yield* relatedCheckpoints(failure),
      feasible: yield* feasibleRecoveries(failure, request)
    }
    const learned = yield* learnedOf(storage, learningKeyOf(failure))
    return candidatesFor(subject)
      .map((candidate) => toSuggestion(candidate, learned))
      .sort((a, b) => b.confidence - a.confidence)
  })

const recoveryTypes = ["retry", "resume", "rollback", "restart"] as const

const feasibleRecoveries = <R>(failure: FailureRecord, request: Request<never, R>) =>
  Effect.gen(function* () {
    const feasible = new Map<string, string | undefined>()
    for (const type of recoveryTypes) {
      const checked = yield* Effect.either(checkFeasible(failure, type, request))
      if (Either.isRight(checked)) feasible.set(type, checked.right.checkpoint?.id)
      else if (!(checked.left instanceof RecoveryRefused)) return yield* checked.left
    }
    return feasible
  })

const toSuggestion = ({ confidence, success, ...candidate }: Candidate, learned: Learned): Suggestion => ({
  ...candidate,
  confidence: estimate(confidence, candidate.strategy, learned),
  estimatedSuccess: estimate(success, candidate.strategy, learned),
  cases: casesOf(candidate.strategy, learned)
})

/** The number of the innermost iteration of a step key; 0 outside of loops. */
const iterationOf = (key: string): number => Number(/\[(\d+)\]\/[^[]*$/.exec(key)?.[1] ?? 0)

const relatedCheckpoints = ({ labels: { commit, repository }, run }: FailureRecord) =>
  Effect.map(newestWith(repository === undefined ? {} : { repository }, 5), (newest) => {
    const isRelated = (info: Checkpoint.Info) =>
      (run !== undefined && info.run === run) || (commit !== undefined && info.labels.commit === commit)
    return newest.filter(isRelated).length
  })

const candidate = (
  strategy: string,
  reason: string,
  parameters: Suggestion["parameters"] = {},
  confidence?: number
): Candidate => {
  const [usual, success] = priors[strategy] ?? [0.5, 0.5]
  return { strategy, reason, parameters, confidence: confidence ?? usual, success }
}

const candidatesFor = (subject: Subject): ReadonlyArray<Candidate> =>
  allCandidates(subject).filter(({ strategy }) => !isRecovery(strategy) || subject.feasible.has(strategy))

const isRecovery = (strategy: string): boolean => recoveryTypes.some((type) => type === strategy)

const allCandidates = (subject: Subject): ReadonlyArray<Candidate> => [
  ...modify(subject),
  ...guided(subject),
  ...(subject.iteration > 1
    ? [candidate("restartIteration", `Iteration ${subject.iteration} failed, and the iterations before it completed.`)]
    : []),
  candidate("retry", `The same work may succeed on another attempt: ${subject.message}`),
  ...judging(subject),
  ...goingBack(subject),
  candidate("restart", "Starts again from the beginning, if nothing else helps.")
]

/** Recognizes these causes in messages of other categories. Matches whole words: "sometimes" is no timeout. */
const words: Readonly<Record<string, RegExp>> = {
  timeout: /\b(?:timeout|timed out|deadline)\b/i,
  "rate-limit": /\b(?:rate|too many requests)\b/i,
  resource: /\b(?:memory|oom)\b/i,
  validation: /\bvalidation\b/i
}

/** One suggestion with the parameters of all causes that apply. */
const modify = ({ category, message }: Subject): ReadonlyArray<Candidate> => {
  const found = Object.entries(hints).filter(([name]) => name === category || words[name]?.test(message))
  if (found.length === 0) return []
  const about = found.map(([name]) => name).join(" and ")
  const parameters: Suggestion["parameters"] = Object.assign({}, ...found.map(([, hint]) => hint))
  const reason = `Other parameters may avoid a failure caused by ${about}.`
  return [candidate("modify", reason, parameters)]
}

/** Categories for which the same attempt fails again. */
const guidance: Readonly<Record<string, readonly [strategy: string, reason: string]>> = {
  permission: ["manual", "A person must grant the permission."],
  corruption: ["abort", "Damaged data stays damaged: restore it first."],
  validation: ["abort", "The same input fails validation again: correct the input."],
  conflict: ["modify", "The data was changed meanwhile: read it again and repeat the change."]
}

const guided = ({ category, message }: Subject): ReadonlyArray<Candidate> => {
  const found = Object.hasOwn(guidance, category) ? guidance[category] : undefined
  return found === undefined ? [] : [candidate(found[0], `${found[1]} (${message})`)]
}

/** Steps that validate or criticize: their input can be made again, or the step can be skipped. */
const judging = ({ step }: Subject): ReadonlyArray<Candidate> => {
  if (!/^(?:pre_)?(?:validat|critici[sz])|^post_retrieval$/i.test(step)) return []
  return [
    ...(/retrieval/i.test(step)
      ? []
      : [candidate("restartFrom", `The input of ${step} may be the cause: make it again.`)]),
    candidate("skip", `Continue without ${step}.`)
  ]
}

const goingBack = ({ category, feasible, related, severity }: Subject): ReadonlyArray<Candidate> => {
  const { resume, rollback } = { resume: feasible.get("resume"), rollback: feasible.get("rollback") }
  const isLong = category === "build" || category === "dependency"
  const isCritical = severity === "critical" && related > 1
  return [
    candidate(
      "resume",
      isLong
        ? `The work before a ${category} failure takes long: continue from checkpoint ${resume}.`
        : `Continue from checkpoint ${resume}, which was saved before the failure.`,
      resume === undefined ? {} : { checkpoint: resume },
      isLong ? 0.75 : undefined
    ),
    candidate(
      "rollback",
      isCritical
        ? `The failure is critical, and there are ${related} checkpoints: undo the work since checkpoint ${rollback}.`
        : `Undo the work since checkpoint ${rollback}, and leave the run there.`,
      rollback === undefined ? {} : { checkpoint: rollback },
      isCritical && !isLong ? 0.75 : undefined
    )
  ]
}
