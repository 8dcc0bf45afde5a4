import * as Effect from "effect/Effect"
import type { Journal } from "../../../journal/Journal.js"
import { encodeWrite, type WriteLine } from "../../../journal/JournalLine.js"
import type { Entry } from "../../../storage/Storage.js"
import type { CellListener, Cells, Write, Written } from "../execution/cells.js"
import { nextEntry } from "../execution/execution.js"

export const make = (journal: Journal): Cells => {
  const all = new Map<string, Array<Write>>()
  const listeners = new Map<string, Set<CellListener>>()
  const turns = new Map<string, Effect.Semaphore>()
  const recorded = byStep(journal)

  const notify = (cell: string, written: Written | undefined = all.get(cell)?.at(-1)) => {
    for (const listener of listeners.get(cell) ?? []) listener(written)
  }

  const apply = (cell: string, write: Write) => {
    const writes = all.get(cell) ?? []
    all.set(cell, writes)
    if (writes.some(({ key, seq }) => seq === write.seq && key === write.key)) return
    const later = writes.findIndex(({ seq }) => seq > write.seq)
    writes.splice(later === -1 ? writes.length : later, 0, write)
    notify(cell)
  }

  return {
    apply,
    notify,
    writes: (cell) => all.get(cell) ?? [],
    isWritten: (section) => [...all.values()].some((writes) => writes.some(({ key }) => key.startsWith(section))),
    revert: (section) => {
      for (const [cell, writes] of all) {
        const kept = writes.filter(({ key }) => !key.startsWith(section))
        if (kept.length === writes.length) continue
        all.set(cell, kept)
        notify(cell)
      }
    },
    alone: (cell, change, restore = (effect) => effect) =>
      Effect.suspend(() => {
        const known = turns.get(cell) ?? Effect.unsafeMakeSemaphore(1)
        turns.set(cell, known)
        return Effect.uninterruptibleMask((mine) => {
          const take = Effect.zipRight(restore(mine(known.take(1))), Effect.void)
          return Effect.zipRight(take, Effect.ensuring(mine(change), known.release(1)))
        })
      }),
    applyRecorded: (step) => {
      for (const { cell, write } of recorded.get(step) ?? []) apply(cell, write)
    },
    commit: (execution, step, pending) =>
      pending.splice(0).map(({ at, cell, text }, i) => {
        const key = `${step}[@${cell}]#${execution.lastSeq + i}`
        const entry = nextEntry(execution, "StateSet", key, 0, encodeWrite({ cell, text, step }), at)
        apply(cell, { seq: entry.seq, key, text, at })
        return entry
      }),
    rebase: (pending) =>
      Effect.gen(function* () {
        for (;;) {
          const moved = pending.findIndex(({ base, cell }) => (all.get(cell)?.at(-1)?.seq ?? 0) !== base)
          const first = pending[moved]
          if (first === undefined) return
          const { cell } = first
          let current: Written | undefined = all.get(cell)?.at(-1)
          const base = all.get(cell)?.at(-1)?.seq ?? 0
          for (const [i, write] of pending.entries()) {
            if (write.cell !== cell) continue
            const text: string | undefined = yield* write.next(current)
            current = { text, at: write.at }
            pending[i] = { ...write, text, base }
          }
        }
      }),
    working: new Map(),
    listen: (cell, listener) => {
      const known = listeners.get(cell) ?? new Set<CellListener>()
      listeners.set(cell, known.add(listener))
      return () => known.delete(listener)
    }
  }
}

/** The line has this form: it was checked when its journal was read. */
export const decodeWrite = (entry: Entry): WriteLine & { readonly write: Write } => {
  const { cell, step, text } = JSON.parse(entry.payload ?? "{}") as WriteLine
  return { cell, step, text, write: { seq: entry.seq, key: entry.step, text, at: entry.at } }
}

const byStep = ({ recorded }: Journal) => {
  const steps = new Map<string, Array<{ readonly cell: string; readonly write: Write }>>()
  for (const entry of recorded.values()) {
    if (entry.kind !== "StateSet") continue
    const { cell, step, write } = decodeWrite(entry)
    if (step === undefined) continue
    const known = steps.get(step) ?? []
    known.push({ cell, write })
    steps.set(step, known)
  }
  return steps
}

/** The cells at the end of a journal, without writes that were rolled back. */
export const cellsOfJournal = (journal: Journal): Cells => {
  const cells = make(journal)
  for (const entry of journal.recorded.values()) {
    if (entry.kind !== "StateSet") continue
    const { cell, write } = decodeWrite(entry)
    cells.apply(cell, write)
  }
  for (const section of journal.rollbacks.keys()) cells.revert(section)
  return cells
}
