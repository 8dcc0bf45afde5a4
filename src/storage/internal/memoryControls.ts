import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { cancelling, dueSince, heldRun, isLeased, isQueued } from "../rows.js"
import type * as Store from "../Store.js"
import type { RunTable, StoredRun } from "./memoryRuns.js"

type Controls = Pick<
  Store.RunStore,
  "hold" | "releaseHold" | "cancel" | "terminate" | "controls" | "continueAs" | "adopt" | "queues"
>

/** What operators and the program do to a run beside its steps. */
export const makeMemoryControls = (table: RunTable): Controls => {
  const change = (stored: StoredRun, run: Partial<Store.Run>, isDue: boolean): void => {
    stored.run = { ...stored.run, ...run }
    table.changed(stored.run.id, isDue)
  }
  const hold = (id: string, wanted: Omit<Store.Hold, "at">, from: string | undefined, at: number): Store.Holding => {
    const stored = table.byId.get(id)
    if (stored === undefined) return { _tag: "Unknown" }
    const holding = heldRun(stored.run, wanted, from, at)
    if (holding.run !== stored.run) change(stored, holding.run, false)
    return { ...holding, run: stored.run }
  }
  const cancel = (id: string, request: string, now: number): Store.Cancelling => {
    const stored = table.byId.get(id)
    const answer = cancelling(stored?.run)
    if (stored !== undefined && (answer === "Requested" || (answer === "Taken" && stored.run.dueAt > now))) {
      change(stored, { cancel: stored.run.cancel ?? request, dueAt: Math.min(stored.run.dueAt, now) }, true)
    }
    return answer
  }
  const controlOf = (lease: Store.Lease): ReadonlyArray<Store.Control> => {
    const run = table.leased(lease)?.run
    if (run === undefined || (run.hold === undefined && run.cancel === undefined)) return []
    return [{ lease, hold: run.hold, cancel: run.cancel }]
  }
  return {
    hold: (run, wanted, from) => Effect.map(Clock.currentTimeMillis, (now) => hold(run, wanted, from, now)),
    releaseHold: (run, id) =>
      Effect.sync(() => {
        const stored = table.byId.get(run)
        if (stored?.run.hold?.id !== id) return false
        change(stored, { hold: undefined }, true)
        return true
      }),
    cancel: (run, request) => Effect.map(Clock.currentTimeMillis, (now) => cancel(run, request, now)),
    terminate: (run, outcome) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        const stored = table.byId.get(run)
        return Option.map(
          Option.fromNullable(stored),
          (stored) => stored.run.outcome ?? table.end(stored, outcome, now)
        )
      }),
    controls: (leases) => Effect.sync(() => leases.flatMap(controlOf)),
    continueAs: (lease, { entry, input, read }) =>
      table.fenced(lease, (stored) => {
        const removed = new Set(read)
        const kept = stored.signals.filter(({ key }) => !removed.has(key))
        stored.journal.splice(0, stored.journal.length, entry)
        stored.signals.splice(0, stored.signals.length, ...kept)
        for (const key of removed) stored.signalKeys.delete(key)
        const generation = stored.run.generation + 1
        stored.run = { ...stored.run, input, generation, signals: kept.length }
        return generation
      }),
    adopt: (lease, version) =>
      table.fenced(lease, (stored) => {
        stored.run = { ...stored.run, version }
      }),
    queues: Effect.map(Clock.currentTimeMillis, (now) => queueCounts([...table.open], now))
  }
}

const queueCounts = (open: ReadonlyArray<StoredRun>, now: number): ReadonlyArray<Store.QueueCount> => {
  const counts = new Map<string, Store.QueueCount>()
  for (const { run } of open) {
    if (run.queue === undefined || (!isLeased(run, now) && (run.hold !== undefined || !isQueued(run)))) continue
    const { name } = run.queue
    const count = counts.get(name) ?? { queue: name, running: 0, due: 0, waiting: 0, oldest: undefined }
    counts.set(name, counted(count, run, now))
  }
  return [...counts.values()]
}

const counted = (count: Store.QueueCount, run: Store.Run, now: number): Store.QueueCount => {
  if (isLeased(run, now)) return { ...count, running: count.running + 1 }
  if (run.dueAt > now) return { ...count, waiting: count.waiting + 1 }
  return { ...count, due: count.due + 1, oldest: Math.min(count.oldest ?? dueSince(run), dueSince(run)) }
}
