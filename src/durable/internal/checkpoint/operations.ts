import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { JournalError } from "../../../journal/RunError.js"
import * as Events from "../../../resilience/Events.js"
import { checkCheckpointName } from "../../../resilience/InvalidName.js"
import { fraction, millis, share, whole, wholeOrInfinity } from "../../../resilience/internal/kernel/options.js"
import * as Storage from "../../../storage/Storage.js"
import type { Checkpoint, Due, Info, Options, Query, SaveOptions, StreamQuery } from "../../Checkpoint.js"
import { CheckpointInvalid, CheckpointNotFound } from "../../CheckpointError.js"
import * as Execution from "../execution/execution.js"
import * as FiberTree from "../execution/fiberTree.js"
import { isDone, thenAtOnce } from "./atOnce.js"
import { type Checked, type CheckOptions, check, hasErrors, readState, severityOf, validityOf } from "./checks.js"
import { type Limits, limitsOf, trim } from "./cleanup.js"
import {
  checkAbout,
  infoOf,
  type NewSnapshot,
  newSnapshot,
  placed,
  savedInfo,
  toId,
  toInfo,
  toInfos,
  toStats,
  toValidity
} from "./info.js"
import {
  atPlace,
  atPlaceUnrecorded,
  outside,
  type Place,
  readKnown,
  record,
  recorded,
  runOf,
  stepOf,
  stopOnFailure,
  timeAt
} from "./place.js"
import { listInfos, removalQuery, removeMatching, statsOf, streamFull, toQuery } from "./query.js"
import { saveEvery } from "./scoped.js"
import { makeCodec, type StateCodec, type Written } from "./stateCodec.js"

type AnyOptions = Omit<Options<unknown, unknown, unknown, unknown, unknown>, "schema"> & {
  readonly schema: Schema.Schema.All
}

type Self = Checkpoint<unknown, unknown, unknown>

interface Definition extends Omit<CheckOptions, "run" | "codec"> {
  readonly codec: StateCodec
  readonly name: string
  readonly kind: string
  readonly retention: Limits | undefined
}

/** The requirements of the options are in the public type. */
export const makeCheckpoint = (name: string, options: AnyOptions): Self => {
  const { checks = [], compressAbove = 4_096, kind = "manual", schema, severities = {}, version = 1 } = options
  const migrations = Object.fromEntries(
    Object.entries(options.migrations ?? {}).map(([from, { migration }]) => [Number(from), migration])
  )
  checkCheckpointName(name)
  whole("version", version, 0)
  wholeOrInfinity("compressAbove", compressAbove, 0)
  checkMigrations(name, version, Object.keys(migrations).map(Number))
  const retention = options.retention && limitsOf(options.retention)
  const codec = makeCodec({ schema, version, migrations, compressAbove })
  const definition: Definition = { name, kind, retention, codec, checks, severities }
  return { name, ...savingOperations(definition), ...readingOperations(definition) }
}

/** Migrations must lead from the oldest version they cover to the current one without a gap. */
const checkMigrations = (name: string, version: number, from: ReadonlyArray<number>): void => {
  const oldest = Math.min(version, ...from)
  for (let older = oldest; older < version; older++) {
    if (!from.includes(older)) {
      throw new RangeError(`Checkpoint "${name}": there is a migration from version ${oldest}, but none from ${older}`)
    }
  }
  const beyond = from.find((older) => older >= version)
  if (beyond !== undefined) {
    throw new RangeError(`Checkpoint "${name}" has version ${version}, so there is nothing to migrate from ${beyond}`)
  }
}

const ownRun = (place: Place): string | null => runOf(place)?.id ?? null

const queryAt = ({ name }: Definition, place: Place, query?: Query): Storage.SnapshotQuery =>
  query === undefined ? { run: ownRun(place), name } : toQuery(query, ownRun(place), name)

