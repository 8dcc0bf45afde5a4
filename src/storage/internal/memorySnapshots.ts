import type { FullSnapshot, Rewound, SnapshotQuery } from "../Storage.js"
import { limitOf } from "./status.js"

/** Snapshots by key, oldest first. */
export const makeMemorySnapshots = () => {
  const all = new Map<number, FullSnapshot>()
  let last = 0

  const list = (query: SnapshotQuery): ReadonlyArray<FullSnapshot> =>
    [...all.values()]
      .reverse()
      .filter((snapshot) => matches(snapshot, query))
      .slice(0, limitOf(query))

  const save = (snapshot: Omit<FullSnapshot, "key" | "rewound">, after: number | undefined): number | undefined => {
    if (after !== undefined) {
      const { name, run = null } = snapshot
      if ((list({ name, run, limit: 1 })[0]?.key ?? 0) !== after) return undefined
    }
    const key = ++last
    // A copy: what the caller does with its own later is no matter of the storage.
    const { labels, state } = snapshot
    const copy = typeof state === "string" ? state : state.slice()
    all.set(key, { ...snapshot, labels: { ...labels }, state: copy, key, rewound: false })
    return key
  }

  const markRewound = (run: string, rewound: Rewound): void => {
    for (const [key, snapshot] of all) {
      if (snapshot.run === run && isForgotten(snapshot, rewound)) all.set(key, { ...snapshot, rewound: true })
    }
  }

  return {
    save,
    list,
    markRewound,
    get: (key: number) => all.get(key),
    usage: () => ({ snapshots: all.size, bytes: [...all.values()].reduce((sum, { state }) => sum + state.length, 0) }),
    remove: (keys: ReadonlyArray<number>) => keys.filter((key) => all.delete(key)).length
  }
}

const isForgotten = ({ seq, step }: FullSnapshot, { after, within }: Rewound): boolean =>
  seq > after && step.startsWith(within)

const matches = (snapshot: FullSnapshot, query: SnapshotQuery): boolean =>
  (query.run === undefined || (snapshot.run ?? null) === query.run) &&
  (query.name === undefined || snapshot.name === query.name) &&
  (query.kind === undefined || snapshot.kind === query.kind) &&
  (query.except === undefined || snapshot.kind !== query.except) &&
  (query.before === undefined || snapshot.key < query.before) &&
  (query.takenBefore === undefined || snapshot.at < query.takenBefore) &&
  (query.rewound === true || !snapshot.rewound) &&
  Object.entries(query.labels ?? {}).every(([label, value]) => snapshot.labels[label] === value)
