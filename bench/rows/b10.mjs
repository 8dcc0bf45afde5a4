/**
 * B10: the start of the command line, against a bare node: its help, runs of a
 * database, and runs by a configuration in JavaScript and in TypeScript. Beside
 * it what a program takes to import `effect`, and the main door with it.
 */
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { goal, interleave, temporaryFolder } from "../harness.mjs"

const rounds = 9

const root = fileURLToPath(new URL("../../", import.meta.url))

const configuration = `
import { Effect } from "effect"
import { Step, Workflow } from "effect-recovery"
import { Operator } from "effect-recovery/operate"
import { SqliteStorage } from "effect-recovery/sqlite"

const backup = Step.make("backup", { run: Effect.log("backing up") })
const Nightly = Workflow.make("nightly", {}, () => backup)
export default Operator.define({ storage: SqliteStorage.layer({ filename: "recovery.db" }), workflows: [Nightly] })
`

/** A project that has installed the library. */
const project = () => {
  const folder = temporaryFolder()
  fs.mkdirSync(path.join(folder, "node_modules"))
  for (const name of ["effect", "@effect", "better-sqlite3", "jiti"]) {
    fs.symlinkSync(path.join(root, "node_modules", name), path.join(folder, "node_modules", name))
  }
  fs.symlinkSync(root, path.join(folder, "node_modules", "effect-recovery"))
  fs.writeFileSync(path.join(folder, "package.json"), `{"type":"module"}`)
  for (const kind of ["ts", "mjs"]) fs.writeFileSync(path.join(folder, `some.config.${kind}`), configuration)
  for (const name of ["effect", "effect-recovery"])
    fs.writeFileSync(path.join(folder, `${name}.mjs`), `import "${name}"`)
  return folder
}

const millisOf = (folder, args) => () =>
  new Promise((resolve, reject) => {
    const started = performance.now()
    const child = spawn(process.execPath, args, { cwd: folder, stdio: ["ignore", "ignore", "inherit"] })
    child.once("exit", (code) => {
      if (code === 0) resolve(performance.now() - started)
      else reject(new Error(`node ${args.join(" ")} ended with ${code}`))
    })
  })

const bare = "node -e 0"

/** In milliseconds above a bare node. */
const limits = { "recovery --help": 120, "recovery runs, configuration in TypeScript": 400 }

export const run = async () => {
  const folder = project()
  const binary = path.join(root, "dist/recovery.mjs")
  // A command that reads creates no database.
  await millisOf(folder, [binary, "report", "--message", "failed", "--database", "recovery.db"])()
  const values = await interleave(
    {
      [bare]: millisOf(folder, ["-e", "0"]),
      "node, that loads effect": millisOf(folder, ["effect.mjs"]),
      "node, that loads effect-recovery, and effect with it": millisOf(folder, ["effect-recovery.mjs"]),
      "node, that loads the configuration in JavaScript": millisOf(folder, ["some.config.mjs"]),
      "recovery --help": millisOf(folder, [binary, "--help"]),
      "recovery runs --help": millisOf(folder, [binary, "runs", "--help"]),
      "recovery runs, database": millisOf(folder, [binary, "runs", "--database", "recovery.db"]),
      "recovery runs, configuration in JavaScript": millisOf(folder, [binary, "runs", "--config", "some.config.mjs"]),
      "recovery runs, configuration in TypeScript": millisOf(folder, [binary, "runs", "--config", "some.config.ts"])
    },
    rounds
  )
  fs.rmSync(folder, { recursive: true, force: true })
  const added = (name) => values[name].median - values[bare].median
  return {
    title: "B10  start of the command line",
    table: [
      ["", "median", "added"],
      ...Object.entries(values).map(([name, { median }]) => [
        name,
        `${median.toFixed(0)} ms`,
        name === bare ? "" : `${added(name).toFixed(0)} ms`
      ])
    ],
    goals: Object.entries(limits).map(([name, limit]) =>
      goal(`${name}, above a bare node`, added(name), { atMost: limit, unit: "ms", beside: values[bare].median })
    ),
    values
  }
}
