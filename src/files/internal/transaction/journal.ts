import * as crypto from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Durability } from "../../AtomicFile.js"
import { FileError } from "../../FileError.js"
import { type Call, type Calls, CurrentCalls } from "../system/calls.js"
import { isLeftover, uniqueName } from "../system/names.js"
import { rename, syncFolder } from "../system/replace.js"
import { removeTree } from "../system/tree.js"
import { writeAll } from "../system/write.js"

/** Whether a path from a journal stays within the root, outside the journal's own folders. */
const isWithin = (at: string): boolean => {
  const [first = ""] = at.split(path.sep)
  return at !== "" && at === path.normalize(at) && !path.isAbsolute(at) && first !== ".." && !isJournalName(first)
}

const Within = Schema.String.pipe(Schema.filter(isWithin))
const common = { n: Schema.Int.pipe(Schema.positive()), path: Within }

/**
 * A change, recorded before it is made. Paths are relative to the root. Beside
 * the journal, `<n>.old` holds the old file and `<n>.new` the new one.
 */
export const Entry = Schema.Union(
  /** `<n>.new` replaces a file. */
  Schema.Struct({ kind: Schema.Literal("replace"), ...common }),
  /** `<n>.new` becomes a new file or folder. */
  Schema.Struct({ kind: Schema.Literal("create"), ...common }),
  /** The file or folder becomes `<n>.old`. */
  Schema.Struct({ kind: Schema.Literal("remove"), ...common }),
  Schema.Struct({ kind: Schema.Literal("move"), ...common, to: Within }),
  /**
   * The program changes the path itself; `<n>.old` is a copy if the path existed. `mode` is set for a restricted
   * folder: the undo moves the copy back and then sets these permissions. `linked` is set for a file that has
   * several names, which `<n>.link` is one of: the undo restores the content of all of them.
   */
  Schema.Struct({
    kind: Schema.Literal("protect"),
    ...common,
    existed: Schema.Boolean,
    mode: Schema.optional(Schema.Int),
    linked: Schema.optional(Schema.Boolean)
  })
)
export type Entry = typeof Entry.Type

const decode = Schema.decodeOption(Schema.parseJson(Entry))

const journalName = ".file-transaction"

/**
 * The folder of a root with the journal of its transaction and the old and new
 * files. It stands for the journal: its parent is the root.
 */
export const journalFolder = (root: string, name?: string): string =>
  path.join(root, name === undefined ? journalName : `${journalName}-${checksum(name)}`)

export const rootOf = (folder: string): string => path.dirname(folder)

/** The journal's folder after the end of its transaction. */
const closedFolder = (folder: string): string => `${folder}.done`

const journalFile = (folder: string): string => path.join(folder, "journal")

/** Whether a name in the folder of a journal is the journal, or a file that it keeps. */
export const isContent = (name: string): boolean => name === "journal" || /^\d+\.(old|new|link|undone)$/.test(name)

/** Whether a name directly under the root belongs to a journal. */
export const isJournalName = (name: string): boolean => name.startsWith(journalName)

export const oldFile = (folder: string, n: number): string => path.join(folder, `${n}.old`)
/** A second name of a protected file that has several. */
export const linkFile = (folder: string, n: number): string => path.join(folder, `${n}.link`)
export const newFile = (folder: string, n: number): string => path.join(folder, `${n}.new`)

const checksum = (text: string): string => crypto.createHash("sha256").update(text).digest("hex").slice(0, 16)

/** The first byte of a line. Undoing a change overwrites it. */
const [intended, undone] = ["+", "-"]

const encode = (entry: Entry): Uint8Array => {
  const text = JSON.stringify(entry)
  return Buffer.from(`${intended}${checksum(text)} ${text}\n`)
}

const mark = (calls: Calls, file: number, offset: number): Call<void> =>
  writeAll(calls, file, Buffer.from(undone), offset)

/** An entry of a dead process that is not undone, and its position in the journal. */
export interface Pending {
  readonly entry: Entry
  readonly offset: number
}

