import { execFile } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { inspect, promisify } from "node:util"
import { assert, describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { type Example, gallery } from "../../examples/gallery.js"
import { temporaryFolder } from "../support/files.js"

const root = fileURLToPath(new URL("../../", import.meta.url))
const examples = Object.entries(gallery)
const shown = (result: unknown) => (typeof result === "string" ? result : inspect(result, { depth: null }))

/** `npm run example` without npm, in a folder of its own: some examples write a file. */
const runExample = (folder: string, args: ReadonlyArray<string>) =>
  Effect.promise(async () => {
    const tsx = path.join(root, "node_modules/tsx/dist/cli.mjs")
    const command = [tsx, "--tsconfig", path.join(root, "tsconfig.json"), path.join(root, "examples/run.ts"), ...args]
    return await promisify(execFile)(process.execPath, command, { cwd: folder }).catch(
      (error: { readonly code: number; readonly stdout: string; readonly stderr: string }) => error
    )
  })

describe("the gallery of examples", () => {
  for (const [name, { load, result }] of examples) {
    if (load === undefined) continue
    it.live(`${name} returns what the gallery shows`, () =>
      Effect.gen(function* () {
        const { program } = yield* Effect.promise(load)
        assert.deepStrictEqual(yield* program, result)
      })
    )
  }

  it.scopedLive("prints purpose and output of an example by its name", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      // Those without a program print by themselves. One that has a program stands for the others.
      const chosen = examples.filter(
        ([name, { load }]) => load === undefined || name === "transactions/without-storage"
      )
      yield* Effect.forEach(
        chosen,
        ([name, { purpose, result }]) =>
          Effect.map(runExample(folder, [name]), ({ stdout }) =>
            assert.strictEqual(stdout, `${purpose}.\n\n${shown(result)}\n`)
          ),
        { concurrency: 2 }
      )
    })
  )

  it.scopedLive("lists the examples, and refuses a name that is none", () =>
    Effect.gen(function* () {
      const { stdout, ...none } = yield* runExample(yield* temporaryFolder, ["none"])
      for (const [name, { purpose }] of examples) assert.match(stdout, new RegExp(`^${name} +${purpose}$`, "m"))
      assert.include(none, { code: 1 })
      assert.include(none.stderr, 'There is no example "none".')
    })
  )

  it("holds each example that has a program", () => {
    const files = fs
      .readdirSync(path.join(root, "examples"), { recursive: true, encoding: "utf8" })
      .map((file) => file.replaceAll(path.sep, "/"))
      .filter((file) => file.endsWith(".ts") && !file.startsWith("langgraph/"))
      .filter((file) => /^export const program\b/m.test(fs.readFileSync(path.join(root, "examples", file), "utf8")))
    // Needs a file of its own; its test is databases.test.ts.
    const elsewhere = ["databases/sqlite/shop"]
    const names = files.map((file) => file.replace(/\.ts$/, "")).filter((name) => !elsewhere.includes(name))
    const listed = examples.filter(([, { load }]) => load !== undefined).map(([name]) => name)
    assert.deepStrictEqual(names.sort(), listed.sort())
  })

  // Update it with npx vitest run test/examples/gallery.test.ts -u
  it("is what docs/examples.md shows", () => expect(page()).toMatchFileSnapshot("../../docs/examples.md"))
})

const titles: Readonly<Record<string, string>> = {
  "": "Begin",
  policies: "Policies",
  transactions: "Transactions",
  workflows: "Workflows",
  files: "Files",
  operate: "Operating",
  "coming-from": "Coming from others"
}

const entry = ([name, { purpose, result }]: readonly [string, Example]) =>
  [
    `### ${name}`,
    "",
    `${purpose}. [examples/${name}.ts](../examples/${name}.ts)`,
    "",
    "```sh",
    `npm run example ${name}`,
    "```",
    "",
    "```text",
    shown(result),
    "```",
    ""
  ].join("\n")

const page = () =>
  [
    "# Examples",
    "",
    "Each example is a whole program of the repository, and its output is checked by a test. Run one in a clone, after `npm ci`, with",
    "`npm run example NAME`; without a name it lists them.",
    "",
    ...Object.entries(titles).flatMap(([folder, title]) => [
      `## ${title}`,
      "",
      ...examples.filter(([name]) => (name.includes("/") ? name.split("/")[0] : "") === folder).map(entry)
    ]),
    "## Whole applications",
    "",
    "| Example | Run it | What it shows |",
    "| --- | --- | --- |",
    "| [main-job](../examples/main-job/main.ts) | `npm start` | a release is packed, verified and uploaded; killed twice, and completes |",
    "| [cluster](../examples/cluster/main.ts) | `npm run start:cluster` | runs that `@effect/cluster` places on several processes: [the page](durable/cluster.md) |",
    "| [complete-task](../examples/complete-task/completeTask.ts) | `npx tsx examples/complete-task/main.ts ROOT AGENT TASK` | a command that moves a task between folders under locks, all or nothing |",
    "| [start/order](../examples/start/order.ts) | [ten minutes](start.md) | a durable order that is killed, and approved from the command line |",
    "| [databases/sqlite](../examples/databases/sqlite/shop.ts) | `npx tsx examples/databases/sqlite/shop.ts` | a shop on `@effect/sql-sqlite-node` gets durable orders: [the page](durable/storage.md) |",
    "| [databases/postgres](../examples/databases/postgres/worker.ts) | `DATABASE_URL=… npx tsx examples/databases/postgres/worker.ts` | the same on Postgres, with workers on many machines |",
    "| [langgraph](../examples/langgraph/RecoverySaver.ts) | `npm run test:langgraph` | a checkpointer of LangGraph on the storage of this library |",
    "| [download](../examples/download.ts), [verified-download](../examples/files/verified-download.ts) | their tests run them | a download that continues at the byte where it was cut off, and one that is checked by its digest |",
    "| [encrypted-storage](../examples/workflows/encrypted-storage.ts) | its test runs it | everything that a storage keeps, encrypted |",
    ""
  ].join("\n")
