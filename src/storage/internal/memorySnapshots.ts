import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { read } from "../../resilience/Foreign.js"
import { compareKeys, entryOfSave, hasProperties, leaseLost, limitOf, parseJson } from "../rows.js"
import type { FullSnapshot, IfKeyExists, NewSnapshot, Rewound, SnapshotQuery, SnapshotStore } from "../Store.js"
import type { RunTable } from "./memoryRuns.js"

/** Numbers of snapshots, ascending. */
type Keys = Array<number>

/** Snapshots by number, with an index by run, by label and by key of the program. */
export class SnapshotTable {
  private readonly rows = new Map<number, FullSnapshot>()
  private readonly all: Keys = []
  private readonly index = new Map<string, Keys>()
  private lastKey = 0

  get(key: number): FullSnapshot | undefined {
    return this.rows.get(key)
  }

  list(query: SnapshotQuery): ReadonlyArray<FullSnapshot> {
    const { after = 0, before = Number.POSITIVE_INFINITY, order = "newest", past } = query
    const candidates = this.candidates(query)
    const matches = matcher(query)
    const limit = limitOf(query)
    const found: Array<FullSnapshot> = []
    const isByKey = order === "highestKey" || order === "lowestKey"
    const isUp = order === "oldest"
    const low = isUp && past !== undefined ? Math.max(after, past.key) : after
    const high = order === "newest" && past !== undefined ? Math.min(before, past.key) : before
    const [first, end] = [indexOf(candidates, low + 1), indexOf(candidates, high)]
    for (let i = 0; i < end - first && (isByKey || found.length < limit); i++) {
      const row = this.rows.get(candidates[isUp ? first + i : end - 1 - i] as number)
      if (row !== undefined && matches(row)) found.push(row)
    }
    return isByKey ? byKey(found, order, past).slice(0, limit) : found
  }

  /** Returns `undefined` if the newest snapshot of the run and name is not `after`, or if one was kept. */
  insert(snapshot: NewSnapshot, after: number | undefined, ifKeyExists: IfKeyExists = "replace"): number | undefined {
    const { labels, name, own, run = null, state, step } = snapshot
    if (after !== undefined && (this.list({ name, run, limit: 1 })[0]?.key ?? 0) !== after) return undefined
    if (own !== undefined) {
      const same = this.list({ name, run, own: [own], limit: Infinity }).filter((row) => row.step === step)
      if (same.length > 0 && ifKeyExists === "keep") return undefined
      for (const { key } of same) this.remove(key)
    }
    const key = this.lastKey + 1
    // Copies, since the caller may change its own bytes later.
    this.add({ ...snapshot, labels: { ...labels }, state: copyOf(state), key, rewound: false })
    return key
  }

  /** Later snapshots get higher numbers. */
  restore({ damaged: _, ...snapshot }: FullSnapshot): void {
    this.add({ ...snapshot, labels: { ...snapshot.labels }, state: copyOf(snapshot.state) })
  }

  private add(row: FullSnapshot): void {
    this.lastKey = Math.max(this.lastKey, row.key)
    this.rows.set(row.key, row)
    addTo(this.all, row.key)
    for (const term of termsOf(row)) {
      const keys = this.index.get(term)
      if (keys === undefined) this.index.set(term, [row.key])
      else addTo(keys, row.key)
    }
  }

  remove(key: number): boolean {
    const row = this.rows.get(key)
    if (row === undefined) return false
    this.rows.delete(key)
    removeFrom(this.all, key)
    for (const term of termsOf(row)) {
      const keys = this.index.get(term) ?? []
      removeFrom(keys, key)
      if (keys.length === 0) this.index.delete(term)
    }
    return true
  }

  markRewound(run: string, { after, within }: Rewound): void {
    for (const key of this.index.get(runTerm(run)) ?? []) {
      const row = this.rows.get(key)
      const isRevoked = row !== undefined && row.seq > after && row.step.startsWith(within)
      if (isRevoked) this.rows.set(key, { ...row, rewound: true })
    }
  }

  get usage() {
    const bytes = [...this.rows.values()].reduce((sum, { state }) => sum + state.length, 0)
    return { snapshots: this.rows.size, bytes }
  }

  removeOf(run: string): void {
    for (const key of [...(this.index.get(runTerm(run)) ?? [])]) this.remove(key)
  }

  /** The shortest list of the index that holds all matches. */
  private candidates({ labels = {}, own, run }: SnapshotQuery): Keys {
    const lists = Object.entries(labels).map(([label, value]) => this.index.get(labelTerm(label, value)) ?? [])
    if (typeof run === "string") lists.push(this.index.get(runTerm(run)) ?? [])
    if (own !== undefined) {
      lists.push([...new Set(own)].flatMap((key) => this.index.get(ownTerm(key)) ?? []).sort((a, b) => a - b))
    }
    return lists.reduce((shortest, list) => (list.length < shortest.length ? list : shortest), this.all)
  }
}

