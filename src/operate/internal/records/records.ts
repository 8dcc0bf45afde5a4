import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Storage from "../../../storage/Storage.js"
import * as EscalationRecord from "../../EscalationRecord.js"
import * as FailureRecord from "../../FailureRecord.js"
import { RecordDamaged } from "../../OperateError.js"
import * as RecoveryRecord from "../../RecoveryRecord.js"

/** A record with what its body says. */
export interface Stored<out D> extends Omit<Storage.RecordRow, "body"> {
  readonly details: D
}

/** How a record is to be; without a revision it is a new one. */
export interface Writing<out D> {
  readonly id: string
  readonly subject: string
  readonly status: string
  readonly labels: Readonly<Record<string, string>>
  readonly details: D
  readonly revision?: number
}

/** The label by which records are told apart when several projects share a storage. */
export const scopeOf = (labels: Readonly<Record<string, string>>): string => labels.repository ?? ""

const make = <D, I>(kind: string, details: Schema.Schema<D, I>) => {
  const body = Schema.parseJson(details)
  const decode = Schema.decodeUnknown(body)
  const encode = Schema.encodeSync(body)

  const read = ({ body, ...row }: Storage.RecordRow): Effect.Effect<Stored<D>, RecordDamaged> =>
    Effect.mapBoth(decode(body), {
      onFailure: (cause) => new RecordDamaged({ kind, id: row.id, cause }),
      onSuccess: (details) => ({ ...row, details })
    })

  return {
    find: (id: string) =>
      Effect.flatMap(Storage.Storage, (storage) =>
        Effect.flatMap(
          storage.findRecord(kind, id),
          Option.match({
            onNone: () => Effect.succeedNone,
            onSome: (row) => Effect.asSome(read(row))
          })
        )
      ),
    list: (query: Omit<Storage.RecordQuery, "kind">) =>
      Effect.flatMap(Storage.Storage, (storage) =>
        Effect.flatMap(storage.records({ kind, ...query }), (rows) => Effect.forEach(rows, read))
      ),
    /** Without those that cannot be read, which are named in the log: what must be done about all must not stop at them. */
    readable: (query: Omit<Storage.RecordQuery, "kind">) =>
      Effect.flatMap(Storage.Storage, (storage) =>
        Effect.map(
          Effect.flatMap(storage.records({ kind, ...query }), (rows) =>
            Effect.forEach(rows, (row) =>
              Effect.matchEffect(read(row), {
                onFailure: (error) => Effect.as(Effect.logWarning(error.message), Option.none<Stored<D>>()),
                onSuccess: (stored) => Effect.succeedSome(stored)
              })
            )
          ),
          (all) => all.flatMap(Option.toArray)
        )
      ),
    /** Nothing, if it is no longer as it was found. */
    write: ({ details, revision = 0, ...given }: Writing<D>, counts: ReadonlyArray<Storage.Count>) =>
      Effect.flatMap(Storage.Storage, (storage) =>
        Effect.flatMap(
          storage.write({ ...given, kind, revision, scope: scopeOf(given.labels), body: encode(details) }, counts),
          // What was encoded a moment ago can be decoded.
          Option.match({ onNone: () => Effect.succeedNone, onSome: (row) => Effect.asSome(Effect.orDie(read(row))) })
        )
      )
  }
}

export type FailureDetails = typeof FailureRecord.Details.Type
export type RecoveryDetails = typeof RecoveryRecord.Details.Type

export type EscalationDetails = typeof EscalationRecord.Details.Type

export const failures = make("failure", FailureRecord.Details)
export const recoveries = make("recovery", RecoveryRecord.Details)
export const escalations = make("escalation", EscalationRecord.Details)

/** Only the library writes these rows, with these statuses. */
export const toFailure = ({ at, details, id, labels, status, updatedAt }: Stored<FailureDetails>) => ({
  ...details,
  id,
  labels,
  status: status === "open" ? ("open" as const) : ("resolved" as const),
  detectedAt: new Date(at),
  updatedAt: new Date(updatedAt)
})

const isStatus = Schema.is(RecoveryRecord.Status)

export const toRecovery = ({ at, details, id, labels, status, updatedAt }: Stored<RecoveryDetails>) => ({
  ...details,
  id,
  labels,
  status: isStatus(status) ? status : ("failed" as const),
  startedAt: new Date(at),
  updatedAt: new Date(updatedAt)
})

const isEscalationStatus = Schema.is(EscalationRecord.Status)

export const toEscalation = ({ at, details, id, labels, status, updatedAt }: Stored<EscalationDetails>) => ({
  ...details,
  id,
  labels,
  status: isEscalationStatus(status) ? status : ("open" as const),
  raisedAt: new Date(at),
  updatedAt: new Date(updatedAt)
})

/** Such as `failure_1f0c29ab`. */
export const newId = (kind: string): Effect.Effect<string> =>
  Effect.map(Effect.zip(Random.nextIntBetween(0, 2 ** 32), Random.nextIntBetween(0, 2 ** 32)), ([a, b]) => {
    const hex = (n: number) => n.toString(16).padStart(8, "0")
    return `${kind}_${hex(a)}${hex(b)}`
  })