/** Prevents a second undo, which would destroy later changes of the path. */
export const markUndone = (folder: string, { offset }: Pending, durable: boolean): Call<void> =>
  Effect.flatMap(CurrentCalls, (calls) =>
    Effect.flatMap(calls.open(journalFile(folder), "r+"), (file) =>
      Effect.ensuring(
        Effect.zipRight(mark(calls, file, offset), durable ? calls.sync(file) : Effect.void),
        Effect.ignore(calls.close(file))
      )
    )
  )

/** The write-ahead log of a transaction: each entry is on disk before its change is made. */
export interface Journal {
  readonly record: (entry: Entry) => Call<void>
  readonly markUndone: (n: number) => Call<void>
  /** Ends the transaction: its changes are committed, or all of them were undone. */
  readonly close: Call<void>
  /** Leaves the journal in place, for the recovery at the next opening of the root. */
  readonly abandon: Effect.Effect<void>
  /** Runs a rollback with a descriptor that was kept free for it: where all others are in use, it could open no folder. */
  readonly withReserve: <A, E>(self: Effect.Effect<A, E>) => Effect.Effect<A, E>
}

/** A descriptor that is open only to be free when it is needed. Synchronous: a thread for it would take longer. */
const makeReserve = (at: string): Call<Reserve> => {
  let file: number | undefined
  const release = Effect.sync(() => {
    if (file !== undefined) fs.closeSync(file)
    file = undefined
  })
  const fill = Effect.try({
    try: () => {
      file ??= fs.openSync(at, "r")
    },
    // Only calls of node:fs throw here, and they throw errors with a code.
    catch: (cause) => cause as NodeJS.ErrnoException
  })
  return Effect.as(fill, { release, fill: Effect.ignore(fill) })
}

interface Reserve {
  readonly release: Effect.Effect<void>
  readonly fill: Effect.Effect<void>
}

/** Ends the transaction by one rename, to a unique name if the remains of an earlier one are in the way. */
const retire = (calls: Calls, folder: string, durable: boolean): Call<string> => {
  const to = (at: string) => Effect.as(rename(calls, folder, at), at)
  const renamed = Effect.catchAll(to(closedFolder(folder)), (error) =>
    /^(ENOTEMPTY|EEXIST|ENOTDIR)$/.test(error.code ?? "")
      ? to(`${closedFolder(folder)}-${uniqueName()}`)
      : Effect.fail(error)
  )
  // A commit that a power cut can still undo must fail, so the rename is reversed.
  return durable
    ? Effect.tap(renamed, (closed) =>
        Effect.onError(syncFolder(calls, rootOf(folder)), () => Effect.ignore(calls.rename(closed, folder)))
      )
    : renamed
}

/** Removes the folder of a journal that has undone or committed all of its entries. */
export const closeJournal = (calls: Calls, folder: string, durable: boolean): Call<void> =>
  // If the removal fails, the next opening removes the folder.
  Effect.flatMap(retire(calls, folder, durable), (closed) => Effect.ignore(removeTree(calls, closed)))

/** Creates an empty journal in its folder, whose lock the caller holds. */
export const create = (calls: Calls, folder: string, durability: Durability): Call<Journal> =>
  Effect.gen(function* () {
    const durable = durability !== "process-crash"
    const file = yield* calls.open(journalFile(folder), "wx", 0o600)
    let length = 0
    const offsets = new Map<number, number>()
    let broken: NodeJS.ErrnoException | undefined
    /** Removes a half-written line, so that no line follows it. */
    const truncate = Effect.suspend(() =>
      Effect.catchAll(calls.truncate(file, length), (error) =>
        Effect.sync(() => {
          broken = error
        })
      )
    )
    const reserve = yield* Effect.onError(makeReserve(journalFile(folder)), () => Effect.ignore(calls.close(file)))
    const abandon = Effect.zipRight(reserve.release, Effect.ignore(calls.close(file)))
    if (durable) yield* Effect.onError(syncFolder(calls, rootOf(folder)), () => abandon)
    return {
      record: (entry) =>
        Effect.gen(function* () {
          if (broken !== undefined) return yield* Effect.fail(broken)
          const bytes = encode(entry)
          offsets.set(entry.n, length)
          yield* Effect.tapError(writeAll(calls, file, bytes, length), () => truncate)
          length += bytes.length
          if (durable) yield* Effect.zipRight(calls.sync(file), syncFolder(calls, folder))
        }),
      markUndone: (n) =>
        Effect.suspend(() => {
          const offset = offsets.get(n)
          // An entry that was not recorded completely was truncated.
          if (offset === undefined || offset >= length) return Effect.void
          return Effect.zipRight(mark(calls, file, offset), durable ? calls.sync(file) : Effect.void)
        }),
      // If it fails, the journal is still open, and a rollback follows.
      close: Effect.zipRight(
        Effect.zipRight(
          reserve.release,
          Effect.tapError(closeJournal(calls, folder, durable), () => reserve.fill)
        ),
        abandon
      ),
      abandon,
      withReserve: (self) => Effect.ensuring(Effect.zipRight(reserve.release, self), reserve.fill)
    }
  })

