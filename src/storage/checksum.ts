/**
 * Checksums of rows, for backends that keep them outside of this process. A
 * backend stores them with the row and compares them when it reads the row: a
 * flipped bit, or a row that belongs to another place, is then an error instead of
 * a value. They detect damage, not forgery.
 *
 * A checksum is a CRC-32 as a signed number, which takes SQLite four bytes.
 */
import type { Entry, Outcome, RecordRow, Run, Signal, Snapshot } from "./Store.js"

/** Why a stored row cannot be trusted. Operations fail with a `StorageError` of the reason `Damaged`. */
export class DamagedRow extends Error {
  readonly _tag = "DamagedRow"
}

/** Payloads of more characters have a checksum of their own, so a reader can verify a line without its payload. */
const longPayload = 256

/** The part of Node that is used. Looked up, so that the main door imports no Node module. */
interface Host {
  readonly getBuiltinModule?: (name: string) => { readonly crc32?: (text: string) => number } | undefined
}

const table = (): Int32Array =>
  Int32Array.from({ length: 256 }, (_, byte) => {
    let value = byte
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1
    return value
  })

/** The same checksum where the runtime has none. */
export const crc32InJavaScript = (): ((text: string) => number) => {
  const remainders = table()
  const encoder = new TextEncoder()
  return (text) => {
    let crc = -1
    // Each index is a byte, so it is in the table.
    for (const byte of encoder.encode(text)) crc = (remainders[(crc ^ byte) & 0xff] as number) ^ (crc >>> 8)
    return ~crc
  }
}

/**
 * SQLite stores half a surrogate pair as three bytes, each of which is read as
 * another character. A backend that would store it otherwise stores this instead.
 */
export const asRead = (text: MaybeChecked): string =>
  (text.isWellFormed?.() ?? !/\p{Surrogate}/u.test(text)) ? text : text.replace(/\p{Surrogate}/gu, "\ufffd\ufffd\ufffd")

/** Newer runtimes have the method, and it takes no time for most texts. */
type MaybeChecked = string & { readonly isWellFormed?: () => boolean }

/** Of the UTF-8 of a text, as a signed number. */
export const crc32: (text: string) => number = (() => {
  const host = (globalThis as { readonly process?: Host }).process
  const native = host?.getBuiltinModule?.("node:zlib")?.crc32
  const plain = native === undefined ? crc32InJavaScript() : (text: string) => native(text) | 0
  return (text) => plain(asRead(text))
})()

/** The checksums of a journal line: of the line, and of its payload if that is long. */
export interface EntryChecksums {
  readonly checksum: number
  readonly payloadChecksum: number | null
}

/** A journal line as a backend stores it. */
export type StoredEntry = Omit<Entry, "payload" | "omitted"> & { readonly payload: string | null }

export const entryChecksums = (run: number, entry: Entry): EntryChecksums => {
  const { payload } = entry
  const payloadChecksum = payload !== undefined && payload.length > longPayload ? crc32(payload) : null
  return { checksum: ofLine(run, entry, payload ?? null, payloadChecksum), payloadChecksum }
}

/** What is wrong with a line. A long payload may be absent from the row. */
export const entryProblem = (
  run: number,
  entry: StoredEntry,
  { checksum, payloadChecksum }: { readonly checksum: number | null; readonly payloadChecksum: number | null }
): string | undefined => {
  const { kind, payload, step } = entry
  if (typeof kind !== "string" || typeof step !== "string") return notText
  if (payload !== null && typeof payload !== "string") return notText
  // Written before there were checksums.
  if (checksum === null && payloadChecksum === null) return undefined
  if (ofLine(run, entry, payload, payloadChecksum) !== checksum) return mismatch
  return payloadChecksum === null || payload === null || crc32(payload) === payloadChecksum ? undefined : mismatch
}

/** Columns are separated, so that the same characters in other columns differ. */
const ofLine = (
  run: number,
  { at, attempt, kind, seq, step }: Pick<Entry, "at" | "attempt" | "kind" | "seq" | "step">,
  payload: string | null,
  payloadChecksum: number | null
): number => {
  const body = payloadChecksum !== null ? `#${payloadChecksum}` : payload === null ? "" : `=${payload}`
  return crc32(`${run}\0${seq}\0${kind}\0${step}\0${attempt}\0${at}\0${body}`)
}

/** Labels are compared as the text that is stored. */
type WithLabels<R extends { readonly labels: unknown }> = Omit<R, "labels"> & { readonly labels: string }

/**
 * Of what no execution changes in a run. The store's own key is not known before the
 * row is written. A run without queue and parent has the checksum that it had before
 * there were any.
 */
export const runChecksum = ({
  createdAt,
  id,
  input,
  labels,
  parent,
  queue,
  version,
  workflow
}: Pick<WithLabels<Run>, "createdAt" | "id" | "input" | "labels" | "version" | "workflow"> &
  Partial<Pick<Run, "parent" | "queue">>): number => {
  const ofQueue = queue === undefined ? "" : `\0queue=${queue.name}\0${queue.key}\0${queue.priority}`
  const ofParent = parent === undefined ? "" : `\0parent=${parent.run}\0${parent.signal}`
  return crc32(`${id}\0${workflow}\0${version}\0${input}\0${labels}\0${createdAt}${ofQueue}${ofParent}`)
}

export const outcomeChecksum = (run: string, { at, exit, status }: Outcome): number =>
  crc32(`${run}\0${status}\0${at}\0${exit}`)

export const signalChecksum = (run: number, { at, key, payload }: Signal): number =>
  crc32(`${run}\0${key}\0${at}\0${payload}`)

/**
 * Without a state that has a digest, so that lists need not read it. `rewound` inverts it, so
 * that it can be set without reading the row.
 */
export const snapshotChecksum = (
  row: WithLabels<Omit<Snapshot, "rewound" | "damaged">>,
  state: string | Uint8Array
): number => {
  const { about, at, digest, encoding, key, kind, labels, name, own, run, schema, seq, size, step, version } = row
  const place = run === undefined ? "" : `=${run}`
  const called = own === undefined ? name : `${name}\0=${own}`
  const facts = `${version}\0${schema}\0${digest}\0${size}\0${encoding}\0${labels}\0${about}${digest === "" ? `\0${textOf(state)}` : ""}`
  return crc32(`${key}\0${place}\0${step}\0${seq}\0${called}\0${kind}\0${at}\0${facts}`)
}

/** Drivers answer bytes as a `Buffer`, whose text is another one than that of the bytes that were saved. */
const textOf = (state: string | Uint8Array): string =>
  typeof state === "string" ? state : Uint8Array.prototype.join.call(state)

export const recordChecksum = (row: WithLabels<Omit<RecordRow, "key" | "damaged">>): number => {
  const { at, body, id, kind, labels, revision, scope, status, subject, updatedAt } = row
  return crc32(`${kind}\0${id}\0${subject}\0${scope}\0${status}\0${labels}\0${at}\0${updatedAt}\0${revision}\0${body}`)
}

export const mismatch = "its checksum is not that of its content"

const notText = "a text is stored as bytes"

/** What is wrong with a row whose text columns must be strings. */
export const rowProblem = (
  stored: number | null,
  texts: ReadonlyArray<unknown>,
  checksum: () => number
): string | undefined => {
  if (texts.some((text) => typeof text !== "string")) return notText
  return stored === null || stored === checksum() ? undefined : mismatch
}
