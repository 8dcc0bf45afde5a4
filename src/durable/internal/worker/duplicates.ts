import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Storage from "../../../storage/Storage.js"
import type { AnyDefinition } from "../run/advance.js"

/** Two workflows with the same name and version were given to one worker. */
export class DuplicateWorkflow extends Data.TaggedError("DuplicateWorkflow")<{
  readonly workflow: string
  readonly version: string
}> {
  override get message(): string {
    return `Two workflows "${this.workflow}" of version "${this.version}" were given to one worker. Give each a name or a version of its own.`
  }
}

/** Two queues with the same name and different limits were given to one worker. */
export class DuplicateQueue extends Data.TaggedError("DuplicateQueue")<{ readonly queue: string }> {
  override get message(): string {
    return `Two queues "${this.queue}" with different limits were given to one worker. Define the queue once, and give each other queue a name of its own.`
  }
}

export const versionKey = (workflow: string, version: string): string => JSON.stringify([workflow, version])

/** Fails if two workflows have one name and version. */
export const refuseDuplicates = (definitions: ReadonlyArray<AnyDefinition>): Effect.Effect<void, DuplicateWorkflow> => {
  const seen = new Set<string>()
  for (const { name, version } of definitions) {
    const key = versionKey(name, version)
    if (seen.has(key)) return Effect.fail(new DuplicateWorkflow({ workflow: name, version }))
    seen.add(key)
  }
  return Effect.void
}

/** The given queues, each once. */
export const distinctQueues = (
  queues: ReadonlyArray<Storage.QueueLimits>
): Effect.Effect<ReadonlyArray<Storage.QueueLimits>, DuplicateQueue> => {
  const byName = new Map<string, Storage.QueueLimits>()
  for (const queue of queues) {
    const known = byName.get(queue.name)
    if (known !== undefined && !areSame(known, queue)) return Effect.fail(new DuplicateQueue({ queue: queue.name }))
    byName.set(queue.name, queue)
  }
  return Effect.succeed([...byName.values()])
}

const areSame = (a: Storage.QueueLimits, b: Storage.QueueLimits): boolean =>
  JSON.stringify([a.concurrency, a.perKey, a.rate]) === JSON.stringify([b.concurrency, b.perKey, b.rate])
