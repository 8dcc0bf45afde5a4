import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import Database from "better-sqlite3"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Step, Storage, Workflow } from "effect-recovery"
import { SqlStorage } from "effect-recovery/sql"
import { SqliteStorage } from "effect-recovery/sqlite"
import { isSoak, lengthOf, seedOf, unlessSoak } from "../support/campaigns.js"
import { inPostgres, type ServedDatabase } from "../support/postgres.js"
import { eventually } from "../support/time.js"
import { binary, home } from "./support.js"

interface Report {
  readonly equal: boolean
  readonly kinds: ReadonlyArray<{
    readonly kind: string
    readonly rows: number
    readonly written: number | null
    readonly digest: string
    readonly target_digest: string
  }>
}

const reportOf = ({ code, stderr, stdout }: { code: number | null; stderr: string; stdout: string }): Report => {
  assert.strictEqual(code, 0, stderr)
  const report: Report = JSON.parse(stdout)
  assert.isTrue(report.equal)
  for (const { digest, target_digest: other } of report.kinds) assert.strictEqual(digest, other)
  return report
}

const digestsOf = ({ kinds }: Report) => kinds.map(({ digest, kind, rows }) => [kind, rows, digest])

const writtenOf = ({ kinds }: Report) => Object.fromEntries(kinds.map(({ kind, written }) => [kind, written]))

const storeAt = (filename: string) => SqliteStorage.store({ filename, durability: "process-crash" })

/** A run of many, in the state that its number gives it. */
const runRow = (i: number, payload = `"${i}"`): Storage.StoredRow => ({
  _tag: "Run",
  run: {
    key: i,
    id: `run-${i}`,
    workflow: "order",
    version: "1",
    input: `{"order":${i}}`,
    labels: { shop: `s${i % 3}` },
    createdAt: 1_000 + i,
    startedAt: undefined,
    generation: 1,
    hold: undefined,
    cancel: undefined,
    queue: undefined,
    parent: undefined,
    token: 1 + (i % 4),
    owner: undefined,
    leaseUntil: undefined,
    dueAt: i % 2 === 0 ? 1_000 + i : Storage.untilSignalled,
    waiting: i % 2 === 0 ? undefined : `[{"kind":"signal"}]`,
    signals: i % 5,
    outcome:
      i % 3 === 0 ? { status: i % 2 === 0 ? "completed" : "exhausted", exit: `"${i}"`, at: 5_000 + i } : undefined
  },
  journal: Array.from({ length: 5 }, (_, line) => ({
    seq: line * 2 + 1,
    kind: "StepCompleted",
    step: `step-${line}`,
    attempt: 1,
    at: 2_000 + line,
    payload: line === 4 ? undefined : payload
  })),
  signals: Array.from({ length: i % 5 }, (_, n) => ({ key: `k${5 - n}`, payload: `${n}`, at: 3_000 + n }))
})

const snapshotRow = (i: number): Storage.StoredRow => ({
  _tag: "Snapshot",
  snapshot: {
    key: 1_000 + i * 3,
    run: i % 4 === 0 ? undefined : `run-${i}`,
    step: "",
    seq: 3,
    name: "progress",
    own: i % 2 === 0 ? `own-${i}` : undefined,
    kind: "manual",
    version: 1,
    schema: "s",
    digest: i % 5 === 0 ? "" : `d${i}`,
    size: 2,
    encoding: "json",
    labels: { commit: `c${i % 7}`, "with\0nul": "\u0001" },
    about: "{}",
    at: 4_000 + i,
    rewound: i % 6 === 0,
    state: i % 2 === 0 ? `{"n":${i}}` : new Uint8Array([0, i % 256, 255])
  }
})

