import * as Effect from "effect/Effect"
import type { Entry, Restore } from "../../../storage/Storage.js"
import type { LiveRun } from "../execution/execution.js"
import { nextEntry } from "../execution/execution.js"
import type { Journal } from "../journal/journal.js"

/** One value a cell was given. Kept as text, so that nobody shares it. */
export interface Write {
  /** Its place in the journal; what is highest holds. */
  readonly seq: number
  /** The key it was written under, with the sections around it. */
  readonly key: string
  readonly text: string | undefined
  readonly at: number
}

/** What a step has written and not yet recorded. */
export interface PendingWrite {
  readonly cell: string
  readonly text: string | undefined
  readonly at: number
  /** The newest write it was made from. */
  readonly base: number
  /** How to make it again, if another step has written meanwhile. */
  readonly next: (current: Past | undefined) => Effect.Effect<string | undefined, unknown>
}

interface Past {
  readonly text: string | undefined
  readonly at: number
}

/** The cells of a run: what was written, in the order of the journal. */
export interface Cells {
  /** Oldest first. */
  readonly writes: (cell: string) => ReadonlyArray<Write>
  readonly apply: (cell: string, write: Write) => void
  readonly isWritten: (section: string) => boolean
  /** Takes back what was written within a section. */
  readonly revert: (section: string) => void
  /** One change of a cell after the other: the next one is made from what the one before has left. */
  readonly alone: <A, E, R>(cell: string, change: Effect.Effect<A, E, R>, restore?: Restore) => Effect.Effect<A, E, R>
  /** What an earlier process recorded as written by this step holds from now on. */
  readonly meet: (step: string) => void
  /** The lines for what a step has written, which holds from now on. */
  readonly commit: (live: LiveRun, step: string, pending: Array<PendingWrite>) => ReadonlyArray<Entry>
  /** Makes what a step has written again where others have written since; to be called right before `commit`. */
  readonly rebase: (pending: Array<PendingWrite>) => Effect.Effect<void, unknown>
  /** What the steps that run now have written; by key. */
  readonly working: Map<string, Array<PendingWrite>>
  /** A cell that is kept elsewhere has changed. */
  readonly tell: (cell: string, written: Past) => void
  /** Calls back with every change of a cell; answers how to stop it. */
  readonly listen: (cell: string, listener: Listener) => () => void
}

type Listener = (written: Past | undefined) => void

export const make = (journal: Journal): Cells => {
  const all = new Map<string, Array<Write>>()
  const listeners = new Map<string, Set<Listener>>()
  const turns = new Map<string, Effect.Semaphore>()
  const recorded = byStep(journal)

  const tell = (cell: string, written: Past | undefined = all.get(cell)?.at(-1)) => {
    for (const listener of listeners.get(cell) ?? []) listener(written)
  }

  const apply = (cell: string, write: Write) => {
    const writes = all.get(cell) ?? []
    all.set(cell, writes)
    if (writes.some(({ key, seq }) => seq === write.seq && key === write.key)) return
    const later = writes.findIndex(({ seq }) => seq > write.seq)
    writes.splice(later === -1 ? writes.length : later, 0, write)
    tell(cell)
  }

  return {
    apply,
    tell,
    writes: (cell) => all.get(cell) ?? [],
    isWritten: (section) => [...all.values()].some((writes) => writes.some(({ key }) => key.startsWith(section))),
    revert: (section) => {
      for (const [cell, writes] of all) {
        const kept = writes.filter(({ key }) => !key.startsWith(section))
        if (kept.length === writes.length) continue
        all.set(cell, kept)
        tell(cell)
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
    meet: (step) => {
      for (const { cell, write } of recorded.get(step) ?? []) apply(cell, write)
    },
    commit: (live, step, pending) =>
      pending.splice(0).map(({ at, cell, text }, i) => {
        const key = `${step}@${cell}#${live.lastSeq + i}`
        const entry = nextEntry(live, "StateSet", key, 0, encodeWrite({ cell, text, step }), at)
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
          let current: Past | undefined = all.get(cell)?.at(-1)
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
      const known = listeners.get(cell) ?? new Set<Listener>()
      listeners.set(cell, known.add(listener))
      return () => known.delete(listener)
    }
  }
}

interface Line {
  readonly cell: string
  readonly text: string | undefined
  /** The step that wrote it, if one did. */
  readonly step?: string | undefined
}

export const encodeWrite = (line: Line): string => JSON.stringify(line)

export const decodeWrite = (entry: Entry): Line & { readonly write: Write } => {
  const { cell, step, text } = JSON.parse(entry.payload ?? "{}")
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

/** The cells as a journal leaves them, without what was rolled back. */
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
