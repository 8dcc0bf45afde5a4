import * as Effect from "effect/Effect"
import type { Entry, Rewound, Service, StorageError } from "../../../storage/Storage.js"
import { JournalError } from "../../RunError.js"
import { decodeRewind, type RewindRecord } from "./rewindLine.js"
import { decodeEnd, decodeWait, type WaitEnd, type WaitLine } from "./waitLine.js"

/**
 * The lines of a journal. About a step:
 *
 * - `AttemptStarted`: written before an attempt; without a line after it the
 *   process ended meanwhile and nobody knows whether the attempt happened
 * - `AttemptFailed`: a strategy said Again; with the error and when to go on
 * - `AttemptAsked`: a strategy handed over; with the error, beside the question
 * - `AttemptDied`: the attempt ended in a defect; the step is still open
 * - `StepAmbiguous`: a started-only attempt was found, and what was done
 * - `StepCompleted`, `StepFailed`: the result, final
 */
export type StepKind =
  | "AttemptStarted"
  | "AttemptFailed"
  | "AttemptAsked"
  | "AttemptDied"
  | "StepAmbiguous"
  | "StepCompleted"
  | "StepFailed"

/**
 * About a compensation, under the key of what it undoes. `UndoRegistered` is
 * written for those that belong to no step; a step's is registered by its
 * first attempt.
 */
export type UndoKind = "UndoRegistered" | "UndoStarted" | "UndoCompleted" | "UndoFailed"

/** About a transaction, under its section. */
export type RollbackKind = "RollbackStarted" | "RolledBack" | "RollbackFailed"

/** About something the run waits for, and how that ended. */
export type WaitKind = "WaitStarted" | "WaitEnded"

/** What the body was told, to be told again. */
export type RecordedKind = "StateSet" | "CheckpointSaved" | "CheckpointRead" | "Patched"

/** About the run as a whole. */
export type RunKind = "RewindStarted" | "Rewound" | "RunReopened" | "RunForked"

export type Kind = StepKind | UndoKind | RollbackKind | WaitKind | RecordedKind | RunKind

/** What the journal knows of one step. */
export interface StepRecord {
  readonly step: string
  readonly status: "started" | "waiting" | "asked" | "completed" | "failed"
  /** The number of the latest attempt. */
  readonly attempts: number
  /** Its place in the journal: that of its first line. */
  readonly order: number
  readonly lastSeq: number
  readonly startedAt: number
  readonly updatedAt: number
  /** Encoded result of a step that is completed or failed; encoded wait of one that waits. */
  readonly payload: string | undefined
  /** The result is long, and still in the storage. */
  readonly omitted: boolean
  /** Attempts answered with Again, oldest first. */
  readonly past: ReadonlyArray<Entry>
  /** Attempts of which nobody knows whether they happened. */
  readonly ambiguous: ReadonlyArray<number>
  /** It cannot be undone. */
  readonly pivot: boolean
  /** It has a compensation. */
  readonly undo: boolean
  /** An attempt was cut short, and nobody has found out since whether it happened. */
  readonly unsure: boolean
  /** It was used by the body's own fiber, so its place among the others is certain. */
  readonly root: boolean
}

/** What the journal knows of something the run waits for, or has waited for. */
export interface WaitRecord extends WaitLine {
  readonly key: string
  readonly order: number
  readonly lastSeq: number
  readonly startedAt: number
  readonly end: (WaitEnd & { readonly at: number }) | undefined
}

/** What the journal knows of one compensation. */
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

/** What the journal knows of the rollback of one transaction. */
export interface RollbackRecord {
  readonly section: string
  readonly status: "started" | "completed" | "failed"
  readonly order: number
  readonly lastSeq: number
  readonly updatedAt: number
  readonly reason: string
  readonly payload: string | undefined
}

/** Everything a journal tells, without what rewinds have made forgotten. */
export interface Journal {
  /** In the order they were first started. */
  readonly steps: Map<string, StepRecord>
  readonly undos: Map<string, UndoRecord>
  readonly rollbacks: Map<string, RollbackRecord>
  readonly waits: Map<string, WaitRecord>
  readonly recorded: Map<string, Entry>
  /** How often a key was forgotten. */
  readonly epochs: Map<string, number>
  readonly rewinds: Array<RewindRecord>
  /** One that was begun and has not ended. */
  rewinding: RewindRecord | undefined
  lastSeq: number
}

export const emptyJournal = (): Journal => ({
  steps: new Map(),
  undos: new Map(),
  rollbacks: new Map(),
  waits: new Map(),
  recorded: new Map(),
  epochs: new Map(),
  rewinds: [],
  rewinding: undefined,
  lastSeq: 0
})

/** A line of an unknown kind, or one that cannot be read, is an error, never skipped. */
export const readJournal = (run: string, entries: ReadonlyArray<Entry>): Journal | JournalError => {
  const journal = emptyJournal()
  for (const entry of entries) {
    const fold = Object.hasOwn(folds, entry.kind) ? folds[entry.kind as Kind] : undefined
    if (fold === undefined) return unreadable(run, entry, unknownKind(entry))
    try {
      fold(journal, entry)
    } catch (cause) {
      return unreadable(run, entry, cause)
    }
    journal.lastSeq = entry.seq
  }
  return journal
}

/**
 * Reads a journal without the long results of its steps: they are fetched when
 * they are told, and a run of any length takes no more memory than its keys.
 */
