import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { Storage } from "effect-recovery"
import { Testing } from "effect-recovery/testing"
import { turns } from "../support/time.js"

type Operations = Partial<Storage.Store>

/** A store whose operations take a while before and after they happen, each another one, as over connections of a pool. */
const overPool = (inner: Storage.Store): Storage.Store => {
  let seed = 1
  const latency = Effect.suspend(() => {
    seed = (seed * 48_271) % 0x7fffffff
    return turns(1 + (seed % 5))
  })
  const slow = Object.entries(inner).flatMap(([name, operation]: readonly [string, unknown]) =>
    typeof operation === "function"
      ? [[name, (...args: ReadonlyArray<unknown>) => around(name, operation(...args))] as const]
      : []
  )
  // Appends of one run end in the order of their calls.
  const around = (name: string, operation: Effect.Effect<unknown>) =>
    name === "append"
      ? Effect.zipLeft(Effect.zipRight(turns(3), operation), turns(2))
      : Effect.zipLeft(Effect.zipRight(latency, operation), latency)
  // Each operation has the arguments and the result of the one it delays.
  return { ...inner, ...Object.fromEntries(slow) } as Storage.Store
}

const find = (store: Storage.Store, id: string) => Effect.map(store.find(id), Option.getOrUndefined)

const isLeased = (store: Storage.Store, { owner, run, token }: Storage.Lease) =>
  Effect.map(find(store, run), (found) => found?.owner === owner && found.token === token)

const lost = ({ run, token }: Storage.Lease) => new Storage.LeaseLost({ run, token })

/** What a large write takes. */
const long = turns(40)

/** Leases the run to another owner, also if it is held. */
const seize = (store: Storage.Store, run: Storage.Run, owner: string) =>
  Effect.gen(function* () {
    const now = yield* find(store, run.id)
    yield* store.release(now?.owner ?? "", run.id)
    return yield* store.open(run, owner, 30_000)
  })

/**
 * Ports of the store that read, decide and then write, with other callers between, as statements of a database do that
 * lock no row. Each must fail these checks.
 */
