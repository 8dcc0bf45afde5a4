import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import { Signal, Step, Strategy, Workflow } from "effect-recovery"
import { SqliteStorage } from "effect-recovery/sqlite"
import { connect } from "../support/drivers.js"
import { binary, home, type Result, recovery, run } from "./support.js"

const Approval = Signal.make("approval", Schema.Struct({ by: Schema.NonEmptyString }))

const Publish = Workflow.make("publish", { success: Schema.String }, () =>
  Effect.map(Approval.wait({ id: "chapter 1" }), ({ by }) => `approved by ${by}`)
)

/** A database, and the command line on it. */
const place = Effect.map(home, ({ folder, recovery }) => {
  const database = path.join(folder, "recovery.db")
  return {
    database,
    /** Runs a printed command as a shell does. */
    shell: (line: string): Effect.Effect<Result> =>
      run("sh", ["-c", `recovery() { "$NODE" "$BINARY" "$@"; }; ${line}`], {
        cwd: folder,
        env: { ...process.env, NODE: process.execPath, BINARY: binary, HOME: folder, NO_COLOR: "1" }
      }),
    storage: SqliteStorage.layer({ filename: database }),
    cli: (...args: ReadonlyArray<string>): Effect.Effect<Result> => recovery([...args, "--database", database])
  }
})

/** The runs of a workflow as if time had passed. Checksums do not cover due times. */
const makeOlder = (database: string, minutes: number) =>
  Effect.acquireUseRelease(
    Effect.sync(() => connect(database)),
    (connection) =>
      Effect.sync(() => connection.exec(`UPDATE recovery_runs SET due_at = due_at - ${minutes * 60_000}`)),
    (connection) => Effect.sync(() => connection.close())
  )

describe("recovery runs --unclaimed", () => {
  it.scopedLive("names the versions whose due runs no worker takes", () =>
    Effect.gen(function* () {
      const { cli, database, storage } = yield* place
      yield* Effect.provide(Workflow.start(Publish, { id: "post 1" }), storage)
      const soon = yield* cli("runs", "--unclaimed")
      assert.deepStrictEqual([soon.code, soon.stdout.trim()], [0, "each version with due runs has a worker"])
      yield* makeOlder(database, 2)
      const late = yield* cli("runs", "--unclaimed", "--json")
      const [{ since, ...found }] = JSON.parse(late.stdout)
      assert.deepStrictEqual(found, { workflow: "publish", version: "1", due: 1, waiting: 0, held: 0 })
      assert.isAbove(Date.now() - Date.parse(since), 60_000)
    })
  )
})

describe("recovery runs RUN", () => {
  it.scopedLive("shows a run with lines of a newer version without them, and names them", () =>
    Effect.gen(function* () {
      const { cli, database, storage } = yield* place
      yield* Effect.provide(Effect.flip(Workflow.execute(Publish, { id: "post 1" })), storage)
      const before = yield* cli("runs", "post 1")
      assert.notInclude(before.stdout, "unread")
      yield* Effect.acquireUseRelease(
        Effect.sync(() => connect(database)),
        (connection) =>
          Effect.sync(() =>
            connection.exec(`INSERT INTO recovery_journal (run, seq, kind, step, attempt, at)
              VALUES (1, 2, 'WaitEnded@2', 'chapter 1', 0, 0), (1, 3, 'Teleported', '', 0, 0)`)
          ),
        (connection) => Effect.sync(() => connection.close())
      )
      const shown = yield* cli("runs", "post 1")
      assert.strictEqual(shown.code, 0)
      assert.include(shown.stdout, "line 2 (WaitEnded@2), line 3 (Teleported), by a newer version of effect-recovery")
      assert.include(shown.stdout, "approval")
      const { unread } = JSON.parse((yield* cli("runs", "post 1", "--json")).stdout)
      assert.deepStrictEqual(
        unread.map(({ seq }: { readonly seq: number }) => seq),
        [2, 3]
      )
    })
  )
})