const recordRow = (i: number): Storage.StoredRow => ({
  _tag: "Record",
  record: {
    key: i,
    kind: i % 2 === 0 ? "failure" : "recovery",
    id: `r${i}`,
    subject: `run-${i}`,
    scope: "shop",
    status: "open",
    labels: { job: "lint" },
    at: 1_000 + i,
    updatedAt: 2_000 + i,
    revision: 1 + (i % 3),
    body: `{"id":"r${i}"}`
  }
})

const fill = (store: Storage.Store, runs: number, payload?: string) =>
  Effect.gen(function* () {
    for (let start = 1; start <= runs; start += 100) {
      const numbers = Array.from({ length: Math.min(100, runs - start + 1) }, (_, i) => start + i)
      yield* store.restore(numbers.flatMap((i) => [runRow(i, payload), snapshotRow(i), recordRow(i)]))
    }
    yield* store.count([
      { name: "failures", add: runs },
      { name: "resolved", add: 0 }
    ])
  })

const filled = (filename: string, runs: number, payload?: string) =>
  Effect.scoped(Effect.flatMap(storeAt(filename), (store) => fill(store, runs, payload)))

const idsOf = (store: Storage.Store) => Effect.map(store.list({ limit: 10_000 }), (runs) => runs.map(({ id }) => id))

const addressOf = ({ address: { database, host, port, user } }: ServedDatabase) =>
  `postgres://${user}@${host}:${port}/${database}`

/** Its tables have a schema of their own. */
let schemas = 0

