import { createHash } from "node:crypto"
import * as fs from "node:fs"
import * as http from "node:http"
import * as path from "node:path"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { CutOff, download, type Progress, Refused } from "../../examples/download.js"
import * as fallbackModel from "../../examples/fallback-model.js"
import * as files from "../../examples/files/files.js"
import * as locks from "../../examples/files/locks.js"
import * as fileTransactions from "../../examples/files/transactions.js"
import { fetchFile } from "../../examples/files/verified-download.js"
import * as filesInWorkflows from "../../examples/files/workflow.js"
import * as keyedBreaker from "../../examples/keyed-breaker.js"
import * as ciMonitor from "../../examples/operate/ci-monitor.js"
import * as dashboard from "../../examples/operate/dashboard.js"
import * as escalation from "../../examples/operate/escalation.js"
import * as insights from "../../examples/operate/insights.js"
import * as production from "../../examples/operate/production.js"
import * as recoveries from "../../examples/operate/recoveries.js"
import * as bulkhead from "../../examples/policies/bulkhead.js"
import * as circuitBreaker from "../../examples/policies/circuit-breaker.js"
import * as degradation from "../../examples/policies/degradation.js"
import * as failover from "../../examples/policies/failover.js"
import * as faults from "../../examples/policies/faults.js"
import * as observing from "../../examples/policies/observing.js"
import * as limits from "../../examples/policies/rate-limit-and-hedging.js"
import * as recoverable from "../../examples/policies/recoverable.js"
import * as recovery from "../../examples/policies/recovery.js"
import * as recoveryPolicy from "../../examples/policies/recovery-policy.js"
import * as retry from "../../examples/policies/retry.js"
import * as retryBudget from "../../examples/policies/retry-budget.js"
import * as sharedBreaker from "../../examples/policies/shared-breaker.js"
import * as timeout from "../../examples/policies/timeout.js"
import * as retryPipeline from "../../examples/retry-pipeline.js"
import * as sqliteClient from "../../examples/sqlite-client.js"
import * as crashTest from "../../examples/transactions/crash-test.js"
import * as longLoop from "../../examples/transactions/long-loop.js"
import * as moneyTransfer from "../../examples/transactions/money-transfer.js"
import * as orderSaga from "../../examples/transactions/order-saga.js"
import * as scopedTransaction from "../../examples/transactions/scoped.js"
import * as shopOrders from "../../examples/transactions/shop-orders.js"
import * as withoutStorage from "../../examples/transactions/without-storage.js"
import * as adopt from "../../examples/workflows/adopt.js"
import * as agent from "../../examples/workflows/agent-with-approval.js"
import * as jobs from "../../examples/workflows/background-jobs.js"
import * as childRuns from "../../examples/workflows/child-runs.js"
import * as ci from "../../examples/workflows/ci-pipeline.js"
import * as declinedCard from "../../examples/workflows/declined-card.js"
import * as generations from "../../examples/workflows/generations.js"
import * as llmChain from "../../examples/workflows/llm-chain.js"
import * as progress from "../../examples/workflows/progress-websocket.js"
import * as queues from "../../examples/workflows/queues.js"
import * as schedules from "../../examples/workflows/schedules.js"
import * as stockWorkflow from "../../examples/workflows/stock-workflow.js"
import * as versions from "../../examples/workflows/versions.js"
import { assertTagged } from "../support/assertions.js"
import { temporaryFolder } from "../support/files.js"