class Torn extends Schema.TaggedError<Torn>()("Torn", {}) {}

const pack = Step.make("pack", {
  error: Torn,
  recover: { Torn: Strategy.manual("Is the box mended?") },
  run: Effect.fail(new Torn())
})
const Pack = Workflow.make("pack", { error: Torn }, () => pack)

describe("recovery runs RUN, of a run with a question", () => {
  it.scopedLive("prints the answers and a command that a shell runs as it is", () =>
    Effect.gen(function* () {
      const { cli, shell, storage } = yield* place
      yield* Effect.provide(Effect.flip(Workflow.execute(Pack, { id: "box 1" })), storage)
      const { stdout } = yield* cli("runs", "box 1")
      assert.match(stdout, /answers +retry, skip, abort, or value with --value JSON/)
      const [line] = /recovery resolve --run-id 'box 1' --question .* --answer retry --database .*$/m.exec(stdout) ?? []
      const refused = yield* cli("signal", "box 1", "mended")
      assert.deepStrictEqual([refused.code, refused.stdout], [4, ""])
      assert.match(refused.stderr, /it asks question ".*"\. Answer it by recovery resolve\.$/m)
      const { code, stderr } = yield* shell(String(line))
      assert.strictEqual(code, 0, stderr)
    })
  )
})

describe("recovery runs RUN, of a run whose name is like an option, or has a line break", () => {
  it.scopedLive("is shown after --, and prints a command that answers this run and no other", () =>
    Effect.gen(function* () {
      const { cli, database, storage } = yield* place
      for (const id of ["box 1", "box\n1", "--all"]) {
        yield* Effect.provide(Effect.flip(Workflow.execute(Pack, { id })), storage)
      }
      const broken = yield* cli("runs", "box\n1")
      assert.match(broken.stdout, /recovery resolve --run-id \$'box\\0121' /)
      const option = yield* recovery(["runs", "--database", database, "--", "--all"])
      assert.match(option.stdout, /^run +--all$/m)
      assert.match(option.stdout, /recovery resolve --run-id=--all /)
      assert.strictEqual((yield* cli("runs", "--all")).code, 2)
    })
  )
})

const errorOf = ({ stderr }: Result) => JSON.parse(stderr).error

describe("recovery signal", () => {
  it.scopedLive("lists what a run waits for, refuses what does not fit, and sends what fits", () =>
    Effect.gen(function* () {
      const { cli, storage } = yield* place
      yield* Effect.provide(Effect.flip(Workflow.execute(Publish, { id: "post 1" })), storage)
      const shown = yield* cli("runs", "post 1")
      assert.include(shown.stdout, `recovery signal 'post 1' approval '{"by":""}' --id 'chapter 1' --database `)
      const other = yield* cli("resolve", "--run-id", "post 1", "--answer", "skip")
      assert.strictEqual(other.code, 4)
      assert.include(other.stderr, `It waits for signal "approval/chapter 1": send it by recovery signal.`)
      const gone = yield* cli("signal", "post 1", "approval", "@nofile", "--id", "chapter 1")
      assert.strictEqual(gone.code, 2)
      assert.include(gone.stderr, `cannot be read from the file "nofile"`)
      assert.include(shown.stdout, `"required":["by"]`)
      const unfit = yield* cli("signal", "post 1", "approval", `{"by":""}`, "--id", "chapter 1", "--json")
      assert.strictEqual(unfit.code, 4)
      assert.deepInclude(errorOf(unfit), { tag: "ValueRefused" })
      const elsewhere = yield* cli("signal", "post 1", "approval", `{"by":"Ada"}`)
      assert.strictEqual(elsewhere.code, 4)
      assert.include(elsewhere.stderr, `only for "approval/chapter 1"`)
      const sent = yield* cli("signal", "post 1", "approval", `{"by":"Ada"}`, "--id", "chapter 1")
      assert.deepStrictEqual(
        [sent.code, sent.stdout],
        [0, "The signal approval is sent to post 1. A worker or the next execution resumes it.\n"]
      )
      assert.strictEqual((yield* cli("signal", "post 1", "approval", "{}", "--id", "chapter 1")).code, 4)
      const result = yield* Effect.provide(Workflow.execute(Publish, { id: "post 1" }), storage)
      assert.strictEqual(result, "approved by Ada")
    })
  )

  it.scopedLive("refuses a missing run, text that is no JSON, and a database that is read-only", () =>
    Effect.gen(function* () {
      const { cli, storage } = yield* place
      yield* Effect.provide(Effect.flip(Workflow.execute(Publish, { id: "1" })), storage)
      assert.strictEqual((yield* cli("signal", "2", "approval", "{}")).code, 3)
      const text = yield* cli("signal", "1", "approval", "Ada")
      assert.strictEqual(text.code, 2)
      assert.include(text.stderr, "The value of the signal must be JSON")
      assert.strictEqual((yield* cli("signal", "1", "approval", "{}", "--read-only")).code, 4)
    })
  )
})

