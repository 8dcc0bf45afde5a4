import { execFileSync } from "node:child_process"
import * as crypto from "node:crypto"
import * as fs from "node:fs"
import { createServer } from "node:http"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import {
  Events,
  Recovery,
  Redaction,
  RetryPolicy,
  Signal,
  State,
  Step,
  Storage,
  Strategy,
  Workflow
} from "effect-recovery"
import { Dashboard } from "effect-recovery/dashboard"
import { JsonLog } from "effect-recovery/files"
import {
  Escalation,
  Insights,
  Operator,
  RecoveryLog,
  RecoveryManager,
  StorageCheck,
  Timeline
} from "effect-recovery/operate"
import { SqliteStorage } from "effect-recovery/sqlite"
import * as encryption from "../../examples/workflows/encrypted-storage.js"
import { served } from "../../src/dashboard/DashboardApi.js"
import { temporaryFolder } from "../support/files.js"
import { receiver } from "../support/receiver.js"

/** Twelve secrets, each in its own place. None of them is a part of another one. */
const planted = {
  redactedInError: "zq-redacted-in-error",
  redactedInResult: "zq-redacted-in-result",
  privateState: "zq-private-state",
  passwordInUrl: "zq-password-in-url",
  header: "zq-header",
  argument: "zq-argument",
  webhookAddress: "zq-webhook-address",
  webhookSecret: crypto.createHash("sha256").update("zq").digest("base64"),
  defect: "zq-token-in-defect",
  signal: "zq-signal",
  ownPattern: "zq-cus_own-pattern",
  annotation: "zq-annotation"
} as const

type Planted = keyof typeof planted

const found = (text: string): ReadonlyArray<Planted> =>
  (Object.keys(planted) as ReadonlyArray<Planted>).filter((name) => text.includes(planted[name]))

class Denied extends Schema.TaggedError<Denied>()("Denied", {
  user: Schema.String,
  password: Schema.Redacted(Schema.String),
  reason: Schema.String
}) {
  override get message() {
    return this.reason
  }
}

const Account = Schema.Struct({ user: Schema.String, password: Schema.Redacted(Schema.String) })
const Vault = State.make("vault", Schema.String, "", { private: true })
const Code = Signal.make("code", Schema.Redacted(Schema.String))

const reason =
  `connect to https://app:${planted.passwordInUrl}@db.example failed for ${planted.ownPattern}: ` +
  `Authorization: Bearer ${planted.header}`

const login = Step.make("login", {
  success: Account,
  run: Effect.succeed({ user: "ada", password: Redacted.make(planted.redactedInResult) })
})
const pay = Step.make("pay", {
  error: Denied,
  run: Effect.fail(new Denied({ user: "ada", password: Redacted.make(planted.redactedInError), reason })),
  recover: { Denied: Strategy.retry(RetryPolicy.fixed({ maxRetries: 1, delay: 0 })) }
})
const crash = Step.make("crash", {
  run: Effect.sync(() => {
    throw new Error(`request with token=${planted.defect} crashed`)
  })
})

const Order = Workflow.make("order", { input: Account, success: Account, error: Denied }, (input) =>
  Effect.gen(function* () {
    const account = yield* login
    yield* Vault.set(planted.privateState)
    yield* Code.wait()
    if (input.user === "crashes") yield* crash
    if (input.user === "fails") yield* pay
    yield* Effect.log("paid").pipe(Effect.annotateLogs("api_key", planted.annotation))
    return account
  })
)

const orders = ["succeeds", "fails", "crashes"]

const execute = (id: string) =>
  Workflow.execute(Order, { id, input: { user: id, password: Redacted.make(planted.redactedInResult) } })

/** Runs, failures, recoveries and escalations, with a secret wherever a program may have one. */
const work = Effect.gen(function* () {
  for (const id of orders) {
    yield* Effect.ignore(execute(id))
    yield* Code.send(id, Redacted.make(planted.signal))
    yield* Effect.exit(execute(id))
  }
  yield* Effect.fail(new Error(reason)).pipe(
    Recovery.recoverCategory({ unknown: Strategy.retry(RetryPolicy.none) }, { name: "search" }),
    Effect.ignore
  )
  const labels = { repository: "shop", api_key: planted.annotation }
  yield* RecoveryManager.report(new Error(reason), { labels, log: `line\n${reason}\nsecret=${planted.argument}` })
  yield* Effect.flatMap(Insights.Insights, ({ settled }) => settled)
  yield* Effect.flatMap(Escalation.Escalation, ({ check }) => check)
})

