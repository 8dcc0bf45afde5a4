import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Decision from "../../../resilience/Decision.js"
import { RewindRefused } from "../../../resilience/RecoveryError.js"
import * as Storage from "../../../storage/Storage.js"
import type { Journal } from "../journal/journal.js"
import { readJournalOf } from "./advance.js"
import { findRun, journalOf, locate } from "./rewindRun.js"

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
      const journal = yield* restore(journalOf(storage, run))
      const place = locate(id, journal, point)
      if (place instanceof RewindRefused) return yield* place
      const all = yield* restore(storage.journal(run.key))
      // Steps and waits after the point; their compensations follow them.
      const after = [...journal.steps.entries(), ...journal.waits.entries()].filter(
        ([key, { lastSeq }]) => lastSeq > place.after && key.startsWith(place.within)
      )
      const gone = new Set(after.map(([key]) => key))
      // A question is dropped with the step that asked it.
      for (const key of journal.waits.keys()) if (gone.has(key.slice(0, key.lastIndexOf("?")))) gone.add(key)
      const kept = keep(all, journal, gone, place)
      const { input, labels, version, workflow } = run
      const opened = yield* storage.open({ id: as, workflow, version, input, labels }, restore)
      if (opened._tag !== "Created" && opened._tag !== "Claimed") return yield* new RunExists({ run: as })
      const made = yield* readJournalOf(storage, opened.lease)
      // A fork that was cut short leaves a run without journal lines; it is taken over.
      if (made.lastSeq > 0) {
        yield* storage.release(opened.lease)
        return yield* new RunExists({ run: as })
      }
      const at = yield* storage.now
      const payload = JSON.stringify({ run: id, point: place.point })
      const line = { seq: 1, kind: "RunForked", step: "", attempt: 0, at, payload }
      const { lease } = opened
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
  const isKnown = ({ seq, step }: Storage.Entry) => {
    const order =
      journal.steps.get(step)?.order ??
      journal.waits.get(step)?.order ??
      journal.undos.get(step)?.order ??
      journal.rollbacks.get(step)?.order
    if (order !== undefined) return seq >= order && !gone.has(step)
    const recorded = journal.recorded.get(step)
    return recorded?.seq === seq
  }
  const isBefore = ({ seq, step }: Storage.Entry) => seq <= after || !step.startsWith(within)
  const runLines = new Set(["RewindStarted", "Rewound", "RunReopened", "RunForked"])
  return entries.filter((entry) => !runLines.has(entry.kind) && isKnown(entry) && isBefore(entry))
}
