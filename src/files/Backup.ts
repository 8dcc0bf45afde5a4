/**
 * Backups of a file: take one before a change, list them, restore one, and
 * expire old ones.
 *
 * @since 0.1.0
 */
import * as crypto from "node:crypto"
import * as path_ from "node:path"
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { InvalidOption } from "../resilience/InvalidOption.js"
import { age, checked, wholeOrInfinity } from "../resilience/internal/kernel/options.js"
import { cleanup } from "./AtomicFile.js"
import { FileError } from "./FileError.js"
import { asFileError, type Call, type Calls, CurrentCalls, orElseIf } from "./internal/system/calls.js"
import { uniqueName } from "./internal/system/names.js"
import { locate, replace, requireFile, resolveExisting, syncFolder } from "./internal/system/replace.js"
import { writeAll } from "./internal/system/write.js"

export {
  /**
   * @since 0.1.0
   * @category errors
   */
  InvalidOption
} from "../resilience/InvalidOption.js"

/** @since 0.1.0 */
export * from "./FileError.js"

const fields = {
  /** The file that was copied. */
  path: Schema.String,
  takenAt: Schema.Date,
  /** Why the backup was taken. */
  label: Schema.optional(Schema.String),
  /** Null if the file did not exist. */
  content: Schema.NullOr(
    Schema.Struct({
      size: Schema.Number,
      /** SHA-256, in hexadecimal. */
      digest: Schema.String,
      mode: Schema.Number,
      uid: Schema.Number,
      gid: Schema.Number
    })
  )
}

/** The record of a backup. Its path is relative to its folder, so that a project can be moved; earlier versions wrote a full one. */
const Record = Schema.Struct(fields)

/**
 * A copy of a file. If `content` is `null`, the file did not exist, and restoring
 * the backup removes the file. It is a schema too: a step that takes a backup can
 * return it, and its compensation restores it.
 *
 * @since 0.1.0
 * @category models
 */
export const Backup = Schema.Struct({
  ...fields,
  /** Begins with the time, so sorting by id sorts by time. */
  id: Schema.String,
  /** The folder of the record `<id>.json` and the content `<id>.data`. */
  folder: Schema.String
})
/**
 * @since 0.1.0
 * @category models
 */
export interface Backup extends Schema.Schema.Type<typeof Backup> {}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The folder of the backups. Default: the hidden folder `.<name>.backups` beside the file. */
  readonly folder?: string | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface LabelOptions extends Options {
  /** Why a backup is taken, such as a task id; `list` returns only backups with this label. Default: no label, all backups. */
  readonly label?: string | undefined
}

/**
 * Takes a backup of the file, or of the fact that it does not exist. The backup
 * is on disk when the effect succeeds.
 *
 * @example
 * ```ts
 * import { AtomicFile, Backup } from "effect-recovery/files"
 * import { Effect } from "effect"
 * import * as fs from "node:fs"
 * import * as os from "node:os"
 *
 * const file = `${fs.mkdtempSync(`${os.tmpdir()}/example-`)}/outbox.json`
 *
 * const program = Effect.gen(function* () {
 *   yield* AtomicFile.write(file, "[1]")
 *   const backup = yield* Backup.take(file, { label: "TASK-165J" })
 *   yield* AtomicFile.write(file, "[1, 2")
 *   yield* Backup.restore(backup)
 *   return fs.readFileSync(file, "utf8")
 * })
 *
 * Effect.runPromise(program).then(console.log) // [1]
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const take = (path: string, options?: LabelOptions): Effect.Effect<Backup, FileError> =>
  Effect.gen(function* () {
    const calls = yield* CurrentCalls
    const target = yield* locate(path)
    yield* requireFile("Backing up", target)
    const folder = folderOf(target.path, options)
    yield* orElseIf(calls.mkdir(folder, 0o700), ["EEXIST"], undefined)
    const bytes = target.stats === undefined ? undefined : yield* calls.readFile(target.path)
    const takenAt = new Date(yield* Clock.currentTimeMillis)
    const id = `${takenAt.toISOString().replaceAll(":", ".")}-${uniqueName()}`
    const { gid = 0, mode = 0, uid = 0 } = target.stats ?? {}
    const content =
      bytes === undefined ? null : { size: bytes.length, digest: digestOf(bytes), mode: mode & 0o7777, uid, gid }
    const real = yield* realPath(calls, target.path)
    const relative = path_.relative(yield* calls.realpath(folder), real)
    const label = options?.label === undefined ? {} : { label: options.label }
    const record = { path: relative, takenAt, ...label, content }
    // The record comes last, so its content exists.
    if (bytes !== undefined) yield* put(path_.join(folder, `${id}.data`), bytes)
    yield* put(path_.join(folder, `${id}.json`), Buffer.from(yield* Effect.orDie(encode(record))))
    return { ...record, path: target.path, id, folder }
  }).pipe(asFileError("Backing up", path), Effect.uninterruptible)

/** The path without links to its folders. */
const realPath = (calls: Calls, at: string): Call<string> =>
  Effect.map(resolveExisting(calls, path_.dirname(at)), (folder) => path_.join(folder, path_.basename(at)))