/** What a program and its operators read of it, by functions of the library. */
const views = Effect.gen(function* () {
  const runs = yield* Workflow.list()
  const failures = yield* RecoveryManager.failures({ limit: 100 })
  const storage = yield* Storage.Storage
  const kinds = ["failure", "recovery", "escalation"]
  return {
    runs,
    statuses: yield* Effect.forEach(orders, (id) => Workflow.status(id)),
    timelines: yield* Effect.forEach(orders, (id) => Timeline.ofRun(id)),
    histories: yield* Effect.forEach(orders, (id) => Workflow.history(id)),
    failures,
    suggestions: yield* Effect.forEach(failures, ({ id }) => Insights.suggest(id)),
    recoveries: yield* RecoveryManager.recoveries({ limit: 100 }),
    escalations: yield* Escalation.list(),
    statistics: yield* Insights.statistics,
    patterns: yield* Insights.patterns(),
    check: yield* StorageCheck.run,
    rows: yield* Effect.forEach(kinds, (kind) => storage.records({ kind })),
    counters: yield* storage.counters("")
  }
})

const token = Redacted.make("a-token-of-the-dashboard")

/** Every read of the HTTP API for every id, the metrics and the page. */
const overHttp = Effect.gen(function* () {
  const { url } = yield* Dashboard.Dashboard
  const failures = yield* RecoveryManager.failures({ limit: 100 })
  const recoveries = yield* RecoveryManager.recoveries({ limit: 100 })
  const ids = [...orders, ...failures.map(({ id }) => id), ...recoveries.map(({ id }) => id)]
  const reads = served.filter(({ writes }) => !writes).map(({ route }) => `/api${route.path}`)
  const paths = reads.flatMap((path) =>
    path.includes(":id") ? ids.map((id) => path.replace(":id", encodeURIComponent(id))) : [path]
  )
  const all = [...paths, "/api/failures?run=fails", "/metrics", "/", "/openapi.json"]
  const headers = { authorization: `Bearer ${Redacted.value(token)}` }
  const texts = yield* Effect.forEach(all, (path) =>
    Effect.promise(async () => `${path}\n${await (await fetch(url + path, { headers })).text()}`)
  )
  return texts.join("\n")
})

const session = (payloads?: Storage.Payloads) =>
  Effect.gen(function* () {
    const folder = yield* temporaryFolder
    const filename = path.join(folder, "runs.db")
    const lines: Array<string> = []
    const { port, requests } = yield* receiver([{ status: 500 }])
    const log = JsonLog.make(path.join(folder, "recovery.jsonl"))
    const sink = Escalation.webhook({
      url: `http://ada:${planted.webhookAddress}@127.0.0.1:${port}/${planted.webhookAddress}`,
      secret: Redacted.make(`whsec_${planted.webhookSecret}`),
      retry: RetryPolicy.none
    })
    const rule = Escalation.rule({ threshold: 1, group: ({ message }) => message })
    const layer = Dashboard.layer({ token }).pipe(
      Layer.provide(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 })),
      Layer.provideMerge(
        Layer.mergeAll(
          Insights.layer,
          RecoveryManager.layer({ workflows: [Order] }),
          Escalation.layer({ rules: [rule], sinks: [sink, sink, Escalation.log] }),
          RecoveryLog.layer(log.append)
        )
      ),
      Layer.provideMerge(Events.layerDebug),
      Layer.provideMerge(Layer.setConfigProvider(ConfigProvider.fromMap(new Map([["RECOVERY_DEBUG", "true"]])))),
      Layer.provideMerge(SqliteStorage.layer({ filename, durability: "process-crash", payloads })),
      Layer.provideMerge(Redaction.layer({ patterns: [/zq-cus_[\w-]+/] })),
      Layer.provideMerge(
        Logger.replace(
          Logger.defaultLogger,
          Logger.map(Redaction.logger(Logger.jsonLogger), (line) => void lines.push(line))
        )
      )
    )
    const read = yield* Effect.provide(
      Effect.gen(function* () {
        yield* work
        return { views: JSON.stringify(yield* views), http: yield* overHttp }
      }),
      layer
    )
    const webhooks = requests.map(({ body, headers }) => `${body}\n${headers["webhook-signature"]}`).join("\n")
    return {
      folder,
      filename,
      surfaces: { ...read, webhooks, log: lines.join("\n"), recoveryLog: fs.readFileSync(log.path, "utf8") }
    }
  })

const inFiles = (folder: string): string =>
  fs
    .readdirSync(folder)
    .filter((name) => name.startsWith("runs.db"))
    .map((name) => fs.readFileSync(path.join(folder, name), "latin1"))
    .join("\n")

/** The files below a folder that hold a text. */
const inEveryFile = (folder: string, text: string): ReadonlyArray<string> =>
  fs
    .readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => fs.statSync(path.join(folder, name)).isFile())
    .filter((name) => fs.readFileSync(path.join(folder, name), "latin1").includes(text))

const cli = fileURLToPath(new URL("../../dist/recovery.mjs", import.meta.url))

