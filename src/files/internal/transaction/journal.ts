import * as crypto from "node:crypto"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Durability } from "../../AtomicFile.js"
import { FileError } from "../../FileError.js"
import { type Call, type Calls, CurrentCalls } from "../system/calls.js"
import { uniqueName } from "../system/names.js"
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
   * folder: the undo moves the copy back and then sets these permissions.
   */
  Schema.Struct({
    kind: Schema.Literal("protect"),
    ...common,
    existed: Schema.Boolean,
    mode: Schema.optional(Schema.Int)
  })
)
export type Entry = typeof Entry.Type

const decode = Schema.decodeOption(Schema.parseJson(Entry))

const journalName = ".file-transaction"

/** The folder of a root with the journal of its transaction and the old and new files. */
export const journalFolder = (root: string): string => path.join(root, journalName)

/** The journal's folder after the end of its transaction. */
const closedFolder = (root: string): string => path.join(root, `${journalName}.done`)

const journalFile = (root: string): string => path.join(journalFolder(root), "journal")

/** Whether a name directly under the root belongs to a journal. */
export const isJournalName = (name: string): boolean => name.startsWith(journalName)

export const oldFile = (root: string, n: number): string => path.join(journalFolder(root), `${n}.old`)
export const newFile = (root: string, n: number): string => path.join(journalFolder(root), `${n}.new`)

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
export const markUndone = (root: string, { offset }: Pending): Call<void> =>
  Effect.flatMap(CurrentCalls, (calls) =>
    Effect.flatMap(calls.open(journalFile(root), "r+"), (file) =>
      Effect.ensuring(Effect.zipRight(mark(calls, file, offset), calls.sync(file)), Effect.ignore(calls.close(file)))
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
}

/** Ends the transaction by one rename, to a unique name if the remains of an earlier one are in the way. */
const retire = (calls: Calls, root: string, durable: boolean): Call<string> => {
  const folder = journalFolder(root)
  const to = (at: string) => Effect.as(rename(calls, folder, at), at)
  const renamed = Effect.catchAll(to(closedFolder(root)), (error) =>
    /^(ENOTEMPTY|EEXIST|ENOTDIR)$/.test(error.code ?? "")
      ? to(`${closedFolder(root)}-${uniqueName()}`)
      : Effect.fail(error)
  )
  // A commit that a power cut can still undo must fail, so the rename is reversed.
  return durable
    ? Effect.tap(renamed, (closed) =>
        Effect.onError(syncFolder(calls, root), () => Effect.ignore(calls.rename(closed, folder)))
      )
    : renamed
}

const openNew = (calls: Calls, root: string): Call<number> =>
  Effect.zipRight(
    calls.mkdir(journalFolder(root), 0o700),
    // A folder without a journal would make the next attempt fail.
    Effect.onError(calls.open(journalFile(root), "wx", 0o600), () => Effect.ignore(calls.rmdir(journalFolder(root))))
  )

/** Creates the folder and an empty journal. */
export const create = (calls: Calls, root: string, durability: Durability): Call<Journal> =>
  Effect.gen(function* () {
    const folder = journalFolder(root)
    const durable = durability !== "process-crash"
    const file = yield* openNew(calls, root)
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
    const abandon = Effect.ignore(calls.close(file))
    if (durable) yield* Effect.onError(syncFolder(calls, root), () => abandon)
    const close = Effect.flatMap(
      Effect.suspend(() => retire(calls, root, durable)),
      (closed) =>
        // If the removal fails, the next opening removes the folder.
        Effect.zipRight(abandon, Effect.ignore(removeTree(calls, closed)))
    )
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
      close,
      abandon
    }
  })

/** Whether a process has left a journal, open or closed. */
export const hasJournal = (root: string): Call<boolean> =>
  Effect.flatMap(CurrentCalls, (calls) =>
    Effect.map(Effect.forEach([journalFolder(root), closedFolder(root)], calls.lstat), (found) =>
      found.some((stats) => stats !== undefined)
    )
  )

/** The entries to undo, newest first; undefined if there is no open journal. The caller holds the lock of the root. */
export const readPending = (
  root: string
): Effect.Effect<ReadonlyArray<Pending> | undefined, NodeJS.ErrnoException | FileError> =>
  Effect.gen(function* () {
    const calls = yield* CurrentCalls
    const closed = closedFolder(root)
    if ((yield* calls.lstat(closed)) !== undefined) yield* Effect.ignore(removeTree(calls, closed))
    if ((yield* calls.lstat(journalFolder(root))) === undefined) return undefined
    const at = journalFile(root)
    // The process died before it created the journal.
    if ((yield* calls.lstat(at)) === undefined) return []
    return yield* parse(at, (yield* calls.readFile(at)).toString("utf8"))
  })

/** Closes the journal of a dead process, after all its entries were undone. */
export const closeAbandoned = (root: string): Call<void> =>
  Effect.flatMap(CurrentCalls, (calls) =>
    Effect.flatMap(retire(calls, root, true), (closed) => Effect.ignore(removeTree(calls, closed)))
  )

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
