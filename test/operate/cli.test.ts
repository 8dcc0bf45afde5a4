import { execFile, spawn } from "node:child_process"
import * as fs from "node:fs"
import { connect } from "node:net"
import * as path from "node:path"
import * as readline from "node:readline"
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Recovery, RetryPolicy, Step, Storage, Strategy, Workflow } from "effect-recovery"
import { Escalation, Insights, RecoveryManager } from "effect-recovery/operate"
import { SqliteStorage } from "effect-recovery/sqlite"
import * as esbuild from "esbuild"
import { widthOf } from "../../src/cli/render/width.js"
import { temporaryFolder } from "../support/files.js"

class Declined extends Schema.TaggedError<Declined>()("Declined", {}) {}

/** As it is published. */
const binary = path.resolve("dist/recovery.mjs")

const exec = (file: string, args: ReadonlyArray<string>, options: Parameters<typeof execFile>[2] = {}) =>
  Effect.async<{ readonly code: number; readonly stdout: string; readonly stderr: string }>((resume) => {
    const child = execFile(file, args, { ...options, encoding: "utf8" }, (_, stdout, stderr) =>
      resume(Effect.succeed({ code: child.exitCode ?? -1, stdout: `${stdout}`, stderr: `${stderr}` }))
    )
    return Effect.sync(() => child.kill("SIGKILL"))
  })

interface Place {
  readonly folder: string
  readonly database: string
  readonly storage: Layer.Layer<Storage.Storage, Storage.StorageError>
  /** Runs a command on the database. */
  readonly cli: (
    ...args: ReadonlyArray<string>
  ) => Effect.Effect<{ readonly code: number; readonly stdout: string; readonly stderr: string }>
  /** Runs a command and reads its JSON. */
  // biome-ignore lint/suspicious/noExplicitAny: what it prints is what the tests look at
  readonly json: (...args: ReadonlyArray<string>) => Effect.Effect<any>
}

/** What stands behind `--` is another command's. */
const onDatabase = (args: ReadonlyArray<string>, database: string): ReadonlyArray<string> => {
  if (args.includes("--config")) return args
  const end = args.indexOf("--")
  const [own, rest] = end < 0 ? [args, []] : [args.slice(0, end), args.slice(end)]
  return [...own, "--database", database, ...rest]
}

/** The library as a configuration in a folder imports it, beside the Effect of this project. */
const library = (folder: string) =>
  Effect.promise(async () => {
    await esbuild.build({
      entryPoints: ["index", "operate", "rules", "sqlite"].map((door) => path.resolve(`src/${door}.ts`)),
      outdir: path.join(folder, "library"),
      bundle: true,
      splitting: true,
      packages: "external",
      format: "esm",
      target: "node20"
    })
    fs.writeFileSync(path.join(folder, "library", "package.json"), `{"type":"module"}`)
    fs.symlinkSync(path.resolve("node_modules"), path.join(folder, "node_modules"))
  })

const inPlace = (body: (place: Place) => Effect.Effect<void, unknown>) =>
  Effect.gen(function* () {
    const folder = yield* temporaryFolder
    const database = path.join(folder, "recovery.db")
    const env = { ...process.env, NO_COLOR: "1", COLUMNS: "" }
    const cli: Place["cli"] = (...args) =>
      exec(process.execPath, [binary, ...onDatabase(args, database)], { cwd: folder, env })
    const json: Place["json"] = (...args) =>
      Effect.map(cli(...args, "--json"), ({ code, stderr, stdout }) => {
        assert.strictEqual(code, 0, stderr)
        return JSON.parse(stdout)
      })
    const storage = SqliteStorage.layer({ filename: database })
    // Commands that read create no database.
    yield* Effect.scoped(Layer.build(storage))
    yield* body({ folder, database, cli, json, storage })
  }).pipe(Effect.scoped)

const test = (name: string, body: (place: Place) => Effect.Effect<void, unknown>) => it.live(name, () => inPlace(body))

const closed = (child: ReturnType<typeof spawn>) =>
  Effect.promise(
    () =>
      new Promise<number | string | null>((resolve) => child.once("exit", (code, signal) => resolve(code ?? signal)))
  )

