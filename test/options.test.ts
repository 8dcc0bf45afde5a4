import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { assert, beforeAll, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import {
  Bulkhead,
  Checkpoint,
  CircuitBreaker,
  Decision,
  Failover,
  Fault,
  Graph,
  Lock,
  Operation,
  Parameters,
  Queue,
  Recovery,
  RetryBudget,
  RetryPolicy,
  SharedBreaker,
  Signal,
  State,
  Step,
  Storage,
  Strategy,
  Transaction,
  Worker,
  Workflow
} from "effect-recovery"
import { Chain } from "effect-recovery/chain"
import { AtomicFile, Backup, DirectoryLock, FileLock, FileTransaction, JsonLog } from "effect-recovery/files"
import {
  Escalation,
  HealthCheck,
  Insights,
  OperateError,
  type Operator,
  RecoveryManager,
  Timeline,
  Webhook
} from "effect-recovery/operate"
import { SqlStorage } from "effect-recovery/sql"
import { SqliteClient, SqliteStorage } from "effect-recovery/sqlite"
import { Testing } from "effect-recovery/testing"
import { RecoveryEngine } from "effect-recovery/workflow-engine"
import * as Client from "../src/operate/OperatorClient.js"
import { type PublicOption, publicOptions } from "./support/publicOptions.js"

/** Values that no option may take in silence. */
const senseless = {
  NaN: Number.NaN,
  "-1": -1,
  Infinity: Number.POSITIVE_INFINITY,
  "0": 0,
  "1e308": 1e308,
  "-7 days": "-7 days",
  "7 parsecs": "7 parsecs",
  "no date": new Date(Number.NaN)
} as const

type Senseless = keyof typeof senseless

interface Attempt {
  /** Uses the option. */
  readonly use: (value: never) => unknown
  /** The values that mean something. The comment of the option says what. */
  readonly means?: Partial<Readonly<Record<Senseless, RegExp>>>
  /** The option in the refusal, if it is not the last part of the key. */
  readonly name?: string
}

const zero = /\b0\b/
const infinite = /`Infinity`/

const count = (use: Attempt["use"]): Attempt => ({ use })
const orZero = (use: Attempt["use"]): Attempt => ({ use, means: { "0": zero } })
const orInfinity = (use: Attempt["use"]): Attempt => ({ use, means: { Infinity: infinite } })
const orBoth = (use: Attempt["use"]): Attempt => ({ use, means: { "0": zero, Infinity: infinite } })

/** A text that is no id is a cursor. */
const cursor = (use: Attempt["use"]): Attempt => ({ use, means: { "-7 days": /no id/, "7 parsecs": /no id/ } })

const inRun = (body: Effect.Effect<unknown, unknown, unknown>) => {
  const workflow = Workflow.make("w", {}, () => Effect.ignore(body) as Effect.Effect<void>)
  return Workflow.execute(workflow, { id: "run" })
}

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "options-"))
const file = path.join(folder, "file.json")

const chain = (options: object = {}) =>
  Chain.make("chain", { input: Schema.String, text: Schema.String, generate: () => Effect.succeed("text"), ...options })
const checkpoint = (options: object = {}) => Checkpoint.make("progress", { schema: Schema.Number, ...options })
const progress = checkpoint()
const signal = Signal.make("signal", Schema.String)
const parameters = Parameters.make("model", Schema.Number, 1)
const state = State.make("cell", Schema.Number, 1)
const step = Step.make("step", { run: Effect.void })
const job = Workflow.make("job", {}, () => step)
const down = Effect.fail("down")
const driver: Lock.Driver = {
  keyOf: () => Effect.succeed("key"),
  attempt: () => Effect.never,
  status: () => Effect.never,
  list: Effect.succeed([]),
  cleanup: () => Effect.succeed(0),
  heartbeat: 1_000,
  patience: 1_000,
  poll: 1_000
}
const curve = (
  make: (options: RetryPolicy.Options) => unknown,
  option: string,
  allowed: (use: Attempt["use"]) => Attempt
) => allowed((value) => make({ [option]: value }))
const operator: Operator.Operator = {
  ask: () => Promise.reject(new Error("no answer")),
  close: () => Promise.resolve()
}
const asked = (every: never) => Effect.sync(() => Client.changes(operator, { _tag: "Health" }, { every }))