export const makeMemorySnapshots = (table: SnapshotTable, runs: RunTable): SnapshotStore => ({
  save: (snapshot, { after, entry, ifKeyExists, lease }) =>
    Effect.suspend(() => {
      const leased = lease && runs.leased(lease)
      if (lease !== undefined && leased === undefined) return leaseLost(lease)
      const key = table.insert(snapshot, after, ifKeyExists)
      if (key !== undefined && entry !== undefined) leased?.journal.push(entryOfSave(entry, key))
      return Effect.succeed(Option.fromNullable(key))
    }),
  saveAll: (saves, lease) =>
    Effect.suspend(() =>
      lease !== undefined && runs.leased(lease) === undefined
        ? leaseLost(lease)
        : Effect.succeed(
            saves.map(({ ifKeyExists, snapshot }) =>
              Option.fromNullable(table.insert(snapshot, undefined, ifKeyExists))
            )
          )
    ),
  snapshots: (query) => Effect.sync(() => table.list(query).map(({ state: _, ...snapshot }) => snapshot)),
  fullSnapshots: (query) => Effect.sync(() => table.list(query).map(toCopy)),
  newest: (query) => Effect.sync(() => Option.map(Option.fromNullable(table.list({ ...query, limit: 1 })[0]), toCopy)),
  snapshot: (key) => Effect.sync(() => Option.map(Option.fromNullable(table.get(key)), toCopy)),
  remove: (keys) => Effect.sync(() => keys.filter((key) => table.remove(key)).length)
})

const copyOf = (state: FullSnapshot["state"]) => (typeof state === "string" ? state : state.slice())

/** The reader may change the bytes it gets. */
const toCopy = (row: FullSnapshot): FullSnapshot =>
  typeof row.state === "string" ? row : { ...row, state: row.state.slice() }

const runTerm = (run: string) => `run ${run}`
const labelTerm = (label: string, value: string) => `label ${JSON.stringify([label, value])}`
const ownTerm = (own: string) => `own ${own}`

const termsOf = ({ labels, own, run }: FullSnapshot): ReadonlyArray<string> => [
  ...(run === undefined ? [] : [runTerm(run)]),
  ...(own === undefined ? [] : [ownTerm(own)]),
  ...Object.entries(labels).map(([label, value]) => labelTerm(label, value))
]

/** The position of the first number that is not lower. */
const indexOf = (keys: Keys, key: number): number => {
  let [low, high] = [0, keys.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((keys[middle] as number) < key) low = middle + 1
    else high = middle
  }
  return low
}

const addTo = (keys: Keys, key: number): void => {
  // Most have the highest number.
  if ((keys.at(-1) ?? 0) < key) keys.push(key)
  else keys.splice(indexOf(keys, key), 0, key)
}

const removeFrom = (keys: Keys, key: number): void => {
  const at = indexOf(keys, key)
  if (keys[at] === key) keys.splice(at, 1)
}

type Place = Pick<FullSnapshot, "key" | "own">

const comparePlaces = (a: Place, b: Place): number => compareKeys(a.own ?? "", b.own ?? "") || a.key - b.key

const byKey = (
  rows: ReadonlyArray<FullSnapshot>,
  order: "highestKey" | "lowestKey",
  past: Place | undefined
): ReadonlyArray<FullSnapshot> => {
  const direction = order === "lowestKey" ? 1 : -1
  return rows
    .filter((row) => row.own !== undefined && (past === undefined || direction * comparePlaces(row, past) > 0))
    .sort((a, b) => direction * comparePlaces(a, b))
}

const matcher = (query: SnapshotQuery): ((snapshot: FullSnapshot) => boolean) => {
  const labels = Object.entries(query.labels ?? {})
  return (snapshot) => {
    const { own } = snapshot
    return (
      (query.run === undefined || (snapshot.run ?? null) === query.run) &&
      (query.name === undefined || snapshot.name === query.name) &&
      (query.own === undefined || (own !== undefined && query.own.includes(own))) &&
      (query.ownBefore === undefined || (own !== undefined && compareKeys(own, query.ownBefore) < 0)) &&
      (query.ownAfter === undefined || (own !== undefined && compareKeys(own, query.ownAfter) > 0)) &&
      (query.kind === undefined || snapshot.kind === query.kind) &&
      (query.except === undefined || snapshot.kind !== query.except) &&
      (query.takenBefore === undefined || snapshot.at < query.takenBefore) &&
      (query.takenAfter === undefined || snapshot.at > query.takenAfter) &&
      (query.rewound === true || !snapshot.rewound) &&
      labels.every(([label, value]) => Object.hasOwn(snapshot.labels, label) && snapshot.labels[label] === value) &&
      (query.metadata === undefined || hasProperties(read(parseJson(snapshot.about), "metadata"), query.metadata))
    )
  }
}
