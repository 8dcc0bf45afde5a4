import * as Effect from "effect/Effect"
import * as Scheduler from "effect/Scheduler"

/**
 * How many operations of Effect a program takes: the runtime asks its scheduler before each one. The number does not
 * depend on the machine, nor on what else it does.
 */
export const operationsOf = async (program: Effect.Effect<unknown, unknown>): Promise<number> => {
  let operations = 0
  const scheduler = new Scheduler.MixedScheduler(2_048)
  const counting: Scheduler.Scheduler = {
    scheduleTask: (task, priority) => scheduler.scheduleTask(task, priority),
    shouldYield: () => {
      operations++
      return false
    }
  }
  await Effect.runPromiseExit(Effect.withScheduler(program, counting))
  return operations
}

/** The operations of one call among many in one fiber, once its first calls have made what they keep. */
export const operationsPerCall = async (call: Effect.Effect<unknown, unknown>): Promise<number> => {
  const times = (count: number) => operationsOf(Effect.repeatN(Effect.exit(call), count - 1))
  return ((await times(12)) - (await times(2))) / 10
}