const options: Readonly<Record<string, Attempt>> = {
  "chain/Chain Chain.bottlenecks.above": orZero((above) => chain().bottlenecks("none", { above })),
  "chain/Chain Chain.bottlenecks.limit": orBoth((limit) => chain().bottlenecks("none", { limit })),
  "chain/Chain Options.maxIterations": count((maxIterations) => chain({ maxIterations })),
  "cluster/RecoveryEngine Options.concurrency": count((concurrency) => RecoveryEngine.layer({ concurrency })),
  "cluster/RecoveryEngine Options.drain": orZero((drain) => RecoveryEngine.layer({ drain })),
  "cluster/RecoveryEngine Options.sweep": count((sweep) => RecoveryEngine.layer({ sweep })),
  "durable/Checkpoint Checkpoint.saveEvery.interval": count((every) => progress.saveEvery(Effect.succeed(1), every)),
  "durable/Checkpoint Due.interval": orZero((interval) => progress.saveIfDue(1, { interval })),
  "durable/Checkpoint Due.milestones": count((one) => progress.saveIfDue(1, { progress: 0.5, milestones: [one] })),
  "durable/Checkpoint Due.progress": {
    use: (given) => progress.saveIfDue(1, { progress: given }),
    means: { "0": /from 0 to 1/, NaN: /NaN/ }
  },
  "durable/Checkpoint Options.compressAbove": orBoth((compressAbove) => checkpoint({ compressAbove })),
  "durable/Checkpoint Options.version": orZero((version) => checkpoint({ version })),
  "durable/CheckpointQuery Query.after": cursor((after) => Checkpoint.list({ after })),
  "durable/CheckpointQuery Query.before": cursor((before) => Checkpoint.remove({ before })),
  "durable/CheckpointQuery Query.limit": orBoth((limit) => Checkpoint.list({ limit })),
  "durable/CheckpointQuery Retention.keep": orInfinity((keep) => Checkpoint.cleanup({ keep })),
  "durable/CheckpointQuery Retention.maxAge": count((maxAge) => Checkpoint.cleanup({ maxAge })),
  "durable/CheckpointQuery StreamQuery.pageSize": count((pageSize) => Stream.runDrain(progress.stream({ pageSize }))),
  "durable/Deploys unclaimed.after": orZero((after) => Workflow.unclaimed({ after })),
  "durable/Operation AutoCheckpoint.interval": orZero((interval) =>
    Operation.withRecovery("w", "s", { checkpoint: { of: progress, state: Effect.succeed(1), interval } })
  ),
  "durable/Parameters Parameters.history.limit": orBoth((limit) => parameters.history(limit)),
  "durable/Queue Options.concurrency": count((concurrency) => Queue.make("q", { concurrency })),
  "durable/Queue Options.perKey": count((perKey) => Queue.make("q", { perKey })),
  "durable/Queue Rate.limit": {
    use: (limit) => Queue.make("q", { rate: { limit, per: "1 minute" } }),
    name: "rate.limit"
  },
  "durable/Queue Rate.per": { use: (per) => Queue.make("q", { rate: { limit: 1, per } }), name: "rate.per" },
  "durable/RunSchedule Options.backlog": count((backlog) => Workflow.schedule("s", job, { every: "1 hour", backlog })),
  "durable/RunSchedule Timing.every": count((every) => Workflow.schedule("s", job, { every })),
  "durable/Signal Signal.wait.within": orZero((within) => inRun(signal.wait({ within }))),
  "durable/State Options.ttl": count((ttl) => State.make("cell", Schema.Number, 1, { ttl })),
  "durable/State ReadOnly.history.limit": orBoth((limit) => state.history(limit)),
  "durable/Step cleanupOnce.olderThan": count((olderThan) => Step.cleanupOnce({ olderThan })),
  "durable/Step Compensation.timeout": orInfinity((timeout) =>
    Step.make("s", { run: Effect.void, compensate: { undo: () => Effect.void, timeout } })
  ),
  "durable/Step Options.maxCutShort": orInfinity((maxCutShort) => Step.make("s", { run: Effect.void, maxCutShort })),
  "durable/StoredRuns cleanup.olderThan": count((olderThan) => Workflow.cleanup({ olderThan })),
  "durable/StoredRuns RunQuery.before": count((before) => Workflow.list({ before })),
  "durable/StoredRuns RunQuery.limit": orBoth((limit) => Workflow.list({ limit })),
  "durable/StoredRuns RunQuery.since": count((since) => Workflow.list({ since })),
  "durable/StoredRuns RunQuery.until": count((until) => Workflow.list({ until })),
  "durable/Worker Options.concurrency": count((concurrency) => Worker.layer([job], { concurrency })),
  "durable/Worker Options.drain": orZero((drain) => Worker.layer([job], { drain })),
  "durable/Worker Options.patience": orZero((patience) => Worker.layer([job], { patience })),
  "durable/Worker Options.stalled": count((stalled) => Worker.layer([job], { stalled })),
  "durable/Worker Options.sweep": count((sweep) => Worker.layer([job], { sweep })),
  "durable/RunStart Place.priority": {
    use: (priority) => Workflow.start(job, { id: "run", queue: Queue.make("q"), priority }),
    means: { "-1": /of either sign/, "0": /of either sign/ }
  },
  "durable/RunStart When.debounce": orZero((debounce) => Workflow.start(job, { id: "run", debounce })),
  "durable/RunStart When.delay": orZero((delay) => Workflow.start(job, { id: "run", delay })),
  "durable/Workflow section.index": {
    use: (index) => inRun(Workflow.section("s", index)(Effect.void)),
    means: { "0": /whole number/, "-1": /whole number/ }
  },
  "durable/Workflow sleep.duration": orZero((duration) => inRun(Workflow.sleep(duration))),
  "files/AtomicFile UpdateOptions.timeout": orBoth((timeout) =>
    AtomicFile.update(file, () => Effect.succeed("1"), { timeout })
  ),
  "files/Backup Retention.keep": orInfinity((keep) => Backup.expire(file, { keep })),
  "files/Backup Retention.olderThan": count((olderThan) => Backup.expire(file, { olderThan })),
  "files/DirectoryLock Options.poll": count((poll) => DirectoryLock.layer({ folder, poll })),
  "files/DirectoryLock Options.stale": orInfinity((stale) => DirectoryLock.layer({ folder, stale })),
  "files/FileLock Options.heartbeat": orInfinity((heartbeat) => FileLock.layer({ folder, heartbeat })),
  "files/FileLock Options.poll": count((poll) => FileLock.layer({ folder, poll })),
  "files/FileTransaction Options.timeout": orBoth((timeout) => FileTransaction.run(Effect.void, folder, { timeout })),
  "files/JsonLog Options.keep": orBoth((keep) => JsonLog.make(file, { keep })),
  "files/JsonLog Options.maxBytes": orInfinity((maxBytes) => JsonLog.make(file, { maxBytes })),
  "graph/Graph RunOptions.concurrency": count((concurrency) =>
    inRun(Graph.run(Graph.make("g", { a: Graph.node(step) }), { concurrency }))
  ),
  "lock/Lock Options.timeout": orBoth((timeout) => Lock.withLock(Effect.void, "a", { timeout })),
  "lock/Lock Service.cleanup.olderThan": count((age) => Effect.flatMap(Lock.Lock, (locks) => locks.cleanup(age))),
  "lock/Lock StorageOptions.poll": count((poll) => Lock.layerStorage({ poll })),
  "lock/Lock cleanup.olderThan": count((olderThan) => Lock.cleanup(olderThan)),
  "lock/LockDriver Driver.heartbeat": orInfinity((heartbeat) => Lock.make({ ...driver, heartbeat })),
  "lock/LockDriver Driver.patience": orInfinity((patience) => Lock.make({ ...driver, patience })),
  "lock/LockDriver Driver.poll": count((poll) => Lock.make({ ...driver, poll })),
  "operate/Escalation Options.interval": count((interval) => Escalation.layer({ interval })),
  "operate/Escalation Rule.cooldown": orZero((cooldown) => Escalation.rule({ cooldown })),
  "operate/Escalation Rule.threshold": count((threshold) => Escalation.rule({ threshold })),
  "operate/Escalation Rule.window": count((window) =>
    Escalation.layer({ rules: [{ ...Escalation.rule(), window }], sinks: [] })
  ),
  "operate/Escalation list.limit": orBoth((limit) => Escalation.list({ limit })),
  "operate/HealthCheck Options.idleAfter": count((idleAfter) => HealthCheck.run({ idleAfter })),
  "operate/HealthCheck Options.minimumSuccess": orZero((minimumSuccess) => HealthCheck.run({ minimumSuccess })),
  "operate/HealthCheck Options.stuckAfter": count((stuckAfter) => HealthCheck.run({ stuckAfter })),
  "operate/HealthCheck Options.unansweredAfter": count((unansweredAfter) => HealthCheck.run({ unansweredAfter })),
  "operate/Insights since.time": count((time) => Insights.since(time)),
  "operate/OperatorClient changes.every": orZero(asked),
  "operate/RecoveryManager cleanup.olderThan": count((olderThan) => RecoveryManager.cleanup({ olderThan })),
  "operate/RecoveryOptions FailureQuery.limit": orBoth((limit) => RecoveryManager.failures({ limit })),
  "operate/RecoveryOptions Options.maxRetries": orBoth((maxRetries) => RecoveryManager.layer({ maxRetries })),
  "operate/RecoveryOptions Options.patience": orZero((patience) => RecoveryManager.layer({ patience })),
  "operate/RecoveryOptions Options.timeout": orInfinity((timeout) => RecoveryManager.layer({ timeout })),
  "operate/RecoveryOptions RecoveryQuery.limit": orBoth((limit) => RecoveryManager.recoveries({ limit })),
  "operate/Timeline ofRun.limit": orBoth((limit) => Timeline.ofRun("none", { limit })),
  "operate/Webhook Options.timeout": count((timeout) => Webhook.make({ url: "http://localhost", timeout })),
  "operate/Webhook verify.tolerance": count((tolerance) =>
    Webhook.verify({ secret: Redacted.make(`whsec_${"A".repeat(32)}`), headers: {}, body: "", tolerance })
  ),
  "resilience/Bulkhead Options.maxConcurrent": count((maxConcurrent) => Bulkhead.make({ name: "b", maxConcurrent })),
  "resilience/Bulkhead Options.maxQueue": orZero((maxQueue) => Bulkhead.make({ name: "b", maxQueue })),
  "resilience/CircuitBreaker KeyedOptions.maxKeys": count((maxKeys) => CircuitBreaker.keyed({ name: "b", maxKeys })),
  "resilience/CircuitBreaker Options.probes": count((probes) => CircuitBreaker.make({ name: "b", probes })),
  "resilience/CircuitBreaker Options.resetAfter": orZero((resetAfter) =>
    CircuitBreaker.make({ name: "b", resetAfter })
  ),
  "resilience/Decision again.delay": {
    use: (delay) => Decision.again(delay),
    means: {
      NaN: /not\s+finite/,
      "-1": /negative/,
      Infinity: /not\s+finite/,
      "0": /no delay/,
      "1e308": /delay/,
      "-7 days": /negative/,
      "7 parsecs": /not\s+finite/,
      "no date": /not\s+finite/
    }
  },
  "resilience/Failover Options.maxWays": count((maxWays) =>
    Failover.make({ name: "f", ways: { a: () => Effect.succeed(1) }, maxWays })
  ),
  "resilience/Fault Declaration.confidence": {
    use: (confidence) => classified({ category: "network", confidence }),
    means: {
      NaN: /NaN/,
      "-1": /negative/,
      Infinity: /above 1/,
      "0": zero,
      "1e308": /above 1/,
      "-7 days": /negative/,
      "7 parsecs": /NaN/,
      "no date": /NaN/
    }
  },
  "resilience/Fault Declaration.retryAfter": {
    use: (retryAfter) => classified({ category: "network", retryAfter }),
    means: {
      NaN: /NaN/,
      "-1": /negative/,
      Infinity: infinite,
      "0": zero,
      "1e308": /maxDelay/,
      "-7 days": /negative/,
      "7 parsecs": /invalid/,
      "no date": /invalid/
    }
  },
  "resilience/Fault layerAtLeast.confidence": orZero((confidence) => Fault.layerAtLeast(confidence)),
  "resilience/Recoverable RecoverableOptions.timeout": count((timeout) => Recovery.recoverable({ name: "r", timeout })),
  "resilience/Recovery attemptTimeout.timeout": count((timeout) => Recovery.attemptTimeout(down, timeout)),
  "resilience/RetryBudget Options.capacity": count((capacity) => RetryBudget.make({ name: "b", capacity })),
  "resilience/RetryBudget Options.perSecond": orZero((perSecond) => RetryBudget.make({ name: "b", perSecond })),
  "resilience/RetryBudget Options.ratio": orZero((ratio) => RetryBudget.make({ name: "b", ratio })),
  "resilience/RetryPolicy Options.jitter": curve(RetryPolicy.exponential, "jitter", orZero),
  "resilience/RetryPolicy Options.maxDelay": curve(RetryPolicy.exponential, "maxDelay", orZero),
  "resilience/RetryPolicy Options.maxElapsed": curve(RetryPolicy.exponential, "maxElapsed", orZero),
  "resilience/RetryPolicy Options.maxRetries": curve(RetryPolicy.exponential, "maxRetries", orBoth),
  "resilience/RetryPolicy exponential.factor": curve(RetryPolicy.exponential, "factor", count),
  "resilience/RetryPolicy exponential.initialDelay": curve(RetryPolicy.exponential, "initialDelay", orZero),
  "resilience/RetryPolicy fibonacci.initialDelay": curve(RetryPolicy.fibonacci, "initialDelay", orZero),
  "resilience/RetryPolicy fixed.delay": curve(RetryPolicy.fixed, "delay", orZero),
  "resilience/RetryPolicy linear.increment": curve(RetryPolicy.linear, "increment", orZero),
  "resilience/RetryPolicy linear.initialDelay": curve(RetryPolicy.linear, "initialDelay", orZero),
  "resilience/RetryPolicy preview.count": orZero((most) => RetryPolicy.preview(RetryPolicy.exponential(), most)),
  "resilience/RunStrategy RewindOptions.times": orZero((times) => Strategy.restart({ times })),
  "resilience/TripCondition consecutive.failures": count((failures) => CircuitBreaker.consecutive({ failures })),
  "resilience/TripCondition countWindow.failureRate": count((rate) =>
    CircuitBreaker.countWindow({ failureRate: rate })
  ),
  "resilience/TripCondition countWindow.minimum": count((minimum) => CircuitBreaker.countWindow({ minimum })),
  "resilience/TripCondition countWindow.size": count((size) => CircuitBreaker.countWindow({ size })),
  "resilience/TripCondition slowCalls.minimum": count((minimum) =>
    CircuitBreaker.slowCalls({ slowerThan: 1, minimum })
  ),
  "resilience/TripCondition slowCalls.slowRate": count((slowRate) =>
    CircuitBreaker.slowCalls({ slowerThan: 1, slowRate })
  ),
  "resilience/TripCondition slowCalls.slowerThan": count((slowerThan) => CircuitBreaker.slowCalls({ slowerThan })),
  "resilience/TripCondition slowCalls.window": count((window) => CircuitBreaker.slowCalls({ slowerThan: 1, window })),
  "resilience/TripCondition timeWindow.failureRate": count((rate) => CircuitBreaker.timeWindow({ failureRate: rate })),
  "resilience/TripCondition timeWindow.minimum": count((minimum) => CircuitBreaker.timeWindow({ minimum })),
  "resilience/TripCondition timeWindow.window": count((window) => CircuitBreaker.timeWindow({ window })),
  "resilience/internal/kernel/session Limits.maxDecisions": orZero((maxDecisions) =>
    Recovery.recover(down as Effect.Effect<never, never>, {}, { maxDecisions })
  ),
  "resilience/internal/kernel/session Limits.maxElapsed": orZero((maxElapsed) =>
    Recovery.recover(down as Effect.Effect<never, never>, {}, { maxElapsed })
  ),
  "shared/SharedBreaker SharedOptions.interval": count((interval) => SharedBreaker.make({ name: "b", interval })),
  "shared/SharedBreaker SharedOptions.probeTimeout": count((probeTimeout) =>
    SharedBreaker.make({ name: "b", probeTimeout })
  ),
  "shared/SharedBreaker SharedOptions.processes": count((processes) => SharedBreaker.make({ name: "b", processes })),
  "shared/SharedBreaker SharedOptions.share": orZero((share) => SharedBreaker.make({ name: "b", share })),
  "shared/SharedBreaker SharedOptions.storageTimeout": count((storageTimeout) =>
    SharedBreaker.make({ name: "b", storageTimeout })
  ),
  "storage/Storage Options.lease": count((lease) => Storage.make(Storage.memoryStore(), { owner: "o", lease })),
  "storage/Tier tierMemory.capacity": count((capacity) => Storage.tierMemory({ capacity })),
  "storage/Tier tierMemory.timeToLive": orInfinity((timeToLive) => Storage.tierMemory({ timeToLive })),
  "storage/sql/SqlStorage Options.lease": count((lease) =>
    Layer.provide(SqlStorage.layer({ lease }), SqliteClient.layer({ filename: ":memory:" }))
  ),
  "storage/sql/SqlStorage Options.patience": orZero((patience) =>
    Layer.provide(SqlStorage.layer({ patience }), SqliteClient.layer({ filename: ":memory:" }))
  ),
  "storage/sqlite/SqliteClient Options.busyTimeout": orZero((busyTimeout) =>
    SqliteStorage.layer({ filename: ":memory:", busyTimeout })
  ),
  "storage/sqlite/SqliteStorage layerClient.lease": count((lease) =>
    Layer.provide(SqliteStorage.layerClient({ lease }), SqliteClient.layer({ filename: ":memory:" }))
  ),
  "storage/sqlite/SqliteStorage Options.lease": count((lease) => SqliteStorage.layer({ filename: ":memory:", lease })),
  "testing/Testing CrashOptions.lease": count((lease) => Testing.crashEverywhere(job, { input: undefined, lease })),
  "testing/killEverywhere KillOptions.concurrency": count((concurrency) =>
    Testing.killEverywhere({ program: "none", storage: () => Storage.layerMemory, concurrency })
  ),
  "transaction/Transaction CompensationOptions.timeout": orInfinity((timeout) =>
    Transaction.withCompensation(Effect.void, () => Effect.void, { timeout })
  )
}