describe("recovery, the command line", () => {
  test("seed 001's five commands and its numbers come out of a real database", ({ cli, json, storage }) =>
    Effect.gen(function* () {
      const repository = "repo/name"
      const saved = yield* json(
        ...["create-checkpoint", "--repository", repository, "--workflow-name", "CI", "--run-id", "run_123"],
        ...["--commit-sha", "abc123", "--checkpoint-type", "job", "--checkpoint-name", "tests_passed"],
        ...["--state", `{"files":45}`, "--environment", "node=20"]
      )
      assert.strictEqual(saved.kind, "job")
      assert.deepStrictEqual(saved.labels, { repository, workflow: "CI", run: "run_123", commit: "abc123" })
      /** What becomes of the recoveries, by type. */
      const plan = {
        retry: { completed: 27, failed: 2, running: 1 },
        resume: { completed: 8, failed: 1, running: 1 },
        rollback: { completed: 3, failed: 2, running: 0 }
      } as const
      const act = (failure: { readonly message: string }) =>
        failure.message === "completed" ? Effect.void : failure.message === "failed" ? Effect.fail("no") : Effect.never
      const manager = RecoveryManager.layer({ actions: { retry: act, resume: act, rollback: act } })
      yield* Effect.gen(function* () {
        const recover = (type: keyof typeof plan, how: string) =>
          Effect.gen(function* () {
            const labels = { repository, commit: "abc123" }
            const { id } = yield* RecoveryManager.report(how, { labels })
            return yield* RecoveryManager.initiate(id, type)
          })
        for (const type of ["retry", "resume", "rollback"] as const) {
          for (let i = 0; i < plan[type].completed; i++) yield* recover(type, "completed")
          for (let i = 0; i < plan[type].failed; i++) yield* recover(type, "failed")
        }
        const running = yield* Effect.fork(
          Effect.all([recover("retry", "running"), recover("resume", "running")], { concurrency: 2 })
        )
        const dashboard = Effect.map(RecoveryManager.dashboard(repository), (one) => one.recoverySummary)
        const turn = Effect.promise(() => new Promise(setImmediate))
        yield* Effect.repeat(Effect.zipLeft(dashboard, turn), {
          until: (summary) => summary.inProgressRecoveries === 2
        })
        const shown = yield* json("dashboard", "--repository", repository)
        assert.deepStrictEqual(shown.recovery_summary, {
          total_recoveries: 45,
          successful_recoveries: 38,
          failed_recoveries: 5,
          in_progress_recoveries: 2,
          success_rate: 84.44
        })
        assert.deepStrictEqual(shown.recovery_by_type, {
          retry: { total: 30, successful: 27 },
          resume: { total: 10, successful: 8 },
          rollback: { total: 5, successful: 3 }
        })
        assert.strictEqual(shown.recent_recoveries.length, 10)
        assert.strictEqual(shown.checkpoint_status[0].name, "before_recovery")
        const text = (yield* cli("dashboard", "--repository", repository)).stdout
        assert.match(text, /84\.44 %/)
        assert.match(text, /retry +27 +30/)
        const other = yield* json("dashboard", "--repository", "another")
        assert.strictEqual(other.recovery_summary.total_recoveries, 0)
        const [newest] = shown.recent_recoveries
        const one = yield* json("status", "--recovery-id", newest.id)
        assert.strictEqual(one.status, "in_progress")
        assert.match((yield* cli("status", "--recovery-id", newest.id)).stdout, /monitor/)
        // Another process reads that it is being recovered.
        const busy = yield* cli("initiate", "--failure-id", one.failure, "--type", "retry")
        assert.strictEqual(busy.code, 4)
        yield* Fiber.interrupt(running)
      }).pipe(Effect.provide(Layer.provideMerge(manager, storage)))
      const refused = yield* cli("rollback", "--checkpoint-id", saved.id, "--reason", "manual_fix")
      assert.strictEqual(refused.code, 4)
      assert.match(refused.stderr, /no action for this type/)
    }))

  test("a configuration names the workflows, so that a run is really recovered", ({
    database,
    folder,
    json,
    cli,
    storage
  }) =>
    Effect.gen(function* () {
      yield* library(folder)
      fs.writeFileSync(
        path.join(folder, "recovery.config.ts"),
        `
import * as fs from "node:fs"
import { Effect, Schema } from "effect"
import { Step, Workflow } from "./library/index.js"
import { Operator } from "./library/operate.js"
import { PipelineRules } from "./library/rules.js"
import { SqliteStorage } from "./library/sqlite.js"

const deploy = Step.make("deploy", {
  error: Schema.String,
  run: Effect.suspend(() => (fs.existsSync("up") ? Effect.void : Effect.fail("connection refused")))
})
export const Release = Workflow.make("release", { error: Schema.String }, () => deploy)
export default Operator.define({
  storage: SqliteStorage.layer({ filename: ${JSON.stringify(database)} }),
  workflows: [Release],
  rules: PipelineRules.rules
})
`
      )
      const config = ["--config", path.join(folder, "recovery.config.ts")]
      const Release = Workflow.make("release", { error: Schema.String }, () => Effect.fail("connection refused"))
      yield* Effect.provide(Effect.flip(Workflow.execute(Release, { id: "v1" })), storage)
      yield* json("report", "--failure-id", "f1", "--message", "connection refused", "--run-id", "v1")
      assert.strictEqual((yield* json("failures", "f1")).category, "infrastructure")
      const [run] = yield* json("runs", "--limit", "5")
      assert.deepStrictEqual([run.id, run.status], ["v1", "failed"])
      const first = yield* cli("initiate", "--failure-id", "f1", "--json", ...config)
      assert.strictEqual(first.code, 1)
      assert.strictEqual(JSON.parse(first.stdout).status, "failed")
      const suggested = yield* json("suggest", "--failure-id", "f1", ...config)
      assert.isAbove(suggested[0].cases, 0)
      fs.writeFileSync(path.join(folder, "up"), "")
      const [one, two] = yield* Effect.all(
        [cli("initiate", "--failure-id", "f1", ...config), cli("initiate", "--failure-id", "f1", ...config)],
        { concurrency: 2 }
      )
      // One of them recovers it; the other reads that it is under way, or done.
      assert.deepStrictEqual([one.code, two.code].sort(), [0, 4], one.stderr + two.stderr)
      const again = yield* json("runs", "v1")
      assert.strictEqual(again.status, "completed")
      assert.strictEqual((yield* json("failures", "f1")).status, "resolved")
      // Its run has completed, so nothing can recover it.
      assert.deepStrictEqual(yield* json("suggest", "--failure-id", "f1", ...config), [])
      const statistics = yield* json("stats")
      assert.deepStrictEqual(statistics.byStrategy.retry, { successful: 1, total: 2, successRate: 0.5 })
    }))

  test("check verifies the whole database, and fails if it is damaged", ({ cli, database, json, storage }) =>
    Effect.gen(function* () {
      const Order = Workflow.make("order", { success: Schema.Number }, () =>
        Step.make("price", { success: Schema.Number, run: Effect.succeed(7) })
      )
      yield* Effect.provide(Workflow.execute(Order, { id: "order-1" }), storage)
      const found = yield* json("check")
      assert.deepStrictEqual([found.runs, found.findings], [1, []])
      assert.match((yield* cli("check")).stdout, /1 run/)
      const { default: Sqlite } = yield* Effect.promise(() => import("better-sqlite3"))
      const file = new Sqlite(database)
      file.exec("UPDATE recovery_journal SET payload = '8' WHERE payload = '7'")
      file.close()
      const damaged = yield* cli("check")
      assert.strictEqual(damaged.code, 1)
      assert.match(damaged.stdout, /order-1/)
      assert.match(damaged.stdout, /StepCompleted of "price"/)
      assert.match(damaged.stderr, /the database is damaged/)
      const listed = yield* cli("check", "--json")
      assert.strictEqual(listed.code, 1)
      assert.strictEqual(JSON.parse(listed.stdout).findings[0].run, "order-1")
    }))

  test("checkpoints are created, listed, shown, validated and deleted", ({ cli, database, folder, json }) =>
    Effect.gen(function* () {
      const artifact = path.join(folder, "build.tar")
      fs.writeFileSync(artifact, "bytes")
      const fields = ["--repository", "shop", "--workflow-name", "CI", "--run-id", "r1", "--commit-sha", "abc"]
      const made = yield* json("checkpoint", "create", ...fields, "--checkpoint-name", "built", "--artifact", artifact)
      assert.deepStrictEqual(
        (yield* json("checkpoint", "list", "--repository", "shop")).map((one: { id: string }) => one.id),
        [made.id]
      )
      assert.deepStrictEqual(yield* json("checkpoint", "list", "--repository", "blog"), [])
      assert.strictEqual((yield* json("checkpoint", "show", made.id)).name, "built")
      fs.rmSync(artifact)
      const validity = yield* json("checkpoint", "validate", made.id)
      assert.isTrue(validity.is_valid)
      assert.deepStrictEqual(validity.errors, [])
      assert.deepStrictEqual(validity.warnings, ["state state: it is empty", `artifacts ${artifact}: it is missing`])
      yield* Effect.gen(function* () {
        const storage = yield* Storage.Storage
        const whole = yield* Effect.flatten(storage.snapshot(Number(made.id)))
        const { key: _, rewound: __, ...rest } = whole
        yield* storage.save({ ...rest, state: `{"forged":1}` }, {})
      }).pipe(Effect.provide(SqliteStorage.layer({ filename: database })))
      const [forged] = yield* json("checkpoint", "list")
      const invalid = yield* cli("checkpoint", "validate", forged.id)
      assert.strictEqual(invalid.code, 1)
      assert.match(invalid.stdout, /integrity/)
      assert.strictEqual((yield* cli("checkpoint", "delete", made.id)).code, 0)
      assert.strictEqual((yield* cli("checkpoint", "show", made.id)).code, 3)
      const bad = yield* cli("checkpoint", "create", ...fields, "--checkpoint-name", "x", "--state", "{")
      assert.strictEqual(bad.code, 2)
    }))

  test("failures are reported with their logs, however long, and resolved by hand", ({ cli, folder, json, storage }) =>
    Effect.gen(function* () {
      const log = path.join(folder, "job.log")
      const file = fs.openSync(log, "w")
      fs.ftruncateSync(file, 200 * 1024 * 1024)
      fs.closeSync(file)
      fs.appendFileSync(log, "\nrunning flake8\nsrc/a.py:1:80: flake8 error: E501 line too long\ndone\n")
      const timed = <A>(self: Effect.Effect<A, unknown>) => Effect.timed(Effect.orDie(self))
      const [usual] = yield* timed(cli("stats"))
      const [took, failure] = yield* timed(
        json("report", "--log", log, "--repository", "shop", "--commit-sha", "abc", "--label", "job=lint")
      )
      // Other processes slow both commands down alike.
      assert.isBelow(Duration.toMillis(took), 20 * Duration.toMillis(usual))
      assert.deepStrictEqual(
        [failure.category, failure.message, failure.labels],
        [
          "linting",
          "src/a.py:1:80: flake8 error: E501 line too long",
          { job: "lint", repository: "shop", commit: "abc" }
        ]
      )
      const hostile = yield* cli("report", "--message", "\u001b[2J\u001b[31mfailed\u0007\u202e")
      for (const control of ["\u001b", "\u0007", "\u202e"]) assert.notInclude(hostile.stdout, control)
      const open = yield* json("failures", "--status", "open", "--repository", "shop")
      assert.strictEqual(open.length, 1)
      assert.strictEqual((yield* json("resolve", "--failure-id", failure.id, "--by", "ada")).resolvedBy, "ada")
      assert.deepStrictEqual(yield* json("failures", "--status", "open", "--repository", "shop"), [])
      assert.strictEqual((yield* json("cleanup", "--older-than", "1 millis")).records, 1)
      for (const age of ["soon", "-30 days", "0 days"]) {
        assert.strictEqual((yield* cli("cleanup", `--older-than=${age}`)).code, 2, age)
      }
      assert.strictEqual((yield* cli("resolve")).code, 2)
      assert.strictEqual((yield* cli("report")).code, 2)
      assert.strictEqual((yield* cli("report", "--log", path.join(folder, "no.log"))).code, 2)
      assert.deepStrictEqual(yield* json("locks"), [])
      assert.deepStrictEqual(yield* json("escalations"), [])
      assert.strictEqual((yield* cli("escalations", "--acknowledge", "none")).code, 3)
      yield* Effect.gen(function* () {
        for (let i = 0; i < 5; i++) yield* RecoveryManager.report(new Error("disk full"))
        yield* Effect.flatMap(Escalation.Escalation, ({ check }) => check)
      }).pipe(Effect.provide(Escalation.layer({ sinks: [] }).pipe(Layer.provideMerge(storage))))
      const [raised] = yield* json("escalations", "--status", "open")
      assert.strictEqual(raised.level, "human")
      assert.strictEqual((yield* json("escalations", "--acknowledge", raised.id, "--by", "ada")).acknowledgedBy, "ada")
      assert.strictEqual(
        (yield* json("escalations", "--resolve", raised.id, "--note", "more disks")).status,
        "resolved"
      )
    }))

  test("a run that asks is answered", ({ cli, json, storage }) =>
    Effect.gen(function* () {
      const pay = Step.make("pay", {
        error: Declined,
        run: Effect.fail(new Declined()),
        recover: { Declined: Strategy.manual({ question: "The card was declined. What now?" }) }
      })
      const Order = Workflow.make("order", { error: Declined }, () => pay)
      yield* Effect.provide(Effect.exit(Workflow.execute(Order, { id: "o1" })), storage)
      const [run] = yield* json("runs", "--status", "suspended")
      assert.strictEqual(run.waiting[0].about, "The card was declined. What now?")
      assert.match((yield* cli("runs", "o1")).stdout, /question/)
      assert.strictEqual((yield* cli("resolve", "--run-id", "o1", "--answer", "abort", "--note", "no card")).code, 0)
      const missing = yield* cli("resolve", "--run-id", "missing", "--answer", "abort")
      assert.strictEqual(missing.code, 3)
    }))

  test("what is wrong has a message, an exit code, and changes nothing", ({ cli, database, folder }) =>
    Effect.gen(function* () {
      const codes = (...args: ReadonlyArray<string>) => Effect.map(cli(...args), ({ code }) => code)
      assert.strictEqual(yield* codes("status", "--recovery-id", "nope"), 3)
      assert.strictEqual(yield* codes("suggest", "--failure-id", "nope"), 3)
      assert.strictEqual(yield* codes("rollback", "--checkpoint-id", "failure_1"), 3)
      assert.strictEqual(yield* codes("runs", "nope"), 3)
      assert.strictEqual(yield* codes("initiate"), 2)
      assert.strictEqual(yield* codes("initiate", "--failure-id", "x", "--type", "explode"), 2)
      assert.strictEqual(yield* codes("no-such-command"), 2)
      const missing = yield* cli("dashboard", "--config", path.join(folder, "none.mjs"), "--json")
      assert.strictEqual(missing.code, 6)
      assert.strictEqual(missing.stdout, "")
      assert.strictEqual(JSON.parse(missing.stderr).error.tag, "Config")
      const throwing = path.join(folder, "recovery.config.mjs")
      fs.writeFileSync(throwing, `throw new Error("not today")`)
      const thrown = yield* cli("dashboard", "--config", throwing)
      assert.strictEqual(thrown.code, 6)
      assert.match(thrown.stderr, /not today/)
      fs.writeFileSync(throwing, `export default 42`)
      assert.match((yield* cli("dashboard", "--config", throwing)).stderr, /must export default/)
      fs.writeFileSync(path.join(folder, "text.db"), "this is no database, but a text that is long enough")
      const noDatabase = yield* exec(process.execPath, [
        binary,
        "dashboard",
        "--database",
        path.join(folder, "text.db")
      ])
      assert.strictEqual(noDatabase.code, 5)
      const { default: Sqlite } = yield* Effect.promise(() => import("better-sqlite3"))
      const file = new Sqlite(database)
      file.exec("INSERT INTO effect_recovery_migrations (migration_id, name) VALUES (9999, 'newer')")
      file.close()
      const newer = yield* cli("dashboard")
      assert.strictEqual(newer.code, 5)
      assert.match(newer.stderr, /newer version/)
    }))

  test("health, patterns and tune say what needs a person, and what would help", ({ cli, database, json, storage }) =>
    Effect.gen(function* () {
      assert.strictEqual((yield* json("health")).status, "ok")
      yield* Effect.gen(function* () {
        for (let i = 0; i < 12; i++) {
          let fails = 1
          yield* Effect.suspend(() => (fails-- > 0 ? new Declined() : Effect.void)).pipe(
            Recovery.recover(
              { Declined: Strategy.retry(RetryPolicy.fixed({ delay: "1 millis", maxRetries: 3 })) },
              { name: "charge" }
            )
          )
        }
        yield* RecoveryManager.report("connect ECONNREFUSED 10.0.0.1:443 registry")
        yield* RecoveryManager.report("connect ECONNREFUSED 10.0.0.2:443 registry")
      }).pipe(Effect.provide(Insights.layer.pipe(Layer.provideMerge(storage))))
      const tuned = yield* json("tune", "--step", "charge")
      assert.deepInclude(tuned.proposal.policy, { curve: "exponential", maxRetries: 2, initialDelay: 1 })
      assert.match((yield* cli("tune", "--step", "charge")).stdout, /Proposal[\s\S]*maxRetries=2/)
      assert.match((yield* cli("tune", "--step", "unheard")).stdout, /too few cases/)
      const period = yield* json("stats", "--since", "1 hour")
      assert.deepStrictEqual(period.byStrategy, { retry: { successful: 12, total: 12, successRate: 1 } })
      assert.match((yield* cli("stats", "--since", "1 hour", "--run-id", "none")).stdout, /recoveries +0/)
      assert.strictEqual((yield* cli("stats", "--since", "yesterday")).code, 2)
      const [pattern] = yield* json("patterns")
      assert.deepInclude(pattern, { category: "network", count: 2 })
      assert.match((yield* cli("patterns")).stdout, /2 of network: connect, econnrefused, registry/)
      const health = yield* cli("health")
      assert.strictEqual(health.code, 0)
      assert.match(health.stdout, /failures +ok +2 failures open/)
      fs.writeFileSync(database, "no database at all, but a text that is longer than its head")
      assert.strictEqual((yield* cli("health")).code, 5)
    }))

  it.live.skipIf(process.platform !== "linux")("fits a terminal of 40 columns, and cuts nothing in a pipe", () =>
    inPlace(({ cli, database, folder, json }) =>
      Effect.gen(function* () {
        const message = `日本語の障害 ${"x".repeat(300)}`
        yield* json("report", "--message", message, "--repository", "a/very/long/name")
        const [failure] = yield* json("failures")
        /** What a terminal of this width shows. */
        const shown = (columns: number, ...args: ReadonlyArray<string>) =>
          Effect.map(
            exec(
              "script",
              ["-qec", `stty cols ${columns}; ${[process.execPath, binary, ...args].join(" ")} 2>&1`, "/dev/null"],
              { cwd: folder, env: { ...process.env, NO_COLOR: "1" } }
            ),
            ({ stdout }) => stdout.replaceAll("\r", "").trimEnd().split("\n")
          )
        const inTerminal = ["failures", "--database", database]
        const narrow = (yield* shown(40, ...inTerminal)).filter((line) => !line.startsWith("("))
        assert.isAtMost(Math.max(...narrow.map(widthOf)), 40)
        const wide = (yield* shown(90, ...inTerminal)).filter((line) => !line.startsWith("("))
        // What a row is called is never cut.
        assert.include(wide[1], failure.id)
        assert.isAtMost(Math.max(...wide.map(widthOf)), 90)
        const overview = yield* shown(40)
        for (const text of ["dashboard", "initiate", "Exit codes"]) assert.include(overview.join("\n"), text)
        assert.isAtMost(Math.max(...overview.map(widthOf)), 40)
        const piped = yield* exec(process.execPath, [binary, ...inTerminal], {
          env: { ...process.env, COLUMNS: "40" }
        })
        assert.include(piped.stdout, message)
        assert.strictEqual((yield* cli("--help")).stdout.includes("\u001b"), false)
      })
    )
  )

  test("interrupted, a recovery is cancelled and on record", ({ database, folder, json, storage }) =>
    Effect.gen(function* () {
      yield* library(folder)
      const config = path.join(folder, "recovery.config.ts")
      fs.writeFileSync(
        config,
        `
import { Effect } from "effect"
import { Operator } from "./library/operate.js"
import { SqliteStorage } from "./library/sqlite.js"
const retry = () => Effect.zipRight(Effect.sync(() => process.stderr.write("started")), Effect.never)
export default Operator.define({ storage: SqliteStorage.layer({ filename: ${JSON.stringify(database)} }), actions: { retry } })
`
      )
      yield* json("report", "--failure-id", "f1", "--message", "connection refused")
      const child = spawn(process.execPath, [binary, "initiate", "--failure-id", "f1", "--config", config], {
        cwd: folder
      })
      const closed = new Promise<number | null>((resolve) => child.once("close", resolve))
      child.stderr.on("data", (chunk) => `${chunk}`.includes("started") && child.kill("SIGINT"))
      assert.strictEqual(yield* Effect.promise(() => closed), 130)
      const [recovery] = yield* Effect.provide(RecoveryManager.recoveries({ failure: "f1" }), storage)
      assert.strictEqual(recovery?.status, "cancelled")
    }))
})