describe("recovery cancel and terminate", () => {
  it.scopedLive("ask first: without a terminal they need --yes, and change nothing", () =>
    Effect.gen(function* () {
      const { cli, storage } = yield* place
      yield* Effect.provide(Effect.flip(Workflow.execute(Publish, { id: "1" })), storage)
      for (const command of ["cancel", "terminate"]) {
        const refused = yield* cli(command, "1", "--reason", "withdrawn")
        assert.strictEqual(refused.code, 2)
        assert.include(refused.stderr, "add --yes")
      }
      const { status } = yield* Effect.provide(Workflow.status("1"), storage)
      assert.strictEqual(status, "suspended")
    })
  )

  it.scopedLive("end the run with the reason and who asked, which the list shows", () =>
    Effect.gen(function* () {
      const { cli, storage } = yield* place
      yield* Effect.provide(Effect.flip(Workflow.execute(Publish, { id: "1" })), storage)
      yield* Effect.provide(Effect.flip(Workflow.execute(Publish, { id: "2" })), storage)
      const requested = yield* cli("cancel", "1", "--reason", "withdrawn", "--by", "ada", "--yes")
      assert.strictEqual(requested.code, 0, requested.stderr)
      assert.include((yield* cli("runs", "1")).stdout, "withdrawn (ada)")
      const ended = yield* cli("terminate", "2", "--reason", "stuck", "--by", "ada", "--yes")
      assert.strictEqual(ended.code, 0, ended.stderr)
      const listed = yield* cli("runs", "--status", "cancelled")
      assert.match(listed.stdout, /cancelled .* stuck \(ada\)/)
      assert.strictEqual((yield* cli("cancel", "2", "--reason", "again", "--yes")).code, 4)
      const missing = yield* cli("cancel", "3", "--reason", "none", "--yes")
      assert.strictEqual(missing.code, 3)
      assert.include(missing.stderr, "recovery runs shows the runs")
      assert.strictEqual((yield* cli("cancel", "1", "--reason", "none", "--yes", "--read-only")).code, 4)
    })
  )
})

describe("recovery hold and release", () => {
  it.scopedLive("keep a run from being executed, with the reason wherever it is shown, until it is released", () =>
    Effect.gen(function* () {
      const { cli, storage } = yield* place
      const execute = Effect.provide(Effect.flip(Workflow.execute(Publish, { id: "1" })), storage)
      yield* execute
      assert.strictEqual((yield* cli("hold", "1", "--reason", "look first")).code, 2)
      const held = yield* cli("hold", "1", "--reason", "look first", "--by", "ada", "--yes")
      assert.strictEqual(held.code, 0, held.stderr)
      assert.strictEqual((yield* execute)._tag, "RunHeld")
      for (const args of [
        ["runs", "1"],
        ["runs", "--status", "held"]
      ]) {
        assert.include((yield* cli(...args)).stdout, "look first")
      }
      assert.strictEqual((yield* cli("release", "1", "--yes")).stdout, "The run 1 is released.\n")
      assert.strictEqual((yield* cli("release", "1", "--yes")).stdout, "The run 1 is not on hold.\n")
      assert.strictEqual((yield* execute)._tag, "RunSuspended")
    })
  )
})

