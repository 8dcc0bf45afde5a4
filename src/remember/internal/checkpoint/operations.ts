import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import * as Storage from "../../../storage/Storage.js"
import type { Checkpoint, Info, Options, Query, SaveOptions } from "../../Checkpoint.js"
import { CheckpointInvalid, CheckpointNotFound } from "../../CheckpointError.js"
import { JournalError } from "../../RunError.js"
import { type Checked, check, readState } from "./checks.js"
import * as cleanup_ from "./cleanup.js"
import { infoOf, newSnapshot, toInfo } from "./info.js"
import { inPlace, orStop, type Place, recordIn, runOf, saveIn } from "./place.js"
import { saveEvery } from "./scoped.js"
import { makeCodec, type Written } from "./state.js"

type AnyOptions = Omit<Options<unknown, unknown, unknown, unknown, unknown>, "schema"> & {
  readonly schema: Schema.Schema.All
}

type Self = Checkpoint<unknown, unknown, unknown>

/** What a checkpoint can do, by its options; what they need is in its public type. */
export const makeCheckpoint = (name: string, options: AnyOptions): Self => {
  const { checks = [], kind = "manual", retention, severities = {}, version = 1 } = options
  const migrations = Object.fromEntries(
    Object.entries(options.migrations ?? {}).map(([from, { migration }]) => [Number(from), migration])
  )
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

  const encoded = (place: Place, state: unknown) =>
    // What the schema needs is in the type of `save`.
    Effect.mapError(codec.encode(state), unwritable(place)) as Effect.Effect<Written, JournalError>

  const saveAt = (place: Place, state: unknown, given: SaveOptions) =>
    Effect.gen(function* () {
      if (place._tag === "Body" && place.known !== undefined) return toInfo(place.known)
      const storage = yield* Storage.Storage
      const written = yield* orStop(place, encoded(place, state))
      const at = yield* Clock.currentTimeMillis
      const snapshot = newSnapshot({ name, kind, at }, written, given)
      let info = infoOf({ ...snapshot, key: 0, run: undefined, step: "", seq: 0, rewound: false })
      const withKey = (key: number): Info => ({
        ...info,
        id: String(key),
        run: runOf(place)?.id,
        step: place._tag === "Body" ? place.key : place._tag === "Step" ? place.step : ""
      })
      const key = yield* saveIn(storage, place, snapshot, (key) => JSON.stringify(withKey(key)))
      info = withKey(key)
      if (retention !== undefined) yield* orStop(place, cleanup_.trim(storage, info, retention))
      return info
    })

  const queryAt = (place: Place, { before, kind, labels, limit, rewound, run }: Query = {}): Storage.SnapshotQuery => ({
    name,
    run: run === "any" ? undefined : (run ?? runOf(place)?.id ?? null),
    kind,
    labels,
    limit,
    rewound,
    before: typeof before === "string" ? Number(before) : undefined,
    takenBefore: before instanceof Date ? before.getTime() : undefined
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

  /** In the body of a run the answer is put on record, so that a resume reads the same one. */
  const latest = (place: Place, query: Query) =>
    Effect.gen(function* () {
      const storage = yield* Storage.Storage
      const known = place._tag === "Body" ? place.known : undefined
      const found =
        known === undefined
          ? yield* orStop(place, storage.newest(queryAt(place, query)))
          : known === "null"
            ? Option.none()
            : Option.some(yield* find(place, JSON.parse(known)))
      if (known === undefined) {
        const id = Option.match(found, { onNone: () => null, onSome: ({ key }) => String(key) })
        yield* recordIn(place, "CheckpointRead", JSON.stringify(id))
      }
      if (Option.isNone(found)) return Option.none()
      const read = yield* readState(found.value, { codec })
      const problems = read.problems.map((problem) => ({
        ...problem,
        severity: severities[problem.check] ?? problem.severity
      }))
      return Option.some(yield* restored({ state: read.state, problems, info: infoOf(found.value) }))
    })

  const stats = (place: Place, query: Query) =>
    Effect.flatMap(Storage.Storage, (storage) => orStop(place, cleanup_.stats(storage, queryAt(place, query))))

  const validate = (id: string) =>
    inPlace(`${name}?`, (place) =>
      Effect.zipWith(checked(place, id), Clock.currentTimeMillis, ({ problems }, now) => ({
        isValid: !problems.some(({ severity }) => severity === "error"),
        errors: problems.filter(({ severity }) => severity === "error"),
        warnings: problems.filter(({ severity }) => severity === "warning"),
        checkedAt: new Date(now)
      }))
    )

  const self: Self = {
    name,
    save: (state, given = {}) => inPlace(`${name}!`, (place) => saveAt(place, state, given)),
    saveIfDue: (state, { interval = "5 minutes", ...given } = {}) =>
      inPlace(`${name}!`, (place) =>
        Effect.gen(function* () {
          if (place._tag === "Body" && place.known !== undefined) {
            return place.known === "null" ? Option.none() : Option.some(toInfo(place.known))
          }
          const storage = yield* Storage.Storage
          const [last] = yield* orStop(place, storage.snapshots({ ...queryAt(place), limit: 1 }))
          const now = yield* Clock.currentTimeMillis
          if (last === undefined || now - last.at >= Duration.toMillis(interval)) {
            return Option.some(yield* saveAt(place, state, { kind: "auto", ...given }))
          }
          yield* recordIn(place, "CheckpointSaved", "null")
          return Option.none()
        })
      ),
    saveEvery: (state, interval, given) =>
      saveEvery(name, state, interval, (value) => self.save(value, { kind: "auto", ...given })),
    latest: (query = {}) => inPlace(`${name}?`, (place) => latest(place, query)),
    list: (query) =>
      inPlace(`${name}?`, (place) =>
        Effect.flatMap(Storage.Storage, (storage) =>
          Effect.map(orStop(place, storage.snapshots(queryAt(place, query))), (all) => all.map(infoOf))
        )
      ),
    restore: (id) => inPlace(`${name}?`, (place) => Effect.flatMap(checked(place, id), restored)),
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
