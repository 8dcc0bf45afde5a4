import * as Effect from "effect/Effect"

import * as Option from "effect/Option"
import type { Outcome } from "../resilience/Events.js"
import { askedBy } from "../resilience/Key.js"
import { encodedByStorage, isEncoded } from "../storage/encodedText.js"
import type { Entry, Rewound, Run, Service, StorageError } from "../storage/Storage.js"
import { formatOf } from "./JournalFormat.js"
import {
  type DecidedLine,
  decodeChildEnd,
  decodeDecided,
  decodeEnd,
  decodeEnded,
  decodePatched,
  decodeRead,
  decodeRewind,
  decodeRollback,
  decodeSaved,
  decodeWait,
  decodeWrite,
  isRestart,
  type RewindRecord,
  type RollbackLine,
  type RollbackReason,
  type StartedWait,
  type WaitEnd
} from "./JournalLine.js"
import { JournalError, RunNotFound } from "./RunError.js"

/** A step in the journal. */
export interface StepRecord {
  readonly step: string
  readonly status: "started" | "waiting" | "asked" | "completed" | "failed"
  /** The number of the latest attempt. */
  readonly attempts: number
  /** The number of its first line. */
  readonly order: number
  readonly lastSeq: number
  readonly startedAt: number
  readonly updatedAt: number
  /** The encoded result if it is completed or failed; the encoded retry if it is waiting. */
  readonly payload: string | undefined
  /** The result is long; only the storage has it. */
  readonly omitted: boolean
  /** Failed attempts that were retried, oldest first. */
  readonly past: ReadonlyArray<Entry>
  /** Attempts that may or may not have happened. */
  readonly ambiguous: ReadonlyArray<number>
  /** It cannot be compensated. */
  readonly pivot: boolean
  /** It has a compensation. */
  readonly undo: boolean
  /** An attempt was cut short, and it is still unknown whether it happened. */
  readonly unsure: boolean
  /** The body's own fiber used it, so its place in the order is certain. */
  readonly root: boolean
  /** The line that says that the program interrupted it. Undefined once another attempt has begun. */
  readonly interruptedAt: number | undefined
}

/** The step does not run any more: it has a result, or the program interrupted it. */
export const isSettled = ({ interruptedAt, status }: StepRecord): boolean =>
  status === "completed" || status === "failed" || interruptedAt !== undefined

/** A wait in the journal, open or ended. */
export interface WaitRecord extends StartedWait {
  readonly key: string
  readonly order: number
  readonly lastSeq: number
  readonly end: (WaitEnd & { readonly at: number }) | undefined
  /** The end of a child. A long one is not here, and only the storage has it. */
  readonly childEnd: { readonly payload: string | undefined; readonly omitted: boolean } | undefined
  /** The line that says that the program interrupted it. */
  readonly interruptedAt: number | undefined
}

/** A recovery around a part of the body, in the journal. */
export interface RecoveryRecord {
  readonly key: string
  /** Its decisions, oldest first. */
  readonly decisions: ReadonlyArray<
    DecidedLine & { readonly seq: number; readonly at: number; readonly attempt: number }
  >
  readonly end: { readonly seq: number; readonly outcome: Outcome; readonly attempts: number } | undefined
}

/** A compensation in the journal. */
export interface UndoRecord {
  readonly key: string
  readonly status: "registered" | "started" | "completed" | "failed"
  readonly order: number
  readonly lastSeq: number
  readonly attempts: number
  readonly updatedAt: number
  /** Why it failed. */
  readonly payload: string | undefined
}

/** The rollback of a transaction in the journal. */
export interface RollbackRecord {
  readonly section: string
  readonly status: "started" | "completed" | "failed"
  readonly order: number
  readonly lastSeq: number
  readonly updatedAt: number
  readonly reason: RollbackReason
  /** Its last line. */
  readonly line: RollbackLine
}