describe.skipIf(isSoak)("recovery copy", () => {
  it.scopedLive("copies a file to another one, says what to do next, and finds nothing to do the second time", () =>
    Effect.gen(function* () {
      const { folder, recovery } = yield* home
      const from = path.join(folder, "old.db")
      yield* filled(from, 250)
      const first = yield* recovery(["copy", "--from", "old.db", "--to", "new/new.db"])
      assert.strictEqual(first.code, 0, first.stderr)
      assert.include(first.stdout, `Open the programs and workers on ${path.join(folder, "new/new.db")}`)
      assert.include(first.stdout, `Do not use ${from} any more`)
      assert.include(first.stdout, "Locks were not copied")
      assert.strictEqual(first.stderr, "")
      const again = reportOf(yield* recovery(["copy", "--from", "old.db", "--to", "new/new.db", "--json"]))
      assert.deepStrictEqual(writtenOf(again), {
        runs: 0,
        lines: null,
        signals: null,
        checkpoints: 0,
        records: 0,
        counters: 0
      })
      assert.deepStrictEqual(
        again.kinds.map(({ kind, rows }) => [kind, rows]),
        [
          ["runs", 250],
          ["lines", 1_250],
          ["signals", 500],
          ["checkpoints", 250],
          ["records", 250],
          ["counters", 1]
        ]
      )
      const [old, made] = [yield* storeAt(from), yield* storeAt(path.join(folder, "new/new.db"))]
      assert.deepStrictEqual(yield* idsOf(made), yield* idsOf(old))
      assert.deepStrictEqual(yield* made.check, [])
    })
  )

  it.scopedLive("copies tables of a prefix of the program's own", () =>
    Effect.gen(function* () {
      const { folder, recovery } = yield* home
      yield* filled(path.join(folder, "a.db"), 20)
      const there = yield* recovery(["copy", "--from", "a.db", "--to", "b.db", "--to-prefix", "jobs_", "--json"])
      const back = yield* recovery(["copy", "--from", "b.db", "--from-prefix", "jobs_", "--to", "c.db", "--json"])
      assert.deepStrictEqual(digestsOf(reportOf(there)), digestsOf(reportOf(back)))
    })
  )

  it.scopedLive("copies payloads as they are, without the key, and the run continues with the key", () =>
    Effect.gen(function* () {
      const { folder, recovery } = yield* home
      const payloads: Storage.Payloads = {
        encode: (bytes) => bytes.map((byte) => byte ^ 0x55),
        decode: (bytes) => bytes.map((byte) => byte ^ 0x55)
      }
      const reached = yield* Deferred.make<void>()
      let isCopied = false
      const second = Effect.suspend(() =>
        isCopied ? Effect.succeed("!") : Effect.zipRight(Deferred.succeed(reached, undefined), Effect.never)
      )
      const Order = Workflow.make("order", { success: Schema.String }, () =>
        Effect.gen(function* () {
          const first = Effect.sync(() => (isCopied ? "again" : "hidden"))
          const word = yield* Step.make("first", { success: Schema.String, run: first })
          return word + (yield* Step.make("second", { success: Schema.String, run: second }))
        })
      )
      const on = (filename: string) => SqliteStorage.layer({ filename: path.join(folder, filename), payloads })
      const executed = Workflow.execute(Order, { id: "o-1" })
      const started = Effect.flatMap(Effect.fork(executed), (fiber) =>
        Effect.zipRight(Deferred.await(reached), Fiber.interrupt(fiber))
      )
      yield* Effect.provide(started, on("a.db"))
      reportOf(yield* recovery(["copy", "--from", "a.db", "--to", "b.db", "--json"]))
      isCopied = true
      assert.notInclude(fs.readFileSync(path.join(folder, "b.db"), "latin1"), "hidden")
      assert.strictEqual(yield* Effect.provide(executed, on("b.db")), "hidden!")
    })
  )

  it.scopedLive("refuses a source with runs that are executed, and names them; nothing is written", () =>
    Effect.gen(function* () {
      const { folder, recovery } = yield* home
      const store = yield* storeAt(path.join(folder, "a.db"))
      yield* fill(store, 3)
      const held = yield* store.open(
        { id: "busy", workflow: "order", version: "1", input: "", labels: {} },
        "elsewhere/1",
        60_000
      )
      assert.strictEqual(held._tag, "Created")
      const refused = yield* recovery(["copy", "--from", "a.db", "--to", "b.db"])
      assert.strictEqual(refused.code, 4)
      assert.include(refused.stderr, "busy. Stop the workers and programs that use it")
      assert.isFalse(fs.existsSync(path.join(folder, "b.db")))
      yield* store.release("elsewhere/1")
      reportOf(yield* recovery(["copy", "--from", "a.db", "--to", "b.db", "--json"]))
    })
  )

  it.scopedLive("refuses a damaged source before anything is written, and names what is damaged", () =>
    Effect.gen(function* () {
      const { folder, recovery } = yield* home
      const from = path.join(folder, "a.db")
      yield* filled(from, 3)
      const database = new Database(from)
      database.exec("UPDATE recovery_journal SET payload = 'x' WHERE run = 2 AND seq = 3")
      database.close()
      const refused = yield* recovery(["copy", "--from", "a.db", "--to", "b.db"])
      assert.strictEqual(refused.code, 4)
      assert.match(refused.stderr, /run-2.*Nothing was copied\. recovery check/)
      assert.isFalse(fs.existsSync(path.join(folder, "b.db")))
    })
  )

  it.scopedLive("refuses the same file by another name, and tables of a newer version", () =>
    Effect.gen(function* () {
      const { folder, recovery } = yield* home
      const from = path.join(folder, "a.db")
      yield* filled(from, 3)
      fs.symlinkSync(from, path.join(folder, "link.db"))
      const same = yield* recovery(["copy", "--from", "a.db", "--to", "link.db"])
      assert.strictEqual(same.code, 2)
      assert.include(same.stderr, "name the same storage")
      yield* filled(path.join(folder, "new.db"), 1)
      const database = new Database(path.join(folder, "new.db"))
      database.exec("INSERT INTO effect_recovery_migrations (migration_id, name) VALUES (999, 'future')")
      database.close()
      for (const [a, b] of [
        ["a.db", "new.db"],
        ["new.db", "b.db"]
      ] as const) {
        const newer = yield* recovery(["copy", "--from", a, "--to", b])
        assert.strictEqual(newer.code, 5)
        assert.include(newer.stderr, "Tables of a newer version")
      }
    })
  )

  it.scopedLive("never replaces a row that differs: it ends with 7 and names the row", () =>
    Effect.gen(function* () {
      const { folder, recovery } = yield* home
      yield* filled(path.join(folder, "a.db"), 3)
      const target = yield* storeAt(path.join(folder, "b.db"))
      yield* target.open({ id: "run-2", workflow: "other", version: "1", input: "", labels: {} }, "a", 1_000)
      yield* target.release("a")
      const refused = yield* recovery(["copy", "--from", "a.db", "--to", "b.db"])
      assert.strictEqual(refused.code, 7)
      assert.include(refused.stderr, `already has another run "run-2"`)
      assert.strictEqual(Option.getOrThrow(yield* target.find("run-2")).workflow, "other")
    })
  )

  it.scopedLive("lets one copy at a time write to a storage", () =>
    Effect.gen(function* () {
      const { folder, recovery } = yield* home
      yield* filled(path.join(folder, "a.db"), 3)
      const target = yield* storeAt(path.join(folder, "b.db"))
      yield* target.lock("recovery copy", "elsewhere/1", 60_000)
      const refused = yield* recovery(["copy", "--from", "a.db", "--to", "b.db"])
      assert.strictEqual(refused.code, 4)
      assert.include(refused.stderr, "Another copy writes to")
      assert.deepStrictEqual(yield* target.list({}), [])
    })
  )
})

