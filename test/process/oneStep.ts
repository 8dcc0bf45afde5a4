/**
 * Executes a run of one step. With `block` the step waits for a line of its parent and blocks the whole process,
 * so the lease is not renewed meanwhile. The process may live in the future, where that lease has expired.
 */
import * as fs from "node:fs"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { Step, Workflow } from "effect-recovery"
import { SqliteStorage } from "effect-recovery/sqlite"

const [filename = "", name = "", mode = "", aheadMillis = "0"] = process.argv.slice(2)

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

const patiently = Effect.retry(once, {
  while: (error) => error._tag === "LeaseHeld",
  schedule: Schedule.spaced("50 millis")
})

const now = Clock.make()
const aheadClock: Clock.Clock = {
  [Clock.ClockTypeId]: Clock.ClockTypeId,
  unsafeCurrentTimeMillis: () => now.unsafeCurrentTimeMillis() + Number(aheadMillis),
  unsafeCurrentTimeNanos: () => now.unsafeCurrentTimeNanos() + BigInt(aheadMillis) * 1_000_000n,
  currentTimeMillis: Effect.sync(() => aheadClock.unsafeCurrentTimeMillis()),
  currentTimeNanos: Effect.sync(() => aheadClock.unsafeCurrentTimeNanos()),
  sleep: (duration) => now.sleep(duration)
}

Effect.runPromise(
  (mode === "wait" ? patiently : once).pipe(
    Effect.match({ onFailure: (error) => say(`failed ${error._tag}`), onSuccess: (value) => say(`value ${value}`) }),
    Effect.provide(SqliteStorage.layer({ filename, lease: "10 minutes" })),
    Effect.withClock(aheadClock)
  )
).then(() => process.exit(0))