/** A journal, without the lines that rewinds have removed. */
export interface Journal {
  /** In the order of their first lines. */
  readonly steps: Map<string, StepRecord>
  readonly undos: Map<string, UndoRecord>
  readonly rollbacks: Map<string, RollbackRecord>
  readonly waits: Map<string, WaitRecord>
  readonly recorded: Map<string, Entry>
  readonly recoveries: Map<string, RecoveryRecord>
  /** How often a rewind removed a key. */
  readonly epochs: Map<string, number>
  readonly rewinds: Array<RewindRecord>
  /** The rewind that has started and not ended. */
  rewinding: RewindRecord | undefined
  /** The last line at which a transaction restarted. What follows the transaction may differ from the lines before. */
  restartedAt: number
  lastSeq: number
}

export const emptyJournal = (): Journal => ({
  steps: new Map(),
  undos: new Map(),
  rollbacks: new Map(),
  waits: new Map(),
  recorded: new Map(),
  recoveries: new Map(),
  epochs: new Map(),
  rewinds: [],
  rewinding: undefined,
  restartedAt: 0,
  lastSeq: 0
})

/** Folds the lines of a journal. An unreadable line, or one of an unknown kind, is an error. */
export const readJournal = (run: string, entries: ReadonlyArray<Entry>): Journal | JournalError => {
  const journal = emptyJournal()
  for (const entry of entries) {
    const problem = fold(run, journal, entry)
    if (problem !== undefined) return problem
  }
  return journal
}

/** A line that only a newer version can read, and why. */
export interface UnreadLine {
  readonly entry: Entry
  readonly error: JournalError
}

/** As `readJournal`, for readers alone: what only a newer version can read is left out, and listed. */
export const readKnownLines = (
  run: string,
  entries: ReadonlyArray<Entry>
): { readonly journal: Journal; readonly unread: ReadonlyArray<UnreadLine> } | JournalError => {
  const journal = emptyJournal()
  const unread: Array<UnreadLine> = []
  for (const entry of entries) {
    const error = fold(run, journal, entry)
    if (error === undefined) continue
    // A later line may be about one that was left out, so it is not damaged.
    if (error.reason !== "Version" && unread.length === 0) return error
    unread.push({ entry, error })
  }
  return { journal, unread }
}

const fold = (run: string, journal: Journal, entry: Entry): JournalError | undefined => {
  const { kind, seq } = entry
  if (formatOf(kind) > journalFormat) return newerFormat(run, entry)
  const change = Object.hasOwn(folds, kind) ? folds[kind as Kind] : undefined
  if (change === undefined) return unknownKind(run, entry)
  try {
    change(journal, entry)
  } catch (cause) {
    return unreadable(run, entry, cause)
  }
  journal.lastSeq = seq
  return undefined
}

/**
 * Reads a journal without the long results of its steps. They are read when the
 * program asks for them, so the memory a run needs grows with its keys alone.
 */
export const loadJournal = (
  storage: Pick<Service, "journal" | "payload">,
  run: { readonly id: string; readonly key: number }
): Effect.Effect<Journal, StorageError | JournalError> =>
  Effect.gen(function* () {
    const journal = readJournal(run.id, yield* loadLines(storage, run.key, isWanted))
    return "steps" in journal ? journal : yield* journal
  })

/** The lines of a journal, with those of the long payloads that are wanted. */
export const loadLines = (
  storage: Pick<Service, "journal" | "payload">,
  key: number,
  isWanted: (line: Entry) => boolean
): Effect.Effect<ReadonlyArray<Entry>, StorageError> =>
  Effect.flatMap(storage.journal(key, longest), (entries) =>
    entries.some(isWanted)
      ? Effect.forEach(entries, (entry) =>
          isWanted(entry)
            ? Effect.map(storage.payload(key, entry.seq), (payload) => ({ ...entry, payload, omitted: undefined }))
            : Effect.succeed(entry)
        )
      : Effect.succeed(entries)
  )

/** Payloads longer than this are omitted, in characters. */
const longest = 256

/** The stored run with this id. */
export const findRun = (storage: Pick<Service, "find">, id: string): Effect.Effect<Run, StorageError | RunNotFound> =>
  Effect.flatMap(
    storage.find(id),
    Option.match({ onNone: () => new RunNotFound({ run: id }), onSome: (run) => Effect.succeed(run) })
  )