/** Where checkpoints are saved from a fiber, and who is notified. */
interface Saver {
  readonly storage: Storage.Service
  readonly watch: Events.Watch
}

/** The requirement is in the type of what is made with it. */
const withSaver = <A, E, R>(use: (saver: Saver) => Effect.Effect<A, E, R>): Effect.Effect<A, E, R | Storage.Storage> =>
  Effect.withFiberRuntime(({ currentContext }) =>
    use({ storage: Context.unsafeGet(currentContext, Storage.Storage), watch: Events.watchIn(currentContext) })
  )

/** Encodes the state and its facts. Nothing is saved if that fails. */
const prepare = (
  { storage }: Saver,
  { codec, kind, name }: Definition,
  place: Place,
  state: unknown,
  given: SaveOptions
): Effect.Effect<NewSnapshot, Storage.StorageError | JournalError> => {
  // The requirements of the schema are in the type of `save`.
  const encoded = thenAtOnce(checkAbout(given), () => codec.encode(state)) as Effect.Effect<Written, unknown>
  const unwritable = (cause: unknown) =>
    new JournalError({ reason: "Encode", run: runOf(place)?.id, record: `state of checkpoint "${name}"`, cause })
  const written = isDone(encoded) ? encoded : stopOnFailure(place, Effect.mapError(encoded, unwritable))
  return thenAtOnce(written, (written) =>
    Effect.map(timeAt(place, storage), (at) => newSnapshot({ name, kind, at }, written, given))
  )
}

const save = (definition: Definition, place: Place, state: unknown, given: SaveOptions) =>
  place._tag === "Body" && place.known !== undefined
    ? readKnown(place, toInfo, place.known)
    : withSaver((saver) =>
        Effect.flatMap(prepare(saver, definition, place, state, given), (snapshot) =>
          saveSnapshot(saver, definition, place, snapshot, given)
        )
      )

/** In the body of a run, its line of the journal is written with it. */
const saveSnapshot = (
  saver: Saver,
  definition: Definition,
  place: Place,
  snapshot: NewSnapshot,
  given: SaveOptions
): Effect.Effect<Info, Storage.StorageError | JournalError> => {
  const entry =
    place._tag === "Body" ? Execution.nextEntry(place.run.execution, "CheckpointSaved", place.key, 0) : undefined
  const execution = runOf(place)
  const full = placed(snapshot, execution?.id, stepOf(place), entry?.seq ?? execution?.lastSeq ?? 0)
  const saved = saver.storage.save(full, {
    lease: execution?.lease,
    ifKeyExists: given.ifKeyExists,
    entry: entry && { ...entry, payload: aroundId(savedInfo(full, 0, false)) }
  })
  return Effect.flatMap(stopOnFailure(place, saved), (key) =>
    Option.isSome(key)
      ? afterSave(saver, definition, place, savedInfo(full, key.value, false))
      : keptOrSaved(saver, definition, place, snapshot, given)
  )
}

/** The checkpoint that was kept in the place of the given one. If it was removed meanwhile, saves. */
const keptOrSaved = (
  saver: Saver,
  definition: Definition,
  place: Place,
  snapshot: NewSnapshot,
  given: SaveOptions
): Effect.Effect<Info, Storage.StorageError | JournalError> => {
  const { name, own = "" } = snapshot
  const query = { run: ownRun(place), name, own: [own], limit: Number.POSITIVE_INFINITY }
  return Effect.flatMap(stopOnFailure(place, saver.storage.snapshots(query)), (found) => {
    const kept = found.find(({ step }) => step === stepOf(place))
    if (kept === undefined) return saveSnapshot(saver, definition, place, snapshot, given)
    const info = infoOf(kept)
    return Effect.as(record(place, "CheckpointRead", JSON.stringify(info)), info)
  })
}

