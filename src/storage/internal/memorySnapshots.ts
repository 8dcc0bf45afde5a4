import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { leaseLost, limitOf } from "../rows.js"
import type { FullSnapshot, Rewound, SnapshotQuery, SnapshotStore } from "../Store.js"
import type { RunTable } from "./memoryRuns.js"

/** Snapshots by key, oldest first. */
export class SnapshotTable {
  readonly rows = new Map<number, FullSnapshot>()
  private lastKey = 0

  list(query: SnapshotQuery): ReadonlyArray<FullSnapshot> {
    return [...this.rows.values()]
      .reverse()
      .filter((snapshot) => matches(snapshot, query))
      .slice(0, limitOf(query))
  }

  /** Returns `undefined` if the newest snapshot of the run and name is not `after`. */
  insert(snapshot: Omit<FullSnapshot, "key" | "rewound">, after: number | undefined): number | undefined {
    const { labels, name, run = null, state } = snapshot
    if (after !== undefined && (this.list({ name, run, limit: 1 })[0]?.key ?? 0) !== after) return undefined
    const key = ++this.lastKey
    // Copies, since the caller may change its own bytes later.
    const copy = typeof state === "string" ? state : state.slice()
    this.rows.set(key, { ...snapshot, labels: { ...labels }, state: copy, key, rewound: false })
    return key
  }

  markRewound(run: string, { after, within }: Rewound): void {
    for (const [key, snapshot] of this.rows) {
      const isRevoked = snapshot.run === run && snapshot.seq > after && snapshot.step.startsWith(within)
      if (isRevoked) this.rows.set(key, { ...snapshot, rewound: true })
    }
  }

  get usage() {
    const bytes = [...this.rows.values()].reduce((sum, { state }) => sum + state.length, 0)
    return { snapshots: this.rows.size, bytes }
  }

  removeOf(run: string): void {
    for (const [key, snapshot] of this.rows) if (snapshot.run === run) this.rows.delete(key)
  }
}

export const makeMemorySnapshots = (table: SnapshotTable, runs: RunTable): SnapshotStore => ({
  save: (snapshot, { after, entry, lease }) =>
    Effect.suspend(() => {
      const leased = lease && runs.leased(lease)
      if (lease !== undefined && leased === undefined) return leaseLost(lease)
      const key = table.insert(snapshot, after)
      if (key !== undefined && entry !== undefined) leased?.journal.push(entry(key))
      return Effect.succeed(Option.fromNullable(key))
    }),
  snapshots: (query) => Effect.sync(() => table.list(query).map(({ state: _, ...snapshot }) => snapshot)),
  newest: (query) => Effect.sync(() => Option.fromNullable(table.list({ ...query, limit: 1 })[0])),
  snapshot: (key) => Effect.sync(() => Option.fromNullable(table.rows.get(key))),
  remove: (keys) => Effect.sync(() => keys.filter((key) => table.rows.delete(key)).length)
})

const matches = (snapshot: FullSnapshot, query: SnapshotQuery): boolean =>
  (query.run === undefined || (snapshot.run ?? null) === query.run) &&
  (query.name === undefined || snapshot.name === query.name) &&
  (query.kind === undefined || snapshot.kind === query.kind) &&
  (query.except === undefined || snapshot.kind !== query.except) &&
  (query.before === undefined || snapshot.key < query.before) &&
  (query.takenBefore === undefined || snapshot.at < query.takenBefore) &&
  (query.rewound === true || !snapshot.rewound) &&
  Object.entries(query.labels ?? {}).every(([label, value]) => snapshot.labels[label] === value)
