/**
 * A fleet of three runners on one Postgres, placed by @effect/cluster: one of
 * them is killed, and its runs continue in the others.
 *
 *     DATABASE_URL=postgres://… npm run start:cluster
 *
 * This process supervises. It starts the runners and the runs, serves the page,
 * kills a runner with SIGKILL, measures, and stops what it started.
 */
import * as http from "node:http"
import { NodeClusterSocket, NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Data, Effect, Layer, Option, Queue, Redacted } from "effect"
import { Workflow } from "effect-recovery"
import { Dashboard } from "effect-recovery/dashboard"
import { Production } from "effect-recovery/operate"
import { client, storage } from "./database.js"
import { type Resumed, type Runner, startRunner } from "./fleet.js"
import { Report } from "./report.js"
import { bold, dim, green, note, red, say, seconds } from "./screen.js"

const reports = 12
const pages = Number(process.env["PAGES"] ?? 30)

class NotAsClaimed extends Data.TaggedError("NotAsClaimed")<{ readonly message: string }> {}

const claim = (what: string, holds: boolean) =>
  Effect.suspend(() => {
    say(`  ${holds ? green("yes") : red("NO ")}  ${what}`)
    return holds ? Effect.void : Effect.fail(new NotAsClaimed({ message: what }))
  })

const runsOf = (prefix: string) =>
  Effect.map(Workflow.list({ workflow: Report }), (runs) => runs.filter(({ id }) => id.startsWith(prefix)).reverse())

type Run = Workflow.RunSummary

/** The runs of a runner: a lease names its process as `host/pid@start`. */
const ownRuns = (runs: ReadonlyArray<Run>, { pid }: Runner) =>
  runs.filter(({ owner }) => Option.exists(owner, (owner) => owner.includes(`/${pid}@`)))

const readyPages = (id: string) =>
  Effect.map(Workflow.status(id), ({ steps }) => steps.filter(({ status }) => status === "completed").length)

/** One line for each runner, with its runs and how far they are. */
const show = (prefix: string, runners: ReadonlyArray<Runner>) =>
  Effect.gen(function* () {
    const runs = yield* runsOf(prefix)
    const lines = yield* Effect.forEach(runners, (runner) =>
      Effect.map(
        Effect.forEach(ownRuns(runs, runner), ({ id }) =>
          Effect.map(readyPages(id), (ready) => `${id.slice(prefix.length)} ${dim(`${ready}/${pages}`)}`)
        ),
        (texts) => `         ${runner.isGone() ? red(runner.name) : runner.name}  ${texts.join("  ")}`
      )
    )
    // Before the first runner has a shard there is nothing to see.
    if (runs.some(({ executions }) => executions > 0)) {
      note(`${runs.filter(({ status }) => status === "completed").length} of ${runs.length} reports are ready`)
      for (const line of lines) say(line)
    }
    return runs
  })

/** Shows the fleet each two seconds until its runs are so. */
const showUntil = (
  prefix: string,
  runners: ReadonlyArray<Runner>,
  are: (runs: ReadonlyArray<Run>) => boolean
): Effect.Effect<
  ReadonlyArray<Run>,
  Effect.Effect.Error<ReturnType<typeof show>>,
  Effect.Effect.Context<ReturnType<typeof show>>
> =>
  Effect.flatMap(show(prefix, runners), (runs) =>
    are(runs) ? Effect.succeed(runs) : Effect.zipRight(Effect.sleep("2 seconds"), showUntil(prefix, runners, are))
  )

/** Kills the runner, and shows where its runs continue. Returns the milliseconds that this took for each. */
const killOne = (victim: Runner, prefix: string, resumed: Queue.Dequeue<Resumed>) =>
  Effect.gen(function* () {
    const had = ownRuns(yield* runsOf(prefix), victim).map(({ id }) => id)
    const killedAt = Date.now()
    yield* victim.end("SIGKILL")
    const open = (yield* runsOf(prefix)).filter(({ status }) => status !== "completed").map(({ id }) => id)
    const runs = had.filter((id) => open.includes(id))
    note(red(bold(`SIGKILL  ${victim.name}, which had ${runs.map((id) => id.slice(prefix.length)).join(", ")}`)))
    const took = new Map<string, number>()
    while (took.size < runs.length) {
      const { at, run, runner } = yield* Queue.take(resumed)
      if (at < killedAt || !runs.includes(run) || took.has(run)) continue
      took.set(run, at - killedAt)
      note(green(`${run.slice(prefix.length)} continues in ${runner.name}, ${seconds(at - killedAt)} after the kill`))
    }
    return [...took.values()]
  })

const program = Effect.gen(function* () {
  const prefix = `demo-${Date.now().toString(36)}/`
  const { link } = yield* Dashboard.Dashboard
  say(`The page of the runs, while this lasts: ${Redacted.value(link)}`)
  say()
  const resumed = yield* Queue.unbounded<Resumed>()
  // Its tables: runners that create them at once disturb one another.
  yield* Effect.scoped(Layer.build(Layer.provide(NodeClusterSocket.layer({ clientOnly: true }), client)))
  const runners = yield* Effect.forEach([1, 2, 3], (number) => startRunner(number, resumed))
  for (let i = 1; i <= reports; i++) yield* Workflow.start(Report, { id: `${prefix}report-${i}`, input: { pages } })

  // Ids may leave a runner without runs, so that is not waited for for ever.
  let looks = 0
  const isPlaced = (runs: ReadonlyArray<Run>) => {
    const busy = runners.filter((runner) => ownRuns(runs, runner).length > 0)
    if (busy.length > 0) looks++
    return busy.length === runners.length || looks > pages / 4
  }
  const runs = yield* showUntil(prefix, runners, isPlaced)
  const busiest = runners.toSorted((a, b) => ownRuns(runs, b).length - ownRuns(runs, a).length)
  const [victim, ...others] = busiest as [Runner, ...ReadonlyArray<Runner>]
  const areReady = (runs: ReadonlyArray<Run>) => runs.every(({ status }) => status === "completed")
  const [took] = yield* Effect.zip(killOne(victim, prefix, resumed), showUntil(prefix, runners, areReady), {
    concurrent: true
  })

  say()
  const ready = yield* Effect.forEach(runs, ({ id }) => readyPages(id))
  yield* claim(
    `all ${reports} reports are ready, with each of their ${pages} pages`,
    ready.every((count) => count === pages)
  )
  yield* claim(`the runs of the killed runner continued after ${seconds(Math.max(...took))} at most`, took.length > 0)
  const codes = yield* Effect.forEach(others, (runner) => runner.end("SIGTERM"))
  yield* claim(
    "the other runners ended in order",
    codes.every((code) => code === 0)
  )
})

const main = Production.layer({
  storage,
  workflows: [Report],
  // The runners execute the runs.
  worker: false,
  dashboard: Dashboard.layer({ where: "the fleet" }).pipe(
    Layer.provide(NodeHttpServer.layer(http.createServer, { host: "127.0.0.1", port: 0 }))
  )
})

say(bold("effect-recovery: three runners, placed by @effect/cluster"))
if ((process.env["DATABASE_URL"] ?? "") === "") {
  say("Set DATABASE_URL to a Postgres database of your own. One to try it with:")
  say("  docker run --rm -d -p 127.0.0.1:5432:5432 -e POSTGRES_PASSWORD=secret postgres")
  say("  DATABASE_URL=postgres://postgres:secret@127.0.0.1:5432/postgres npm run start:cluster")
  process.exitCode = 1
} else {
  NodeRuntime.runMain(Effect.provide(Effect.scoped(program), main))
}