const classified = (declaration: Fault.Declaration) =>
  Effect.provide(Fault.classify("x"), Fault.layer({ name: "x", match: () => declaration }))

/** Numbers in parameters that are no options: what the library itself gives, what a store keeps, permissions of files. */
const others: ReadonlyArray<RegExp> = [
  /\/internal\/(?!kernel\/session Limits\.)/,
  /^storage\/(RunStore|Store|rows) /,
  /^resilience\/(Events|StrategyModel) /,
  /^resilience\/TripCondition TripState\./,
  /^resilience\/CircuitBreaker Change\./,
  /^resilience\/(Bulkhead|RetryBudget) (Settings|Snapshot|TokenBucket)\./,
  /^resilience\/RetryPolicy Description\./,
  /^resilience\/Decision Again\./,
  /^resilience\/Redaction Redactor\.json\./,
  /^resilience\/Fault (Fault|read|status|classifyIn|retryAfterIn)\./,
  /^resilience\/CircuitBreaker Snapshot\./,
  /^resilience\/Refusal /,
  /^durable\/Step (Attempt|ToUndo)\./,
  /^durable\/RunSchedule Options\.input\.due/,
  /^chain\/Chain Context\./,
  /^lock\/LockDriver Driver\.cleanup/,
  /^resilience\/RetryPolicy RetryPolicy\.now/,
  /^storage\/sqlite\/writer /,
  /^testing\/Scorecard /,
  /^transaction\/Compensation /,
  /\.mode$/
]