describe("recovery copy of many runs", () => {
  const kills = lengthOf("COPY_KILLS")

  it.scopedLive(`continues after it was killed in the middle (${kills} copies)`, () =>
    Effect.gen(function* () {
      const { folder, recovery } = yield* home
      const runs = 500
      yield* filled(path.join(folder, "a.db"), runs)
      const whole = reportOf(yield* recovery(["copy", "--from", "a.db", "--to", "whole.db", "--json"]))
      const seed = seedOf(20)
      for (let i = 0; i < kills; i++) {
        const target = path.join(folder, `b${i}.db`)
        // Each kill waits for more rows than the one before.
        for (const share of [0.3, 0.7]) {
          yield* killedAt(folder, target, Math.floor(runs * 3 * share) + ((i * 31 + seed) % 100))
        }
        const last = reportOf(yield* recovery(["copy", "--from", "a.db", "--to", target, "--json"]))
        assert.deepStrictEqual(digestsOf(last), digestsOf(whole))
        const written = writtenOf(last)
        assert.isBelow((written["checkpoints"] ?? 0) + (written["records"] ?? 0), runs, "it began anew")
      }
    })
  )

  const many = lengthOf("COPIED_RUNS")
  // Only then its data is larger than the memory that it gets.
  it.scopedLive.skipIf(many < 10_000)(`copies ${many} runs in little memory`, () =>
    Effect.gen(function* () {
      const { folder, recovery } = yield* home
      yield* filled(path.join(folder, "a.db"), many, `"${"x".repeat(5_000)}"`)
      const small = { env: { NODE_OPTIONS: "--max-old-space-size=96" } }
      reportOf(yield* recovery(["copy", "--from", "a.db", "--to", "b.db", "--json"], small))
    })
  )
})

/** Rows that a copy has committed so far. */
const rowsIn = (filename: string): number => {
  if (!fs.existsSync(filename)) return 0
  const database = new Database(filename, { readonly: true })
  try {
    const count = (table: string) =>
      (database.prepare(`SELECT COUNT(*) AS rows FROM recovery_${table}`).get() as { readonly rows: number }).rows
    return count("snapshots") + count("records") + count("runs")
  } catch {
    // Its tables are not there yet.
    return 0
  } finally {
    database.close()
  }
}

