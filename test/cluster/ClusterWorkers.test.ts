import * as ShardId from "@effect/cluster/ShardId"
import { Sharding } from "@effect/cluster/Sharding"
import { describe, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Queue, Signal, Step, Storage, Workflow } from "effect-recovery"
import { ClusterWorkers } from "effect-recovery/cluster"
import { countShards, keeperNames } from "../../src/cluster/internal/shards.js"
import { shardOf } from "../../src/storage/shards.js"
import { isSoak } from "../support/campaigns.js"
import { seeded } from "../support/children.js"
import { join, makeRunners, runner, shards } from "../support/fleet.js"
import { type Backend, memory, sqlite } from "../support/storages.js"
import { eventually } from "../support/time.js"

const Go = Signal.make("go", Schema.Number)

interface Event {
  readonly runner: string
  readonly run: string
  readonly step: string
}

/** A store with any number of runners, what their steps do, and gates before which steps wait. */
const makeFleet = Effect.fnUntraced(function* (backend: Backend) {
  const place = yield* backend.make
  const runners = makeRunners()
  const begun: Array<Event> = []
  const ended: Array<Event> = []
  const gates = new Map<string, Deferred.Deferred<void>>()
  const workflows = (runner: string) => {
    const step = (step: string) =>
      Step.make(step, {
        run: (_: undefined, { run }) =>
          Effect.suspend(() => {
            begun.push({ runner, run, step })
            const gate = gates.get(`${run} ${step}`)
            const passed = gate === undefined ? Effect.yieldNow() : Deferred.await(gate)
            return Effect.map(passed, () => void ended.push({ runner, run, step }))
          })
      })(undefined)
    const Job = Workflow.make("job", {}, () => Effect.zipRight(step("first"), step("second")))
    const Waits = Workflow.make("waits", { success: Schema.Number }, () =>
      Effect.zipRight(step("before"), Go.wait({ id: "go" }))
    )
    return [Job, Waits] as const
  }
  const [Job, Waits] = workflows("outside")
  return {
    place,
    runners,
    begun,
    ended,
    Job,
    Waits,
    /** The step of the run waits until the gate is opened. */
    gate: (run: string, step: string) => {
      const gate = Effect.runSync(Deferred.make<void>())
      gates.set(`${run} ${step}`, gate)
      return Deferred.succeed(gate, undefined)
    },
    join: (name: string, options: ClusterWorkers.Options = {}, sharding = runner(runners)) =>
      join(
        ClusterWorkers.layer(workflows(name), options).pipe(
          Layer.provide(sharding),
          Layer.provideMerge(place.join("1 hour"))
        )
      )
  }
})

type Member = Effect.Effect.Success<ReturnType<typeof join>>

const ownedBy = ({ health }: Pick<Member, "health">) =>
  Effect.map(health, ({ shards }) => Option.getOrElse(shards, (): ReadonlyArray<number> => []))

/** Waits until the runners own all shards, each of them some. */
const settled = (...members: ReadonlyArray<Pick<Member, "health">>) =>
  eventually(
    Effect.forEach(members, ownedBy),
    (owned) => owned.flat().length === shards && owned.every((own) => own.length > 0)
  )

/** One run for each shard. */
const ofEachShard = [...keeperNames(shards).values()]

