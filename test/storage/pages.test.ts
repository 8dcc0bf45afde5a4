import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Storage } from "effect-recovery"
import { SqliteStorage } from "effect-recovery/sqlite"
import { temporaryFile } from "../support/files.js"
import { lease, request } from "../support/runs.js"

const many = 1_700

/**
 * Runs by the last digit of their number: 0 waits for a question, 1 for a time, 2 has stopped, 3 runs, and the others
 * have ended, the first one as `failed` and the rest as `completed`.
 */
const filled = Effect.gen(function* () {
  const filename = yield* temporaryFile("runs.db")
  const store = yield* SqliteStorage.store({ filename, durability: "process-crash" })
  const fill = (i: number) =>
    Effect.gen(function* () {
      const held = yield* lease(store, request(`${i}`, { workflow: i % 20 < 10 ? "v" : "w" }), `host/1@1/x/${i}`, 1e9)
      const wait = (dueAt: number, waiting?: string) => store.suspend(held, { dueAt, signals: 0, waiting })
      if (i % 10 === 0) yield* wait(Storage.untilSignalled, `[{"kind":"question","since":"2020-01-01T00:00:00Z"}]`)
      else if (i % 10 === 1) yield* wait(8e15)
      else if (i % 10 === 2) yield* wait(0)
      else if (i % 10 > 3) yield* store.finish(held, { status: i === 4 ? "failed" : "completed", exit: "" })
    })
  yield* Effect.forEach(
    Array.from({ length: many }, (_, i) => i),
    fill,
    { concurrency: 200, discard: true }
  )
  return store
})

/** How often the event loop turned while the effect ran. */
const countingTurns = <A, E>(self: Effect.Effect<A, E>): Effect.Effect<readonly [A, number], E> =>
  Effect.suspend(() => {
    let turns = 0
    let ended = false
    const turn = () => {
      turns++
      if (!ended) setImmediate(turn)
    }
    setImmediate(turn)
    return Effect.map(self, (value) => {
      ended = true
      return [value, turns] as const
    })
  })

describe("a file with thousands of runs", () => {
  it.scopedLive("lists and counts what is wanted, wherever it is, and lets other work have its turn", () =>
    Effect.gen(function* () {
      const store = yield* filled
      const numbers = (query: Storage.Query) =>
        Effect.map(countingTurns(store.list({ limit: many, ...query })), ([found, turns]) => {
          const keys = found.map(({ key }) => key)
          assert.deepStrictEqual(
            keys,
            [...keys].sort((a, b) => b - a)
          )
          return { numbers: new Set(found.map(({ id }) => Number(id))), found, turns }
        })
      const expect = (wanted: (i: number) => boolean) =>
        new Set(Array.from({ length: many }, (_, i) => i).filter(wanted))
      for (const [query, wanted] of [
        [{ status: "suspended" }, (i) => i % 10 < 2],
        [{ status: "stopped" }, (i) => i % 10 === 2],
        [{ status: "running" }, (i) => i % 10 === 3],
        [{ status: "failed" }, (i) => i === 4],
        [{ status: "completed", workflow: "w" }, (i) => i % 10 > 3 && i % 20 > 9],
        [{ status: "running", workflow: "v" }, (i) => i % 20 === 3],
        [{ waitsFor: { kind: "question" } }, (i) => i % 10 === 0],
        [{ status: "suspended", waitsFor: { kind: "answer" } }, () => false],
        [{ workflow: "v" }, (i) => i % 20 < 10]
      ] as ReadonlyArray<readonly [Storage.Query, (i: number) => boolean]>) {
        const all = yield* numbers(query)
        assert.deepStrictEqual(all.numbers, expect(wanted), JSON.stringify(query))
        // Page by page, it is the same.
        const pages: Array<Storage.Run> = []
        for (let before: number | undefined; ; ) {
          const page = (yield* numbers({ ...query, before, limit: 97 })).found
          pages.push(...page)
          if (page.length < 97) break
          before = page.at(-1)?.key
        }
        assert.deepStrictEqual(
          pages.map(({ key }) => key),
          all.found.map(({ key }) => key)
        )
      }
      assert.isAtLeast((yield* numbers({ status: "failed" })).turns, 3)
      assert.isAtLeast((yield* numbers({ status: "running" })).turns, 1)
      const [counts, turns] = yield* countingTurns(store.countRuns)
      assert.isAtLeast(turns, 3)
      const sums = Object.fromEntries(
        ["running", "suspended", "stopped", "failed", "completed"].map((status) => [
          status,
          counts.filter((one) => one.status === status).reduce((sum, { runs }) => sum + runs, 0)
        ])
      )
      assert.deepStrictEqual(sums, { running: 170, suspended: 340, stopped: 170, failed: 1, completed: 1_019 })
      const backlog = yield* store.backlog
      assert.deepStrictEqual(
        backlog.map(({ due, next, waiting, workflow }) => [workflow, due, waiting, next]),
        [
          ["v", 85, 170, 8e15],
          ["w", 85, 170, 8e15]
        ]
      )
      // One for each workflow and status.
      assert.lengthOf(counts, 9)
    })
  )
})