const encode = Schema.encode(Schema.parseJson(Record))
const decode = Schema.decodeUnknown(Schema.parseJson(Record))

const folderOf = (path: string, options: Options | undefined): string =>
  options?.folder ?? path_.join(path_.dirname(path), `.${path_.basename(path)}.backups`)

const digestOf = (bytes: Uint8Array): string => crypto.createHash("sha256").update(bytes).digest("hex")

/** Readable by this user only: the file may be secret. */
const put = (at: string, bytes: Uint8Array): Call<void> =>
  replace({ path: at, stats: undefined }, (file, calls) => writeAll(calls, file, bytes), {
    durability: "power-loss",
    mode: 0o600,
    owner: true
  })

/**
 * The backups of a file, newest first. Reads their records, not their content.
 * Other files among them, and records that were damaged, are skipped with a warning.
 *
 * @since 0.1.0
 * @category accessors
 */
export const list = (path: string, options?: LabelOptions): Effect.Effect<ReadonlyArray<Backup>, FileError> =>
  Effect.gen(function* () {
    const calls = yield* CurrentCalls
    const target = yield* locate(path)
    const folder = folderOf(target.path, options)
    const names = yield* orElseIf(calls.readdir(folder), ["ENOENT"], [])
    const ids = names.flatMap((name) => (name.endsWith(".json") ? [name.slice(0, -5)] : [])).sort()
    if (ids.length === 0) return []
    const [from, real] = yield* Effect.all([calls.realpath(folder), realPath(calls, target.path)])
    const isHere = (recorded: string): boolean => {
      if (path_.resolve(from, recorded) === real) return true
      // The folder beside a file has backups of that file alone: a full path is that of before the project was moved.
      const isOwn = options?.folder === undefined && path_.isAbsolute(recorded)
      return isOwn && path_.basename(recorded) === path_.basename(real)
    }
    const all = yield* Effect.forEach(ids.reverse(), (id) => read(calls, folder, id))
    return all
      .flat()
      .filter((record) => isHere(record.path) && (options?.label ?? record.label) === record.label)
      .map((record) => ({ ...record, path: target.path, folder }))
  }).pipe(asFileError("Listing the backups of", path))

/** Nothing for a file that is no record, or a damaged one: it must not hide the others. */
const read = (calls: Calls, folder: string, id: string) => {
  const at = path_.join(folder, `${id}.json`)
  const skipped = Effect.as(Effect.logWarning(`${at} is not the record of a backup, and is skipped`), [])
  return calls.readFile(at).pipe(
    Effect.flatMap((bytes) =>
      Effect.matchEffect(decode(bytes.toString("utf8")), {
        onSuccess: (record) => Effect.succeed([{ ...record, id }]),
        onFailure: () => skipped
      })
    ),
    Effect.catchAll((error) => {
      // It was expired meanwhile.
      if (error.code === "ENOENT") return Effect.succeed([])
      return /^(EISDIR|EACCES)$/.test(error.code ?? "") ? skipped : Effect.fail(error)
    })
  )
}

