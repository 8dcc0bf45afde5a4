import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type Home, home } from "./support.js"

/** A configuration that shows by a file whether it was executed. Its operator answers no runs. */
const writeConfig = (folder: string, name = "recovery.config.mjs"): string => {
  fs.mkdirSync(folder, { recursive: true })
  const file = path.join(folder, name)
  fs.writeFileSync(
    file,
    `import * as fs from "node:fs"
fs.writeFileSync(${JSON.stringify(path.join(folder, "executed"))}, "")
export default () => ({ ask: async () => ({ ok: true, value: [] }), close: async () => {} })
`
  )
  return file
}

const isExecuted = (folder: string): boolean => fs.existsSync(path.join(folder, "executed"))

const test = (name: string, body: (home: Home) => Effect.Effect<void, unknown, Scope.Scope>) =>
  it.scopedLive(name, () => Effect.flatMap(home, body))

/** Who may give files to others. */
const isRoot = process.getuid?.() === 0

describe("the configuration of the command line", () => {
  test("is looked for up to the root of the project and no further", ({ folder, recovery }) =>
    Effect.gen(function* () {
      for (const mark of ["package.json", ".git", "pnpm-workspace.yaml"]) {
        const above = path.join(folder, mark.replace(".", ""))
        writeConfig(above)
        const project = path.join(above, "project")
        const deep = path.join(project, "src", "deep")
        fs.mkdirSync(deep, { recursive: true })
        fs.writeFileSync(path.join(project, mark), "{}")
        const outside = yield* recovery(["runs", "--json"], { cwd: deep })
        assert.strictEqual(outside.code, 0, outside.stderr)
        assert.isFalse(isExecuted(above), mark)
        writeConfig(project)
        const inside = yield* recovery(["runs", "--json"], { cwd: deep })
        assert.strictEqual(inside.code, 0, inside.stderr)
        assert.isTrue(isExecuted(project), mark)
        assert.isFalse(isExecuted(above), mark)
      }
    }))

  test("is not looked for above the home of the user", ({ folder, recovery }) =>
    Effect.gen(function* () {
      writeConfig(folder)
      const user = path.join(folder, "user")
      const cwd = path.join(user, "notes")
      fs.mkdirSync(cwd, { recursive: true })
      const { code, stderr } = yield* recovery(["runs", "--json"], { cwd, env: { HOME: user } })
      assert.strictEqual(code, 0, stderr)
      assert.isFalse(isExecuted(folder))
    }))

  test("is not executed if other users may write to it or to its folder, unless it is named", ({ folder, recovery }) =>
    Effect.gen(function* () {
      const file = writeConfig(folder)
      const refused = (place: string) =>
        Effect.gen(function* () {
          const { code, stderr, stdout } = yield* recovery(["runs", "--json"])
          assert.deepStrictEqual([code, stdout], [6, ""])
          const { error } = JSON.parse(stderr)
          assert.strictEqual(error.tag, "ConfigNotTrusted")
          assert.include(error.message, `${place} may be written by other users`)
          assert.include(error.message, `--config ${file}`)
          assert.isFalse(isExecuted(folder))
        })
      fs.chmodSync(file, 0o666)
      yield* refused(file)
      fs.chmodSync(file, 0o644)
      fs.chmodSync(folder, 0o777)
      yield* refused(folder)
      const named = yield* recovery(["runs", "--json", "--config", file])
      assert.strictEqual(named.code, 0, named.stderr)
      assert.isTrue(isExecuted(folder))
    }))

  test("is not executed if a link leads to a file that other users may write to", ({ folder, recovery }) =>
    Effect.gen(function* () {
      const shared = path.join(folder, "shared")
      const file = writeConfig(shared)
      fs.chmodSync(file, 0o666)
      const project = path.join(folder, "project")
      fs.mkdirSync(project)
      fs.symlinkSync(file, path.join(project, "recovery.config.mjs"))
      const { code, stderr } = yield* recovery(["runs"], { cwd: project })
      assert.strictEqual(code, 6)
      assert.include(stderr, `${file} may be written by other users (mode 0666)`)
      assert.isFalse(isExecuted(shared))
    }))

  it.scopedLive.skipIf(!isRoot)("is not executed if another user owns it (needs root, to give the file away)", () =>
    Effect.gen(function* () {
      const { folder, recovery } = yield* home
      const file = writeConfig(folder)
      for (const place of [file, folder]) {
        fs.chownSync(place, 12_345, 12_345)
        const { code, stderr } = yield* recovery(["runs"])
        assert.strictEqual(code, 6)
        assert.include(stderr, `${place} belongs to another user (uid 12345, yours is 0)`)
        assert.isFalse(isExecuted(folder))
        fs.chownSync(place, 0, 0)
      }
      assert.strictEqual((yield* recovery(["runs"])).code, 0)
    })
  )

  test("of a user's own group is executed, as umask 002 leaves it", ({ folder, recovery }) =>
    Effect.gen(function* () {
      const file = writeConfig(folder)
      const [uid, gid] = [process.getuid?.(), process.getgid?.()]
      fs.chmodSync(file, 0o664)
      const { code } = yield* recovery(["runs"])
      // A group of several users may write to it: their numbers differ.
      assert.strictEqual(code, uid === gid ? 0 : 6)
    }))

  test("may be TypeScript, also where Node alone does not read it, and is executed once", ({ folder, recovery }) =>
    Effect.gen(function* () {
      const file = path.join(folder, "recovery.config.ts")
      const body = `export default () => ({ ask: async (): Promise<unknown> => ({ ok: true, value: [] }), close: async () => {} })\n`
      for (const head of ["interface Some { readonly x: number }\n", "enum Some { x }\n"]) {
        fs.writeFileSync(file, head + body)
        const { code, stderr, stdout } = yield* recovery(["runs", "--json"])
        assert.deepStrictEqual([code, stdout, stderr], [0, "[]\n", ""], head)
      }
      const counted = `import * as fs from "node:fs"\nfs.appendFileSync("times", "x")\nthrow new Error("not today")\n`
      fs.writeFileSync(file, counted + body)
      const thrown = yield* recovery(["runs"])
      assert.strictEqual(thrown.code, 6)
      assert.include(thrown.stderr, `${file} cannot be loaded: not today`)
      assert.strictEqual(fs.readFileSync(path.join(folder, "times"), "utf8"), "x")
    }))

  test("is named with --verbose, and by the errors that come from it", ({ folder, recovery }) =>
    Effect.gen(function* () {
      const file = writeConfig(folder)
      const quiet = yield* recovery(["runs"])
      assert.deepStrictEqual([quiet.code, quiet.stderr], [0, ""])
      const verbose = yield* recovery(["runs", "--verbose"])
      assert.strictEqual(verbose.stderr, `recovery: uses the configuration ${file}\n`)
      const database = path.join(folder, "some.db")
      yield* recovery(["report", "--message", "seen", "--database", database])
      const other = yield* recovery(["runs", "--verbose", "--database", database])
      assert.strictEqual(other.stderr, `recovery: uses the database ${database}\n`)
      fs.writeFileSync(
        file,
        `const failing = { ok: false, kind: "Storage", tag: "StorageError", message: "The disk is full." }
export default () => ({ ask: async () => failing, close: async () => {} })`
      )
      const failed = yield* recovery(["runs"])
      assert.deepStrictEqual([failed.code, failed.stderr], [5, `recovery: The disk is full. (${file})\n`])
    }))
})
