import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { temporaryFolder } from "../support/files.js"

const program = `
import { Effect } from "effect"

export const body = Effect.gen(function* () {
  const at = Date.now()
  const dice = Math.random()
  yield* Effect.promise(() => fetch("https://example.com"))
  setTimeout(() => at + dice, 10)
})
`

it.scopedLive("the rules on the page of replay find the clock, random numbers, requests and timers in a body", () =>
  Effect.gen(function* () {
    const page = fs.readFileSync("docs/concepts/replay.md", "utf8")
    const [, settings = ""] = /```json\n([\s\S]*?)```/.exec(page) ?? []
    const { plugins } = JSON.parse(settings).compilerOptions
    const folder = yield* temporaryFolder
    fs.symlinkSync(path.resolve("node_modules"), path.join(folder, "node_modules"))
    const compilerOptions = {
      plugins,
      module: "NodeNext",
      target: "ES2022",
      strict: true,
      skipLibCheck: true,
      types: []
    }
    fs.writeFileSync(path.join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["report.ts"] }))
    fs.writeFileSync(path.join(folder, "report.ts"), program)
    const checker = path.resolve("node_modules/@effect/language-service/cli.js")
    const args = ["diagnostics", "--project", path.join(folder, "tsconfig.json"), "--format", "text"]
    const { stdout } = spawnSync(process.execPath, [checker, ...args], { encoding: "utf8", cwd: folder })
    const found = [...stdout.matchAll(/report\.ts\S* error effect\((\w+)\)/g)].map(([, rule]) => rule)
    assert.deepStrictEqual(found.sort(), [
      ...["globalDateInEffect", "globalFetchInEffect", "globalRandomInEffect", "globalTimersInEffect"]
    ])
  })
)
