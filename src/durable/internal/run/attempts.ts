/** What the journal of a run says about its attempts and decisions, for readers. */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Journal } from "../../../journal/Journal.js"
import { failureOf } from "../../../journal/RunFailure.js"
import type { AttemptStatus, DecisionStatus, StepFailure } from "../../../journal/RunStatus.js"
import { hideIn } from "../../../journal/Secrets.js"
import { clip, type Json, safely } from "../../../resilience/Foreign.js"
import type { Redactor } from "../../../resilience/Redaction.js"
import type { Entry } from "../../../storage/Storage.js"
import { dateOption, finiteTime } from "../wait/resolve.js"

/** The part of a line about a failed attempt, or a decision, that is shown. */
const FailedLine = Schema.Struct({
  next: Schema.optional(Schema.Number),
  fault: Schema.Struct({ category: Schema.String, message: Schema.String, tag: Schema.optional(Schema.String) })
})

const decodeFailed = Schema.decodeUnknownOption(FailedLine)

const failedLine = ({ payload = "" }: Entry, redactor: Redactor) =>
  decodeFailed(safely(() => redactor.json(hideIn(JSON.parse(payload) as Json))))

const shown = ({ category, message, tag }: (typeof FailedLine.Type)["fault"], redactor: Redactor): StepFailure => ({
  category,
  tag,
  message: clip(redactor.text(message), 2_000)
})

/** None for a time beyond the last date there is, as of a retry that never comes. */
const timeOption = (time: number | undefined) => dateOption(time === undefined ? undefined : finiteTime(time))

/** What a line of this kind says about the attempt. */
const endings = {
  AttemptFailed: "retried",
  AttemptAsked: "asked",
  AttemptDied: "died",
  StepAmbiguous: "cutShort",
  StepInterrupted: "interrupted",
  StepCompleted: "completed",
  StepFailed: "failed"
} as const satisfies Readonly<Record<string, AttemptStatus["status"]>>

type Ending = keyof typeof endings

const isEnding = (kind: string): kind is Ending => Object.hasOwn(endings, kind)

/** The attempts of each step that no rewind removed, oldest first. */
export const attemptsOf = (
  lines: ReadonlyArray<Entry>,
  { steps }: Journal,
  redactor: Redactor
): ReadonlyMap<string, ReadonlyArray<AttemptStatus>> => {
  const attempts = new Map<string, Array<AttemptStatus>>()
  for (const line of lines) {
    const step = steps.get(line.step)
    if (step === undefined || line.seq < step.order) continue
    const known = attempts.get(line.step) ?? []
    attempts.set(line.step, known)
    if (line.kind === "AttemptStarted") begin(known, line)
    else if (isEnding(line.kind)) end(known, line, line.kind, redactor)
  }
  return attempts
}

const opened = ({ at, attempt }: Entry): AttemptStatus => ({
  number: attempt,
  status: "started",
  startedAt: new Date(at),
  endedAt: Option.none(),
  failure: Option.none(),
  nextAt: Option.none()
})

const begin = (attempts: Array<AttemptStatus>, line: Entry): void => {
  const last = attempts.at(-1)
  // The process of the attempt before has ended, and wrote no line about it.
  if (last?.status === "started") attempts.splice(-1, 1, { ...last, status: "cutShort" })
  attempts.push(opened(line))
}

const end = (attempts: Array<AttemptStatus>, line: Entry, kind: Ending, redactor: Redactor): void => {
  const last = attempts.at(-1)
  // A failure before the first attempt, such as that of a step that may not run again.
  const isOpen = last?.status === "started"
  const attempt = isOpen ? last : opened(line)
  const failed = kind === "AttemptFailed" || kind === "AttemptAsked" ? failedLine(line, redactor) : Option.none()
  const ended: AttemptStatus = {
    ...attempt,
    status: endings[kind],
    // When a process has ended is not known: the line is written by the next one.
    endedAt: kind === "StepAmbiguous" ? Option.none() : Option.some(new Date(line.at)),
    failure:
      kind === "StepFailed" || kind === "AttemptDied"
        ? Option.some(failureOf(line.payload ?? "", redactor))
        : Option.map(failed, ({ fault }) => shown(fault, redactor)),
    nextAt: kind === "AttemptFailed" ? Option.flatMap(failed, ({ next }) => timeOption(next)) : Option.none()
  }
  // A step that gives up after its last attempt ends with the failure of that attempt.
  if (!isOpen && last !== undefined && last.number === line.attempt) {
    attempts.splice(-1, 1, { ...last, status: ended.status, failure: Option.orElse(ended.failure, () => last.failure) })
  } else attempts.splice(isOpen ? -1 : attempts.length, isOpen ? 1 : 0, ended)
}

/** The decisions of recoveries that no rewind removed, oldest first. */
export const decisionsOf = (
  lines: ReadonlyArray<Entry>,
  { recoveries }: Journal,
  redactor: Redactor
): ReadonlyArray<DecisionStatus> => {
  const bySeq = new Map(lines.map((line) => [line.seq, line]))
  return [...recoveries.values()]
    .flatMap(({ decisions, key }) => decisions.map((decision) => ({ key, decision })))
    .sort((a, b) => a.decision.seq - b.decision.seq)
    .map(({ decision: { at, by, decision, fault, next, recovery, seq, step }, key }) => {
      const line = bySeq.get(seq)
      const hidden = line === undefined ? Option.none() : failedLine(line, redactor)
      return {
        key,
        recovery: Option.fromNullable(recovery),
        step: Option.fromNullable(step),
        decision,
        by,
        at: new Date(at),
        nextAt: timeOption(next),
        failure: shown(Option.match(hidden, { onNone: () => fault, onSome: ({ fault }) => fault }), redactor)
      }
    })
}
