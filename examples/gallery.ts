/**
 * The examples that `npm run example NAME` runs: what each is for, and what it prints. A test runs each of them, and
 * docs/examples.md is made of this.
 */
import type { Effect } from "effect"

export interface Example {
  readonly purpose: string
  /** Runs in this process; an example without it is a program that runs when its file is loaded. */
  readonly load?: () => Promise<{ readonly program: Effect.Effect<unknown, unknown> }>
  /** What it prints: the result of its program, or what its file prints. */
  readonly result: unknown
}

export const gallery: Readonly<Record<string, Example>> = {
  order: {
    purpose: "A durable step with a retry and a circuit breaker: the program of the README",
    result: "30 charged as order/order-17/charge"
  },
  "first-program": {
    purpose: "A durable workflow of two steps, on a SQLite file and in memory",
    result: [4, 4]
  },
  retry: { purpose: "Retry and recover by error tag, without storage", result: 1 },
  policies: {
    purpose: "Effect's retry with a policy, the lazy retry, and a guarded call",
    result: ["text", "text", "text"]
  },
  testing: { purpose: "A workflow that waits for hours, tested in virtual time", result: 3 },
  excerpts: {
    purpose: "The short pieces of code in the documentation, within programs that run",
    load: () => import("./excerpts.js"),
    result: {
      redacted: "customer <redacted>",
      released: "completed",
      rolledOut: ["announced", "published", "notified", "notice withdrawn", "notified"],
      undone: { _tag: "RunCancelled", money: ["charged", "refunded"] },
      migrated: { done: 7, total: null, startedAt: new Date(0) },
      letter: 3,
      controlled: "cancelled"
    }
  },
  "retry-pipeline": {
    purpose:
      "A pipeline that says nothing about retries: the layers it runs with decide how often, how long and for what",
    load: () => import("./retry-pipeline.js"),
    result: "TEXT"
  },
  "sqlite-client": {
    purpose: "Your own SQL and the runs of your workflows on one SQLite connection",
    load: () => import("./sqlite-client.js"),
    result: { people: [{ fullName: "Ada" }], runs: 0, isCopied: true }
  },
  "fallback-model": {
    purpose: "A call of a language model with two models to fall back to",
    load: () => import("./fallback-model.js"),
    result: {
      short: "small: A short s",
      long: "no model: A story that is longer than the small model can take.",
      calls: [6, 2]
    }
  },
  "keyed-breaker": {
    purpose: "A circuit breaker for each host: a host that is down does not block the others",
    load: () => import("./keyed-breaker.js"),
    result: {
      results: ["HostDown", "text of up.example", "HostDown", "CircuitOpen", "text of up.example"],
      states: ["down.example open", "up.example closed"]
    }
  },
  "policies/faults": {
    purpose: "Classify failures by their shape, declare your own, give rules for those of others",
    load: () => import("./policies/faults.js"),
    result: ["rate-limit, may pass", "conflict, may pass", "network, may pass", "rate-limit, may pass", "unknown"]
  },
  "policies/virtual-time": {
    purpose:
      "Test a pipeline with the layers of production in virtual time: more than a minute of back-off passes at once",
    load: () => import("./policies/virtual-time.js"),
    result: { waits: { text: "text", calls: [0, 10, 30, 70] }, gives: { failure: "SourceDown", calls: 1 } }
  },
  "policies/retry": {
    purpose: "Retry policies: as a Schedule, lazily, by category, from a layer and from the configuration",
    load: () => import("./policies/retry.js"),
    result: { attempts: [3, 3, 3, 3], configured: "exponential", delays: 3 }
  },
  "policies/retry-budget": {
    purpose: "One budget for the retries of all callers, so that an outage causes no storm of retries",
    load: () => import("./policies/retry-budget.js"),
    result: { fewRetries: true, refused: true }
  },
  "policies/circuit-breaker": {
    purpose: "A breaker that opens on failures and on slow calls, and stays open longer each time",
    load: () => import("./policies/circuit-breaker.js"),
    result: ["Down", "Down", "Down", "Down", "CircuitOpen", "CircuitOpen"]
  },
  "policies/shared-breaker": {
    purpose: "One breaker for all processes: the first that finds a system down spares the others",
    load: () => import("./policies/shared-breaker.js"),
    result: { first: 20, spared: true }
  },
  "policies/bulkhead": {
    purpose: "At most so many calls at once, a bounded queue, and a typed refusal for the rest",
    load: () => import("./policies/bulkhead.js"),
    result: {
      made: 5,
      refused: 5,
      why: `The bulkhead "thumbnails" is full: 2 calls run and 3 wait; try again later, or raise maxConcurrent or maxQueue.`
    }
  },
  "policies/timeout": {
    purpose: "A timeout for each attempt, inside of the retry",
    load: () => import("./policies/timeout.js"),
    result: { rate: 1.08, attempts: 2, stopped: 1 }
  },
  "policies/rate-limit-and-hedging": {
    purpose: "A rate limit and a second, hedged call, with what Effect has",
    load: () => import("./policies/rate-limit-and-hedging.js"),
    result: [1.08, "from the second call"]
  },
  "policies/recovery": {
    purpose: "Handlers by error tag that retry, take another way, skip or abort, with exact types",
    load: () => import("./policies/recovery.js"),
    result: { file: "a.txt from the mirror", attempts: 4, missing: "" }
  },
  "policies/degradation": {
    purpose: "A full answer, else a simple one, else a short one, else a sentence",
    load: () => import("./policies/degradation.js"),
    result: { answers: ["short answer", "Please come back later."], asked: ["full", "full", "simple", "short"] }
  },
  "policies/failover": {
    purpose: "Several ways to one result: a way that keeps failing is tried last",
    load: () => import("./policies/failover.js"),
    result: {
      answer: "/rates from east",
      asked: ["west", "east", "west", "east", "west", "east", "east"],
      order: ["east closed", "west open"]
    }
  },
  "policies/recoverable": {
    purpose: "Retry, timeout, breaker, bulkhead and fallback in one call",
    load: () => import("./policies/recoverable.js"),
    result: { euro: 1.08, unknown: 1, calls: 4 }
  },
  "policies/recovery-policy": {
    purpose: "The layer decides how a program recovers, by the name of its recoveries",
    load: () => import("./policies/recovery-policy.js"),
    result: { failure: "Offline", charges: 1, balance: 42, reads: 3 }
  },
  "policies/observing": {
    purpose: "Events and hooks of recoveries",
    load: () => import("./policies/observing.js"),
    result: { events: ["Again network", "Again network", "RecoveryEnded"], noted: ["recovered after 3"] }
  },
  "transactions/without-storage": {
    purpose: "A transaction in memory that undoes its work in reverse",
    load: () => import("./transactions/without-storage.js"),
    result: ["folder created", "account created", "account removed", "folder removed"]
  },
  "transactions/scoped": {
    purpose: "A transaction as a resource of a scope, and as a layer",
    load: () => import("./transactions/scoped.js"),
    result: [
      "cabin booked",
      "connected",
      "hotel booked",
      "flight booked",
      "flight cancelled",
      "hotel cancelled",
      "disconnected"
    ]
  },
  "transactions/order-saga": {
    purpose: "A durable saga whose refund fails at first, and is undone later",
    load: () => import("./transactions/order-saga.js"),
    result: {
      began: "OutOfStock",
      failed: ["transaction/charge"],
      log: ["reserved book", "charged 30", "refund failed", "refund failed", "released book", "refunded receipt 17"]
    }
  },
  "transactions/money-transfer": {
    purpose: "A step and its SQL rows in one commit: money is moved once, wherever the process ends",
    load: () => import("./transactions/money-transfer.js"),
    result: { refused: "Overdrawn", balances: [30, 70] }
  },
  "transactions/shop-orders": {
    purpose: "Rows of another database, written once",
    load: () => import("./transactions/shop-orders.js"),
    result: { first: 1, again: 1, refused: "SoldOut", orders: [{ id: 1, item: "book" }] }
  },
  "transactions/long-loop": {
    purpose: "A loop of a thousand items that is killed, and continues from its checkpoint",
    load: () => import("./transactions/long-loop.js"),
    result: { lastAttempt: 300, processed: 1_000, kept: 3 }
  },
  "transactions/saga-on-storages": {
    purpose: "A saga whose undo fails, tested on each storage with the same test",
    load: () => import("./transactions/saga-on-storages.js"),
    result: [
      { failed: "RollbackFailed", undoFailed: ["transaction/charge"], refunds: ["refused", "refunded"] },
      { failed: "RollbackFailed", undoFailed: ["transaction/charge"], refunds: ["refused", "refunded"] }
    ]
  },
  "transactions/crash-test": {
    purpose: "Crash your own workflow at every one of its writes, and keep score",
    load: () => import("./transactions/crash-test.js"),
    result: [
      { crashes: 20, clean: true },
      { crashes: 20, clean: true }
    ]
  },
  "workflows/ci-pipeline": {
    purpose: "A durable pipeline with steps side by side, flaky tests and an approval before the deployment",
    load: () => import("./workflows/ci-pipeline.js"),
    result: {
      waiting: "RunSuspended",
      asked: true,
      result: { lint: 2, test: 120, deploy: "c0ffee, approved by ada" },
      testRuns: 3
    }
  },
  "workflows/agent-with-approval": {
    purpose: "An agent whose mail waits up to three days for an approval, while no process waits",
    load: () => import("./workflows/agent-with-approval.js"),
    result: {
      outcomes: ["sent, approved by carol", "dropped by carol"],
      sent: ["Dear Ada, we are sorry. (apology/ticket-7/send)"]
    }
  },
  "workflows/support-agent": {
    purpose: "An agent whose model names tools: answers and tools are steps, and a person approves what costs money",
    load: () => import("./workflows/support-agent.js"),
    result: {
      waits: "RunSuspended",
      answer: "We are sorry. Your 30 are on their way.",
      refunds: [["support/mail-1/refund", 30]],
      asked: [3, 4]
    }
  },
  "workflows/declined-card": {
    purpose: "A failure is handed to a person, whose answer retries, replaces or skips the step",
    load: () => import("./workflows/declined-card.js"),
    result: {
      asked: ["charge?1 The card was declined (expired). What now?"],
      again: "30 with 4711",
      value: "paid in cash",
      skipped: "on the house"
    }
  },
  "workflows/llm-chain": {
    purpose: "The loop of a language model with judging and improving, each call recorded",
    load: () => import("./workflows/llm-chain.js"),
    result: { text: "Tea, like a hug in a cup!", iterations: 2, calls: 3, steps: 10 }
  },
  "workflows/background-jobs": {
    purpose: "Jobs that workers take from the storage, and a second start that changes nothing",
    load: () => import("./workflows/background-jobs.js"),
    result: { done: ["cats.raw at 640", "dogs.raw at 640"], worked: 5, again: 0 }
  },
  "workflows/child-runs": {
    purpose: "A workflow that executes, starts and joins other workflows",
    load: () => import("./workflows/child-runs.js"),
    result: { parcel: "parcel of book", children: ["order-1/mail completed", "order-1/ship completed"] }
  },
  "workflows/by-category": {
    purpose: "Failures of a step by their category: some are retried, some are replaced by a value",
    load: () => import("./workflows/by-category.js"),
    result: { pages: ["page /a", "no page"], keys: 2 }
  },
  "workflows/two-processes": {
    purpose: "A test with two processes on one store in memory: one is stopped, the other takes over",
    load: () => import("./workflows/two-processes.js"),
    result: { refused: "LeaseHeld", packed: "book, packed", attempts: ["attempt 1", "attempt 2"] }
  },
  "workflows/generations": {
    purpose: "A loop without an end that continues as a new generation with an empty journal",
    load: () => import("./workflows/generations.js"),
    result: { generation: 3, steps: 1 }
  },
  "workflows/queues": {
    purpose: "Queues with limits, priorities and fairness between keys",
    load: () => import("./workflows/queues.js"),
    result: ["eve-1", "ada-1", "bob-1", "ada-2", "ada-3", "final"]
  },
  "workflows/schedules": {
    purpose: "Runs at the times of a cron rule, paused and triggered",
    load: () => import("./workflows/schedules.js"),
    result: { rule: "0 3 * * *", ran: 1, isPaused: true }
  },
  "workflows/versions": {
    purpose: "Code that changes under open runs: patches, versions and replays of recorded histories",
    load: () => import("./workflows/versions.js"),
    result: { fits: "open", misfit: "ReplayMismatch", registered: 1, done: 7 }
  },
  "workflows/adopt": {
    purpose: "Open runs move to the next version of their workflow, after a replay of each",
    load: () => import("./workflows/adopt.js"),
    result: { refused: ["order-1: ReplayMismatch"], adopted: ["order-1"], status: "completed", unclaimed: [] }
  },
  "workflows/stock-workflow": {
    purpose: "A program of @effect/workflow, as it is, on the storage of this library",
    load: () => import("./workflows/stock-workflow.js"),
    result: { receipt: "o-1 approved by Ada", steps: ["charge", "DurableClock%2Fcooling-off"] }
  },
  "workflows/progress-websocket": {
    purpose: "The progress of a run on a web page, over a WebSocket",
    load: () => import("./workflows/progress-websocket.js"),
    result: ["done: part-1", "trying again: Reset", "trying again: Reset", "done: part-2", "done: part-3", "completed"]
  },
  "files/files": {
    purpose: "Files that are never half-written, and updates under a lock",
    load: () => import("./files/files.js"),
    result: `{"theme":"dark","visits":10}`
  },
  "files/locks": {
    purpose: "One process at a time, with a fencing token",
    load: () => import("./files/locks.js"),
    result: Array.from({ length: 3 }, () => ({ lock: "task/nightly-report", hasToken: true }))
  },
  "files/transactions": {
    purpose: "Changes to many files that happen entirely or not at all",
    load: () => import("./files/transactions.js"),
    result: {
      errors: ["LinterFailed", "LinterFailed"],
      log: ["announced", "taken back"],
      untouched: ["draft.md", "index.md"],
      published: ["index.md", "posts"]
    }
  },
  "files/workflow": {
    purpose: "A configuration that is installed by a workflow, and restored if the health check fails",
    load: () => import("./files/workflow.js"),
    result: {
      unhealthy: "Unhealthy",
      restored: `{"port":80}`,
      installed: `{"port":81}`,
      reasons: ["NotFound", "NotFound"]
    }
  },
  "operate/production": {
    purpose: "Storage, workers, policies, records, escalation and the dashboard of a process, in one layer",
    load: () => import("./operate/production.js"),
    result: { error: "Offline", recorded: 1, page: true }
  },
  "operate/recoveries": {
    purpose: "A failed run is on record, gets suggestions, and is recovered on request",
    load: () => import("./operate/recoveries.js"),
    result: {
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
  },
  "operate/insights": {
    purpose: "Success rates decide which strategy is tried first",
    load: () => import("./operate/insights.js"),
    result: { first: 3, later: 1, skipped: 5, retried: 0 }
  },
  "operate/escalation": {
    purpose: "Repeated failures are reported to people, once",
    load: () => import("./operate/escalation.js"),
    result: {
      told: ["human: 3 failures of resource build within 1h, such as: disk full"],
      group: "resource build",
      status: "resolved",
      again: []
    }
  },
  "operate/dashboard": {
    purpose: "The dashboard as a layer, on loopback, with a token",
    load: () => import("./operate/dashboard.js"),
    result: { suggested: "retry", status: "completed", hasToken: true }
  },
  "operate/ci-monitor": {
    purpose: "A monitor that recovers failed builds reported by a webhook",
    load: () => import("./operate/ci-monitor.js"),
    result: {
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
  },
  "coming-from/retry": {
    purpose: "Retries, breakers and bulkheads beside those of Effect, p-retry and cockatiel",
    load: () => import("./coming-from/retry.js"),
    result: { layered: "text", euro: "text of https://rates.example/EUR", none: "UnknownException" }
  },
  "coming-from/durable-order": {
    purpose: "A durable order beside those of Temporal and DBOS",
    load: () => import("./coming-from/durable-order.js"),
    result: { outcome: "book, approved by ada", log: ["charged 30", "shipped book"] }
  }
}
