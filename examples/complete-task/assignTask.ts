import { Clock, Effect, Option, Schema } from "effect"
import { Lock, RetryPolicy } from "effect-recovery"
import { FileTransaction } from "effect-recovery/files"

const anything = { key: Schema.String, value: Schema.Unknown }
const Outbox = Schema.Struct(
  { agent: Schema.String, tasks: Schema.Array(Schema.Struct({ task_id: Schema.String }, anything)) },
  anything
)
const text = Schema.parseJson(Outbox, { space: 2 })
const [decode, encode] = [Schema.decode(text), Schema.encode(text)]

export const Priority = Schema.Literal("LOW", "MEDIUM", "HIGH")

export interface Assignment {
  readonly agent: string
  readonly task: string
  readonly title: string
  readonly priority: typeof Priority.Type
}

const assign = ({ agent, priority, task, title }: Assignment) =>
  Effect.gen(function* () {
    const folder = `postbox/${encodeURIComponent(agent).replaceAll(".", "%2E")}`
    const created_at = new Date(yield* Clock.currentTimeMillis).toISOString()
    const added = { task_id: task, title, priority, status: "pending", created_at }
    let outcome: "assigned" | "assigned before" = "assigned"
    yield* FileTransaction.makeDirectory(folder)
    yield* FileTransaction.update(`${folder}/outbox.json`, (found) =>
      Effect.gen(function* () {
        const outbox = Option.isNone(found) ? { agent, tasks: [] } : yield* decode(found.value)
        // Asked twice, it is assigned once.
        const isThere = outbox.tasks.some(({ task_id }) => task_id === task)
        outcome = isThere ? "assigned before" : "assigned"
        return yield* encode(isThere ? outbox : { ...outbox, tasks: [...outbox.tasks, added] })
      })
    )
    return outcome
  })

/** Puts a task into the outbox of an agent, whole or not at all, under the lock of the agent. */
export const assignTask = (root: string, assignment: Assignment) =>
  assign(assignment).pipe(
    FileTransaction.run(root),
    Effect.retry({
      schedule: RetryPolicy.fixed({ maxRetries: 2, delay: "2 seconds" }),
      while: (error) => error._tag === "LockTimeout" || error._tag === "LockLost"
    }),
    Lock.withLock(Lock.agent(assignment.agent))
  )