/** What the command line prints about the database, without the program's code. */
const printed = (filename: string, folder: string, ...args: ReadonlyArray<string>): string => {
  const env = { ...process.env, RECOVERY_DATABASE: filename, NO_COLOR: "1" }
  try {
    return execFileSync(process.execPath, [cli, ...args], { cwd: folder, env, encoding: "utf8", stdio: "pipe" })
  } catch (error) {
    const { stderr, stdout } = error as { readonly stderr: string; readonly stdout: string }
    return stdout + stderr
  }
}

describe("Twelve planted secrets", () => {
  it.scopedLive(
    "are in nothing that a run, a failure, a dashboard, a history, a log or a webhook wrote for its readers",
    () =>
      Effect.gen(function* () {
        const { filename, folder, surfaces } = yield* session()
        for (const [surface, text] of Object.entries(surfaces)) {
          assert.isAbove(text.length, 200, surface)
          assert.deepStrictEqual(found(text), [], surface)
        }
        // The texts around the secrets are there: the surfaces were not empty of them by chance.
        for (const surface of ["views", "http", "webhooks", "log", "recoveryLog"] as const) {
          assert.include(surfaces[surface], "https://app:<redacted>@db.example", surface)
        }
        assert.include(surfaces.views, "request with token=<redacted> crashed")
        // What a resume needs is as its schemas encode it, and nothing else is in plain text.
        const plain: ReadonlyArray<Planted> = [
          "redactedInError",
          "redactedInResult",
          "privateState",
          "passwordInUrl",
          "header",
          "defect",
          "signal",
          "ownPattern"
        ]
        assert.deepStrictEqual([...found(inFiles(folder))].sort(), [...plain].sort())
        // The command line reads the same database without the workflow's code, and without the program's own pattern.
        const command = [
          "exec",
          "--task",
          "t1",
          "--",
          process.execPath,
          "-e",
          "process.exit(3)",
          "--",
          "--password",
          planted.argument
        ]
        const shown = [
          printed(filename, folder, ...command),
          ...[[], ["runs"], ["failures"], ["dashboard"], ["stats"], ["patterns"], ["status"], ["escalations"]].flatMap(
            (args) => [
              printed(filename, folder, ...args),
              args.length === 0 ? "" : printed(filename, folder, ...args, "--json")
            ]
          ),
          ...orders.flatMap((id) => [
            printed(filename, folder, "runs", id),
            printed(filename, folder, "runs", id, "--json")
          ])
        ].join("\n")
        assert.include(shown, "https://app:<redacted>@db.example")
        assert.deepStrictEqual(
          found(shown).filter((name) => name !== "ownPattern"),
          []
        )
        // The command is on record, without its secret.
        assert.isNotEmpty(inEveryFile(folder, "--password"))
        assert.deepStrictEqual(inEveryFile(folder, planted.argument), [])
      }),
    120_000
  )

  it.scopedLive(
    "are not in a database whose payloads are encrypted",
    () =>
      Effect.gen(function* () {
        const key = { id: "k", key: Redacted.make(crypto.randomBytes(32)) }
        const { folder, surfaces } = yield* session(encryption.encryptedBy([key]))
        for (const [surface, text] of Object.entries(surfaces)) assert.deepStrictEqual(found(text), [], surface)
        assert.deepStrictEqual(found(inFiles(folder)), [])
        assert.include(surfaces.views, "request with token=<redacted> crashed")
      }),
    60_000
  )
})

describe("Ids and names", () => {
  // Each looks like a secret.
  const id = "import?token=abc-123"
  const Import = Workflow.make("import", { error: Schema.String }, () =>
    Step.make("password=x", { error: Schema.String, run: Effect.fail("token=t1 is wrong") })
  )

  it.scoped("are never changed, so that what they name is found", () =>
    Effect.gen(function* () {
      yield* Effect.flip(Workflow.execute(Import, { id }))
      yield* Effect.flatMap(Insights.Insights, ({ settled }) => settled)
      const [failure] = yield* RecoveryManager.failures()
      assert.isDefined(failure)
      assert.strictEqual(failure.run, id)
      assert.strictEqual(failure.step, "password=x")
      assert.include(failure.message, "token=<redacted>")
      const recovery = yield* RecoveryManager.initiate(failure.id, "restart")
      assert.strictEqual(recovery.run, id)
      const operator = yield* Operator.make
      const runs = yield* Effect.promise(() => operator.ask({ _tag: "Runs" }))
      assert.strictEqual(runs.ok && runs.value[0]?.id, id)
      const timeline = yield* Effect.promise(() => operator.ask({ _tag: "Timeline", id }))
      assert.isTrue(timeline.ok)
      assert.notInclude(JSON.stringify(timeline), "t1")
    }).pipe(
      Effect.provide(
        Layer.provideMerge(
          Layer.merge(Insights.layer, RecoveryManager.layer({ workflows: [Import] })),
          Storage.layerMemory
        )
      )
    )
  )
})
