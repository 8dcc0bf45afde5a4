import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import { limitOf } from "../../../storage/rows.js"
import * as Storage from "../../../storage/Storage.js"
import * as EscalationRecord from "../../EscalationRecord.js"
import * as FailureRecord from "../../FailureRecord.js"
import {
  EscalationNotFound,
  FailureNotFound,
  type InvalidRequest,
  RecordDamaged,
  RecoveryNotFound
} from "../../OperateError.js"
import * as RecoveryRecord from "../../RecoveryRecord.js"
import { invalid } from "./checked.js"
import { logRedacted, redactBody, redactLabels } from "./redacted.js"

/** A row of the storage with its decoded body. */
export interface Stored<out D> extends Omit<Storage.RecordRow, "body" | "damaged"> {
  readonly details: D
}

/** A row to write: an insert without a revision, else an update of the row that still has this revision. */
export interface Draft<out D> extends Pick<Stored<D>, "id" | "subject" | "status" | "labels" | "details"> {
  readonly revision?: number
}

type Query = Omit<Storage.RecordQuery, "kind">

/** Projects that share a storage are separated by the label `repository`. */
export const scopeOf = (labels: Readonly<Record<string, string>>): string => labels.repository ?? ""

/** How many rows `listSince` reads at once. */
const pageSize = 1_000

const makeTable = <D, I, A, E>(
  kind: string,
  details: Schema.Schema<D, I>,
  statuses: ReadonlyArray<string>,
  toRecord: (stored: Stored<D>) => A,
  notFound: (id: string) => E
) => {
  const body = Schema.parseJson(details)
  const decode = Schema.decodeUnknown(body)
  const encode = Schema.encode(body)

  const problemOf = ({ damaged, status }: Storage.RecordRow): string | undefined =>
    damaged ?? (statuses.includes(status) ? undefined : `it has the status "${status}"`)

  const read = ({ damaged, ...stored }: Storage.RecordRow): Effect.Effect<Stored<D>, RecordDamaged> => {
    const problem = problemOf({ ...stored, damaged })
    const { body, ...row } = stored
    return Effect.mapBoth(problem === undefined ? decode(body) : Effect.fail(new Error(problem)), {
      onFailure: (cause) => new RecordDamaged({ kind, id: row.id, cause }),
      onSuccess: (details) => ({ ...row, details })
    })
  }

  const find = (id: string) =>
    Effect.flatMap(Storage.Storage, (storage) =>
      Effect.flatMap(storage.findRecord(kind, id), Effect.transposeMapOption(read))
    )

  const orNotFound =
    (id: string) =>
    (found: Option.Option<A>): Effect.Effect<A, E> =>
      Option.isSome(found) ? Effect.succeed(found.value) : Effect.fail(notFound(id))

  /** None if an insert finds its id in use, or an update another revision. What is written has no secrets. */
  const write = ({ details, revision = 0, ...draft }: Draft<D>, counts: ReadonlyArray<Storage.Count>) =>
    Effect.gen(function* () {
      const storage = yield* Storage.Storage
      const encoded = yield* Effect.catchAll(encode(details), (error) => invalid(kind, error))
      const [body, labels] = yield* Effect.zip(redactBody(encoded), redactLabels(draft.labels))
      const row = { ...draft, labels, kind, revision, scope: scopeOf(labels), body }
      const written = yield* storage.write(row, counts)
      return yield* Effect.transposeMapOption(written, read)
    })

  /** Writes what `change` returns, again if another process changed the row meanwhile. None if there is no such row. */
  const update = (
    id: string,
    change: (found: Stored<D>) => Pick<Partial<Draft<D>>, "status" | "details"> | undefined,
    counts: (found: Stored<D>) => ReadonlyArray<Storage.Count> = () => []
  ): Effect.Effect<Option.Option<A>, InvalidRequest | Storage.StorageError | RecordDamaged, Storage.Storage> =>
    Effect.gen(function* () {
      const found = yield* find(id)
      const changed = Option.flatMapNullable(found, change)
      if (Option.isNone(found) || Option.isNone(changed)) return Option.map(found, toRecord)
      const { details, labels, revision, status, subject } = { ...found.value, ...changed.value }
      const written = yield* write({ id, subject, labels, revision, status, details }, counts(found.value))
      return Option.isSome(written) ? Option.map(written, toRecord) : yield* update(id, change, counts)
    })

  const rows = (query: Query) => Effect.flatMap(Storage.Storage, (storage) => storage.records({ kind, ...query }))
  const readAll = (query: Query) => Effect.flatMap(rows(query), Effect.forEach(read))
  const warned = (row: Storage.RecordRow) => Effect.option(Effect.tapError(read(row), logRedacted))
  const listSince = (query: Omit<Query, "before" | "limit">, time: number) =>
    Effect.gen(function* () {
      const all: Array<A> = []
      for (let before: number | undefined; ; ) {
        const page = yield* rows({ ...query, before, limit: pageSize })
        const recent = page.filter(({ at }) => at >= time)
        all.push(...Arr.getSomes(yield* Effect.forEach(recent, warned)).map(toRecord))
        if (recent.length < pageSize) return all
        before = page.at(-1)?.key
      }
    })
  const readReadable = (query: Query) =>
    Effect.gen(function* () {
      const most = limitOf(query)
      const all: Array<Stored<D>> = []
      for (let before = query.before; ; ) {
        const limit = most - all.length
        const page = yield* rows({ ...query, before, limit })
        all.push(...Arr.getSomes(yield* Effect.forEach(page, warned)))
        if (page.length < limit || all.length >= most) return all
        before = page.at(-1)?.key
      }
    })

  return {
    kind,
    /** Fails if the row cannot be decoded. */
    check: (row: Storage.RecordRow): Effect.Effect<void, RecordDamaged> => Effect.asVoid(read(row)),
    toRecord,
    orNotFound,
    write,
    update,
    get: (id: string) => Effect.flatMap(Effect.map(find(id), Option.map(toRecord)), orNotFound(id)),
    list: (query: Query) => Effect.map(readAll(query), Arr.map(toRecord)),
    listStored: readAll,
    /** Skips damaged records and logs their ids, so that they hide no others. A limit counts the readable ones. */
    listReadable: (query: Query) => Effect.map(readReadable(query), Arr.map(toRecord)),
    listReadableStored: readReadable,
    /** All readable records since a time, newest first. Reads pages, so that no limit hides some of them. */
    listSince
  }
}

