import { Console, Effect } from "effect"
import { FileLock } from "effect-recovery/files"
import { completeTask } from "./completeTask.js"

const [root, agent, task, message = "Task completed"] = process.argv.slice(2)

const usage = Console.error("usage: complete-task ROOT AGENT TASK [MESSAGE]").pipe(Effect.as(1))

const program =
  root === undefined || agent === undefined || task === undefined
    ? usage
    : completeTask(root, { agent, task, message }).pipe(
        Effect.flatMap((outcome) => Console.log(`${task}: ${outcome}`)),
        Effect.as(0),
        Effect.catchAll((error) => Effect.as(Console.error(`${task}: ${error.message}`), 1)),
        Effect.provide(FileLock.layer({ folder: `${root}/.locks` }))
      )

Effect.runPromise(program).then((code) => {
  process.exitCode = code
})