const ports: ReadonlyArray<{
  readonly operation: string
  readonly port: (store: Storage.Store) => Operations
  readonly checks: ReadonlyArray<string>
}> = [
  {
    operation: "appends under a lease that it has looked up before",
    port: (store) => ({
      append: (lease, entries) =>
        Effect.gen(function* () {
          if (!(yield* isLeased(store, lease))) return yield* lost(lease)
          const now = yield* find(store, lease.run)
          yield* Effect.ignore(store.append({ ...lease, token: now?.token ?? 0, owner: now?.owner ?? "" }, entries))
        })
    }),
    checks: [
      "a new owner reads every acknowledged line, and no line comes after it",
      "of many appends at once, those before the end of the lease are stored, in their order"
    ]
  },
  {
    operation: "saves under a lease that it has looked up before",
    port: (store) => ({
      save: (snapshot, options) =>
        Effect.gen(function* () {
          const { lease, ...rest } = options
          if (lease === undefined) return yield* store.save(snapshot, options)
          if (!(yield* isLeased(store, lease))) return yield* lost(lease)
          yield* long
          return yield* store.save(snapshot, rest)
        }),
      saveAll: (saves, lease) =>
        Effect.gen(function* () {
          if (lease !== undefined && !(yield* isLeased(store, lease))) return yield* lost(lease)
          yield* long
          return yield* store.saveAll(saves)
        })
    }),
    checks: [
      "a new owner reads every acknowledged snapshot, with its line",
      "a new owner reads all or none of the snapshots that are saved together"
    ]
  },
  {
    operation: "suspends by a count of signals that it has read before",
    port: (store) => ({
      suspend: (lease, suspension) =>
        Effect.flatMap(store.signals(lease.key, suspension.signals), ({ length }) =>
          length > 0
            ? store.suspend(lease, { ...suspension, dueAt: 0 })
            : store.suspend(lease, { ...suspension, signals: Number.MAX_SAFE_INTEGER })
        )
    }),
    checks: [
      "a run that is suspended while it is signalled is due if it has unread signals",
      "workers that claim, read and suspend while signals arrive miss none"
    ]
  },
  {
    operation: "claims the runs that it has found before",
    port: (store) => ({
      claimDue: (query, owner) =>
        Effect.gen(function* () {
          const found = yield* store.list({ status: "stopped", limit: query.limit })
          const opened = yield* Effect.forEach(found, (run) => seize(store, run, owner))
          return opened.flatMap(
            (one): ReadonlyArray<Storage.DueRun> => ("lease" in one ? [{ ...one, _tag: "Claimed" }] : [])
          )
        })
    }),
    checks: [
      "callers that claim at once get different runs, and all of them",
      "a run that is opened and claimed at once goes to one caller",
      "a lease is renewed or taken over, never both"
    ]
  },
  {
    operation: "opens the run that it has found before",
    port: (store) => ({
      open: (request, owner, leaseMillis) =>
        Effect.gen(function* () {
          const found = yield* find(store, request.id)
          if (found?.owner !== undefined && (found.leaseUntil ?? 0) > (yield* store.now)) {
            return { _tag: "Held", run: found }
          }
          return found?.outcome !== undefined
            ? { _tag: "Finished", run: found }
            : yield* store.release((yield* find(store, request.id))?.owner ?? "", request.id).pipe(
                Effect.zipRight(store.open(request, owner, leaseMillis)),
                Effect.map(
                  (opened): Storage.Opened =>
                    found === undefined && opened._tag === "Claimed" ? { ...opened, _tag: "Created" } : opened
                )
              )
        })
    }),
    checks: [
      "of many callers that open a run at once, one creates it",
      "a run that is opened and claimed at once goes to one caller"
    ]
  },
  {
    operation: "tells which leases are lost before it renews",
    port: (store) => ({
      renew: (leases, leaseMillis) =>
        Effect.zipLeft(
          Effect.filter(leases, (lease) => Effect.map(isLeased(store, lease), (is) => !is)),
          store.renew(leases, leaseMillis)
        )
    }),
    checks: ["a lease is renewed or taken over, never both"]
  },
  {
    operation: "releases the runs that it has found before",
    port: (store) => ({
      release: (owner, run) =>
        Effect.gen(function* () {
          const all = yield* store.list({ limit: 1_000 })
          for (const { id } of all.filter((found) => found.owner === owner && (run ?? found.id) === found.id)) {
            yield* store.release((yield* find(store, id))?.owner ?? "", id)
          }
        })
    }),
    checks: ["releasing an owner does not end the leases of those that took its runs over"]
  },
  {
    operation: "returns the outcome that it has decided on",
    port: (store) => ({
      finish: (lease, outcome) =>
        Effect.gen(function* () {
          const recorded = (yield* find(store, lease.run))?.outcome
          if (recorded !== undefined) return recorded
          const at = yield* store.now
          return yield* Effect.as(Effect.ignore(store.finish(lease, outcome)), { ...outcome, at })
        })
    }),
    checks: [
      "one outcome is recorded, and all that finish at once return it",
      "a run is finished by its owner or taken over, never both"
    ]
  },
  {
    operation: "reopens and removes what it has found before",
    port: (store) => ({
      reopen: (found, entry, owner, leaseMillis) =>
        Effect.gen(function* () {
          if ((yield* find(store, found.id))?.outcome === undefined) return Option.none()
          const lease = yield* store.reopen(found, entry, owner, leaseMillis)
          return Option.orElseSome(lease, () => ({ ...found, run: found.id, owner, since: 0 }))
        }),
      removeRuns: (keys) =>
        Effect.gen(function* () {
          const runs = yield* store.list({ limit: 1_000 })
          yield* store.removeRuns(keys)
          return runs.filter(({ key, outcome }) => outcome !== undefined && keys.includes(key)).length
        })
    }),
    checks: [
      "of many callers that reopen a finished run at once, one does",
      "a finished run is reopened or removed, never both, and counted once"
    ]
  },
  {
    operation: "finds no signal of the key and sends it",
    port: (store) => ({
      signal: (run, key, payload) =>
        Effect.gen(function* () {
          const stored = yield* store.signals((yield* find(store, run))?.key ?? 0)
          if (stored.some((signal) => signal.key === key)) return "Taken"
          const answer = yield* store.signal(run, key, payload)
          return answer === "Taken" ? "Sent" : answer
        })
    }),
    checks: ["of many signals of one key at once, one is sent"]
  },
  {
    operation: "shows signals in the order of their numbers, which rise before they are committed",
    port: (store) => {
      let last = 0
      const numbers = new Map<string, number>()
      return {
        signal: (run, key, payload) =>
          Effect.gen(function* () {
            numbers.set(key, ++last)
            yield* turns(payload.length > 100 ? 5 : 1)
            return yield* store.signal(run, key, payload)
          }),
        signals: (key, skip = 0) =>
          Effect.map(store.signals(key), (signals) =>
            [...signals].sort((a, b) => (numbers.get(a.key) ?? 0) - (numbers.get(b.key) ?? 0)).slice(skip)
          )
      }
    },
    checks: ["a reader that skips what it has read gets each signal once"]
  },
  {
    operation: "saves after the newest snapshot that it has found before, and under keys that it has found free",
    port: (store) => ({
      save: (snapshot, { after, ifKeyExists, ...options }) =>
        Effect.gen(function* () {
          const { name, own, run = null } = snapshot
          const newest = yield* store.snapshots({ run, name, limit: 1 })
          const same = own === undefined ? [] : yield* store.snapshots({ own: [own] })
          if (after !== undefined && (newest[0]?.key ?? 0) !== after) return Option.none()
          if (ifKeyExists === "keep" && same.length > 0) return Option.none()
          yield* store.remove(same.map(({ key }) => key))
          // A key of its own: the store below would replace by itself.
          return yield* store.save({ ...snapshot, step: own === undefined ? "" : `${Math.random()}` }, options)
        })
    }),
    checks: [
      "of many saves after one snapshot at once, one succeeds in each place",
      "values that are changed by many at once lose no change",
      "of many saves under one key at once, the last is left or the first is kept"
    ]
  },
  {
    operation: "writes the record that it has found before",
    port: (store) => ({
      write: (record, counts) =>
        Effect.gen(function* () {
          const { id, kind, revision } = record
          const found = yield* Effect.map(store.findRecord(kind, id), Option.getOrUndefined)
          if ((found?.revision ?? 0) !== revision) return Option.none()
          const now = Option.getOrUndefined(yield* store.findRecord(kind, id))
          return yield* store.write({ ...record, revision: now?.revision ?? 0 }, counts)
        })
    }),
    checks: [
      "of many that create one record at once, one does, and counts it",
      "of many changes of one revision at once, one succeeds, and is counted once",
      "a record that many change one after the other loses no change",
      "a record that is changed while it is removed is gone"
    ]
  },
  {
    operation: "adds to the values of counters that it has read before",
    port: (store) => ({
      count: (counts) =>
        Effect.gen(function* () {
          const valueOf = (name: string) =>
            Effect.map(store.counters(name), (all) => all.find((counter) => counter.name === name)?.value ?? 0)
          const before = yield* Effect.forEach(counts, ({ name }) => valueOf(name))
          for (const [i, { add, name }] of counts.entries()) {
            yield* store.count([{ name, add: (before[i] ?? 0) + add - (yield* valueOf(name)) }])
          }
        })
    }),
    checks: ["counters that many add to at once have the exact sum"]
  },
  {
    operation: "acquires, renews and removes locks that it has found before",
    port: (store) => {
      const isFree = (row: Storage.LockRow | undefined, now: number) =>
        row?.owner === undefined || (row.leaseUntil ?? 0) <= now
      return {
        lock: (name, owner, leaseMillis) =>
          Effect.gen(function* () {
            const row = yield* Effect.map(store.findLock(name), Option.getOrUndefined)
            if (row !== undefined && !isFree(row, yield* store.now)) return { _tag: "Held", row }
            const now = Option.getOrUndefined(yield* store.findLock(name))
            if (now?.owner !== undefined) yield* store.unlock(name, now.owner)
            return yield* store.lock(name, owner, leaseMillis)
          }),
        renewLock: (lease, leaseMillis) =>
          Effect.zipLeft(
            Effect.map(store.findLock(lease.name), (row) => Option.getOrUndefined(row)?.owner === lease.owner),
            store.renewLock(lease, leaseMillis)
          ),
        removeLocks: (unusedSince) =>
          Effect.gen(function* () {
            const unused = (yield* store.locks).filter(({ owner, since }) => owner === undefined && since < unusedSince)
            for (const { name } of unused) {
              const now = Option.getOrUndefined(yield* store.findLock(name))
              if (now?.owner !== undefined) yield* store.unlock(name, now.owner)
            }
            yield* store.removeLocks(Number.MAX_SAFE_INTEGER)
            return unused.length
          })
      }
    },
    checks: [
      "of many that acquire a new lock at once, one does",
      "a lock has one holder at a time, and its tokens rise",
      "a lock that expired is taken over by one owner",
      "a lock is renewed by its owner or taken over, never both",
      "a lock that is acquired while free ones are removed is not removed"
    ]
  }
]

describe("Testing.storageContract: a store fails that", () => {
  for (const { checks, operation, port } of ports) {
    it.live(operation, () =>
      Effect.gen(function* () {
        const contract = Testing.storageContract(
          Effect.sync(() => {
            const store = overPool(Storage.memoryStore())
            return { ...store, ...port(store) }
          })
        )
        for (const name of checks) {
          const found = contract.find((one) => one.name === name)
          const exit = yield* Effect.exit(found?.check ?? Effect.dieMessage(`there is no check "${name}"`))
          assert.isTrue(Exit.isFailure(exit), `passes "${name}"`)
          // An assertion failed, and not the port itself.
          if (Exit.isFailure(exit)) assert.include(Cause.pretty(exit.cause), "AssertionError", name)
        }
      })
    )
  }
})

describe("Testing.storageContract", () => {
  const checks = Testing.storageContract(Effect.sync(() => overPool(Storage.memoryStore())))
  for (const { check, name } of checks) it.live(`over a pool: ${name}`, () => check)

  it("names each check once", () => {
    const names = checks.map(({ name }) => name)
    assert.deepStrictEqual([...new Set(names)], names)
  })
})
