import type { Entry } from "../../storage/Storage.js"
import { JournalError } from "../RunError.js"

/**
 * The lines of a journal:
 *
 * - `AttemptStarted`: written before an attempt; without a line after it the
 *   process ended meanwhile and nobody knows whether the attempt happened
 * - `AttemptFailed`: a strategy said Again; with the error and when to go on
 * - `AttemptDied`: the attempt ended in a defect; the step is still open
 * - `StepAmbiguous`: a started-only attempt was found, and what was done
 * - `StepCompleted`, `StepFailed`: the result, final
 */
export type Kind = "AttemptStarted" | "AttemptFailed" | "AttemptDied" | "StepAmbiguous" | "StepCompleted" | "StepFailed"

/** What the journal knows of one step. */
export interface StepRecord {
  readonly step: string
  readonly status: "started" | "waiting" | "completed" | "failed"
  /** The number of the latest attempt. */
  readonly attempts: number
  readonly startedAt: number
  readonly updatedAt: number
  /** Encoded result of a step that is completed or failed; encoded wait of one that waits. */
  readonly payload: string | undefined
  /** Attempts answered with Again, oldest first. */
  readonly past: ReadonlyArray<Entry>
  /** Attempts of which nobody knows whether they happened. */
  readonly ambiguous: ReadonlyArray<number>
}

const statuses: Readonly<Record<Kind, StepRecord["status"]>> = {
  AttemptStarted: "started",
  AttemptFailed: "waiting",
  AttemptDied: "started",
  StepAmbiguous: "started",
  StepCompleted: "completed",
  StepFailed: "failed"
}

const isKind = (kind: string): kind is Kind => Object.hasOwn(statuses, kind)

/** Adds one line to what is known; a line of an unknown kind is an error, never skipped. */
const add = (known: StepRecord | undefined, kind: Kind, entry: Entry): StepRecord => ({
  step: entry.step,
  status: statuses[kind],
  attempts: entry.attempt,
  startedAt: kind === "AttemptStarted" ? entry.at : (known?.startedAt ?? entry.at),
  updatedAt: entry.at,
  payload: entry.payload,
  past: kind === "AttemptFailed" ? [...(known?.past ?? []), entry] : (known?.past ?? []),
  ambiguous: kind === "StepAmbiguous" ? withAttempt(known?.ambiguous ?? [], entry.attempt) : (known?.ambiguous ?? [])
})

/** A process that ends again before it has run the attempt finds the same one. */
const withAttempt = (attempts: ReadonlyArray<number>, attempt: number): ReadonlyArray<number> =>
  attempts.includes(attempt) ? attempts : [...attempts, attempt]

/** The steps a journal tells of, in the order they were first started. */
export const readJournal = (run: string, entries: ReadonlyArray<Entry>): Map<string, StepRecord> | JournalError => {
  const steps = new Map<string, StepRecord>()
  for (const entry of entries) {
    if (!isKind(entry.kind)) return unknownKind(run, entry)
    steps.set(entry.step, add(steps.get(entry.step), entry.kind, entry))
  }
  return steps
}

const unknownKind = (run: string, entry: Entry) =>
  new JournalError({
    reason: "Decode",
    run,
    record: `journal line ${entry.seq}`,
    cause: new Error(`lines of kind "${entry.kind}" are not known to this version of effect-recovery`)
  })
