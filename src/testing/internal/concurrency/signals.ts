import * as assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Storage from "../../../storage/Storage.js"
import { type Contract, find } from "../fixtures.js"
import { eventLoopTurn } from "../testClock.js"
import { after, claimAll, claimSome, eachAtOnce, openAll, range, runNames, together } from "./support.js"

/** Every third one is long, and so takes longer between its beginning and its commit. */
const payloadOf = (i: number): string => (i % 3 === 0 ? "x".repeat(50_000) : `${i}`)

/** What a worker has read of the signals of each run. */
class Inbox {
  readonly read = new Map<string, Array<string>>()
  private readonly advanced = new Set<string>()

  /** Reads what is new, as one execution of the run does, and suspends it until the next signal. */
  advance(store: Storage.Store, lease: Storage.Lease) {
    return Effect.gen(this, function* () {
      const { key, run } = lease
      assert.ok(!this.advanced.has(run), `Two workers advance run "${run}".`)
      this.advanced.add(run)
      const read = this.read.get(run) ?? []
      this.read.set(run, read)
      for (const signal of yield* store.signals(key, read.length)) read.push(signal.key)
      this.advanced.delete(run)
      yield* store.suspend(lease, { dueAt: Storage.untilSignalled, signals: read.length })
    })
  }
}

/** Signals, and what reads them at the same time. */
export const concurrentSignals: Contract = {
  *"a run that is suspended while it is signalled is due if it has unread signals"(store) {
    for (const round of range(5)) {
      // Run i has read i % 3 signals; i % 4 others are sent, and one that it has already.
      const leases = yield* openAll(
        store,
        runNames(30).map((name) => `${round} ${name}`),
        "a"
      )
      const known = (i: number) => range(i % 3).map((at) => `known-${at}`)
      const fresh = (i: number) => range(i % 4).map((at) => `fresh-${at}`)
      yield* eachAtOnce(leases, ({ run }, i) =>
        Effect.forEach(known(i), (key) => store.signal(run, key, "1"), { discard: true })
      )
      yield* eachAtOnce(leases, (lease, i) => {
        const suspending = after(
          store,
          (i + round) % 6,
          store.suspend(lease, { dueAt: Storage.untilSignalled, signals: known(i).length })
        )
        const sending = [...fresh(i), ...known(i), ...fresh(i)].map((key) =>
          Effect.asVoid(store.signal(lease.run, key, payloadOf(i)))
        )
        return together(i % 5 < 2 ? [suspending, ...sending] : [...sending, suspending])
      })
      const due = new Set((yield* claimAll(store, `b-${round}`, 100)).map(({ run }) => run))
      for (const [i, { key, run }] of leases.entries()) {
        const stored = (yield* store.signals(key)).map((signal) => signal.key)
        assert.deepStrictEqual([...stored].sort(), [...known(i), ...fresh(i)].sort())
        assert.strictEqual((yield* find(store, run)).signals, stored.length)
        assert.strictEqual(due.has(run), fresh(i).length > 0, `${fresh(i).length} signals unread, due: ${due.has(run)}`)
      }
    }
  },

  *"of many signals of one key at once, one is sent"(store) {
    const leases = yield* openAll(store, runNames(10), "a")
    const answers = yield* eachAtOnce(range(100), (i) => store.signal(leases[i % 10]?.run ?? "", "go", `${i}`))
    for (const [i, { key, run }] of leases.entries()) {
      const sent = answers.flatMap((answer, at) => (at % 10 === i && answer === "Sent" ? [`${at}`] : []))
      assert.strictEqual(answers.filter((answer, at) => at % 10 === i && answer === "Taken").length, 9)
      assert.deepStrictEqual(
        (yield* store.signals(key)).map(({ payload }) => payload),
        sent
      )
      assert.strictEqual((yield* find(store, run)).signals, 1)
    }
  },

  *"a reader that skips what it has read gets each signal once"(store) {
    const [lease] = yield* openAll(store, ["run-1"], "a")
    assert.ok(lease !== undefined)
    const sending = yield* Effect.fork(
      eachAtOnce(range(8), (sender) =>
        Effect.forEach(range(15), (i) => store.signal(lease.run, `${sender}-${i}`, payloadOf(sender + i)), {
          discard: true
        })
      )
    )
    const read: Array<string> = []
    for (let isLast = false; ; ) {
      const signals = yield* store.signals(lease.key, read.length)
      read.push(...signals.map(({ key }) => key))
      if (isLast) break
      isLast = (yield* Fiber.poll(sending))._tag === "Some"
      yield* eventLoopTurn
    }
    yield* Fiber.join(sending)
    assert.deepStrictEqual(
      read,
      (yield* store.signals(lease.key)).map(({ key }) => key)
    )
    assert.strictEqual(new Set(read).size, 120)
  },

  *"workers that claim, read and suspend while signals arrive miss none"(store) {
    const runs = runNames(10)
    const leases = yield* openAll(store, runs, "a")
    yield* eachAtOnce(leases, (lease) => store.suspend(lease, { dueAt: Storage.untilSignalled, signals: 0 }))
    const inbox = new Inbox()
    const sending = yield* Effect.fork(
      eachAtOnce(range(4), (sender) =>
        Effect.forEach(range(40), (i) => store.signal(runs[i % 10] ?? "", `${sender}-${i}`, payloadOf(i)), {
          discard: true
        })
      )
    )
    const work = (owner: string) =>
      Effect.gen(function* () {
        for (let isLast = false; ; ) {
          const claimed = yield* claimSome(store, owner, 3)
          for (const lease of claimed) yield* inbox.advance(store, lease)
          if (isLast && claimed.length === 0) return
          isLast = (yield* Fiber.poll(sending))._tag === "Some"
          yield* eventLoopTurn
        }
      })
    yield* eachAtOnce(range(4), (i) => work(`worker-${i}`))
    yield* Fiber.join(sending)
    // A store may skip a run that another worker claims, so the last ones may be left.
    yield* work("last")
    for (const { key, run } of leases) {
      const stored = (yield* store.signals(key)).map((signal) => signal.key)
      assert.strictEqual(stored.length, 16)
      assert.deepStrictEqual(inbox.read.get(run), stored)
    }
  }
}
