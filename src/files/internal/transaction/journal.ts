import * as crypto from "node:crypto"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { FileError } from "../../FileError.js"
import { type Call, type Calls, CurrentCalls } from "../system/calls.js"
import { uniqueName } from "../system/names.js"
import { type Durability, rename, syncFolder } from "../system/replace.js"
import { removeTree } from "../system/tree.js"
import { writeAll } from "../system/write.js"

const isWithin = (at: string): boolean => {
  const [first = ""] = at.split(path.sep)
  return at !== "" && at === path.normalize(at) && !path.isAbsolute(at) && first !== ".." && !isOurs(first)
}

const Within = Schema.String.pipe(Schema.filter(isWithin))
const common = { n: Schema.Int.pipe(Schema.positive()), path: Within }

/**
 * A change that is about to be made. Paths are those within the root. What
 * belongs to it lies beside the journal: `<n>.old` is what was there,
 * `<n>.new` what will be.
 */
export const Entry = Schema.Union(
  /** `<n>.new` takes the place of a file. */
  Schema.Struct({ kind: Schema.Literal("replace"), ...common }),
  /** `<n>.new` is put where nothing was. */
  Schema.Struct({ kind: Schema.Literal("create"), ...common }),
  /** What is there becomes `<n>.old`. */
  Schema.Struct({ kind: Schema.Literal("remove"), ...common }),
  Schema.Struct({ kind: Schema.Literal("move"), ...common, to: Within }),
  /**
   * The program will change it in its own way; `<n>.old` is a copy, if it existed. One that could not be
   * put back with its own permissions gets them afterwards.
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

const journalFolder = ".file-transaction"
const doneFolder = ".file-transaction.done"
const journalFile = "journal"

/** Where a root keeps the journal of its transaction. */
export const folderOf = (root: string): string => path.join(root, journalFolder)

const doneOf = (root: string): string => path.join(root, doneFolder)

/** Whether a name directly under the root is ours. */
export const isOurs = (name: string): boolean => name.startsWith(journalFolder)

export const oldOf = (root: string, n: number): string => path.join(folderOf(root), `${n}.old`)
export const newOf = (root: string, n: number): string => path.join(folderOf(root), `${n}.new`)

const checksum = (text: string): string => crypto.createHash("sha256").update(text).digest("hex").slice(0, 16)

/** A line begins with the mark of what is intended, which one byte changes to that of what is undone. */
const [intended, undone] = ["+", "-"]

const encode = (entry: Entry): Uint8Array => {
  const text = JSON.stringify(entry)
  return Buffer.from(`${intended}${checksum(text)} ${text}\n`)
}

const mark = (calls: Calls, file: number, offset: number): Call<void> =>
  writeAll(calls, file, Buffer.from(undone), offset)

/** An intent a dead process has left, and where it stands in the journal. */
export interface Left {
  readonly entry: Entry
  readonly offset: number
}

/** So that nobody undoes it again, whatever has happened since to what it was about. */
export const markLeft = (root: string, { offset }: Left): Call<void> =>
  Effect.flatMap(CurrentCalls, (calls) =>
    Effect.flatMap(calls.open(path.join(folderOf(root), journalFile), "r+"), (file) =>
      Effect.ensuring(Effect.zipRight(mark(calls, file, offset), calls.sync(file)), Effect.ignore(calls.close(file)))
    )
  )

/** The intents of a transaction, on disk before what they intend. */
export interface Journal {
  readonly record: (entry: Entry) => Call<void>
  readonly undone: (n: number) => Call<void>
  /** It has nothing more to say: what was done stays done from here on, or everything was undone. */
  readonly close: Call<void>
  /** Leaves it as it is, for the next one who opens the root. */
  readonly leave: Effect.Effect<void>
}

/** Whose garbage is in the way keeps it: what was put away is read by nobody. */
const putAway = (calls: Calls, root: string): Call<string> => {
  const to = (at: string) => Effect.as(rename(calls, folderOf(root), at), at)
  return Effect.catchAll(to(doneOf(root)), (error) =>
    /^(ENOTEMPTY|EEXIST|ENOTDIR)$/.test(error.code ?? "") ? to(`${doneOf(root)}-${uniqueName()}`) : Effect.fail(error)
  )
}

const opened = (calls: Calls, folder: string): Call<number> =>
  Effect.zipRight(
    calls.mkdir(folder, 0o700),
    // Without a journal the folder must not be in the way of the next attempt.
    Effect.onError(calls.open(path.join(folder, journalFile), "wx", 0o600), () => Effect.ignore(calls.rmdir(folder)))
  )

/** Makes the folder and the journal in it, empty. */
export const create = (calls: Calls, root: string, durability: Durability): Call<Journal> =>
  Effect.gen(function* () {
    const folder = folderOf(root)
    const durable = durability !== "process-crash"
    const file = yield* opened(calls, folder)
    let length = 0
    const offsets = new Map<number, number>()
    let broken: NodeJS.ErrnoException | undefined
    /** Half a line must not stand between two whole ones. */
    const cutOff = Effect.suspend(() =>
      Effect.catchAll(calls.truncate(file, length), (error) =>
        Effect.sync(() => {
          broken = error
        })
      )
    )
    const append = (bytes: Uint8Array): Call<void> =>
      Effect.suspend(() =>
        broken !== undefined
          ? Effect.fail(broken)
          : Effect.map(
              Effect.tapError(writeAll(calls, file, bytes, length), () => cutOff),
              () => {
                length += bytes.length
              }
            )
      )
    const leave = Effect.ignore(calls.close(file))
    if (durable) yield* Effect.onError(syncFolder(calls, root), () => leave)
    const close = Effect.gen(function* () {
      const done = yield* putAway(calls, root)
      if (durable) {
        // Nobody may be told that it is done while a power cut can still undo it.
        yield* Effect.onError(syncFolder(calls, root), () => Effect.ignore(calls.rename(done, folder)))
      }
      yield* leave
      // What is left of it is removed at the next opening.
      yield* Effect.ignore(removeTree(calls, done))
    })
    return {
      record: (entry) =>
        Effect.zipRight(
          Effect.suspend(() => {
            offsets.set(entry.n, length)
            return append(encode(entry))
          }),
          durable ? Effect.zipRight(calls.sync(file), syncFolder(calls, folder)) : Effect.void
        ),
      undone: (n) =>
        Effect.suspend(() => {
          const offset = offsets.get(n)
          // One that could not be put on record whole was cut off again.
          if (offset === undefined || offset >= length) return Effect.void
          return Effect.zipRight(mark(calls, file, offset), durable ? calls.sync(file) : Effect.void)
        }),
      close,
      leave
    }
  })

/** Whether a dead process has left something, if only garbage. Whoever holds the lock of the root may touch it. */
export const isLeft = (root: string): Call<boolean> =>
  Effect.flatMap(CurrentCalls, (calls) =>
    Effect.map(Effect.forEach([folderOf(root), doneOf(root)], calls.lstat), (found) =>
      found.some((stats) => stats !== undefined)
    )
  )

/** The intents a dead process has left, newest first; none, if its transaction had ended. */
export const readLeft = (
  root: string
): Effect.Effect<ReadonlyArray<Left> | undefined, NodeJS.ErrnoException | FileError> =>
  Effect.gen(function* () {
    const calls = yield* CurrentCalls
    if ((yield* calls.lstat(doneOf(root))) !== undefined) yield* Effect.ignore(removeTree(calls, doneOf(root)))
    if ((yield* calls.lstat(folderOf(root))) === undefined) return undefined
    const at = path.join(folderOf(root), journalFile)
    // Its process ended before it had written anything.
    if ((yield* calls.lstat(at)) === undefined) return []
    return yield* parse(at, (yield* calls.readFile(at)).toString("utf8"))
  })

/** Ends the transaction of a dead process, of which nothing is left to undo. */
export const closeLeft = (root: string): Call<void> =>
  Effect.gen(function* () {
    const calls = yield* CurrentCalls
    const done = yield* putAway(calls, root)
    yield* syncFolder(calls, root)
    yield* Effect.ignore(removeTree(calls, done))
  })

const parse = (at: string, text: string): Effect.Effect<ReadonlyArray<Left>, FileError> => {
  const lines = text.split("\n")
  // A last line without its end was cut off while it was written, so what it intends was not begun.
  lines.pop()
  const entries: Array<Left> = []
  let offset = 0
  for (const [i, line] of lines.entries()) {
    const entry = parseLine(line)
    if (Option.isNone(entry)) {
      const cause = new Error(
        `line ${i + 1} is not what was written; ${path.dirname(at)} holds what the files were before`
      )
      return Effect.fail(new FileError({ reason: "Damaged", operation: "Reading the journal", path: at, cause }))
    }
    if (line.startsWith(intended)) entries.push({ entry: entry.value, offset })
    offset += Buffer.byteLength(line) + 1
  }
  return Effect.succeed(entries.reverse())
}

/** The checksum tells damage, and not who wrote it: a journal that came with the folder must not lead out of it. */
const parseLine = (line: string): Option.Option<Entry> => {
  const json = line.slice(18)
  const isMarked = line.startsWith(intended) || line.startsWith(undone)
  return isMarked && checksum(json) === line.slice(1, 17) ? decode(json) : Option.none()
}
