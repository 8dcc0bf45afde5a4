import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { findRun, type Journal, loadJournal, recordedKey } from "../../../journal/Journal.js"
import { encodeRewind } from "../../../journal/JournalLine.js"
import { type RunError, RunNotFound } from "../../../journal/RunError.js"
import type * as Decision from "../../../resilience/Decision.js"
import { checkedNames } from "../../../resilience/InvalidName.js"
import { askedBy } from "../../../resilience/Key.js"
import { RewindRefused } from "../../../resilience/RecoveryError.js"
import * as Storage from "../../../storage/Storage.js"
import { runHeld } from "../execution/control.js"
import { byCaller, nextEntry } from "../execution/execution.js"
import { timed } from "../execution/storeClock.js"
import { locate } from "../rewind/points.js"
import { type AnyDefinition, bodyOf, makeExecution, readJournalOf, rewind } from "./advance.js"
import { endWithoutOutcome } from "./conclude.js"
import { inputOfRun, notOpened, otherWorkflow } from "./execute.js"

/** Acquires the lease of a run, and reopens the run if it has an outcome. */
const take = (
  storage: Storage.Service,
  run: Storage.Run,
  journal: Journal,
  restore: Storage.Restore,
  heldAs: string | undefined
) =>
  Effect.gen(function* () {
    if (run.hold !== undefined && run.hold.id !== heldAs) return yield* runHeld(run.id, run.hold)
    if (run.outcome !== undefined) {
      const payload = JSON.stringify(run.outcome)
      const at = yield* storage.now
      const entry = { seq: journal.lastSeq + 1, kind: "RunReopened", step: "", attempt: 0, at, payload }
      const lease = yield* storage.reopen(run, entry, restore, heldAs)
      if (Option.isSome(lease)) return lease.value
    }
    const { id, input, labels, version, workflow } = run
    const opened = yield* storage.open(
      { id, input, labels, version, workflow, key: run.key, heldAs, ignoreQueue: true },
      restore
    )
    if (opened._tag === "Created" || opened._tag === "Claimed") return opened.lease
    if (opened._tag === "Gone") return yield* new RunNotFound({ run: id })
    return opened._tag === "Leased" || opened._tag === "Held" || opened._tag === "Queued"
      ? yield* Effect.fail(notOpened(opened._tag, opened.run))
      : yield* Effect.fail(notOpened("Leased", opened.run))
  })

/** Compensates the steps after a point and removes them from the journal. The next execution resumes there. */
export const rewindRun = (
  definition: AnyDefinition,
  id: string,
  point: Decision.Point,
  heldAs: string | undefined
): Effect.Effect<unknown, RunError | RunNotFound | RewindRefused, unknown> =>
  Effect.uninterruptibleMask(
    (restore) =>
      Effect.gen(function* () {
        const storage = yield* Storage.Storage
        const run = yield* restore(findRun(storage, id))
        if (run.workflow !== definition.name) return yield* otherWorkflow(run, definition)
        // Checked before the lease is acquired, so that a refused rewind changes nothing.
        const known = yield* restore(loadJournal(storage, run))
        const refused = locate(id, known, point)
        if (refused instanceof RewindRefused) return yield* refused
        const input = yield* restore(inputOfRun(definition, run))
        const { acquired: lease, clockOf } = yield* timed(take(storage, run, known, restore, heldAs))
        const journal = yield* readJournalOf(storage, lease)
        const { generation } = run
        const leased = { storage, definition, lease, clock: clockOf(lease), mode: { ...byCaller, heldAs }, generation }
        const execution = yield* makeExecution(leased, journal)
        const body = bodyOf(execution, definition, input, restore)
        const ended = (exit: Exit.Exit<unknown, unknown>) => {
          const { stopError } = execution.lifecycle
          return endWithoutOutcome(execution, stopError === undefined ? exit : Effect.fail(stopError), "rewound")
        }
        if (journal.rewinding !== undefined) {
          // A rewind that was cut short comes first; it can move the point.
          const exit = yield* rewind(execution, journal.rewinding, body, restore)
          yield* ended(exit)
          return yield* rewindRun(definition, id, point, heldAs)
        }
        const place = locate(id, journal, point)
        if (place instanceof RewindRefused) return yield* endWithoutOutcome(execution, place, "RewindRefused")
        const begun = nextEntry(execution, "RewindStarted", "", 0)
        const { after, within } = place
        const line = {
          begun: begun.seq,
          after,
          within,
          by: "Workflow.rewind",
          point: place.point,
          reason: "on request"
        }
        const recorded = storage.append(lease, [{ ...begun, payload: encodeRewind(line) }])
        yield* Effect.catchAll(recorded, (error) => endWithoutOutcome(execution, Effect.fail(error), error._tag))
        const exit = yield* rewind(execution, { ...line, at: begun.at }, body, restore)
        return yield* ended(exit)
        // The body is only replayed, so its own failures never surface here.
      }) as Effect.Effect<unknown, RunError | RunNotFound | RewindRefused, unknown>
  )

/** The decoded input of a stored run. */
export const inputOf = (definition: AnyDefinition, id: string) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const run = yield* findRun(storage, id)
    if (run.workflow !== definition.name) return yield* otherWorkflow(run, definition)
    return yield* inputOfRun(definition, run)
  })

// ---- forking

/**
 * A run with the id of the fork exists already.
 *
 * @since 0.1.0
 * @category errors
 */