describe("recovery adopt", () => {
  /** A configuration that has these versions of the workflow, each with its first step. */
  const configure = (folder: string, versions: Readonly<Record<string, string>>) =>
    Effect.sync(() => {
      const door = (name: string) => JSON.stringify(path.resolve(`dist/node/${name}.js`))
      fs.symlinkSync(path.resolve("node_modules"), path.join(folder, "node_modules"))
      const config = path.join(folder, "recovery.config.mjs")
      fs.writeFileSync(
        config,
        `
import { Effect, Schema } from "effect"
import { Signal, Step, Workflow } from ${door("index")}
import { Operator } from ${door("operate")}
import { SqliteStorage } from ${door("sqlite")}

const Paid = Signal.make("paid", Schema.String)
const workflows = Object.entries(${JSON.stringify(versions)}).map(([version, step]) =>
  Workflow.make("order", { version }, () =>
    Effect.zipRight(Step.make(step, { run: Effect.die("no step runs") }), Effect.asVoid(Paid.wait()))
  )
)
export default Operator.define({ storage: SqliteStorage.layer({ filename: "recovery.db" }), workflows })
`
      )
      return ["--config", config]
    })

  const Paid = Signal.make("paid", Schema.String)
  const order = (step: string) =>
    Workflow.make("order", { version: "1" }, () =>
      Effect.zipRight(Step.make(step, { run: Effect.void }), Effect.asVoid(Paid.wait()))
    )

  /** Two runs of version 1, of which the first began with another step than the second. */
  const setup = (versions: Readonly<Record<string, string>>) =>
    Effect.gen(function* () {
      const { folder, recovery } = yield* home
      const storage = SqliteStorage.layer({ filename: path.join(folder, "recovery.db") })
      yield* Effect.provide(Effect.flip(Workflow.execute(order("check"), { id: "unfit" })), storage)
      yield* Effect.provide(Effect.flip(Workflow.execute(order("reserve"), { id: "fit" })), storage)
      const config = yield* configure(folder, versions)
      const versionsOf = Effect.map(Effect.provide(Workflow.list({ workflow: "order" }), storage), (all) =>
        all.map(({ id, version }) => `${id} ${version}`)
      )
      return { versionsOf, adopt: (...args: ReadonlyArray<string>) => recovery(["adopt", ...args, ...config]) }
    })

  it.scopedLive("moves the runs that fit to the version of the configuration, and ends with 1 if one does not", () =>
    Effect.gen(function* () {
      const { adopt, versionsOf } = yield* setup({ 2: "reserve" })
      const asked = yield* adopt("order", "--from", "1")
      assert.strictEqual(asked.code, 2, asked.stderr)
      assert.include(asked.stderr, "add --yes")
      assert.deepStrictEqual(yield* versionsOf, ["fit 1", "unfit 1"])
      const moved = yield* adopt("order", "--from", "1", "--yes")
      assert.strictEqual(moved.code, 1, moved.stderr)
      assert.match(moved.stdout, /fit +adopted by version 2/)
      assert.match(moved.stdout, /unfit +refused: ReplayMismatch: .*check/)
      assert.include(moved.stderr, "Not adopted, and unchanged: unfit")
      assert.deepStrictEqual(yield* versionsOf, ["fit 2", "unfit 1"])
      const again = yield* adopt("order", "--from", "1", "--yes", "--json")
      const { adopted, refused } = JSON.parse(again.stdout)
      assert.deepStrictEqual([again.code, adopted, refused[0].tag], [1, [], "ReplayMismatch"])
      const none = yield* adopt("order", "--from", "0", "--yes")
      assert.deepStrictEqual([none.code, none.stdout.trim()], [0, "workflow order has no open runs of version 0"])
    })
  )

  it.scopedLive("is refused if the configuration has no such version, or several without --to", () =>
    Effect.gen(function* () {
      const { adopt, versionsOf } = yield* setup({ 1: "reserve", 2: "reserve", 3: "check" })
      const refusals = [
        [["other", "--from", "1"], "There is no workflow of this name"],
        [["order", "--from", "1"], "Several versions could take them"],
        [["order", "--from", "1", "--to", "4"], "Known versions: 1, 2, 3."],
        [["order", "--from", "1", "--to", "1"], "They have the version that they would move to"]
      ] as const
      for (const [args, reason] of refusals) {
        const refused = yield* adopt(...args, "--yes", "--json")
        assert.strictEqual(refused.code, 4, refused.stderr)
        assert.strictEqual(errorOf(refused).tag, "AdoptionRefused")
        assert.include(errorOf(refused).message, reason)
      }
      assert.deepStrictEqual(yield* versionsOf, ["fit 1", "unfit 1"])
      assert.strictEqual((yield* adopt("order", "--from", "1", "--to", "2", "--yes")).code, 1)
      assert.strictEqual((yield* adopt("order", "--from", "1", "--to", "3", "--yes")).code, 0)
      assert.deepStrictEqual(yield* versionsOf, ["fit 2", "unfit 3"])
    })
  )
})