/** Tells of the saved checkpoint, removes those that are beyond the limits, and returns it. */
const afterSave = (
  { storage, watch }: Saver,
  { name, retention }: Definition,
  place: Place,
  info: Info
): Effect.Effect<Info, Storage.StorageError | JournalError> => {
  const source = { run: info.run, step: info.step === "" ? undefined : info.step }
  const emitted = watch.isOn()
    ? watch.emit({ _tag: "CheckpointSaved", source, checkpoint: name, id: info.id })
    : Effect.void
  if (retention !== undefined) {
    return Effect.as(Effect.zipRight(emitted, stopOnFailure(place, trim(storage, info, retention))), info)
  }
  return isDone(emitted) ? Effect.succeed(info) : Effect.as(emitted, info)
}

const saveIfDue = (definition: Definition, place: Place, state: unknown, options: SaveOptions & Due) =>
  Effect.gen(function* () {
    if (place._tag === "Body" && place.known !== undefined) {
      return place.known === "null" ? Option.none() : Option.some(yield* readKnown(place, toInfo, place.known))
    }
    const { due, given } = dueOf(options)
    const { progress } = due
    const storage = yield* Storage.Storage
    const kind = given.kind ?? (progress === undefined ? "auto" : "milestone")
    const query = queryAt(definition, place, { kind: progress === undefined ? undefined : kind, limit: 1 })
    const [last] = yield* stopOnFailure(place, storage.snapshots(query))
    const now = yield* timeAt(place, storage)
    if (!isDue(last && infoOf(last), now, due)) {
      yield* record(place, "CheckpointSaved", "null")
      return Option.none()
    }
    const metadata = progress === undefined ? given.metadata : { ...given.metadata, [progressKey]: progress }
    return Option.some(yield* save(definition, place, state, { ...given, kind, metadata }))
  })

/** Checks when to save, and separates it from what is recorded. */
const dueOf = ({
  interval = "5 minutes",
  milestones = [0.25, 0.5, 0.75, 1],
  progress,
  ...given
}: SaveOptions & Due) => ({
  due: {
    interval: millis("interval", interval),
    milestones: milestones.map((milestone) => share("milestones", milestone)),
    progress: progress === undefined || Number.isNaN(progress) ? progress : fraction("progress", progress)
  },
  given
})

/** A checkpoint to save together with others. */
export interface Entry {
  readonly definition: Definition
  readonly state: unknown
  readonly given: SaveOptions
}

/** In the body of a run, each has its own line in the journal. */
export const saveAll = (entries: ReadonlyArray<Entry>) =>
  Effect.withFiberRuntime<ReadonlyArray<Info>, Storage.StorageError | JournalError, Storage.Storage>((fiber) => {
    const run = Execution.runIn(fiber.currentContext)
    if (run === undefined) return saveTogether(outside, entries)
    const step = FiberTree.stepOf(fiber)
    return step === undefined
      ? Effect.forEach(entries, ({ definition, given, state }) =>
          atPlace(`${definition.name}!`, (place) => save(definition, place, state, given))
        )
      : saveTogether({ _tag: "Step", run, step }, entries)
  })

const saveTogether = (place: Place, entries: ReadonlyArray<Entry>) =>
  withSaver((saver) =>
    Effect.gen(function* () {
      const { storage } = saver
      const prepared = yield* Effect.forEach(entries, ({ definition, given, state }) =>
        Effect.map(prepare(saver, definition, place, state, given), (snapshot) => ({ definition, given, snapshot }))
      )
      const execution = runOf(place)
      const saves = prepared.map(({ given: { ifKeyExists }, snapshot }) => ({
        ifKeyExists,
        snapshot: placed(snapshot, execution?.id, stepOf(place), execution?.lastSeq ?? 0)
      }))
      const keys = yield* stopOnFailure(place, storage.saveAll(saves, execution?.lease))
      return yield* Effect.forEach(prepared, ({ definition, given, snapshot }, i) => {
        const [save, key] = [saves[i], keys[i]]
        return save === undefined || key === undefined || Option.isNone(key)
          ? keptOrSaved(saver, definition, place, snapshot, given)
          : afterSave(saver, definition, place, savedInfo(save.snapshot, key.value, false))
      })
    })
  )