const isWanted = ({ kind, omitted }: Entry): boolean =>
  omitted === true && kind !== "StepCompleted" && kind !== "StepFailed" && kind !== "ChildEnded"

/** Removes the records a rewind covers. Their lines stay in the storage. */
export const forget = (journal: Journal, { after, within }: Rewound): void => {
  const covers = (key: string, { lastSeq }: { readonly lastSeq: number }) => lastSeq > after && key.startsWith(within)
  const gone = new Set<string>()
  for (const map of [journal.steps, journal.undos, journal.rollbacks, journal.waits]) {
    for (const [key, record] of map) {
      if (!covers(key, record)) continue
      map.delete(key)
      gone.add(key)
    }
  }
  // A question is removed with the step that asked it.
  for (const key of [...journal.waits.keys()]) {
    const asked = askedBy(key)
    if (asked === undefined || !gone.has(asked) || !journal.waits.delete(key)) continue
    gone.add(key)
  }
  for (const [key, { seq }] of journal.recorded) {
    if (covers(key, { lastSeq: seq })) journal.recorded.delete(key)
  }
  for (const [key, { decisions, end }] of journal.recoveries) {
    if (!key.startsWith(within)) continue
    const left = decisions.filter(({ seq }) => seq <= after)
    if (left.length === 0) journal.recoveries.delete(key)
    else journal.recoveries.set(key, { key, decisions: left, end: end && end.seq <= after ? end : undefined })
  }
  for (const key of gone) journal.epochs.set(key, (journal.epochs.get(key) ?? 0) + 1)
}

type Fold = (journal: Journal, entry: Entry) => void

const foldStep =
  (status: StepRecord["status"]): Fold =>
  ({ steps }, entry) => {
    const { kind } = entry
    const known = steps.get(entry.step)
    steps.set(entry.step, {
      step: entry.step,
      status,
      attempts: entry.attempt,
      order: known?.order ?? entry.seq,
      lastSeq: entry.seq,
      startedAt: kind === "AttemptStarted" ? entry.at : (known?.startedAt ?? entry.at),
      updatedAt: entry.at,
      payload: entry.payload,
      omitted: entry.omitted === true,
      past: kind === "AttemptFailed" ? [...(known?.past ?? []), entry] : (known?.past ?? []),
      ambiguous:
        kind === "StepAmbiguous" ? withAttempt(known?.ambiguous ?? [], entry.attempt) : (known?.ambiguous ?? []),
      pivot: known?.pivot ?? (kind === "AttemptStarted" && entry.payload?.includes(`"pivot"`) === true),
      undo: known?.undo ?? (kind === "AttemptStarted" && entry.payload?.includes(`"undo"`) === true),
      unsure: kind === "StepAmbiguous" || (kind !== "AttemptStarted" && known?.unsure === true),
      root: known?.root ?? (kind === "AttemptStarted" && entry.payload?.includes(`"root"`) === true),
      interruptedAt: undefined
    })
  }

const interruptStep: Fold = ({ steps }, { at, seq, step }) => {
  const known = steps.get(step)
  if (known === undefined) throw new Error(`the journal has no step at the key "${step}"`)
  steps.set(step, { ...known, lastSeq: seq, updatedAt: at, interruptedAt: seq })
}

/** A step or compensation that a replay can reach. */
export interface KnownKey {
  /** The journal line it began at. */
  readonly order: number
  /** Its compensation is still to run, so a rollback must reach it. */
  readonly isRequired: boolean
}

