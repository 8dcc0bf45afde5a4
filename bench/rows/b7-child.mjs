/**
 * One process of B7: a saga of five steps with a failing sixth. It kills
 * itself with SIGKILL right after the n-th line of its ledger, if its arguments say so.
 */
import * as fs from "node:fs"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"

const [engine, folder, killAfter] = process.argv.slice(2)

const ledger = `${folder}/ledger`

/** On disk before the program continues. */
const note = (line) =>
  Effect.suspend(() => {
    const file = fs.openSync(ledger, "a")
    fs.writeSync(file, `${line}\n`)
    fs.fsyncSync(file)
    fs.closeSync(file)
    const lines = fs.readFileSync(ledger, "utf8").trim().split("\n").length
    if (lines !== Number(killAfter)) return Effect.void
    process.kill(process.pid, "SIGKILL")
    return Effect.never
  })

class NoStock extends Schema.TaggedError()("NoStock", { item: Schema.String }) {}

const names = ["one", "two", "three", "four", "five"]

const ours = async () => {
  const { Step, Transaction, Workflow } = await import("../../dist/node/index.js")
  const { SqliteStorage } = await import("../../dist/node/sqlite.js")
  const step = (name) => Step.make(name, { run: note(`do ${name}`), compensate: () => note(`undo ${name}`) })
  const sixth = Step.make("sixth", {
    error: NoStock,
    run: Effect.zipRight(note("do sixth"), new NoStock({ item: "book" }))
  })
  const Saga = Workflow.make("saga", { error: NoStock }, () =>
    Effect.forEach(names, step, { discard: true }).pipe(Effect.zipRight(sixth), Transaction.run())
  )
  return Effect.provide(Workflow.execute(Saga, { id: "1" }), SqliteStorage.layer({ filename: `${folder}/runs.db` }))
}

const theirs = async () => {
  const ClusterWorkflowEngine = await import("@effect/cluster/ClusterWorkflowEngine")
  const SingleRunner = await import("@effect/cluster/SingleRunner")
  const SqliteClient = await import("@effect/sql-sqlite-node/SqliteClient")
  const Activity = await import("@effect/workflow/Activity")
  const Workflow = await import("@effect/workflow/Workflow")
  const Logger = await import("effect/Logger")
  const LogLevel = await import("effect/LogLevel")
  const Saga = Workflow.make({
    name: "saga",
    payload: { id: Schema.String },
    success: Schema.Void,
    error: NoStock,
    idempotencyKey: ({ id }) => id
  })
  // As its documentation has it: an activity with a compensation.
  const step = (name) =>
    Activity.make({ name, execute: note(`do ${name}`) }).pipe(Saga.withCompensation(() => note(`undo ${name}`)))
  const sixth = Activity.make({
    name: "sixth",
    error: NoStock,
    execute: Effect.zipRight(note("do sixth"), new NoStock({ item: "book" }))
  })
  const handler = Saga.toLayer(() => Effect.zipRight(Effect.forEach(names, step, { discard: true }), sixth))
  const layer = handler.pipe(
    Layer.provideMerge(ClusterWorkflowEngine.layer),
    Layer.provideMerge(SingleRunner.layer({ runnerStorage: "memory" })),
    Layer.provide(SqliteClient.layer({ filename: `${folder}/runs.db` })),
    Layer.provide(Logger.minimumLogLevel(LogLevel.None))
  )
  return Effect.provide(Saga.execute({ id: "1" }), layer)
}

const exit = await Effect.runPromiseExit(await (engine === "ours" ? ours() : theirs()))
const outcome = Exit.isSuccess(exit) ? "success" : Cause.pretty(exit.cause).split("\n")[0]
fs.writeFileSync(`${folder}/outcome`, outcome)
process.exit(0)
