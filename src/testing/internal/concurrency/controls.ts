import * as assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Storage from "../../../storage/Storage.js"
import { type Contract, enqueued, entry, find, listed, open, opened, request } from "../fixtures.js"
import { after, claimAll, claimSome, eachAtOnce, isKept, openAll, range, reversed, runNames } from "./support.js"

const namesOf = (round: number, count: number) => runNames(count).map((name) => `${round} ${name}`)

const waits = { dueAt: Storage.untilSignalled, signals: 0 }

const cancelled = { status: "cancelled", exit: "{}" } as const

/** Runs that operators and the program change while they are leased. */
export const concurrentControls: Contract = {
  *"a run that is put on hold is leased to no owner after the answer"(store) {
    for (const round of range(5)) {
      const names = namesOf(round, 30)
      yield* eachAtOnce(names, (id) => enqueued(store, id))
      const [held] = yield* Effect.all(
        [
          eachAtOnce(reversed(names), (id, i) => after(store, i % 5, store.hold(id, { id: "manual", reason: "" }))),
          eachAtOnce(range(5), (i) => after(store, i, claimSome(store, `claims-${round}-${i}`, 4))),
          eachAtOnce(names, (id, i) => after(store, i % 3, open(store, id, `opens-${round}-${i}`)))
        ],
        { concurrency: "unbounded" }
      )
      yield* claimAll(store, `rest-${round}`, 10)
      for (const answer of held) {
        if (answer._tag !== "Held") return assert.fail(`${answer._tag} is no hold`)
        const { hold, owner, token } = yield* find(store, answer.run.id)
        assert.deepStrictEqual([hold?.id, owner, token], ["manual", answer.run.owner, answer.run.token])
      }
    }
  },

  *"of many callers that hold a run at once, one has it, and one of them takes it over"(store) {
    const names = runNames(10)
    yield* eachAtOnce(names, (id) => enqueued(store, id))
    const held = yield* eachAtOnce(range(60), (i) => store.hold(names[i % 10] ?? "", { id: `hold-${i}`, reason: "" }))
    assert.strictEqual(held.filter(({ _tag }) => _tag === "Held").length, 10)
    const holds = yield* Effect.forEach(names, (id) => Effect.map(find(store, id), ({ hold }) => hold?.id ?? ""))
    const next = yield* eachAtOnce(range(60), (i) =>
      store.hold(names[i % 10] ?? "", { id: `next-${i}`, reason: "" }, holds[i % 10])
    )
    assert.strictEqual(next.filter(({ _tag }) => _tag === "Held").length, 10)
  },

  *"a run that is cancelled while it is suspended, finished or claimed ends or is due"(store) {
    for (const round of range(5)) {
      const leases = yield* openAll(store, namesOf(round, 40), "a")
      const [answers] = yield* Effect.all(
        [
          eachAtOnce(reversed(leases), ({ run }, i) => after(store, i % 4, store.cancel(run, `"${i}"`))),
          eachAtOnce(leases, (lease, i) =>
            after(
              store,
              (i + round) % 5,
              i % 3 === 0
                ? isKept(store.finish(lease, { status: "completed", exit: "" }))
                : Effect.as(store.suspend(lease, waits), true)
            )
          ),
          eachAtOnce(range(3), (i) => claimSome(store, `b-${round}-${i}`, 5))
        ],
        { concurrency: "unbounded" }
      )
      const due = new Set((yield* claimAll(store, `c-${round}`, 20)).map(({ run }) => run))
      for (const [i, { run }] of reversed(leases).entries()) {
        const found = yield* find(store, run)
        if (answers[i] === "Finished") assert.notStrictEqual(found.outcome, undefined)
        else {
          assert.deepStrictEqual([answers[i], found.cancel], ["Requested", `"${i}"`])
          const isAdvanced = due.has(run) || found.owner !== undefined || found.outcome !== undefined
          assert.ok(isAdvanced, "the run waits, although it is to be cancelled")
        }
      }
    }
  },

  *"a run that is terminated while it is written gets no line after the answer"(store) {
    for (const round of range(4)) {
      const leases = yield* openAll(store, namesOf(round, 20), "a")
      const [, ended] = yield* Effect.all(
        [
          eachAtOnce(leases, (lease, i) =>
            Effect.forEach(
              range(6),
              (at) => isKept(store.append(lease, [entry(at + 1, { payload: "x".repeat(i % 4 === 0 ? 50_000 : 1) })])),
              { concurrency: i % 2 === 0 ? "unbounded" : 1 }
            )
          ),
          eachAtOnce(reversed(leases), (lease, i) =>
            after(
              store,
              i % 6,
              Effect.flatMap(store.terminate(lease.run, cancelled), (outcome) =>
                Effect.map(store.journal(lease.key), (lines) => ({ lease, lines, outcome }))
              )
            )
          )
        ],
        { concurrency: "unbounded" }
      )
      for (const { lease, lines, outcome } of ended) {
        assert.deepStrictEqual(yield* store.journal(lease.key), lines)
        assert.deepStrictEqual((yield* find(store, lease.run)).outcome, Option.getOrThrow(outcome))
        assert.strictEqual(yield* isKept(store.append(lease, [entry(99)])), false)
      }
    }
  },

  *"a run that is finished and terminated at once has one outcome"(store) {
    for (const round of range(4)) {
      const leases = yield* openAll(store, namesOf(round, 20), "a")
      const [finished, terminated] = yield* Effect.all(
        [
          eachAtOnce(leases, (lease, i) =>
            after(store, i % 4, store.finish(lease, { status: "completed", exit: "own" }))
          ),
          eachAtOnce(leases, ({ run }, i) => after(store, (i + round) % 3, store.terminate(run, cancelled)))
        ],
        { concurrency: "unbounded" }
      )
      for (const [i, { run }] of leases.entries()) {
        const { outcome } = yield* find(store, run)
        assert.deepStrictEqual([finished[i], Option.getOrThrow(terminated[i] ?? Option.none())], [outcome, outcome])
      }
    }
  },

  *"a parent that is suspended while its children end is due, and has a signal of each"(store) {
    for (const round of range(4)) {
      // Some parents were created before their children, some after.
      const parents = namesOf(round, 10)
      const early = parents.slice(0, 5)
      const parentsBefore = yield* openAll(store, early, "parents")
      const children = yield* eachAtOnce(range(30), (i) => {
        const parent = { run: parents[i % 10] ?? "", signal: `child:${i}` }
        return Effect.map(store.open(request(`${round} child-${i}`, { parent }), `child-${i}`, 30_000), opened)
      })
      const all = [...parentsBefore, ...(yield* openAll(store, parents.slice(5), "parents"))]
      yield* Effect.all(
        [
          eachAtOnce(all, (lease, i) => after(store, (i + round) % 6, store.suspend(lease, waits))),
          eachAtOnce(turned(children, round), (lease, i) =>
            i % 5 === 0
              ? Effect.asVoid(store.terminate(lease.run, cancelled))
              : Effect.asVoid(store.finish(lease, { status: "completed", exit: "" }))
          ),
          store.renew(reversed([...all, ...children]), 30_000),
          store.renew(all, 30_000)
        ],
        { concurrency: "unbounded" }
      )
      const due = new Set((yield* claimAll(store, `b-${round}`, 100)).map(({ run }) => run))
      for (const [i, { key, run }] of all.entries()) {
        const keys = (yield* store.signals(key)).map((signal) => signal.key).sort()
        assert.deepStrictEqual(keys, [`child:${i}`, `child:${i + 10}`, `child:${i + 20}`].sort())
        assert.strictEqual((yield* find(store, run)).signals, 3)
        assert.ok(due.has(run), "a child ended, and its parent waits")
      }
    }
  },

  *"a run that continues while it is signalled keeps every signal that it has not read"(store) {
    for (const round of range(4)) {
      const leases = yield* openAll(store, namesOf(round, 20), "a")
      yield* eachAtOnce(leases, (lease) => store.append(lease, [entry(1)]))
      yield* eachAtOnce(leases, ({ run }) => store.signal(run, "read", "1"))
      yield* Effect.all(
        [
          eachAtOnce(leases, (lease, i) =>
            after(store, i % 5, store.continueAs(lease, { input: "2", entry: entry(2), read: ["read"] }))
          ),
          eachAtOnce(reversed(leases), ({ run }, i) =>
            eachAtOnce(range((i % 3) + 1), (at) => store.signal(run, `fresh-${at}`, "1"))
          )
        ],
        { concurrency: "unbounded" }
      )
      for (const [i, lease] of reversed(leases).entries()) {
        const fresh = range((i % 3) + 1).map((at) => `fresh-${at}`)
        const stored = (yield* store.signals(lease.key)).map(({ key }) => key)
        assert.deepStrictEqual([...stored].sort(), fresh)
        // Positions have no gap: a reader that has read one gets the others.
        assert.strictEqual((yield* store.signals(lease.key, 1)).length, fresh.length - 1)
        const { generation, input, signals } = yield* find(store, lease.run)
        assert.deepStrictEqual([generation, input, signals], [2, "2", fresh.length])
        assert.deepStrictEqual(yield* store.journal(lease.key), [entry(2)])
      }
    }
  },

  *"runs that are created and removed while they are listed by a label are found as long as they are there"(store) {
    const labels = { tenant: "t" }
    const [kept, gone, fresh] = ["kept", "gone", "fresh"].map((kind) => runNames(15).map((name) => `${kind} ${name}`))
    const leases = yield* eachAtOnce([...(kept ?? []), ...(gone ?? [])], (id) =>
      Effect.map(open(store, id, "a", { labels }), opened)
    )
    yield* eachAtOnce(leases, (lease) => store.finish(lease, { status: "completed", exit: "" }))
    const [lists] = yield* Effect.all(
      [
        eachAtOnce(range(10), (i) => after(store, i, listed(store, { labels, limit: 100 }))),
        eachAtOnce(fresh ?? [], (id, i) => after(store, i % 5, open(store, id, "b", { labels }))),
        eachAtOnce(leases.slice(15), ({ key }, i) => after(store, i % 5, store.removeRuns([key])))
      ],
      { concurrency: "unbounded" }
    )
    for (const list of lists) {
      assert.strictEqual(new Set(list).size, list.length)
      for (const id of kept ?? []) assert.ok(list.includes(id), `${id} is not found`)
    }
    const last = yield* listed(store, { labels, limit: 100 })
    assert.deepStrictEqual([...last].sort(), [...(kept ?? []), ...(fresh ?? [])].sort())
  }
}

/** In another order in each round. */
const turned = <A>(items: ReadonlyArray<A>, round: number): ReadonlyArray<A> =>
  round % 2 === 0 ? items : reversed(items)