/** Every key a replay can reach. */
export const knownKeys = (journal: Journal): ReadonlyArray<readonly [key: string, known: KnownKey]> => {
  const { rollbacks, steps, undos } = journal
  // A transaction that was rolled back fails again at once; the program does not reach its steps.
  const gone = [...rollbacks.values()].filter(({ status }) => status === "completed").map(({ section }) => section)
  const isThere = (key: string) => !gone.some((section) => key.startsWith(section))
  const isOpen = (key: string) => undos.get(key)?.status !== "completed"
  const ofSteps = [...steps.values()].map(
    ({ order, step, undo }) => [step, { order, isRequired: undo && isOpen(step) }] as const
  )
  const ofUndos = [...undos.values()]
    .filter(({ key }) => !steps.has(key))
    .map(({ key, order }) => [key, { order, isRequired: isOpen(key) }] as const)
  return [...ofSteps, ...ofUndos].filter(([key]) => isThere(key))
}

/** A crash before the attempt runs again records the same attempt once more. */
const withAttempt = (attempts: ReadonlyArray<number>, attempt: number): ReadonlyArray<number> =>
  attempts.includes(attempt) ? attempts : [...attempts, attempt]

const foldUndo =
  (status: UndoRecord["status"]): Fold =>
  ({ steps, undos }, { at, attempt, payload, seq, step: key }) => {
    const order = undos.get(key)?.order ?? steps.get(key)?.order ?? seq
    undos.set(key, { key, status, order, lastSeq: seq, attempts: attempt, updatedAt: at, payload })
  }

const foldRollback =
  (status: RollbackRecord["status"]): Fold =>
  ({ rollbacks }, entry) => {
    const { at, seq, step: section } = entry
    const known = rollbacks.get(section)
    const line = decodeRollback(entry)
    const reason = known?.reason ?? line.reason
    rollbacks.set(section, {
      section,
      status,
      order: known?.order ?? seq,
      lastSeq: seq,
      updatedAt: at,
      reason,
      line
    })
  }

const startWait: Fold = ({ waits }, entry) => {
  const { at: startedAt, seq, step: key } = entry
  waits.set(key, {
    ...decodeWait(entry),
    key,
    order: seq,
    lastSeq: seq,
    startedAt,
    end: undefined,
    childEnd: undefined,
    interruptedAt: undefined
  })
}

const endWait: Fold = ({ waits }, entry) => {
  const { at, seq, step: key } = entry
  const known = waits.get(key)
  if (known === undefined) throw new Error(`the journal has no wait at the key "${key}"`)
  waits.set(key, { ...known, lastSeq: seq, end: { ...decodeEnd(entry), at } })
}

const endChild: Fold = ({ waits }, { at, omitted = false, payload, seq, step: key }) => {
  const known = waits.get(key)
  if (known === undefined) throw new Error(`the journal has no child at the key "${key}"`)
  if (!omitted) decodeChildEnd(payload)
  waits.set(key, { ...known, lastSeq: seq, end: { at }, childEnd: { payload, omitted } })
}

const interruptWait: Fold = ({ waits }, { seq, step: key }) => {
  const known = waits.get(key)
  if (known === undefined) throw new Error(`the journal has no wait at the key "${key}"`)
  waits.set(key, { ...known, lastSeq: seq, interruptedAt: seq })
}

/** A patch has no section, so its key could be that of something in a section "patch". */
export const recordedKey = ({ kind, step }: Pick<Entry, "kind" | "step">): string =>
  kind === "Patched" ? `[${step}]` : step

/** Code that uses the line later relies on its form, so it is checked here, where a failure names the line. */
const foldRecorded =
  (check: (entry: Entry) => unknown): Fold =>
  ({ recorded }, entry) => {
    check(entry)
    recorded.set(recordedKey(entry), entry)
  }

const foldDecided: Fold = ({ recoveries }, entry) => {
  const { at, attempt, seq, step: key } = entry
  const line = decodeDecided(entry)
  const before = recoveries.get(key)?.decisions ?? []
  recoveries.set(key, {
    key,
    decisions: [...before.slice(0, line.after), { ...line, seq, at, attempt }],
    end: undefined
  })
}

const foldEnded: Fold = ({ recoveries }, entry) => {
  const { attempt: attempts, seq, step: key } = entry
  const decisions = recoveries.get(key)?.decisions ?? []
  recoveries.set(key, { key, decisions, end: { seq, attempts, ...decodeEnded(entry) } })
}