/**
 * Restores the content, permissions and owner of the file. The backup stays. A
 * backup whose content was changed fails with the reason `Damaged`.
 *
 * If other programs change the file at the same time, hold its lock:
 * `Backup.restore(backup).pipe(Lock.withLock(Lock.resource(backup.path)))`.
 *
 * @since 0.1.0
 * @category execution
 */
export const restore = (
  { content, folder, id, path }: Backup,
  options?: { readonly owner?: boolean | undefined }
): Effect.Effect<void, FileError> =>
  Effect.gen(function* () {
    const calls = yield* CurrentCalls
    const target = yield* locate(path)
    yield* requireFile("Restoring", target)
    if (content === null) {
      yield* orElseIf(calls.unlink(target.path), ["ENOENT"], undefined)
      return yield* syncFolder(calls, path_.dirname(target.path))
    }
    const at = path_.join(folder, `${id}.data`)
    const bytes = yield* calls.readFile(at)
    if (digestOf(bytes) !== content.digest) {
      return yield* new FileError({ reason: "Damaged", operation: "Restoring from", path: at })
    }
    yield* replace({ path: target.path, stats: content }, (file) => writeAll(calls, file, bytes), {
      durability: "power-loss",
      mode: undefined,
      owner: options?.owner ?? true
    })
  }).pipe(asFileError("Restoring", path), Effect.uninterruptible)

/**
 * Which backups to remove: those older than `olderThan`, and those beyond the
 * newest `keep`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Retention extends Options {
  /** Finite and above 0. Default: no limit. */
  readonly olderThan?: Duration.DurationInput | undefined
  /** How many of the newest stay; a whole number of at least 1, or `Infinity`. Default: no limit. */
  readonly keep?: number | undefined
}

/**
 * Removes old backups of a file and returns their number. The newest one always
 * stays. Fails with `InvalidOption`, and removes nothing, if an option is invalid.
 *
 * @since 0.1.0
 * @category execution
 */
export const expire = (path: string, retention: Retention): Effect.Effect<number, FileError | InvalidOption> =>
  Effect.flatMap(
    checked(() => ({
      folder: retention.folder,
      millis: retention.olderThan === undefined ? undefined : age("olderThan", retention.olderThan),
      keep: wholeOrInfinity("keep", retention.keep ?? Number.POSITIVE_INFINITY, 1)
    })),
    (limits) => removeExpired(path, limits)
  )

interface Limits extends Options {
  readonly millis: number | undefined
  readonly keep: number
}

const removeExpired = (path: string, { folder: given, keep, millis }: Limits) =>
  Effect.gen(function* () {
    const calls = yield* CurrentCalls
    const all = yield* list(path, { folder: given })
    const now = yield* Clock.currentTimeMillis
    const before = millis === undefined ? Number.NEGATIVE_INFINITY : now - millis
    const old = all.filter(({ takenAt }, newer) => newer >= keep || (newer > 0 && takenAt.getTime() < before))
    for (const { folder, id } of old) {
      // The record first: content without a record is garbage, a record without content is damage.
      for (const name of [`${id}.json`, `${id}.data`]) {
        yield* orElseIf(calls.unlink(path_.join(folder, name)), ["ENOENT"], undefined)
      }
    }
    const folder = all[0]?.folder
    if (folder !== undefined) yield* removeIncomplete(calls, folder, now)
    return old.length
  }).pipe(asFileError("Expiring the backups of", path))

const hour = 3_600_000

/** The names that `take` gives to contents. */
const isContent = /^\d{4}-\d\d-\d\dT[\d.]+Z-[0-9a-f]+-\d+\.data$/

/** Removes what a process left that died while it took or expired a backup. */
const removeIncomplete = (calls: Calls, folder: string, now: number) =>
  Effect.gen(function* () {
    yield* cleanup(folder)
    const names = new Set(yield* calls.readdir(folder))
    for (const name of names) {
      if (!isContent.test(name) || names.has(name.replace(/data$/, "json"))) continue
      const stats = yield* calls.lstat(path_.join(folder, name))
      // A newer one may belong to a process that is taking a backup now.
      if (stats !== undefined && now - stats.modified * 1_000 > hour)
        yield* orElseIf(calls.unlink(path_.join(folder, name)), ["ENOENT"], undefined)
    }
  })