describe("examples", () => {
  const cases: Readonly<Record<string, readonly [program: Effect.Effect<unknown, unknown>, result: unknown]>> = {
    "retry-pipeline": [retryPipeline.program, "TEXT"],
    "sqlite-client": [sqliteClient.program, { people: [{ fullName: "Ada" }], runs: 0, isCopied: true }],
    "fallback-model": [
      fallbackModel.program,
      {
        short: "small: A short s",
        long: "no model: A story that is longer than the small model can take.",
        calls: [6, 2]
      }
    ],
    failover: [
      failover.program,
      {
        answer: "/rates from east",
        asked: ["west", "east", "west", "east", "west", "east", "east"],
        order: ["east closed", "west open"]
      }
    ],
    "keyed-breaker": [
      keyedBreaker.program,
      {
        results: ["HostDown", "text of up.example", "HostDown", "CircuitOpen", "text of up.example"],
        states: ["down.example open", "up.example closed"]
      }
    ],
    "operate/recoveries": [
      recoveries.program,
      {
        suggested: ["retry", "restart"],
        steps: [
          "analyze_failure_cause",
          "check_retry_limits",
          "apply_failure_specific_fixes",
          "trigger_workflow_retry",
          "monitor_retry_execution",
          "validate_success"
        ],
        done: ["compile", "publish", "rerun lint"],
        lint: ["linting", "src/app.py:7: flake8 error: E501 line too long", "completed"],
        successRate: 100
      }
    ],
    "operate/ci-monitor": [
      ciMonitor.program,
      {
        answers: [
          "infrastructure medium: completed",
          "linting medium: completed",
          "deployment critical: failed, critical",
          "nothing to do",
          "refused: 400"
        ],
        rerun: [1, 2, 3],
        successRate: 66.67
      }
    ],
    "operate/escalation": [
      escalation.program,
      {
        told: ["human: 3 failures of resource build within 1h, such as: disk full"],
        group: "resource build",
        status: "resolved",
        again: []
      }
    ],
    "operate/dashboard": [dashboard.program, { suggested: "retry", status: "completed", hasToken: true }],
    "operate/production": [production.program, { error: "Offline", recorded: 1, page: true }],
    "operate/insights": [insights.program, { first: 3, later: 1, skipped: 5, retried: 0 }],
    "policies/faults": [
      faults.program,
      ["rate-limit, may pass", "conflict, may pass", "network, may pass", "rate-limit, may pass", "unknown"]
    ],
    "policies/retry": [retry.program, { attempts: [3, 3, 3, 3], configured: "exponential", delays: 3 }],
    "policies/retry-budget": [retryBudget.program, { fewRetries: true, refused: true }],
    "policies/circuit-breaker": [
      circuitBreaker.program,
      ["Down", "Down", "Down", "Down", "CircuitOpen", "CircuitOpen"]
    ],
    "policies/shared-breaker": [sharedBreaker.program, { first: 20, spared: true }],
    "policies/bulkhead": [
      bulkhead.program,
      {
        made: 5,
        refused: 5,
        why: `The bulkhead "thumbnails" is full: 2 calls run and 3 wait; try again later, or raise maxConcurrent or maxQueue.`
      }
    ],
    "policies/timeout": [timeout.program, { rate: 1.08, attempts: 2, stopped: 1 }],
    "policies/rate-limit-and-hedging": [limits.program, [1.08, "from the second call"]],
    "policies/recovery": [recovery.program, { file: "a.txt from the mirror", attempts: 4, missing: "" }],
    "policies/degradation": [
      degradation.program,
      { answers: ["short answer", "Please come back later."], asked: ["full", "full", "simple", "short"] }
    ],
    "policies/recoverable": [recoverable.program, { euro: 1.08, unknown: 1, calls: 4 }],
    "policies/recovery-policy": [recoveryPolicy.program, { failure: "Offline", charges: 1, balance: 42, reads: 3 }],
    "transactions/without-storage": [
      withoutStorage.program,
      ["folder created", "account created", "account removed", "folder removed"]
    ],
    "transactions/scoped": [
      scopedTransaction.program,
      [
        "cabin booked",
        "connected",
        "hotel booked",
        "flight booked",
        "flight cancelled",
        "hotel cancelled",
        "disconnected"
      ]
    ],
    "transactions/money-transfer": [moneyTransfer.program, { refused: "Overdrawn", balances: [30, 70] }],
    "transactions/shop-orders": [
      shopOrders.program,
      { first: 1, again: 1, refused: "SoldOut", orders: [{ id: 1, item: "book" }] }
    ],
    "transactions/order-saga": [
      orderSaga.program,
      {
        began: "OutOfStock",
        failed: ["transaction/charge"],
        log: ["reserved book", "charged 30", "refund failed", "refund failed", "released book", "refunded receipt 17"]
      }
    ],
    "workflows/ci-pipeline": [
      ci.program,
      {
        waiting: "RunSuspended",
        asked: true,
        result: { lint: 2, test: 120, deploy: "c0ffee, approved by ada" },
        testRuns: 3
      }
    ],
    "workflows/agent-with-approval": [
      agent.program,
      {
        outcomes: ["sent, approved by carol", "dropped by carol"],
        sent: ["Dear Ada, we are sorry. (apology/ticket-7/send)"]
      }
    ],
    "workflows/declined-card": [
      declinedCard.program,
      {
        asked: ["charge?1 The card was declined (expired). What now?"],
        again: "30 with 4711",
        value: "paid in cash",
        skipped: "on the house"
      }
    ],
    "workflows/llm-chain": [
      llmChain.program,
      { text: "Tea, like a hug in a cup!", iterations: 2, calls: 3, steps: 10 }
    ],
    "workflows/background-jobs": [jobs.program, { done: ["cats.raw at 640", "dogs.raw at 640"], worked: 5, again: 0 }],
    "workflows/adopt": [
      adopt.program,
      { refused: ["order-1: ReplayMismatch"], adopted: ["order-1"], status: "completed", unclaimed: [] }
    ],
    "workflows/queues": [queues.program, ["eve-1", "ada-1", "bob-1", "ada-2", "ada-3", "final"]],
    "workflows/stock-workflow": [
      stockWorkflow.program,
      { receipt: "o-1 approved by Ada", steps: ["charge", "DurableClock%2Fcooling-off"] }
    ],
    "workflows/child-runs": [
      childRuns.program,
      { parcel: "parcel of book", children: ["order-1/mail completed", "order-1/ship completed"] }
    ],
    "workflows/generations": [generations.program, { generation: 3, steps: 1 }],
    "workflows/schedules": [schedules.program, { rule: "0 3 * * *", ran: 1, isPaused: true }],
    "workflows/versions": [versions.program, { fits: "open", misfit: "ReplayMismatch", registered: 1, done: 7 }],
    "workflows/progress-websocket": [
      progress.program,
      ["done: part-1", "trying again: Reset", "trying again: Reset", "done: part-2", "done: part-3", "completed"]
    ],
    "files/locks": [locks.program, Array.from({ length: 3 }, () => ({ lock: "task/nightly-report", hasToken: true }))],
    "files/files": [files.program, `{"theme":"dark","visits":10}`],
    "files/workflow": [
      filesInWorkflows.program,
      { unhealthy: "Unhealthy", restored: `{"port":80}`, installed: `{"port":81}`, reasons: ["NotFound", "NotFound"] }
    ],
    "files/transactions": [
      fileTransactions.program,
      {
        errors: ["LinterFailed", "LinterFailed"],
        log: ["announced", "taken back"],
        untouched: ["draft.md", "index.md"],
        published: ["index.md", "posts"]
      }
    ],
    "transactions/long-loop": [longLoop.program, { lastAttempt: 300, processed: 1_000, kept: 3 }],
    "transactions/crash-test": [
      crashTest.program,
      [
        { crashes: 20, clean: true },
        { crashes: 20, clean: true }
      ]
    ],
    "policies/observing": [
      observing.program,
      { events: ["Again network", "Again network", "RecoveryEnded"], noted: ["recovered after 3"] }
    ]
  }
  for (const [name, [program, result]] of Object.entries(cases)) {
    it.live(name, () => Effect.map(program, (given) => assert.deepStrictEqual(given, result)))
  }
})

