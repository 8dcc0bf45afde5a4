/** Rows on their way from one store to another: what they are called, and when two are alike. */
import { asRead } from "./checksum.js"
import { compareKeys } from "./rows.js"
import type { Counter, Entry, FullSnapshot, RecordRow, Run, Signal, Snapshot, StoredRow } from "./Store.js"

/** The row in words. Rows of one name have one place in a store. */
export const rowName = (row: StoredRow): string => {
  switch (row._tag) {
    case "Run":
      return `run "${row.run.id}"`
    case "Snapshot":
      return `checkpoint "${row.snapshot.name}" (${row.snapshot.key})`
    case "Record":
      return `record of ${row.record.kind} "${row.record.id}"`
    case "Counter":
      return `counter "${row.counter.name}"`
  }
}

/** One text for the same content, whichever store it comes from. Some stores keep only whole numbers. */
const text = (values: ReadonlyArray<unknown>): string =>
  JSON.stringify(values, (_, value) =>
    typeof value === "string" ? asRead(value) : typeof value === "number" ? Math.trunc(value) : (value ?? null)
  )

const sorted = (labels: Readonly<Record<string, string>>) =>
  Object.entries(labels).sort(([a], [b]) => compareKeys(a, b))

/** Of the row of a run. Its key belongs to its store, and a lease to a process of that store. */
export const runText = (run: Run): string => {
  const { createdAt, dueAt, id, input, outcome, signals, startedAt, token, version, waiting, workflow } = run
  const { cancel, generation, hold, parent, queue } = run
  const end = outcome && [outcome.status, outcome.exit, outcome.at]
  const control = [
    hold && [hold.id, hold.reason, hold.at],
    cancel,
    queue && [queue.name, queue.key, queue.priority],
    parent && [parent.run, parent.signal]
  ]
  const facts = [id, workflow, version, input, sorted(run.labels), createdAt, startedAt, token, generation]
  return text([...facts, dueAt, waiting, signals, control, end])
}

export const entryText = ({ at, attempt, kind, payload, seq, step }: Entry): string =>
  text([seq, kind, step, attempt, at, payload])

export const signalText = ({ at, key, payload }: Signal): string => text([key, payload, at])

/** Without the state, which the digest stands for in most rows. */
export const snapshotText = (row: Snapshot): string => {
  const { about, at, digest, encoding, key, kind, labels, name, own, rewound, run, schema, seq, size, step, version } =
    row
  const place = [key, run, step, seq, name, own, kind]
  return text([...place, version, schema, digest, size, encoding, sorted(labels), about, at, rewound])
}

const stateText = (state: string | Uint8Array): string =>
  typeof state === "string"
    ? text([state])
    : text([Array.from(state, (byte) => byte.toString(16).padStart(2, "0")).join(""), "bytes"])

export const fullText = (snapshot: FullSnapshot): string => `${snapshotText(snapshot)} ${stateText(snapshot.state)}`

/** Its key belongs to its store. */
export const recordText = (row: RecordRow): string => {
  const { at, body, id, kind, labels, revision, scope, status, subject, updatedAt } = row
  return text([kind, id, subject, scope, status, sorted(labels), at, updatedAt, revision, body])
}

export const counterText = ({ name, value }: Counter): string => text([name, value])

const contentText = (row: StoredRow): string => {
  switch (row._tag) {
    case "Run":
      return [runText(row.run), ...row.journal.map(entryText), "signals", ...row.signals.map(signalText)].join("\n")
    case "Snapshot":
      return fullText(row.snapshot)
    case "Record":
      return recordText(row.record)
    case "Counter":
      return counterText(row.counter)
  }
}

export const areAlike = (a: StoredRow, b: StoredRow): boolean => contentText(a) === contentText(b)

/** A run as another store has it after `restore`. */
export const restoredRun = (run: Run, key: number, signals: number): Run => {
  const { damaged: _, ...facts } = run
  return { ...facts, key, signals, labels: { ...run.labels }, owner: undefined, leaseUntil: undefined }
}
