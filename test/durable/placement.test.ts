import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { Signal, Step, Storage, Workflow } from "effect-recovery"
import { shardOf } from "../../src/storage/shards.js"
import { makePlacing, placedProcess } from "../support/placement.js"
import { eventually, turns } from "../support/time.js"

const shards = 4
const all = [1, 2, 3, 4]
const runOf = (shard: number, n = 0): string =>
  Array.from({ length: 200 }, (_, i) => `run-${n}-${i}`).find((id) => shardOf(id, shards) === shard) ?? ""

/** A store that tells no other process of its changes, as a file. */
const silentStore = (): Storage.Store => ({ ...Storage.memoryStore(), changes: Stream.empty })

const find = (store: Storage.Store, id: string) => Effect.map(store.find(id), Option.getOrThrow)
const until = <E, R>(condition: Effect.Effect<boolean, E, R>) => eventually(condition, (isTrue) => isTrue)
const hasEnded = (store: Storage.Store, id: string) =>
  Effect.map(
    store.find(id),
    Option.exists(({ outcome }) => outcome !== undefined)
  )

/** Two steps; the first one waits for the gate. Notes which process runs which step. */
const makeSlow = () =>
  Effect.gen(function* () {
    const gate = yield* Deferred.make<void>()
    const began = yield* Deferred.make<void>()
    const ran: Array<string> = []
    const flowOf = (process: string) => {
      const one = Step.make("one", {
        run: Effect.suspend(() => {
          ran.push(`${process} one`)
          return Effect.zipRight(Deferred.succeed(began, undefined), Deferred.await(gate))
        })
      })
      const two = Step.make("two", { run: Effect.sync(() => void ran.push(`${process} two`)) })
      return Workflow.make("slow", {}, () => Effect.zipRight(one, two))
    }
    return { gate, began, ran, flowOf }
  })

const completed = (store: Storage.Store, id: string) =>
  Effect.gen(function* () {
    const lines = yield* store.journal((yield* find(store, id)).key)
    return lines.flatMap(({ kind, step }) => (kind === "StepCompleted" ? [step] : []))
  })