describe("recovery exec, which replaces seed 004's script for any command", () => {
  const quick = ["--delay", "20ms"]

  test("passes output and exit codes through, tries again, and puts files back when it fails in the end", ({
    cli,
    folder,
    json
  }) =>
    Effect.gen(function* () {
      const file = path.join(folder, "tasks.json")
      fs.writeFileSync(file, "[]", { mode: 0o640 })
      const failing = "echo out; echo err >&2; echo broken >> tasks.json; echo x >> made; exit 3"
      const options = [...quick, "--retries", "2", "--backup", "tasks.json", "--backup", "made"]
      const failed = yield* cli("exec", ...options, "--", "sh", "-c", failing)
      assert.deepStrictEqual([failed.code, failed.stdout], [3, "out\nout\nout\n"])
      assert.match(failed.stderr, /attempt 3 of 3 in 20ms/)
      assert.strictEqual(fs.readFileSync(file, "utf8"), "[]")
      assert.strictEqual(fs.statSync(file).mode & 0o777, 0o640)
      assert.isFalse(fs.existsSync(path.join(folder, "made")))
      const script = "echo x >> tries; test $(wc -l < tries) -ge 2 && echo done > tasks.json"
      const recovered = yield* cli("exec", ...options, "--", "sh", "-c", script)
      assert.strictEqual(recovered.code, 0, recovered.stderr)
      assert.strictEqual(fs.readFileSync(file, "utf8"), "done\n")
      const debugged = yield* exec(
        process.execPath,
        [binary, "exec", "--database", path.join(folder, "other.db"), ...options, "--", "sh", "-c", "echo out; exit 4"],
        { cwd: folder, env: { ...process.env, RECOVERY_DEBUG: "1" } }
      )
      assert.match(debugged.stderr, /attempt 1 failed: sh ended with exit code 4/)
      assert.strictEqual(debugged.stdout, "out\nout\nout\n")
      // Everything is on record.
      const recoveries = yield* json("status")
      assert.deepStrictEqual(
        recoveries.map((one: { type: string; status: string }) => [one.type, one.status]),
        [
          ["retry", "completed"],
          ["retry", "failed"]
        ]
      )
      assert.strictEqual((yield* json("failures")).length, 1)
      const { byStrategy } = yield* json("stats")
      assert.deepStrictEqual(byStrategy.retry, { successful: 1, total: 2, successRate: 0.5 })
    }))

  test("tries again only what is worth it, and ends what takes too long", ({ cli }) =>
    Effect.gen(function* () {
      const codes = (...args: ReadonlyArray<string>) => Effect.map(cli("exec", ...quick, ...args), ({ code }) => code)
      const once = yield* cli("exec", ...quick, "--retry-on", "75", "--", "sh", "-c", "echo tried; exit 3")
      assert.deepStrictEqual([once.code, once.stdout], [3, "tried\n"])
      const twice = yield* cli(
        "exec",
        ...quick,
        "--retries",
        "1",
        "--retry-on",
        "3,75",
        "--",
        "sh",
        "-c",
        "echo tried; exit 75"
      )
      assert.deepStrictEqual([twice.code, twice.stdout], [75, "tried\ntried\n"])
      assert.strictEqual(yield* codes("--retries", "0", "--timeout", "100ms", "--", "sleep", "30"), 124)
      assert.strictEqual(yield* codes("--retries", "0", "--", "no-such-command"), 127)
      assert.strictEqual(yield* codes("--retries", "0", "--", "/"), 126)
      assert.strictEqual(yield* codes("--retries", "0", "--", "sh", "-c", "kill -9 $$"), 137)
      assert.strictEqual(yield* codes("--timeout", "soon", "--", "true"), 2)
      assert.strictEqual(yield* codes("--retry-on", "x", "--", "true"), 2)
      assert.strictEqual(yield* codes(), 2)
    }))

  test("a task is done once; one that failed is begun again", ({ cli, folder }) =>
    Effect.gen(function* () {
      const task = (...more: ReadonlyArray<string>) =>
        cli("exec", "--retries", "0", "--task", "T-1", ...more, "--", "sh", "-c", "echo x >> done; test -e up")
      const done = () => fs.readFileSync(path.join(folder, "done"), "utf8").length / 2
      assert.strictEqual((yield* task()).code, 1)
      fs.writeFileSync(path.join(folder, "up"), "")
      assert.strictEqual((yield* task()).code, 0)
      assert.strictEqual((yield* task()).code, 0)
      assert.strictEqual(done(), 2)
      assert.strictEqual((yield* task("--again", "refuse")).code, 4)
      assert.strictEqual((yield* task("--again", "run")).code, 0)
      assert.strictEqual(done(), 3)
      const other = yield* cli("exec", "--task", "T-1", "--", "true")
      assert.strictEqual(other.code, 0)
      const changed = yield* cli("exec", "--task", "T-1", "--again", "run", "--", "true")
      assert.strictEqual(changed.code, 4)
    }))

  /** Starts a command that says when it runs, and waits for that. */
  const starting = (folder: string, ...args: ReadonlyArray<string>) =>
    Effect.acquireRelease(
      Effect.promise(
        () =>
          new Promise<ReturnType<typeof spawn>>((resolve) => {
            const child = spawn(process.execPath, [binary, "exec", ...args], {
              cwd: folder,
              stdio: ["ignore", "pipe", "inherit"]
            })
            child.stdout.once("data", () => resolve(child))
          })
      ),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    )

  test("one at a time holds a lock, and a signal is passed on", ({ cli, database, folder }) =>
    Effect.scoped(
      Effect.gen(function* () {
        const script = "trap 'echo told > told; exit 0' TERM; echo started; while :; do sleep 0.05; done"
        const child = yield* starting(folder, "--database", database, "--lock", "deploy", "--", "sh", "-c", script)
        const busy = yield* cli("exec", "--lock", "deploy", "--lock-timeout", "100ms", "--", "true")
        assert.strictEqual(busy.code, 4)
        const ended = yield* Effect.fork(closed(child))
        yield* Effect.yieldNow()
        child.kill("SIGTERM")
        assert.strictEqual(yield* ended, "SIGTERM")
        assert.strictEqual(fs.readFileSync(path.join(folder, "told"), "utf8"), "told\n")
        assert.strictEqual((yield* cli("exec", "--lock", "deploy", "--", "true")).code, 0)
      })
    ))

  test("killed in the middle, the next start puts the files back and does the task anew", ({ cli, database, folder }) =>
    Effect.scoped(
      Effect.gen(function* () {
        const file = path.join(folder, "tasks.json")
        fs.writeFileSync(file, "old\n")
        const script =
          "cat tasks.json >> seen; echo half >> tasks.json; echo started; until test -e up; do sleep 0.05; done"
        const args = ["--task", "T-1", "--backup", "tasks.json", "--", "sh", "-c", script]
        const child = yield* starting(folder, "--database", database, ...args)
        const ended = yield* Effect.fork(closed(child))
        yield* Effect.yieldNow()
        child.kill("SIGKILL")
        yield* ended
        assert.strictEqual(fs.readFileSync(file, "utf8"), "old\nhalf\n")
        fs.writeFileSync(path.join(folder, "up"), "")
        const again = yield* cli("exec", ...args)
        assert.strictEqual(again.code, 0, again.stderr)
        assert.strictEqual(fs.readFileSync(path.join(folder, "seen"), "utf8"), "old\nold\n")
        assert.strictEqual(fs.readFileSync(file, "utf8"), "old\nhalf\n")
      })
    ))
})

