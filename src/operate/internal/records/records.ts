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

  const find = (id: string) =>
    Effect.flatMap(Storage.Storage, (storage) =>
      Effect.flatMap(
        storage.findRecord(kind, id),
        Option.match({ onNone: () => Effect.succeedNone, onSome: (row) => Effect.asSome(read(row)) })
      )
    )

  /** Nothing, if it is no longer as it was found. */
  const write = ({ details, revision = 0, ...given }: Writing<D>, counts: ReadonlyArray<Storage.Count>) =>
    Effect.flatMap(Storage.Storage, (storage) =>
      Effect.flatMap(
        storage.write({ ...given, kind, revision, scope: scopeOf(given.labels), body: encode(details) }, counts),
        // What was encoded a moment ago can be decoded.
        Option.match({ onNone: () => Effect.succeedNone, onSome: (row) => Effect.asSome(Effect.orDie(read(row))) })
      )
    )

  /** Answers with how it stands then, if there is one; tries again while somebody else changes it. */
  const update = (
    id: string,
    more: (found: Stored<D>) => Pick<Partial<Writing<D>>, "status" | "details"> | undefined,
    counts: (found: Stored<D>) => ReadonlyArray<Storage.Count> = () => []
  ): Effect.Effect<Option.Option<Stored<D>>, Storage.StorageError | RecordDamaged, Storage.Storage> =>
    Effect.gen(function* () {
      const found = yield* find(id)
      const changed = Option.flatMapNullable(found, more)
      if (Option.isNone(found) || Option.isNone(changed)) return found
      const { details, labels, revision, status, subject } = { ...found.value, ...changed.value }
      const written = yield* write({ id, subject, labels, revision, status, details }, counts(found.value))
      return Option.isSome(written) ? written : yield* update(id, more, counts)
    })

  return {
    find,
    write,
    update,
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