describe("a worker that loses a shard", () => {
  it.scoped("hands its runs over at the end of the running step, and keeps those of other shards", () =>
    Effect.gen(function* () {
      const store = silentStore()
      const { began, flowOf, gate, ran } = yield* makeSlow()
      const [a, b] = [makePlacing(shards), makePlacing(shards)]
      a.own(1, 2)
      const A = yield* placedProcess(store, "a", [flowOf("a")], a)
      yield* placedProcess(store, "b", [flowOf("b")], b)
      const [moved, kept] = [runOf(1), runOf(2)]
      for (const id of [moved, kept]) yield* A.here(Workflow.start(flowOf("a"), { id }))
      yield* Deferred.await(began)
      yield* until(Effect.sync(() => ran.length === 2))
      a.own(2)
      const handedOver = yield* Effect.fork(A.state.handedOver(1))
      yield* turns()
      // The step still runs, so the lease is kept.
      assert.isNull(handedOver.unsafePoll())
      assert.match((yield* find(store, moved)).owner ?? "", /^a\/0/)
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(handedOver)
      assert.isUndefined((yield* find(store, moved)).owner)
      yield* A.state.handedOver(3)
      yield* until(hasEnded(store, kept))
      b.own(1)
      yield* until(hasEnded(store, moved))
      assert.deepStrictEqual(ran.filter((line) => line.endsWith("two")).sort(), ["a two", "b two"])
      assert.deepStrictEqual(
        ran.filter((line) => line.endsWith("one")),
        ["a one", "a one"]
      )
      assert.deepStrictEqual(yield* completed(store, moved), ["one", "two"])
    })
  )

  it.scoped("interrupts a step that takes longer than `drain`, and leaves the run to the new owner", () =>
    Effect.gen(function* () {
      const store = silentStore()
      const { began, flowOf, gate, ran } = yield* makeSlow()
      const [a, b] = [makePlacing(shards), makePlacing(shards)]
      a.own(...all)
      const A = yield* placedProcess(store, "a", [flowOf("a")], a, { drain: "3 seconds" })
      const id = runOf(3)
      yield* A.here(Workflow.start(flowOf("a"), { id }))
      yield* Deferred.await(began)
      a.own(1, 2, 4)
      const handedOver = yield* Effect.fork(A.state.handedOver(3))
      yield* TestClock.adjust("2900 millis")
      assert.isNull(handedOver.unsafePoll())
      yield* TestClock.adjust("200 millis")
      yield* Fiber.join(handedOver)
      yield* Deferred.succeed(gate, undefined)
      yield* placedProcess(store, "b", [flowOf("b")], b)
      b.own(3)
      yield* until(hasEnded(store, id))
      assert.deepStrictEqual(ran, ["a one", "b one", "b two"])
    })
  )

  it.scoped("suspends at once what sleeps in memory, until the time at which it is due", () =>
    Effect.gen(function* () {
      const store = silentStore()
      const a = makePlacing(shards)
      a.own(...all)
      const Sleeps = Workflow.make("sleeps", {}, () => Workflow.sleep("800 millis"))
      const A = yield* placedProcess(store, "a", [Sleeps], a)
      const id = runOf(1)
      yield* A.here(Workflow.start(Sleeps, { id }))
      yield* until(Effect.map(find(store, id), ({ owner }) => owner !== undefined))
      yield* turns()
      const now = yield* store.now
      a.own()
      yield* A.state.handedOver(1)
      const { dueAt, owner } = yield* find(store, id)
      assert.isUndefined(owner)
      assert.strictEqual(dueAt, now + 800)
    })
  )

  it.scoped("releases a run that a claim of before the loss has answered", () =>
    Effect.gen(function* () {
      const memory = silentStore()
      const answer = yield* Deferred.make<void>()
      const claimed = yield* Deferred.make<void>()
      const store: Storage.Store = {
        ...memory,
        claimDue: (...args) =>
          Effect.tap(memory.claimDue(...args), () =>
            Effect.zipRight(Deferred.succeed(claimed, undefined), Deferred.await(answer))
          )
      }
      const a = makePlacing(shards)
      const ran: Array<string> = []
      const Flow = Workflow.make("flow", {}, () => Step.make("one", { run: Effect.sync(() => void ran.push("one")) }))
      const outside = yield* Storage.make(memory, { owner: "outside" })
      const id = runOf(2)
      yield* Effect.provideService(Workflow.start(Flow, { id }), Storage.Storage, outside)
      a.own(2)
      const A = yield* placedProcess(store, "a", [Flow], a)
      yield* Deferred.await(claimed)
      a.own()
      const handedOver = yield* Effect.fork(A.state.handedOver(2))
      yield* turns()
      assert.isNull(handedOver.unsafePoll())
      yield* Deferred.succeed(answer, undefined)
      yield* Fiber.join(handedOver)
      assert.deepStrictEqual(ran, [])
      assert.isUndefined((yield* find(memory, id)).owner)
    })
  )
})

describe("a worker that gains a shard", () => {
  it.scoped("ends the placed leases of others and takes their runs at once, and the late owner writes nothing", () =>
    Effect.gen(function* () {
      const store = silentStore()
      const slow = yield* makeSlow()
      const { began, flowOf, gate, ran } = slow
      const [a, b] = [makePlacing(shards), makePlacing(shards)]
      a.own(...all)
      const A = yield* placedProcess(store, "a", [flowOf("a")], a)
      const id = runOf(4)
      yield* A.here(Workflow.start(flowOf("a"), { id }))
      yield* Deferred.await(began)
      // The process still believes to own the shard.
      const B = yield* placedProcess(store, "b", [flowOf("b")], b)
      b.own(4)
      yield* until(Effect.sync(() => ran.includes("b one")))
      assert.strictEqual((yield* find(store, id)).token, 2)
      yield* Deferred.succeed(gate, undefined)
      yield* until(hasEnded(store, id))
      assert.deepStrictEqual(ran, ["a one", "b one", "b two"])
      assert.deepStrictEqual(yield* completed(store, id), ["one", "two"])
      const { running } = yield* B.here(B.health)
      assert.deepStrictEqual(running, [])
    })
  )

  it.scoped("breaks no lease of `Workflow.execute`, and none of a worker without a placement", () =>
    Effect.gen(function* () {
      const store = silentStore()
      const { flowOf, gate, ran } = yield* makeSlow()
      const b = makePlacing(shards)
      const outside = yield* Storage.make(store, { owner: "outside" })
      const id = runOf(4)
      const executed = yield* Effect.fork(
        Effect.provideService(Workflow.execute(flowOf("a"), { id }), Storage.Storage, outside)
      )
      yield* until(Effect.sync(() => ran.length === 1))
      const B = yield* placedProcess(store, "b", [flowOf("b")], b)
      b.own(...all)
      yield* TestClock.adjust("9 seconds")
      const found = yield* find(store, id)
      assert.deepStrictEqual([found.owner, found.token], ["outside/1", 1])
      // It waits for the time at which its lease would expire.
      assert.deepStrictEqual((yield* B.here(B.health)).running, [])
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(executed)
      assert.deepStrictEqual(ran, ["a one", "a two"])
    })
  )

  it.scoped("tries again to end the leases when the store has failed", () =>
    Effect.gen(function* () {
      const memory = silentStore()
      let failures = 2
      const store: Storage.Store = {
        ...memory,
        endPlacedLeases: (leases) =>
          failures-- > 0
            ? new Storage.StorageError({ reason: "Io", operation: "Ending placed leases" })
            : memory.endPlacedLeases(leases)
      }
      const { began, flowOf, gate, ran } = yield* makeSlow()
      const [a, b] = [makePlacing(shards), makePlacing(shards)]
      a.own(...all)
      const A = yield* placedProcess(memory, "a", [flowOf("a")], a)
      yield* A.here(Workflow.start(flowOf("a"), { id: runOf(1) }))
      yield* Deferred.await(began)
      yield* placedProcess(store, "b", [flowOf("b")], b)
      b.own(...all)
      yield* turns()
      assert.isFalse(ran.includes("b one"))
      yield* TestClock.adjust("3 seconds")
      yield* until(Effect.sync(() => ran.includes("b one")))
      yield* Deferred.succeed(gate, undefined)
    })
  )
})