const services = Layer.provideMerge(Layer.mergeAll(Lock.layerStorage(), State.layer), Storage.layerMemory)

/** What the option does: an `InvalidOption` that was thrown, a failure or a defect, or undefined. */
const refusalOf = async (use: Attempt["use"], value: unknown): Promise<unknown> => {
  // A query is a request too: one that is of another type is an InvalidRequest.
  const isRefusal = (error: unknown) =>
    error instanceof RetryPolicy.InvalidOption || error instanceof OperateError.InvalidRequest
  try {
    // Each value is given as the type of the option, which it may not have.
    const made = use(value as never)
    const effect = Layer.isLayer(made) ? Layer.build(made as unknown as Layer.Layer<never>) : made
    if (!Effect.isEffect(effect)) return undefined
    const run = Effect.scoped(Effect.provide(effect as Effect.Effect<unknown>, services))
    const exit = await Effect.runPromiseExit(Effect.timeout(run, "20 seconds"))
    if (Exit.isSuccess(exit)) return undefined
    return [...Cause.failures(exit.cause), ...Cause.defects(exit.cause)].find(isRefusal)
  } catch (error) {
    if (isRefusal(error)) return error
    throw error
  }
}

describe("the options of the public API", () => {
  let found: ReadonlyArray<PublicOption> = []
  beforeAll(() => {
    found = publicOptions()
  }, 300_000)

  it("are all in the list of this test, which finds them by their types", () => {
    const isOther = ({ key }: PublicOption) => others.some((pattern) => pattern.test(key))
    const quantities = found.filter((option) => !isOther(option)).map(({ key }) => key)
    assert.deepStrictEqual(quantities, Object.keys(options).sort())
    for (const pattern of others)
      assert.isTrue(
        found.some(({ key }) => pattern.test(key)),
        String(pattern)
      )
  })

  it("refuse senseless values by name, or say what they mean", { timeout: 300_000 }, async () => {
    const wrong: Array<string> = []
    for (const [key, { means = {}, name = key.split(".").at(-1), use }] of Object.entries(options)) {
      const documentation = found.find((option) => option.key === key)?.documentation ?? ""
      for (const [shown, value] of Object.entries(senseless)) {
        const meaning = means[shown as Senseless]
        const refusal = await refusalOf(use, value)
        if (meaning === undefined) {
          if (refusal instanceof OperateError.InvalidRequest) {
            if (!refusal.message.includes(`${name}`)) wrong.push(`${key}: ${refusal.message} does not name the option`)
          } else if (!(refusal instanceof RetryPolicy.InvalidOption)) wrong.push(`${key}: ${shown} is taken`)
          else if (refusal.option !== name) wrong.push(`${key}: the refusal of ${shown} names ${refusal.option}`)
        } else if (refusal !== undefined) wrong.push(`${key}: ${shown} is refused: ${refusal}`)
        else if (!meaning.test(documentation)) wrong.push(`${key}: the comment does not say what ${shown} means`)
      }
    }
    assert.deepStrictEqual(wrong, [])
  })
})
