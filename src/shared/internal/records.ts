import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Hash from "effect/Hash"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { RecordRow, Service } from "../../storage/Storage.js"
import { BreakerRecord, isQuiet, quiet } from "./breakerRecord.js"

/** The record of a breaker, and the store's time at which it was read. */
export interface Seen {
  readonly record: BreakerRecord
  readonly now: number
  /** Whether the change was written. */
  readonly isChanged: boolean
}

/** `undefined` changes nothing. */
export type Update = (record: BreakerRecord, now: number) => BreakerRecord | undefined

export interface Records {
  /** The ids of the breakers that processes must look at. */
  readonly alerts: Effect.Effect<ReadonlySet<string>, unknown>
  /** Changes a record, again if another process changed it meanwhile. */
  readonly update: (id: string, change: Update) => Effect.Effect<Seen, unknown>
  /** Returns `otherwise` if the storage fails or is late. The first failure after a success is logged. */
  readonly orAlone: <A, B>(self: Effect.Effect<A, unknown>, otherwise: B) => Effect.Effect<A | B>
}

const kind = "breaker"

/** Quiet records are not read, however many keys a group has had. */
const statusOf = (record: BreakerRecord): string => (isQuiet(record) ? "quiet" : "alert")

/** More breakers of one group than this are not shared while they are all open. */
const maxAlerts = 10_000

/** A quiet record that was not changed for this long is removed. */
const keptMillis = 86_400_000
const removedAtOnce = 1_000

const body = Schema.parseJson(BreakerRecord)
const decode = Schema.decodeUnknown(body)
const encode = Schema.encode(body)
const isSame = Schema.equivalence(BreakerRecord)

export const makeRecords = (storage: Service, name: string, timeoutMillis: number): Records => {
  const timeout = Duration.millis(timeoutMillis)
  let isTroubled = false
  let cleanedAt = Number.NEGATIVE_INFINITY

  const recordOf = (row: Option.Option<RecordRow>) =>
    Option.isNone(row) ? Effect.succeed(quiet) : decode(row.value.body)

  const update = (id: string, change: Update): Effect.Effect<Seen, unknown> =>
    Effect.gen(function* () {
      for (;;) {
        const row = yield* storage.findRecord(kind, id)
        const now = yield* storage.now
        const record = yield* recordOf(row)
        const next = change(record, now)
        if (next === undefined || isSame(next, record)) return { record, now, isChanged: false }
        const revision = Option.isSome(row) ? row.value.revision : 0
        const draft = { kind, id, subject: "", scope: name, status: statusOf(next), labels: {}, revision }
        const written = yield* storage.write({ ...draft, body: yield* encode(next) }, [])
        // Another process was faster, so that one has made progress.
        if (Option.isSome(written)) return { record: next, now, isChanged: true }
      }
    })

  /** A process that has a record removed says again what it has to say. */
  const removeOld = (now: number) =>
    Effect.suspend(() => {
      if (now < cleanedAt + keptMillis) return Effect.void
      cleanedAt = now
      const old = { kind, scope: name, status: "quiet", unchangedSince: now - keptMillis, limit: removedAtOnce }
      return Effect.flatMap(storage.records(old), (rows) =>
        rows.length === 0 ? Effect.void : storage.removeRecords(rows.map(({ key }) => key))
      )
    })

  const alerts = Effect.gen(function* () {
    const rows = yield* storage.records({ kind, scope: name, status: "alert", limit: maxAlerts })
    yield* removeOld(yield* storage.now)
    return new Set(rows.map(({ id }) => id))
  })

  const orAlone = <A, B>(self: Effect.Effect<A, unknown>, otherwise: B): Effect.Effect<A | B> =>
    Effect.matchCauseEffect(self, {
      onSuccess: (value) => {
        isTroubled = false
        return Effect.succeed(value)
      },
      onFailure: (cause) => {
        if (Cause.isInterruptedOnly(cause)) return Effect.as(Effect.void, otherwise)
        const isKnown = isTroubled
        isTroubled = true
        const message = `The storage of the shared circuit breaker "${name}" fails. Until it answers, each process counts for itself.`
        return Effect.as(isKnown ? Effect.void : Effect.logWarning(message, cause), otherwise)
      }
    })

  return {
    alerts: Effect.timeout(alerts, timeout),
    update: (id, change) => Effect.timeout(update(id, change), timeout),
    orAlone
  }
}

/** Characters of a key that are part of an id. */
const maxKeyLength = 160

const unsafe = /[^\w.:/@-]/g

/** The id of a record: any text is a key, and a database takes not every text. */
export const recordId = (name: string, key: string | undefined): string => {
  if (key === undefined) return name
  const safe = key.slice(0, maxKeyLength).replace(unsafe, "_")
  return safe === key ? `${name}/${key}` : `${name}/${safe}~${key.length}-${(Hash.string(key) >>> 0).toString(36)}`
}
