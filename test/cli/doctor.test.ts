import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Finding } from "../../src/cli/doctor/finding.js"
import { clockOfFile, clockOfServer, loadable, permissions, runtime } from "../../src/cli/doctor/machine.js"
import { home, type Result } from "./support.js"

const read = ({ stdout }: Result) => {
  const findings: ReadonlyArray<Finding> = JSON.parse(stdout)
  return Object.fromEntries(findings.map((finding) => [finding.check, finding]))
}

describe("recovery doctor", () => {
  it.scopedLive("works without a configuration and a database, and creates nothing", () =>
    Effect.gen(function* () {
      const { folder, recovery } = yield* home
      const given = yield* recovery(["doctor", "--json"])
      assert.strictEqual(given.code, 0, given.stderr)
      const found = read(given)
      assert.deepStrictEqual(Object.keys(found), [
        ...["runtime", "drivers", "packages", "configuration", "database", "clock", "space"]
      ])
      assert.include(found["runtime"]?.message, process.versions.node)
      assert.include(found["database"]?.message, "does not exist yet")
      assert.deepStrictEqual(fs.readdirSync(folder), [])
      const text = yield* recovery(["doctor"])
      assert.match(text.stdout, /^ok {7}runtime: Node /)
      // biome-ignore lint/suspicious/noControlCharactersInRegex: styles begin with one
      assert.notMatch(text.stdout, /\u001b/)
    })
  )

  it.scopedLive("reads the version of a database, and says which mode keeps it private", () =>
    Effect.gen(function* () {
      const { folder, recovery } = yield* home
      const file = path.join(folder, "some.db")
      assert.strictEqual((yield* recovery(["report", "--message", "m", "--database", file])).code, 0)
      const whole = read(yield* recovery(["doctor", "--json", "--database", file]))
      assert.match(whole["tables"]?.message ?? "", /^Version \d+$/)
      assert.deepStrictEqual([whole["database"]?.status, whole["tables"]?.status], ["ok", "ok"])
      fs.chmodSync(file, 0o644)
      const shared = yield* recovery(["doctor", "--json", "--database", file])
      assert.strictEqual(shared.code, 0, "a warning is no failure")
      assert.strictEqual(read(shared)["database"]?.status, "warning")
      assert.strictEqual(read(shared)["database"]?.advice, `chmod 600 ${file}`)
    })
  )

  it.scopedLive("fails with the file, the configuration or the server that cannot be used, and what to do", () =>
    Effect.gen(function* () {
      const { folder, recovery } = yield* home
      const damaged = path.join(folder, "damaged.db")
      fs.writeFileSync(damaged, "no database ".repeat(1_000))
      const throwing = path.join(folder, "throwing.mjs")
      fs.writeFileSync(throwing, `throw new Error("no such module")`)
      const cases = [
        ["tables", /restore the file from a backup/i, "--database", damaged],
        ["database", /is no file/, "--database", folder],
        ["configuration", /no such module/, "--config", throwing],
        ["configuration", /no configuration file/, "--config", path.join(folder, "none.mjs")],
        ["storage", /cannot be reached/, "--database", "postgres://user:secret@127.0.0.1:1/none"]
      ] as const
      for (const [check, message, ...args] of cases) {
        const given = yield* recovery(["doctor", "--json", ...args])
        assert.strictEqual(given.code, 1, args.join(" "))
        const finding = read(given)[check]
        assert.strictEqual(finding?.status, "failing", given.stdout)
        assert.match(finding?.message ?? "", message)
        assert.notInclude(given.stdout, "secret@")
        assert.match(JSON.parse(given.stderr).error.message, /^1 of \d+ checks fail\.$/)
      }
      assert.strictEqual(fs.readFileSync(damaged, "utf8"), "no database ".repeat(1_000))
    })
  )

  it.scopedLive("loads the project's configuration, and asks its storage for the time", () =>
    Effect.gen(function* () {
      const { folder, recovery } = yield* home
      const door = (name: string) => JSON.stringify(path.resolve(`dist/node/${name}.js`))
      fs.writeFileSync(
        path.join(folder, "recovery.config.mjs"),
        `import { Storage } from ${door("index")}
         import { Operator } from ${door("operate")}
         export default Operator.define({ storage: Storage.layerMemory })`
      )
      const given = yield* recovery(["doctor", "--json"])
      assert.strictEqual(given.code, 0, given.stdout)
      const found = read(given)
      assert.include(found["configuration"]?.message, "recovery.config.mjs loads")
      assert.deepStrictEqual([found["storage"]?.status, found["clock"]?.status], ["ok", "ok"])
    })
  )
})

describe("what doctor finds", () => {
  it("is a true message on Bun, on Deno and on a Node that is too old", () => {
    assert.strictEqual(runtime({ node: "20.19.0" }).status, "ok")
    assert.strictEqual(runtime({ node: "26.0.0" }).status, "ok")
    assert.strictEqual(runtime({ node: "20.18.3" }).status, "failing")
    assert.strictEqual(runtime({ node: "18.20.0" }).advice, "Install Node 20.19 or later.")
    assert.include(runtime({ node: "22.6.0", bun: "1.2.0" }).message, "FileLock does not work")
    assert.include(runtime({ node: "22.6.0", deno: "2.1.0" }).message, "FileLock does not work")
  })

  it("loads no package whose binary would end Bun or Deno", () => {
    assert.include(loadable({ node: "24.0.0" }), "fs-native-extensions")
    assert.notInclude(loadable({ node: "24.0.0", deno: "2.9.6" }), "fs-native-extensions")
    assert.notInclude(loadable({ node: "24.0.0", bun: "1.4.5" }), "fs-native-extensions")
  })

  it("is by how much the clock of a server differs, beyond what the call itself took", () => {
    assert.strictEqual(clockOfServer(1_000, 1_400, 1_800).status, "ok")
    assert.strictEqual(clockOfServer(1_000, 2_700, 1_800).status, "ok")
    assert.include(clockOfServer(1_000, 4_800, 1_800).message, "3 s ahead of")
    assert.include(clockOfServer(10_000, 4_000, 11_000).message, "6 s behind")
  })

  it.scopedLive("is that the clock was set back, and a folder that is missing", () =>
    Effect.gen(function* () {
      const { folder } = yield* home
      const file = path.join(folder, "some.db")
      fs.writeFileSync(file, "")
      assert.strictEqual(clockOfFile(file, Date.now()).status, "ok")
      assert.include(clockOfFile(file, fs.statSync(file).mtimeMs - 60_000).message, "60 s later")
      assert.strictEqual(permissions(path.join(folder, "a", "b", "c.db")).status, "ok")
    })
  )
})
