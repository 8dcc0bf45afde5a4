import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"
import * as TestClock from "effect/TestClock"
import { Storage } from "effect-recovery"
import { SqliteStorage } from "effect-recovery/sqlite"
import { lengthOf, seedOf } from "../support/campaigns.js"
import { entry, request } from "../support/runs.js"

const ids = ["a", "b", "c", "d", "e"]
const places = [
  { workflow: "w", version: "1" },
  { workflow: "w", version: "2" },
  { workflow: "v", version: "1" }
]

const small = FastCheck.nat(4)

/** One call of a store. Leases and owners are chosen among those that were acquired before. */
const call = FastCheck.oneof(
  FastCheck.record({
    _tag: FastCheck.constant("open" as const),
    id: small,
    lease: FastCheck.constantFrom(900, 30_000)
  }),
  FastCheck.record({
    _tag: FastCheck.constant("claimDue" as const),
    workflows: FastCheck.subarray(places),
    except: FastCheck.subarray(ids),
    limit: FastCheck.nat(3),
    lease: FastCheck.constantFrom(900, 30_000)
  }),
  FastCheck.record({
    _tag: FastCheck.constant("suspend" as const),
    lease: small,
    wait: FastCheck.constantFrom(-100, 700, 50_000, Number.POSITIVE_INFINITY),
    signals: FastCheck.nat(2),
    isAsking: FastCheck.boolean()
  }),
  FastCheck.record({ _tag: FastCheck.constant("release" as const), lease: small, isAll: FastCheck.boolean() }),
  FastCheck.record({ _tag: FastCheck.constant("renew" as const), leases: FastCheck.array(small, { maxLength: 3 }) }),
  FastCheck.record({
    _tag: FastCheck.constant("finish" as const),
    lease: small,
    status: FastCheck.constantFrom("completed" as const, "failed" as const, "exhausted" as const)
  }),
  FastCheck.record({ _tag: FastCheck.constant("reopen" as const), id: small }),
  FastCheck.record({ _tag: FastCheck.constant("signal" as const), id: small, key: small }),
  FastCheck.record({ _tag: FastCheck.constant("pass" as const), millis: FastCheck.constantFrom(100, 5_000, 60_000) })
)

type Call = typeof call extends FastCheck.Arbitrary<infer A> ? A : never

/** A store with the leases that it gave, latest first: both stores give the same ones, or the test has failed. */
interface Side {
  readonly store: Storage.Store
  readonly leases: Array<Storage.Lease>
}

const unknown: Storage.Lease = { key: 99, run: "x", token: 1, owner: "x", since: 0 }

const leaseOf = ({ leases }: Side, index: number) => leases[index] ?? unknown

const apply = (
  side: Side,
  made: Call,
  owner: string
): Effect.Effect<unknown, Storage.StorageError | Storage.LeaseLost> => {
  const { store } = side
  switch (made._tag) {
    case "open":
      return store.open(request(ids[made.id] ?? "", places[made.id % 3]), owner, made.lease)
    case "claimDue":
      return store.claimDue(made, owner, made.lease)
    case "suspend": {
      const waiting = made.isAsking ? `[{"kind":"question","since":"1970-01-01T00:00:00Z"}]` : undefined
      return Effect.flatMap(store.now, (now) =>
        store.suspend(leaseOf(side, made.lease), {
          dueAt: Math.min(now + made.wait, Storage.untilSignalled),
          signals: made.signals,
          waiting
        })
      )
    }
    case "release": {
      const lease = leaseOf(side, made.lease)
      return store.release(lease.owner, made.isAll ? undefined : lease.run)
    }
    case "renew":
      return store.renew(
        made.leases.map((index) => leaseOf(side, index)),
        2_000
      )
    case "finish":
      return store.finish(leaseOf(side, made.lease), { status: made.status, exit: "" })
    case "reopen":
      return Effect.flatMap(store.find(ids[made.id] ?? ""), (found) =>
        Option.isSome(found) ? store.reopen(found.value, entry(1), owner, 30_000) : Effect.succeedNone
      )
    case "signal":
      return store.signal(ids[made.id] ?? "", `${made.key}`, "1")
    case "pass":
      return TestClock.adjust(0)
  }
}

const leasesIn = (answer: unknown): ReadonlyArray<Storage.Lease> => {
  if (Array.isArray(answer)) return answer.flatMap(leasesIn)
  if (typeof answer !== "object" || answer === null) return []
  if (Option.isOption(answer)) return Option.isSome(answer) ? leasesIn(answer.value) : []
  if ("token" in answer && "since" in answer) return [answer as Storage.Lease]
  return "lease" in answer ? leasesIn(answer.lease) : []
}

/** Without the numbers of runs, which each store gives in its own way. */
const withoutKeys = (answer: unknown): unknown =>
  JSON.parse(JSON.stringify(answer, (name, value) => (name === "key" && typeof value === "number" ? undefined : value)))

const byPlace = <A extends { readonly workflow: string; readonly version?: string; readonly status?: string }>(
  rows: ReadonlyArray<A>
) => [...rows].sort((a, b) => (placeOf(a) < placeOf(b) ? -1 : 1))
const placeOf = (row: { readonly workflow: string; readonly version?: string; readonly status?: string }) =>
  `${row.workflow} ${row.version} ${row.status}`

const statuses: ReadonlyArray<Storage.Status> = ["running", "suspended", "stopped", "completed", "failed", "exhausted"]

/** Everything that a store tells about its runs. */
const look = (store: Storage.Store) =>
  Effect.gen(function* () {
    const lists = yield* Effect.forEach(statuses, (status) => store.list({ status }))
    const runs = yield* store.list({})
    return {
      runs,
      lists,
      asking: yield* store.list({ waitsFor: { kind: "question" } }),
      backlog: byPlace(yield* store.backlog),
      counts: byPlace(yield* store.countRuns),
      signals: yield* Effect.forEach(runs, ({ key }) => store.signals(key, 1))
    }
  })

describe("a store in memory and a store on a file", () => {
  it.scoped("answer alike, whatever is called", () =>
    Effect.gen(function* () {
      const sequences = FastCheck.sample(FastCheck.array(call, { minLength: 40, maxLength: 40 }), {
        seed: seedOf(20),
        numRuns: lengthOf("STORE_CALLS")
      })
      for (const calls of sequences) {
        const sides: ReadonlyArray<Side> = [
          { store: Storage.memoryStore(), leases: [] },
          { store: yield* SqliteStorage.store({ filename: ":memory:" }), leases: [] }
        ]
        const trace: Array<string> = []
        for (const [i, made] of calls.entries()) {
          // No two calls at one time: runs that are due equally long may come in either order.
          yield* TestClock.adjust(made._tag === "pass" ? made.millis + i : 7 + i)
          trace.push(JSON.stringify(made))
          const answers = yield* Effect.forEach(sides, (side) =>
            Effect.map(Effect.exit(apply(side, made, `owner-${i}`)), (exit) => {
              if (Exit.isSuccess(exit)) side.leases.unshift(...leasesIn(exit.value))
              return exit
            })
          )
          assert.deepStrictEqual(withoutKeys(answers[1]), withoutKeys(answers[0]), trace.join("\n"))
          const looks = yield* Effect.forEach(sides, ({ store }) => look(store))
          assert.deepStrictEqual(withoutKeys(looks[1]), withoutKeys(looks[0]), trace.join("\n"))
        }
      }
    })
  )
})