for (const backend of [memory, sqlite]) {
  describe(`${backend.name}: workers that are placed by a cluster`, () => {
    // These do not differ by storage.
    const inOne = it.scopedLive.runIf(backend === memory || isSoak)

    it.scopedLive("advance each run where its shard is, and execute and join answer everywhere", () =>
      Effect.gen(function* () {
        const { begun, Job, join, place } = yield* makeFleet(backend)
        const [a, b] = [yield* join("a"), yield* join("b")]
        const [ofA, ofB] = yield* settled(a, b)
        const ids = Array.from({ length: 30 }, (_, i) => `run ${i}`)
        const outside = yield* Layer.build(place.join())
        yield* Effect.provide(
          Effect.forEach(ids, (id) => Workflow.start(Job, { id })),
          outside
        )
        for (const where of [outside, a.context, b.context]) {
          yield* Effect.provide(
            Effect.forEach(ids, (id) => Workflow.join(Job, id), { concurrency: "unbounded" }),
            where
          )
          yield* Effect.provide(Workflow.execute(Job, { id: "run 0" }), where)
        }
        expect(begun.length).toBe(2 * ids.length)
        for (const { run, runner } of begun) {
          const shard = shardOf(run, shards)
          expect(runner === "a" ? ofA : ofB).toContain(shard)
        }
        yield* Effect.provide(Workflow.execute(Job, { id: "executed" }), a.context)
      })
    )

    inOne("hand the runs of a shard over at the end of their steps before the shard moves", () =>
      Effect.gen(function* () {
        const { begun, ended, gate, Job, join, runners } = yield* makeFleet(backend)
        // Longer than the test: the steps end because their gates open.
        const drain = "10 minutes"
        const a = yield* join("a", { concurrency: shards, drain })
        const open = Effect.all(ofEachShard.map((run) => gate(run, "first")))
        // Runner `a` could not leave while its steps wait.
        yield* Effect.addFinalizer(() => open)
        yield* Effect.provide(
          Effect.forEach(ofEachShard, (id) => Workflow.start(Job, { id })),
          a.context
        )
        yield* eventually(
          Effect.sync(() => begun.length),
          (count) => count === shards
        )
        const b = yield* join("b", { drain })
        const kept = yield* eventually(ownedBy(a), (own) => own.length < shards)
        // Runner `b` asks for the other shards and does not get them, since their steps still run.
        const before = runners.refusals()
        yield* eventually(
          Effect.zip(ownedBy(b), Effect.sync(runners.refusals)),
          ([own, refusals]) => own.length > 0 || refusals > before + 1
        )
        expect(yield* ownedBy(b)).toEqual([])
        expect(begun).toHaveLength(shards)
        yield* open
        yield* Effect.provide(
          Effect.forEach(ofEachShard, (id) => Workflow.join(Job, id), { concurrency: "unbounded" }),
          a.context
        )
        expect(ended.filter(({ step }) => step === "first").map(({ runner }) => runner)).toEqual(
          Array.from({ length: shards }, () => "a")
        )
        expect(begun.length).toBe(2 * shards)
        for (const { run, runner } of ended.filter(({ step }) => step === "second")) {
          const isKept = kept.includes(shardOf(run, shards))
          expect([run, runner]).toEqual([run, isKept ? "a" : "b"])
          const found = yield* Effect.provide(
            Effect.flatMap(Storage.Storage, (storage) => storage.find(run)),
            a.context
          )
          expect(Option.map(found, ({ token }) => token)).toEqual(Option.some(isKept ? 1 : 2))
        }
      })
    )

    inOne("take no run of a shard before the shard would wait for it", () =>
      Effect.gen(function* () {
        const { begun, Job, join, place } = yield* makeFleet(backend)
        const arrive = yield* Deferred.make<void>()
        let looks = 0
        /** A runner that owns shards before it hears that an entity of `ClusterWorkers` belongs to each of them. */
        const slow = Layer.map(runner(makeRunners()), (context) => {
          const sharding = Context.get(context, Sharding)
          const isOwn = (shard: number) => sharding.hasShardId(ShardId.make("default", shard))
          return Context.make(Sharding, {
            ...sharding,
            registerEntity: (entity, build, options) =>
              Effect.zipRight(Deferred.await(arrive), sharding.registerEntity(entity, build, options)),
            hasShardId: (shard) => {
              if (shard.id === shards && ofEachShard.every((_, i) => isOwn(i + 1))) looks++
              return sharding.hasShardId(shard)
            }
          })
        })
        const outside = yield* Layer.build(place.join())
        yield* Effect.provide(
          Effect.forEach(ofEachShard, (id) => Workflow.start(Job, { id })),
          outside
        )
        const joining = yield* Effect.fork(join("a", { sweep: 20 }, slow))
        yield* eventually(
          Effect.sync(() => looks),
          (count) => count > 5
        )
        expect(begun).toEqual([])
        yield* Deferred.succeed(arrive, undefined)
        yield* Effect.provide(
          Effect.forEach(ofEachShard, (id) => Workflow.join(Job, id), { concurrency: "unbounded" }),
          outside
        )
        expect(yield* Effect.flatMap(Fiber.join(joining), ownedBy)).toHaveLength(shards)
      })
    )

    inOne("leave in order: their running steps end once, and the runs continue elsewhere", () =>
      Effect.gen(function* () {
        const { begun, ended, gate, Job, join } = yield* makeFleet(backend)
        const [a, b] = [yield* join("a"), yield* join("b")]
        const [, ofB] = yield* settled(a, b)
        const run = ofEachShard.find((id) => ofB?.includes(shardOf(id, shards))) ?? ""
        const open = gate(run, "first")
        yield* Effect.provide(Workflow.start(Job, { id: run }), a.context)
        yield* eventually(
          Effect.sync(() => begun.length),
          (count) => count === 1
        )
        const leaving = yield* Effect.fork(b.leave)
        yield* eventually(ownedBy(b), (own) => own.length === 0)
        yield* open
        yield* Effect.provide(Workflow.join(Job, run), a.context)
        yield* Fiber.join(leaving)
        expect(ended).toEqual([
          { runner: "b", run, step: "first" },
          { runner: "a", run, step: "second" }
        ])
        expect(yield* ownedBy(a)).toHaveLength(shards)
      })
    )

    it.scopedLive("end the leases that a dead process had by its shards at once, and no others", () =>
      Effect.gen(function* () {
        const { Job, join, place } = yield* makeFleet(backend)
        const dead = yield* Layer.build(place.join("1 hour"))
        const found = yield* Effect.provide(
          Effect.gen(function* () {
            const storage = yield* Storage.Storage
            for (const id of ofEachShard) yield* Workflow.start(Job, { id })
            const query = { workflows: [{ workflow: "job", version: "1" }], queues: [], except: [], limit: 100 }
            const placement = { shards, owned: Array.from({ length: shards }, (_, i) => i + 1) }
            yield* Effect.uninterruptibleMask((restore) => storage.claimDue({ ...query, placement }, restore))
            // An ordinary lease, as of `Workflow.execute`.
            yield* Workflow.start(Job, { id: "executed" })
            yield* Effect.uninterruptibleMask((restore) => storage.claimDue(query, restore))
            return storage.find
          }),
          dead
        )
        yield* join("a", { concurrency: shards })
        yield* Effect.provide(
          Effect.forEach(ofEachShard, (id) => Workflow.join(Job, id), { concurrency: "unbounded" }),
          dead
        )
        const executed = Option.getOrThrow(yield* found("executed"))
        expect([executed.outcome, executed.token]).toEqual([undefined, 1])
      })
    )

    it.scopedLive("learn of what another runner started, signalled or released, without a look of their own", () =>
      Effect.gen(function* () {
        const { begun, join, Waits } = yield* makeFleet(backend)
        // The store tells no process of the changes of others.
        const [a, b] = [
          yield* join("a", { sweep: "1 hour", patience: 0 }),
          yield* join("b", { sweep: "1 hour", patience: 0 })
        ]
        const [, ofB] = yield* settled(a, b)
        const run = ofEachShard.find((id) => ofB?.includes(shardOf(id, shards))) ?? ""
        const answer = yield* Effect.provide(
          Effect.gen(function* () {
            yield* Workflow.start(Waits, { id: run })
            yield* eventually(
              Effect.sync(() => begun.length),
              (count) => count === 1
            )
            yield* Go.send(run, 7, { id: "go" })
            return yield* Workflow.join(Waits, run)
          }),
          a.context
        )
        expect([answer, begun]).toEqual([7, [{ runner: "b", run, step: "before" }]])
      })
    )

    inOne("keep the limits of a queue over all runners", () =>
      Effect.gen(function* () {
        const { begun, ended, Job, join } = yield* makeFleet(backend)
        const queues = [Queue.make("two at once", { concurrency: 2 })]
        const [a, b] = [yield* join("a", { queues, sweep: 20 }), yield* join("b", { queues, sweep: 20 })]
        yield* settled(a, b)
        const ids = Array.from({ length: 20 }, (_, i) => `queued ${i}`)
        yield* Effect.provide(
          Effect.forEach(ids, (id) => Workflow.start(Job, { id, queue: queues[0] as Queue.Queue })),
          a.context
        )
        let most = 0
        const watch = Effect.sync(() => {
          const running = begun.filter(({ run, step }) => !ended.some((one) => one.run === run && one.step === step))
          most = Math.max(most, new Set(running.map(({ run }) => run)).size)
        })
        const watching = yield* Effect.fork(Effect.forever(Effect.zipRight(watch, Effect.yieldNow())))
        yield* Effect.provide(
          Effect.forEach(ids, (id) => Workflow.join(Job, id), { concurrency: "unbounded" }),
          a.context
        )
        yield* Fiber.interrupt(watching)
        expect(most).toBeLessThanOrEqual(2)
        expect(new Set(ended.map(({ runner }) => runner))).toEqual(new Set(["a", "b"]))
      })
    )

    it.scopedLive("do no harm where two of them believe that they own a shard, and change their minds", () =>
      Effect.gen(function* () {
        const { Job, join, place } = yield* makeFleet(backend)
        const random = seeded(22)
        /** A runner that owns whichever shards it thinks it does. */
        const wrong = Layer.project(runner(makeRunners()), Sharding, Sharding, (sharding) => ({
          ...sharding,
          hasShardId: () => random(3) > 0
        }))
        yield* join("a", { sweep: 20 }, wrong)
        yield* join("b", { sweep: 20 }, wrong)
        const outside = yield* Layer.build(place.join())
        const round = (number: number) =>
          Effect.gen(function* () {
            const ids = Array.from({ length: 40 }, (_, i) => `shared ${number}.${i}`)
            for (const id of ids) yield* Workflow.start(Job, { id })
            yield* Effect.forEach(ids, (id) => Workflow.join(Job, id), { concurrency: "unbounded" })
            const storage = yield* Storage.Storage
            return yield* Effect.forEach(ids, (id) =>
              Effect.gen(function* () {
                const { key, token } = Option.getOrThrow(yield* storage.find(id))
                const lines = yield* storage.journal(key)
                const completed = lines.filter(({ kind }) => kind === "StepCompleted").map(({ step }) => step)
                expect(completed).toEqual(["first", "second"])
                return token
              })
            )
          })
        // Until runs have changed hands: how many do in a round depends on how busy the machine is.
        for (let number = 0, tokens: ReadonlyArray<number> = []; !tokens.some((token) => token > 1); number++) {
          tokens = yield* Effect.provide(round(number), outside)
        }
      })
    )
  })
}

