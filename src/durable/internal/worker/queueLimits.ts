/** The limits of queues as records: so that operators see them, and not only the workers that keep them. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Storage from "../../../storage/Storage.js"

const whole = Schema.optional(Schema.Number)

const Limits = Schema.Struct({
  concurrency: whole,
  perKey: whole,
  rate: Schema.optional(Schema.Struct({ limit: Schema.Number, millis: Schema.Number, perKey: Schema.Boolean }))
})

const codec = Schema.parseJson(Limits)

const kind = "queue"

const bodyOf = ({ concurrency, perKey, rate }: Storage.QueueLimits): string =>
  Schema.encodeSync(codec)({ concurrency, perKey, rate })

/** Writes the limits of each queue, unless they are on record. The worker that started last says what they are. */
export const writeLimits = (
  storage: Storage.Service,
  queues: ReadonlyArray<Storage.QueueLimits>
): Effect.Effect<void, Storage.StorageError> =>
  Effect.forEach(
    queues,
    (queue) => {
      const body = bodyOf(queue)
      const write = Effect.flatMap(storage.findRecord(kind, queue.name), (found) => {
        const { body: before, revision } = Option.getOrElse(found, () => ({ body: undefined, revision: 0 }))
        const record = { kind, id: queue.name, subject: "", scope: "", status: "active", labels: {}, revision, body }
        return before === body ? Effect.succeed(true) : Effect.map(storage.write(record, []), Option.isSome)
      })
      // Another worker was first: its limits are read again.
      return Effect.repeat(write, { until: (isDone) => isDone })
    },
    { discard: true }
  )

/** The limits on record, by queue. A record that cannot be read is left out. */
export const readLimits = (
  storage: Storage.Service
): Effect.Effect<ReadonlyArray<Storage.QueueLimits>, Storage.StorageError> =>
  Effect.map(storage.records({ kind, limit: maxQueues }), (rows) =>
    rows.flatMap(({ body, damaged, id: name }) => {
      const limits = damaged === undefined ? Schema.decodeOption(codec)(body) : Option.none()
      return Option.toArray(Option.map(limits, (limits) => ({ name, ...limits })))
    })
  )

const maxQueues = 1_000