describe("recovery dashboard", () => {
  test("dashboard --watch tells how things stand, and again when they change", ({ database, folder, storage }) =>
    Effect.gen(function* () {
      const child = yield* Effect.acquireRelease(
        Effect.sync(() =>
          spawn(process.execPath, [binary, "dashboard", "--watch", "--json", "--database", database], { cwd: folder })
        ),
        (child) => Effect.sync(() => child.kill("SIGKILL"))
      )
      const lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]()
      const next = Effect.promise(async () => JSON.parse((await lines.next()).value ?? "null"))
      assert.strictEqual((yield* next).statistics.failures, 0)
      yield* Effect.provide(RecoveryManager.report("timeout"), storage)
      const changed = yield* next
      assert.strictEqual(changed.statistics.failures, 1)
      assert.strictEqual(changed.failures[0].message, "timeout")
      const ended = yield* Effect.fork(closed(child))
      yield* Effect.yieldNow()
      child.kill("SIGINT")
      assert.strictEqual(yield* ended, 130)
    }).pipe(Effect.scoped))

  test("dashboard --watch ends when its reader is gone", ({ database, folder, storage }) =>
    Effect.gen(function* () {
      const child = yield* Effect.acquireRelease(
        Effect.sync(() =>
          spawn(process.execPath, [binary, "dashboard", "--watch", "--json", "--database", database], { cwd: folder })
        ),
        (child) => Effect.sync(() => child.kill("SIGKILL"))
      )
      const ended = yield* Effect.fork(closed(child))
      yield* Effect.promise(() => new Promise((resolve) => child.stdout.once("data", resolve)))
      child.stdout.destroy()
      yield* Effect.provide(RecoveryManager.report("timeout"), storage)
      assert.strictEqual(yield* ended, 0)
    }).pipe(Effect.scoped))

  it.live.skipIf(process.platform !== "linux")("dashboard --watch fills a terminal, and leaves it as it was", () =>
    inPlace(({ database, storage }) =>
      Effect.gen(function* () {
        yield* Effect.provide(RecoveryManager.report(`timeout \u001b[31m${"long ".repeat(100)}`), storage)
        const watching = `${process.execPath} ${binary} dashboard --watch --database ${database}`
        const child = yield* Effect.acquireRelease(
          Effect.sync(() => spawn("script", ["-qfec", `stty rows 12 cols 40; ${watching}`, "/dev/null"])),
          (child) => Effect.sync(() => child.kill("SIGKILL"))
        )
        let shown = ""
        yield* Effect.promise(
          () =>
            new Promise<void>((resolve) =>
              child.stdout.on("data", (data) => {
                shown += data
                if (shown.includes("open failures 1")) resolve()
              })
            )
        )
        const ended = yield* Effect.fork(closed(child))
        yield* Effect.yieldNow()
        child.stdin.write("q")
        assert.strictEqual(yield* ended, 0)
        assert.include(shown, "\u001b[?1049h")
        const screen = shown.slice(shown.indexOf("\u001b[H"), shown.indexOf("\u001b[J"))
        // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is meant
        const lines = screen.replace(/\u001b\[[0-9;?]*[A-Za-z]/g, "").split(/\r?\n/)
        assert.isAtMost(lines.length, 12)
        assert.isAtMost(Math.max(...lines.map(({ length }) => length)), 40)
        assert.notInclude(screen, "\u001b[31mlong")
        assert.isTrue(shown.endsWith("\u001b[?25h\u001b[?1049l"), JSON.stringify(shown.slice(-40)))
      }).pipe(Effect.scoped)
    )
  )

  test("dashboard --web says where it listens, and why it cannot", ({ cli, database, folder }) =>
    Effect.gen(function* () {
      assert.strictEqual((yield* cli("dashboard", "--web", "--watch")).code, 2)
      const child = yield* Effect.acquireRelease(
        Effect.sync(() =>
          spawn(process.execPath, [binary, "dashboard", "--web", "--port", "0", "--database", database], {
            cwd: folder,
            env: { ...process.env, RECOVERY_DASHBOARD_TOKEN: "chosen" }
          })
        ),
        (child) => Effect.sync(() => child.kill("SIGKILL"))
      )
      let shown = ""
      const link = yield* Effect.promise(
        () =>
          new Promise<URL>((resolve) =>
            child.stdout.on("data", (data) => {
              shown += data
              const found = /http:\S+/.exec(shown)?.[0]
              if (found !== undefined) resolve(new URL(found))
            })
          )
      )
      assert.strictEqual(link.hash, "#token=chosen")
      const answer = yield* Effect.promise(() =>
        fetch(`${link.origin}/api/about`, { headers: { authorization: "Bearer chosen" } })
      )
      assert.deepStrictEqual(yield* Effect.promise(() => answer.json()), { readonly: false, where: database })
      const busy = yield* cli("dashboard", "--web", "--port", link.port)
      assert.strictEqual(busy.code, 4)
      assert.match(busy.stderr, /EADDRINUSE.*--port 0/)
      // A connection that asks for nothing is not waited for.
      const idle = connect(Number(link.port), "127.0.0.1")
      yield* Effect.addFinalizer(() => Effect.sync(() => idle.destroy()))
      yield* Effect.promise(() => new Promise((resolve) => idle.once("connect", resolve)))
      const ended = yield* Effect.fork(closed(child))
      yield* Effect.yieldNow()
      child.kill("SIGTERM")
      assert.strictEqual(yield* ended, 143)
    }).pipe(Effect.scoped))

  test("--read-only changes nothing, not even to bring a database up to date", ({ cli, database, json, storage }) =>
    Effect.gen(function* () {
      yield* Effect.provide(RecoveryManager.report("timeout", { id: "f1" }), storage)
      const before = fs.readFileSync(database)
      assert.strictEqual((yield* json("failures", "f1", "--read-only")).message, "timeout")
      const refused = yield* cli("resolve", "--failure-id", "f1", "--read-only")
      assert.strictEqual(refused.code, 4)
      assert.strictEqual((yield* cli("stats", "--read-only", "--config", "recovery.config.ts")).code, 6)
      assert.isTrue(before.equals(fs.readFileSync(database)))
      const { default: Sqlite } = yield* Effect.promise(() => import("better-sqlite3"))
      const file = new Sqlite(database)
      file.exec("DELETE FROM effect_recovery_migrations WHERE migration_id > 4")
      file.close()
      const outdated = fs.readFileSync(database)
      const old = yield* cli("stats", "--read-only")
      assert.strictEqual(old.code, 5)
      assert.match(old.stderr, /tables of version 4/)
      assert.isTrue(outdated.equals(fs.readFileSync(database)))
      fs.writeFileSync(database, "no database at all, but a text that is longer than its head")
      assert.strictEqual((yield* cli("stats", "--read-only")).code, 5)
    }))
})
