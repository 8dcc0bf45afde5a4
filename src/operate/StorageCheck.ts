/**
 * Reads a whole storage and says what in it is not what was written.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Workflow from "../durable/Workflow.js"
import { isEncoded } from "../storage/encodedText.js"
import * as Storage from "../storage/Storage.js"
import { escalations, failures, recoveries } from "./internal/records/records.js"
import * as RecoveryManager from "./RecoveryManager.js"
import type { Findings } from "./StorageReport.js"

export {
  /**
   * @since 0.1.0
   * @category models
   */
  Finding,
  /**
   * @since 0.1.0
   * @category models
   */
  Findings
} from "./StorageReport.js"

const ofRun =
  "Restore the file from a backup, or do the work of the run again under another id. Other runs are not affected."
const ofRecord =
  "Statistics and other records are not affected. It can be removed by `recovery cleanup` once it is old enough."
const ofCheckpoint = "Use an older checkpoint, or delete it: `recovery checkpoint delete`."
const ofFile =
  "Stop the programs that use the file and restore it from a backup. `sqlite3 FILE .recover` saves what can be read."

const adviceFor = ({ run, what }: Storage.Damage): string => {
  if (what.startsWith("checkpoint")) return ofCheckpoint
  if (run !== undefined) return ofRun
  return what.startsWith("the record") ? ofRecord : ofFile
}

const page = 200

/** Every row of pages that are read with the key of the last row. */
const readAll = <A extends { readonly key: number }, E, R>(
  read: (before: number | undefined) => Effect.Effect<ReadonlyArray<A>, E, R>,
  before?: number
): Effect.Effect<ReadonlyArray<A>, E, R> =>
  Effect.flatMap(read(before), (rows) =>
    rows.length < page
      ? Effect.succeed(rows)
      : Effect.map(readAll(read, rows.at(-1)?.key), (more) => [...rows, ...more])
  )

type Found = ReadonlyArray<Storage.Damage>

const none: Found = []

/** The store has found what is damaged. What only this library can decode is found here. */
const undecodable = <A, E extends { readonly _tag: string; readonly message: string }, R>(
  read: Effect.Effect<A, E | Storage.StorageError, R>,
  damage: Omit<Storage.Damage, "problem">
): Effect.Effect<Found, Storage.StorageError, R> =>
  Effect.matchEffect(read, {
    onFailure: (error) => {
      if (!(error instanceof Storage.StorageError)) return Effect.succeed([{ ...damage, problem: error.message }])
      return error.reason === "Damaged" || error.reason === "Payload" ? Effect.succeed(none) : Effect.fail(error)
    },
    onSuccess: () => Effect.succeed(none)
  })

/** Without its key, an encoded row is only verified by its checksum, which the store has done. */
const unlessEncoded = <R>(found: Found, isEncoded: Effect.Effect<boolean, Storage.StorageError, R>) =>
  found.length === 0 ? Effect.succeed(found) : Effect.map(isEncoded, (encoded) => (encoded ? none : found))

/** The store has found a marked row already. */
const unlessMarked =
  <A extends { readonly damaged?: string | undefined }, R>(
    read: (row: A) => Effect.Effect<Found, Storage.StorageError, R>
  ) =>
  (row: A): Effect.Effect<Found, Storage.StorageError, R> =>
    row.damaged === undefined ? read(row) : Effect.succeed(none)

const runsOf = (storage: Storage.Service) =>
  Effect.flatMap(
    readAll((before) => storage.list({ before, limit: page })),
    Effect.forEach(
      unlessMarked(({ id, key }) =>
        Effect.flatMap(undecodable(Workflow.status(id), { what: "the journal", run: id }), (found) =>
          unlessEncoded(
            found,
            Effect.map(storage.journal(key), (lines) => lines.some(({ payload }) => isEncoded(payload)))
          )
        )
      )
    )
  )

const checkpointsOf = (storage: Storage.Service) =>
  Effect.flatMap(
    readAll((before) => storage.snapshots({ before, rewound: true, limit: page })),
    // Values of shared State have no digest, and are no checkpoints.
    Effect.forEach(
      unlessMarked((snapshot) =>
        snapshot.digest === "" || isEncoded(snapshot.encoding) ? Effect.succeed(none) : stateOf(snapshot)
      )
    )
  )

const stateOf = ({ key, name, run }: Storage.Snapshot) =>
  Effect.matchEffect(RecoveryManager.validate(String(key)), {
    // Removed meanwhile, or found by the store.
    onFailure: (error) =>
      error._tag === "StorageError" && error.reason !== "Damaged" ? Effect.fail(error) : Effect.succeed(none),
    onSuccess: ({ errors }) =>
      Effect.succeed(
        errors
          .filter((error) => error.startsWith("integrity"))
          .map((problem) => ({ what: `checkpoint "${name}" (${key})`, run, problem }))
      )
  })

const recordsOf = (storage: Storage.Service) =>
  Effect.forEach([failures, recoveries, escalations] as const, ({ check, kind }) =>
    Effect.flatMap(
      readAll((before) => storage.records({ kind, before, limit: page })),
      Effect.forEach(
        unlessMarked((row) =>
          isEncoded(row.body)
            ? Effect.succeed(none)
            : undecodable(check(row), { what: `the record of ${kind} "${row.id}"`, run: undefined })
        )
      )
    )
  )

/**
 * Reads every run, journal, signal, checkpoint and record: verifies checksums and
 * digests, looks for missing lines and for rows without a run, decodes what the
 * library wrote, and lets SQLite compare its indexes with the tables. What the
 * `payloads` of another storage encoded is verified by its checksums alone.
 * Changes nothing. Takes long for a large storage.
 *
 * @example
 * ```ts
 * import { Storage } from "effect-recovery"
 * import { RecoveryManager, StorageCheck } from "effect-recovery/operate"
 * import { Effect, Layer } from "effect"
 *
 * StorageCheck.run.pipe(
 *   Effect.map(({ findings }) => findings.length),
 *   Effect.provide(RecoveryManager.layer({}).pipe(Layer.provideMerge(Storage.layerMemory))),
 *   Effect.runPromise
 * ).then(console.log) // 0
 * ```
 *
 * @since 0.1.0
 * @category reading
 */
export const run: Effect.Effect<Findings, Storage.StorageError, Storage.Storage | RecoveryManager.RecoveryManager> =
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const stored = yield* storage.check
    // What SQLite cannot read was found, and fails what reads it again.
    const orKnown = <A, R>(read: Effect.Effect<A, Storage.StorageError, R>, otherwise: A) =>
      Effect.catchIf(
        read,
        ({ reason }) => stored.length > 0 && reason === "Corrupt",
        () => Effect.succeed(otherwise)
      )
    const { lines, records, runs, snapshots } = yield* orKnown(storage.usage, unknownUsage)
    const decoded = yield* Effect.all([
      orKnown(runsOf(storage), []),
      orKnown(checkpointsOf(storage), []),
      orKnown(
        Effect.map(recordsOf(storage), (kinds) => kinds.flat()),
        []
      )
    ])
    const findings = [...stored, ...decoded.flat(2)].map((damage) => ({ ...damage, advice: adviceFor(damage) }))
    return { runs, lines, checkpoints: snapshots, records, findings }
  })

const unknownUsage: Storage.Usage = { bytes: 0, runs: 0, lines: 0, snapshots: 0, records: 0 }
