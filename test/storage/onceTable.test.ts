import { SqlClient } from "@effect/sql/SqlClient"
import { assert, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { commitOnce } from "../../src/storage/onceTable.js"
import { inShops, ordersOf, stock } from "../support/shops.js"
import { turns } from "../support/time.js"

/** Commits an order, unless the key has one. */
const order = (id: number, token: number, then: Effect.Effect<void, string> = Effect.void) =>
  Effect.uninterruptibleMask((restore) =>
    commitOnce(
      { key: "order", token },
      Effect.gen(function* () {
        const sql = yield* SqlClient
        yield* Effect.orDie(sql`INSERT INTO orders VALUES (${id}, 'book')`)
        yield* then
        return [id, `${id}`] as const
      }),
      restore
    )
  )

inShops("a row of once", (shop) => {
  it.scopedLive("is found by every later execution, also one with an older lease", () =>
    Effect.gen(function* () {
      const client = yield* shop.open
      assert.deepStrictEqual(yield* Effect.provide(order(1, 2), client), { _tag: "Ran", value: 1 })
      for (const token of [1, 2, 3]) {
        assert.deepStrictEqual(yield* Effect.provide(order(2, token), client), { _tag: "Found", result: "1" })
      }
      assert.deepStrictEqual(yield* Effect.provide(ordersOf, client), [1])
    })
  )

  it.scopedLive("that was claimed by a failed execution keeps out an older lease, and lets a newer one in", () =>
    Effect.gen(function* () {
      const client = yield* shop.open
      const failed = yield* Effect.flip(Effect.provide(order(1, 2, Effect.fail("no")), client))
      assert.strictEqual(failed, "no")
      assert.deepStrictEqual(yield* Effect.provide(order(2, 1), client), { _tag: "Overtaken", token: 2 })
      assert.deepStrictEqual(yield* Effect.provide(ordersOf, client), [])
      assert.deepStrictEqual(yield* Effect.provide(order(3, 2), client), { _tag: "Ran", value: 3 })
      assert.deepStrictEqual(yield* Effect.provide(ordersOf, client), [3])
    })
  )

  it.scopedLive("is left by neither a defect nor an interruption", () =>
    Effect.gen(function* () {
      const client = yield* shop.open
      const died = yield* Effect.exit(Effect.provide(order(1, 5, Effect.die("bug")), client))
      assert.isTrue(Exit.isFailure(died))
      const began = yield* Deferred.make<void>()
      const waits = Effect.zipRight(Deferred.succeed(began, undefined), Effect.never)
      const fiber = yield* Effect.fork(Effect.provide(order(1, 5, waits), client))
      yield* Deferred.await(began)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* Effect.provide(order(2, 1), client), { _tag: "Ran", value: 2 })
    })
  )

  // The stock client of SQLite blocks the process while it waits: `test/process/onceKills.test.ts` has real processes.
  it.scopedLive.skipIf(shop === stock)(
    "lets the second of two executions wait, and gives it the result of the first",
    () =>
      Effect.gen(function* () {
        const client = yield* shop.open
        const [began, goOn] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
        const slow = Effect.zipRight(Deferred.succeed(began, undefined), Deferred.await(goOn))
        const first = yield* Effect.fork(Effect.provide(order(1, 1, slow), client))
        yield* Deferred.await(began)
        const second = yield* Effect.fork(Effect.provide(order(2, 2, Effect.die("the body ran twice")), client))
        yield* turns()
        assert.isNull(second.unsafePoll())
        yield* Deferred.succeed(goOn, undefined)
        assert.deepStrictEqual(yield* Fiber.join(first), { _tag: "Ran", value: 1 })
        assert.deepStrictEqual(yield* Fiber.join(second), { _tag: "Found", result: "1" })
        assert.deepStrictEqual(yield* Effect.provide(ordersOf, client), [1])
      })
  )

  it.scopedLive("is in a table that first starts at once create together", () =>
    Effect.gen(function* () {
      const client = yield* shop.open
      const starts = Array.from({ length: 5 }, (_, i) => Effect.provide(order(i + 1, 1), client))
      const answers = yield* Effect.all(starts, { concurrency: shop === stock ? 1 : "unbounded" })
      assert.strictEqual(answers.filter(({ _tag }) => _tag === "Ran").length, 1)
      assert.strictEqual((yield* Effect.provide(ordersOf, client)).length, 1)
    })
  )
})
