/** A worker that leaves when it is asked to. */
import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { Worker, type Workflow } from "effect-recovery"
import { childStorage } from "./childStorage.js"

type Flow = Workflow.Workflow<void, string, never, never>

/** Works on these workflows until SIGTERM. */
export const work = (folder: string, workflows: ReadonlyArray<Flow>): void => {
  const options = { concurrency: 4, sweep: "100 millis", patience: 0, drain: "5 minutes" } as const
  const worker = Worker.layer(workflows, options).pipe(
    Layer.provide(childStorage(folder, { lease: "5 minutes", durability: "process-crash" }))
  )
  const works = Effect.sync(() => void fs.writeSync(1, "works\n"))
  const fiber = Effect.runFork(Effect.provide(Effect.zipRight(works, Effect.never), worker))
  process.on("SIGTERM", () => void Effect.runPromise(Fiber.interrupt(fiber)).then(() => process.exit(0)))
  fiber.addObserver((exit) => {
    if (exit._tag === "Failure") fs.writeSync(2, String(exit.cause))
  })
}
