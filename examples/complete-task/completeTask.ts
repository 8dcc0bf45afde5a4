import { Clock, Effect, Option, Schema } from "effect"
import { Lock, RetryPolicy } from "effect-recovery"
import { Backup, FileTransaction } from "effect-recovery/files"

// What is not named here stays as it is.
const anything = { key: Schema.String, value: Schema.Unknown }
const Task = Schema.Struct(
  { task_id: Schema.String, status: Schema.String, completed_at: Schema.optional(Schema.String) },
  anything
)
const Outbox = Schema.Struct({ tasks: Schema.Array(Task) }, anything)

// Progress is kept in one of two forms: by agent, or as a list.
const Count = Schema.Struct({ completed: Schema.Number }, anything)
const ByAgent = Schema.Record({ key: Schema.String, value: Count })
const List = Schema.Array(Schema.Struct({ agent: Schema.String, completed: Schema.Number }, anything))
const Progress = Schema.Union(List, ByAgent)

const json = <A, I>(schema: Schema.Schema<A, I>) => {
  const text = Schema.parseJson(schema, { space: 2 })
  return { decode: Schema.decode(text), encode: Schema.encode(text) }
}
const outboxes = json(Outbox)
const progresses = json(Progress)

export class UnknownTask extends Schema.TaggedError<UnknownTask>()("UnknownTask", { task: Schema.String }) {}

/** Any text as the name of a file, and of no other folder. */
const fileName = (id: string) => encodeURIComponent(id).replaceAll(".", "%2E")

export interface Completion {
  readonly agent: string
  readonly task: string
  /** Kept literally: no shell reads it. */
  readonly message: string
}

const count = (progress: typeof Progress.Type, agent: string): typeof Progress.Type => {
  if (!Array.isArray(progress)) {
    const byAgent = progress as typeof ByAgent.Type
    return { ...byAgent, [agent]: { ...byAgent[agent], completed: (byAgent[agent]?.completed ?? 0) + 1 } }
  }
  const list = progress as typeof List.Type
  return list.some((entry) => entry.agent === agent)
    ? list.map((entry) => (entry.agent === agent ? { ...entry, completed: entry.completed + 1 } : entry))
    : [...list, { agent, completed: 1 }]
}

/** A progress file that is torn or damaged. Nothing was changed. */
export class ProgressDamaged extends Schema.TaggedError<ProgressDamaged>()("ProgressDamaged", {
  file: Schema.String,
  problem: Schema.String
}) {
  override get message(): string {
    return `${this.file} cannot be read (${this.problem}); nothing was changed. Repair it, then complete the task again.`
  }
}

const countCompletion = (agent: string) =>
  FileTransaction.update("progress.json", (text) =>
    progresses.decode(Option.getOrElse(text, () => "{}")).pipe(
      Effect.mapError(({ message }) => new ProgressDamaged({ file: "progress.json", problem: message })),
      Effect.flatMap((progress) => progresses.encode(count(progress, agent)))
    )
  )

const complete = (root: string, { agent, message, task }: Completion) =>
  Effect.gen(function* () {
    const folder = `postbox/${fileName(agent)}`
    const outbox = yield* Effect.flatMap(FileTransaction.read(`${folder}/outbox.json`), outboxes.decode)
    const found = outbox.tasks.find(({ task_id }) => task_id === task)
    if (found === undefined) return yield* new UnknownTask({ task })
    // Completed before: by a process that was killed after it, or by an earlier call.
    if (found.status === "completed") return "completed before" as const

    // Stays after a success and after a rollback, for people to look at.
    yield* Backup.take(`${root}/${folder}/outbox.json`, { label: task })
    yield* Backup.expire(`${root}/${folder}/outbox.json`, { keep: 5 })

    const completed_at = new Date(yield* Clock.currentTimeMillis).toISOString()
    const done = { status: "completed", completed_at, completion_message: message }
    const tasks = outbox.tasks.map((one) => (one.task_id === task ? { ...one, ...done } : one))
    yield* FileTransaction.write(`${folder}/outbox.json`, yield* outboxes.encode({ ...outbox, tasks }))
    yield* FileTransaction.makeDirectory(`${folder}/completed`)
    const record = JSON.stringify({ task_id: task, agent, completed_at, message }, null, 2)
    yield* FileTransaction.write(`${folder}/completed/${fileName(task)}_completion.json`, record)
    yield* countCompletion(agent)
    return "completed" as const
  })

/**
 * Marks the task in its agent's outbox, writes a completion record and counts
 * it, all or nothing; three tries, two seconds apart, for what may pass.
 */
export const completeTask = (root: string, completion: Completion) =>
  complete(root, completion).pipe(
    FileTransaction.run(root),
    Effect.retry({
      schedule: RetryPolicy.fixed({ maxRetries: 2, delay: "2 seconds" }),
      while: (error) => error._tag === "LockTimeout" || error._tag === "LockLost"
    }),
    Lock.withLock(Lock.task(completion.task))
  )
