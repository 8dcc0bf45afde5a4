import { execFile } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { temporaryFolder } from "../support/files.js"

const root = fileURLToPath(new URL("../../", import.meta.url))

/** A folder as a reader has it after the page's `npm install`, with this library from its sources. */
const prepare = (folder: string) => {
  const paths = { "effect-recovery": [`${root}src/index.ts`], "effect-recovery/*": [`${root}src/*.ts`] }
  fs.writeFileSync(
    path.join(folder, "tsconfig.json"),
    JSON.stringify({ compilerOptions: { module: "NodeNext", paths } })
  )
  fs.writeFileSync(path.join(folder, "package.json"), JSON.stringify({ type: "module" }))
  fs.symlinkSync(path.join(root, "node_modules"), path.join(folder, "node_modules"))
  fs.mkdirSync(path.join(folder, "bin"))
  const npx = `#!/bin/sh\nshift\nexec "${process.execPath}" "${root}dist/recovery.mjs" "$@"\n`
  fs.writeFileSync(path.join(folder, "bin/npx"), npx, { mode: 0o755 })
}

/** Runs a line of the page as it stands there. A process that was killed has its output all the same. */
const runLine = (folder: string, line: string) =>
  Effect.promise(async () => {
    const env = { ...process.env, PATH: `${folder}/bin:${path.dirname(process.execPath)}:${process.env["PATH"]}` }
    const ended = await promisify(execFile)("sh", ["-c", `exec env ${line}`], { cwd: folder, env }).catch(
      (error: { readonly stdout: string; readonly stderr: string }) => error
    )
    return ended.stdout + ended.stderr
  })

// Its commands are those of a POSIX shell.
it.scopedLive.skipIf(process.platform === "win32")("the page of ten minutes prints what it says, step by step", () =>
  Effect.gen(function* () {
    const page = fs.readFileSync(path.join(root, "docs/start.md"), "utf8")
    const folder = yield* temporaryFolder
    prepare(folder)
    for (const [, file = "", code = ""] of page.matchAll(/^<!-- examples\/(.+) -->\n```ts\n([\s\S]*?)^```/gm)) {
      const name = path.basename(file)
      assert.include(page, `Save this as \`${name}\``)
      fs.writeFileSync(path.join(folder, name), code)
    }
    const steps = [...page.matchAll(/^```sh\n(.+)\n```\n\n```text\n([\s\S]*?)^```/gm)]
    assert.strictEqual(steps.length, 7)
    for (const [, line = "", expected] of steps) assert.strictEqual(yield* runLine(folder, line), expected, line)
  })
)