/** The key in the metadata under which the next save finds the progress of this one. */
const progressKey = "progress"

const isDue = (
  last: Info | undefined,
  now: number,
  { interval, milestones, progress }: ReturnType<typeof dueOf>["due"]
): boolean => {
  if (progress === undefined) {
    const elapsed = last === undefined ? interval : now - last.at.getTime()
    // Below zero the clock was set back, and the time since the last save is unknown.
    return elapsed < 0 || elapsed >= interval
  }
  const before = last?.metadata[progressKey]
  // Progress below that of the last checkpoint means that the work started again.
  const from = typeof before === "number" && before <= progress ? before : 0
  return milestones.some((milestone) => from < milestone && milestone <= progress)
}

const savingOperations = (definition: Definition): Pick<Self, "save" | "saveIfDue" | "saveEvery" | "entry"> => {
  const { name } = definition
  const saveHere: Self["save"] = (state, given = {}) =>
    atPlace(`${name}!`, (place) => save(definition, place, state, given))
  return {
    save: saveHere,
    entry: (state, given = {}) => ({ _R: (_) => _, entry: { definition, state, given } }),
    saveIfDue: (state, options = {}) => atPlace(`${name}!`, (place) => saveIfDue(definition, place, state, options)),
    saveEvery: (state, interval, given) =>
      saveEvery(name, state, interval, (value) => saveHere(value, { kind: "auto", ...given }))
  }
}

const find = ({ name }: Definition, place: Place, id: string) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const found = yield* stopOnFailure(place, /^\d+$/.test(id) ? storage.snapshot(Number(id)) : Effect.succeedNone)
    if (Option.isSome(found) && found.value.name === name) return found.value
    return yield* new CheckpointNotFound({ id, checkpoint: name })
  })

const checkAt = (definition: Definition, place: Place, id: string) =>
  Effect.flatMap(find(definition, place, id), (snapshot) => {
    const checked = check(snapshot, infoOf(snapshot), { ...definition, run: runOf(place)?.id })
    // Checks may keep the information they were given, so it is not the answer.
    return Effect.map(checked, (checked) => ({ ...checked, info: infoOf(snapshot) }))
  })

/** The information is a new object, so it becomes the answer. */
const restored = ({ info, problems, state }: Checked & { readonly info: Info }) =>
  hasErrors(problems)
    ? Effect.fail(new CheckpointInvalid({ id: info.id, checkpoint: info.name, problems }))
    : Effect.succeed(Object.assign(info, { state, warnings: problems }))

/** In the body of a run the answer is recorded, so that a resume reads the same checkpoint. */
const findNewest = (definition: Definition, place: Place, query: Query | undefined) => {
  if (place._tag === "Body" && place.known === "null") return Effect.succeedNone
  if (place._tag === "Body" && place.known !== undefined) {
    return Effect.flatMap(readKnown(place, toId, place.known), (id) => Effect.asSome(find(definition, place, id)))
  }
  const found = Effect.flatMap(Storage.Storage, (storage) =>
    stopOnFailure(place, storage.newest(queryAt(definition, place, query)))
  )
  if (place._tag !== "Body") return found
  return Effect.tap(found, (found) => {
    const id = Option.isNone(found) ? null : String(found.value.key)
    return record(place, "CheckpointRead", JSON.stringify(id))
  })
}

const latest = (definition: Definition, place: Place, query: Query | undefined) =>
  Effect.flatMap(findNewest(definition, place, query), (found) =>
    Option.isNone(found)
      ? Effect.succeedNone
      : thenAtOnce(readRestored(definition, found.value), (read) => Effect.succeed(Option.some(read)))
  )

