/**
 * The main job: a durable pipeline that is killed and comes back.
 *
 * This process supervises: it runs the server, starts the worker, kills it
 * with SIGKILL at two different points, starts it again on the same SQLite
 * file, and checks at the end that everything is as claimed.
 */
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import * as readline from "node:readline"
import { fileURLToPath } from "node:url"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { Storage, Workflow } from "effect-recovery"
import { SqliteStorage } from "effect-recovery/sqlite"
import { digestOf } from "./release.js"
import { fromLine, type Report } from "./report.js"
import { bold, describe, dim, green, note, red, say, table } from "./screen.js"
import { type PackageServer, startServer } from "./server.js"

const seed = "a release that comes through"
const id = "release-1"
const folder = path.resolve(".recovery-demo")
const filename = path.join(folder, "runs.db")
const workerFile = fileURLToPath(new URL("./worker.js", import.meta.url))

class NotAsClaimed extends Data.TaggedError("NotAsClaimed")<{ readonly message: string }> {}

/** Starts a worker and shows what it reports; answers with its exit code, or undefined if it was killed. */
const runWorker = (number: number, server: PackageServer, killIf: KillPoint | undefined) =>
  Effect.async<number | undefined>((resume) => {
    const worker = childProcess.spawn(process.execPath, [workerFile, id, filename, folder, server.url])
    note(dim(`worker ${number} started, process ${worker.pid}`))
    const kill = (why: string) => {
      worker.kill("SIGKILL")
      note(red(bold(`SIGKILL  ${why}`)))
    }
    let killed = false
    const watch = (point: Point) => {
      const why = killed ? undefined : killIf?.(point)
      if (why === undefined) return
      killed = true
      kill(why)
    }
    server.onDelivery = (chunk) => watch({ delivered: chunk })
    readline.createInterface({ input: worker.stdout }).on("line", (line) => {
      if (killed) return
      const report = Effect.runSync(Effect.option(fromLine(line)))
      if (Option.isNone(report)) return say(line)
      const text = describe(report.value)
      if (text !== undefined) note(text)
      watch({ report: report.value })
    })
    worker.stderr.on("data", (data) => process.stderr.write(data))
    worker.on("close", (code) => {
      if (killed) note(dim(`worker ${number} is gone`))
      resume(Effect.succeed(code ?? undefined))
    })
    return Effect.sync(() => worker.kill("SIGKILL"))
  })

interface Point {
  readonly delivered?: number
  readonly report?: Report
}

/** Whether to kill at a point, and what to say of it. */
type KillPoint = (point: Point) => string | undefined

const kills: ReadonlyArray<KillPoint> = [
  ({ delivered }) => (delivered === 4 ? "the server has chunk 4, the worker has not heard of it" : undefined),
  ({ report }) =>
    report?.decision === "Again" && report.category === "unavailable" && (report.step ?? "") > "chunk[4]"
      ? "in the middle of a wait"
      : undefined
]

const claim = (what: string, holds: boolean) =>
  Effect.suspend(() => {
    say(`  ${holds ? green("yes") : red("NO ")}  ${what}`)
    return holds ? Effect.void : Effect.fail(new NotAsClaimed({ message: what }))
  })

/** Reads the run back from the database and compares it with what the server and the disk hold. */
const check = (server: PackageServer) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const status = yield* Workflow.status(id)
    const run = Option.getOrThrow(yield* storage.find(id))
    const journal = yield* storage.journal(run.key)
    const completions = (step: string) =>
      journal.filter((entry) => entry.step === step && entry.kind === "StepCompleted").length
    say()
    table([
      ["step", "status", "completed", "attempts", "unclear", "took"],
      ...status.steps.map((step) => [
        step.key,
        step.status,
        completions(step.key) === 1 ? "once" : `${completions(step.key)} times`,
        String(step.attempts),
        step.ambiguous.length === 0 ? "" : `attempt ${step.ambiguous.join(", ")}`,
        `${((step.updatedAt.getTime() - step.startedAt.getTime()) / 1000).toFixed(2)} s`
      ])
    ])
    say()
    const index = JSON.parse(fs.readFileSync(path.join(folder, "index.json"), "utf8"))
    const packed = fs.readFileSync(index.file)
    const chunks = status.steps.filter(({ key }) => key.startsWith("chunk[")).length
    yield* claim(
      "each step ran to completion once",
      status.steps.every(({ key }) => completions(key) === 1)
    )
    yield* claim("the run is completed, in three executions", status.status === "completed" && status.executions === 3)
    yield* claim("the server has every chunk", server.deliveries.size === chunks)
    yield* claim(
      "a chunk arrived twice only where the journal says unclear",
      [...server.deliveries].every(([chunk, times]) => {
        const step = status.steps.find(({ key }) => key === `chunk[${chunk}]/upload`)
        return times <= 1 + (step?.ambiguous.length ?? 0)
      })
    )
    yield* claim(`${packed.length} bytes verified by digest at both ends`, digestOf(packed) === index.digest)
    yield* claim("the server's bytes are the package", digestOf(server.bytes()) === index.digest)
    say()
    say(`  ${dim("digest   ")} ${index.digest.slice(0, 40)}…`)
    say(`  ${dim("package  ")} ${path.relative("", index.file)}`)
    say(`  ${dim("database ")} ${path.relative("", filename)}`)
  })

const program = Effect.gen(function* () {
  fs.rmSync(folder, { recursive: true, force: true })
  fs.mkdirSync(folder, { recursive: true })
  say(bold("effect-recovery: the main job"))
  say("This package is packed, verified and uploaded in chunks to a server that is")
  say("busy, resets connections or answers too late by turns. The worker is killed")
  say("twice and started again on the same SQLite file.")
  say()
  const server = yield* startServer(seed)
  for (const [i, kill] of kills.entries()) {
    const code = yield* runWorker(i + 1, server, kill)
    if (code !== undefined) return yield* new NotAsClaimed({ message: `worker ${i + 1} ended by itself (${code})` })
  }
  const code = yield* runWorker(kills.length + 1, server, undefined)
  if (code !== 0) return yield* new NotAsClaimed({ message: `the last worker ended with ${code ?? "a signal"}` })
  yield* Effect.provide(check(server), SqliteStorage.layer({ filename }))
})

const reported = Effect.tapError(program, (error) => Effect.sync(() => say(red(`\n${error.message}`))))

NodeRuntime.runMain(Effect.scoped(reported), { disableErrorReporting: true })
