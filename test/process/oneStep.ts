/**
 * Executes a run whose one step does not end before it is told so. The step
 * blocks the whole process, so nothing renews its lease meanwhile.
 */
import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { Step, Workflow } from "effect-recovery"
import { SqliteStorage } from "effect-recovery/sqlite"

const [filename = "", name = "", mode = "", told = ""] = process.argv.slice(2)

const say = (line: string) => fs.writeSync(1, `${line}\n`)

const step = Step.make("step", {
  success: Schema.String,
  run: Effect.sync(() => {
    say("in the step")
    if (mode === "block") fs.readSync(0, Buffer.alloc(16))
    return name
  })
})

const One = Workflow.make("one", { success: Schema.String }, () => step)

const once = Workflow.execute(One, { id: "run", input: undefined })

const patiently = Effect.retry(
  Effect.tapErrorTag(once, "LeaseHeld", () => Effect.sync(() => say("held"))),
  { while: (error) => error._tag === "LeaseHeld", schedule: Schedule.spaced("50 millis") }
)

const program = mode === "wait" ? patiently : once

// A process may take longer to start than a lease lasts: this one has started when it is told to begin.
if (told === "told") {
  say("ready")
  fs.readSync(0, Buffer.alloc(16))
}

Effect.runPromise(
  program.pipe(
    Effect.match({ onFailure: (error) => say(`failed ${error._tag}`), onSuccess: (value) => say(`value ${value}`) }),
    Effect.provide(SqliteStorage.layer({ filename, lease: "2 seconds" }))
  )
).then(() => process.exit(0))