describe("ClusterWorkers.layer", () => {
  const Empty = Workflow.make("empty", {}, () => Effect.void)

  it("finds how many shards a group has, and a keeper for each of them", () => {
    for (const count of [1, 2, 3, 7, 64, 100, 300, 1_000, 4_096, 9_973]) {
      const at = (name: string) => ({ id: shardOf(name, count) })
      expect(countShards({ getShardId: at } as never, "default")).toBe(count)
      const names = keeperNames(count)
      expect(names.size).toBe(count)
      for (const [shard, name] of names) expect(shardOf(name, count)).toBe(shard)
    }
    const elsewhere = { getShardId: (name: string) => ({ id: (name.length % 5) + 1 }) }
    expect(countShards(elsewhere as never, "default")).toBeUndefined()
  })

  it.scopedLive("counts the shards of a real Sharding", () =>
    Effect.gen(function* () {
      const sharding = yield* Effect.map(Layer.build(runner(makeRunners())), Context.get(Sharding))
      expect(countShards(sharding, "default")).toBe(shards)
    })
  )

  it.scopedLive("refuses a second layer of one shard group in one process, and takes one of another group", () =>
    Effect.gen(function* () {
      const groups = ["default", "reports"]
      const sharding = yield* Layer.build(runner(makeRunners(), groups))
      const storage = yield* Layer.build(Storage.layerMemory)
      const start = (shardGroup: string) =>
        Effect.provide(Effect.provide(Layer.build(ClusterWorkers.layer([Empty], { shardGroup })), sharding), storage)
      yield* start("default")
      yield* start("reports")
      const refused = yield* Effect.exit(start("reports"))
      expect(refused).toEqual(Exit.fail(new ClusterWorkers.DuplicateShardGroup({ shardGroup: "reports" })))
    })
  )

  it.scopedLive("refuses a shard group whose layer has ended, and takes one whose layer was refused", () =>
    Effect.gen(function* () {
      const sharding = yield* Layer.build(runner(makeRunners()))
      const storage = yield* Layer.build(Storage.layerMemory)
      const start = (...workflows: ReadonlyArray<typeof Empty>) =>
        Effect.exit(Effect.scoped(Layer.build(ClusterWorkers.layer(workflows)))).pipe(
          Effect.provide(sharding),
          Effect.provide(storage)
        )
      expect(Exit.isFailure(yield* start(Empty, Empty))).toBe(true)
      expect(Exit.isSuccess(yield* start(Empty))).toBe(true)
      // `Sharding` would set up no keepers, and its runs would never begin.
      expect(yield* start(Empty)).toEqual(Exit.fail(new ClusterWorkers.DuplicateShardGroup({ shardGroup: "default" })))
    })
  )
})
