/** The stock workflow of the processes that are killed, and the ledger of its activities. */
import * as fs from "node:fs"
import { Activity, DurableClock, DurableDeferred, Workflow } from "@effect/workflow"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { RecoveryEngine } from "effect-recovery/workflow-engine"
import { childStorage } from "./childStorage.js"

/** One line of the ledger: a process executes an activity, or is killed. */
export interface Line {
  readonly process: string
  readonly activity: string
}

/** A single write of few bytes at the end of a file is not torn. */
export const write = (file: string, line: Line): void => fs.appendFileSync(file, `${JSON.stringify(line)}\n`)

const payload = { id: Schema.String }
const idempotencyKey = ({ id }: { readonly id: string }) => id

export class Declined extends Schema.TaggedError<Declined>()("Declined", { id: Schema.String }) {}

export const Order = Workflow.make({ name: "order", payload, success: Schema.String, error: Declined, idempotencyKey })
export const Parcel = Workflow.make({ name: "parcel", payload, success: Schema.String, idempotencyKey })
export const Paid = DurableDeferred.make("paid", { success: Schema.Number })

/** Each third order is declined in the end, and so compensated. */
export const isDeclined = (id: string): boolean => Number(id) % 3 === 0

export const expected = (id: string): ReadonlyArray<string> =>
  [...["reserve", "weigh", "send 1", "send 2"], ...(isDeclined(id) ? ["return"] : [])].map((name) => `${id}/${name}`)

/** The engine in a process of this name. */
export const engineIn = (folder: string, ledger: string, process: string) => {
  const activity = (id: string, name: string) =>
    Activity.make({
      name,
      execute: Effect.zipRight(
        Effect.sync(() => write(ledger, { process, activity: `${id}/${name}` })),
        Effect.sleep(5)
      )
    })
  const order = Order.toLayer(({ id }) =>
    Effect.gen(function* () {
      yield* activity(id, "reserve").pipe(Order.withCompensation(() => activity(id, "return")))
      yield* DurableClock.sleep({ name: "pause", duration: "30 millis", inMemoryThreshold: 1 })
      const parcel = yield* Parcel.execute({ id: `${id}-parcel` })
      const amount = yield* DurableDeferred.await(Paid)
      yield* Activity.make({
        name: "send",
        error: Declined,
        execute: Effect.flatMap(Activity.CurrentAttempt, (attempt) =>
          Effect.zipRight(
            Effect.sync(() => write(ledger, { process, activity: `${id}/send ${attempt}` })),
            attempt === 1 ? new Declined({ id }) : Effect.void
          )
        )
      }).pipe(Activity.retry({ times: 2 }))
      return isDeclined(id) ? yield* new Declined({ id }) : `${parcel} ${amount}`
    })
  )
  const parcel = Parcel.toLayer(({ id }) => Effect.as(activity(id.replace("-parcel", ""), "weigh"), id))
  return Layer.merge(order, parcel).pipe(
    Layer.provideMerge(RecoveryEngine.layer({ concurrency: 5, sweep: "50 millis" })),
    Layer.provideMerge(childStorage(folder, { lease: "5 minutes", durability: "process-crash" }))
  )
}