const isThere = (at: string): Call<boolean> =>
  Effect.flatMap(CurrentCalls, (calls) => Effect.map(calls.lstat(at), (stats) => stats !== undefined))

/** Whether a transaction lives in the root, or a dead process has left its journal. */
export const hasFolder = (folder: string): Call<boolean> => isThere(folder)

/** Whether the folder of the journal holds one. */
export const hasJournal = (folder: string): Call<boolean> => isThere(journalFile(folder))

/** Whether the root has anything of a transaction, also of one that has ended. */
export const hasRemains = (root: string): Call<boolean> =>
  Effect.flatMap(CurrentCalls, (calls) => Effect.map(calls.readdir(root), (names) => names.some(isJournalName)))

/** Removes what processes left that died while they created a journal, or after they had closed it. */
export const removeRemains = (folder: string): Call<void> =>
  Effect.gen(function* () {
    const calls = yield* CurrentCalls
    for (const name of yield* calls.readdir(rootOf(folder))) {
      const isRemains =
        isJournalName(name) && (isLeftover(name) || name.startsWith(path.basename(closedFolder(folder))))
      if (isRemains) yield* Effect.ignore(removeTree(calls, path.join(rootOf(folder), name)))
    }
  })

/** Removes the folder of the last transaction, if its process died before it did. */
export const removeClosed = (folder: string): Call<void> =>
  Effect.flatMap(CurrentCalls, (calls) =>
    Effect.flatMap(isThere(closedFolder(folder)), (there) =>
      there ? Effect.ignore(removeTree(calls, closedFolder(folder))) : Effect.void
    )
  )

/** The entries to undo, newest first. The caller holds the lock of the journal. */
export const readPending = (folder: string): Effect.Effect<ReadonlyArray<Pending>, NodeJS.ErrnoException | FileError> =>
  Effect.gen(function* () {
    const calls = yield* CurrentCalls
    // The process died before it created the journal.
    if (!(yield* hasJournal(folder))) return []
    return yield* parse(journalFile(folder), (yield* calls.readFile(journalFile(folder))).toString("utf8"))
  })

const parse = (at: string, text: string): Effect.Effect<ReadonlyArray<Pending>, FileError> => {
  const lines = text.split("\n")
  // The last line is empty or half-written; the change of a half-written entry was not made.
  lines.pop()
  const entries: Array<Pending> = []
  let offset = 0
  for (const [i, line] of lines.entries()) {
    const entry = parseLine(line)
    if (Option.isNone(entry)) {
      const cause = new Error(`line ${i + 1} was changed; ${path.dirname(at)} contains the old files`)
      return Effect.fail(new FileError({ reason: "Damaged", operation: "Reading the journal", path: at, cause }))
    }
    if (line.startsWith(intended)) entries.push({ entry: entry.value, offset })
    offset += Buffer.byteLength(line) + 1
  }
  return Effect.succeed(entries.reverse())
}

/** The checksum detects damage only. The schema also refuses paths that a hostile journal would lead out of the root. */
const parseLine = (line: string): Option.Option<Entry> => {
  const json = line.slice(18)
  const isMarked = line.startsWith(intended) || line.startsWith(undone)
  return isMarked && checksum(json) === line.slice(1, 17) ? decode(json) : Option.none()
}