describe("recovery runs", () => {
  it.scopedLive("filters by labels and time, and ends a full page with the next one", () =>
    Effect.gen(function* () {
      const { cli, storage } = yield* place
      for (const id of ["a1", "b2", "c3"]) {
        const tenant = id === "b2" ? "other" : "acme"
        yield* Effect.provide(Effect.flip(Workflow.execute(Publish, { id, labels: { tenant } })), storage)
      }
      const acme = yield* cli("runs", "--label", "tenant=acme", "--since", "1h")
      assert.match(acme.stdout, /c3[\s\S]*a1/)
      assert.notInclude(acme.stdout, "b2")
      assert.include((yield* cli("runs", "--until", "1h")).stdout, "no runs")
      const first = yield* cli("runs", "--limit", "2")
      const [, before = ""] = /--before (\d+)/.exec(first.stdout) ?? []
      const second = yield* cli("runs", "--limit", "2", "--before", before)
      assert.include(second.stdout, "a1")
      assert.notInclude(second.stdout, "b2")
      const wrong = yield* cli("runs", "--since", "yesterday")
      assert.deepStrictEqual([wrong.code, wrong.stderr.includes("--since must be a time such as")], [2, true])
      assert.include(
        (yield* cli("queues")).stdout,
        "no queues: a queue is listed once a run is in it or a worker has it"
      )
      assert.include((yield* cli("schedules", "list")).stdout, "no schedules")
      assert.strictEqual((yield* cli("schedules", "pause", "nightly")).code, 3)
    })
  )
})

describe("recovery runs", () => {
  it.scopedLive("says which process advances a run", () =>
    Effect.gen(function* () {
      const { cli, storage } = yield* place
      const begun = yield* Deferred.make<void>()
      const forEver = Step.make("wait", {
        run: () => Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never)
      })
      const Long = Workflow.make("long", {}, () => forEver())
      const execution = yield* Effect.fork(Effect.provide(Workflow.execute(Long, { id: "long 1" }), storage))
      yield* Deferred.await(begun)
      const expected = new RegExp(`process ${process.pid} on \\S+$`, "m")
      assert.match((yield* cli("runs")).stdout, expected)
      assert.match((yield* cli("runs", "long 1")).stdout, expected)
      yield* Fiber.interrupt(execution)
      assert.notMatch((yield* cli("runs")).stdout, expected)
    })
  )
})