export class RunExists extends Data.TaggedError("RunExists")<{ readonly run: string }> {
  override get message(): string {
    return `There is a run "${this.run}" already. Fork to another id.`
  }
}

/** Creates a run with the journal of another run up to a point. The other run is only read. */
export const forkRun = (id: string, as: string, point: Decision.Point) =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const storage = yield* Storage.Storage
      const run = yield* restore(findRun(storage, id))
      const journal = yield* restore(loadJournal(storage, run))
      const place = locate(id, journal, point)
      if (place instanceof RewindRefused) return yield* place
      const all = yield* restore(storage.journal(run.key))
      // Steps and waits after the point; their compensations follow them.
      const after = [...journal.steps.entries(), ...journal.waits.entries()].filter(
        ([key, { lastSeq }]) => lastSeq > place.after && key.startsWith(place.within)
      )
      const gone = new Set(after.map(([key]) => key))
      // A question is dropped with the step that asked it.
      for (const key of journal.waits.keys()) if (gone.has(askedBy(key) ?? "")) gone.add(key)
      const kept = keep(all, journal, gone, place)
      const { input, labels, version, workflow } = run
      yield* checkedNames([["run", as]], undefined)
      const opened = yield* storage.open({ id: as, workflow, version, input, labels }, restore)
      if (opened._tag !== "Created" && opened._tag !== "Claimed") return yield* new RunExists({ run: as })
      const made = yield* readJournalOf(storage, opened.lease)
      // A fork that was cut short leaves a run without journal lines; it is taken over.
      if (made.lastSeq > 0) {
        yield* storage.release(opened.lease)
        return yield* new RunExists({ run: as })
      }
      const { lease } = opened
      const payload = JSON.stringify({ run: id, point: place.point })
      const line = { seq: 1, kind: "RunForked", step: "", attempt: 0, at: lease.since, payload }
      const ids = yield* Effect.onError(copySnapshots(storage, id, lease, kept, place), () => storage.release(lease))
      const copied = kept.map((entry, i) => ({ ...rename(entry, ids, as), seq: i + 2 }))
      yield* Effect.ensuring(storage.append(lease, [line, ...copied]), storage.release(lease))
    })
  )

/** Copies the checkpoints up to the point; returns their new ids by their old ones. */
const copySnapshots = (
  storage: Storage.Service,
  from: string,
  lease: Storage.Lease,
  kept: ReadonlyArray<Storage.Entry>,
  { after, within }: Storage.Rewound
) =>
  Effect.gen(function* () {
    const ids = new Map<string, string>()
    const all = yield* storage.snapshots({ run: from, limit: Number.MAX_SAFE_INTEGER })
    const isKept = ({ seq, step }: Storage.Snapshot) => seq <= after || !step.startsWith(within)
    for (const { key } of all.filter(isKept).reverse()) {
      const found = yield* storage.snapshot(key)
      if (Option.isNone(found)) continue
      const seq = 1 + kept.filter((entry) => entry.seq <= found.value.seq).length
      const saved = yield* storage.save({ ...found.value, run: lease.run, seq }, { lease })
      if (Option.isSome(saved)) ids.set(String(key), String(saved.value))
    }
    return ids
  })

/** Replaces ids of checkpoints, and the run, in a journal line. */
const rename = (entry: Storage.Entry, ids: ReadonlyMap<string, string>, run: string): Storage.Entry => {
  if (entry.kind !== "CheckpointSaved" && entry.kind !== "CheckpointRead") return entry
  const value = JSON.parse(entry.payload ?? "null")
  if (typeof value === "string") return { ...entry, payload: JSON.stringify(ids.get(value) ?? value) }
  if (typeof value?.id !== "string") return entry
  return { ...entry, payload: JSON.stringify({ ...value, id: ids.get(value.id) ?? value.id, run }) }
}

/** The lines up to the point that no earlier rewind has removed. */
const keep = (
  entries: ReadonlyArray<Storage.Entry>,
  journal: Journal,
  gone: ReadonlySet<string>,
  { after, within }: Storage.Rewound
): ReadonlyArray<Storage.Entry> => {
  const isKnown = ({ kind, seq, step }: Storage.Entry) => {
    const order =
      journal.steps.get(step)?.order ??
      journal.waits.get(step)?.order ??
      journal.undos.get(step)?.order ??
      journal.rollbacks.get(step)?.order
    if (order !== undefined) return seq >= order && !gone.has(step)
    const recorded = journal.recorded.get(recordedKey({ kind, step }))
    return recorded?.seq === seq
  }
  const isBefore = ({ seq, step }: Storage.Entry) => seq <= after || !step.startsWith(within)
  const isLeft = startsAnew(journal, gone)
  const runLines = new Set(["RewindStarted", "Rewound", "RunReopened", "RunForked", "RunContinued"])
  return entries.filter((entry) => !runLines.has(entry.kind) && isKnown(entry) && isBefore(entry) && !isLeft(entry))
}

/** Whether a line ends the start of a child without a recorded result: that child is the other run's, and the fork starts its own. */
const startsAnew = ({ waits }: Journal, gone: ReadonlySet<string>): ((entry: Storage.Entry) => boolean) => {
  const known = new Set(
    [...waits.values()].flatMap(({ child, childEnd, key }) =>
      child !== undefined && child.use !== "start" && childEnd !== undefined && !gone.has(key) ? [child.run] : []
    )
  )
  return ({ kind, step }) => {
    const child = kind === "ChildEnded" ? waits.get(step)?.child : undefined
    return child?.use === "start" && !known.has(child.run)
  }
}