describe("a worker that gains a shard while it ends leases of others", () => {
  it.scoped("ends the leases that others have got since, too", () =>
    Effect.gen(function* () {
      const memory = silentStore()
      const [ending, end] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const store: Storage.Store = {
        ...memory,
        endPlacedLeases: (leases) =>
          Effect.tap(memory.endPlacedLeases(leases), () =>
            Effect.zipRight(Deferred.succeed(ending, undefined), Deferred.await(end))
          )
      }
      const { began, flowOf, gate, ran } = yield* makeSlow()
      const [a, b] = [makePlacing(shards), makePlacing(shards)]
      yield* placedProcess(store, "b", [flowOf("b")], b)
      b.own(1)
      yield* Deferred.await(ending)
      // The answer is under way while the shard moves, another process takes a run of it, and the shard comes back.
      b.own()
      a.own(1)
      const A = yield* placedProcess(memory, "a", [flowOf("a")], a)
      yield* A.here(Workflow.start(flowOf("a"), { id: runOf(1) }))
      yield* Deferred.await(began)
      b.own(1)
      yield* Deferred.succeed(end, undefined)
      yield* TestClock.adjust("3 seconds")
      yield* until(Effect.sync(() => ran.includes("b one")))
      yield* Deferred.succeed(gate, undefined)
    })
  )
})