/** Every kind of line, and how it changes the journal. */
const folds = {
  /** Written before an attempt. Without a line after it, the attempt may or may not have happened. */
  AttemptStarted: foldStep("started"),
  /** The attempt is retried; with the error and the time of the next attempt. */
  AttemptFailed: foldStep("waiting"),
  /** A strategy asks a question; with the error, in one write with the question's `WaitStarted`. */
  AttemptAsked: foldStep("asked"),
  /** The attempt died of a defect; the step is still open. */
  AttemptDied: foldStep("started"),
  /** An attempt without an end was found; with the step's `onAmbiguous`. */
  StepAmbiguous: foldStep("started"),
  /** The program interrupted the step, such as the loser of a race. */
  StepInterrupted: interruptStep,
  StepCompleted: foldStep("completed"),
  StepFailed: foldStep("failed"),
  /** A compensation that belongs to no step. A step's compensation is registered by its first attempt. */
  UndoRegistered: foldUndo("registered"),
  UndoStarted: foldUndo("started"),
  UndoCompleted: foldUndo("completed"),
  UndoFailed: foldUndo("failed"),
  /** Lines about a transaction have its section as key. */
  RollbackStarted: foldRollback("started"),
  RolledBack: foldRollback("completed"),
  RollbackFailed: foldRollback("failed"),
  WaitStarted: startWait,
  WaitEnded: endWait,
  /** The program interrupted the wait. */
  WaitInterrupted: interruptWait,
  /** Child runs are waits of a kind of their own, so that an older version refuses their lines as newer ones. */
  ChildStarted: startWait,
  /** With the outcome of the child. */
  ChildEnded: endChild,
  /** Values the body got; a resume returns them again. */
  StateSet: foldRecorded(decodeWrite),
  CheckpointSaved: foldRecorded(decodeSaved),
  CheckpointRead: foldRecorded(decodeRead),
  Patched: foldRecorded(decodePatched),
  /** A recovery in the body decides: before the decision is performed, with its fault and the time of the next attempt. */
  Decided: foldDecided,
  /** A recovery in the body has ended; with its outcome and the number of its attempts. */
  RecoveryEnded: foldEnded,
  RewindStarted: (journal: Journal, entry: Entry) => {
    journal.rewinding = decodeRewind(entry)
  },
  Rewound: (journal: Journal, entry: Entry) => {
    const rewind = decodeRewind(entry)
    forget(journal, rewind)
    journal.rewinds.push(rewind)
    if (isRestart(rewind)) journal.restartedAt = entry.seq
    if (rewind.begun === journal.rewinding?.begun) journal.rewinding = undefined
  },
  RunReopened: () => {},
  /** The first line of a generation after the first one. */
  RunContinued: () => {},
  RunForked: () => {}
} satisfies Record<string, Fold>

/** The kind of a line. */
export type Kind = keyof typeof folds

/** The newest format of lines that this version reads. */
const journalFormat = Math.max(...Object.keys(folds).map(formatOf))

/** Lines that record a value for the body. */
export type RecordedKind = "StateSet" | "CheckpointSaved" | "CheckpointRead" | "Patched"

const unreadable = (run: string, entry: Entry, cause: unknown) =>
  new JournalError({
    reason: "Decode",
    run,
    record: `journal line ${entry.seq}`,
    cause: isEncoded(entry.payload) ? encodedByStorage() : cause
  })

const newerLine = (run: string, { seq }: Entry, problem: string) =>
  new JournalError({ reason: "Version", run, record: `journal line ${seq}`, cause: new Error(problem) })

const newerFormat = (run: string, entry: Entry) => {
  const { kind } = entry
  const formats = `this version reads journal lines up to format ${journalFormat}`
  return newerLine(run, entry, `${formats}, and this one has format ${formatOf(kind)} ("${kind}")`)
}

/** Kinds are never encoded, so a newer version wrote the line, whatever its payload is. */
const unknownKind = (run: string, entry: Entry) =>
  newerLine(run, entry, `this version does not know lines of kind "${entry.kind}"`)