describe("examples/download", () => {
  const file = Buffer.from(Array.from({ length: 100_000 }, (_, i) => i % 251))

  /** Cuts a given number of connections in the middle of the response. */
  const serve = (options: { readonly cuts: number; readonly ranges: boolean; readonly changed?: boolean }) =>
    Effect.acquireRelease(
      Effect.async<{ readonly url: string; readonly ranges: Array<string | undefined>; readonly server: http.Server }>(
        (resume) => {
          const ranges: Array<string | undefined> = []
          let cuts = options.cuts
          let changed = options.changed === true
          const server = http.createServer((request, response) => {
            ranges.push(request.headers.range)
            const asked = Number(/bytes=(\d+)-/.exec(request.headers.range ?? "")?.[1] ?? 0)
            if (changed && asked > 0) {
              changed = false
              response.writeHead(416).end()
              return
            }
            const from = options.ranges ? asked : 0
            response.writeHead(from > 0 ? 206 : 200, { "content-length": file.length - from })
            if (cuts-- > 0)
              response.write(file.subarray(from, from + 30_000), () => setImmediate(() => response.destroy()))
            else response.end(file.subarray(from))
          })
          server.listen(0, "127.0.0.1", () => {
            const address = server.address()
            const port = typeof address === "object" && address !== null ? address.port : 0
            resume(Effect.succeed({ url: `http://127.0.0.1:${port}/`, ranges, server }))
          })
        }
      ),
      ({ server }) =>
        Effect.async<void>((resume) => {
          server.closeAllConnections()
          server.close(() => resume(Effect.void))
        })
    )

  it.scopedLive("resumes at the byte where it was cut off, and reports progress", () =>
    Effect.gen(function* () {
      const { ranges, url } = yield* serve({ cuts: 2, ranges: true })
      const seen: Array<Progress> = []
      const got = yield* download(url, (progress) => void seen.push(progress))
      assert.deepStrictEqual(got, file)
      assert.strictEqual(ranges.length, 3)
      assert.strictEqual(ranges[0], undefined)
      for (const range of ranges.slice(1)) assert.match(range ?? "", /^bytes=[1-9]\d*-$/)
      const received = seen.map((progress) => progress.received)
      assert.deepStrictEqual(
        received,
        [...received].sort((a, b) => a - b)
      )
      assert.deepInclude(seen.at(-1), { attempt: 3, received: file.length })
    })
  )

  it.scopedLive("starts over if the server has no ranges or the file has changed", () =>
    Effect.gen(function* () {
      for (const options of [
        { cuts: 1, ranges: false },
        { cuts: 1, ranges: true, changed: true }
      ]) {
        const { url } = yield* serve(options)
        assert.deepStrictEqual(yield* download(url, () => {}), file)
      }
    })
  )

  it.scopedLive("does not retry a refusal; is exhausted if the server stays away", () =>
    Effect.gen(function* () {
      const { server, url } = yield* serve({ cuts: 0, ranges: true })
      const refused = yield* Effect.flip(
        Effect.sync(() => {
          server.removeAllListeners("request")
          server.on("request", (_, response: http.ServerResponse) => response.writeHead(403).end())
        }).pipe(Effect.zipRight(download(url, () => {})))
      )
      assert.instanceOf(refused, Refused)
      assertTagged(refused, "Refused", { status: 403 })
      server.closeAllConnections()
      yield* Effect.async<void>((resume) => void server.close(() => resume(Effect.void)))
      const exit = yield* Effect.exit(download(url, () => {}))
      const gone = yield* Effect.flip(exit)
      assertTagged(gone, "RecoveryExhausted", { attempts: 11 })
      assert.instanceOf(gone.error, CutOff)
    })
  )

  it.scopedLive("fetches a file once, resumes after a kill, and replaces the target only with the right digest", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const to = path.join(folder, "model.bin")
      const digest = createHash("sha256").update(file).digest("hex")
      const { ranges, url } = yield* serve({ cuts: 1, ranges: true })
      // The partial file of a killed process.
      fs.writeFileSync(`${to}.part`, file.subarray(0, 10_000))
      const get = (...urls: [string, ...Array<string>]) => fetchFile({ urls, to, digest })
      assert.strictEqual(yield* get(url), "fetched")
      assert.strictEqual(ranges[0], "bytes=10000-")
      assert.deepStrictEqual(fs.readFileSync(to), file)
      assert.isFalse(fs.existsSync(`${to}.part`))
      const asked = ranges.length
      assert.strictEqual(yield* get(url), "there already")
      assert.strictEqual(ranges.length, asked)
      // Skips a mirror with another file and one that refuses; does not keep a wrong file.
      const other = yield* serve({ cuts: 0, ranges: false })
      other.server.removeAllListeners("request")
      other.server.on("request", (_, response: http.ServerResponse) => response.end("another file"))
      fs.writeFileSync(to, "damaged")
      assert.strictEqual(yield* get(other.url, url), "fetched")
      assert.deepStrictEqual(fs.readFileSync(to), file)
      fs.rmSync(to)
      const wrong = yield* Effect.flip(get(other.url))
      assert.strictEqual(wrong._tag, "WrongDigest")
      assert.deepStrictEqual(fs.readdirSync(folder), [])
    }).pipe(Effect.provide([NodeContext.layer, FetchHttpClient.layer]))
  )
})