/** Starts a copy and kills it once it has written so many rows. It may end before. */
const killedAt = (folder: string, target: string, rows: number): Effect.Effect<void> =>
  Effect.gen(function* () {
    const child = spawn(process.execPath, [binary, "copy", "--from", "a.db", "--to", target], {
      cwd: folder,
      env: { ...process.env, HOME: folder },
      stdio: "ignore"
    })
    const ended = new Promise<void>((resolve) => child.once("close", () => resolve()))
    yield* eventually(
      Effect.sync(() => child.exitCode !== null || rowsIn(target) >= rows),
      (isThere) => isThere
    )
    child.kill("SIGKILL")
    yield* Effect.promise(() => ended)
  })

unlessSoak(inPostgres)("recovery copy with Postgres", (database) => {
  it.scopedLive("copies a file to Postgres and back to a file: all digests are equal", () =>
    Effect.gen(function* () {
      const { folder, recovery } = yield* home
      yield* filled(path.join(folder, "a.db"), 250)
      const address = addressOf(database)
      const schema = `copy_${++schemas}`
      const there = yield* recovery(["copy", "--from", "a.db", "--to", address, "--to-schema", schema, "--json"])
      const back = yield* recovery(["copy", "--from", address, "--from-schema", schema, "--to", "b.db", "--json"])
      assert.deepStrictEqual(digestsOf(reportOf(there)), digestsOf(reportOf(back)))
      assert.strictEqual(writtenOf(reportOf(back))["runs"], 250)
      const [old, made] = [yield* storeAt(path.join(folder, "a.db")), yield* storeAt(path.join(folder, "b.db"))]
      assert.deepStrictEqual(yield* idsOf(made), yield* idsOf(old))
      assert.deepStrictEqual(yield* made.check, [])
      const client = yield* Layer.build(database.client())
      const server = yield* Effect.provide(SqlStorage.store({ schema }), client)
      assert.deepStrictEqual(yield* server.check, [])
      assert.deepStrictEqual(yield* idsOf(server), yield* idsOf(old))
    })
  )

  it.scopedLive("finds a row that was changed in the copy, ends with 7 and names it", () =>
    Effect.gen(function* () {
      const { folder, recovery } = yield* home
      yield* filled(path.join(folder, "a.db"), 5)
      const schema = `copy_${++schemas}`
      const args = ["copy", "--from", "a.db", "--to", addressOf(database), "--to-schema", schema, "--json"]
      reportOf(yield* recovery(args))
      yield* database.query(`DELETE FROM ${schema}.recovery_signals WHERE seq = 4`)
      const different = yield* recovery(args)
      assert.strictEqual(different.code, 7)
      assert.include(different.stderr, `run \\"run-4\\"`)
      assert.isFalse(JSON.parse(different.stdout).equal)
    })
  )

  it.scopedLive("knows the same tables by another address, and says so if the server takes no writes", () =>
    Effect.gen(function* () {
      const { folder, recovery } = yield* home
      yield* filled(path.join(folder, "a.db"), 2)
      const address = addressOf(database)
      const schema = `copy_${++schemas}`
      reportOf(yield* recovery(["copy", "--from", "a.db", "--to", address, "--to-schema", schema, "--json"]))
      const other = address.replace(/@[^:]+:/, (host) => (host === "@localhost:" ? "@127.0.0.1:" : "@localhost:"))
      const same = yield* recovery([
        "copy",
        ...["--from", address, "--from-schema", schema],
        ...["--to", other, "--to-schema", schema]
      ])
      assert.strictEqual(same.code, 2, same.stderr)
      assert.include(same.stderr, "name the same storage")
      yield* Effect.acquireRelease(database.readOnly(true), () => database.readOnly(false))
      const refused = yield* recovery(["copy", "--from", "a.db", "--to", address, "--to-schema", `${schema}_b`])
      assert.strictEqual(refused.code, 5)
      assert.include(refused.stderr, "ReadOnly")
    })
  )
})