export type FailureDetails = typeof FailureRecord.Details.Type
export type RecoveryDetails = typeof RecoveryRecord.Details.Type
export type EscalationDetails = typeof EscalationRecord.Details.Type

const common = <D>({ details, id, labels, updatedAt }: Stored<D>) => ({
  ...details,
  id,
  labels,
  updatedAt: new Date(updatedAt)
})

// Rows with another status were refused when they were read.
const isRecoveryStatus = Schema.is(RecoveryRecord.Status)
const isEscalationStatus = Schema.is(EscalationRecord.Status)

export const failures = makeTable(
  "failure",
  FailureRecord.Details,
  FailureRecord.FailureRecord.fields.status.literals,
  (stored): FailureRecord.FailureRecord => ({
    ...common(stored),
    status: stored.status === "open" ? "open" : "resolved",
    detectedAt: new Date(stored.at)
  }),
  (failure) => new FailureNotFound({ failure })
)

/** When a recovery started. Its row may have been written later, by another clock. */
export const startOf = ({ at, details: { startedAt } }: Pick<Stored<RecoveryDetails>, "at" | "details">): Date =>
  startedAt ?? new Date(at)

/** A time that is not before another one, although a clock was set back. */
export const notBefore = (start: Date, millis: number): Date => new Date(Math.max(start.getTime(), millis))

export const recoveries = makeTable(
  "recovery",
  RecoveryRecord.Details,
  RecoveryRecord.Status.literals,
  (stored): RecoveryRecord.RecoveryRecord => ({
    ...common(stored),
    status: isRecoveryStatus(stored.status) ? stored.status : "failed",
    startedAt: startOf(stored)
  }),
  (recovery) => new RecoveryNotFound({ recovery })
)

export const escalations = makeTable(
  "escalation",
  EscalationRecord.Details,
  EscalationRecord.Status.literals,
  (stored): EscalationRecord.EscalationRecord => ({
    ...common(stored),
    status: isEscalationStatus(stored.status) ? stored.status : "open",
    raisedAt: new Date(stored.at)
  }),
  (escalation) => new EscalationNotFound({ escalation })
)

/** Such as `failure_1f0c29ab00c4e5d2`. */
export const newId = (kind: string): Effect.Effect<string> =>
  Effect.map(Effect.replicateEffect(Random.nextIntBetween(0, 2 ** 32), 2), (parts) => {
    const hex = parts.map((part) => part.toString(16).padStart(8, "0"))
    return `${kind}_${hex.join("")}`
  })

const maxMessageLength = 2_000

export const truncateMessage = (text: string): string =>
  text.length > maxMessageLength ? `${text.slice(0, maxMessageLength - 1)}…` : text
