import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { home } from "./support.js"

/** Commands that read, or act on something that must exist. */
const commands: ReadonlyArray<ReadonlyArray<string>> = [
  ["dashboard"],
  ["status"],
  ["initiate", "--failure-id", "f"],
  ["initiate", "--failure-id", "f", "--detach"],
  ["rollback", "--checkpoint-id", "c"],
  ["checkpoint", "list"],
  ["checkpoint", "delete", "c"],
  ["runs"],
  ["runs", "--unclaimed"],
  ["signal", "r", "approval", "{}"],
  ["release", "r", "--yes"],
  ["cancel", "r", "--reason", "why", "--yes"],
  ["adopt", "w", "--from", "1", "--yes"],
  ["queues"],
  ["schedules"],
  ["schedules", "pause", "s"],
  ["failures"],
  ["suggest", "--failure-id", "f"],
  ["resolve", "--run-id", "r", "--answer", "retry"],
  ["escalations"],
  ["stats"],
  ["health"],
  ["cleanup"],
  ["check"],
  ["locks"]
]

const error = (stderr: string): { readonly tag: string; readonly message: string } => JSON.parse(stderr).error

const each = <E>(body: (args: ReadonlyArray<string>) => Effect.Effect<void, E>) =>
  Effect.forEach(commands, body, { concurrency: 4, discard: true })

describe("a command that reads, or acts on what must exist", () => {
  it.scopedLive("refuses a database that is missing, or has no tables, and creates nothing", () =>
    Effect.gen(function* () {
      const { folder, recovery } = yield* home
      const [missing, empty] = [path.join(folder, "sub", "missing.db"), path.join(folder, "empty.db")]
      fs.writeFileSync(empty, "")
      yield* each((args) =>
        Effect.gen(function* () {
          const none = yield* recovery([...args, "--json", "--database", missing])
          assert.strictEqual(none.code, 5, `${args.join(" ")}: ${none.stderr}`)
          assert.strictEqual(error(none.stderr).tag, "NoDatabase")
          assert.include(error(none.stderr).message, `There is no database ${missing}: `)
          const bare = yield* recovery([...args, "--json", "--database", empty])
          assert.strictEqual(bare.code, 5, `${args.join(" ")}: ${bare.stderr}`)
          assert.strictEqual(error(bare.stderr).tag, "NoTables")
          assert.include(error(bare.stderr).message, `${empty} has no tables of effect-recovery: `)
        })
      )
      const named = yield* recovery(["runs", "--json"], { env: { RECOVERY_DATABASE: missing } })
      assert.strictEqual(named.code, 5)
      assert.include(error(named.stderr).message, "with RECOVERY_DATABASE")
      const copied = yield* recovery(["copy", "--json", "--from", empty, "--to", missing])
      assert.strictEqual(error(copied.stderr).tag, "NoTables", copied.stderr)
      assert.strictEqual(fs.statSync(empty).size, 0)
      assert.deepStrictEqual(fs.readdirSync(folder), ["empty.db"])
    })
  )

  it.scopedLive("sees the default database as empty while it is missing, and creates nothing", () =>
    Effect.gen(function* () {
      const { folder, recovery } = yield* home
      yield* each((args) =>
        Effect.gen(function* () {
          const given = yield* recovery([...args, "--json"])
          assert.include([0, 3, 4], given.code, `${args.join(" ")}: ${given.stderr}`)
        })
      )
      assert.deepStrictEqual(
        [(yield* recovery(["runs", "--json"])).stdout, (yield* recovery(["runs", "--json", "--read-only"])).stdout],
        ["[]\n", "[]\n"]
      )
      assert.include((yield* recovery(["runs", "--verbose"])).stderr, "recovery.db, which does not exist yet")
      assert.deepStrictEqual(fs.readdirSync(folder), [])
    })
  )
})

describe("a command that records something new", () => {
  it.scopedLive("creates the database, named or not", () =>
    Effect.gen(function* () {
      const { folder, recovery } = yield* home
      for (const [i, args] of [
        ["report", "--message", "no space left"],
        [
          ...["checkpoint", "create", "--repository", "a", "--workflow-name", "b", "--run-id", "c"],
          ...["--commit-sha", "d", "--checkpoint-name", "e"]
        ]
      ].entries()) {
        const file = path.join(folder, "sub", `${i}.db`)
        const made = yield* recovery([...args, "--database", file])
        assert.strictEqual(made.code, 0, made.stderr)
        assert.strictEqual((yield* recovery(["failures", "--database", file])).code, 0)
      }
      const unnamed = yield* recovery(["report", "--message", "no space left"])
      assert.strictEqual(unnamed.code, 0, unnamed.stderr)
      const failures = yield* recovery(["failures", "--json"])
      assert.strictEqual(JSON.parse(failures.stdout).length, 1)
    })
  )
})

describe("the address of a database", () => {
  it.scopedLive("has a known scheme, and is never printed", () =>
    Effect.gen(function* () {
      const { folder, recovery } = yield* home
      for (const address of ["mysql://u:secret@h/d", "postgre://u:secret@h/d", "postgres:/u:secret@h/d"]) {
        for (const args of [["runs"], ["doctor"], ["report", "--message", "m"], ["exec"]]) {
          const command = args[0] === "exec" ? ["--", "true"] : []
          const given = yield* recovery([...args, "--database", address, ...command])
          assert.strictEqual(given.code, args[0] === "doctor" ? 1 : 2, given.stderr)
          const text = given.stdout + given.stderr
          assert.include(text.replaceAll(/\s+/g, " "), "Name a SQLite file by its path, or a postgres:// address.")
          assert.notInclude(text, "secret")
        }
        const set = yield* recovery(["runs"], { env: { RECOVERY_DATABASE: address } })
        assert.strictEqual(set.code, 6, set.stderr)
        assert.notInclude(set.stderr, "secret")
      }
      assert.deepStrictEqual(fs.readdirSync(folder), [])
    })
  )
})