/** Verifies digest and schema, without the other checks. */
const readRestored = (definition: Definition, found: Storage.FullSnapshot) =>
  thenAtOnce(readState(found, definition.codec), ({ problems, state }) => {
    const graded = problems.map((problem) => ({ ...problem, severity: severityOf(problem, definition) }))
    return restored({ state, problems: graded, info: infoOf(found) })
  })

/** In the body of a run the list is recorded, so that a resume reads the same checkpoints. */
const streamAt = (definition: Definition, place: Place, { pageSize = 50, ...query }: StreamQuery) =>
  Effect.flatMap(Storage.Storage, (storage) => {
    const read = (found: Storage.FullSnapshot) => readRestored(definition, found)
    const at = queryAt(definition, place, query)
    if (place._tag !== "Body") {
      const readPage = (page: Storage.SnapshotQuery) => stopOnFailure(place, storage.fullSnapshots(page))
      const pages = streamFull(readPage, at, whole("pageSize", pageSize, 1))
      return Effect.succeed(Stream.mapEffect(pages, read))
    }
    const infos = recorded(place, toInfos, stopOnFailure(place, listInfos(storage, at)))
    return Effect.map(infos, (all) =>
      Stream.mapEffect(Stream.fromIterable(all), ({ id }) => Effect.flatMap(find(definition, place, id), read))
    )
  })

const validity = (definition: Definition, place: Place, id: string) =>
  Effect.flatMap(checkAt(definition, place, id), ({ problems }) => validityOf(problems))

const readingOperations = (definition: Definition): Omit<Self, "name" | keyof ReturnType<typeof savingOperations>> => {
  const { name } = definition
  const fromStorage = <A>(
    place: Place,
    query: Query | undefined,
    read: (storage: Storage.Service, query: Storage.SnapshotQuery) => Effect.Effect<A, Storage.StorageError>
  ) =>
    Effect.flatMap(Storage.Storage, (storage) => stopOnFailure(place, read(storage, queryAt(definition, place, query))))
  const validate: Self["validate"] = (id) =>
    atPlace(`${name}?`, (place) => {
      // A missing checkpoint is recorded too, as null.
      const orNull = Effect.catchTag(validity(definition, place, id), "CheckpointNotFound", () => Effect.succeed(null))
      return Effect.flatMap(recorded(place, toValidity, orNull), (found) =>
        found === null ? Effect.fail(new CheckpointNotFound({ id, checkpoint: name })) : Effect.succeed(found)
      )
    })
  return {
    validate,
    isValid: (id) =>
      Effect.orElseSucceed(
        Effect.map(validate(id), ({ isValid }) => isValid),
        () => false
      ),
    latest: (query) => atPlace(`${name}?`, (place) => latest(definition, place, query)),
    list: (query) =>
      atPlace(`${name}?`, (place) => {
        return recorded(place, toInfos, fromStorage(place, query, listInfos))
      }),
    stream: (query = {}) => Stream.unwrap(atPlace(`${name}?`, (place) => streamAt(definition, place, query))),
    remove: (which) =>
      atPlace(`${name}?`, (place) => {
        const removed = Effect.flatMap(
          Effect.zip(Storage.Storage, removalQuery(which, ownRun(place), name)),
          ([storage, query]) => stopOnFailure(place, removeMatching(storage, query))
        )
        return recorded(place, Number, removed)
      }),
    // A checkpoint never changes, so a resume reads the same one without a record.
    restore: (id) => atPlaceUnrecorded((place) => Effect.flatMap(checkAt(definition, place, id), restored)),
    stats: (query) => atPlace(`${name}?`, (place) => recorded(place, toStats, fromStorage(place, query, statsOf)))
  }
}

/** The JSON of a checkpoint that is about to be saved, before and after its id. */
const aroundId = (info: Info): readonly [before: string, after: string] => {
  // The id is the first property.
  const start = '{"id":"'
  return [start, JSON.stringify(info).slice(start.length + info.id.length)]
}