export const loadJournal = (
  storage: Pick<Service, "journal" | "payload">,
  run: { readonly id: string; readonly key: number }
): Effect.Effect<Journal, StorageError | JournalError> =>
  Effect.gen(function* () {
    const entries = yield* storage.journal(run.key, longest)
    const lines = entries.some(isWanted)
      ? yield* Effect.forEach(entries, (entry) =>
          isWanted(entry)
            ? Effect.map(storage.payload(run.key, entry.seq), (payload) => ({ ...entry, payload, omitted: undefined }))
            : Effect.succeed(entry)
        )
      : entries
    const journal = readJournal(run.id, lines)
    return "steps" in journal ? journal : yield* journal
  })

const longest = 256

const isWanted = ({ kind, omitted }: Entry): boolean =>
  omitted === true && kind !== "StepCompleted" && kind !== "StepFailed"

/** Forgets what a rewind covers; what is forgotten is still in the storage. */
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
  // A question is forgotten with the step that has asked it.
  for (const key of [...journal.waits.keys()]) {
    const asked = key.slice(0, key.lastIndexOf("?"))
    if (!gone.has(asked) || !journal.waits.delete(key)) continue
    gone.add(key)
  }
  for (const [key, { seq }] of journal.recorded) {
    if (covers(key, { lastSeq: seq })) journal.recorded.delete(key)
  }
  for (const key of gone) journal.epochs.set(key, (journal.epochs.get(key) ?? 0) + 1)
}

type Fold = (journal: Journal, entry: Entry) => void

const foldStep =
  (kind: StepKind, status: StepRecord["status"]): Fold =>
  ({ steps }, entry) => {
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
      root: known?.root ?? (kind === "AttemptStarted" && entry.payload?.includes(`"root"`) === true)
    })
  }

/** What the first line of a step says: that it is a pivot, or can be undone, and that its order is certain. */
export const markOf = (step: { readonly pivot: boolean; readonly undo: boolean; readonly root: boolean }) =>
  step.pivot
    ? step.root
      ? `{"pivot":true,"root":true}`
      : `{"pivot":true}`
    : step.undo
      ? step.root
        ? `{"undo":true,"root":true}`
        : `{"undo":true}`
      : step.root
        ? `{"root":true}`
        : undefined

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
  // What was rolled back whole answers with its failure, and nobody comes by its steps again.
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

/** A process that ends again before it has run the attempt finds the same one. */
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
  ({ rollbacks }, { at, payload, seq, step: section }) => {
    const known = rollbacks.get(section)
    const reason = known?.reason ?? reasonOf(payload)
    rollbacks.set(section, {
      section,
      status,
      order: known?.order ?? seq,
      lastSeq: seq,
      updatedAt: at,
      reason,
      payload
    })
  }

const reasonOf = (payload: string | undefined): string => JSON.parse(payload ?? "{}").reason ?? "failed"

const startWait: Fold = ({ waits }, entry) => {
  const { at: startedAt, seq, step: key } = entry
  waits.set(key, { ...decodeWait(entry), key, order: seq, lastSeq: seq, startedAt, end: undefined })
}

const endWait: Fold = ({ waits }, entry) => {
  const { at, seq, step: key } = entry
  const known = waits.get(key)
  if (known === undefined) throw new Error(`nothing of the key "${key}" was waited for`)
  waits.set(key, { ...known, lastSeq: seq, end: { ...decodeEnd(entry), at } })
}

const foldRecorded: Fold = ({ recorded }, entry) => {
  recorded.set(entry.step, entry)
}

const folds: Readonly<Record<Kind, Fold>> = {
  AttemptStarted: foldStep("AttemptStarted", "started"),
  AttemptFailed: foldStep("AttemptFailed", "waiting"),
  AttemptAsked: foldStep("AttemptAsked", "asked"),
  AttemptDied: foldStep("AttemptDied", "started"),
  StepAmbiguous: foldStep("StepAmbiguous", "started"),
  StepCompleted: foldStep("StepCompleted", "completed"),
  StepFailed: foldStep("StepFailed", "failed"),
  UndoRegistered: foldUndo("registered"),
  UndoStarted: foldUndo("started"),
  UndoCompleted: foldUndo("completed"),
  UndoFailed: foldUndo("failed"),
  RollbackStarted: foldRollback("started"),
  RolledBack: foldRollback("completed"),
  RollbackFailed: foldRollback("failed"),
  WaitStarted: startWait,
  WaitEnded: endWait,
  StateSet: foldRecorded,
  CheckpointSaved: foldRecorded,
  CheckpointRead: foldRecorded,
  Patched: foldRecorded,
  RewindStarted: (journal, entry) => {
    journal.rewinding = decodeRewind(entry)
  },
  Rewound: (journal, entry) => {
    const rewind = decodeRewind(entry)
    forget(journal, rewind)
    journal.rewinds.push(rewind)
    if (rewind.begun === journal.rewinding?.begun) journal.rewinding = undefined
  },
  RunReopened: () => {},
  RunForked: () => {}
}

const unreadable = (run: string, entry: Entry, cause: unknown) =>
  new JournalError({ reason: "Decode", run, record: `journal line ${entry.seq}`, cause })

const unknownKind = (entry: Entry) =>
  new Error(`lines of kind "${entry.kind}" are not known to this version of effect-recovery`)
