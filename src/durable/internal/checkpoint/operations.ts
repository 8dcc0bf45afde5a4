import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import * as Events from "../../../resilience/Events.js"
import * as Storage from "../../../storage/Storage.js"
import type { Checkpoint, Info, Options, Query, SaveOptions } from "../../Checkpoint.js"
import { CheckpointInvalid, CheckpointNotFound, type Problem } from "../../CheckpointError.js"
import { JournalError } from "../../RunError.js"
import { type Checked, check, readState } from "./checks.js"
import * as cleanup_ from "./cleanup.js"
import { isDue, progressKey } from "./due.js"
import { checkAbout, infoAt, infoOf, newSnapshot, toInfo, toInfos, toStats, toValidity } from "./info.js"
import { beside, inPlace, orStop, type Place, recalled, recordIn, runOf, saveIn } from "./place.js"
import { saveEvery } from "./scoped.js"
import { makeCodec, type Written } from "./state.js"

type AnyOptions = Omit<Options<unknown, unknown, unknown, unknown, unknown>, "schema"> & {
  readonly schema: Schema.Schema.All
}

type Self = Checkpoint<unknown, unknown, unknown>

/** From the oldest version there is a migration for, there must be one for each up to the newest. */
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

/** What a checkpoint can do, by its options; what they need is in its public type. */
export const makeCheckpoint = (name: string, options: AnyOptions): Self => {
  const { checks = [], kind = "manual", severities = {}, version = 1 } = options
  const retention = options.retention && cleanup_.checkRetention(name, options.retention)
  const migrations = Object.fromEntries(
    Object.entries(options.migrations ?? {}).map(([from, { migration }]) => [Number(from), migration])
  )
  checkMigrations(name, version, Object.keys(migrations).map(Number))
  const codec = makeCodec({
    schema: options.schema,
    version,
    migrations,
    compressAbove: options.compressAbove ?? 4_096
  })
  const notFound = (id: string) => new CheckpointNotFound({ id, checkpoint: name })

  const unwritable =
    (place: Place) =>
    (cause: unknown): JournalError =>
      new JournalError({ reason: "Encode", run: runOf(place)?.id, record: `state of checkpoint "${name}"`, cause })

  const encoded = (place: Place, state: unknown, given: SaveOptions) =>
    // What the schema needs is in the type of `save`.
    Effect.mapError(Effect.zipRight(checkAbout(given), codec.encode(state)), unwritable(place)) as Effect.Effect<
      Written,
      JournalError
    >

  // Written without generators: saving and reading the newest are what programs do all the time.
  const saveAt = (place: Place, state: unknown, given: SaveOptions) => {
    if (place._tag === "Body" && place.known !== undefined) return Effect.succeed(toInfo(place.known))
    return Effect.flatMap(orStop(place, encoded(place, state, given)), (written) =>
      Effect.flatMap(Effect.zip(Storage.Storage, Clock.currentTimeMillis), ([storage, at]) => {
        const snapshot = newSnapshot({ name, kind, at }, written, given)
        const info = infoAt(place, snapshot)
        const saved = Effect.tap(
          Effect.map(
            saveIn(storage, place, snapshot, (key) => JSON.stringify(info(key))),
            info
          ),
          ({ id, step }) =>
            Events.emit({
              _tag: "CheckpointSaved",
              source: { run: runOf(place)?.id, step: step === "" ? undefined : step },
              checkpoint: name,
              id
            })
        )
        return retention === undefined
          ? saved
          : Effect.tap(saved, (info) => orStop(place, cleanup_.trim(storage, info, retention)))
      })
    )
  }

  const queryAt = (place: Place, query: Query = {}): Storage.SnapshotQuery => ({
    ...cleanup_.toQuery(query, runOf(place)?.id ?? null),
    name
  })

  const find = (place: Place, id: string) =>
    Effect.gen(function* () {
      const storage = yield* Storage.Storage
      const found = yield* orStop(place, /^\d+$/.test(id) ? storage.snapshot(Number(id)) : Effect.succeedNone)
      return Option.isSome(found) && found.value.name === name ? found.value : yield* notFound(id)
    })

  const checked = (place: Place, id: string) =>
    Effect.flatMap(find(place, id), (snapshot) =>
      Effect.map(check(snapshot, infoOf(snapshot), { codec, checks, severities, run: runOf(place)?.id }), (result) => ({
        ...result,
        info: infoOf(snapshot)
      }))
    )

  const restored = ({ info, problems, state }: Checked & { readonly info: Info }) =>
    problems.some(({ severity }) => severity === "error")
      ? Effect.fail(new CheckpointInvalid({ id: info.id, checkpoint: name, problems }))
      : Effect.succeed({ ...info, state, warnings: problems })

  const newest = (place: Place, query: Query) =>
    Effect.flatMap(Storage.Storage, (storage) => orStop(place, storage.newest(queryAt(place, query))))

  /** In the body of a run the answer is put on record, so that a resume reads the same one. */
  const found = (place: Place, query: Query) => {
    if (place._tag !== "Body") return newest(place, query)
    if (place.known === "null") return Effect.succeedNone
    if (place.known !== undefined) return Effect.asSome(find(place, JSON.parse(place.known)))
    return Effect.tap(newest(place, query), (answer) => {
      const id = Option.isNone(answer) ? null : String(answer.value.key)
      return recordIn(place, "CheckpointRead", JSON.stringify(id))
    })
  }

  const graded = (problems: ReadonlyArray<Problem>) =>
    problems.map((problem) => ({ ...problem, severity: severities[problem.check] ?? problem.severity }))

  const latest = (place: Place, query: Query) =>
    Effect.flatMap(found(place, query), (answer) =>
      Option.isNone(answer)
        ? Effect.succeedNone
        : Effect.flatMap(readState(answer.value, { codec }), ({ problems, state }) =>
            Effect.asSome(restored({ state, problems: graded(problems), info: infoOf(answer.value) }))
          )
    )

  const stats = (place: Place, query: Query) =>
    recalled(
      place,
      toStats,
      Effect.flatMap(Storage.Storage, (storage) => orStop(place, cleanup_.stats(storage, queryAt(place, query))))
    )

  const list = (place: Place, query: Query | undefined) =>
    recalled(
      place,
      toInfos,
      Effect.flatMap(Storage.Storage, (storage) =>
        Effect.map(orStop(place, storage.snapshots(queryAt(place, query))), (all) => all.map(infoOf))
      )
    )

  const validate = (id: string) =>
    inPlace(`${name}?`, (place) =>
      Effect.flatMap(
        // That there is none is an answer, too.
        recalled(
          place,
          toValidity,
          Effect.catchTag(validity(place, id), "CheckpointNotFound", () => Effect.succeed(null))
        ),
        (answer) => (answer === null ? Effect.fail(notFound(id)) : Effect.succeed(answer))
      )
    )

  const validity = (place: Place, id: string) =>
    Effect.zipWith(checked(place, id), Clock.currentTimeMillis, ({ problems }, now) => ({
      isValid: !problems.some(({ severity }) => severity === "error"),
      errors: problems.filter(({ severity }) => severity === "error"),
      warnings: problems.filter(({ severity }) => severity === "warning"),
      checkedAt: new Date(now)
    }))

  const self: Self = {
    name,
    save: (state, given = {}) => inPlace(`${name}!`, (place) => saveAt(place, state, given)),
    saveIfDue: (state, { interval, milestones, progress, ...given } = {}) =>
      inPlace(`${name}!`, (place) =>
        Effect.gen(function* () {
          if (place._tag === "Body" && place.known !== undefined) {
            return place.known === "null" ? Option.none() : Option.some(toInfo(place.known))
          }
          const storage = yield* Storage.Storage
          const kind = given.kind ?? (progress === undefined ? "auto" : "milestone")
          const before = progress === undefined ? queryAt(place) : queryAt(place, { kind })
          const [last] = yield* orStop(place, storage.snapshots({ ...before, limit: 1 }))
          const now = yield* Clock.currentTimeMillis
          if (isDue(last && infoOf(last), now, { interval, milestones, progress })) {
            const metadata = progress === undefined ? given.metadata : { ...given.metadata, [progressKey]: progress }
            return Option.some(yield* saveAt(place, state, { ...given, kind, metadata }))
          }
          yield* recordIn(place, "CheckpointSaved", "null")
          return Option.none()
        })
      ),
    saveEvery: (state, interval, given) =>
      saveEvery(name, state, interval, (value) => self.save(value, { kind: "auto", ...given })),
    latest: (query = {}) => inPlace(`${name}?`, (place) => latest(place, query)),
    list: (query) => inPlace(`${name}?`, (place) => list(place, query)),
    // What is under an id never changes, so there is nothing to put on record.
    restore: (id) => beside((place) => Effect.flatMap(checked(place, id), restored)),
    validate,
    isValid: (id) =>
      Effect.orElseSucceed(
        Effect.map(validate(id), ({ isValid }) => isValid),
        () => false
      ),
    stats: (query = {}) => inPlace(`${name}?`, (place) => stats(place, query))
  }
  return self
}
