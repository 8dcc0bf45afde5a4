/** Rows of snapshots, in whatever database they are stored. */
import { rowProblem, snapshotChecksum } from "../checksum.js"
import type { FullSnapshot, Snapshot } from "../Store.js"
import { isTime, refuseDamaged, toLabels } from "../sqlite/rows.js"
import type { Tables } from "./reading.js"

/** All columns but the state. */
export const snapshotColumns =
  "key, run, step, seq, name, own, kind, version, schema, digest, size, encoding, labels, about, at, rewound, checksum"

/** A snapshot as it is stored, without its state. */
export type SnapshotRow = Omit<Snapshot, "run" | "own" | "labels" | "rewound" | "damaged"> & {
  readonly run: string | null
  readonly own: string | null
  readonly labels: string
  readonly rewound: number
  readonly checksum: number | null
}

/** A snapshot as it is stored. */
export type FullRow = SnapshotRow & { readonly state: string | Uint8Array }

/** As clients answer it. In Postgres a state that is bytes has a column of its own. */
export type StoredRow = SnapshotRow & {
  readonly state?: string | Uint8Array | null
  readonly bytes?: Uint8Array | null
}

/** All columns, with those of the state. */
export const fullColumns = ({ dialect }: Tables): string =>
  `${snapshotColumns}, ${dialect.name === "sqlite" ? "state" : "state, bytes"}`

/** The columns that are numbers. */
export const snapshotNumbers = ["key", "seq", "version", "size", "at", "rewound", "checksum"] as const

export const toFullRow = (row: StoredRow): FullRow => ({ ...row, state: row.state ?? row.bytes ?? "" })

/** Throws if the index of labels leads to a row that has other labels. A row that is damaged itself is marked instead. */
export const refuseOtherLabels = (row: SnapshotRow, wanted: Readonly<Record<string, string>>): void => {
  const own = toLabels(row.labels)
  const hasAll = Object.entries(wanted).every(([label, value]) => Object.hasOwn(own, label) && own[label] === value)
  if (hasAll || snapshotProblem(row) !== undefined) return
  refuseDamaged("the index leads to another row", () => `the labels of checkpoint "${row.name}" (${row.key})`)
}

/** A row without a digest can only be verified with its state. */
export const snapshotProblem = (row: SnapshotRow, state?: string | Uint8Array): string | undefined => {
  const { about, at, checksum, digest, encoding, kind, labels, name, own, rewound, run, schema } = row
  if ([row.version, row.size].some((value) => typeof value !== "number") || !isTime(at)) {
    return "a number is stored as something else"
  }
  const isUnchecked = checksum === null || (digest === "" && state === undefined)
  const stored = isUnchecked ? null : rewound === 0 ? checksum : -1 - checksum
  const texts = [run ?? "", row.step, name, own ?? "", kind, schema, digest, encoding, labels, about]
  const facts = () => ({ ...row, run: run ?? undefined, own: own ?? undefined })
  return rowProblem(stored, texts, () => snapshotChecksum(facts(), state ?? ""))
}

export const toSnapshot = (row: SnapshotRow): Snapshot => {
  const { about, at, digest, encoding, key, kind, name, schema, seq, size, step, version } = row
  return {
    key,
    run: row.run ?? undefined,
    step,
    seq,
    name,
    own: row.own ?? undefined,
    kind,
    version,
    schema,
    digest,
    size,
    encoding,
    labels: toLabels(row.labels),
    about,
    at,
    rewound: row.rewound === 1
  }
}

/** Throws if the row is damaged. */
export const toFull = (row: FullRow): FullSnapshot => {
  refuseDamaged(snapshotProblem(row, row.state), () => `checkpoint "${row.name}" (${row.key})`)
  const { state } = row
  // The driver returns bytes as a `Buffer`, which is not the type that was saved.
  const plain = typeof state === "string" ? state : new Uint8Array(state.buffer, state.byteOffset, state.byteLength)
  return Object.assign(toSnapshot(row), { state: plain })
}
