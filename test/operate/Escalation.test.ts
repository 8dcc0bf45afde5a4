import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import { Redaction, Storage } from "effect-recovery"
import { JsonLog } from "effect-recovery/files"
import { Escalation, type EscalationRecord, RecoveryManager, Webhook } from "effect-recovery/operate"
import { temporaryFolder } from "../support/files.js"
import { receiver } from "../support/receiver.js"
import { backends } from "../support/storages.js"

const report = (times: number, message = "disk full", job = "build") =>
  Effect.repeatN(RecoveryManager.report(new Error(message), { labels: { repository: "shop", job } }), times - 1)

const check = Effect.flatMap(Escalation.Escalation, (escalation) => escalation.check)

describe.each(backends)("Escalation on $name", ({ make }) => {
  const told: Array<EscalationRecord.EscalationRecord> = []
  const test = <A, E>(name: string, body: Effect.Effect<A, E, Escalation.Escalation | Storage.Storage>) =>
    it.scoped(
      name,
      (): Effect.Effect<A, unknown, Scope.Scope> =>
        Effect.flatMap(make, ({ join }) => {
          told.length = 0
          const layer = Escalation.layer({
            sinks: [
              (escalation) => Effect.sync(() => void told.push(escalation)),
              () => Effect.die("a sink that dies")
            ],
            rules: [Escalation.rule({ cooldown: "20 minutes" })],
            interval: "30 minutes"
          })
          return Effect.provide(body, layer.pipe(Layer.provideMerge(join())))
        })
    )

  test(
    "five open failures of a group within a day are escalated once, and again after the cooldown",
    Effect.gen(function* () {
      yield* report(4)
      yield* report(4, "disk full", "test")
      assert.deepStrictEqual(yield* check, [])
      yield* report(1)
      const [escalation] = yield* check
      assert.deepStrictEqual(
        [escalation?.level, escalation?.group, escalation?.failures.length, escalation?.labels],
        ["human", "resource build", 5, { repository: "shop", job: "build" }]
      )
      assert.deepStrictEqual(told, [escalation])
      yield* report(1)
      assert.deepStrictEqual(yield* check, [])
      yield* Escalation.acknowledge(escalation?.id ?? "", "ada")
      assert.deepStrictEqual(yield* check, [])
      yield* TestClock.adjust("31 minutes")
      const all = yield* Escalation.list()
      assert.deepStrictEqual(
        all.map(({ failures, status }) => [status, failures.length]),
        [
          ["open", 6],
          ["acknowledged", 5]
        ]
      )
      // The second check ran by the interval.
      assert.strictEqual(told.length, 2)
    })
  )

  test(
    "a resolved escalation is followed by another only for new failures",
    Effect.gen(function* () {
      yield* report(5)
      const [escalation] = yield* check
      const resolved = yield* Escalation.resolve(escalation?.id ?? "", "ada", "more disks")
      assert.deepStrictEqual([resolved.status, resolved.resolvedBy, resolved.note], ["resolved", "ada", "more disks"])
      assert.strictEqual((yield* Escalation.acknowledge(resolved.id, "bob")).status, "resolved")
      assert.deepStrictEqual(yield* check, [])
      yield* TestClock.adjust("1 millis")
      yield* report(4)
      assert.deepStrictEqual(yield* check, [])
      yield* report(1)
      assert.strictEqual((yield* check)[0]?.failures.length, 5)
      const unknown = yield* Effect.flip(Escalation.resolve("none", "ada"))
      assert.strictEqual(unknown._tag, "EscalationNotFound")
    })
  )

  test(
    "of concurrent checks, one raises the escalation and notifies the sinks",
    Effect.gen(function* () {
      yield* report(5)
      const raised = yield* Effect.all([check, check, check, check], { concurrency: "unbounded" })
      assert.strictEqual(raised.flat().length, 1)
      assert.strictEqual(told.length, 1)
    })
  )

  test(
    "resolved failures do not count",
    Effect.gen(function* () {
      yield* report(4)
      const one = yield* RecoveryManager.report(new Error("disk full"), { labels: { job: "build" } })
      yield* RecoveryManager.resolve(one.id, "ada")
      assert.deepStrictEqual(yield* check, [])
    })
  )
})

describe("Escalation.rule", () => {
  it.effect("has the documented defaults, and a level by its worst failure", () =>
    Effect.gen(function* () {
      const { cooldown, level, threshold, window } = Escalation.rule()
      assert.deepStrictEqual([cooldown, threshold, window], [6 * 3_600_000, 5, 86_400_000])
      const low = { ...(yield* RecoveryManager.report("it failed")), severity: "low" as const }
      assert.strictEqual(level([low, low]), "agent")
      assert.strictEqual(level([low, { ...low, severity: "high" }]), "human")
      assert.strictEqual(level([low, { ...low, retries: 2 }]), "human")
      assert.strictEqual(
        level([
          { ...low, severity: "critical" },
          { ...low, severity: "high" }
        ]),
        "critical"
      )
    }).pipe(Effect.provide(Storage.layerMemory))
  )

  it.scoped("a rule with a threshold of one escalates each failure, here into a file", () =>
    Effect.gen(function* () {
      const log = JsonLog.make(path.join(yield* temporaryFolder, "task_escalation.jsonl"))
      const layer = Escalation.layer({
        rules: [Escalation.rule({ name: "notify", threshold: 1, group: ({ id, severity }) => `${severity} ${id}` })],
        sinks: [(escalation) => log.append(escalation)]
      })
      const program = Effect.gen(function* () {
        yield* RecoveryManager.report(new Error("disk full"))
        const [escalation] = yield* check
        assert.deepInclude(escalation, { level: "human", rule: "notify" })
        const lines = fs.readFileSync(log.path, "utf8").trim().split("\n")
        assert.deepInclude(JSON.parse(lines[0] ?? ""), { level: "human", id: escalation?.id })
      })
      yield* Effect.provide(program, layer.pipe(Layer.provideMerge(Storage.layerMemory)))
    })
  )
})

describe("Escalation.webhook", () => {
  const escalation: EscalationRecord.EscalationRecord = {
    id: "escalation_1",
    status: "open",
    labels: { note: "ask cus_81" },
    raisedAt: new Date(0),
    updatedAt: new Date(0),
    rule: "repeated",
    group: "resource",
    level: "human",
    message: "5 failures of resource, such as: ünlesbar",
    failures: ["f1"],
    categories: ["resource"],
    severities: ["high"]
  }

  it.scopedLive("posts the record without secrets, under its id, signed", () =>
    Effect.gen(function* () {
      const { requests, url } = yield* receiver([])
      const secret = Redacted.make("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
      const sink = Escalation.webhook({ url, secret })
      yield* Effect.provide(sink(escalation), Redaction.layer({ patterns: [/cus_\w+/] }))
      const [request] = requests
      const { body = "", headers = {} } = request ?? {}
      const verified = yield* Webhook.verify({ secret, headers, body })
      assert.strictEqual(verified.id, escalation.id)
      const posted = JSON.parse(body)
      assert.strictEqual(posted.message, escalation.message)
      assert.strictEqual(posted.labels.note, "ask <redacted>")
    })
  )
})