describe("a worker with a placement", () => {
  const Go = Signal.make("go", Schema.Number)
  const Waits = Workflow.make("waits", {}, () => Effect.asVoid(Go.wait()))

  it.scoped("tells of runs of others that this process makes due, and of no other change", () =>
    Effect.gen(function* () {
      const store = silentStore()
      const a = makePlacing(shards)
      a.own(1)
      const A = yield* placedProcess(store, "a", [Waits], a)
      const [own, foreign] = [runOf(1), runOf(2)]
      yield* A.here(Workflow.start(Waits, { id: own }))
      yield* until(Effect.map(find(store, own), ({ waiting }) => waiting !== undefined))
      yield* A.here(Go.send(own, 1))
      yield* until(hasEnded(store, own))
      assert.deepStrictEqual(a.hints, [])
      const expect = (hints: ReadonlyArray<string>) => assert.deepStrictEqual(a.hints.splice(0), hints)
      yield* A.here(Workflow.start(Waits, { id: foreign }))
      expect([foreign])
      yield* A.here(Go.send(foreign, 1))
      expect([foreign])
      yield* A.here(Workflow.hold(foreign, { reason: "later" }))
      expect([])
      yield* A.here(Workflow.release(foreign))
      expect([foreign])
      yield* A.here(Workflow.cancel(foreign, { reason: "no" }))
      expect([foreign])
    })
  )

  it.scoped("takes a run at the next sweep when a hint is lost, and at once when it is asked to look", () =>
    Effect.gen(function* () {
      const store = silentStore()
      const [a, b] = [makePlacing(shards), makePlacing(shards)]
      const Flow = Workflow.make("flow", {}, () => Effect.void)
      a.own(1)
      b.own(2)
      const A = yield* placedProcess(store, "a", [Flow], a)
      const B = yield* placedProcess(store, "b", [Flow], b)
      yield* turns()
      const [first, second] = [runOf(2), runOf(2, 1)]
      yield* A.here(Workflow.start(Flow, { id: first }))
      yield* turns()
      assert.isFalse(yield* hasEnded(store, first))
      yield* TestClock.adjust("1 second")
      yield* until(hasEnded(store, first))
      yield* A.here(Workflow.start(Flow, { id: second }))
      B.state.look()
      yield* until(hasEnded(store, second))
    })
  )

  it.scoped("needs no hint where the store tells other processes", () =>
    Effect.gen(function* () {
      const store = Storage.memoryStore()
      const [a, b] = [makePlacing(shards), makePlacing(shards)]
      const Flow = Workflow.make("flow", {}, () => Effect.void)
      a.own(1)
      b.own(2)
      const A = yield* placedProcess(store, "a", [Flow], a)
      yield* placedProcess(store, "b", [Flow], b)
      yield* turns()
      yield* A.here(Workflow.start(Flow, { id: runOf(2) }))
      yield* until(hasEnded(store, runOf(2)))
      assert.deepStrictEqual(a.hints, [])
    })
  )

  it.scoped("takes the runs of a dead process at the end of their leases, from all shards, and keeps them", () =>
    Effect.gen(function* () {
      const store = silentStore()
      const slow = yield* makeSlow()
      const { flowOf, gate, ran } = slow
      const id = runOf(4)
      // A process that has claimed the run by its placement, and says nothing any more.
      yield* store.enqueue({ id, workflow: "slow", version: "1", input: "", labels: {} })
      const query = { workflows: [{ workflow: "slow", version: "1" }], limit: 1, placement: { shards, owned: [4] } }
      yield* store.claimDue(query, "dead/01", 30_000)
      const [a, b] = [makePlacing(shards), makePlacing(shards)]
      a.own(1)
      yield* placedProcess(store, "a", [flowOf("a")], a)
      yield* placedProcess(store, "b", [flowOf("b")], b)
      yield* TestClock.adjust("29 seconds")
      assert.deepStrictEqual(ran, [])
      yield* TestClock.adjust("2 seconds")
      yield* until(Effect.sync(() => ran.length === 1))
      const { owner } = yield* find(store, id)
      assert.match(owner ?? "", /^[ab]\/[1-9]/)
      // The shard is assigned to the other one later, which lets the run where it is.
      const [first, other] = ran[0] === "a one" ? [a, b] : [b, a]
      other.own(4)
      first.own()
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual((yield* find(store, id)).owner, owner)
      yield* Deferred.succeed(gate, undefined)
      yield* until(hasEnded(store, id))
      assert.strictEqual(ran.length, 2)
    })
  )

  it.scoped("shows its shards, and is not stalled by due runs of others", () =>
    Effect.gen(function* () {
      const store = silentStore()
      const a = makePlacing(shards)
      const A = yield* placedProcess(store, "a", [Waits], a, { sweep: "1 minute", stalled: "5 minutes" })
      yield* A.here(Workflow.start(Waits, { id: runOf(2) }))
      for (const owned of [[], [3, 1]]) {
        a.own(...owned)
        yield* TestClock.adjust("10 minutes")
        const { due, shards, status } = yield* A.here(A.health)
        assert.deepStrictEqual([due, status], [1, "ok"])
        assert.deepStrictEqual(shards, Option.some([...owned].sort()))
      }
    })
  )

  it.scoped("leaves nothing behind when its scope closes", () =>
    Effect.gen(function* () {
      const store = silentStore()
      const a = makePlacing(shards)
      a.own(...all)
      const scope = yield* Scope.make()
      const A = yield* Scope.extend(placedProcess(store, "a", [Waits], a), scope)
      yield* A.here(Workflow.start(Waits, { id: runOf(1) }))
      yield* Scope.close(scope, Exit.void)
      a.own()
      assert.isUndefined((yield* find(store, runOf(1))).owner)
      yield* A.state.handedOver(1)
    })
  )
})
